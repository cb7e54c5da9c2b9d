//! The tree as YAML that every reader takes alike: block style, scalars as they were written, quoted where in doubt.

use indexmap::IndexMap;

use super::yaml::{Kind, Node, Pair};

/// The file: empty if there is nothing in it.
pub(super) fn write(root: Option<&Node>) -> String {
    let mut text = String::new();
    let Some(root) = root else { return text };
    match &root.kind {
        Kind::Mapping(pairs) if lives(pairs) => {
            text.extend(root.tag.iter().map(|tag| format!("{tag}\n")));
            mapping(pairs, 0, false, &mut text);
        }
        Kind::Sequence(items) if !items.is_empty() => {
            text.extend(root.tag.iter().map(|tag| format!("{tag}\n")));
            sequence(items, 0, false, &mut text);
        }
        _ => {
            text.push_str(&in_one_line(root));
            text.push('\n');
        }
    }
    text
}

/// The value in flow style, for people and for what is empty.
pub(super) fn in_one_line(node: &Node) -> String {
    let tag = node.tag.as_ref().map_or(String::new(), |tag| format!("{tag} "));
    let inner = match &node.kind {
        Kind::Deleted => String::new(),
        Kind::Scalar { text, plain } => one_line(text, *plain),
        Kind::Sequence(items) => format!("[{}]", items.iter().map(in_one_line).collect::<Vec<_>>().join(", ")),
        Kind::Mapping(pairs) => {
            let pairs =
                living(pairs).map(|(key, pair)| format!("{}: {}", one_line(key, pair.plain), in_one_line(&pair.value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    };
    format!("{tag}{inner}")
}

fn living(pairs: &IndexMap<String, Pair>) -> impl Iterator<Item = (&String, &Pair)> {
    pairs.iter().filter(|(_, pair)| !matches!(pair.value.kind, Kind::Deleted))
}

fn lives(pairs: &IndexMap<String, Pair>) -> bool {
    living(pairs).next().is_some()
}

/// `inline`: the first pair goes on in a line that has begun (`- a: 1`).
fn mapping(pairs: &IndexMap<String, Pair>, indent: usize, mut inline: bool, text: &mut String) {
    for (key, pair) in living(pairs) {
        if !std::mem::take(&mut inline) {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        text.push_str(&one_line(key, pair.plain));
        text.push(':');
        value(&pair.value, indent + 2, false, text);
    }
}

fn sequence(items: &[Node], indent: usize, mut inline: bool, text: &mut String) {
    for item in items {
        if !std::mem::take(&mut inline) {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        text.push('-');
        value(item, indent + 2, true, text);
    }
}

/// What follows `key:` or `-`; `indent` is that of its own lines.
fn value(node: &Node, indent: usize, in_sequence: bool, text: &mut String) {
    if let Some(tag) = &node.tag {
        text.push(' ');
        text.push_str(tag);
    }
    let compact = in_sequence && node.tag.is_none();
    let begin = |text: &mut String| text.push(if compact { ' ' } else { '\n' });
    match &node.kind {
        Kind::Mapping(pairs) if lives(pairs) => {
            begin(text);
            mapping(pairs, indent, compact, text);
        }
        Kind::Sequence(items) if !items.is_empty() => {
            begin(text);
            sequence(items, indent, compact, text);
        }
        Kind::Mapping(_) => text.push_str(" {}\n"),
        Kind::Sequence(_) => text.push_str(" []\n"),
        Kind::Deleted => text.push('\n'),
        Kind::Scalar { text: scalar, plain } => {
            text.push(' ');
            if !plain && let Some(chomping) = literal(scalar) {
                text.push('|');
                text.push_str(chomping);
                text.push('\n');
                for line in scalar.strip_suffix('\n').unwrap_or(scalar).split('\n') {
                    if !line.is_empty() {
                        text.extend(std::iter::repeat_n(' ', indent));
                        text.push_str(line);
                    }
                    text.push('\n');
                }
            } else {
                text.push_str(&one_line(scalar, *plain));
                text.push('\n');
            }
        }
    }
}

/// How the end of a text in `|` style is marked, if that style can hold it.
fn literal(text: &str) -> Option<&'static str> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let fits = text.contains('\n')
        && !body.is_empty()
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && body.chars().all(|c| matches!(c, '\n' | '\t') || is_printable(c))
        // A line of nothing but blanks is read differently by some.
        && body.split('\n').all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty());
    fits.then_some(if text.ends_with('\n') { "" } else { "-" })
}

/// A scalar in one line: plain if it was and can be, otherwise in the lightest quotes that hold it.
fn one_line(text: &str, plain: bool) -> String {
    if plain && is_plain(text) {
        return text.to_owned();
    }
    if !text.chars().all(is_printable) {
        return double_quoted(text);
    }
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            character if is_printable(character) => quoted.push(character),
            character if u32::from(character) <= 0xff => quoted.push_str(&format!("\\x{:02x}", u32::from(character))),
            character if u32::from(character) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
        }
    }
    quoted.push('"');
    quoted
}

/// What YAML 1.1 and 1.2 both take as it is, line ends of either left out.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{1_0000}'..='\u{10_ffff}')
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a text without quotes is read as the same, in block and in flow style. What is not is no number, boolean or
/// date either, so quotes change nothing.
fn is_plain(text: &str) -> bool {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return false };
    let second_is_word = characters.next().is_some_and(|second| second.is_alphanumeric() || second == '.');
    let begins = match first {
        '-' | ':' | '?' => second_is_word,
        '=' | '<' | '~' | '.' | '+' | '_' | '/' | '(' | '$' | '«' => true,
        first => first.is_alphanumeric(),
    };
    begins
        && text.chars().all(|c| is_printable(c) && !matches!(c, ',' | '[' | ']' | '{' | '}'))
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' ', '\u{a0}'])
        && !text.starts_with("...")
}

//! What stands in a store of secrets once it is decrypted: a YAML mapping of names to values.
//!
//! Its text is never put among the [`super::source::Sources`] of a site, and what is wrong with it is told without a
//! word of it.

use indexmap::IndexMap;

use crate::model::secret::Sensitive;

use super::node::{Layer, Node};
use super::source::Sources;
use super::yaml::parse;

/// What is wrong with the text of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct StoreFault {
    /// Line, from 1.
    pub line: usize,
    /// What, without a word of the text.
    pub what: &'static str,
}

/// Names and values in the order of the text.
pub type Store = IndexMap<String, Sensitive>;

/// Reads a text. Numbers and the like are taken as they are written.
pub fn read(text: &[u8]) -> Result<Store, StoreFault> {
    Ok(nodes(text)?.into_iter().map(|(name, node)| (name, Sensitive::new(value(&node)))).collect())
}

fn value(node: &Node) -> &[u8] {
    node.as_text().unwrap_or("").as_bytes()
}

fn nodes(text: &[u8]) -> Result<IndexMap<String, Node>, StoreFault> {
    let mut sources = Sources::default();
    let (root, errors) = parse(&mut sources, "", text, Layer::Site);
    let line = |place: super::source::Place| sources.get(place.file).map_or(1, |file| file.line_column(place.start).0);
    if let Some(error) = errors.first() {
        let what = match error.code {
            "Y001" => "this is not YAML in UTF-8",
            "Y002" => "this name is there already",
            _ => "write `NAME: VALUE`",
        };
        return Err(StoreFault { line: error.place.map_or(1, line), what });
    }
    let Some(root) = root.filter(|root| !root.is_null()) else { return Ok(IndexMap::new()) };
    let Some(mapping) = root.as_mapping() else {
        return Err(StoreFault { line: line(root.place), what: "write `NAME: VALUE`, one below the other" });
    };
    let mut nodes = IndexMap::new();
    for (name, entry) in mapping {
        let at = line(entry.key_place);
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(StoreFault { line: at, what: "a name has to be a word" });
        }
        if entry.value.as_scalar().is_none() {
            return Err(StoreFault { line: at, what: "a value has to be one text, not a list or a mapping" });
        }
        nodes.insert(name.clone(), entry.value.clone());
    }
    Ok(nodes)
}

/// The text with a value set: in its place if the name is there, else at the end. What people wrote around it stays
/// where that is possible.
pub fn with(text: &str, name: &str, value: &str) -> Result<String, StoreFault> {
    let mut wanted = read(text.as_bytes())?;
    let known = nodes(text.as_bytes())?.get(name).map(|node| node.place);
    wanted.insert(name.to_owned(), Sensitive::new(value));
    let draft = match known {
        Some(place) => {
            let (before, after) = (text.get(..place.start as usize), text.get(place.end as usize..));
            format!("{}{}{}", before.unwrap_or(""), quoted(value), after.unwrap_or(""))
        }
        None => {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{gap}{}", line(name, value))
        }
    };
    // Flow style, a block of lines, an empty value: then it is all written anew, without its comments.
    if read(draft.as_bytes()).is_ok_and(|drafted| drafted == wanted) {
        return Ok(draft);
    }
    Ok(wanted.iter().map(|(name, value)| line(name, &String::from_utf8_lossy(value.expose()))).collect())
}

fn line(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain);
    let name = if is_word && !is_yaml_word(name) { name.to_owned() } else { quoted(name) };
    match block(value) {
        Some(block) => format!("{name}: |\n{block}"),
        None => format!("{name}: {}\n", quoted(value)),
    }
}

fn is_yaml_word(name: &str) -> bool {
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&name.to_lowercase().as_str())
}

/// Lines as of a PEM file, indented.
fn block(value: &str) -> Option<String> {
    let fits = value.ends_with('\n')
        // Not `lines`, which takes away a carriage return as well.
        && value
            .split_terminator('\n')
            .all(|line| !line.is_empty() && !line.starts_with(' ') && line.chars().all(is_plain));
    (fits && value.len() > 1).then(|| value.split_inclusive('\n').flat_map(|line| ["  ", line]).collect())
}

/// In double quotes, with everything escaped that YAML, or an editor, might take for something else than itself: line
/// ends of Unicode, marks of byte order, what cannot be printed.
fn quoted(value: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if is_plain(c) => text.push(c),
            c => drop(write!(text, "\\U{:08X}", u32::from(c))),
        }
    }
    text.push('"');
    text
}

fn is_plain(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn fault(text: &[u8]) -> String {
        read(text).unwrap_err().to_string()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let text_of = |value: &Sensitive| String::from_utf8(value.expose().to_vec()).unwrap();
        read(text.as_bytes()).unwrap().iter().map(|(name, value)| (name.clone(), text_of(value))).collect()
    }

    #[test]
    fn values_are_taken_as_they_are_written() {
        let text = "# passwords\ndb: 0123\nversion: 1.10\nquoted: \"a b\"\nempty:\nkey: |\n  one\n  two\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("db", "0123"),
            pair("version", "1.10"),
            pair("quoted", "a b"),
            pair("empty", ""),
            pair("key", "one\ntwo\n"),
        ];
        assert_eq!(pairs(text), expected);
        assert!(read(b"").unwrap().is_empty() && read(b"# nothing yet\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_without_a_word_of_it() {
        let texts: [&[u8]; 6] = [
            b"a: 1\nb: *HUNTER2\n",
            b"a: HUNTER2\na: 2\n",
            b"HUNTER2\n",
            b"a: 1\nb: [HUNTER2]\n",
            b"a: !tag HUNTER2\n",
            b"a: \xffHUNTER2\n",
        ];
        insta::assert_snapshot!(texts.map(fault).join("\n"), @r"
        line 2: this is not YAML in UTF-8
        line 2: this name is there already
        line 1: write `NAME: VALUE`, one below the other
        line 2: a value has to be one text, not a list or a mapping
        line 1: write `NAME: VALUE`
        line 1: this is not YAML in UTF-8
        ");
    }

    #[test]
    fn a_value_is_set_and_the_rest_stays() {
        let text = "# mine\na: 1 # one\nb: \"x\"\n";
        assert_eq!(with(text, "a", "new").unwrap(), "# mine\na: \"new\" # one\nb: \"x\"\n");
        assert_eq!(with(text, "b", "new").unwrap(), "# mine\na: 1 # one\nb: \"new\"\n");
        assert_eq!(with(text, "c", "3").unwrap(), format!("{text}c: \"3\"\n"));
        assert_eq!(with("", "c", "3").unwrap(), "c: \"3\"\n");
        assert_eq!(with("", "no", "one\ntwo\n").unwrap(), "\"no\": |\n  one\n  two\n");
        assert_eq!(
            with("", "odd", "\u{7f}\u{feff}\u{1f600}é").unwrap(),
            "odd: \"\\U0000007F\\U0000FEFF\\U0001F600é\"\n"
        );
        assert_eq!(with("", "dos", "one\r\n").unwrap(), "dos: \"one\\r\\n\"\n");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_set_is_read_as_the_same(name in "[a-z/ é:#]{1,6}", value in "(?s).{0,20}", lines in "([ a-z+=-]{0,5}\n){0,4}") {
            let mut text = String::from("first: 1\nfirst_lines: |\n  x\n  y\n");
            for (name, value) in [("first", &value), (name.as_str(), &lines), ("first_lines", &value), (name.as_str(), &value)] {
                text = with(&text, name, value).unwrap();
                let found = read(text.as_bytes()).unwrap();
                proptest::prop_assert_eq!(found.get(name), Some(&Sensitive::new(value.as_bytes())), "{}", text);
            }
        }
    }
}

//! Filters with regular expressions, as Python writes them.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Rest};
use minijinja::{Error, Value};

use super::super::safe_error::refuse;
use super::given;

/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 1 << 20;

pub(super) fn compile(pattern: &str) -> Result<regex::Regex, Error> {
    regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build().map_err(|_| {
        refuse("this is no regular expression that is understood (look-around and back-references are not)")
    })
}

/// Python's `\1` and `\g<name>` in a replacement, as the engine has them.
fn replacement(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, rest.peek().copied()) {
            ('$', _) => result.push_str("$$"),
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                rest.next();
                let _ = write!(result, "${{{digit}}}");
            }
            ('\\', Some('g')) => {
                rest.next();
                let name: String = rest.by_ref().skip_while(|c| *c == '<').take_while(|c| *c != '>').collect();
                let _ = write!(result, "${{{name}}}");
            }
            ('\\', Some('n')) => {
                rest.next();
                result.push('\n');
            }
            ('\\', Some('t')) => {
                rest.next();
                result.push('\t');
            }
            ('\\', Some('\\')) => {
                rest.next();
                result.push('\\');
            }
            (other, _) => result.push(other),
        }
    }
    result
}

fn flagged(pattern: &str, options: &Kwargs) -> Result<regex::Regex, Error> {
    let flag = |name: &'static str| options.get::<Option<bool>>(name).map(Option::unwrap_or_default);
    let ignore_case = flag("ignorecase").map_err(|_| refuse("`ignorecase` has to be a boolean"))?;
    let multi_line = flag("multiline").map_err(|_| refuse("`multiline` has to be a boolean"))?;
    options.assert_all_used()?;
    match (ignore_case, multi_line) {
        (false, false) => compile(pattern),
        (true, false) => compile(&format!("(?i){pattern}")),
        (false, true) => compile(&format!("(?m){pattern}")),
        (true, true) => compile(&format!("(?im){pattern}")),
    }
}

pub(super) fn regex_replace(
    text: &Value,
    pattern: String,
    with: Option<String>,
    options: Kwargs,
) -> Result<String, Error> {
    let text = given(text)?.to_string();
    let with = replacement(&with.unwrap_or_default());
    Ok(flagged(&pattern, &options)?.replace_all(&text, with.as_str()).into_owned())
}

pub(super) fn regex_search(
    text: &Value,
    pattern: String,
    groups: Rest<String>,
    options: Kwargs,
) -> Result<Value, Error> {
    let text = given(text)?.to_string();
    let Some(found) = flagged(&pattern, &options)?.captures(&text).map(|captures| {
        let group = |name: &str| {
            let found = match name.parse::<usize>() {
                Ok(number) => captures.get(number),
                Err(_) => captures.name(name),
            };
            found.map_or(Value::from(()), |found| Value::from(found.as_str()))
        };
        if groups.is_empty() {
            return group("0");
        }
        let named = |name: &String| group(name.trim_start_matches('\\').trim_start_matches("g<").trim_end_matches('>'));
        Value::from(groups.iter().map(named).collect::<Vec<_>>())
    }) else {
        return Ok(Value::from(()));
    };
    Ok(found)
}

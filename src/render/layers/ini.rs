//! INI text to sections, keys and values, exactly as oslo.config's `iniparser` takes it; and the notation for deletion.

use std::ops::Range;

use indexmap::IndexMap;

use super::error::{Cause, Fault};
use super::provenance::{Origin, Past};

/// Taken off the end of a line it says that what is before is taken away.
const DELETE: &str = "!delete";

/// One layer, or several that were merged. The keys before any section are in the section of the empty name, which is
/// always the first.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Ini {
    pub sections: IndexMap<String, Section>,
}

/// A section.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Section {
    /// Where it was first seen.
    pub origin: Origin,
    /// Whether it is in the file: one that only takes keys away is not.
    pub declared: bool,
    /// Whether it takes the keys of lower layers away.
    pub clears: Option<Origin>,
    pub keys: IndexMap<String, Key>,
}

/// A key.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Key {
    pub origin: Origin,
    /// None: it is taken away.
    pub values: Vec<Value>,
    pub replaced: Vec<Past>,
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    /// What the first line was quoted with.
    pub quote: Option<char>,
    /// Without quotes and indentation; at least one, and only the first may be empty.
    pub lines: Vec<String>,
}

/// Reads a layer.
pub(super) fn parse(text: &str, layer: usize) -> Result<Ini, Fault> {
    let mut reader = Reader { text, layer, ini: Ini::default(), section: String::new(), open: None };
    reader.section("", 1);
    // A byte order mark is no part of the first name.
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    for (index, range) in lines(text, start).enumerate() {
        reader.line(index + 1, range)?;
    }
    Ok(reader.finish())
}

struct Reader<'a> {
    text: &'a str,
    layer: usize,
    ini: Ini,
    /// The section at hand.
    section: String,
    /// The key whose last value indented lines continue.
    open: Option<String>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, range: Range<usize>) -> Result<(), Fault> {
        let whole = self.text.get(range.clone()).unwrap_or("");
        let line = whole.trim_end_matches(is_blank);
        let range = range.start..range.start + line.len();
        let fault = |cause| Fault::at(self.text, range.clone(), cause);
        if line.is_empty() {
            self.open = None;
            return Ok(());
        }
        if line.starts_with([' ', '\t']) {
            let Some(value) = self.open_value() else { return Err(fault(Cause::NothingToContinue)) };
            value.lines.push(line.trim_start_matches(is_blank).to_owned());
            return Ok(());
        }
        self.open = None;
        if line.starts_with(['#', ';']) {
            return Ok(());
        }
        if line.starts_with('[') {
            let (header, clears) = match line.strip_suffix(DELETE) {
                Some(header) => (header.trim_end_matches(is_blank), true),
                None => (line, false),
            };
            let Some(name) = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
                return Err(fault(Cause::OpenSection));
            };
            if name.is_empty() {
                return Err(fault(Cause::NoSection));
            }
            let name = name.to_owned();
            let cause = (clears && self.ini.sections.contains_key(&name)).then_some(Cause::SetAndDeleted);
            if let Some(cause) = cause {
                return Err(fault(cause));
            }
            self.section(&name, number);
            if clears {
                self.clear(&name, number);
            }
            return Ok(());
        }
        let Some(at) = line.find(['=', ':']) else {
            return match line.strip_suffix(DELETE) {
                Some(key) if key.ends_with(is_blank) => {
                    self.set(key.trim_matches(is_blank), None, number).map_err(fault)
                }
                _ => Err(fault(Cause::NoAssignment)),
            };
        };
        let (key, value) = (line[..at].trim_matches(is_blank), line[at + 1..].trim_matches(is_blank));
        self.set(key, Some(unquoted(value)), number).map_err(fault)
    }

    fn open_value(&mut self) -> Option<&mut Value> {
        let key = self.open.as_ref()?;
        self.ini.sections.get_mut(&self.section)?.keys.get_mut(key)?.values.last_mut()
    }

    fn section(&mut self, name: &str, line: usize) {
        name.clone_into(&mut self.section);
        let origin = Origin { layer: self.layer, line };
        self.ini.sections.entry(name.to_owned()).or_insert_with(|| Section {
            origin,
            declared: false,
            clears: None,
            keys: IndexMap::new(),
        });
    }

    fn clear(&mut self, name: &str, line: usize) {
        if let Some(section) = self.ini.sections.get_mut(name) {
            section.clears = Some(Origin { layer: self.layer, line });
        }
    }

    fn set(&mut self, key: &str, value: Option<Value>, line: usize) -> Result<(), Cause> {
        if key.is_empty() {
            return Err(Cause::NoKey);
        }
        // Only behind a blank that oslo.config does not take for indentation, and takes off.
        if let Some(sign) = key.chars().next().filter(|sign| matches!(sign, '[' | '#' | ';')) {
            return Err(Cause::KeySign(sign));
        }
        let origin = Origin { layer: self.layer, line };
        let Some(section) = self.ini.sections.get_mut(&self.section) else { return Ok(()) };
        let known = section.keys.get_mut(key);
        match (known, value) {
            (None, value) => {
                self.open = value.is_some().then(|| key.to_owned());
                let values = value.into_iter().collect();
                section.keys.insert(key.to_owned(), Key { origin, values, replaced: Vec::new() });
            }
            (Some(known), Some(value)) if !known.values.is_empty() => {
                known.values.push(value);
                self.open = Some(key.to_owned());
            }
            (Some(known), None) if known.values.is_empty() => {}
            (Some(_), _) => return Err(Cause::SetAndDeleted),
        }
        Ok(())
    }

    fn finish(mut self) -> Ini {
        for section in self.ini.sections.values_mut() {
            let empty = section.keys.is_empty() && section.clears.is_none();
            section.declared = empty || section.keys.values().any(|key| !key.values.is_empty());
        }
        self.ini
    }
}

/// Quotes around the whole value come off; so does a lone quote.
fn unquoted(value: &str) -> Value {
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\'') && value.ends_with(*first));
    let inner = match quote {
        Some(quote) => value.strip_prefix(quote).map_or("", |rest| rest.strip_suffix(quote).unwrap_or("")),
        None => value,
    };
    Value { quote, lines: vec![inner.to_owned()] }
}

/// What Python's `str.strip` takes off.
pub(super) fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// The lines of a text without their ends: LF, CR LF or CR, as Python reads text files.
fn lines(text: &str, start: usize) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let begin = at;
        while at < bytes.len() && !matches!(bytes[at], b'\n' | b'\r') {
            at += 1;
        }
        let line = begin..at;
        at += if bytes.get(at..at + 2) == Some(b"\r\n") { 2 } else { 1 };
        Some(line)
    })
}

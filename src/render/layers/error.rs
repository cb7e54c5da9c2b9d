//! What is wrong with a layer.

use std::ops::Range;

use super::LayerText;

/// What is wrong with a layer, and where. Its words hold nothing of the text, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}:{line}:{column}: {cause}")]
pub struct LayerError {
    /// Path of the layer.
    pub layer: String,
    /// Line in the rendered text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the rendered text that are at fault.
    pub range: Range<usize>,
    /// What is wrong.
    pub cause: Cause,
    /// Whether the layer uses a secret: then its lines must not be shown.
    pub private: bool,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Neither format can be read as bytes.
    #[error("this is not UTF-8 text")]
    NotText,
    /// INI: a line that is no assignment.
    #[error("this line has neither `=` nor `:`")]
    NoAssignment,
    /// INI: `= value`.
    #[error("there is no key before the value")]
    NoKey,
    /// INI: an indented line with nothing before it.
    #[error("this line is indented, and there is no value before it that it could continue")]
    NothingToContinue,
    /// INI: `[name` or `[name] # comment`.
    #[error("a section's line ends with `]`")]
    OpenSection,
    /// INI: `[]`.
    #[error("the section has no name")]
    NoSection,
    /// INI: a key that could not be read again once the blank before it is gone.
    #[error("a key cannot begin with `{0}`")]
    KeySign(char),
    /// INI: the same layer sets a key or section and takes it away.
    #[error("this layer also sets what it takes away here, or takes away what it sets")]
    SetAndDeleted,
    /// YAML: not to be parsed. What the parser says, unless it may hold a part of a secret.
    #[error("this is not YAML{}", if .0.is_empty() { String::new() } else { format!(": {}", .0) })]
    NotYaml(String),
    /// YAML: a key twice in one mapping.
    #[error("this key stands in its mapping already, in line {0}")]
    SecondKey(usize),
    /// YAML: a list or a mapping as a key.
    #[error("a key is a text, a number or a boolean")]
    KeyNotScalar,
    /// YAML: `<<: 3`.
    #[error("`<<` takes a mapping or a list of mappings")]
    MergeKey,
    /// YAML: more than one document.
    #[error("a second document begins here")]
    SecondDocument,
    /// YAML: an alias within its own anchor.
    #[error("this alias is part of what it stands for")]
    AliasOfItself,
    /// YAML: nested too deeply or unfolding to too much.
    #[error("this is too big: more than {0}")]
    TooBig(&'static str),
    /// YAML: `!delete` or `!replace` where it means nothing.
    #[error("`{0}` means nothing here")]
    MisplacedTag(&'static str),
}

impl LayerError {
    pub(super) fn new(layer: &LayerText, fault: Fault) -> Self {
        let private = layer.rendered.uses_secret;
        let cause = match fault.cause {
            Cause::NotYaml(_) if private => Cause::NotYaml(String::new()),
            cause => cause,
        };
        let Fault { line, column, range, .. } = fault;
        Self { layer: layer.name.clone(), line, column, range, cause, private }
    }

    pub(super) fn nowhere(fault: Fault) -> Self {
        let Fault { line, column, range, cause } = fault;
        Self { layer: String::new(), line, column, range, cause, private: true }
    }

    /// What to do.
    pub fn help(&self) -> Option<&'static str> {
        Some(match &self.cause {
            Cause::NotText => "save it as UTF-8, or do not declare it as INI or YAML, so that it is copied whole",
            Cause::NoAssignment => {
                "write `KEY = VALUE`; a comment begins with `#` in column 1, `KEY !delete` takes a key away, \
                 and a line that goes on with a value is indented"
            }
            Cause::NoKey => "write `KEY = VALUE`",
            Cause::NothingToContinue => {
                "take away the blanks at its start; blank lines, comments and sections end a value"
            }
            Cause::OpenSection => "write `[NAME]` alone in its line; a comment needs a line of its own",
            Cause::NoSection => "write `[NAME]`",
            Cause::KeySign(_) => "take away the odd blank at the start of the line",
            Cause::SetAndDeleted => {
                "keep one of the two; a value replaces those of lower layers by itself, and keys \
                 after `[NAME] !delete` are the new section's"
            }
            Cause::NotYaml(_) => {
                "quote what a template puts in (`\"{{ x }}\"`, or `{{ x | to_json }}`), and indent with blanks"
            }
            Cause::SecondKey(_) => "keep one of them",
            Cause::MergeKey => "write `<<: *NAME`, and `NAME: &NAME` where the mapping stands",
            Cause::KeyNotScalar => "put quotes around a key that starts with `{` or `[`",
            Cause::SecondDocument => "one file, one document: take `---` away",
            Cause::AliasOfItself => "write it out",
            Cause::TooBig(_) => "use fewer aliases of aliases",
            Cause::MisplacedTag("!delete") => {
                "`KEY: !delete` takes a key of a mapping away; a list is replaced as a whole"
            }
            Cause::MisplacedTag(_) => "`KEY: !replace` is for a mapping or a list; a scalar replaces anyway",
        })
    }
}

/// An error before it knows the name of its layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub line: usize,
    pub column: usize,
    pub range: Range<usize>,
    pub cause: Cause,
}

impl Fault {
    /// A fault in a text; `range` is in bytes.
    pub fn at(text: &str, range: Range<usize>, cause: Cause) -> Self {
        let mut start = range.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = text.get(..start).unwrap_or("");
        let (line, line_start) = last_line(before);
        let column = before.get(line_start..).map_or(0, |rest| rest.chars().count()) + 1;
        Self { line, column, range: start..range.end.max(start), cause }
    }
}

/// The number of a text's last line, and where it begins. Lines end as they do for Python: LF, CR LF or CR.
fn last_line(text: &str) -> (usize, usize) {
    let bytes = text.as_bytes();
    let mut line = 1;
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let ends = *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
        if ends {
            line += 1;
            start = at + 1;
        }
    }
    (line, start)
}

//! Where the settings of a merged file come from.

use std::fmt;

/// Where something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the layer, the lowest being 0.
    pub layer: usize,
    /// Line in its rendered text, from 1.
    pub line: usize,
}

/// What a setting was before a higher layer spoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Where it was written.
    pub origin: Origin,
    /// Its values; none where it was taken away.
    pub values: Vec<String>,
}

/// One setting of a merged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// INI: section (empty for the keys before any) and key; a section without keys is there alone. YAML: the keys from
    /// the root on, items of a list by number.
    pub path: Vec<String>,
    /// Which format the path is of, for people.
    pub(super) ini: bool,
    /// Its values: more than one for a key that INI repeats, none where it was taken away.
    pub values: Vec<String>,
    /// Where it was written, the first of its values that is; or where it was taken away.
    pub origin: Origin,
    /// What it was laid over, the most recent last.
    pub replaced: Vec<Past>,
}

impl Setting {
    /// Whether a layer took it away, so that it is not in the file.
    pub fn deleted(&self) -> bool {
        self.values.is_empty()
    }
}

/// The path as people write it: `[section] key`, or `a.b.c`.
impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_slice() {
            [section] if self.ini => write!(formatter, "[{section}]"),
            [section, key] if self.ini && section.is_empty() => formatter.write_str(key),
            [section, key] if self.ini => write!(formatter, "[{section}] {key}"),
            path => formatter.write_str(&path.join(".")),
        }
    }
}

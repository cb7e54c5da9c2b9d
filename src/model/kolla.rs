//! Kolla's image contract: what `config.json` tells the start program of an image.
//!
//! The words are those of the file. What is written by [`crate::render::kolla`] and what is read by the start program of
//! our own images is this one type.

use serde::{Deserialize, Serialize};

/// Where the start program finds `config.json` and the files that it copies.
pub const CONFIG_FILES: &str = "/var/lib/kolla/config_files";
/// Whether files are copied at each start or at the first one only; see [`Strategy`].
pub const STRATEGY_VARIABLE: &str = "KOLLA_CONFIG_STRATEGY";
/// The container's name, for scripts of images.
pub const SERVICE_NAME_VARIABLE: &str = "KOLLA_SERVICE_NAME";
/// The program that applies `config.json` and then runs the command.
pub const START: &str = "kolla_start";

/// A whole `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// What is run in the end. It is split at blanks; quotes mean nothing.
    pub command: String,
    /// What is copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_files: Vec<ConfigFile>,
    /// Owners and permissions of what is there already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// Directories that are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<Made>,
    /// Empty files that are made where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Made>,
}

/// What is copied. Without owner and permissions it needs `preserve_properties`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// A path, which may be a pattern with `*`, `?` and `[...]`.
    pub source: String,
    /// Where it goes; with a slash at the end the directory that it is put into.
    pub dest: String,
    /// `user` or `user:group`; a group that is not named is called like the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Three or four octal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perm: Option<String>,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Whether owner and permissions are those of the source.
    #[serde(default, skip_serializing_if = "is_false")]
    pub preserve_properties: bool,
    /// Whether a directory at the destination keeps what else is in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub merge: bool,
}

/// Owner and permissions of what is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// A path, which may be a pattern.
    pub path: String,
    /// `user` or `user:group`.
    pub owner: String,
    /// Three or four octal digits; none leaves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perm: Option<String>,
    /// Whether all that lies below is meant too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recurse: bool,
    /// Regular expressions; a path below that all of them match is left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// A directory or an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its path; no pattern.
    pub path: String,
    /// `user` or `user:group`.
    pub owner: String,
    /// Three or four octal digits.
    pub perm: String,
}

/// When files are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// At each start of the container.
    #[default]
    CopyAlways,
    /// At its first start only.
    CopyOnce,
}

impl Strategy {
    /// As in the environment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CopyAlways => "COPY_ALWAYS",
            Self::CopyOnce => "COPY_ONCE",
        }
    }

    /// From the environment.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::CopyAlways, Self::CopyOnce].into_iter().find(|strategy| strategy.as_str() == text)
    }
}

/// User and group of an owner as written. A group that is not named is called like the user.
pub fn user_and_group(owner: &str) -> (&str, &str) {
    match owner.split_once(':') {
        Some((user, "")) => (user, user),
        Some((user, group)) => (user, group),
        None => (owner, owner),
    }
}

/// A command as `config.json` has it: words with blanks between them. None if a word is empty or has a blank itself,
/// because the start program knows no quotes.
pub fn command_line(words: &[String]) -> Option<String> {
    let plain = |word: &String| !word.is_empty() && !word.contains(char::is_whitespace);
    words.iter().all(plain).then(|| words.join(" "))
}

/// Whether a path is a pattern.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::{command_line, user_and_group};

    #[test]
    fn a_group_that_is_not_named_is_called_like_the_user() {
        assert_eq!(user_and_group("nova"), ("nova", "nova"));
        assert_eq!(user_and_group("nova:"), ("nova", "nova"));
        assert_eq!(user_and_group("nova:kolla"), ("nova", "kolla"));
    }

    #[test]
    fn a_word_with_a_blank_has_no_place_in_the_command() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(command_line(&words(&["a", "--b=c"])).as_deref(), Some("a --b=c"));
        assert_eq!(command_line(&words(&["sh", "-c", "a b"])), None);
        assert_eq!(command_line(&words(&["a", ""])), None);
    }
}

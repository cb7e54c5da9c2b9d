//! Names that were checked once, where they entered.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Endings that mark the containers of a change under way; no service may be called so.
pub const RESERVED_ENDINGS: [&str; 3] = [".next", ".prev", ".failed"];

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("a name must not be empty")]
    Empty,
    /// Docker takes container names of `[a-zA-Z0-9][a-zA-Z0-9_.-]*`; every name of ours may become part of one.
    #[error("a name takes letters, digits, `_`, `.` and `-`, and starts with a letter or digit")]
    Characters,
    /// File names and labels end at 255; a suffix of ours must still fit.
    #[error("a name has at most 200 characters")]
    Long,
    /// `.next`, `.prev`, `.failed` name the containers of a replacement.
    #[error("a name must not end in `{0}`, which marks a container in a replacement")]
    Reserved(&'static str),
}

fn check(text: &str) -> Result<(), NameError> {
    let mut characters = text.chars();
    match characters.next() {
        None => return Err(NameError::Empty),
        Some(first) if !first.is_ascii_alphanumeric() => return Err(NameError::Characters),
        Some(_) => {}
    }
    if !characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        return Err(NameError::Characters);
    }
    if text.len() > 200 {
        return Err(NameError::Long);
    }
    match RESERVED_ENDINGS.iter().find(|ending| text.ends_with(**ending)) {
        Some(ending) => Err(NameError::Reserved(ending)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the text.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Everything that one desired state declares.
    SiteName
);
name!(
    /// A machine with a Docker-compatible engine.
    HostName
);
name!(
    /// A role as it is used in a site (its `name`, by default the role's own).
    RoleName
);
name!(
    /// A long-running container, wherever it is placed.
    ServiceName
);
name!(
    /// A container that runs to completion.
    JobName
);
name!(
    /// Files that are born at run time and are the same on many hosts.
    FilesetName
);
name!(
    /// What the engine calls a container of ours when no replacement is under way.
    ContainerName
);
name!(
    /// An engine's network.
    NetworkName
);
name!(
    /// An engine's named volume.
    VolumeName
);

impl SiteName {
    /// For a status before any site could be read.
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }
}

impl ContainerName {
    /// The new container while it is prepared.
    pub fn next(&self) -> String {
        format!("{}.next", self.0)
    }

    /// The old container until the new one has passed its gate.
    pub fn prev(&self) -> String {
        format!("{}.prev", self.0)
    }

    /// A container that failed its gate, kept to be looked at.
    pub fn failed(&self) -> String {
        format!("{}.failed", self.0)
    }
}

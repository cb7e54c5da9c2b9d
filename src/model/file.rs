//! Files that Mastic writes for an instance.

use serde::{Deserialize, Serialize};

use super::names::FilesetName;
use super::secret::Sensitive;

/// One file of an instance, rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute path in the container.
    pub target: String,
    /// Path in the site, for people; none for a secret given by value.
    pub source: Option<String>,
    /// What is written.
    pub content: Sensitive,
    /// What people see of it.
    pub shown: Shown,
    /// Permissions, as 0o644.
    pub mode: u32,
    /// User.
    pub owner: Owner,
    /// Group.
    pub group: Owner,
    /// What a change of it needs.
    pub on_change: OnChange,
    /// Where it lies below the directory of the spec: `fixed/0`, or `live/0/name`.
    pub path: String,
    /// The fileset that it is of. Such a file is no part of what was accepted: what it holds is known at run time only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fileset: Option<FilesetName>,
}

/// The rendering with placeholders for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Text with `«secret:NAME»` for each secret.
    Text(String),
    /// Not text, or a secret as a whole: only its length in bytes is shown.
    Opaque(u64),
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Owner {
    /// By number.
    Id(u32),
    /// By name, looked up in the image's /etc/passwd or /etc/group.
    Name(String),
}

/// What has to happen after a file changed. `Replace` files are immutable beside their container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// The process reads it by itself.
    Nothing,
    /// The instance's `reload`: validate, exec, signal.
    Reload,
    /// A restart of the container.
    Restart,
    /// A new container.
    Replace,
}

impl OnChange {
    /// Whether the file lies in a live directory, to be changed under a running container.
    pub fn is_live(self) -> bool {
        self != Self::Replace
    }
}

/// How a running process is told to read its files again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reload {
    /// Run in the container before anything is told; a failure puts the old files back.
    pub validate: Option<Vec<String>>,
    /// Run in the container.
    pub exec: Option<Vec<String>>,
    /// Sent to the container's first process, as `SIGHUP`.
    pub signal: Option<String>,
}

/// A file as it lies on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedFile {
    /// Hex SHA-256 of the content; kept in memory only, as it may be of a secret.
    pub digest: String,
    /// Permissions.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

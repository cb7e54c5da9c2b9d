//! The directories of files that are mounted into containers: `files/INSTANCE/CREATE-HASH/{fixed,live}`.
//!
//! `key` is always `INSTANCE/CREATE-HASH`, `path` always `fixed/...` or `live/...`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::file::ObservedFile;

/// Why files could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FilesError {
    /// What.
    pub path: String,
    /// Why, as the system says (`No space left on device`).
    pub reason: String,
}

/// A file to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct FileToWrite {
    /// `fixed/...` or `live/...`.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
    /// Permissions.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Questions about files.
#[async_trait]
pub trait ObserveFiles: Send + Sync {
    /// Digest, mode and owner of each file of a directory; empty where there is none.
    async fn observe(&self, key: &str) -> Result<BTreeMap<String, ObservedFile>, FilesError>;
    /// All directories that exist.
    async fn keys(&self) -> Result<Vec<String>, FilesError>;
    /// Where the engine finds a path, to mount it.
    fn host_path(&self, key: &str, path: &str) -> String;
    /// How full the disk is that holds the files, in per cent; none where that is not known.
    fn disk_used_percent(&self) -> Option<u8> {
        None
    }
    /// The opposite of `host_path`: key and path of a mount's source; none if it is not one of ours.
    fn managed_path(&self, source: &str) -> Option<(String, String)>;
}

/// Files that may be changed. Each call is whole or not at all for each file: written beside, synced, renamed.
#[async_trait]
pub trait Files: ObserveFiles {
    /// Makes the directory so that it holds exactly these files; what has the right content, mode and owner is not touched.
    async fn write(&self, key: &str, files: &[FileToWrite]) -> Result<(), FilesError>;
    /// Removes a directory with all that is in it.
    async fn remove(&self, key: &str) -> Result<(), FilesError>;
}

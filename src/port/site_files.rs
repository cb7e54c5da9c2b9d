//! The files that a site is written in. What was asked for is remembered, so that an agent knows what to watch.

use std::path::{Path, PathBuf};

/// Why a file of the site could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It does not exist.
    #[error("no such file")]
    Missing,
    /// It exists and cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// One file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// Reading the site's files, read-only.
pub trait SiteFiles {
    /// What is at a path.
    fn kind(&self, path: &Path) -> Result<Kind, ReadError>;
    /// The content of a file.
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError>;
    /// The permissions of a file, as 0o644.
    fn mode(&self, path: &Path) -> Result<u32, ReadError>;
    /// The entries of a directory, sorted, without `.` and `..`.
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, ReadError>;
}

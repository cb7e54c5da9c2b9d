//! The files that a site is written in. What was asked for is remembered, so that an agent knows what to watch.

use std::path::{Path, PathBuf};

use crate::model::secret::Sensitive;

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

/// Why a store of secrets could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// The store itself.
    #[error("cannot read it: {0}")]
    Store(ReadError),
    /// The identity that opens it.
    #[error("cannot read the identity `{path}`: {why}", path = .0.display(), why = .1)]
    Identity(PathBuf, ReadError),
    /// A file that holds something else.
    #[error("`{path}` holds no age identity (a line that begins with AGE-SECRET-KEY-1)", path = .0.display())]
    NoIdentity(PathBuf),
    /// It was encrypted for others.
    #[error("the identity `{path}` does not open it: it was encrypted for others", path = .0.display())]
    WrongIdentity(PathBuf),
    /// It is not what age writes, or not as age wrote it.
    #[error("it is no age file, or it is damaged")]
    Damaged,
    /// These files know no encryption.
    #[error("it cannot be decrypted here")]
    Unavailable,
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
    /// The content of an age file, opened with an identity file.
    fn decrypt(&self, _store: &Path, _identity: &Path) -> Result<Sensitive, DecryptError> {
        Err(DecryptError::Unavailable)
    }
}

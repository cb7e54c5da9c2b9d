//! A lock of images on disk.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::edge::system_words;
use crate::parse::image_lock::Lock;

use super::error::CommandError;

/// The lock, read before anything else is done: one that cannot be read should not be found out after an hour.
pub struct LockFile {
    path: PathBuf,
    /// What it says.
    pub lock: Lock,
}

impl LockFile {
    /// Reads it; one that is not there is empty.
    pub fn open(path: PathBuf) -> Result<Self, CommandError> {
        let wrong = |why: String| CommandError::failed(format!("{}: {why}", path.display()));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(system_words(&error))),
        };
        let lock = Lock::parse(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path, lock })
    }

    /// Puts it in the place of the old one.
    pub fn write(&self) -> Result<(), CommandError> {
        let written = || -> std::io::Result<()> {
            let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty());
            let mut beside = tempfile::NamedTempFile::new_in(directory.unwrap_or_else(|| ".".as_ref()))?;
            beside.write_all(self.lock.render().as_bytes())?;
            beside.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
            beside.as_file().sync_all()?;
            beside.persist(&self.path)?;
            Ok(())
        };
        written().map_err(|error| CommandError::failed(format!("{}: {}", self.path.display(), system_words(&error))))
    }
}

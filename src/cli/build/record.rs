//! `images.lock` on disk.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::build::lock::{FILE, Lock};
use crate::build::summary::Summary;
use crate::edge::system_words;

use super::super::error::CommandError;
use super::Options;
use super::gather::Gathered;

/// The lock, read before anything is built: one that cannot be read should not be found out after an hour.
pub struct Record {
    path: PathBuf,
    lock: Lock,
}

impl Record {
    /// Reads it, and makes sure that there is somewhere to push to.
    pub fn open(gathered: &Gathered, options: &Options) -> Result<Self, CommandError> {
        if gathered.naming.registry.is_empty() {
            return Err(CommandError::usage("there is no registry to push to")
                .hinted("name it with --registry HOST:PORT, or in the site under `images.registry`"));
        }
        debug_assert!(options.push);
        let path = gathered.directory.join(FILE);
        let wrong = |why: String| CommandError::failed(format!("{}: {why}", path.display()));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(system_words(&error))),
        };
        let lock = Lock::parse(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path, lock })
    }

    /// Adds what was pushed. Entries of other images stay.
    pub fn write(mut self, summary: &Summary) -> Result<(), CommandError> {
        if summary.pushed.is_empty() {
            return Ok(());
        }
        for pushed in &summary.pushed {
            self.lock.images.insert(pushed.reference.clone(), pushed.digest.clone());
        }
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

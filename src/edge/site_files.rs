//! The site's files on the local disk. Every path that is asked for is recorded, also one that does not exist (yet).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use super::{age_file, built_in, system_words};
use crate::model::secret::Sensitive;
use crate::port::site_files::{DecryptError, Kind, ReadError, SiteFiles};

/// A site is text for people. What is larger than this is a mistake (a device, an image, a log).
pub const LARGEST: u64 = 16 * 1024 * 1024;

/// What tells that a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    /// The time of the last change: seconds and nanoseconds.
    pub changed: (i64, i64),
}

/// The stamp of a file; none where nothing is.
pub type Stamp = Option<FileStamp>;

impl FileStamp {
    /// The stamp of what is at a path now.
    pub fn of(path: &Path) -> Stamp {
        let found = fs::metadata(path).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Self { device: found.dev(), inode: found.ino(), size: found.size(), changed })
    }
}

/// Reads the site's files and remembers which.
#[derive(Debug, Default)]
pub struct DiskSiteFiles {
    asked: Mutex<BTreeMap<PathBuf, Stamp>>,
}

impl DiskSiteFiles {
    /// With nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All paths that were asked for, files and directories, for the watcher.
    pub fn asked(&self) -> BTreeSet<PathBuf> {
        self.stamps().into_keys().collect()
    }

    /// The same paths, each with its stamp from before it was looked at for the first time.
    pub fn stamps(&self) -> BTreeMap<PathBuf, Stamp> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, path: &Path) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.contains_key(path) {
            asked.insert(path.to_owned(), FileStamp::of(path));
        }
    }
}

fn unreadable(error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        io::ErrorKind::PermissionDenied => ReadError::Unreadable("permission denied".to_owned()),
        _ => ReadError::Unreadable(system_words(error)),
    }
}

fn neither() -> ReadError {
    ReadError::Unreadable("is neither a file nor a directory".to_owned())
}

fn open(path: &Path) -> Result<(File, fs::Metadata), ReadError> {
    // Without NONBLOCK, a pipe would stop us for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(ReadError::Unreadable("is a directory".to_owned()));
    }
    if !metadata.is_file() {
        return Err(neither());
    }
    Ok((file, metadata))
}

impl SiteFiles for DiskSiteFiles {
    fn kind(&self, path: &Path) -> Result<Kind, ReadError> {
        if let Some(answer) = built_in::kind(path) {
            return answer;
        }
        self.record(path);
        let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
        if metadata.is_dir() {
            Ok(Kind::Directory)
        } else if metadata.is_file() {
            Ok(Kind::File)
        } else {
            Err(neither())
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        if let Some(answer) = built_in::read(path) {
            return answer;
        }
        self.record(path);
        let (file, _) = open(path)?;
        let mut content = Vec::new();
        // It may grow while it is read.
        file.take(LARGEST + 1).read_to_end(&mut content).map_err(|error| unreadable(&error))?;
        if content.len() as u64 > LARGEST {
            return Err(ReadError::Unreadable(format!("is larger than {} MiB", LARGEST / 1024 / 1024)));
        }
        Ok(content)
    }

    fn mode(&self, path: &Path) -> Result<u32, ReadError> {
        self.record(path);
        let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
        Ok(metadata.permissions().mode() & 0o7777)
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, ReadError> {
        if let Some(answer) = built_in::list(path) {
            return answer;
        }
        self.record(path);
        let entries = fs::read_dir(path).map_err(|error| unreadable(&error))?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| unreadable(&error))?;
        paths.sort();
        Ok(paths)
    }

    fn decrypt(&self, store: &Path, identity: &Path) -> Result<Sensitive, DecryptError> {
        let ciphertext = self.read(store).map_err(DecryptError::Store);
        // Asked for in any case, so that both are watched.
        let keys = self.read(identity).map_err(|why| DecryptError::Identity(identity.to_owned(), why));
        age_file::decrypt(&ciphertext?, &age_file::identities(&keys?, identity)?, identity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn reads_and_records_all_that_was_asked() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::write(path("b.yaml"), "b").unwrap();
        fs::write(path("a.yaml"), [0xff, 0xfe]).unwrap();
        fs::set_permissions(path("a.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
        let files = DiskSiteFiles::new();
        assert_eq!(files.kind(place.path()), Ok(Kind::Directory));
        assert_eq!(files.kind(&path("b.yaml")), Ok(Kind::File));
        assert_eq!(files.list(place.path()), Ok(vec![path("a.yaml"), path("b.yaml")]));
        assert_eq!(files.read(&path("a.yaml")), Ok(vec![0xff, 0xfe]));
        assert_eq!(files.mode(&path("a.yaml")), Ok(0o640));
        assert_eq!(files.read(&path("c.yaml")), Err(ReadError::Missing));
        let expected = [place.path().to_owned(), path("a.yaml"), path("b.yaml"), path("c.yaml")];
        assert_eq!(files.asked(), BTreeSet::from(expected));
    }

    #[test]
    fn what_is_no_file_of_a_reasonable_size_is_an_error_in_words() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        File::create(path("large")).unwrap().set_len(LARGEST + 1).unwrap();
        File::create(path("largest")).unwrap().set_len(LARGEST).unwrap();
        symlink(path("loop"), path("loop")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let files = DiskSiteFiles::new();
        let reason = |name: &str| files.read(&path(name)).unwrap_err().to_string();
        assert_eq!(files.read(&path("largest")).unwrap().len() as u64, LARGEST);
        assert_eq!(reason("large"), "is larger than 16 MiB");
        assert_eq!(reason("."), "is a directory");
        assert_eq!(reason("pipe"), "is neither a file nor a directory");
        assert_eq!(reason("dangling"), "no such file");
        assert_eq!(reason("loop"), "Too many levels of symbolic links");
        assert_eq!(reason("largest/x"), "Not a directory");
        assert_eq!(files.kind(&path("pipe")).unwrap_err().to_string(), "is neither a file nor a directory");
        assert_eq!(files.list(&path("large")).unwrap_err().to_string(), "Not a directory");
    }
}

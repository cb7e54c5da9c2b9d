//! A directory held open. Everything is reached name by name below it and no symbolic link is ever followed: what a
//! container puts into a directory that is mounted into it cannot lead us elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::port::files::FilesError;

/// Result of a call on a tree.
pub(super) type Outcome<T> = Result<T, FilesError>;

/// Directories that are mounted: users of containers must be able to read them.
pub(super) const MOUNTED: u32 = 0o755;
/// Directories above them: to be passed through, not to be listed.
pub(super) const PASSED: u32 = 0o711;
/// Directories of ours alone.
pub(super) const PRIVATE: u32 = 0o700;

/// Whether a new name is to be on the disk before we go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Yes.
    Now,
    /// The caller sees to it, or does not need it.
    Later,
}

/// An open directory.
#[derive(Debug)]
pub(super) struct Tree {
    fd: OwnedFd,
    path: PathBuf,
}

/// Mode and owner of a file to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// An entry of a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: FileType,
}

/// An open regular file.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    pub(super) stat: sys::Stat,
    path: PathBuf,
}

/// The error for people: the system's words without its number.
pub(super) fn failure(path: &Path, error: &io::Error) -> FilesError {
    FilesError { path: path.display().to_string(), reason: crate::edge::system_words(error) }
}

fn refused(path: &Path) -> impl Fn(Errno) -> FilesError + '_ {
    move |errno| failure(path, &errno.into())
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Tree {
    /// Opens the uppermost directory; none if there is none.
    pub(super) fn open(path: &Path) -> Outcome<Option<Self>> {
        match sys::open(path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused(path)(errno)),
        }
    }

    /// Its path, for people and for calls that need one.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it; none if there is none, or something that is no directory.
    pub(super) fn child(&self, name: impl AsRef<OsStr>) -> Outcome<Option<Self>> {
        let path = self.path.join(name.as_ref());
        match sys::openat(&self.fd, name.as_ref(), DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(refused(&path)(errno)),
        }
    }

    /// A directory in it with these permissions, made where it is missing, in the place of anything that is none.
    pub(super) fn ensure_child(&self, name: &str, mode: u32, sync: Sync) -> Outcome<Self> {
        let path = self.path.join(name);
        if let Some(child) = self.child(name)? {
            let stat = sys::fstat(&child.fd).map_err(refused(&path))?;
            if stat.st_mode & 0o7777 != mode {
                child.permit(mode)?;
            }
            return Ok(child);
        }
        self.unlink(name)?;
        sys::mkdirat(&self.fd, name, Mode::from_raw_mode(PRIVATE)).map_err(refused(&path))?;
        let Some(child) = self.child(name)? else {
            return Err(FilesError { path: path.display().to_string(), reason: "is replaced by somebody".to_owned() });
        };
        child.permit(mode)?;
        if sync == Sync::Now {
            self.sync()?;
        }
        Ok(child)
    }

    /// The directory that a relative path lies in, and its last name.
    pub(super) fn parent<'a>(&self, path: &'a str) -> Outcome<Option<(Self, &'a str)>> {
        let mut tree = self.again()?;
        let Some((parents, name)) = path.rsplit_once('/') else { return Ok(Some((tree, path))) };
        for part in parents.split('/') {
            match tree.child(part)? {
                Some(child) => tree = child,
                None => return Ok(None),
            }
        }
        Ok(Some((tree, name)))
    }

    /// As `parent`, making what is missing.
    pub(super) fn ensure_parent<'a>(&self, path: &'a str, sync: Sync) -> Outcome<(Self, &'a str)> {
        let mut tree = self.again()?;
        let Some((parents, name)) = path.rsplit_once('/') else { return Ok((tree, path)) };
        for part in parents.split('/') {
            tree = tree.ensure_child(part, MOUNTED, sync)?;
        }
        Ok((tree, name))
    }

    fn again(&self) -> Outcome<Self> {
        let fd = self.fd.try_clone().map_err(|error| failure(&self.path, &error))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// What is in it, sorted.
    pub(super) fn entries(&self) -> Outcome<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in sys::Dir::read_from(&self.fd).map_err(refused(&self.path))? {
            let entry = entry.map_err(refused(&self.path))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                match sys::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(refused(&self.path.join(name))(errno)),
                }
            }
            entries.push(Entry { name: OsString::from_vec(name.as_bytes().to_vec()), kind });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// What is at a name, without following it.
    pub(super) fn stat(&self, name: impl AsRef<OsStr>) -> Outcome<Option<sys::Stat>> {
        match sys::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused(&self.path.join(name.as_ref()))(errno)),
        }
    }

    /// Opens a regular file; none if there is none, or something else.
    pub(super) fn file(&self, name: impl AsRef<OsStr>) -> Outcome<Option<OpenFile>> {
        let path = self.path.join(name.as_ref());
        // Without NONBLOCK, a pipe that somebody put there would stop us for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match sys::openat(&self.fd, name.as_ref(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Ok(None),
            Err(errno) => return Err(refused(&path)(errno)),
        };
        let stat = sys::fstat(&fd).map_err(refused(&path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        Ok(Some(OpenFile { file: fd.into(), stat, path }))
    }

    /// Makes a file that does not exist yet; it is not synced.
    pub(super) fn create(&self, name: &str, content: &[u8], access: Access) -> Outcome<OpenFile> {
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = sys::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600)).map_err(refused(&path))?;
        let stat = sys::fstat(&fd).map_err(refused(&path))?;
        let mut made = OpenFile { file: fd.into(), stat, path };
        made.file.write_all(content).map_err(|error| failure(&made.path, &error))?;
        made.permit(access)?;
        Ok(made)
    }

    /// Moves what is at a name of this directory to a name of another one.
    pub(super) fn rename(&self, name: impl AsRef<OsStr>, into: &Self, new: &str) -> Outcome<()> {
        sys::renameat(&self.fd, name.as_ref(), &into.fd, new).map_err(refused(&into.path.join(new)))
    }

    /// Removes what is no directory; done if there is nothing.
    pub(super) fn unlink(&self, name: impl AsRef<OsStr>) -> Outcome<()> {
        match sys::unlinkat(&self.fd, name.as_ref(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(refused(&self.path.join(name.as_ref()))(errno)),
        }
    }

    /// Removes a directory if it is empty.
    pub(super) fn remove_empty(&self, name: impl AsRef<OsStr>) -> Outcome<()> {
        match sys::unlinkat(&self.fd, name.as_ref(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(refused(&self.path.join(name.as_ref()))(errno)),
        }
    }

    /// Writes the names in it to the disk.
    pub(super) fn sync(&self) -> Outcome<()> {
        sys::fsync(&self.fd).map_err(refused(&self.path))
    }

    fn permit(&self, mode: u32) -> Outcome<()> {
        sys::fchmod(&self.fd, Mode::from_raw_mode(mode)).map_err(refused(&self.path))
    }
}

impl OpenFile {
    /// Its mode and owner.
    pub(super) fn access(&self) -> Access {
        Access { mode: self.stat.st_mode & 0o7777, uid: self.stat.st_uid, gid: self.stat.st_gid }
    }

    /// All of it.
    pub(super) fn content(&mut self) -> Outcome<Vec<u8>> {
        let mut content = Vec::new();
        self.file.read_to_end(&mut content).map_err(|error| failure(&self.path, &error))?;
        Ok(content)
    }

    /// The next piece of it; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Outcome<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| failure(&self.path, &error)),
            }
        }
    }

    /// Writes it to the disk.
    pub(super) fn sync(&self) -> Outcome<()> {
        sys::fsync(self.file.as_fd()).map_err(refused(&self.path))
    }

    /// Gives it this mode and owner.
    pub(super) fn permit(&self, access: Access) -> Outcome<()> {
        let has = self.access();
        if (has.uid, has.gid) != (access.uid, access.gid) {
            let (uid, gid) = (Uid::from_raw(access.uid), Gid::from_raw(access.gid));
            sys::fchown(self.file.as_fd(), Some(uid), Some(gid)).map_err(|errno| {
                let words = crate::edge::system_words(&errno.into());
                let reason = format!("cannot be given to {}:{}: {words}", access.uid, access.gid);
                let hint = if errno == Errno::PERM { " (only root may do that)" } else { "" };
                FilesError { path: self.path.display().to_string(), reason: reason + hint }
            })?;
        }
        // After the owner: changing that clears set-user-id.
        sys::fchmod(self.file.as_fd(), Mode::from_raw_mode(access.mode)).map_err(refused(&self.path))
    }
}

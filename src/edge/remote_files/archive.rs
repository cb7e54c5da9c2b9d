//! Archives of files: what one holds, and one to be unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::helper::PLACE;
use crate::model::file::ObservedFile;

/// What lies below a directory, by path.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All that is no directory. What is no file has for a digest what it is.
    pub(super) files: BTreeMap<String, ObservedFile>,
    /// Directories.
    pub(super) directories: BTreeSet<String>,
}

/// Reads the archive of a directory.
pub(super) fn read(bytes: &Bytes) -> io::Result<Found> {
    let mut found = Found::default();
    let mut archive = tar::Archive::new(bytes.as_ref());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // The directory itself comes first.
        let Some((_, path)) = name.trim_end_matches('/').split_once('/') else { continue };
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            found.directories.insert(path.to_owned());
            continue;
        }
        // Never equal to a digest: whoever compares finds that this is not the file that should be there.
        let digest = match kind {
            EntryType::Regular | EntryType::Continuous => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                hex::encode(Sha256::digest(&content))
            }
            EntryType::Symlink => "a symbolic link".to_owned(),
            EntryType::Link => "a hard link".to_owned(),
            EntryType::Fifo => "a pipe".to_owned(),
            _ => "a device".to_owned(),
        };
        let header = entry.header();
        let number = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
        let observed = ObservedFile {
            digest,
            mode: header.mode()? & 0o7777,
            uid: number(header.uid()?),
            gid: number(header.gid()?),
        };
        found.files.insert(path.to_owned(), observed);
    }
    Ok(found)
}

/// Mode and owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Access {
    /// Of root alone.
    pub(super) const ROOT: Self = Self { mode: 0o600, uid: 0, gid: 0 };
}

/// An archive to be unpacked through the helper. Paths are those below its root; an empty one is the root.
#[derive(Default)]
pub(super) struct Pack {
    entries: Vec<(EntryType, String, Access, Vec<u8>)>,
}

fn inside(path: &str) -> String {
    if path.is_empty() { PLACE.to_owned() } else { format!("{PLACE}/{path}") }
}

impl Pack {
    /// A directory. One that is there stays, with this mode.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.entries.push((EntryType::Directory, inside(path), Access { mode, ..Access::ROOT }, Vec::new()));
    }

    /// A file, in place of whatever is there.
    pub(super) fn file(&mut self, path: &str, content: &[u8], access: Access) {
        self.entries.push((EntryType::Regular, inside(path), access, content.to_vec()));
    }

    /// An empty file of root's, in place of whatever is there.
    pub(super) fn nothing(&mut self, path: &str) {
        self.file(path, &[], Access::ROOT);
    }

    /// Another name for the file at `to`, which gets this mode and owner.
    pub(super) fn link(&mut self, path: &str, to: &str, access: Access) {
        self.entries.push((EntryType::Link, inside(path), access, inside(to).into_bytes()));
    }

    /// As bytes.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut builder = Builder::new(Vec::new());
        for (kind, path, access, content) in self.entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(access.mode);
            header.set_uid(access.uid.into());
            header.set_gid(access.gid.into());
            header.set_mtime(now);
            if kind == EntryType::Link {
                header.set_size(0);
                builder.append_link(&mut header, &path, String::from_utf8_lossy(&content).as_ref())?;
            } else {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, &path, content.as_slice())?;
            }
        }
        builder.into_inner().map(Bytes::from)
    }
}

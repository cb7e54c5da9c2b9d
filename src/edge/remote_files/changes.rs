//! What has to be done to a directory so that it holds exactly some files.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::archive::{Access, Found, Pack};
use super::{KEYS, NEW};
use crate::port::files::FileToWrite;

/// Directories that are mounted: users of containers must be able to read them.
const MOUNTED: u32 = 0o755;
/// Directories above them: to be passed through, not to be listed.
const PASSED: u32 = 0o711;
/// Directories of ours alone.
const PRIVATE: u32 = 0o700;

/// Which file needs what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// By number of the file: whether its content is to be written, and not only its mode and owner.
    pub(super) in_archive: BTreeMap<usize, bool>,
    /// Paths that are to go, the uppermost only.
    pub(super) superfluous: Vec<String>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.in_archive.is_empty() && self.superfluous.is_empty()
    }
}

fn access(file: &FileToWrite) -> Access {
    Access { mode: file.mode & 0o7777, uid: file.uid, gid: file.gid }
}

/// The directories that a path lies in, from above.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// Compares.
pub(super) fn between(seen: Option<&Found>, files: &[FileToWrite]) -> Changes {
    let mut changes = Changes::default();
    let nothing = Found::default();
    let seen = seen.unwrap_or(&nothing);
    for (number, file) in files.iter().enumerate() {
        let wanted = access(file);
        match seen.files.get(&file.path) {
            Some(found) if found.digest == hex::encode(Sha256::digest(&file.content)) => {
                if (found.mode, found.uid, found.gid) != (wanted.mode, wanted.uid, wanted.gid) {
                    changes.in_archive.insert(number, false);
                }
            }
            _ => {
                changes.in_archive.insert(number, true);
            }
        }
    }
    let wanted: BTreeSet<&str> =
        files.iter().flat_map(|file| parents(&file.path).chain([file.path.as_str()])).collect();
    // In order, so that a directory comes before what is in it. What is in the way of something wanted is
    // replaced by unpacking that.
    let all: BTreeSet<&String> = seen.files.keys().chain(&seen.directories).collect();
    for path in all {
        let is_top = matches!(path.as_str(), "fixed" | "live");
        let is_inside = changes
            .superfluous
            .iter()
            .any(|gone| path.strip_prefix(gone.as_str()).is_some_and(|rest| rest.starts_with('/')));
        let is_in_a_file = parents(path).any(|parent| files.iter().any(|file| file.path == parent));
        if !is_top && !wanted.contains(path.as_str()) && !is_inside && !is_in_a_file {
            changes.superfluous.push(path.clone());
        }
    }
    changes
}

/// The archive that makes the changes but for what is to go.
pub(super) fn pack(key: &str, files: &[FileToWrite], changes: &Changes) -> Pack {
    let mut pack = Pack::default();
    pack.directory("", PRIVATE);
    pack.nothing(&format!("{KEYS}/{key}"));
    // A file in its place first: with it goes what a broken write has left in the directory.
    pack.nothing(NEW);
    pack.directory(NEW, PRIVATE);
    let beside = |number: usize| format!("{NEW}/{number}");
    let changed =
        || changes.in_archive.iter().filter_map(|(number, whole)| Some((*number, *whole, files.get(*number)?)));
    for (number, whole, file) in changed() {
        if whole {
            pack.file(&beside(number), &file.content, access(file));
        }
    }
    for path in parents(key).chain([key]) {
        pack.directory(path, PASSED);
    }
    let directories: BTreeSet<&str> = files.iter().flat_map(|file| parents(&file.path)).collect();
    for path in directories {
        pack.directory(&format!("{key}/{path}"), MOUNTED);
    }
    for (number, whole, file) in changed() {
        let path = format!("{key}/{}", file.path);
        if whole {
            pack.link(&path, &beside(number), access(file));
        } else {
            pack.link(&beside(number), &path, access(file));
        }
    }
    pack.nothing(NEW);
    pack
}

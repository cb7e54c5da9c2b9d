//! The roles that the program brings along, read as if they were files below `builtin:roles`.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};

use crate::port::site_files::{Kind, ReadError};
use crate::resolve::roles::find::BUILT_IN;

static ROLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/roles");

/// What is at a path below the built-in roles; none where the path is no such path.
pub fn kind(path: &Path) -> Option<Result<Kind, ReadError>> {
    let below = path.strip_prefix(BUILT_IN).ok()?;
    if below.as_os_str().is_empty() {
        return Some(Ok(Kind::Directory));
    }
    Some(match ROLES.get_entry(below) {
        Some(DirEntry::Dir(_)) => Ok(Kind::Directory),
        Some(DirEntry::File(_)) => Ok(Kind::File),
        None => Err(ReadError::Missing),
    })
}

/// The content of a file.
pub fn read(path: &Path) -> Option<Result<Vec<u8>, ReadError>> {
    let below = path.strip_prefix(BUILT_IN).ok()?;
    Some(ROLES.get_file(below).map(|file| file.contents().to_vec()).ok_or(ReadError::Missing))
}

/// The entries of a directory, sorted.
pub fn list(path: &Path) -> Option<Result<Vec<PathBuf>, ReadError>> {
    let below = path.strip_prefix(BUILT_IN).ok()?;
    let directory = if below.as_os_str().is_empty() { Some(&ROLES) } else { ROLES.get_dir(below) };
    Some(directory.ok_or(ReadError::Missing).map(|directory| {
        let mut paths: Vec<PathBuf> =
            directory.entries().iter().map(|entry| Path::new(BUILT_IN).join(entry.path())).collect();
        paths.sort();
        paths
    }))
}

//! Copies of files and directories with their owners and permissions.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use crate::start::permissions::of_directory;
use crate::start::plan::Properties;
use crate::start::problem::Problem;

use super::{say, system};
use crate::edge::system_words;

/// How a copy is to be.
pub(super) struct Wanted {
    /// Owner and permissions; none for those of the source.
    pub(super) properties: Option<Properties>,
    /// Whether a directory at the destination keeps what else is in it, and links stay links.
    pub(super) merge: bool,
    /// Whether it is told when the owner of the source cannot be kept.
    pub(super) keeps_owner: bool,
}

/// Copies a file or a directory. What is at the destination goes away, but for a merge of directories.
pub(super) fn copy(source: &Path, dest: &Path, wanted: &Wanted) -> Result<(), Problem> {
    if !wanted.merge && (dest.is_dir() || source.is_dir()) {
        remove(dest)?;
    }
    if let Some(parent) = dest.parent() {
        fs::create_dir_all(parent).map_err(|why| refused("make the directory", parent, &why))?;
    }
    lay(source, dest, wanted)
}

fn lay(source: &Path, dest: &Path, wanted: &Wanted) -> Result<(), Problem> {
    if !source.is_dir() {
        return copy_file(source, dest, wanted);
    }
    if !dest.is_dir() {
        remove(dest)?;
        fs::create_dir_all(dest).map_err(|why| refused("make the directory", dest, &why))?;
    }
    let failed = |why: io::Error| refused("look through", source, &why);
    set_wanted(source, dest, wanted)?;
    for entry in fs::read_dir(source).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        lay(&entry.path(), &dest.join(entry.file_name()), wanted)?;
    }
    Ok(())
}

/// A process that reads the destination meanwhile sees the old file or the new one, never a part of it.
fn copy_file(source: &Path, dest: &Path, wanted: &Wanted) -> Result<(), Problem> {
    if dest.is_dir() && !dest.is_symlink() {
        remove(dest)?;
    }
    let new = beside(dest);
    // What an interrupted start has left must not be followed or written through.
    let _ = fs::remove_file(&new);
    if wanted.merge && wanted.properties.is_none() && source.is_symlink() {
        let target = fs::read_link(source).map_err(|why| refused("read", source, &why))?;
        symlink(target, &new).map_err(|why| refused("write", dest, &why))?;
        return fs::rename(&new, dest).map_err(|why| refused("write", dest, &why));
    }
    let mut from = File::open(source).map_err(|why| refused("read", source, &why))?;
    let mut to = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new) {
        Ok(to) => to,
        // In a directory that is not this user's, a file that is its own can still be written.
        Err(why) if why.kind() == ErrorKind::PermissionDenied => {
            let own = OpenOptions::new().write(true).truncate(true).open(dest);
            let mut to = own.map_err(|_| refused("write", dest, &why))?;
            io::copy(&mut from, &mut to).map_err(|why| refused("write", dest, &why))?;
            return set_wanted(source, dest, wanted);
        }
        Err(why) => return Err(refused("write", dest, &why)),
    };
    let copied = io::copy(&mut from, &mut to)
        .map_err(|why| refused("write", dest, &why))
        .and_then(|_| set_wanted(source, &new, wanted))
        .and_then(|()| fs::rename(&new, dest).map_err(|why| refused("write", dest, &why)));
    if copied.is_err() {
        let _ = fs::remove_file(&new);
    }
    copied
}

/// The name under which a file is written before it takes its place.
fn beside(dest: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(dest.file_name().unwrap_or_default());
    name.push(".mastic-start");
    dest.with_file_name(name)
}

/// A path as people know it: that of the destination for the file that is about to take its place.
fn known(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str());
    match name.and_then(|name| name.strip_prefix('.')?.strip_suffix(".mastic-start")) {
        Some(name) => path.with_file_name(name),
        None => path.to_path_buf(),
    }
}

/// Removes whatever is there.
pub(super) fn remove(path: &Path) -> Result<(), Problem> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|why| refused("remove", path, &why))
}

fn set_wanted(source: &Path, dest: &Path, wanted: &Wanted) -> Result<(), Problem> {
    match wanted.properties {
        Some(properties) => set_properties(dest, properties),
        None => take_properties(source, dest, wanted.keeps_owner),
    }
}

/// Permissions, time and owner of the source.
fn take_properties(source: &Path, dest: &Path, tell: bool) -> Result<(), Problem> {
    let found = fs::metadata(source).map_err(|why| refused("read", source, &why))?;
    set_mode(dest, found.mode() & 0o7777)?;
    if let (Ok(time), Ok(file)) = (found.modified(), File::open(dest)) {
        // A time that cannot be kept harms nobody.
        let _ = file.set_modified(time);
    }
    match chown(dest, Some(found.uid()), Some(found.gid())) {
        Err(why) if user() == 0 => Err(refused("set the owner of", dest, &why)),
        Err(_) if tell => {
            say(&format!("{} stays this user's, who cannot give files away", dest.display()));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Owner and permissions. Root is told what the system refuses and goes on, as Kolla's program does: what is mounted
/// read-only stays as it is. For a plain user it is an error, because the image was not made for that user.
pub(super) fn set_properties(path: &Path, properties: Properties) -> Result<(), Problem> {
    let Properties { uid, gid, mode } = properties;
    let found = fs::metadata(path).map_err(|why| refused("look at", path, &why))?;
    if (found.uid(), found.gid()) != (uid, gid)
        && let Err(why) = chown(path, Some(uid), Some(gid))
    {
        let what = format!("give {} to {uid}:{gid}", known(path).display());
        match user() {
            0 => say(&format!("cannot {what}: {}", system_words(&why))),
            user => {
                let why =
                    format!("{}; an image that runs as a plain user has files of that user only", system_words(&why));
                return Err(Problem::NotAllowed { what, user, why });
            }
        }
    }
    let Some(mode) = mode else { return Ok(()) };
    match set_mode(path, mode_of(&found, mode)) {
        Err(problem) if user() == 0 => say(&problem.to_string()),
        other => other?,
    }
    Ok(())
}

/// The permissions that something is to have: who may read a directory may enter it.
pub(super) fn mode_of(found: &Metadata, mode: u32) -> u32 {
    if found.is_dir() { of_directory(mode) } else { mode }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Problem> {
    let found = fs::metadata(path).map_err(|why| refused("look at", path, &why))?;
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|why| refused(&format!("set the permissions {mode:04o} of"), path, &why))
}

/// The user that this process is.
pub(super) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What the system refuses, and to whom.
fn refused(doing: &str, path: &Path, why: &io::Error) -> Problem {
    let path = &known(path);
    match (why.kind(), user()) {
        (ErrorKind::PermissionDenied, user @ 1..) => {
            Problem::NotAllowed { what: format!("{doing} {}", path.display()), user, why: system_words(why) }
        }
        _ => system(doing, path, why),
    }
}

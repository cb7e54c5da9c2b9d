//! Small private files that are replaced as a whole: written beside, synced, renamed, and the directory synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The content; none where there is no file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the file hold this, for us alone. What holds it already is not touched.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    make_directory(directory)?;
    let mut beside = name.to_owned();
    beside.push(".tmp");
    let beside = directory.join(beside);
    let written = write_beside(&beside, content).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // On a full disk a half file would make it worse. The failure itself is what is told.
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync(directory)
}

fn write_beside(beside: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a directory, and those above it, for us alone.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // The parent of a relative name is where we are.
    directory
        .parent()
        .map_or(Ok(()), |parent| if parent.as_os_str().is_empty() { sync(Path::new(".")) } else { sync(parent) })
}

/// Writes the names in a directory to the disk.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn writes_for_us_alone_and_leaves_nothing_beside() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("below/it.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_may_be_named_by_where_we_are() {
        let name = format!("target-atomic-{}", std::process::id());
        let made = make_directory(Path::new(&name));
        fs::remove_dir(&name).unwrap();
        made.unwrap();
    }

    #[test]
    fn does_not_write_what_is_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("it");
        write(&path, b"one").unwrap();
        let before = path.metadata().unwrap();
        write(&path, b"one").unwrap();
        assert_eq!(before.ino(), path.metadata().unwrap().ino());
    }

    #[test]
    fn a_leftover_or_planted_link_beside_is_replaced_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let (path, victim) = (place.path().join("it"), place.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, place.path().join("it.tmp")).unwrap();
        write(&path, b"one").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}

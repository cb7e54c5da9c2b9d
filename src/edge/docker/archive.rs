//! Files of containers, which the engine hands out as tar archives.
//!
//! In: an archive of one path. Out: the file's content, or where a symbolic link leads; the files of a directory.

use std::io::Read;

use bytes::Bytes;

use crate::model::fileset::{self, Contents};
use crate::model::secret::Sensitive;
use crate::port::engine::{Answer, EngineError};
use crate::port::files::FileToWrite;

/// What lies at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file.
    File(Bytes),
    /// A link, and where it leads, from the root of the container.
    Link(String),
}

/// Reads the archive of `path`.
pub(super) fn read(path: &str, archive: &[u8], limit: u64) -> Answer<Entry> {
    let broken =
        |error: std::io::Error| EngineError::Failed(format!("{path}: the engine's archive is broken: {error}"));
    let mut archive = tar::Archive::new(archive);
    let mut entry = match archive.entries().map_err(broken)?.next() {
        Some(entry) => entry.map_err(broken)?,
        None => return Err(EngineError::NotFound(format!("{path}: the engine's archive is empty"))),
    };
    let kind = entry.header().entry_type();
    if kind.is_symlink() {
        let link = entry.link_name().map_err(broken)?.unwrap_or_default().to_string_lossy().into_owned();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let full = if link.starts_with('/') { link } else { format!("{parent}/{link}") };
        return Ok(Entry::Link(super::normal::path(&full)));
    }
    if !kind.is_file() {
        return Err(EngineError::Refused(format!("{path} is no file")));
    }
    if entry.size() > limit {
        return Err(EngineError::Refused(format!("{path} is larger than {limit} bytes")));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(broken)?;
    Ok(Entry::File(content.into()))
}

/// Reads the archive of a directory that holds nothing but files.
pub(super) fn files(path: &str, archive: &[u8]) -> Answer<Contents> {
    let broken =
        |error: std::io::Error| EngineError::Failed(format!("{path}: the engine's archive is broken: {error}"));
    let (mut found, mut size) = (Contents::new(), 0);
    for entry in tar::Archive::new(archive).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // The directory itself comes first.
        let Some((_, name)) = name.split_once('/').filter(|(_, name)| !name.is_empty()) else { continue };
        let name = name.to_owned();
        if !entry.header().entry_type().is_file() || name.contains('/') {
            return Err(EngineError::Refused(format!("{path}/{name} is no file, and a fileset has nothing else")));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        size += content.len();
        if size > fileset::MOST {
            return Err(EngineError::Refused(format!("the files in {path} are larger than {} bytes", fileset::MOST)));
        }
        found.insert(name, Sensitive::new(content));
    }
    Ok(found)
}

/// The archive that puts files into a directory, from the root.
pub(super) fn pack(directory: &str, files: &[FileToWrite]) -> std::io::Result<Bytes> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(file.mode);
        header.set_uid(file.uid.into());
        header.set_gid(file.gid.into());
        header.set_size(file.content.len() as u64);
        let path = format!("{}/{}", directory.trim_matches('/'), file.path);
        builder.append_data(&mut header, path, file.content.as_slice())?;
    }
    builder.into_inner().map(Bytes::from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_again_and_anything_but_files_is_refused() {
        let file = |path: &str, content: &str| FileToWrite {
            path: path.to_owned(),
            content: content.into(),
            mode: 0o600,
            uid: 7,
            gid: 8,
        };
        let packed = pack("/keys/", &[file("0", "a"), file("1", "b")]).unwrap();
        let found = files("/keys", &packed).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(found["1"].expose(), b"b");
        let header = tar::Archive::new(packed.as_ref()).entries().unwrap().next().unwrap().unwrap().header().clone();
        assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o600, 7, 8));
        let deeper = pack("/keys", &[file("sub/0", "a")]).unwrap();
        assert!(matches!(files("/keys", &deeper), Err(EngineError::Refused(_))));
        let large = pack("/keys", &[file("0", &"x".repeat(fileset::MOST + 1))]).unwrap();
        assert!(matches!(files("/keys", &large), Err(EngineError::Refused(_))));
    }

    fn archive(kind: tar::EntryType, link: &str, content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            header.set_path("name").unwrap();
            header.set_cksum();
            builder.append(&header, content).unwrap();
        } else {
            builder.append_link(&mut header, "name", link).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_links_and_others() {
        let file = archive(tar::EntryType::Regular, "", b"text");
        assert_eq!(read("/etc/name", &file, 10).unwrap(), Entry::File(Bytes::from_static(b"text")));
        assert!(matches!(read("/etc/name", &file, 3), Err(EngineError::Refused(_))));
        let link = archive(tar::EntryType::Symlink, "../run/x", b"");
        assert_eq!(read("/etc/name", &link, 10).unwrap(), Entry::Link("/run/x".into()));
        let directory = archive(tar::EntryType::Directory, "", b"");
        assert!(matches!(read("/etc", &directory, 10), Err(EngineError::Refused(_))));
        assert!(matches!(read("/etc", b"", 10), Err(EngineError::NotFound(_))));
    }
}

//! Files of containers, which the engine hands out as tar archives.
//!
//! In: an archive of one path. Out: the file's content, or where a symbolic link leads.

use std::io::Read;

use bytes::Bytes;

use crate::port::engine::{Answer, EngineError};

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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

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

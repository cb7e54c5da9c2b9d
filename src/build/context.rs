//! The context of a build as a tar archive: the same files are the same bytes, whenever and wherever it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use super::recipe::Recipe;

/// The Dockerfile's name in the context.
pub const DOCKERFILE: &str = "Dockerfile";

/// Where a file of the context comes from that does not lie in the folder.
pub struct Supplied {
    /// Its bytes.
    pub content: Box<dyn Read + Send>,
    /// How many.
    pub size: u64,
    /// Whether it is a program.
    pub executable: bool,
}

impl std::fmt::Debug for Supplied {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Supplied({} bytes)", self.size)
    }
}

/// Writes the archive: names sorted, all of root, time at the epoch.
pub fn write(recipe: &Recipe, supplied: BTreeMap<String, Supplied>, output: impl Write) -> io::Result<()> {
    let mut files: BTreeMap<String, Supplied> = recipe
        .files
        .iter()
        .map(|(path, file)| {
            let content = io::Cursor::new(std::sync::Arc::clone(&file.content));
            let size = file.content.len() as u64;
            (path.clone(), Supplied { content: Box::new(content), size, executable: file.executable })
        })
        .collect();
    files.extend(supplied);
    let text = recipe.dockerfile.clone().into_bytes();
    let size = text.len() as u64;
    files.insert(DOCKERFILE.to_owned(), Supplied { content: Box::new(io::Cursor::new(text)), size, executable: false });
    let mut archive = tar::Builder::new(output);
    let mut directories = BTreeSet::new();
    for (path, file) in files {
        for (at, _) in path.match_indices('/') {
            let directory = &path[..=at];
            if directories.insert(directory.to_owned()) {
                let mut header = header(tar::EntryType::Directory, 0, 0o755);
                archive.append_data(&mut header, directory, io::empty())?;
            }
        }
        let mut header = header(tar::EntryType::Regular, file.size, if file.executable { 0o755 } else { 0o644 });
        archive.append_data(&mut header, &path, file.content)?;
    }
    archive.into_inner()?.flush()
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

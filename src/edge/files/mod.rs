//! The files of instances on the local disk, below `STATE/files`.
//!
//! `INSTANCE/CREATE-HASH/{fixed,live}` are mounted, and `INSTANCE/.tmp` is where everything is made before it is renamed to its place: a container never sees a half of
//! it, and after a crash there is one place to be cleaned.

mod change;
mod digests;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rustix::fs::FileType;

use self::change::Instance;
use self::digests::Digests;
use self::tree::{Outcome, Tree};
use crate::model::file::ObservedFile;
use crate::port::files::{FileToWrite, Files, FilesError, ObserveFiles};

const FIXED: &str = "fixed";
const LIVE: &str = "live";
const TEMPORARY: &str = ".tmp";

/// Deeper nothing of ours lies; what a container nests deeper is reported as one thing and not looked into.
const DEEPEST: usize = 16;

/// The files of all instances of this host.
#[derive(Clone, Debug)]
pub struct DiskFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `STATE/files`, absolute and without symbolic links.
    root: PathBuf,
    digests: Mutex<Digests>,
    /// One change at a time for each instance.
    changing: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl DiskFiles {
    /// The files below a state directory, which need not exist yet. Nothing is written.
    pub fn open(state: &Path) -> Result<Self, FilesError> {
        let root = real_path(state).map_err(|error| tree::failure(state, &error))?.join("files");
        if root.to_str().is_none() {
            return Err(FilesError { path: state.display().to_string(), reason: "is not valid UTF-8".to_owned() });
        }
        let (digests, changing) = (Mutex::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { root, digests, changing }) })
    }

    /// The directory that all of them lie in.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Removes what a crash left half-made. Only for who holds the lock.
    pub async fn clean(&self) -> Result<(), FilesError> {
        self.run(|shared| {
            let Some(root) = Tree::open(&shared.root)? else { return Ok(()) };
            for entry in root.entries()? {
                if let Some(name) = entry.name.to_str().filter(|_| entry.kind == FileType::Directory) {
                    shared.change(name, Instance::clean)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Outcome<T> + Send + 'static,
    ) -> Result<T, FilesError> {
        let shared = Arc::clone(&self.shared);
        let path = shared.root.display().to_string();
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(outcome) => outcome,
            Err(broken) => Err(FilesError { path, reason: format!("the work on files was broken off: {broken}") }),
        }
    }
}

impl Shared {
    /// Does something to an instance, alone.
    fn change<T>(&self, instance: &str, work: impl FnOnce(&Instance) -> Outcome<T>) -> Outcome<T> {
        let turn = {
            let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(changing.entry(instance.to_owned()).or_default())
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        work(&Instance::new(&self.root, instance))
    }

    fn observe(&self, key: &str) -> Outcome<BTreeMap<String, ObservedFile>> {
        let (instance, hash) = split(key)?;
        let mut found = BTreeMap::new();
        let Some(root) = Tree::open(&self.root)? else { return Ok(found) };
        let Some(home) = root.child(instance)? else { return Ok(found) };
        let Some(place) = home.child(hash)? else { return Ok(found) };
        let mut seen = digests::Seen::default();
        for side in [FIXED, LIVE] {
            if let Some(tree) = place.child(side)? {
                self.observe_tree(&tree, side, &mut found, &mut seen, key)?;
            }
        }
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).keep(key, seen);
        Ok(found)
    }

    fn observe_tree(
        &self,
        top: &Tree,
        side: &str,
        found: &mut BTreeMap<String, ObservedFile>,
        seen: &mut digests::Seen,
        key: &str,
    ) -> Outcome<()> {
        visit(top, side, &mut |tree, entry, path| {
            if entry.kind == FileType::RegularFile {
                let Some(mut file) = tree.file(&entry.name)? else { return Ok(()) };
                let stamp = digests::Stamp::of(&file.stat);
                let known = self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(key, path, &stamp);
                let digest = match known {
                    Some(digest) => digest,
                    None => digests::digest(&mut file)?,
                };
                seen.add(path, stamp, &digest);
                let access = file.access();
                let observed = ObservedFile { digest, mode: access.mode, uid: access.uid, gid: access.gid };
                found.insert(path.to_owned(), observed);
            } else if let Some(stat) = tree.stat(&entry.name)? {
                // Never equal to a digest: whoever compares finds that this is not the file that should be there.
                let digest = match entry.kind {
                    FileType::Symlink => "a symbolic link",
                    FileType::Directory => "a directory",
                    FileType::Fifo => "a pipe",
                    FileType::Socket => "a socket",
                    _ => "a device",
                };
                let mode = stat.st_mode & 0o7777;
                let observed = ObservedFile { digest: digest.to_owned(), mode, uid: stat.st_uid, gid: stat.st_gid };
                found.insert(path.to_owned(), observed);
            }
            Ok(())
        })
    }

    fn keys(&self) -> Outcome<Vec<String>> {
        let mut keys = Vec::new();
        let Some(root) = Tree::open(&self.root)? else { return Ok(keys) };
        for instance in root.entries()? {
            let Some(home) = root.child(&instance.name)? else { continue };
            for hash in home.entries()? {
                if hash.kind != FileType::Directory {
                    continue;
                }
                if let (Some(instance), Some(hash)) = (instance.name.to_str(), hash.name.to_str())
                    && hash != TEMPORARY
                {
                    keys.push(format!("{instance}/{hash}"));
                }
            }
        }
        Ok(keys)
    }
}

/// Called with the directory that an entry lies in, the entry, and its path.
type OnEntry<'a> = dyn FnMut(&Tree, &tree::Entry, &str) -> Outcome<()> + 'a;

/// Visits all that is in a tree and is no directory, and what is too deep to be looked into.
fn visit(tree: &Tree, path: &str, on_entry: &mut OnEntry<'_>) -> Outcome<()> {
    visit_to(tree, path, DEEPEST, on_entry)
}

fn visit_to(tree: &Tree, path: &str, depth: usize, on_entry: &mut OnEntry<'_>) -> Outcome<()> {
    for entry in tree.entries()? {
        let path = format!("{path}/{}", entry.name.to_string_lossy());
        if entry.kind != FileType::Directory || depth == 0 {
            on_entry(tree, &entry, &path)?;
        } else if let Some(child) = tree.child(&entry.name)? {
            visit_to(&child, &path, depth - 1, on_entry)?;
        }
    }
    Ok(())
}

/// `INSTANCE/CREATE-HASH` in its parts.
pub(in crate::edge) fn split(key: &str) -> Outcome<(&str, &str)> {
    match key.split_once('/') {
        Some((instance, hash)) if is_name(instance) && is_name(hash) => Ok((instance, hash)),
        _ => Err(FilesError { path: key.to_owned(), reason: "is no directory of an instance's files".to_owned() }),
    }
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0'])
}

/// Whether a path is one of a file: below `fixed` or `live`, with plain names only.
pub(in crate::edge) fn is_path(path: &str) -> bool {
    let mut parts = path.split('/');
    matches!(parts.next(), Some(FIXED | LIVE))
        && path.contains('/')
        && parts.clone().count() < DEEPEST
        && parts.all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

/// The path without symbolic links, as far as it exists.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut existing = path.as_path();
    loop {
        match existing.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path: PathBuf, name| path.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match (existing.parent(), existing.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name);
                    existing = parent;
                }
                _ => return Ok(path),
            },
            Err(error) => return Err(error),
        }
    }
}

#[async_trait]
impl ObserveFiles for DiskFiles {
    async fn observe(&self, key: &str) -> Result<BTreeMap<String, ObservedFile>, FilesError> {
        let key = key.to_owned();
        self.run(move |shared| shared.observe(&key)).await
    }

    async fn keys(&self) -> Result<Vec<String>, FilesError> {
        self.run(Shared::keys).await
    }

    fn host_path(&self, key: &str, path: &str) -> String {
        format!("{}/{key}/{path}", self.shared.root.display())
    }

    fn disk_used_percent(&self) -> Option<u8> {
        let disk = rustix::fs::statvfs(&self.shared.root).ok()?;
        // As df(1) counts: what root keeps for itself is not free.
        let used = disk.f_blocks.saturating_sub(disk.f_bfree);
        let all = used.saturating_add(disk.f_bavail);
        u8::try_from((used.saturating_mul(100)).checked_div(all)?).ok()
    }

    fn managed_path(&self, source: &str) -> Option<(String, String)> {
        let mut parts = Vec::new();
        for component in Path::new(source).strip_prefix(&self.shared.root).ok()?.components() {
            match component {
                Component::Normal(part) => parts.push(part.to_str()?),
                _ => return None,
            }
        }
        let [instance, hash, path @ ..] = parts.as_slice() else { return None };
        let path = path.join("/");
        is_path(&path).then(|| (format!("{instance}/{hash}"), path))
    }
}

#[async_trait]
impl Files for DiskFiles {
    async fn write(&self, key: &str, files: &[FileToWrite]) -> Result<(), FilesError> {
        let (key, files) = (key.to_owned(), files.to_vec());
        self.run(move |shared| {
            let (instance, hash) = split(&key)?;
            if let Some(file) = files.iter().find(|file| !is_path(&file.path)) {
                let reason = "is no path of a managed file".to_owned();
                return Err(FilesError { path: file.path.clone(), reason });
            }
            shared.change(instance, |instance| instance.write(hash, &files))
        })
        .await
    }

    async fn remove(&self, key: &str) -> Result<(), FilesError> {
        let key = key.to_owned();
        self.run(move |shared| {
            let (instance, hash) = split(&key)?;
            shared.change(instance, |instance| instance.remove(hash))?;
            shared.digests.lock().unwrap_or_else(PoisonError::into_inner).forget(&key);
            Ok(())
        })
        .await
    }
}

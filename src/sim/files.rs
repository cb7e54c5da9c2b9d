//! The managed files of a simulated host: `files/INSTANCE/CREATE-HASH/{fixed,live}` in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::faults::Moment;
use super::world::{SimHost, Started};
use crate::model::file::ObservedFile;
use crate::model::fileset::Contents;
use crate::model::secret::Sensitive;
use crate::port::files::{FileToWrite, Files, FilesError, ObserveFiles};

/// All directories of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct FilesState {
    directories: BTreeMap<String, Directory>,
    /// Directories that cannot be read, with the reason.
    pub(super) unreadable: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    files: BTreeMap<String, SimFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SimFile {
    content: Vec<u8>,
    seen: ObservedFile,
}

impl SimFile {
    fn new(content: Vec<u8>, mode: u32, uid: u32, gid: u32) -> Self {
        let digest = hex::encode(Sha256::digest(&content));
        Self { content, seen: ObservedFile { digest, mode, uid, gid } }
    }
}

/// Where the engine of a host finds the files.
fn root(host: &str) -> String {
    format!("/sim/{host}/files/")
}

impl FilesState {
    /// Whether a path below our root is not there; paths of others always are.
    pub(super) fn is_missing(&self, host: &str, source: &str) -> bool {
        let Some((key, path)) = split(host, source) else { return false };
        let Some(directory) = self.directories.get(&key) else { return true };
        let below = format!("{path}/");
        !directory.files.keys().any(|file| *file == path || file.starts_with(&below))
    }

    /// The content of a file below a mount's source.
    pub(super) fn read(&self, host: &str, source: &str, below: &str) -> Option<Vec<u8>> {
        let (key, path) = split(host, source)?;
        let path = if below.is_empty() { path } else { format!("{path}/{below}") };
        self.directories.get(&key)?.files.get(&path).map(|file| file.content.clone())
    }

    /// The files of a directory that is mounted, by name.
    pub(super) fn below(&self, host: &str, source: &str) -> Contents {
        let Some((key, path)) = split(host, source) else { return Contents::new() };
        let files = self.directories.get(&key).into_iter().flat_map(|directory| &directory.files);
        let below = format!("{path}/");
        files
            .filter_map(|(name, file)| {
                Some((name.strip_prefix(&below)?.to_owned(), Sensitive::new(file.content.clone())))
            })
            .collect()
    }

    /// Content of all live files of a directory.
    pub(super) fn all(&self, host: &str, source: &str) -> Vec<&[u8]> {
        let Some((key, path)) = split(host, source) else { return Vec::new() };
        let files = self.directories.get(&key).into_iter().flat_map(|directory| &directory.files);
        files.filter(|(name, _)| name.starts_with(&path)).map(|(_, file)| file.content.as_slice()).collect()
    }

    /// Changes a file by hand; whether there was one.
    pub(super) fn tamper(&mut self, key: &str, path: &str, tampering: Tampering) -> bool {
        let Some(directory) = self.directories.get_mut(key) else { return false };
        let Some(file) = directory.files.get_mut(path) else { return false };
        match tampering {
            Tampering::Content(content) => {
                *file = SimFile::new(content, file.seen.mode, file.seen.uid, file.seen.gid);
            }
            Tampering::Mode(mode) => file.seen.mode = mode,
            Tampering::Owner(uid, gid) => (file.seen.uid, file.seen.gid) = (uid, gid),
            Tampering::Removed => {
                directory.files.remove(path);
            }
        }
        true
    }

    /// All files as (key, path).
    pub(super) fn paths(&self) -> Vec<(String, String)> {
        let directories = self.directories.iter();
        directories
            .flat_map(|(key, directory)| directory.files.keys().map(|path| (key.clone(), path.clone())))
            .collect()
    }
}

/// What is done to a file by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// Other content.
    Content(Vec<u8>),
    /// Other permissions.
    Mode(u32),
    /// Another user and group.
    Owner(u32, u32),
    /// It is gone.
    Removed,
}

/// `key` and `path` of a path on the host, if it is below our root.
pub(super) fn split(host: &str, source: &str) -> Option<(String, String)> {
    let rest = source.strip_prefix(&root(host))?;
    let mut parts = rest.splitn(3, '/');
    let (instance, hash, path) = (parts.next()?, parts.next()?, parts.next()?);
    Some((format!("{instance}/{hash}"), path.to_owned()))
}

/// The files of a simulated host.
#[derive(Clone, Debug)]
pub struct SimFiles {
    host: SimHost,
}

impl SimFiles {
    pub(super) fn new(host: SimHost) -> Self {
        Self { host }
    }

    /// A call that changes files; `act` gets whether only half of it is to be done.
    async fn change(
        &self,
        verb: &str,
        key: &str,
        act: impl FnOnce(&mut FilesState, bool) + Send,
    ) -> Result<(), FilesError> {
        let started = self.host.begin(verb, key, true).await;
        let done = {
            let mut state = self.host.state();
            let refusal = match &started {
                Started { fault: Some(fault), .. } => Some(fault.error().to_string()),
                _ => state.disk.refusal().map(ToOwned::to_owned),
            };
            let line = format!("{verb} {key}");
            if let Some(reason) = refusal {
                state.note(&format!("{line}: {reason}"));
                Err(FilesError { path: key.to_owned(), reason })
            } else {
                if started.death != Some(Moment::Before) {
                    state.watch_change(&line);
                    if verb == "remove files" {
                        state.watch_files_removal(&format!("{}{key}/", root(self.host.name())));
                    }
                    act(&mut state.files, started.death == Some(Moment::During));
                }
                Ok(())
            }
        };
        self.host.end(&started).await;
        done
    }
}

#[async_trait]
impl ObserveFiles for SimFiles {
    async fn observe(&self, key: &str) -> Result<BTreeMap<String, ObservedFile>, FilesError> {
        self.host.alive().await;
        let state = self.host.state();
        if let Some(reason) = state.files.unreadable.get(key) {
            return Err(FilesError { path: key.to_owned(), reason: reason.clone() });
        }
        let files = state.files.directories.get(key).into_iter().flat_map(|directory| &directory.files);
        Ok(files.map(|(path, file)| (path.clone(), file.seen.clone())).collect())
    }

    async fn keys(&self) -> Result<Vec<String>, FilesError> {
        self.host.alive().await;
        Ok(self.host.state().files.directories.keys().cloned().collect())
    }

    fn host_path(&self, key: &str, path: &str) -> String {
        format!("{}{key}/{path}", root(self.host.name()))
    }

    fn managed_path(&self, source: &str) -> Option<(String, String)> {
        split(self.host.name(), source)
    }
}

#[async_trait]
impl Files for SimFiles {
    async fn write(&self, key: &str, files: &[FileToWrite]) -> Result<(), FilesError> {
        self.change("write files", key, |state, half| {
            let directory = state.directories.entry(key.to_owned()).or_default();
            let count = if half { files.len() / 2 } else { files.len() };
            for file in files.iter().take(count) {
                let new = SimFile::new(file.content.clone(), file.mode, file.uid, file.gid);
                directory.files.insert(file.path.clone(), new);
            }
            if !half {
                directory.files.retain(|path, _| files.iter().any(|file| file.path == *path));
            }
        })
        .await
    }

    async fn remove(&self, key: &str) -> Result<(), FilesError> {
        self.change("remove files", key, |state, half| {
            let Some(directory) = state.directories.get_mut(key) else { return };
            if half {
                let count = directory.files.len() / 2;
                directory.files = directory.files.clone().into_iter().skip(count).collect();
            } else {
                state.directories.remove(key);
            }
        })
        .await
    }
}

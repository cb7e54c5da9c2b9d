//! Watches the site's files and the files of instances, and hints that something may have changed.
//!
//! In: the paths that a site was read from. Out: [`Hint`]s by a channel, settled. One thread (of the `notify` crate)
//! notes what comes from the kernel; one task waits until it is quiet, watches what has come into being, and sends.
//! A hint is never the truth: whoever gets one reads again and compares. Where the kernel tells nothing (network file
//! systems), `fingerprint` every minute does.

mod interest;
mod pending;
#[cfg(test)]
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use self::interest::Interest;
use self::pending::Pending;
use super::system_words;

/// Something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The site's files.
    Site,
    /// The files of an instance: `INSTANCE/CREATE-HASH`.
    Files(String),
    /// Anything: the kernel had more to tell than it could keep.
    Anything,
}

/// Why something is not watched. What could be watched is, and looking from time to time finds the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// ENOSPC.
    #[error("no more inotify watches: the limit fs.inotify.max_user_watches is used up (see sysctl)")]
    Watches,
    /// EMFILE.
    #[error("no more inotify instances: the limit fs.inotify.max_user_instances (or of open files) is used up")]
    Instances,
    /// Anything else.
    #[error("{}: cannot be watched: {reason}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// What is of interest, and what came. The kernel's thread and the task share it; nobody keeps it for long.
    noted: Arc<Noted>,
    /// Locked while watches are changed. Never together with `noted`: changing waits for the kernel's thread.
    armed: Mutex<Armed>,
}

#[derive(Debug)]
struct Noted {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    interest: Interest,
    pending: Pending,
}

#[derive(Debug)]
struct Armed {
    watcher: RecommendedWatcher,
    paths: BTreeSet<PathBuf>,
    files: Option<PathBuf>,
    /// What is watched, as which inode.
    directories: BTreeMap<PathBuf, (u64, u64)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    /// Begins with nothing to watch. To be called within a tokio runtime.
    pub fn new(hints: mpsc::Sender<Hint>) -> Result<Self, WatchError> {
        let noted = Arc::new(Noted { state: Mutex::default(), news: Notify::new() });
        let listener = Arc::clone(&noted);
        let watcher = notify::recommended_watcher(move |event| listener.note(event))
            .map_err(|error| explain(error, Path::new("inotify")))?;
        let armed = Armed { watcher, paths: BTreeSet::new(), files: None, directories: BTreeMap::new() };
        let shared = Arc::new(Shared { noted, armed: Mutex::new(armed) });
        let task = tokio::spawn(tell(Arc::clone(&shared), hints));
        Ok(Self { shared, task })
    }

    /// Watches these files and directories of a site instead of those before. They need not exist. Where this adds
    /// directories, a hint follows: something may have changed between reading and watching.
    pub fn watch(&mut self, paths: BTreeSet<PathBuf>) -> Result<(), WatchError> {
        let mut armed = lock(&self.shared.armed);
        armed.paths = paths;
        armed.arm(&self.shared.noted)
    }

    /// Watches the files of instances, `STATE/files`, too. It need not exist.
    pub fn watch_files(&mut self, root: &Path) -> Result<(), WatchError> {
        let mut armed = lock(&self.shared.armed);
        armed.files = Some(root.to_owned());
        armed.arm(&self.shared.noted)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Noted {
    /// Called on the kernel's thread.
    fn note(&self, event: notify::Result<notify::Event>) {
        let mut state = lock(&self.state);
        let State { interest, pending } = &mut *state;
        match event {
            Err(error) => {
                tracing::warn!(%error, "watching files failed");
                pending.anything(Instant::now());
            }
            Ok(event) if event.need_rescan() => pending.anything(Instant::now()),
            // Reading is no change, and it is what we do ourselves after each hint.
            Ok(event) if event.kind.is_access() && event.kind != CLOSED_AFTER_WRITING => {}
            Ok(event) => {
                let is_gone = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
                let changes_names = is_gone || matches!(event.kind, EventKind::Create(_));
                for path in &event.paths {
                    if is_gone && interest.is_watched(path) {
                        pending.lost.insert(path.clone());
                    }
                    interest.note(path, changes_names, Instant::now(), pending);
                }
            }
        }
        if !pending.is_empty() {
            self.news.notify_one();
        }
    }
}

const CLOSED_AFTER_WRITING: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

/// Waits until it is quiet, watches what has come into being, sends hints.
async fn tell(shared: Arc<Shared>, hints: mpsc::Sender<Hint>) {
    loop {
        shared.noted.news.notified().await;
        loop {
            let Some(due) = lock(&shared.noted.state).pending.due() else { break };
            if due > Instant::now() {
                sleep_until(due).await;
                continue;
            }
            let came = std::mem::take(&mut lock(&shared.noted.state).pending);
            if came.needs_arming() {
                let shared = Arc::clone(&shared);
                let again = move || {
                    let mut armed = lock(&shared.armed);
                    for path in &came.lost {
                        armed.forget(path);
                    }
                    if let Err(error) = armed.arm(&shared.noted) {
                        tracing::warn!(%error, "not all files are watched");
                    }
                    came
                };
                let Ok(came) = tokio::task::spawn_blocking(again).await else { return };
                if !send(came, &hints).await {
                    return;
                }
            } else if !send(came, &hints).await {
                return;
            }
        }
    }
}

async fn send(came: Pending, hints: &mpsc::Sender<Hint>) -> bool {
    for hint in came.hints() {
        if hints.send(hint).await.is_err() {
            return false;
        }
    }
    true
}

impl Armed {
    /// Watches exactly what the paths ask for now.
    fn arm(&mut self, noted: &Noted) -> Result<(), WatchError> {
        let interest = Interest::of(&self.paths, self.files.as_deref());
        let wanted = interest.directories().clone();
        // First of all, so that nothing is missed that comes while watches are added.
        lock(&noted.state).interest = interest;

        let gone: Vec<PathBuf> = self.directories.keys().filter(|path| !wanted.contains(*path)).cloned().collect();
        for path in gone {
            self.forget(&path);
        }
        let (mut first_error, mut has_added) = (None, false);
        for path in wanted {
            let identity = match fs::metadata(&path) {
                Ok(metadata) => (metadata.dev(), metadata.ino()),
                // It has gone meanwhile, which its parent tells.
                Err(_) => continue,
            };
            if self.directories.get(&path) == Some(&identity) {
                continue;
            }
            self.forget(&path);
            match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    has_added |= !self.is_of_files(&path);
                    self.directories.insert(path, identity);
                }
                Err(error) => {
                    let error = explain(error, &path);
                    let is_limit = !matches!(error, WatchError::Directory { .. });
                    first_error.get_or_insert(error);
                    if is_limit {
                        break;
                    }
                }
            }
        }
        if has_added {
            lock(&noted.state).pending.site(Instant::now());
            noted.news.notify_one();
        }
        first_error.map_or(Ok(()), Err)
    }

    fn is_of_files(&self, path: &Path) -> bool {
        self.files.as_ref().is_some_and(|root| path.starts_with(root))
    }

    fn forget(&mut self, path: &Path) {
        if self.directories.remove(path).is_some() {
            // The kernel drops the watch of what is removed by itself; then there is nothing to unwatch.
            let _ = self.watcher.unwatch(path);
        }
    }
}

fn explain(error: notify::Error, path: &Path) -> WatchError {
    let words = match error.kind {
        notify::ErrorKind::MaxFilesWatch => return WatchError::Watches,
        notify::ErrorKind::Io(error) => match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NOSPC) => return WatchError::Watches,
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => return WatchError::Instances,
            _ => system_words(&error),
        },
        notify::ErrorKind::PathNotFound => system_words(&io::ErrorKind::NotFound.into()),
        notify::ErrorKind::Generic(words) => words,
        other => format!("{other:?}"),
    };
    WatchError::Directory { path: path.to_owned(), reason: words }
}

/// A number that changes when one of these files or directories does, made without reading any. For polling.
pub fn fingerprint(paths: &BTreeSet<PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        path.hash(&mut hasher);
        // Both: a link that points elsewhere, and what it points to.
        for metadata in [fs::symlink_metadata(path), fs::metadata(path)] {
            match metadata {
                Ok(found) => {
                    (found.dev(), found.ino(), found.size(), found.mode(), found.uid(), found.gid()).hash(&mut hasher);
                    (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()).hash(&mut hasher);
                }
                Err(error) => error.raw_os_error().hash(&mut hasher),
            }
        }
    }
    hasher.finish()
}

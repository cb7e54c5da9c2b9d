//! Carries what the watcher of files sees to the loop.
//!
//! In: the paths that the site is read from, as they change; hints of the kernel. Out: [`Input`]s. Where the kernel tells
//! nothing (network file systems, no watches left), the site's files are looked at every minute.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::control::input::Input;
use crate::edge::watch::{Hint, WatchError, Watcher, fingerprint};

/// Looking costs a few system calls a file; an edit on a network file system may wait so long.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Runs until the loop or the process ends. `files` is where the files of instances are.
pub async fn carry(files: PathBuf, mut paths: watch::Receiver<BTreeSet<PathBuf>>, inputs: mpsc::Sender<Input>) {
    let (sender, mut hints) = mpsc::channel(64);
    let mut watcher = told(Watcher::new(sender));
    if let Some(watcher) = &mut watcher {
        told(watcher.watch_files(&files));
        told(watcher.watch(paths.borrow_and_update().clone()));
    }
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            changed = paths.changed() => {
                if changed.is_err() {
                    return;
                }
                if let Some(watcher) = &mut watcher {
                    told(watcher.watch(paths.borrow_and_update().clone()));
                }
            }
            Some(hint) = hints.recv() => {
                let sent = match hint {
                    Hint::Site => inputs.send(Input::Edit).await,
                    Hint::Files(key) => inputs.send(Input::Files(Some(key))).await,
                    Hint::Anything => match inputs.send(Input::Edit).await {
                        Ok(()) => inputs.send(Input::Files(None)).await,
                        gone => gone,
                    },
                };
                if sent.is_err() {
                    return;
                }
            }
            _ = ticks.tick() => {
                let now = Some(fingerprint(&paths.borrow()));
                if seen.is_some() && seen != now && inputs.send(Input::Edit).await.is_err() {
                    return;
                }
                seen = now;
            }
        }
    }
}

/// What cannot be watched is found later, by looking: a reason to say so, none to end.
fn told<T>(result: Result<T, WatchError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!("{error}; changes of files are found with a delay");
            None
        }
    }
}

//! The store in a state directory: `memory.json`, `accepted.json`, `revisions/`, `events.jsonl`, `site.key`.

mod events;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{atomic, system_words};
use crate::model::desired::HostDesired;
use crate::model::memory::HostMemory;
use crate::model::names::{HostName, SiteName};
use crate::port::store::{RecoveredMemory, Revision, Store, StoreError};
use crate::report::event::Event;

/// Revisions that are kept for `history` and `rollback`.
const REVISIONS: usize = 10;
/// Bytes of the site's key: as many as SHA-256 gives.
const KEY: usize = 32;
/// Corrupt memories that are kept to be looked at.
const ASIDE: u32 = 9;

/// The store of one host.
#[derive(Clone, Debug)]
pub struct DiskStore {
    state: PathBuf,
    /// Where the key of the site is: with the other hosts' for one of several.
    key: PathBuf,
}

/// A revision as it lies on the disk.
#[derive(Serialize, Deserialize)]
struct Kept<D> {
    revision: Revision,
    desired: D,
}

/// Of a kept revision, only what `history` shows.
#[derive(Deserialize)]
struct Head {
    revision: Revision,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    move |error| StoreError { path: path.display().to_string(), reason: system_words(&error) }
}

fn corrupt(path: &Path, why: &serde_json::Error) -> StoreError {
    // Line and column, never the content: it may be of a secret.
    let place = if why.line() == 0 { String::new() } else { format!(" at {}:{}", why.line(), why.column()) };
    let what = match why.classify() {
        serde_json::error::Category::Eof => "ends too early",
        serde_json::error::Category::Syntax => "is no JSON",
        _ => "does not fit",
    };
    StoreError { path: path.display().to_string(), reason: format!("is corrupt: {what}{place}") }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(content) = atomic::read(path).map_err(failed(path))? else { return Ok(None) };
    serde_json::from_slice(&content).map(Some).map_err(|why| corrupt(path, &why))
}

fn save(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut content = serde_json::to_vec_pretty(value)
        .map_err(|why| StoreError { path: path.display().to_string(), reason: why.to_string() })?;
    content.push(b'\n');
    atomic::write(path, &content).map_err(failed(path))
}

impl DiskStore {
    /// The store of a state directory, which need not exist yet. Nothing is written.
    pub fn open(state: &Path) -> Self {
        Self { state: state.to_owned(), key: state.join("site.key") }
    }

    /// Of which host of which site the accepted state is. Reading all of it takes far longer.
    pub fn accepted_names(&self) -> Option<(SiteName, HostName)> {
        #[derive(serde::Deserialize)]
        struct Names {
            site: SiteName,
            host: HostName,
        }
        let names: Names = load(&self.path("accepted.json")).ok()??;
        Some((names.site, names.host))
    }

    /// The store of one of several hosts that a state directory is for.
    pub fn of_host(state: &Path, host: &HostName) -> Self {
        Self { state: Self::home(state, host), key: state.join("site.key") }
    }

    /// Where the state of one of several hosts is.
    pub fn home(state: &Path, host: &HostName) -> PathBuf {
        state.join("hosts").join(host.as_str())
    }

    /// What tells the agent of this state directory from all others; made where there is none.
    pub fn agent_id(state: &Path) -> Result<String, StoreError> {
        let path = state.join("agent.id");
        if let Some(known) = atomic::read(&path).map_err(failed(&path))? {
            return Ok(String::from_utf8_lossy(&known).trim().to_owned());
        }
        let id = format!("{:032x}", rand::random::<u128>());
        atomic::write(&path, id.as_bytes()).map_err(failed(&path))?;
        Ok(id)
    }

    /// Makes another small file hold this, for us alone.
    pub fn write_private(path: &Path, content: &[u8]) -> Result<(), StoreError> {
        atomic::write(path, content).map_err(failed(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    fn revision_path(&self, generation: u64) -> PathBuf {
        self.path("revisions").join(format!("{generation}.json"))
    }

    /// Generations of which a file is there, whether listed or not.
    fn revision_files(&self) -> Result<Vec<u64>, StoreError> {
        let directory = self.path("revisions");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&directory)(error)),
        };
        let mut generations = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed(&directory))?.file_name();
            generations.extend(name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok()));
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// What the files themselves say, where the index is lost. One that cannot be read is left out.
    fn revisions_without_index(&self) -> Result<Vec<Revision>, StoreError> {
        let heads = self.revision_files()?.into_iter().filter_map(|generation| {
            load::<Head>(&self.revision_path(generation)).ok().flatten().map(|head| head.revision)
        });
        Ok(heads.collect())
    }

    fn forget_revisions(&self, kept: &[Revision]) -> Result<(), StoreError> {
        for generation in self.revision_files()? {
            if !kept.iter().any(|revision| revision.generation == generation) {
                let path = self.revision_path(generation);
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    fn put_aside(&self, path: &Path) -> io::Result<PathBuf> {
        let mut aside = path.to_owned();
        for number in 1..=ASIDE {
            aside = self.path(&format!("memory.json.corrupt-{number}"));
            if !aside.try_exists()? {
                break;
            }
        }
        fs::rename(path, &aside)?;
        atomic::sync(&self.state)?;
        Ok(aside)
    }
}

impl Store for DiskStore {
    fn load_memory(&self) -> Result<HostMemory, StoreError> {
        Ok(load(&self.path("memory.json"))?.unwrap_or_default())
    }

    fn recover_memory(&self) -> Result<RecoveredMemory, StoreError> {
        let path = self.path("memory.json");
        let content = atomic::read(&path).map_err(failed(&path))?;
        let parsed = content.as_deref().map_or(Ok(HostMemory::default()), serde_json::from_slice);
        let mut lost = match parsed {
            Ok(memory) => return Ok(RecoveredMemory { memory, lost: None }),
            Err(why) => corrupt(&path, &why),
        };
        let fate = match self.put_aside(&path) {
            Ok(aside) => format!("it lies in {} now", aside.display()),
            Err(error) => format!("and it cannot be put aside: {}", system_words(&error)),
        };
        lost.reason = format!("{}; {fate}", lost.reason);
        Ok(RecoveredMemory { memory: HostMemory::default(), lost: Some(lost) })
    }

    fn save_memory(&self, memory: &HostMemory) -> Result<(), StoreError> {
        save(&self.path("memory.json"), memory)
    }

    fn load_accepted(&self) -> Result<Option<HostDesired>, StoreError> {
        load(&self.path("accepted.json"))
    }

    fn save_accepted(
        &self,
        desired: &HostDesired,
        revision: &Revision,
        keep: &BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        // The order is for crashes: what is accepted can always be loaded, and what is listed is there.
        let kept = Kept { revision: revision.clone(), desired };
        save(&self.revision_path(revision.generation), &kept)?;
        save(&self.path("accepted.json"), desired)?;
        let mut revisions = self.revisions()?;
        revisions.retain(|kept| kept.generation != revision.generation);
        revisions.push(revision.clone());
        revisions.sort_by_key(|revision| revision.generation);
        let oldest = revisions.len().saturating_sub(REVISIONS);
        let oldest = revisions.get(oldest).map_or(0, |revision| revision.generation);
        revisions.retain(|revision| revision.generation >= oldest || keep.contains(&revision.generation));
        save(&self.path("revisions").join("index.json"), &revisions)?;
        self.forget_revisions(&revisions)
    }

    fn revisions(&self) -> Result<Vec<Revision>, StoreError> {
        match load(&self.path("revisions").join("index.json")) {
            Ok(Some(revisions)) => Ok(revisions),
            Ok(None) | Err(_) => self.revisions_without_index(),
        }
    }

    fn load_revision(&self, generation: u64) -> Result<Option<HostDesired>, StoreError> {
        let kept: Option<Kept<HostDesired>> = load(&self.revision_path(generation))?;
        Ok(kept.map(|kept| kept.desired))
    }

    fn append_event(&self, event: &Event) -> Result<(), StoreError> {
        let path = self.path(events::NEW);
        let mut line = serde_json::to_vec(event)
            .map_err(|why| StoreError { path: path.display().to_string(), reason: why.to_string() })?;
        line.push(b'\n');
        events::append(&self.state, &line).map_err(failed(&path))
    }

    fn events(&self, most: usize) -> Result<Vec<Event>, StoreError> {
        events::newest(&self.state, most).map_err(failed(&self.path(events::NEW)))
    }

    fn site_key(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.key.clone();
        if let Some(text) = atomic::read(&path).map_err(failed(&path))? {
            return match hex::decode(text.trim_ascii()) {
                Ok(key) if key.len() == KEY => Ok(key),
                // Never made anew by itself: it may be a slip that can be mended.
                _ => Err(StoreError {
                    path: path.display().to_string(),
                    reason: format!("is corrupt: it should hold {} hex digits", 2 * KEY),
                }),
            };
        }
        let mut key = vec![0; KEY];
        rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut key)
            .map_err(|error| StoreError { path: path.display().to_string(), reason: error.to_string() })?;
        atomic::write(&path, format!("{}\n", hex::encode(&key)).as_bytes()).map_err(failed(&path))?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests;

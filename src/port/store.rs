//! Where the small things are kept: memory, accepted desired states, events.

use std::collections::BTreeSet;

use crate::model::desired::HostDesired;
use crate::model::memory::HostMemory;
use crate::report::event::Event;

/// Why something could not be kept or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct StoreError {
    /// What.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A kept revision, for `history`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Revision {
    /// Generation.
    pub generation: u64,
    /// When it was accepted.
    pub accepted_at: crate::model::time::Timestamp,
    /// By whom, or `agent`.
    pub user: String,
    /// Digest of the source.
    pub source_digest: String,
    /// In a few words: `edit`, `rollback to 3`.
    pub cause: String,
}

/// A memory to begin with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoveredMemory {
    /// The memory; empty where the kept one could not be understood.
    pub memory: HostMemory,
    /// What was lost and where it lies now, for people.
    pub lost: Option<StoreError>,
}

/// All of it is written atomically and synced (events are not synced); all of it is of mode 0600.
pub trait Store: Send + Sync {
    /// The memory; an empty one where there is none.
    fn load_memory(&self) -> Result<HostMemory, StoreError>;
    /// As `load_memory`, but what cannot be understood is put aside, and an empty memory takes its place. Only for who holds the lock.
    fn recover_memory(&self) -> Result<RecoveredMemory, StoreError> {
        self.load_memory().map(|memory| RecoveredMemory { memory, lost: None })
    }
    /// Keeps it.
    fn save_memory(&self, memory: &HostMemory) -> Result<(), StoreError>;
    /// The last accepted desired state.
    fn load_accepted(&self) -> Result<Option<HostDesired>, StoreError>;
    /// Keeps a newly accepted state, as the last one and as a revision; forgets the oldest revisions that are not in `keep`.
    fn save_accepted(&self, desired: &HostDesired, revision: &Revision, keep: &BTreeSet<u64>)
    -> Result<(), StoreError>;
    /// What was accepted, oldest first.
    fn revisions(&self) -> Result<Vec<Revision>, StoreError>;
    /// One of them, whole.
    fn load_revision(&self, generation: u64) -> Result<Option<HostDesired>, StoreError>;
    /// Adds to the log of events, which is bounded.
    fn append_event(&self, event: &Event) -> Result<(), StoreError>;
    /// The newest events, oldest first.
    fn events(&self, most: usize) -> Result<Vec<Event>, StoreError>;
    /// The key of the site for hashes over secrets; made at the first call.
    fn site_key(&self) -> Result<Vec<u8>, StoreError>;
}

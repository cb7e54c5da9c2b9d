//! The store of a simulated host. It belongs to the world, so it outlives the agent.

use std::collections::{BTreeSet, VecDeque};

use super::faults::Moment;
use super::world::SimHost;
use crate::model::desired::HostDesired;
use crate::model::memory::HostMemory;
use crate::port::store::{Revision, Store, StoreError};
use crate::report::event::Event;

/// Events kept.
const EVENTS: usize = 1000;
/// What is only told.
const EVENTS_FILE: &str = "events.jsonl";
/// Whoever is dead has no disk.
const DEAD: &str = "the agent is dead";
/// Revisions kept.
const REVISIONS: usize = 10;

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreState {
    memory: HostMemory,
    accepted: Option<HostDesired>,
    revisions: Vec<(Revision, HostDesired)>,
    events: VecDeque<Event>,
    key: Vec<u8>,
}

impl StoreState {
    pub(super) fn new(site: u64) -> Self {
        Self { key: site.to_be_bytes().repeat(4), ..Self::default() }
    }

    /// The disk was lost, or somebody removed the directory.
    pub(super) fn lose(&mut self) {
        *self = Self { key: std::mem::take(&mut self.key), ..Self::default() };
    }
}

/// The store of a simulated host.
#[derive(Clone, Debug)]
pub struct SimStore {
    host: SimHost,
}

impl SimStore {
    pub(super) fn new(host: SimHost) -> Self {
        Self { host }
    }

    /// `act` gets whether only the first of several files is to be written.
    fn change(&self, what: &str, act: impl FnOnce(&mut StoreState, bool)) -> Result<(), StoreError> {
        let mut state = self.host.state();
        let refused = |reason: &str| Err(StoreError { path: what.to_owned(), reason: reason.to_owned() });
        let refusal = if state.crash.dead { Some(DEAD) } else { state.disk.refusal() };
        if let Some(reason) = refusal {
            return refused(reason);
        }
        let death = if what == EVENTS_FILE { None } else { state.crash.count_of_store() };
        if death != Some(Moment::Before) {
            act(&mut state.store, death == Some(Moment::During));
        }
        let Some(moment) = death else { return Ok(()) };
        state.note(&format!("the agent dies {moment:?} {what}"));
        drop(state);
        self.host.is_over();
        refused(DEAD)
    }
}

impl Store for SimStore {
    fn load_memory(&self) -> Result<HostMemory, StoreError> {
        Ok(self.host.state().store.memory.clone())
    }

    fn save_memory(&self, memory: &HostMemory) -> Result<(), StoreError> {
        self.change("memory.json", |store, half| {
            // One file is replaced as a whole or not at all.
            if !half {
                store.memory = memory.clone();
            }
        })
    }

    fn load_accepted(&self) -> Result<Option<HostDesired>, StoreError> {
        Ok(self.host.state().store.accepted.clone())
    }

    fn save_accepted(
        &self,
        desired: &HostDesired,
        revision: &Revision,
        keep: &BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        self.change("accepted.json", |store, half| {
            // The revision is written first.
            if !half {
                store.accepted = Some(desired.clone());
            }
            store.revisions.retain(|(kept, _)| kept.generation != revision.generation);
            store.revisions.push((revision.clone(), desired.clone()));
            let mut excess = store.revisions.len().saturating_sub(REVISIONS);
            store.revisions.retain(|(kept, _)| {
                let goes = excess > 0 && !keep.contains(&kept.generation);
                excess -= usize::from(goes);
                !goes
            });
        })
    }

    fn revisions(&self) -> Result<Vec<Revision>, StoreError> {
        Ok(self.host.state().store.revisions.iter().map(|(revision, _)| revision.clone()).collect())
    }

    fn load_revision(&self, generation: u64) -> Result<Option<HostDesired>, StoreError> {
        let state = self.host.state();
        let kept = state.store.revisions.iter().find(|(revision, _)| revision.generation == generation);
        Ok(kept.map(|(_, desired)| desired.clone()))
    }

    fn append_event(&self, event: &Event) -> Result<(), StoreError> {
        self.change(EVENTS_FILE, |store, _| {
            if store.events.len() >= EVENTS {
                store.events.pop_front();
            }
            store.events.push_back(event.clone());
        })
    }

    fn events(&self, most: usize) -> Result<Vec<Event>, StoreError> {
        let state = self.host.state();
        let skipped = state.store.events.len().saturating_sub(most);
        Ok(state.store.events.iter().skip(skipped).cloned().collect())
    }

    fn site_key(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.host.state().store.key.clone())
    }
}

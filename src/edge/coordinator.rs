//! The coordinator of a host that has nobody to agree with: slots in `STATE/slots.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{atomic, system_words};
use crate::model::names::{HostName, ServiceName};
use crate::model::time::Timestamp;
use crate::port::coordinator::{Coordinator, Denied, Grant, Slot};

/// Slots in a file. The record is on the disk before a grant is given, so a crash leaves the slot taken.
#[derive(Clone, Debug)]
pub struct LocalCoordinator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    host: HostName,
    turn: Mutex<()>,
}

type Slots = BTreeMap<ServiceName, BTreeMap<HostName, Slot>>;

impl LocalCoordinator {
    /// For a host, in a state directory.
    pub fn new(state: &Path, host: HostName) -> Self {
        Self { shared: Arc::new(Shared { path: state.join("slots.json"), host, turn: Mutex::new(()) }) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, Slots) -> Result<T, Denied> + Send + 'static,
    ) -> Result<T, Denied> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let slots = shared.load()?;
            work(&shared, slots)
        });
        done.await.unwrap_or_else(|broken| Err(Denied::Unreachable(broken.to_string())))
    }
}

impl Shared {
    fn unreachable(&self, reason: &str) -> Denied {
        Denied::Unreachable(format!("{}: {reason}", self.path.display()))
    }

    fn load(&self) -> Result<Slots, Denied> {
        let content = atomic::read(&self.path).map_err(|error| self.unreachable(&system_words(&error)))?;
        let Some(content) = content else { return Ok(Slots::new()) };
        let slots: Vec<Slot> = serde_json::from_slice(&content).map_err(|error| {
            self.unreachable(&format!("is corrupt ({error}); remove it to begin with no slots taken"))
        })?;
        let mut by_service = Slots::new();
        for slot in slots {
            by_service.entry(slot.service.clone()).or_default().insert(slot.host.clone(), slot);
        }
        Ok(by_service)
    }

    fn save(&self, slots: &Slots) -> Result<(), Denied> {
        let slots: Vec<&Slot> = slots.values().flat_map(BTreeMap::values).collect();
        let mut content = serde_json::to_vec_pretty(&slots).map_err(|error| self.unreachable(&error.to_string()))?;
        content.push(b'\n');
        atomic::write(&self.path, &content).map_err(|error| self.unreachable(&system_words(&error)))
    }
}

#[async_trait]
impl Coordinator for LocalCoordinator {
    async fn acquire(
        &self,
        service: &ServiceName,
        generation: u64,
        max_unavailable: u32,
        now: Timestamp,
    ) -> Result<Grant, Denied> {
        let service = service.clone();
        self.run(move |shared, mut slots| {
            let held = slots.entry(service.clone()).or_default();
            let since = match held.get(&shared.host) {
                Some(own) => own.since,
                None if held.len() < usize::try_from(max_unavailable).unwrap_or(usize::MAX) => now,
                None => return Err(Denied::Taken(held.keys().next().unwrap_or(&shared.host).clone())),
            };
            let slot = Slot { service: service.clone(), host: shared.host.clone(), generation, since };
            held.insert(shared.host.clone(), slot);
            shared.save(&slots)?;
            Ok(Grant::recorded(service, generation))
        })
        .await
    }

    async fn release(&self, service: &ServiceName) -> Result<(), Denied> {
        let service = service.clone();
        self.run(move |shared, mut slots| match slots.get_mut(&service).and_then(|held| held.remove(&shared.host)) {
            Some(_) => shared.save(&slots),
            None => Ok(()),
        })
        .await
    }

    async fn slots(&self) -> Result<Vec<Slot>, Denied> {
        self.run(|_, slots| Ok(slots.into_values().flat_map(BTreeMap::into_values).collect())).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    fn at(state: &Path, host: &str) -> LocalCoordinator {
        LocalCoordinator::new(state, HostName::new(host).unwrap())
    }

    #[tokio::test]
    async fn a_slot_outlives_its_holder_and_is_taken_again_by_it() {
        let state = tempfile::tempdir().unwrap();
        at(state.path(), "one").acquire(&service("web"), 3, 1, Timestamp(10)).await.unwrap();
        let again = at(state.path(), "one");
        let grant = again.acquire(&service("web"), 4, 1, Timestamp(20)).await.unwrap();
        assert_eq!((grant.service().as_str(), grant.generation()), ("web", 4));
        let slots = again.slots().await.unwrap();
        assert_eq!(slots.len(), 1);
        assert_eq!((slots[0].generation, slots[0].since), (4, Timestamp(10)));
        again.release(&service("web")).await.unwrap();
        again.release(&service("web")).await.unwrap();
        assert_eq!(again.slots().await.unwrap(), []);
    }

    #[tokio::test]
    async fn others_keep_us_out_until_they_release() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (at(state.path(), "one"), at(state.path(), "two"));
        one.acquire(&service("web"), 1, 1, Timestamp(1)).await.unwrap();
        let denied = two.acquire(&service("web"), 1, 1, Timestamp(2)).await.unwrap_err();
        assert_eq!(denied.to_string(), "one holds the slot");
        two.acquire(&service("api"), 1, 1, Timestamp(2)).await.unwrap();
        two.acquire(&service("web"), 1, 2, Timestamp(2)).await.unwrap();
        two.release(&service("web")).await.unwrap();
        one.release(&service("web")).await.unwrap();
        two.acquire(&service("web"), 1, 1, Timestamp(3)).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_record_there_is_no_grant() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("slots.json"), "[{").unwrap();
        let one = at(state.path(), "one");
        let denied = one.acquire(&service("web"), 1, 1, Timestamp(1)).await.unwrap_err().to_string();
        assert!(denied.contains("slots.json: is corrupt ("), "{denied}");
        assert!(one.slots().await.is_err());
    }
}

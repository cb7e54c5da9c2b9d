//! Where simulated hosts agree: slots in the world's memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::world::lock;
use crate::model::names::{HostName, ServiceName};
use crate::model::time::Timestamp;
use crate::port::coordinator::{Coordinator, Denied, Grant, Slot};

/// What is taken, and who cannot reach the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    taken: BTreeMap<(ServiceName, HostName), Slot>,
    unreachable: bool,
}

/// One host's way to the record.
#[derive(Clone, Debug)]
pub struct SimCoordinator {
    host: String,
    slots: Arc<Mutex<Slots>>,
}

impl SimCoordinator {
    pub(super) fn new(host: String, slots: Arc<Mutex<Slots>>) -> Self {
        Self { host, slots }
    }

    /// Whether nobody can read or write the record.
    pub fn set_unreachable(&self, unreachable: bool) {
        lock(&self.slots).unreachable = unreachable;
    }

    fn me(&self) -> Result<HostName, Denied> {
        HostName::new(self.host.clone()).map_err(|error| Denied::Unreachable(error.to_string()))
    }
}

#[async_trait]
impl Coordinator for SimCoordinator {
    async fn acquire(
        &self,
        service: &ServiceName,
        generation: u64,
        max_unavailable: u32,
        now: Timestamp,
    ) -> Result<Grant, Denied> {
        let me = self.me()?;
        let mut slots = lock(&self.slots);
        if slots.unreachable {
            return Err(Denied::Unreachable("simulated: no route".to_owned()));
        }
        let key = (service.clone(), me.clone());
        if !slots.taken.contains_key(&key) {
            let mut others = slots.taken.values().filter(|slot| slot.service == *service);
            let count = others.clone().count();
            if let Some(holder) = others.next()
                && count >= usize::try_from(max_unavailable).unwrap_or(usize::MAX)
            {
                return Err(Denied::Taken(holder.host.clone()));
            }
        }
        let slot = Slot { service: service.clone(), host: me, generation, since: now };
        slots.taken.entry(key).and_modify(|held| held.generation = generation).or_insert(slot);
        Ok(Grant::recorded(service.clone(), generation))
    }

    async fn release(&self, service: &ServiceName) -> Result<(), Denied> {
        let me = self.me()?;
        let mut slots = lock(&self.slots);
        if slots.unreachable {
            return Err(Denied::Unreachable("simulated: no route".to_owned()));
        }
        slots.taken.remove(&(service.clone(), me));
        Ok(())
    }

    async fn slots(&self) -> Result<Vec<Slot>, Denied> {
        let slots = lock(&self.slots);
        if slots.unreachable {
            return Err(Denied::Unreachable("simulated: no route".to_owned()));
        }
        Ok(slots.taken.values().cloned().collect())
    }
}

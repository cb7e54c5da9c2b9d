//! Where simulated hosts agree: slots and words in the world's memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use super::world::lock;
use crate::admit::rollout;
use crate::model::facts::{HostFacts, SiteFacts};
use crate::model::names::{HostName, ServiceName};
use crate::model::peers::{Ask, HostReport, Reports};
use crate::model::time::Timestamp;
use crate::port::coordinator::{Coordinator, Denied, Grant, Record, Slot};

/// What is taken, and who cannot reach the record.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: BTreeMap<(ServiceName, HostName), Slot>,
    records: BTreeMap<String, Record>,
    unreachable: bool,
    reports: watch::Sender<Arc<Reports>>,
    facts: watch::Sender<Arc<SiteFacts>>,
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

    /// What hosts have agreed on beyond slots is lost.
    pub fn lose_records(&self) {
        lock(&self.slots).records.clear();
    }

    /// What is known of machines is lost.
    pub fn lose_facts(&self) {
        lock(&self.slots).facts.send_replace(Arc::default());
    }

    /// What stands in a record, as it was written.
    pub fn written(&self, name: &str) -> Option<serde_json::Value> {
        lock(&self.slots).records.get(name).map(|record| record.content.clone())
    }

    /// Whether nobody can read or write the record.
    pub fn set_unreachable(&self, unreachable: bool) {
        lock(&self.slots).unreachable = unreachable;
    }

    fn reach(&self) -> Result<MutexGuard<'_, Slots>, Denied> {
        let slots = lock(&self.slots);
        if slots.unreachable { Err(Denied::Unreachable("simulated: no route".to_owned())) } else { Ok(slots) }
    }

    fn me(&self) -> Result<HostName, Denied> {
        HostName::new(self.host.clone()).map_err(|error| Denied::Unreachable(error.to_string()))
    }
}

#[async_trait]
impl Coordinator for SimCoordinator {
    async fn acquire(&self, ask: &Ask, now: Timestamp) -> Result<Grant, Denied> {
        let me = self.me()?;
        let mut slots = self.reach()?;
        let taken = slots.taken.keys().map(|(service, host)| (host.clone(), service.clone())).collect();
        let reports = slots.reports.borrow().clone();
        rollout::may_begin(ask, &reports, &taken, now)
            .map_err(|refusal| Denied::by_rules(refusal.to_string(), refusal.passes()))?;
        let (service, generation) = (ask.service.clone(), ask.generation);
        let slot = Slot { service: service.clone(), host: me.clone(), generation, since: now };
        slots.taken.entry((service.clone(), me)).and_modify(|held| held.generation = generation).or_insert(slot);
        Ok(Grant::recorded(service, generation))
    }

    async fn release(&self, service: &ServiceName) -> Result<(), Denied> {
        let me = self.me()?;
        let mut slots = self.reach()?;
        if slots.taken.remove(&(service.clone(), me)).is_some() {
            slots.reports.send_modify(|_| {});
        }
        Ok(())
    }

    async fn slots(&self) -> Result<Vec<Slot>, Denied> {
        Ok(self.reach()?.taken.values().cloned().collect())
    }

    async fn record(&self, name: &str) -> Result<Option<Record>, Denied> {
        Ok(self.reach()?.records.get(name).cloned())
    }

    async fn put_record(&self, name: &str, over: u64, content: serde_json::Value) -> Result<bool, Denied> {
        let mut slots = self.reach()?;
        if slots.records.get(name).map_or(0, |record| record.revision) != over {
            return Ok(false);
        }
        slots.records.insert(name.to_owned(), Record { revision: over + 1, content });
        slots.reports.send_modify(|_| {});
        Ok(true)
    }

    fn report(&self, report: HostReport) {
        // Words that cannot be brought to the record are lost; the last ones stand.
        let slots = lock(&self.slots);
        if !slots.unreachable {
            slots.reports.send_modify(|reports| {
                Arc::make_mut(reports).insert(report.host.clone(), Arc::new(report));
            });
        }
    }

    async fn tell_facts(&self, facts: HostFacts, _keep: bool) -> Result<(), Denied> {
        let me = self.me()?;
        let slots = self.reach()?;
        slots.facts.send_modify(|known| drop(Arc::make_mut(known).insert(me, Arc::new(facts))));
        Ok(())
    }

    fn facts(&self) -> watch::Receiver<Arc<SiteFacts>> {
        lock(&self.slots).facts.subscribe()
    }

    fn reports(&self) -> watch::Receiver<Arc<Reports>> {
        lock(&self.slots).reports.subscribe()
    }
}

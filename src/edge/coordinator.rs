//! The coordinator of one program: slots in `STATE/slots.json`, records in `STATE/records.json`, what machines are in
//! `STATE/facts.json`, the words of its hosts in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{atomic, system_words};
use crate::admit::rollout::{self, Taken};
use crate::model::facts::{HostFacts, SiteFacts};
use crate::model::names::{HostName, ServiceName};
use crate::model::peers::{Ask, HostReport, Reports};
use crate::model::time::Timestamp;
use crate::port::coordinator::{Coordinator, Denied, Grant, Record, Slot};

/// One host's way to the record. The record is on the disk before a grant is given, so a crash leaves the slot taken.
#[derive(Clone, Debug)]
pub struct LocalCoordinator {
    host: HostName,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    records: PathBuf,
    machines: PathBuf,
    facts: watch::Sender<Arc<SiteFacts>>,
    /// The hosts that this program looks after. Of others it knows nothing, and keeps no budget for them.
    hosts: Vec<HostName>,
    turn: Mutex<()>,
    reports: watch::Sender<Arc<Reports>>,
}

type Slots = BTreeMap<ServiceName, BTreeMap<HostName, Slot>>;
type Records = BTreeMap<String, Record>;

impl LocalCoordinator {
    /// For a host that has nobody to agree with, in a state directory.
    pub fn new(state: &Path, host: HostName) -> Self {
        Self { shared: Self::shared(state, vec![host.clone()]), host }
    }

    /// For several hosts that one program looks after: one for each.
    pub fn of_all(state: &Path, hosts: &[HostName]) -> Vec<Self> {
        let shared = Self::shared(state, hosts.to_vec());
        hosts.iter().map(|host| Self { host: host.clone(), shared: shared.clone() }).collect()
    }

    fn shared(state: &Path, hosts: Vec<HostName>) -> Arc<Shared> {
        let (turn, reports) = (Mutex::new(()), watch::Sender::new(Arc::new(Reports::new())));
        let (path, records) = (state.join("slots.json"), state.join("records.json"));
        let (machines, facts) = (facts_file(state), watch::Sender::new(Arc::new(facts_of(state))));
        Arc::new(Shared { path, records, machines, facts, hosts, turn, reports })
    }

    /// On a thread that may wait for the disk, one at a time.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Denied> + Send + 'static,
    ) -> Result<T, Denied> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(&shared)
        });
        done.await.unwrap_or_else(|broken| Err(Denied::Unreachable(broken.to_string())))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, Slots) -> Result<T, Denied> + Send + 'static,
    ) -> Result<T, Denied> {
        self.in_turn(move |shared| work(shared, shared.load()?)).await
    }
}

fn facts_file(state: &Path) -> PathBuf {
    state.join("facts.json")
}

/// What was last known of the machines of a site. What is lost is asked for again.
pub fn facts_of(state: &Path) -> SiteFacts {
    match read(&facts_file(state), "nothing known of the machines") {
        Ok(facts) => facts.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "nothing is known of the machines");
            SiteFacts::new()
        }
    }
}

fn unreachable(path: &Path, reason: &str) -> Denied {
    Denied::Unreachable(format!("{}: {reason}", path.display()))
}

/// What a file holds; none where there is no file. `loss` says what its loss would mean.
fn read<T: DeserializeOwned>(path: &Path, loss: &str) -> Result<Option<T>, Denied> {
    let content = atomic::read(path).map_err(|error| unreachable(path, &system_words(&error)))?;
    let parse = |content: Vec<u8>| {
        let corrupt = |error| unreachable(path, &format!("is corrupt ({error}); remove it to begin with {loss}"));
        serde_json::from_slice(&content).map_err(corrupt)
    };
    content.map(parse).transpose()
}

fn write<T: Serialize>(path: &Path, what: &T) -> Result<(), Denied> {
    let mut content = serde_json::to_vec_pretty(what).map_err(|error| unreachable(path, &error.to_string()))?;
    content.push(b'\n');
    atomic::write(path, &content).map_err(|error| unreachable(path, &system_words(&error)))
}

impl Shared {
    fn load(&self) -> Result<Slots, Denied> {
        let slots: Vec<Slot> = read(&self.path, "no slots taken")?.unwrap_or_default();
        let mut by_service = Slots::new();
        for slot in slots {
            by_service.entry(slot.service.clone()).or_default().insert(slot.host.clone(), slot);
        }
        Ok(by_service)
    }

    fn save(&self, slots: &Slots) -> Result<(), Denied> {
        let slots: Vec<&Slot> = slots.values().flat_map(BTreeMap::values).collect();
        write(&self.path, &slots)
    }

    fn load_records(&self) -> Result<Records, Denied> {
        Ok(read(&self.records, "nothing agreed on")?.unwrap_or_default())
    }
}

#[async_trait]
impl Coordinator for LocalCoordinator {
    async fn acquire(&self, ask: &Ask, now: Timestamp) -> Result<Grant, Denied> {
        let mut ask = ask.clone();
        ask.members.retain(|host| self.shared.hosts.contains(host));
        for budget in &mut ask.budgets {
            budget.hosts.retain(|host| self.shared.hosts.contains(host));
        }
        self.run(move |shared, mut slots| {
            let taken: Taken = slots
                .iter()
                .flat_map(|(service, held)| held.keys().map(|host| (host.clone(), service.clone())))
                .collect();
            let reports = shared.reports.borrow().clone();
            rollout::may_begin(&ask, &reports, &taken, now)
                .map_err(|refusal| Denied::by_rules(refusal.to_string(), refusal.passes()))?;
            let Ask { host, service, generation, .. } = ask;
            let held = slots.entry(service.clone()).or_default();
            let since = held.get(&host).map_or(now, |own| own.since);
            held.insert(host.clone(), Slot { service: service.clone(), host, generation, since });
            shared.save(&slots)?;
            Ok(Grant::recorded(service, generation))
        })
        .await
    }

    async fn release(&self, service: &ServiceName) -> Result<(), Denied> {
        let (host, service) = (self.host.clone(), service.clone());
        self.run(move |shared, mut slots| match slots.get_mut(&service).and_then(|held| held.remove(&host)) {
            Some(_) => {
                shared.save(&slots)?;
                // Whoever waits for the slot asks again.
                shared.reports.send_modify(|_| {});
                Ok(())
            }
            None => Ok(()),
        })
        .await
    }

    async fn slots(&self) -> Result<Vec<Slot>, Denied> {
        self.run(|_, slots| Ok(slots.into_values().flat_map(BTreeMap::into_values).collect())).await
    }

    async fn record(&self, name: &str) -> Result<Option<Record>, Denied> {
        let name = name.to_owned();
        self.in_turn(move |shared| Ok(shared.load_records()?.remove(&name))).await
    }

    async fn put_record(&self, name: &str, over: u64, content: serde_json::Value) -> Result<bool, Denied> {
        let name = name.to_owned();
        self.in_turn(move |shared| {
            let mut records = shared.load_records()?;
            if records.get(&name).map_or(0, |record| record.revision) != over {
                return Ok(false);
            }
            records.insert(name, Record { revision: over + 1, content });
            write(&shared.records, &records)?;
            shared.reports.send_modify(|_| {});
            Ok(true)
        })
        .await
    }

    fn report(&self, report: HostReport) {
        self.shared.reports.send_modify(|reports| {
            Arc::make_mut(reports).insert(report.host.clone(), Arc::new(report));
        });
    }

    fn is_alone(&self) -> bool {
        self.shared.hosts.len() < 2
    }

    async fn tell_facts(&self, facts: HostFacts, keep: bool) -> Result<(), Denied> {
        let host = self.host.clone();
        self.shared.facts.send_modify(|known| drop(Arc::make_mut(known).insert(host.clone(), Arc::new(facts.clone()))));
        if !keep {
            return Ok(());
        }
        self.in_turn(move |shared| {
            // What another program has learnt of other hosts stays.
            let mut known: SiteFacts =
                read(&shared.machines, "nothing known of the machines").unwrap_or_default().unwrap_or_default();
            known.insert(host, Arc::new(facts));
            write(&shared.machines, &known)
        })
        .await
    }

    fn facts(&self) -> watch::Receiver<Arc<SiteFacts>> {
        self.shared.facts.subscribe()
    }

    fn reports(&self) -> watch::Receiver<Arc<Reports>> {
        self.shared.reports.subscribe()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::desired::Rollout;
    use crate::model::peers::Standing;

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn ask(host_name: &str, name: &str, generation: u64) -> Ask {
        Ask {
            host: host(host_name),
            service: service(name),
            generation,
            wanted_since: generation,
            goes_back: false,
            standing: Standing::Counts,
            rollout: Rollout { canary: false, ..Rollout::default() },
            members: vec![host("one"), host("two")],
            budgets: Vec::new(),
        }
    }

    fn ready(name: &str, services: &[&str]) -> HostReport {
        let instance = crate::model::peers::InstanceReport { started: true, ready: true, ..Default::default() };
        HostReport {
            host: host(name),
            generation: 1,
            reachable: true,
            source_digest: String::new(),
            acts: true,
            holds_off: false,
            attempts: 0,
            services: services.iter().map(|name| (service(name), instance.clone())).collect(),
            filesets: BTreeMap::new(),
            drained: BTreeMap::new(),
            jobs: BTreeMap::new(),
            progress: crate::model::peers::HostProgress::default(),
        }
    }

    #[tokio::test]
    async fn a_slot_outlives_its_holder_and_is_taken_again_by_it() {
        let state = tempfile::tempdir().unwrap();
        LocalCoordinator::new(state.path(), host("one")).acquire(&ask("one", "web", 3), Timestamp(10)).await.unwrap();
        let again = LocalCoordinator::new(state.path(), host("one"));
        let grant = again.acquire(&ask("one", "web", 4), Timestamp(20)).await.unwrap();
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
        let all = LocalCoordinator::of_all(state.path(), &[host("one"), host("two")]);
        let (one, two) = (&all[0], &all[1]);
        one.report(ready("one", &["web", "api"]));
        let denied = one.acquire(&ask("one", "web", 1), Timestamp(1)).await.unwrap_err().to_string();
        assert_eq!(denied, "1 of at most 1 may be down: two", "who never said that it is up counts as down");
        two.report(ready("two", &["web", "api"]));
        one.acquire(&ask("one", "web", 1), Timestamp(1)).await.unwrap();
        let denied = two.acquire(&ask("two", "web", 1), Timestamp(2)).await.unwrap_err().to_string();
        assert_eq!(denied, "1 of at most 1 may be down: one");
        two.acquire(&ask("two", "api", 1), Timestamp(2)).await.unwrap();
        let mut words = two.reports();
        words.mark_unchanged();
        one.release(&service("web")).await.unwrap();
        assert!(words.has_changed().unwrap(), "who waits is woken");
        two.acquire(&ask("two", "web", 1), Timestamp(3)).await.unwrap();
    }

    #[tokio::test]
    async fn a_host_alone_keeps_no_budget_for_hosts_that_it_knows_nothing_of() {
        let state = tempfile::tempdir().unwrap();
        let one = LocalCoordinator::new(state.path(), host("one"));
        one.acquire(&ask("one", "web", 1), Timestamp(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_record_is_written_over_only_by_who_has_read_it() {
        let state = tempfile::tempdir().unwrap();
        let all = LocalCoordinator::of_all(state.path(), &[host("one"), host("two")]);
        assert_eq!(all[0].record("recover").await.unwrap(), None);
        assert!(all[0].put_record("recover", 0, "one".into()).await.unwrap());
        assert!(!all[1].put_record("recover", 0, "two".into()).await.unwrap(), "it has not seen the first word");
        let seen = all[1].record("recover").await.unwrap().unwrap();
        assert_eq!((seen.revision, seen.content.as_str()), (1, Some("one")));
        let mut words = all[0].reports();
        words.mark_unchanged();
        assert!(all[1].put_record("recover", seen.revision, "two".into()).await.unwrap());
        assert!(words.has_changed().unwrap(), "who waits is woken");
        let again = LocalCoordinator::new(state.path(), host("one")).record("recover").await.unwrap().unwrap();
        assert_eq!((again.revision, again.content.as_str()), (2, Some("two")), "it outlives the program");
    }

    #[tokio::test]
    async fn without_a_record_there_is_no_grant() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("slots.json"), "[{").unwrap();
        let one = LocalCoordinator::new(state.path(), host("one"));
        let denied = one.acquire(&ask("one", "web", 1), Timestamp(1)).await.unwrap_err().to_string();
        assert!(denied.contains("slots.json: is corrupt ("), "{denied}");
        assert!(one.slots().await.is_err());
    }
}

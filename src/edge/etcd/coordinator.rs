//! Where agents on different machines agree: slots, records and the words of hosts, in etcd.
//!
//! All slots of a site are one record, since budgets of hosts cut across services: whoever takes one has read all of them,
//! together with the words of all hosts, in one look at etcd, and writes only over what it has read. Whether it may is the
//! pure decision that all coordinators share. Words are under a lease of three heartbeats: who is silent longer is not
//! known to be up. While etcd cannot be reached nothing is granted, and no call waits: one look at it goes on in the
//! background, and wakes those who wait when it is back.
//!
//! | task | in | out |
//! |---|---|---|
//! | mirror | a watch of `peers/` | the words of hosts, the slots, whether etcd can be reached |
//! | speaker | the host's newest word | its key, and its lease kept alive |

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::claim::Identity;
use super::client::{Check, Client, KeyValue, Lease, Operation, Outcome, Range, Transaction};
use super::error::EtcdError;
use super::keys::Keys;
use super::{mirror, speaker};
use crate::admit::rollout::{self, Taken};
use crate::model::facts::{HostFacts, SiteFacts};
use crate::model::names::{HostName, ServiceName, SiteName};
use crate::model::peers::{Ask, HostReport, Reports};
use crate::model::time::Timestamp;
use crate::port::coordinator::{Coordinator, Denied, Grant, Record, Slot};

/// Somebody else was quicker so often in a row: the next turn of the loop tries again.
const ROUNDS: usize = 16;

/// One host's way to what a site has agreed on.
pub struct EtcdCoordinator {
    host: HostName,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

/// What the calls and the tasks share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) seen: Mutex<Seen>,
    pub(super) reports: watch::Sender<Arc<Reports>>,
    pub(super) facts: watch::Sender<Arc<SiteFacts>>,
    /// The newest word of this host, counted, so that the speaker knows whether it has told it.
    pub(super) own: watch::Sender<(u64, Option<HostReport>)>,
    pub(super) lease: Mutex<Option<Lease>>,
    /// Which agent this is; none where nobody is to be kept from being two.
    pub(super) identity: Option<Identity>,
    /// Another agent that looks after this host, or that it is not known yet.
    pub(super) rival: Mutex<Option<String>>,
    /// Something went wrong, or may have been missed: look at all of it anew.
    pub(super) trouble: Notify,
}

/// What the mirror knows besides the words of hosts.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) slots: Vec<Slot>,
    pub(super) revision: i64,
    /// Why etcd cannot be reached; none while it can.
    pub(super) down: Option<String>,
}

/// A record as it is stored. Who wrote it tells a lost answer from a lost race.
#[derive(Serialize, Deserialize)]
struct StoredRecord {
    revision: u64,
    content: serde_json::Value,
    by: String,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn check(&self) -> Result<(), Denied> {
        let down = lock(&self.seen).down.clone();
        down.or_else(|| lock(&self.rival).clone()).map_or(Ok(()), |why| Err(Denied::Unreachable(why)))
    }

    /// A call failed: until it is known to be back, nobody else waits for it.
    pub(super) fn failed(&self, error: &EtcdError) -> Denied {
        let why = error.to_string();
        lock(&self.seen).down = Some(why.clone());
        self.trouble.notify_one();
        Denied::Unreachable(why)
    }

    /// Takes in slots unless newer ones are known.
    pub(super) fn see_slots(&self, slots: Vec<Slot>, revision: i64) {
        let mut seen = lock(&self.seen);
        if revision >= seen.revision {
            seen.slots = slots;
            seen.revision = revision;
        }
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, Denied> {
        self.client.transact(transaction).await.map_err(|error| self.failed(&error))
    }

    fn look(&self) -> Vec<Operation> {
        vec![Operation::Read(Range::Key(self.keys.slots())), Operation::Read(Range::Prefix(self.keys.reports()))]
    }
}

/// Slots and words as they were at one moment.
struct Picture {
    slots: Vec<Slot>,
    revision: i64,
    reports: Reports,
}

impl Picture {
    fn of(shared: &Shared, outcome: Outcome) -> Result<Self, Denied> {
        let mut found = outcome.found.into_iter();
        let record = found.next().unwrap_or_default().pop();
        let revision = record.as_ref().map_or(0, |record| record.revision);
        let slots = record.map_or(Ok(Vec::new()), |record| slots_of(&record))?;
        let words = found.next().unwrap_or_default();
        let mut reports: Reports =
            words.iter().filter_map(report_of).map(|report| (report.host.clone(), Arc::new(report))).collect();
        // Of ourselves nobody knows more than we do.
        if let Some(own) = shared.own.borrow().1.clone() {
            reports.insert(own.host.clone(), Arc::new(own));
        }
        Ok(Self { slots, revision, reports })
    }
}

pub(super) fn slots_of(record: &KeyValue) -> Result<Vec<Slot>, Denied> {
    serde_json::from_slice(&record.value).map_err(|error| {
        let key = &record.key;
        Denied::Unreachable(format!("{key} is no list of slots ({error}); remove it to begin with no slots taken"))
    })
}

/// A word that cannot be read is none: its host is not known to be up.
pub(super) fn report_of(word: &KeyValue) -> Option<HostReport> {
    let report: HostReport = serde_json::from_slice(&word.value)
        .map_err(|error| tracing::warn!(key = word.key, %error, "this word of a host cannot be read"))
        .ok()?;
    // Nobody speaks for others.
    word.key.ends_with(&format!("/{}", report.host)).then_some(report)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Denied> {
    serde_json::to_vec(value).map_err(|error| Denied::Unreachable(error.to_string()))
}

impl EtcdCoordinator {
    /// Begins to look, and to say what is reported. Ends when it is dropped.
    pub fn start(client: Client, site: &SiteName, host: HostName, identity: Option<Identity>) -> Self {
        let shared = Arc::new(Shared {
            client,
            keys: Keys::of(site),
            seen: Mutex::new(Seen { slots: Vec::new(), revision: 0, down: Some("it was not asked yet".to_owned()) }),
            reports: watch::Sender::new(Arc::new(Reports::new())),
            facts: watch::Sender::new(Arc::new(SiteFacts::new())),
            own: watch::Sender::new((0, None)),
            lease: Mutex::new(None),
            rival: Mutex::new(identity.as_ref().map(|_| "it is not known yet who looks after this host".to_owned())),
            identity,
            trouble: Notify::new(),
        });
        let ends = CancellationToken::new();
        tokio::spawn(ends.clone().run_until_cancelled_owned(mirror::keep(shared.clone())));
        tokio::spawn(ends.clone().run_until_cancelled_owned(speaker::speak(shared.clone())));
        Self { host, shared, _ends: ends.drop_guard() }
    }

    /// Why etcd cannot be reached; none while it can.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.seen).down.clone()
    }

    /// Changes the slots: reads all that is known, and writes only over what was read. `change` says no, nothing to do, or
    /// the new slots.
    async fn change_slots(
        &self,
        also: impl Fn() -> Result<Vec<Operation>, Denied>,
        change: impl Fn(&Picture) -> Result<Option<Vec<Slot>>, Denied>,
    ) -> Result<(), Denied> {
        let shared = &self.shared;
        shared.check()?;
        let mut outcome = shared.transact(Transaction { then: shared.look(), ..Transaction::default() }).await?;
        for _ in 0..ROUNDS {
            let picture = Picture::of(shared, outcome)?;
            let Some(slots) = change(&picture)? else { return Ok(()) };
            let put = Operation::Put { key: shared.keys.slots(), value: json(&slots)?, lease: None };
            let transaction = Transaction {
                checks: vec![Check { key: shared.keys.slots(), revision: picture.revision }],
                then: std::iter::once(put).chain(also()?).collect(),
                otherwise: shared.look(),
            };
            outcome = shared.transact(transaction).await?;
            if outcome.succeeded {
                shared.see_slots(slots, outcome.revision);
                return Ok(());
            }
        }
        Err(Denied::Refused("many hosts ask for slots at once".to_owned()))
    }

    /// Our newest word, to be written together with something else: what a slot was for is told no later than that it is
    /// given back.
    fn word(&self) -> Result<Vec<Operation>, Denied> {
        let lease = *lock(&self.shared.lease);
        let own = self.shared.own.borrow().1.clone();
        match (lease, own) {
            (Some(lease), Some(own)) => {
                let key = self.shared.keys.report(&self.host);
                Ok(vec![Operation::Put { key, value: json(&own)?, lease: Some(lease) }])
            }
            // No word of ours is there that others could count on.
            _ => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl Coordinator for EtcdCoordinator {
    async fn acquire(&self, ask: &Ask, now: Timestamp) -> Result<Grant, Denied> {
        let change = |picture: &Picture| {
            let taken: Taken = picture.slots.iter().map(|slot| (slot.host.clone(), slot.service.clone())).collect();
            rollout::may_begin(ask, &picture.reports, &taken, now)
                .map_err(|refusal| Denied::by_rules(refusal.to_string(), refusal.passes()))?;
            let mut slots = picture.slots.clone();
            match slots.iter_mut().find(|slot| slot.host == self.host && slot.service == ask.service) {
                Some(held) if held.generation == ask.generation => return Ok(None),
                Some(held) => held.generation = ask.generation,
                None => slots.push(Slot {
                    service: ask.service.clone(),
                    host: self.host.clone(),
                    generation: ask.generation,
                    since: now,
                }),
            }
            Ok(Some(slots))
        };
        self.change_slots(|| Ok(Vec::new()), change).await?;
        Ok(Grant::recorded(ask.service.clone(), ask.generation))
    }

    async fn release(&self, service: &ServiceName) -> Result<(), Denied> {
        let change = |picture: &Picture| {
            let mut slots = picture.slots.clone();
            slots.retain(|slot| slot.host != self.host || slot.service != *service);
            Ok((slots.len() < picture.slots.len()).then_some(slots))
        };
        self.change_slots(|| self.word(), change).await
    }

    async fn slots(&self) -> Result<Vec<Slot>, Denied> {
        self.shared.check()?;
        Ok(lock(&self.shared.seen).slots.clone())
    }

    async fn record(&self, name: &str) -> Result<Option<Record>, Denied> {
        self.shared.check()?;
        let (stored, _) = self.read_record(name).await?;
        Ok(stored.map(|stored| Record { revision: stored.revision, content: stored.content }))
    }

    async fn put_record(&self, name: &str, over: u64, content: serde_json::Value) -> Result<bool, Denied> {
        self.shared.check()?;
        let (stored, revision) = self.read_record(name).await?;
        if stored.map_or(0, |stored| stored.revision) != over {
            return Ok(false);
        }
        let key = self.shared.keys.record(name);
        let by = format!("{}-{:016x}", self.host, rand::random::<u64>());
        let value = json(&StoredRecord { revision: over + 1, content, by: by.clone() })?;
        let transaction = Transaction {
            checks: vec![Check { key: key.clone(), revision }],
            then: vec![Operation::Put { key: key.clone(), value, lease: None }],
            otherwise: vec![Operation::Read(Range::Key(key))],
        };
        let outcome = self.shared.transact(transaction).await?;
        let found = outcome.found.into_iter().flatten().next();
        let is_ours =
            |found: KeyValue| serde_json::from_slice::<StoredRecord>(&found.value).is_ok_and(|stored| stored.by == by);
        Ok(outcome.succeeded || found.is_some_and(is_ours))
    }

    fn report(&self, report: HostReport) {
        self.shared.reports.send_modify(|reports| {
            Arc::make_mut(reports).insert(report.host.clone(), Arc::new(report.clone()));
        });
        self.shared.own.send_modify(|(number, own)| {
            *number += 1;
            *own = Some(report);
        });
    }

    async fn tell_facts(&self, facts: HostFacts, keep: bool) -> Result<(), Denied> {
        // Of ourselves we know, whether the others can be told or not.
        self.shared.facts.send_modify(|known| {
            Arc::make_mut(known).insert(self.host.clone(), Arc::new(facts.clone()));
        });
        if !keep {
            return Ok(());
        }
        self.shared.check()?;
        let (key, value) = (self.shared.keys.machine(&self.host), json(&facts)?);
        self.shared.client.put(key, value, None).await.map_err(|error| self.shared.failed(&error))
    }

    fn facts(&self) -> watch::Receiver<Arc<SiteFacts>> {
        self.shared.facts.subscribe()
    }

    fn reports(&self) -> watch::Receiver<Arc<Reports>> {
        self.shared.reports.subscribe()
    }
}

impl EtcdCoordinator {
    async fn read_record(&self, name: &str) -> Result<(Option<StoredRecord>, i64), Denied> {
        let key = self.shared.keys.record(name);
        let found = self.shared.client.get(key).await.map_err(|error| self.shared.failed(&error))?;
        let Some(found) = found else { return Ok((None, 0)) };
        let stored = serde_json::from_slice(&found.value).map_err(|error| {
            Denied::Unreachable(format!("{} cannot be read ({error}); remove it to begin anew", found.key))
        })?;
        Ok((Some(stored), found.revision))
    }
}

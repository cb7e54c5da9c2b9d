//! The world: hosts, one registry, one clock, one seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::Notify;

use super::clock::SimClock;
use super::coordinator::{SimCoordinator, Slots};
use super::engine::SimEngine;
use super::faults::{Fault, Faults, Moment, PATIENCE};
use super::files::SimFiles;
use super::prober::SimProber;
use super::program::SimImage;
pub use super::state::Disk;
use super::state::HostState;
use super::store::SimStore;
use crate::model::facts::HostFacts;
use crate::model::image::ImageRef;
use crate::model::time::Span;

/// All hosts and what they share. Copies are the same world.
#[derive(Clone, Debug)]
pub struct SimWorld {
    seed: u64,
    clock: SimClock,
    registry: Arc<Mutex<Registry>>,
    slots: Arc<Mutex<Slots>>,
    hosts: Arc<Mutex<BTreeMap<String, SimHost>>>,
}

/// Images that can be pulled, by familiar reference.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<String, Published>,
}

/// An image in the registry.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) image: SimImage,
    /// Which content it is: the same number is the same image.
    pub(super) build: u64,
    pub(super) login: Option<(String, String)>,
    pub(super) takes: Span,
}

impl Published {
    pub(super) fn id(&self, reference: &str) -> String {
        use sha2::{Digest as _, Sha256};
        format!("sha256:{}", hex::encode(Sha256::digest(format!("{reference} {}", self.build))))
    }
}

impl SimWorld {
    /// An empty world. Time begins now; Tokio's clock should be paused.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clock: SimClock::new(seed),
            registry: Arc::default(),
            slots: Arc::default(),
            hosts: Arc::default(),
        }
    }

    /// What decides everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The clock that all hosts share.
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// A host; made at the first call.
    pub fn host(&self, name: &str) -> SimHost {
        let mut hosts = lock(&self.hosts);
        let number = hosts.len() as u64;
        let host = hosts.entry(name.to_owned()).or_insert_with(|| {
            let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number);
            let shared = Shared {
                name: name.to_owned(),
                clock: self.clock.clone(),
                registry: self.registry.clone(),
                slots: self.slots.clone(),
                state: Mutex::new(HostState::new(name, seed, self.seed)),
                changed: Notify::new(),
                poke: Arc::new(Notify::new()),
                died: Notify::new(),
                has_daemon: AtomicBool::new(false),
            };
            SimHost { shared: Arc::new(shared) }
        });
        host.clone()
    }

    /// Publishes an image, or moves its tag to another build.
    pub fn publish(&self, reference: &str, build: u64, image: SimImage) {
        self.publish_with(reference, build, image, None, Span(200));
    }

    /// Publishes an image that takes a while, or needs a login.
    pub fn publish_with(
        &self,
        reference: &str,
        build: u64,
        image: SimImage,
        login: Option<(String, String)>,
        takes: Span,
    ) {
        let published = Published { image, build, login, takes };
        lock(&self.registry).entries.insert(familiar(reference), published);
    }

    /// Takes an image out of the registry.
    pub fn unpublish(&self, reference: &str) {
        lock(&self.registry).entries.remove(&familiar(reference));
    }
}

fn familiar(reference: &str) -> String {
    ImageRef::new(reference).map_or_else(|_| reference.to_owned(), |reference| reference.familiar())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One host. Copies are the same host.
#[derive(Clone, Debug)]
pub struct SimHost {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    clock: SimClock,
    registry: Arc<Mutex<Registry>>,
    slots: Arc<Mutex<Slots>>,
    state: Mutex<HostState>,
    /// Something changed: for those who wait for a container's end.
    changed: Notify,
    /// The daemon should look again when something is due next.
    poke: Arc<Notify>,
    /// The agent has died at a crash point.
    died: Notify,
    has_daemon: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.poke.notify_one();
    }
}

/// A call that has begun: what is to happen to it.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) fault: Option<Fault>,
    pub(super) death: Option<Moment>,
    rest: Duration,
}

impl SimHost {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its engine.
    pub fn engine(&self) -> SimEngine {
        SimEngine::new(self.clone())
    }

    /// Its files.
    pub fn files(&self) -> SimFiles {
        SimFiles::new(self.clone())
    }

    /// Its store.
    pub fn store(&self) -> SimStore {
        SimStore::new(self.clone())
    }

    /// Its view of the network.
    pub fn prober(&self) -> SimProber {
        SimProber::new(self.clone())
    }

    /// Its seat at the table where hosts agree.
    pub fn coordinator(&self) -> SimCoordinator {
        SimCoordinator::new(self.shared.name.clone(), self.shared.slots.clone())
    }

    /// Its clock.
    pub fn clock(&self) -> SimClock {
        self.shared.clock.clone()
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// What its machine is, as it says when it is asked.
    pub fn set_machine(&self, facts: HostFacts) {
        self.state().machine = facts;
    }

    /// How long calls take, in milliseconds.
    pub fn set_latency(&self, shortest: u64, longest: u64) {
        self.state().latency = (shortest, longest.max(shortest));
    }

    /// The state of the disk that the state directory lies on.
    pub fn set_disk(&self, disk: Disk) {
        self.state().disk = disk;
    }

    /// The state directory is lost: memory, accepted states, events.
    pub fn lose_store(&self) {
        self.state().store.lose();
    }

    /// Lets the agent die at a mutating call of Engine or Files, counted from now on; the first is number 1.
    pub fn crash_at(&self, number: usize, moment: Moment) {
        let mut state = self.state();
        state.crash.count = 0;
        state.crash.at = Some((number, moment));
    }

    /// The same of a call of the store that changes something.
    pub fn crash_at_store(&self, number: usize, moment: Moment) {
        let mut state = self.state();
        state.crash.store_count = 0;
        state.crash.store_at = Some((number, moment));
    }

    /// How many calls have changed something in the store since changes were forgotten, without the log of events.
    pub fn store_changes(&self) -> usize {
        self.state().crash.store_count
    }

    /// Returns once the agent has died. Then drop the agent, and call `revive` before a new one starts.
    pub async fn died(&self) {
        loop {
            let died = self.shared.died.notified();
            if self.state().crash.over {
                return;
            }
            died.await;
        }
    }

    /// Whether the agent has died at its crash point.
    pub fn is_dead(&self) -> bool {
        self.state().crash.dead
    }

    /// Calls work again, and no crash is planned.
    pub fn revive(&self) {
        self.state().crash = super::faults::CrashPoints::default();
    }

    /// What the registry has by this reference.
    pub(super) fn published(&self, reference: &ImageRef) -> Option<Published> {
        lock(&self.shared.registry).entries.get(&reference.familiar()).cloned()
    }

    /// The state, up to date.
    pub(super) fn state(&self) -> MutexGuard<'_, HostState> {
        let mut state = lock(&self.shared.state);
        let now = self.shared.clock.elapsed();
        state.advance(now);
        state
    }

    /// Never returns for an agent that has died.
    pub(super) async fn alive(&self) {
        self.watch_over();
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Begins a call: counts it, decides its fate, and takes the first half of its time.
    pub(super) async fn begin(&self, verb: &str, target: &str, changes: bool) -> Started {
        self.alive().await;
        let (started, before) = {
            let mut state = self.state();
            let death = if changes { state.crash.count() } else { None };
            let fault = if death.is_some() {
                None
            } else if verb_is_of_files(verb) {
                state.files_fault()
            } else {
                let state = &mut *state;
                state.faults.draw(&mut state.random, changes)
            };
            if !changes {
                state.watch.questions += 1;
            }
            let (shortest, longest) = state.latency;
            let before = state.random.random_range(shortest..=longest);
            let after = state.random.random_range(shortest..=longest) / 2;
            if let Some(moment) = death {
                state.note(&format!("the agent dies {moment:?} {verb} {target}"));
            }
            (Started { fault, death, rest: Duration::from_millis(after) }, Duration::from_millis(before))
        };
        if started.death == Some(Moment::Before) {
            self.dies().await;
        }
        pause(before).await;
        started
    }

    /// Ends a call: takes the rest of its time, and never returns where the agent dies of it.
    pub(super) async fn end(&self, started: &Started) {
        self.stir();
        if started.death.is_some() {
            self.dies().await;
        }
        match &started.fault {
            Some(fault) if matches!(fault.error(), crate::port::engine::EngineError::Timeout(_)) => {
                pause(PATIENCE.duration()).await;
            }
            _ => pause(started.rest).await,
        }
    }

    /// The last call of an agent that dies: it never returns.
    async fn dies(&self) {
        self.is_over();
        std::future::pending::<()>().await;
    }

    /// What was to be done of the last call is done.
    pub(super) fn is_over(&self) {
        self.state().crash.over = true;
        self.shared.died.notify_waiters();
    }

    /// Something changed: the daemon and those who wait look again.
    pub(super) fn stir(&self) {
        self.shared.poke.notify_one();
        self.shared.changed.notify_waiters();
    }

    /// Waits until a look at the state gives something.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut HostState) -> Option<T> + Send) -> T {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }

    /// Makes sure that the host's daemon runs: the task that lets things happen when they are due.
    pub(super) fn watch_over(&self) {
        if self.shared.has_daemon.swap(true, Ordering::SeqCst) {
            return;
        }
        let weak = Arc::downgrade(&self.shared);
        let poke = self.shared.poke.clone();
        let clock = self.shared.clock.clone();
        tokio::spawn(async move {
            loop {
                let due = {
                    let Some(shared) = weak.upgrade() else { return };
                    let host = Self { shared };
                    let due = host.state().next_due();
                    host.shared.changed.notify_waiters();
                    due
                };
                match due {
                    Some(at) => tokio::select! {
                        () = tokio::time::sleep_until(clock.instant(at)) => {}
                        () = poke.notified() => {}
                    },
                    None => poke.notified().await,
                }
            }
        });
    }
}

fn verb_is_of_files(verb: &str) -> bool {
    matches!(verb, "write files" | "remove files")
}

async fn pause(duration: Duration) {
    if duration.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(duration).await;
    }
}

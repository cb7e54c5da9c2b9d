//! The loop: woken, it looks, plans, admits and starts steps; then it waits for the next thing to happen.
//!
//! One task owns all state. Steps and probes run as tasks of their own and report back; at most one step a subject is
//! under way. In: [`Input`]s by a channel, finished steps, timers. Out: steps, memory, events, status by a watch channel.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admit::window::Closed;
use crate::execute::{Done, Failure};
use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::facts::SiteFacts;
use crate::model::memory::HostMemory;
use crate::model::names::ServiceName;
use crate::model::peers::{HostReport, Reports};
use crate::model::probe::ProbeAnswer;
use crate::model::time::Timestamp;
use crate::observe::observed::ObservedContainer;
use crate::plan::lapse::Lapse;
use crate::plan::step::{Step, Subject, SubjectPlan};
use crate::port::coordinator::Denied;
use crate::port::store::{RecoveredMemory, StoreError};
use crate::report::event::{Event, Severity};
use crate::report::redact::Redactor;
use crate::report::status::BadSiteFile;

use super::command::{Outcome, OutcomeCode, Progress};
use super::drains::Drains;
use super::filesets::Filesets;
use super::input::Input;
use super::observer::Observer;
use super::outcome::Look;
use super::ports::Ports;
use super::procedures::Procedures;
use super::published::HEARTBEAT;
use super::pulling::Pulling;
use super::queue::Queue;
use super::values::Values;
use super::waiters::Waiter;

/// Between two light passes, apart from jitter.
const RESYNC: Duration = Duration::from_secs(60);
/// How often the progress of a pull is shown.
const PULLS_SHOWN: Duration = Duration::from_secs(1);

/// Between two deep passes, apart from jitter.
const DEEP: Duration = Duration::from_secs(300);
/// An engine that is gone is asked again after this, doubling up to five minutes.
const ENGINE_RETRY: Duration = Duration::from_millis(500);
/// The longest wait for an engine.
const ENGINE_RETRY_MOST: Duration = Duration::from_secs(300);
/// Memory that is no intent may reach the disk so much later.
const SAVE_LATER: Duration = Duration::from_secs(1);
/// Events that are kept for those who ask.
const RECENT_EVENTS: usize = 500;

/// How the loop is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Whether the site is read at the start and on edits; else what was accepted is kept.
    pub follow_source: bool,
    /// Whether steps are taken; else it only looks and plans.
    pub act: bool,
    /// Whether it waits for its first input before it reads the site or does anything.
    pub on_request: bool,
    /// Whether it ends once its first input is answered.
    pub once: bool,
}

/// A step under way.
pub(super) struct InFlight {
    /// How far it is, where it is a pull.
    pub(super) pull: Option<Pulling>,
    pub(super) since: Instant,
    /// When somebody was last told how far it is.
    pub(super) told: Instant,
    pub(super) verb: &'static str,
}

/// A step that ended.
pub(super) struct Ended {
    pub(super) subject: Subject,
    pub(super) step: Step,
    pub(super) container: Option<Arc<ObservedContainer>>,
    pub(super) input_hash: String,
    pub(super) result: Result<Done, Failure>,
    pub(super) took: Duration,
}

/// The loop's state.
pub struct Reconciler {
    pub(super) ports: Ports,
    pub(super) mode: Mode,
    pub(super) observer: Observer,
    pub(super) memory: HostMemory,
    pub(super) memory_dirty: Option<Instant>,
    pub(super) store_error: Option<String>,
    pub(super) desired: Option<Arc<HostDesired>>,
    pub(super) pending: Option<PendingEdit>,
    pub(super) proven: BTreeMap<ServiceName, Arc<InstanceDesired>>,
    pub(super) bad_site: Option<BadSiteFile>,
    pub(super) read_again: Option<Instant>,
    pub(super) source_paths: BTreeSet<std::path::PathBuf>,
    pub(super) plans: BTreeMap<Subject, SubjectPlan>,
    pub(super) order: Vec<Subject>,
    pub(super) dirty: Queue,
    pub(super) all_dirty: bool,
    pub(super) looks: BTreeSet<Look>,
    pub(super) in_flight: BTreeMap<Subject, InFlight>,
    pub(super) running: JoinSet<Ended>,
    pub(super) probing: JoinSet<(ServiceName, Option<ProbeAnswer>)>,
    pub(super) probes_in_flight: BTreeSet<ServiceName>,
    pub(super) probe_due: BTreeMap<ServiceName, Instant>,
    pub(super) values: Values,
    pub(super) procedures: Procedures,
    pub(super) filesets: Filesets,
    pub(super) drains: Drains,
    pub(super) granted: BTreeSet<ServiceName>,
    pub(super) to_release: BTreeSet<ServiceName>,
    pub(super) slots_known: bool,
    /// What the hosts of the site last said of themselves.
    pub(super) reports: watch::Receiver<Arc<Reports>>,
    /// What is known of the machines of the site.
    pub(super) facts: watch::Receiver<Arc<SiteFacts>>,
    /// Whether the site has to know what machines are; then with the addresses that are no machine's own.
    pub(super) asks_facts: Option<BTreeSet<IpAddr>>,
    /// Whether the machine is to be asked what it is.
    pub(super) facts_due: bool,
    /// Before a state was ever accepted: site, host and generation of the containers that are there all the same.
    pub(super) left: Vec<(String, String, u64)>,
    /// What this host last said.
    pub(super) reported: Option<HostReport>,
    /// For how long instances have not been ready.
    pub(super) lapses: BTreeMap<ServiceName, Lapse>,
    /// Services that may not be disrupted now, and why.
    pub(super) refused: BTreeMap<ServiceName, Denied>,
    /// Why the machine is not taken for the one that it was.
    pub(super) stranger: Option<String>,
    pub(super) redactor: Redactor,
    pub(super) repeated: BTreeMap<Subject, (Step, u32)>,
    pub(super) other_failures: BTreeMap<Subject, (u32, Timestamp, String)>,
    pub(super) next_light: Instant,
    pub(super) next_deep: Instant,
    pub(super) engine_failures: u32,
    pub(super) observe_only: bool,
    pub(super) clock_seen: (Instant, Timestamp),
    pub(super) garbage_due: bool,
    pub(super) events_connected: bool,
    pub(super) observed_at: Option<Timestamp>,
    pub(super) events: VecDeque<Event>,
    pub(super) last_published: Option<Instant>,
    pub(super) paths: watch::Sender<BTreeSet<std::path::PathBuf>>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) followers: Vec<super::command::Replies>,
    pub(super) destroying: Option<super::commands::Destroying>,
    pub(super) converged_since: Option<Instant>,
    pub(super) changed_at: Option<Instant>,
    pub(super) finished: bool,
}

/// An edit that waits for a person.
#[derive(Clone, Debug)]
pub(super) struct PendingEdit {
    pub(super) desired: Arc<HostDesired>,
    pub(super) plan_id: String,
    pub(super) changes: usize,
    pub(super) since: Timestamp,
    /// Why it waits for its time; none where it waits for a person.
    pub(super) closed: Option<Closed>,
}

impl Reconciler {
    /// Loads memory and the last accepted state. A site that cannot be read is no obstacle: what was accepted holds.
    pub fn new(ports: Ports, mode: Mode) -> Result<Self, StoreError> {
        let recovered = if mode.act {
            ports.store.recover_memory()?
        } else {
            RecoveredMemory { memory: ports.store.load_memory()?, lost: None }
        };
        if let Some(lost) = &recovered.lost {
            tracing::error!(%lost, "memory was damaged and is put aside: history, holds and quarantines are lost");
        }
        let memory = recovered.memory;
        let accepted = ports.store.load_accepted()?;
        let observer = Observer::new(ports.engine.clone(), ports.files.clone());
        let now = Instant::now();
        let events = ports.store.events(RECENT_EVENTS).unwrap_or_default().into();
        let mut reconciler = Self {
            mode,
            observer,
            memory,
            memory_dirty: None,
            store_error: None,
            desired: None,
            pending: None,
            proven: BTreeMap::new(),
            bad_site: None,
            read_again: None,
            source_paths: BTreeSet::new(),
            plans: BTreeMap::new(),
            order: Vec::new(),
            dirty: Queue::new(ports.metrics.clone()),
            all_dirty: true,
            looks: BTreeSet::from([Look::Deep]),
            in_flight: BTreeMap::new(),
            running: JoinSet::new(),
            probing: JoinSet::new(),
            probes_in_flight: BTreeSet::new(),
            probe_due: BTreeMap::new(),
            values: Values::default(),
            procedures: Procedures::default(),
            filesets: Filesets::default(),
            drains: Drains::default(),
            granted: BTreeSet::new(),
            to_release: BTreeSet::new(),
            stranger: None,
            redactor: Redactor::default(),
            slots_known: false,
            reports: ports.coordinator.reports(),
            facts: ports.coordinator.facts(),
            asks_facts: None,
            facts_due: false,
            left: Vec::new(),
            reported: None,
            lapses: BTreeMap::new(),
            refused: BTreeMap::new(),
            repeated: BTreeMap::new(),
            other_failures: BTreeMap::new(),
            next_light: now + RESYNC,
            next_deep: now + DEEP,
            engine_failures: 0,
            observe_only: false,
            clock_seen: (now, ports.clock.now()),
            garbage_due: false,
            events_connected: false,
            observed_at: None,
            events,
            last_published: None,
            paths: watch::Sender::new(BTreeSet::new()),
            waiters: Vec::new(),
            followers: Vec::new(),
            destroying: None,
            converged_since: None,
            changed_at: None,
            finished: false,
            ports,
        };
        // Time in which nobody watched counts for no gate.
        let now = reconciler.now();
        for gate in reconciler.memory.instances.values_mut().filter_map(|instance| instance.gate.as_mut()) {
            gate.seen_at = now;
        }
        if let Some(accepted) = accepted {
            reconciler.put_in_force(Arc::new(accepted));
        }
        Ok(reconciler)
    }

    /// The files that the site is read from, to be watched.
    pub fn paths(&self) -> watch::Receiver<BTreeSet<std::path::PathBuf>> {
        self.paths.subscribe()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Runs until it is told to end, or all senders are gone and nothing is left to wait for.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut open = true;
        self.look_before().await;
        if self.mode.on_request {
            match inputs.recv().await {
                Some(input) => {
                    // Who only looks wants to see what the site says; who acts says so.
                    if self.mode.follow_source && !self.mode.act {
                        self.read_site(false);
                    }
                    self.take_input(input).await;
                }
                None => return,
            }
        } else if self.mode.follow_source {
            self.read_site(false);
        }
        while !self.finished {
            self.turn().await;
            if self.finished || self.is_answered() {
                break;
            }
            let wake = self.wake_at();
            tokio::select! {
                biased;
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => self.take_ended(ended),
                input = inputs.recv(), if open => match input {
                    Some(input) => self.take_input(input).await,
                    None => {
                        open = false;
                        self.finished = true;
                    }
                },
                Some(answer) = self.probing.join_next(), if !self.probing.is_empty() => self.take_answer(answer),
                Some(answer) = self.values.asking.join_next(), if !self.values.asking.is_empty() => self.take_value(answer),
                Some(answer) = self.drains.asking.join_next(), if !self.drains.asking.is_empty() => self.take_led(answer),
                Ok(()) = self.reports.changed(), if self.listens() => self.hear(),
                Ok(()) = self.facts.changed() => self.hear_facts(),
                () = tokio::time::sleep_until(wake) => {}
            }
            // What is there already belongs to the same turn.
            while let Ok(input) = inputs.try_recv() {
                self.take_input(input).await;
            }
            while let Some(ended) = self.running.try_join_next() {
                self.take_ended(ended);
            }
            while let Some(answer) = self.probing.try_join_next() {
                self.take_answer(answer);
            }
            while let Some(answer) = self.values.asking.try_join_next() {
                self.take_value(answer);
            }
            while let Some(answer) = self.drains.asking.try_join_next() {
                self.take_led(answer);
            }
        }
        self.shut_down().await;
    }

    /// Whether whoever asked for one thing has the answer. Another look, as for the stream of events that came up
    /// meanwhile, would only keep them waiting.
    fn is_answered(&self) -> bool {
        self.mode.once
            && self.waiters.is_empty()
            && self.followers.is_empty()
            && self.destroying.is_none()
            && self.is_quiet()
    }

    async fn shut_down(&mut self) {
        // Steps that run are seen to their end: half a stop helps nobody. A second signal ends the process.
        while let Some(ended) = self.running.join_next().await {
            self.take_ended(ended);
        }
        self.save_memory();
        for waiter in std::mem::take(&mut self.waiters) {
            waiter.replies.finish(Outcome::not(OutcomeCode::Interrupted, "the agent ends"));
        }
    }

    /// When to look again if nothing happens.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let clock = self.now();
        let mut wake = self.next_light.min(self.next_deep).min(now + HEARTBEAT);
        if self.observe_only {
            wake = now;
        }
        if self.in_flight.values().any(|step| step.pull.is_some()) {
            wake = wake.min(now + PULLS_SHOWN);
        }
        if let Some(saved) = self.memory_dirty {
            wake = wake.min(saved + SAVE_LATER);
        }
        if let Some(due) = self.read_again {
            wake = wake.min(due);
        }
        for due in self
            .probe_due
            .values()
            .copied()
            .chain(self.values.next())
            .chain(self.drains.next())
            .chain(self.clients_until())
        {
            wake = wake.min(due);
        }
        for waiter in &self.waiters {
            wake = wake.min(waiter.deadline.unwrap_or(wake));
        }
        let timers = self
            .plans
            .iter()
            .filter(|(subject, _)| !self.in_flight.contains_key(*subject))
            .filter_map(|(_, plan)| match plan.next {
                crate::plan::step::Next::Wait { until } => until,
                _ => None,
            })
            .chain(self.other_failures.values().map(|(_, until, _)| *until))
            .chain(self.procedures.wake)
            .chain(self.filesets.wake)
            .chain(self.edit_due())
            .chain(self.memory.holds.iter().filter_map(|hold| hold.until).filter(|until| *until > clock));
        for timer in timers {
            // Never sooner than a moment: a timer that has passed was seen by the turn before.
            let wait = timer.since(clock).duration().max(Duration::from_millis(5));
            wake = wake.min(now + wait);
        }
        wake
    }

    async fn take_input(&mut self, input: Input) {
        match input {
            Input::Edit | Input::Reload => {
                if self.mode.follow_source {
                    self.read_site(matches!(input, Input::Reload));
                }
            }
            Input::Engine(event) => self.take_event(&event),
            Input::EventsConnected => {
                self.events_connected = true;
                self.looks.insert(Look::Deep);
            }
            Input::EventsLost(why) => {
                if self.events_connected {
                    tracing::warn!(%why, "the stream of events broke");
                }
                self.events_connected = false;
                self.looks.insert(Look::Light);
            }
            Input::Files(Some(key)) => {
                self.looks.insert(Look::Files(key));
            }
            Input::Files(None) => {
                self.looks.insert(Look::Deep);
            }
            Input::Request(request) => self.answer(*request).await,
            Input::Shutdown => self.finished = true,
        }
    }

    fn take_event(&mut self, event: &crate::observe::observed::EngineEvent) {
        match event.kind.as_str() {
            "container" => {
                self.looks.insert(Look::Container(event.id.clone()));
            }
            "network" => {
                if let Some(container) = &event.container {
                    self.looks.insert(Look::Container(container.clone()));
                }
                if matches!(event.action.as_str(), "create" | "destroy" | "remove") {
                    self.looks.insert(Look::Networks);
                }
            }
            "volume" => {
                self.looks.insert(Look::Volumes);
            }
            "image" => {
                self.looks.insert(Look::Images);
            }
            _ => {}
        }
    }

    /// When the next light and deep passes are due, with 10 % of jitter so that a fleet does not move in step.
    pub(super) fn schedule_passes(&mut self, deep: bool) {
        let jitter = |span: Duration, chance: f64| span.mul_f64(0.9 + 0.2 * chance);
        let now = Instant::now();
        self.next_light = now + jitter(RESYNC, self.ports.clock.chance());
        if deep {
            self.next_deep = now + jitter(DEEP, self.ports.clock.chance());
        }
    }

    /// When to ask a lost engine again.
    pub(super) fn schedule_retry(&mut self) {
        let doubling = self.engine_failures.min(10);
        let ceiling = ENGINE_RETRY.saturating_mul(1 << doubling).min(ENGINE_RETRY_MOST);
        self.engine_failures = self.engine_failures.saturating_add(1);
        // Full jitter, but never at once.
        let wait = ceiling.mul_f64(0.2 + 0.8 * self.ports.clock.chance());
        self.next_light = Instant::now() + wait;
        self.next_deep = self.next_light;
    }

    /// Writes the log of events and tells those who listen.
    pub(super) fn tell(&mut self, severity: Severity, reason: &str, subject: &str, message: &str) {
        let generation = self.desired.as_ref().map_or(0, |desired| desired.generation);
        let message = self.redactor.redact(message).into_owned();
        let event = Event {
            at: self.now(),
            generation,
            severity,
            reason: reason.to_owned(),
            subject: subject.to_owned(),
            message: message.clone(),
        };
        let host = self.desired.as_ref().map_or("", |desired| desired.host.as_str());
        match severity {
            Severity::Normal => tracing::info!(host, service = subject, reason, "{message}"),
            Severity::Warning => tracing::warn!(host, service = subject, reason, "{message}"),
        }
        // A full disk must not stop healing; the status tells of it.
        if let Err(error) = self.ports.store.append_event(&event) {
            self.store_error = Some(error.to_string());
            // The next save that succeeds ends the complaint.
            self.memory_dirty.get_or_insert_with(Instant::now);
        }
        if self.events.len() >= RECENT_EVENTS {
            self.events.pop_front();
        }
        let progress = Progress {
            at: event.at,
            severity,
            reason: event.reason.clone(),
            subject: event.subject.clone(),
            message: event.message.clone(),
        };
        self.events.push_back(event);
        self.tell_listeners(&progress);
    }

    /// Those who listen now; nothing is kept of it.
    pub(super) fn tell_listeners(&mut self, progress: &Progress) {
        for waiter in &self.waiters {
            waiter.replies.progress(progress.clone());
        }
        self.followers.retain(|follower| !follower.is_abandoned());
        for follower in &self.followers {
            follower.progress(progress.clone());
        }
    }

    /// Puts memory on disk. A failure is told once and tried again.
    pub(super) fn save_memory(&mut self) -> bool {
        match self.ports.store.save_memory(&self.memory) {
            Ok(()) => {
                self.memory_dirty = None;
                self.store_error = None;
                true
            }
            Err(error) => {
                let message = error.to_string();
                if self.store_error.as_ref() != Some(&message) {
                    tracing::error!(%message, "memory cannot be saved");
                }
                self.store_error = Some(message);
                self.memory_dirty = Some(Instant::now());
                false
            }
        }
    }
}

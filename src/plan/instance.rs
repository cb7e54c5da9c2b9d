//! The plan of one instance: from its containers' names, labels and states to the one next step.
//!
//! Nothing is remembered of where a change stands: a pass that finds a half-done replacement or a half-done change in
//! place sees what is there and goes on from it. A spec that failed is answered by planning against the spec that was
//! last ready, so that a rollback is no procedure of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::change::CHANGE_HALTED;
use crate::model::condition::{Condition, ConditionStatus, ConditionType};
use crate::model::desired::{DependencyTarget, HealMode, InstanceDesired, OnFailure};
use crate::model::hold::{Hold, HoldKind};
use crate::model::labels;
use crate::model::memory::{HostMemory, InstanceMemory, Proven, Told};
use crate::model::names::{HostName, SiteName, VolumeName};
use crate::model::network::VolumeSpec;
use crate::model::procedure::{Behaviour, Instructed};
use crate::model::time::Timestamp;
use crate::observe::observed::{EngineState, Health, HostObserved, ObservedContainer, Status};

use super::dependency::KnownDependency;
use super::diff::{self, Difference};
use super::files;
use super::gate::{self, Verdict};
use super::remember::MemoryChange;
use super::slots::{Owner, Slots};
use super::step::{ActionKind, Cause, Change, Disruption, Next, Step, Subject, SubjectPlan};
use super::{change, instructed, prepare, replace, steady};

/// All that the plan of an instance depends on.
#[derive(Clone, Copy, Debug)]
pub struct InstanceInput<'a> {
    /// Site.
    pub site: &'a SiteName,
    /// Host.
    pub host_name: &'a HostName,
    /// Accepted generation.
    pub generation: u64,
    /// What the accepted state says.
    pub desired: &'a Arc<InstanceDesired>,
    /// What its role says of it beyond its container.
    pub behaviour: Option<&'a Behaviour>,
    /// Named volumes of the host.
    pub volumes: &'a BTreeMap<VolumeName, VolumeSpec>,
    /// What a procedure has it do.
    pub instructed: Option<&'a Instructed>,
    /// Why a procedure about it cannot begin or go on: a reason in CamelCase, and for people.
    pub refused: Option<&'a (String, String)>,
    /// Whether others do not let it be taken down now.
    pub slotless: bool,
    /// Why it is not to be started when it is dead.
    pub held: Option<&'a str>,
    /// The spec that was last ready, where it is another one and its revision is kept.
    pub proven: Option<&'a Arc<InstanceDesired>>,
    /// The host as seen.
    pub observed: &'a HostObserved,
    /// Memory.
    pub memory: &'a HostMemory,
    /// Whether drift is mended.
    pub heal: HealMode,
    /// By name of service or job.
    pub dependencies: &'a BTreeMap<String, KnownDependency>,
    /// The time.
    pub now: Timestamp,
}

/// The working set of one planning.
pub(super) struct Planning<'a> {
    pub(super) input: InstanceInput<'a>,
    /// The spec to bring about: the desired one, or where it failed the one before.
    pub(super) spec: &'a Arc<InstanceDesired>,
    /// The variant that the spec is, where a procedure chose one.
    pub(super) variant: Option<&'a str>,
    pub(super) quarantined: bool,
    pub(super) slots: Slots<'a>,
    pub(super) memory: &'a InstanceMemory,
    pub(super) conditions: Vec<Condition>,
    pub(super) change: Option<Change>,
    pub(super) disrupts: bool,
    pub(super) state: String,
    pub(super) ready: bool,
}

/// The plan.
pub fn plan(input: &InstanceInput<'_>) -> SubjectPlan {
    static NOTHING: InstanceMemory = InstanceMemory::EMPTY;
    let memory = input.memory.instances.get(&input.desired.service).unwrap_or(&NOTHING);
    let quarantined = memory.quarantine.as_ref().is_some_and(|failed| failed.input_hash == input.desired.input_hash)
        && !input.memory.retries.contains(&input.desired.service);
    let spec = if quarantined { input.proven.unwrap_or(input.desired) } else { input.desired };
    let (spec, variant) = instructed::chosen(input).unwrap_or((spec, None));
    let quarantined = quarantined && variant.is_none();
    let owner = Owner {
        site: input.site.as_str(),
        host: input.host_name.as_str(),
        label: labels::SERVICE,
        name: input.desired.service.as_str(),
        adopted: memory.adopted.as_deref(),
    };
    let mut planning = Planning {
        input: *input,
        spec,
        variant,
        quarantined,
        slots: Slots::find(input.observed, owner, &input.desired.container_name),
        memory,
        conditions: Vec::new(),
        change: None,
        disrupts: false,
        state: "unknown".to_owned(),
        ready: false,
    };
    let next = planning.next();
    planning.finish(next)
}

impl<'a> Planning<'a> {
    pub(super) fn condition(&mut self, kind: ConditionType, reason: &str, message: impl Into<String>) {
        if !self.conditions.iter().any(|condition| condition.kind == kind) {
            self.conditions.push(Condition::new(kind, true, reason, message));
        }
    }

    pub(super) fn change(&mut self, kind: ActionKind, disruption: Disruption, causes: Vec<Cause>) {
        if self.change.is_none() {
            self.change = Some(Change { kind, disruption, causes });
        }
    }

    pub(super) fn hold(&self, kind: HoldKind) -> Option<&'a Hold> {
        self.input
            .memory
            .holds
            .iter()
            .find(|hold| hold.kind == kind && hold.is_active(self.input.now) && hold.covers(&self.spec.service))
    }

    /// The differences between a container and the spec in force.
    pub(super) fn differences(&self, container: &ObservedContainer) -> Vec<Difference> {
        diff::differences(self.spec, container, self.input.observed)
    }

    /// Whether a container needs no replacement to be as the spec says.
    pub(super) fn fits(&self, container: &ObservedContainer) -> bool {
        container.detail.is_some()
            && self.differences(container).iter().all(|difference| difference.class < Disruption::Replace)
    }

    /// Whether the spec has been ready before: what differs then is drift, not an edit.
    pub(super) fn is_proven(&self) -> bool {
        self.memory.proven.as_ref().is_some_and(|proven| proven.input_hash == self.spec.input_hash)
    }

    /// Whether this very container has been ready with the spec.
    pub(super) fn is_proven_by(&self, container: &ObservedContainer) -> bool {
        self.is_proven() && self.memory.proven.as_ref().is_some_and(|proven| proven.container_id == container.id)
    }

    /// Whether there is a spec to go back to.
    pub(super) fn has_way_back(&self) -> bool {
        self.input.proven.is_some() || self.slots.previous.is_some()
    }

    fn next(&mut self) -> Next {
        match &self.input.observed.engine {
            EngineState::Known(_) => {}
            EngineState::Unknown(why) => {
                self.condition(ConditionType::Unknown, "EngineUnreachable", why.clone());
                return Next::Blocked;
            }
            EngineState::Refused { reason, why } => {
                self.condition(ConditionType::Unknown, reason, why.clone());
                return Next::Blocked;
            }
            EngineState::NotAsked => {
                self.condition(ConditionType::Unknown, "NotObserved", "the engine has not been asked yet");
                return Next::Blocked;
            }
        }
        if self.quarantined {
            self.quarantine_conditions();
        }
        if let Some(foreign) = self.slots.foreign {
            "blocked".clone_into(&mut self.state);
            let owner = foreign
                .label(labels::SITE)
                .map_or_else(|| "it was not made by Mastic".to_owned(), |site| format!("it belongs to site `{site}`"));
            let message = format!("the container name `{}` is taken by {}: {owner}", foreign.name, short(&foreign.id));
            self.condition(ConditionType::NameTaken, "NameTaken", message);
            return Next::Blocked;
        }
        let present = [self.slots.current, self.slots.next, self.slots.previous, self.slots.elsewhere];
        if present.iter().flatten().any(|container| container.detail.is_none()) {
            // It was seen in a list and vanished or failed before it could be inspected: unknown, so nothing is done.
            self.condition(ConditionType::Unknown, "NotInspected", "a container of it has not been inspected yet");
            return Next::Wait { until: None };
        }
        if let Some(hold) = self.hold(HoldKind::Stop) {
            let message = said(hold);
            self.condition(ConditionType::Paused, "StoppedByUser", message);
            return self.stopped();
        }
        let next = if let Some(next) = instructed::next(self) {
            next
        } else if let Some(container) = self.slots.elsewhere {
            self.change(
                ActionKind::Rename,
                Disruption::None,
                vec![Cause::words("container_name", &container.name, self.spec.container_name.as_str())],
            );
            "renaming".clone_into(&mut self.state);
            Next::Step(Step::Rename { id: container.id.clone(), to: self.spec.container_name.to_string() })
        } else if self.slots.previous.is_some() || self.slots.next.is_some() {
            replace::next(self)
        } else if let Some(current) = self.slots.current {
            steady::next(self, current)
        } else {
            self.missing()
        };
        if let Some(hold) = self.hold(HoldKind::Pause) {
            let message = said(hold);
            self.condition(ConditionType::Paused, "Paused", message);
            return Next::Blocked;
        }
        next
    }

    fn quarantine_conditions(&mut self) {
        let Some(failed) = &self.memory.quarantine else { return };
        let going_back =
            if self.input.proven.is_some() { "the spec before it is in force" } else { "there is none to go back to" };
        let message = match &failed.elsewhere {
            None => format!("generation {} failed here: {}; {going_back}", failed.generation, failed.reason),
            Some(_) => format!("generation {} is taken back: {}; {going_back}", failed.generation, failed.reason),
        };
        self.condition(ConditionType::Quarantined, "SpecFailed", message.clone());
        if self.input.proven.is_some() {
            self.condition(ConditionType::RolledBack, "GateFailed", message);
        }
    }

    /// A person wants it stopped.
    pub(super) fn stopped(&mut self) -> Next {
        "stopped".clone_into(&mut self.state);
        for container in [self.slots.current, self.slots.previous, self.slots.next].into_iter().flatten() {
            if container.is_running() || container.state.status == Status::Restarting {
                self.change(ActionKind::Stop, Disruption::Restart, vec![Cause::words("state", "running", "stopped")]);
                "stopping".clone_into(&mut self.state);
                return Next::Step(self.stop(container));
            }
        }
        Next::Nothing
    }

    /// There is no container at all.
    fn missing(&mut self) -> Next {
        "missing".clone_into(&mut self.state);
        self.change(ActionKind::Create, Disruption::None, vec![Cause::words("state", "missing", "running")]);
        if self.quarantined && self.input.proven.is_none() {
            return Next::Blocked;
        }
        // What has been ready comes back whatever it depends on.
        if self.memory.proven.is_none()
            && let Some(waiting) = self.waits_for_dependency(false)
        {
            return waiting;
        }
        prepare::next(self, self.spec.container_name.as_str(), None)
    }

    /// Whether something that it depends on is not there yet. `upgrade`: it also has to be done with its own change.
    pub(super) fn waits_for_dependency(&mut self, upgrade: bool) -> Option<Next> {
        let spec = self.spec;
        for (name, dependency) in &spec.depends_on {
            let satisfied = match self.input.dependencies.get(name.as_str()) {
                None => !dependency.required,
                Some(known) if dependency.on == DependencyTarget::Step => {
                    let undone = known.undone(self.input.host_name);
                    if !undone.is_empty() {
                        let message = format!("waits for the step `{name}`: {}", undone.join(", "));
                        self.condition(ConditionType::Waiting, "DependencyNotReady", message);
                        return Some(Next::Blocked);
                    }
                    true
                }
                Some(known) => {
                    known.has(dependency.need, |state| match dependency.on {
                        DependencyTarget::Started => state.started,
                        DependencyTarget::Ready | DependencyTarget::Done | DependencyTarget::Step => state.ready,
                    }) && (!upgrade || known.is_settled())
                }
            };
            if !satisfied {
                self.condition(ConditionType::Waiting, "DependencyNotReady", format!("waits for `{name}`"));
                return Some(Next::Blocked);
            }
        }
        None
    }

    pub(super) fn stop(&self, container: &ObservedContainer) -> Step {
        Step::Stop {
            id: container.id.clone(),
            grace: container.detail.as_ref().and_then(|detail| detail.settings.stop_grace_period),
            hooks: self.spec.hooks.clone(),
        }
    }

    pub(super) fn start(&self, container: &ObservedContainer) -> Step {
        Step::Start {
            id: container.id.clone(),
            hooks: self.spec.hooks.clone(),
            digest: files::live_digest(&self.spec.files),
        }
    }

    /// The gate of a container, once everything about it is as the spec says.
    pub(super) fn gate(&mut self, container: &ObservedContainer) -> Next {
        let now = self.input.now;
        let protects = self.has_way_back();
        let looked = gate::watch(self.memory.gate.as_ref(), self.spec, container, self.input.observed, now);
        match gate::judge(&looked, self.spec, container, protects, now) {
            Verdict::Passed => Next::Remember(MemoryChange::Proven {
                service: self.spec.service.clone(),
                proven: Proven {
                    input_hash: self.spec.input_hash.clone(),
                    generation: if self.quarantined {
                        self.memory.proven.as_ref().map_or(self.input.generation, |proven| proven.generation)
                    } else {
                        self.input.generation
                    },
                    container_id: container.id.clone(),
                },
                told: Told {
                    container_id: container.id.clone(),
                    digest: files::live_digest(&self.spec.files),
                    ..Told::default()
                },
            }),
            Verdict::Waiting(until) => {
                self.ready = false;
                "starting".clone_into(&mut self.state);
                self.condition(ConditionType::Progressing, "GateOpen", "it has to show that it is ready");
                Next::Wait { until: Some(until) }
            }
            Verdict::Failed(reason) => self.gate_failed(container, &reason),
        }
    }

    pub(super) fn gate_failed(&mut self, container: &ObservedContainer, reason: &str) -> Next {
        let crossed = change::crossing(self);
        let may_go_back = self.has_way_back()
            && self.spec.rollout.on_failure != OnFailure::Halt
            && crossed.is_none()
            && !self.quarantined;
        if may_go_back {
            "rolling back".clone_into(&mut self.state);
            return Next::Step(Step::Quarantine {
                id: Some(container.id.clone()),
                reason: reason.to_owned(),
                input_hash: self.spec.input_hash.clone(),
            });
        }
        "failed".clone_into(&mut self.state);
        match crossed {
            Some(step) => {
                let message = format!("{reason}; there is no way back from `{}`, so it is left as it is", step.change);
                self.condition(ConditionType::Halted, CHANGE_HALTED, message.clone());
                self.condition(ConditionType::Stalled, CHANGE_HALTED, message);
            }
            None => self.condition(ConditionType::Stalled, "GateFailed", reason),
        }
        // It may still become ready, and nothing is lost by looking.
        Next::Wait { until: None }
    }

    /// Whether a step towards this spec failed in a way that the spec is to blame for.
    pub(super) fn spec_failure(&self) -> Option<&'a crate::model::memory::StepFailure> {
        self.memory
            .last_error
            .as_ref()
            .filter(|failure| failure.spec_at_fault && failure.input_hash == self.spec.input_hash)
    }

    fn finish(mut self, next: Next) -> SubjectPlan {
        let next = self.with_backoff(next);
        if let Some(failure) = &self.memory.last_error
            && self.memory.failures > 0
        {
            let (reason, message) = (failure.reason.clone(), failure.message.clone());
            let stalled = failure.spec_at_fault && failure.input_hash == self.spec.input_hash;
            let kind = if stalled { ConditionType::Stalled } else { ConditionType::Waiting };
            self.condition(kind, &reason, message);
        }
        if let Some(why) = self.unread_files() {
            let drifted = Condition::new(ConditionType::Drifted, ConditionStatus::Unknown, "FilesUnreadable", why);
            self.conditions.push(drifted);
        }
        let differs = self.change.is_some();
        if differs && self.is_proven() && self.ready_before() {
            let causes =
                self.change.as_ref().map(|change| change.causes.iter().map(ToString::to_string).collect::<Vec<_>>());
            self.condition(ConditionType::Drifted, "Drifted", causes.unwrap_or_default().join("; "));
        }
        let acts = matches!(next, Next::Step(_) | Next::Remember(_));
        if acts && differs {
            self.condition(ConditionType::Reconciling, "Changing", "it is being brought to its desired state");
        }
        let (reason, message) = self.ready_reason(&next);
        let ready = Condition::new(ConditionType::Ready, self.ready, reason, message);
        let ready = if self.conditions.iter().any(|condition| condition.kind == ConditionType::Unknown) {
            Condition { status: ConditionStatus::Unknown, ..ready }
        } else {
            ready
        };
        self.conditions.insert(0, ready);
        self.conditions.sort_by_key(|condition| condition.kind);
        SubjectPlan {
            subject: Subject::Service(self.spec.service.clone()),
            change: self.change,
            next,
            disrupts: self.disrupts,
            ready: self.ready,
            state: self.state,
            conditions: self.conditions,
        }
    }

    /// Why its files may differ without anybody knowing.
    fn unread_files(&self) -> Option<String> {
        let hash = self.slots.current?.detail.as_ref()?.managed_hash.as_ref()?;
        let key = files::key(self.spec.container_name.as_str(), hash);
        let why = self.input.observed.unreadable_files.get(&key)?;
        Some(format!("whether its files are as they should be is not known: {why}"))
    }

    fn ready_before(&self) -> bool {
        self.memory.proven.is_some()
    }

    fn ready_reason(&self, next: &Next) -> (&'static str, String) {
        if self.ready {
            return ("Ready", String::new());
        }
        let first = self
            .conditions
            .iter()
            .find(|condition| condition.kind != ConditionType::Reconciling && condition.is_true());
        match (first, next) {
            (Some(condition), _) => ("NotReady", format!("{}: {}", condition.kind.as_str(), condition.message)),
            (None, Next::Step(step)) => ("Changing", step.verb().to_owned()),
            _ => ("NotReady", self.state.clone()),
        }
    }

    /// Steps wait for their backoff, except the ones that only look or stop.
    fn with_backoff(&mut self, next: Next) -> Next {
        let Some(retry_at) = self.memory.retry_at else { return next };
        if self.input.now >= retry_at || retry_at.since(self.input.now) > super::backoff::LONGEST {
            return next;
        }
        match next {
            Next::Step(Step::Quarantine { .. } | Step::Stop { .. }) => next,
            Next::Step(_) => Next::Wait { until: Some(retry_at) },
            other => other,
        }
    }

    pub(super) fn is_ready_now(&self, container: &ObservedContainer) -> bool {
        gate::is_ready(self.spec, container, self.input.observed)
    }

    pub(super) fn describe_running(&mut self, container: &ObservedContainer) {
        let state = match (container.state.status, container.state.health) {
            (Status::Running, Health::Unhealthy) => "unhealthy",
            (Status::Running, Health::Starting) => "starting",
            (Status::Running, _) => "running",
            (Status::Paused, _) => "paused",
            (Status::Restarting, _) => "restarting",
            (Status::Created, _) => "created",
            (Status::Removing, _) => "removing",
            (Status::Exited | Status::Dead, _) => "exited",
        };
        state.clone_into(&mut self.state);
    }
}

fn said(hold: &Hold) -> String {
    let until = hold.until.map(|until| format!(", until {until}")).unwrap_or_default();
    format!("{} by {} since {}{until}", hold.reason, hold.user, hold.since)
}

/// An id as people see it.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

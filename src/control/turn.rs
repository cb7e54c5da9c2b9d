//! One turn of the loop: look ([`super::look`]), plan, admit, start.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinError;
use tokio::time::Instant;

use crate::admit::{self, Claim, SiteView};
use crate::execute::{self, Done, Failure, Hands};
use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::names::ServiceName;
use crate::model::peers::Reports;
use crate::model::time::Timestamp;
use crate::observe::observed::Health;
use crate::plan::host::{self, HostInput};
use crate::plan::remember::MemoryChange;
use crate::plan::step::{Next, Step, Subject, SubjectPlan};
use crate::plan::{backoff, gate, networks, orphans};
use crate::report::event::Severity;
use crate::report::metrics::{Phase, RollbackReason};

use super::outcome::{self, Look};
use super::pulling::Pulling;
use super::reconciler::{Ended, InFlight, Reconciler};

/// Plans of one subject in one turn: each `Remember` leads to another; more than so many would be a planner's mistake.
const REPLANS: usize = 16;

/// Endings of the names of short-lived containers that a step makes for itself.
const HELPERS: [&str; 3] = [".accounts", ".ask", ".fileset"];

/// The same step about the same subject may be done so often in a row before it counts as failing.
const REPEATS: u32 = 3;

fn no_effect(step: &Step) -> Failure {
    Failure {
        reason: "NoEffect",
        message: format!("{} was done {REPEATS} times and is still needed", step.verb()),
        spec_at_fault: false,
        engine_lost: false,
        unread: false,
    }
}

impl Reconciler {
    /// Looks where something may have changed, plans what that touches, and starts what may start.
    pub(super) async fn turn(&mut self) {
        self.notice_clock_step();
        self.read_site_again();
        let began = Instant::now();
        self.look().await;
        if self.learn_facts().await {
            self.look().await;
        }
        self.ports.metrics.phase_took(Phase::Observe, began.elapsed());
        let began = Instant::now();
        self.decide_procedures().await;
        self.decide_filesets().await;
        self.recall();
        self.plan_all();
        self.ports.metrics.phase_took(Phase::Plan, began.elapsed());
        if self.observe_only {
            // A new version of the engine: what it reports is looked at once before anything is done about it.
            self.observe_only = false;
            self.all_dirty = true;
        } else if self.mode.act {
            self.start_steps().await;
        }
        self.start_probes();
        self.tell_pulls();
        self.ask_values();
        if self.memory_dirty.is_some_and(|since| since.elapsed() >= std::time::Duration::from_secs(1)) {
            self.save_memory();
        }
        self.finish_destroy().await;
        if self.garbage_due && self.is_quiet() {
            self.garbage_due = false;
            self.collect_garbage().await;
        }
        let spans: Vec<_> = self.in_flight.values().map(|step| step.since.elapsed()).collect();
        self.ports.metrics.working_for(&spans);
        self.publish().await;
        self.settle_waiters();
    }

    /// Looks and plans, for those who only ask.
    pub(super) async fn turn_without_steps(&mut self) {
        self.look().await;
        if self.learn_facts().await {
            self.look().await;
        }
        self.decide_procedures().await;
        self.decide_filesets().await;
        self.plan_all();
        self.start_probes();
        // Whoever asks wants to know what is so now, and a probe has its own time-out.
        while let Some(answer) = self.probing.join_next().await {
            self.take_answer(answer);
        }
        self.plan_all();
    }

    fn plan_all(&mut self) {
        let Some(desired) = self.desired.clone() else {
            self.plans.clear();
            self.order.clear();
            return;
        };
        let now = self.now();
        // Timers that have passed.
        let due: Vec<Subject> = self
            .plans
            .iter()
            .filter(|(_, plan)| matches!(plan.next, Next::Wait { until: Some(until) } if until <= now))
            .map(|(subject, _)| subject.clone())
            .collect();
        self.dirty.extend(due);
        let ended_holds = self.memory.holds.iter().any(|hold| !hold.is_active(now));
        if ended_holds {
            self.memory.holds.retain(|hold| hold.is_active(now));
            self.memory_dirty.get_or_insert_with(Instant::now);
            self.all_dirty = true;
        }
        if self.all_dirty {
            self.all_dirty = false;
            self.plan_everything(now);
        }
        let mut rounds = 0;
        while !self.dirty.is_empty() && rounds < REPLANS {
            rounds += 1;
            for subject in self.dirty.take() {
                self.plan_one(&desired, &subject, now);
            }
        }
    }

    fn plan_everything(&mut self, now: Timestamp) {
        let Some(desired) = self.desired.clone() else { return };
        let networks = networks::plan(&desired, &self.observer.observed);
        let orphans = orphans::plan(&desired, &self.observer.observed, &self.memory, now);
        self.plans.retain(|subject, _| match subject {
            Subject::Service(name) => desired.services.contains_key(name) || desired.waits.services.contains_key(name),
            Subject::Job(name) => desired.jobs.contains_key(name) || desired.waits.jobs.contains_key(name),
            Subject::Fileset(name) => desired.filesets.iter().any(|fileset| fileset.fileset == *name),
            Subject::Host | Subject::Orphan(_) => false,
        });
        self.order = vec![Subject::Host];
        self.order.extend(orphans.iter().map(|plan| plan.subject.clone()));
        let filesets = || desired.filesets.iter().map(|fileset| Subject::Fileset(fileset.fileset.clone()));
        self.order.extend(filesets());
        self.order.extend(host::subjects(&desired));
        for mut plan in std::iter::once(networks).chain(orphans) {
            self.hold_back(&mut plan, now);
            self.plans.insert(plan.subject.clone(), plan);
        }
        self.dirty.extend(filesets());
        self.dirty.extend(host::subjects(&desired));
    }

    /// What plans are made from.
    pub(super) fn input<'a>(
        &'a self,
        desired: &'a HostDesired,
        proven: &'a BTreeMap<ServiceName, Arc<InstanceDesired>>,
        reports: &'a Reports,
    ) -> HostInput<'a> {
        let (observed, memory) = (&self.observer.observed, &self.memory);
        let orders = &self.procedures.orders;
        HostInput { desired, proven, observed, memory, reports, orders, now: self.now() }
    }

    /// Backoff of subjects that have no memory of their own.
    fn hold_back(&mut self, plan: &mut SubjectPlan, now: Timestamp) {
        if let Some((_, until, _)) = self.other_failures.get(&plan.subject)
            && *until > now
            && until.since(now) <= backoff::LONGEST
            && matches!(plan.next, Next::Step(_))
        {
            plan.next = Next::Wait { until: Some(*until) };
        }
    }

    fn plan_one(&mut self, desired: &HostDesired, subject: &Subject, now: Timestamp) {
        if let Subject::Service(service) = subject {
            self.watch_instance(service, now);
        }
        for _ in 0..REPLANS {
            let reports = self.reports.borrow().clone();
            let input = HostInput { now, ..self.input(desired, &self.proven, &reports) };
            let known = host::dependencies_of(&input, subject);
            let Some(mut plan) = host::plan_subject(&input, &known, subject, self.ports.planner.as_ref()) else {
                if matches!(subject, Subject::Host | Subject::Orphan(_)) {
                    self.all_dirty = true;
                }
                return;
            };
            if let Next::Remember(change) = &plan.next {
                // A step that is under way may still be told of; what it reports is planned with afterwards.
                if self.in_flight.contains_key(subject) {
                    break;
                }
                let change = change.clone();
                self.remember(&change, subject);
                continue;
            }
            self.hold_back(&mut plan, now);
            if let Some(old) = self.plans.get(subject) {
                let mut conditions = std::mem::take(&mut plan.conditions);
                crate::model::condition::carry_over(&old.conditions, &mut conditions, now);
                plan.conditions = conditions;
            } else {
                crate::model::condition::carry_over(&[], &mut plan.conditions, now);
            }
            self.tell_halt(subject, &plan);
            let was_ready = self.plans.get(subject).is_some_and(|old| old.ready);
            if was_ready != plan.ready {
                self.mark_dependents(subject);
            }
            self.plans.insert(subject.clone(), plan);
            return;
        }
    }

    /// Brings gates and the like up to this moment.
    fn watch_instance(&mut self, service: &ServiceName, now: Timestamp) {
        let Some(desired) = self.desired.clone() else { return };
        let Some(wanted) = desired.services.get(service) else { return };
        let failed = self
            .memory
            .instances
            .get(service)
            .and_then(|memory| memory.quarantine.as_ref())
            .is_some_and(|failed| failed.input_hash == wanted.input_hash);
        let spec = if failed { self.proven.get(service).unwrap_or(wanted) } else { wanted };
        let Some(container) = self.observer.observed.containers.get(spec.container_name.as_str()) else { return };
        let observed = &self.observer.observed;
        let memory = self.memory.instances.entry(service.clone()).or_default();
        let proven = memory
            .proven
            .as_ref()
            .is_some_and(|proven| proven.input_hash == spec.input_hash && proven.container_id == container.id);
        let gate = (!proven).then(|| gate::watch(memory.gate.as_ref(), spec, container, observed, now));
        if memory.gate != gate {
            memory.gate = gate;
            self.memory_dirty.get_or_insert_with(Instant::now);
        }
        let unhealthy = container.state.health == Health::Unhealthy;
        if unhealthy != memory.unhealthy_since.is_some() {
            memory.unhealthy_since = unhealthy.then_some(now);
            self.memory_dirty.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn remember(&mut self, change: &MemoryChange, subject: &Subject) {
        if let MemoryChange::Proven { service, proven, .. } = change {
            self.dependents_of_proven(service, proven);
        }
        change.apply(&mut self.memory);
        if let MemoryChange::Proven { service, proven, .. } = change {
            self.proven_now(service, proven);
            if let Some(spec) = self.desired.as_ref().and_then(|desired| desired.services.get(service)).cloned() {
                self.forget_before(&spec);
            }
        }
        if change.is_intent() {
            self.save_memory();
        } else {
            self.memory_dirty.get_or_insert_with(Instant::now);
        }
        if matches!(change, MemoryChange::Quarantined { .. } | MemoryChange::Proven { .. }) {
            self.refresh_proven();
            self.mark_dependents(subject);
        }
    }

    fn has_failed(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Service(service) => {
                self.memory.instances.get(service).is_some_and(|instance| instance.failures > 0)
            }
            other => self.other_failures.contains_key(other),
        }
    }

    async fn start_steps(&mut self) {
        if self.desired.is_none() {
            return;
        }
        // A slot that is granted is followed by another look, so one more round may start what was just admitted.
        for _ in 0..2 {
            // A helper container looks like a stray one while the step that made it still needs it.
            let is_helping = self
                .in_flight
                .values()
                .any(|step| matches!(step.verb, "look-up-accounts" | "ask-done" | "ask-stopped" | "make-fileset"));
            let is_helper = |subject: &Subject| match subject {
                Subject::Orphan(name) => HELPERS.iter().any(|ending| name.ends_with(ending)),
                _ => false,
            };
            let mut plans: Vec<&SubjectPlan> = self
                .order
                .iter()
                .filter(|subject| !(is_helping && is_helper(subject)))
                .filter_map(|subject| self.plans.get(subject))
                .collect();
            // What fails again and again must not keep what was not tried yet from its first try.
            plans.sort_by_key(|plan| self.has_failed(&plan.subject));
            let view = SiteView {
                in_flight: self
                    .in_flight
                    .iter()
                    .map(|(subject, step)| (subject.clone(), step.pull.is_some()))
                    .collect(),
                granted: self.granted.clone(),
            };
            let mut acquired = false;
            for claim in admit::admit(&plans, &view) {
                match claim {
                    Claim::Start(subject) => self.start_step(&subject),
                    Claim::Acquire(service) => acquired |= self.acquire(&service).await,
                }
            }
            if !acquired {
                break;
            }
        }
    }

    /// Takes the slot of a service, and looks and plans anew with it.
    async fn acquire(&mut self, service: &ServiceName) -> bool {
        let Some(desired) = self.desired.clone() else { return false };
        let Some(ask) = self.ask(&desired, service) else { return false };
        let now = self.now();
        match self.ports.coordinator.acquire(&ask, now).await {
            Ok(grant) => {
                self.refused.remove(service);
                self.granted.insert(grant.service().clone());
            }
            Err(denied) => {
                if self.refused.get(service) != Some(&denied) {
                    self.tell(Severity::Normal, "RolloutWaits", service.as_str(), &denied.to_string());
                    self.refused.insert(service.clone(), denied);
                }
                // What is dead comes back as it was until it may change.
                let subject = Subject::Service(service.clone());
                self.procedures.orders.slotless.insert(service.clone());
                self.plan_one(&desired, &subject, now);
                return self.plans.get(&subject).is_some_and(|plan| !plan.disrupts);
            }
        }
        let Some(spec) = desired.services.get(service) else { return false };
        if self.observer.container(spec.container_name.as_str()).await.is_err() {
            return false;
        }
        self.plan_one(&desired, &Subject::Service(service.clone()), now);
        true
    }

    fn start_step(&mut self, subject: &Subject) {
        let Some(plan) = self.plans.get(subject) else { return };
        let Next::Step(step) = plan.next.clone() else { return };
        // What is to be done must not begin before it is known that it was begun.
        if self.memory_dirty.is_some() && needs_memory(&step) && !self.save_memory() {
            return;
        }
        let Some(desired) = self.desired.clone() else { return };
        let container = step_container(&step)
            .and_then(|id| self.observer.observed.containers.values().find(|container| container.id == id).cloned());
        let input_hash = match (&step, subject) {
            (Step::Quarantine { input_hash, .. } | Step::Pull { input_hash, .. }, _) => input_hash.clone(),
            (_, Subject::Service(service)) => {
                self.spec_in_force(service).map_or_else(String::new, |spec| spec.input_hash.clone())
            }
            _ => String::new(),
        };
        let pull = matches!(step, Step::Pull { .. }).then(Pulling::default);
        if let Step::Pull { image, .. } = &step {
            self.tell(Severity::Normal, "Pulling", &subject.to_string(), image.as_str());
        }
        self.changed_at.get_or_insert_with(Instant::now);
        self.note_asking(subject, &step);
        let in_flight = InFlight { pull: pull.clone(), since: Instant::now(), told: Instant::now(), verb: step.verb() };
        self.in_flight.insert(subject.clone(), in_flight);
        let ports = self.ports.clone();
        let images = self.observer.observed.images.clone();
        let subject = subject.clone();
        self.running.spawn(async move {
            let began = Instant::now();
            let hands = Hands {
                engine: ports.engine.as_ref(),
                files: ports.files.as_ref(),
                prober: ports.prober.as_ref(),
                site: &desired.site,
                host: &desired.host,
                registries: &desired.registries,
                images: &images,
                progress: &|line| {
                    if let Some(pull) = &pull {
                        pull.take(line);
                    }
                },
            };
            let result = execute::execute(&step, &hands).await;
            Ended { subject, step, container, input_hash, result, took: began.elapsed() }
        });
    }

    pub(super) fn take_ended(&mut self, ended: Result<Ended, JoinError>) {
        let Ended { subject, step, container, input_hash, result, took } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a step was lost");
                self.in_flight.clear();
                self.looks.insert(Look::Deep);
                return;
            }
        };
        let result = self.without_secrets(result);
        self.in_flight.remove(&subject);
        let now = self.now();
        let generation = self.desired.as_ref().map_or(0, |desired| desired.generation);
        let host = self.desired.as_ref().map_or_else(String::new, |desired| desired.host.to_string());
        self.ports.metrics.step_ended(&host, step.verb(), result.is_ok());
        self.ports.metrics.worked(took);
        self.ports.metrics.phase_took(Phase::Execute, took);
        let is_again = result.is_err();
        let aftermath = match &result {
            Ok(done) => {
                let in_vain = self.is_in_vain(&subject, &step);
                if let Subject::Service(service) = &subject {
                    if in_vain {
                        outcome::count_failure(&mut self.memory, service, &input_hash, &no_effect(&step), now, 1.0);
                    } else {
                        outcome::count_success(&mut self.memory, service);
                    }
                    self.memory_dirty.get_or_insert_with(Instant::now);
                }
                if !in_vain {
                    self.other_failures.remove(&subject);
                } else if !matches!(subject, Subject::Service(_)) {
                    let failures = self.other_failures.get(&subject).map_or(0, |(failures, _, _)| *failures) + 1;
                    let until = now.plus(backoff::wait(failures + 1, 1.0));
                    self.other_failures.insert(subject.clone(), (failures, until, no_effect(&step).message));
                }
                if let (Step::LookUpAccounts { image_id, .. }, Done::Accounts(accounts)) = (&step, done) {
                    self.memory.accounts.insert(image_id.clone(), accounts.clone());
                    self.memory_dirty.get_or_insert_with(Instant::now);
                    self.observer.recall_accounts(&self.memory);
                }
                self.note_asked(&subject, &step, done);
                self.note_fileset(&step, done);
                outcome::succeeded(&subject, &step, done, container.as_deref(), generation, now)
            }
            Err(failure) => self.take_failure(&subject, &step, &input_hash, failure, now),
        };
        // An answer from before says nothing of a process that has been told or started since.
        if let (Subject::Service(service), Step::Reload { .. } | Step::Restart { .. } | Step::Start { .. }) =
            (&subject, &step)
        {
            self.observer.observed.probes.remove(service);
            self.probe_due.remove(service);
        }
        if !is_again {
            self.dependents_of_step(&subject, &step, &input_hash);
        }
        for change in &aftermath.changes {
            if let MemoryChange::Quarantined { service, .. } = change {
                let reason = rollback_reason(&self.memory, service);
                self.ports.metrics.rolled_back(service.as_str(), reason);
            }
            if let MemoryChange::JobEnded { job, state, .. } = change {
                let done = matches!(state, crate::model::job::JobState::Done { .. });
                self.ports.metrics.job_ended(&host, job.as_str(), done);
            }
            self.remember(change, &subject);
        }
        for news in aftermath.news {
            self.tell(news.severity, news.reason, &subject.to_string(), &news.message);
        }
        self.looks.extend(aftermath.looks);
        if matches!(subject, Subject::Service(_) | Subject::Job(_) | Subject::Fileset(_)) {
            if is_again {
                self.dirty.insert_again(subject.clone());
            } else {
                self.dirty.insert(subject.clone());
            }
            self.mark_dependents(&subject);
        } else {
            self.all_dirty = true;
        }
    }

    /// What containers and engines say may hold a secret, as of an environment that exposes one.
    fn without_secrets(&self, result: Result<Done, Failure>) -> Result<Done, Failure> {
        let clean = |text: &str| self.redactor.redact(text).into_owned();
        match result {
            Ok(Done::Log(log)) => Ok(Done::Log(clean(&log))),
            Ok(Done::Ended { exit_code, log }) => Ok(Done::Ended { exit_code, log: clean(&log) }),
            Ok(done) => Ok(done),
            Err(failure) => Err(Failure { message: clean(&failure.message), ..failure }),
        }
    }

    /// Whether a step was done again and again and is planned all the same: the engine says yes and does nothing, or shows
    /// it in other words than we do. Without a brake that would be a hot loop.
    fn is_in_vain(&mut self, subject: &Subject, step: &Step) -> bool {
        // Starting again is what a crash loop is about, and has a backoff of its own.
        if matches!(step, Step::Start { .. } | Step::Pull { .. } | Step::AskStopped { .. }) {
            return false;
        }
        let entry = self.repeated.entry(subject.clone()).or_insert_with(|| (step.clone(), 0));
        if entry.0 == *step {
            entry.1 += 1;
        } else {
            *entry = (step.clone(), 1);
        }
        entry.1 > REPEATS
    }

    fn take_failure(
        &mut self,
        subject: &Subject,
        step: &Step,
        input_hash: &str,
        failure: &Failure,
        now: Timestamp,
    ) -> outcome::Aftermath {
        if failure.engine_lost {
            // Nobody is to blame; the engine is asked again when it is back.
            self.looks.insert(Look::Deep);
            return outcome::Aftermath { looks: vec![Look::Deep], ..outcome::Aftermath::default() };
        }
        let chance = self.ports.clock.chance();
        match subject {
            Subject::Service(service) => {
                outcome::count_failure(&mut self.memory, service, input_hash, failure, now, chance);
                self.memory_dirty.get_or_insert_with(Instant::now);
            }
            other => {
                let failures = self.other_failures.get(other).map_or(0, |(failures, _, _)| *failures) + 1;
                let until = now.plus(backoff::wait(failures, chance));
                self.other_failures.insert(other.clone(), (failures, until, failure.message.clone()));
            }
        }
        outcome::failed(step, failure)
    }
}

/// In the closed vocabulary of metrics: the last error names what failed, else the gate did.
fn rollback_reason(memory: &crate::model::memory::HostMemory, service: &ServiceName) -> RollbackReason {
    let failure = memory.instances.get(service).and_then(|instance| instance.last_error.as_ref());
    match failure.map(|failure| failure.reason.as_str()) {
        Some("ValidationFailed") => RollbackReason::ValidationFailed,
        Some("ReloadFailed") => RollbackReason::ReloadFailed,
        Some(_) => RollbackReason::StartFailed,
        None => RollbackReason::DeadlineExceeded,
    }
}

/// Steps after which it must be known on disk what they were for.
fn needs_memory(step: &Step) -> bool {
    matches!(step, Step::Create(create) if create.labels.contains_key(crate::model::labels::JOB))
}

fn step_container(step: &Step) -> Option<&str> {
    match step {
        Step::Start { id, .. }
        | Step::Unpause { id }
        | Step::MoveAside { id, .. }
        | Step::Stop { id, .. }
        | Step::Rename { id, .. }
        | Step::Remove { id }
        | Step::Update { id, .. }
        | Step::Connect { id, .. }
        | Step::Disconnect { id, .. }
        | Step::Reload { id, .. }
        | Step::Restart { id, .. }
        | Step::Collect { id, .. } => Some(id),
        _ => None,
    }
}

//! The plan of a job: intent first, then its container, then its result.
//!
//! At least once, and its effect once where `done_when` can be asked. Never two at a time: there is one container name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::change::{CONTRACT_PENDING, ChangeDesired};
use crate::model::condition::{Condition, ConditionType, FILESET_MISSING, VOLUME_LOST};
use crate::model::desired::{DependencyTarget, JobDesired};
use crate::model::fileset;
use crate::model::hold::HoldKind;
use crate::model::image::PullPolicy;
use crate::model::job::{DoneWhen, JobRecord, JobRun, JobState};
use crate::model::labels;
use crate::model::memory::HostMemory;
use crate::model::names::{HostName, SiteName};
use crate::model::time::{Span, Timestamp};
use crate::observe::observed::{EngineState, HostObserved, ObservedContainer, Status};

use super::backoff;
use super::change;
use super::dependency::KnownDependency;
use super::files;
use super::prepare::{self, Image};
use super::remember::MemoryChange;
use super::schedule::{self, Due};
use super::slots::{Owner, Slots};
use super::step::{ActionKind, Cause, Change, CreateStep, Disruption, FilesOf, Next, Step, Subject, SubjectPlan};
use super::volumes;

/// A time that a schedule has dealt with may lie so far ahead of a clock that was set right.
const AHEAD: Span = Span::seconds(3600);

/// All that the plan of a job depends on.
#[derive(Clone, Copy, Debug)]
pub struct JobInput<'a> {
    /// Site.
    pub site: &'a SiteName,
    /// Host.
    pub host_name: &'a HostName,
    /// Accepted generation.
    pub generation: u64,
    /// The job.
    pub desired: &'a Arc<JobDesired>,
    /// Changes that it may be a step of.
    pub changes: &'a [Arc<ChangeDesired>],
    /// The host as seen.
    pub observed: &'a HostObserved,
    /// Memory.
    pub memory: &'a HostMemory,
    /// By name of service or job.
    pub dependencies: &'a BTreeMap<String, KnownDependency>,
    /// The time.
    pub now: Timestamp,
}

/// The working set of one planning.
pub(super) struct Planning<'a> {
    pub(super) input: JobInput<'a>,
    conditions: Vec<Condition>,
    pub(super) state: &'static str,
    ready: bool,
    wants_to_run: bool,
}

/// The plan.
pub fn plan(input: &JobInput<'_>) -> SubjectPlan {
    let mut planning =
        Planning { input: *input, conditions: Vec::new(), state: "waiting", ready: false, wants_to_run: false };
    let next = planning.next();
    let change = planning.wants_to_run.then(|| Change {
        kind: ActionKind::RunJob,
        disruption: Disruption::None,
        causes: vec![Cause::words("job", planning.state, "done")],
    });
    let reason = if planning.ready { "Done" } else { "NotDone" };
    let message =
        planning.conditions.first().map_or_else(|| planning.state.to_owned(), |condition| condition.message.clone());
    let message = if planning.ready { String::new() } else { message };
    planning.conditions.insert(0, Condition::new(ConditionType::Ready, planning.ready, reason, message));
    planning.conditions.sort_by_key(|condition| condition.kind);
    SubjectPlan {
        subject: Subject::Job(input.desired.job.clone()),
        change,
        next,
        disrupts: false,
        ready: planning.ready,
        state: planning.state.to_owned(),
        conditions: planning.conditions,
    }
}

impl Planning<'_> {
    pub(super) fn condition(&mut self, kind: ConditionType, reason: &str, message: impl Into<String>) {
        self.conditions.push(Condition::new(kind, true, reason, message));
    }

    fn next(&mut self) -> Next {
        let input = self.input;
        let job = input.desired;
        if !matches!(input.observed.engine, EngineState::Known(_)) {
            self.condition(ConditionType::Unknown, "EngineUnreachable", "the engine cannot be asked");
            return Next::Blocked;
        }
        let owner = Owner {
            site: input.site.as_str(),
            host: input.host_name.as_str(),
            label: labels::JOB,
            name: job.job.as_str(),
            adopted: None,
        };
        let slots = Slots::find(input.observed, owner, &job.container_name);
        if let Some(foreign) = slots.foreign {
            self.state = "blocked";
            self.condition(
                ConditionType::NameTaken,
                "NameTaken",
                format!("the container name `{}` is taken", foreign.name),
            );
            return Next::Blocked;
        }
        if let Some(why) = volumes::lost(&job.settings, input.observed, input.host_name) {
            self.condition(ConditionType::Stalled, VOLUME_LOST, why);
            return Next::Blocked;
        }
        let record = input.memory.jobs.get(&job.job);
        // What runs is seen through to its end, whatever the desired state says by now.
        if let Some(container) = slots.current
            && let Some(next) = self.watch(container, record)
        {
            return next;
        }
        if self.is_paused() {
            self.condition(ConditionType::Paused, "Paused", "the host is paused");
            return Next::Blocked;
        }
        if job.schedule.is_some() {
            self.scheduled(record, slots.current)
        } else {
            self.by_inputs(record, slots.current)
        }
    }

    /// A person wants nothing to be done on this host.
    fn is_paused(&self) -> bool {
        let holds = &self.input.memory.holds;
        holds
            .iter()
            .any(|hold| hold.kind == HoldKind::Pause && hold.service.is_none() && hold.is_active(self.input.now))
    }

    /// A container of the job is there: it runs, or its result is to be taken.
    fn watch(&mut self, container: &ObservedContainer, record: Option<&JobRecord>) -> Option<Next> {
        let input_hash = container.label(labels::INPUT_HASH).unwrap_or_default().to_owned();
        let since = record.and_then(|record| match record.state {
            JobState::Running { since } if record.input_hash == input_hash => Some(since),
            _ => None,
        });
        match container.state.status {
            Status::Running | Status::Restarting | Status::Paused => {
                self.state = "running";
                self.wants_to_run = true;
                self.condition(ConditionType::Progressing, "Running", "the job runs");
                let Some(since) = since else {
                    // Memory is gone: it is watched from now on.
                    let record = JobRecord {
                        input_hash,
                        state: JobState::Running { since: self.input.now },
                        attempts: 1,
                        scheduled: Some(self.input.now),
                    };
                    return Some(Next::Remember(MemoryChange::Job { job: self.input.desired.job.clone(), record }));
                };
                if container.state.status == Status::Paused && !self.is_paused() {
                    return Some(Next::Step(Step::Unpause { id: container.id.clone() }));
                }
                let end = since.plus(self.input.desired.timeout);
                if self.input.now >= end {
                    return Some(Next::Step(Step::Collect { id: container.id.clone(), timed_out: true, input_hash }));
                }
                Some(Next::Wait { until: Some(end) })
            }
            Status::Exited | Status::Dead if since.is_some() => {
                self.state = "ending";
                self.wants_to_run = true;
                Some(Next::Step(Step::Collect { id: container.id.clone(), timed_out: false, input_hash }))
            }
            Status::Created if since.is_some() && input_hash == self.wanted_hash(record) => {
                self.state = "starting";
                self.wants_to_run = true;
                let digest = files::live_digest(&self.input.desired.files);
                Some(Next::Step(Step::Start {
                    id: container.id.clone(),
                    hooks: crate::model::desired::Hooks::default(),
                    digest,
                }))
            }
            // Memory is gone, but the container tells that it was done.
            Status::Exited
                if record.is_none()
                    && container.state.exit_code == 0
                    && input_hash == self.input.desired.input_hash =>
            {
                let at = self.input.now;
                let record = JobRecord { input_hash, state: JobState::Done { at }, attempts: 1, scheduled: None };
                Some(Next::Remember(MemoryChange::Job { job: self.input.desired.job.clone(), record }))
            }
            Status::Removing => Some(Next::Wait { until: None }),
            _ => None,
        }
    }

    /// The hash that a run now would carry: for a scheduled job with its time.
    fn wanted_hash(&self, record: Option<&JobRecord>) -> String {
        let job = self.input.desired;
        match (&job.schedule, record.and_then(|record| record.scheduled)) {
            (Some(_), Some(time)) => format!("{}@{}", job.input_hash, time.0),
            _ => job.input_hash.clone(),
        }
    }

    fn by_inputs(&mut self, record: Option<&JobRecord>, container: Option<&Arc<ObservedContainer>>) -> Next {
        let job = self.input.desired;
        let same = record.filter(|record| record.input_hash == job.input_hash);
        match (job.run, record, same) {
            (JobRun::Once, Some(JobRecord { state: JobState::Done { .. }, .. }), _)
            | (_, _, Some(JobRecord { state: JobState::Done { .. }, .. })) => {
                self.step_done().unwrap_or_else(|| self.done(container))
            }
            (_, _, same) => {
                self.step_begins(same).unwrap_or_else(|| self.run(same, job.input_hash.clone(), None, container))
            }
        }
    }

    fn scheduled(&mut self, record: Option<&JobRecord>, container: Option<&Arc<ObservedContainer>>) -> Next {
        let job = self.input.desired;
        let Some(schedule) = &job.schedule else { return Next::Nothing };
        // A time far ahead was told by a clock that has been stepped back since; nothing would be due before it.
        let known = record.and_then(|record| record.scheduled);
        let Some(handled) = known.filter(|handled| handled.since(self.input.now) <= AHEAD) else {
            // Nothing is due before the job was known.
            let record = JobRecord {
                input_hash: job.input_hash.clone(),
                state: JobState::Done { at: self.input.now },
                attempts: 0,
                scheduled: Some(self.input.now),
            };
            return Next::Remember(MemoryChange::Job { job: job.job.clone(), record });
        };
        let hash = self.wanted_hash(record);
        if let Some(record) = record
            && record.input_hash == hash
            && !matches!(record.state, JobState::Done { .. })
        {
            return self.run(Some(record), hash, Some(handled), container);
        }
        match schedule::due(schedule, handled, self.input.now) {
            Due::Now(time) => {
                let hash = format!("{}@{}", job.input_hash, time.0);
                self.run(None, hash, Some(time), container)
            }
            Due::Missed(until) => {
                let record = JobRecord { scheduled: Some(until), ..self.fresh_record(&hash, record) };
                Next::Remember(MemoryChange::Job { job: job.job.clone(), record })
            }
            Due::Later(time) => {
                let next = self.done(container);
                if next == Next::Nothing { Next::Wait { until: Some(time) } } else { next }
            }
            Due::Never => Next::Nothing,
        }
    }

    fn fresh_record(&self, hash: &str, record: Option<&JobRecord>) -> JobRecord {
        record.cloned().unwrap_or_else(|| JobRecord {
            input_hash: hash.to_owned(),
            state: JobState::Done { at: self.input.now },
            attempts: 0,
            scheduled: None,
        })
    }

    /// It is done; what is left of its container goes.
    fn done(&mut self, container: Option<&Arc<ObservedContainer>>) -> Next {
        self.state = "done";
        self.ready = true;
        match container {
            Some(container) => Next::Step(Step::Remove { id: container.id.clone() }),
            None => Next::Nothing,
        }
    }

    fn run(
        &mut self,
        record: Option<&JobRecord>,
        hash: String,
        scheduled: Option<Timestamp>,
        container: Option<&Arc<ObservedContainer>>,
    ) -> Next {
        let input = self.input;
        let job = input.desired;
        self.wants_to_run = true;
        let mut attempts = record.map_or(0, |record| record.attempts);
        if let Some(JobRecord { state: JobState::Failed { at, exit_code, .. }, .. }) = record {
            self.state = "failed";
            let code = exit_code.map_or("it took too long".to_owned(), |code| format!("exit code {code}"));
            let why = format!("attempt {attempts} failed: {code}");
            if let Some(step) = &job.step {
                if let Some(halted) = self.step_failed(step, &why) {
                    return halted;
                }
            } else {
                self.condition(ConditionType::Stalled, "JobFailed", why);
            }
            let until = at.plus(backoff::wait(attempts + 1, 1.0));
            if input.now < until && *at <= input.now {
                return Next::Wait { until: Some(until) };
            }
        }
        for (name, dependency) in &job.depends_on {
            if let Some(known) = input.dependencies.get(name.as_str())
                && dependency.on == DependencyTarget::Step
            {
                let undone = known.undone(input.host_name);
                if undone.is_empty() {
                    continue;
                }
                let pending = job.step.as_ref().is_some_and(|step| step.irreversible);
                let reason = if pending { CONTRACT_PENDING } else { "DependencyNotReady" };
                let message = format!("waits for the step `{name}`: {}", undone.join(", "));
                self.condition(ConditionType::Waiting, reason, message);
                return Next::Blocked;
            }
            let satisfied = match input.dependencies.get(name.as_str()) {
                None => !dependency.required,
                Some(known) if dependency.on == DependencyTarget::Started => {
                    known.has(dependency.need, |state| state.started)
                }
                // What follows an upgrade (a schema without its old parts) must not meet the old version.
                Some(known) => known.has(dependency.need, |state| state.ready) && known.is_updated(),
            };
            if !satisfied {
                self.condition(ConditionType::Waiting, "DependencyNotReady", format!("waits for `{name}`"));
                return Next::Blocked;
            }
        }
        if let Some(name) = fileset::missing(&job.filesets, &job.files) {
            self.condition(ConditionType::Waiting, FILESET_MISSING, format!("waits for the fileset `{name}`"));
            return Next::Blocked;
        }
        let image = match prepare::image(input.observed, &job.image, job.pull_policy, true) {
            Image::Known(image) => image,
            Image::NotInspected => return Next::Wait { until: None },
            Image::Missing => {
                self.condition(
                    ConditionType::Waiting,
                    "ImageMissing",
                    format!("the image {} is not on this host", job.image),
                );
                return Next::Blocked;
            }
            Image::Pull if job.pull_policy == PullPolicy::Never => return Next::Blocked,
            Image::Pull => return Next::Step(Step::Pull { image: job.image.clone(), input_hash: hash }),
        };
        if let Some(name) = job.networks.keys().find(|name| !input.observed.networks.contains_key(name.as_str())) {
            self.condition(ConditionType::Waiting, "NetworkMissing", format!("the network `{name}` does not exist"));
            return Next::Blocked;
        }
        let key = files::key(job.container_name.as_str(), &job.input_hash);
        match prepare::files_step(input.observed, &image, &job.files, &key, job.container_name.as_str(), || {
            FilesOf::Job(job.clone())
        }) {
            Ok(None) => {}
            Ok(Some(step)) => return Next::Step(step),
            Err(owner) => {
                self.condition(
                    ConditionType::Stalled,
                    "UnknownOwner",
                    format!("the image knows no user or group `{owner}`"),
                );
                return Next::Blocked;
            }
        }
        let running = matches!(record, Some(JobRecord { state: JobState::Running { .. }, .. }));
        // Without a result of ours, the honest answer is asked for first.
        if let Some(question) = &job.done_when
            && !matches!(record, Some(JobRecord { state: JobState::Failed { .. }, .. }))
            && !is_answered(record)
        {
            return self.ask(question, &image.id);
        }
        if let Some(step) = job.step.as_ref().filter(|step| step.irreversible)
            && let Some(change) = change::no_return(input.memory, step, None)
        {
            return Next::Remember(change);
        }
        if let Some(old) = container {
            return Next::Step(Step::Remove { id: old.id.clone() });
        }
        if !running || matches!(record, Some(JobRecord { attempts: 0, .. })) {
            attempts += 1;
            let record = JobRecord {
                input_hash: hash,
                state: JobState::Running { since: input.now },
                attempts,
                scheduled: scheduled.or_else(|| record.and_then(|record| record.scheduled)),
            };
            return Next::Remember(MemoryChange::Job { job: job.job.clone(), record });
        }
        self.state = "starting";
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        all.insert(labels::SITE.to_owned(), input.site.to_string());
        all.insert(labels::HOST.to_owned(), input.host_name.to_string());
        all.insert(labels::JOB.to_owned(), job.job.to_string());
        if let Some(role) = &job.role {
            all.insert(labels::ROLE.to_owned(), role.to_string());
        }
        all.insert(labels::INPUT_HASH.to_owned(), hash);
        all.insert(labels::GENERATION.to_owned(), input.generation.to_string());
        Next::Step(Step::Create(Box::new(CreateStep {
            name: job.container_name.to_string(),
            image: job.image.clone(),
            image_id: image.id.clone(),
            settings: job.settings.clone(),
            networks: job.networks.iter().map(|(name, attachment)| (name.to_string(), attachment.clone())).collect(),
            labels: all,
            files_key: key,
            carried_volumes: BTreeMap::new(),
        })))
    }

    fn ask(&mut self, question: &DoneWhen, image_id: &str) -> Next {
        let input = self.input;
        let container_id = match question {
            DoneWhen::Service { service, .. } => {
                let running = input.observed.containers.values().find(|container| {
                    container.is_labelled(input.site.as_str(), input.host_name.as_str())
                        && container.label(labels::SERVICE) == Some(service.as_str())
                        && container.is_running()
                });
                match running {
                    Some(container) => Some(container.id.clone()),
                    None => {
                        self.condition(
                            ConditionType::Waiting,
                            "DependencyNotReady",
                            format!("waits for `{service}` to be asked"),
                        );
                        return Next::Blocked;
                    }
                }
            }
            DoneWhen::Container { .. } => None,
        };
        Next::Step(Step::AskDone {
            question: question.clone(),
            container_id,
            job: input.desired.clone(),
            image_id: image_id.to_owned(),
        })
    }
}

/// Whether `done_when` was asked for these inputs and said no: then the record has the first attempt's intent.
fn is_answered(record: Option<&JobRecord>) -> bool {
    matches!(record, Some(JobRecord { state: JobState::Running { .. }, .. }))
}

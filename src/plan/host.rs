//! The plan of one host: all its instances, jobs, networks, and what nothing declares any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::condition::{Condition, ConditionType, FACT_MISSING};
use crate::model::desired::{HostDesired, InstanceDesired, JobDesired};
use crate::model::facts::missing_in_words;
use crate::model::job::JobState;
use crate::model::labels;
use crate::model::memory::HostMemory;
use crate::model::names::{FilesetName, HostName, JobName, ServiceName};
use crate::model::peers::Reports;
use crate::model::procedure::Instructed;
use crate::model::time::Timestamp;
use crate::observe::observed::HostObserved;

use super::dependency::{DependencyState, KnownDependency};
use super::fileset::{self, FilesetInput, FilesetOrder};
use super::gate;
use super::instance::{self, InstanceInput};
use super::job::{self, JobInput};
use super::step::{Next, Subject, SubjectPlan};
use super::{networks, orphans};

/// All that the plan of a host depends on.
#[derive(Clone, Copy, Debug)]
pub struct HostInput<'a> {
    /// The accepted state.
    pub desired: &'a HostDesired,
    /// Specs that were last ready, where they are others and their revisions are kept.
    pub proven: &'a BTreeMap<ServiceName, Arc<InstanceDesired>>,
    /// The host as seen.
    pub observed: &'a HostObserved,
    /// Memory.
    pub memory: &'a HostMemory,
    /// What the hosts of the site last said of themselves.
    pub reports: &'a Reports,
    /// What procedures say, and what holds dead instances back.
    pub orders: &'a Orders,
    /// The time.
    pub now: Timestamp,
}

/// What is said about the instances of a host from beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// What procedures have them do.
    pub instructions: BTreeMap<ServiceName, Instructed>,
    /// Those that are not to be started when they are dead, and why.
    pub held: BTreeMap<ServiceName, String>,
    /// Those about which a procedure cannot begin or go on: the reason, and why.
    pub refused: BTreeMap<ServiceName, (String, String)>,
    /// Those that may not be taken down now.
    pub slotless: BTreeSet<ServiceName>,
    /// What this host is to do about filesets.
    pub filesets: BTreeMap<FilesetName, FilesetOrder>,
}

/// How an instance is planned: the real way, or in a test one with a planted mistake.
pub type PlanInstance = dyn Fn(&InstanceInput<'_>) -> SubjectPlan + Send + Sync;

/// What is known of everything that others may depend on.
pub fn dependencies(input: &HostInput<'_>) -> BTreeMap<String, KnownDependency> {
    known(input, |_| true)
}

/// What is known of what one subject depends on.
pub fn dependencies_of(input: &HostInput<'_>, subject: &Subject) -> BTreeMap<String, KnownDependency> {
    let needed = match subject {
        Subject::Service(name) => input.desired.services.get(name).map(|spec| &spec.depends_on),
        Subject::Job(name) => input.desired.jobs.get(name).map(|spec| &spec.depends_on),
        Subject::Host | Subject::Fileset(_) | Subject::Orphan(_) => None,
    };
    match needed {
        Some(needed) if !needed.is_empty() => known(input, |name| needed.contains_key(name)),
        _ => BTreeMap::new(),
    }
}

fn known(input: &HostInput<'_>, is_needed: impl Fn(&str) -> bool) -> BTreeMap<String, KnownDependency> {
    let mut known: BTreeMap<String, KnownDependency> = BTreeMap::new();
    for name in input.desired.services.keys().filter(|name| is_needed(name.as_str())) {
        known.entry(name.to_string()).or_default().here = service_here(input, name);
    }
    for name in input.desired.jobs.keys().filter(|name| is_needed(name.as_str())) {
        let done = job_here(input, name);
        let state = DependencyState { started: done, ready: done, settled: done, updated: done, current: true };
        known.entry(name.to_string()).or_default().here = Some(state);
    }
    for (name, hosts) in input.desired.placement.iter().filter(|(name, _)| is_needed(name)) {
        let others = hosts.iter().filter(|host| **host != input.desired.host);
        known.entry(name.clone()).or_default().elsewhere =
            others.map(|host| (host.clone(), elsewhere(input, name, host))).collect();
    }
    known
}

/// How an instance on this host is.
pub fn service_here(input: &HostInput<'_>, name: &ServiceName) -> Option<DependencyState> {
    let desired = input.desired.services.get(name)?;
    let current = input.observed.containers.get(desired.container_name.as_str()).filter(|container| {
        container.is_labelled(input.desired.site.as_str(), input.desired.host.as_str())
            && container.label(labels::SERVICE) == Some(name.as_str())
    });
    let memory = input.memory.instances.get(name);
    let proven = memory.and_then(|memory| memory.proven.as_ref());
    let failed = memory.and_then(|memory| memory.quarantine.as_ref());
    let is = |hash: Option<&String>| hash == Some(&desired.input_hash);
    let updated = is(proven.map(|proven| &proven.input_hash));
    Some(DependencyState {
        started: current.is_some_and(|container| container.is_running()),
        ready: current.is_some_and(|container| gate::is_ready(desired, container, input.observed)) && proven.is_some(),
        settled: updated || is(failed.map(|failed| &failed.input_hash)),
        updated,
        current: true,
    })
}

/// Whether a job of this host is done with its present inputs.
pub fn job_here(input: &HostInput<'_>, name: &JobName) -> bool {
    input.desired.jobs.get(name).is_some_and(|desired| is_job_done(desired, input.memory))
}

/// Whether a job is done with these inputs.
pub fn is_job_done(desired: &JobDesired, memory: &HostMemory) -> bool {
    memory.jobs.get(&desired.job).is_some_and(|record| {
        matches!(record.state, JobState::Done { .. })
            && (desired.schedule.is_some()
                || record.input_hash == desired.input_hash
                || desired.run == crate::model::job::JobRun::Once)
    })
}

/// How an instance or job on another host is, by that host's own word.
fn elsewhere(input: &HostInput<'_>, name: &str, host: &HostName) -> Option<DependencyState> {
    let report = input.reports.get(host).filter(|report| report.reachable)?;
    let desired = input.desired;
    let current = report.generation >= desired.generation || report.source_digest == desired.source_digest;
    if let Some(done) = report.jobs.get(name) {
        return Some(DependencyState { started: *done, ready: *done, settled: *done, updated: *done, current });
    }
    let instance = report.services.get(name)?;
    Some(DependencyState {
        started: instance.started,
        ready: instance.ready,
        settled: instance.updated || instance.failed,
        updated: instance.updated,
        current,
    })
}

/// The jobs and services of a host in the order of the site, then those of which it is not known what they should be.
pub fn subjects(desired: &HostDesired) -> impl Iterator<Item = Subject> {
    let jobs = desired.jobs.keys().cloned().map(Subject::Job);
    let services = desired.services.keys().cloned().map(Subject::Service);
    let waits = &desired.waits;
    let unknown_jobs = waits.jobs.keys().filter(|name| !desired.jobs.contains_key(*name)).cloned().map(Subject::Job);
    let unknown = waits.services.keys().filter(|name| !desired.services.contains_key(*name));
    jobs.chain(services).chain(unknown_jobs).chain(unknown.cloned().map(Subject::Service))
}

/// The plans of all subjects, in a stable order.
pub fn plan(input: &HostInput<'_>) -> Vec<SubjectPlan> {
    plan_with(input, &instance::plan)
}

/// The same, with another way of planning an instance.
pub fn plan_with(input: &HostInput<'_>, plan_instance: &PlanInstance) -> Vec<SubjectPlan> {
    let known = dependencies(input);
    let mut plans = vec![networks::plan(input.desired, input.observed)];
    plans.extend(orphans::plan(input.desired, input.observed, input.memory, input.now));
    for fileset in &input.desired.filesets {
        let subject = Subject::Fileset(fileset.fileset.clone());
        plans.extend(plan_subject(input, &known, &subject, plan_instance));
    }
    for subject in subjects(input.desired) {
        plans.extend(plan_subject(input, &known, &subject, plan_instance));
    }
    plans
}

/// The plan of one service or job; none where it is not declared. For want of facts, what it should be may not be known:
/// then what was in force stays, and what never was is not begun.
pub fn plan_subject(
    input: &HostInput<'_>,
    known: &BTreeMap<String, KnownDependency>,
    subject: &Subject,
    plan_instance: &PlanInstance,
) -> Option<SubjectPlan> {
    let waits = &input.desired.waits;
    let missing = match subject {
        Subject::Service(name) => waits.services.get(name),
        Subject::Job(name) => waits.jobs.get(name),
        Subject::Host | Subject::Fileset(_) | Subject::Orphan(_) => None,
    };
    let plan = plan_known(input, known, subject, plan_instance);
    let Some(missing) = missing else { return plan };
    let mut plan = plan.unwrap_or_else(|| SubjectPlan {
        subject: subject.clone(),
        change: None,
        next: Next::Blocked,
        disrupts: false,
        ready: false,
        state: "waiting".to_owned(),
        conditions: Vec::new(),
    });
    let message = missing_in_words(missing);
    plan.conditions.retain(|condition| condition.kind != ConditionType::Waiting);
    plan.conditions.push(Condition::new(ConditionType::Waiting, true, FACT_MISSING, message));
    Some(plan)
}

/// The plan of what it is known to be.
fn plan_known(
    input: &HostInput<'_>,
    known: &BTreeMap<String, KnownDependency>,
    subject: &Subject,
    plan_instance: &PlanInstance,
) -> Option<SubjectPlan> {
    let HostInput { desired, proven, observed, memory, now, .. } = *input;
    let plan = match subject {
        Subject::Service(name) => plan_instance(&InstanceInput {
            site: &desired.site,
            host_name: &desired.host,
            generation: desired.generation,
            desired: desired.services.get(name)?,
            behaviour: desired.behaviours.get(name),
            volumes: &desired.volumes,
            instructed: input.orders.instructions.get(name),
            held: input.orders.held.get(name).map(String::as_str),
            refused: input.orders.refused.get(name),
            slotless: input.orders.slotless.contains(name),
            proven: proven.get(name),
            observed,
            memory,
            heal: desired.sync.heal,
            dependencies: known,
            now,
        }),
        Subject::Job(name) => job::plan(&JobInput {
            site: &desired.site,
            host_name: &desired.host,
            generation: desired.generation,
            desired: desired.jobs.get(name)?,
            changes: &desired.changes,
            observed,
            memory,
            dependencies: known,
            now,
        }),
        Subject::Fileset(name) => {
            let fileset = desired.filesets.iter().find(|fileset| fileset.fileset == *name)?;
            fileset::plan(&FilesetInput { host: input, fileset, order: input.orders.filesets.get(name) })
        }
        Subject::Host | Subject::Orphan(_) => return None,
    };
    Some(plan)
}

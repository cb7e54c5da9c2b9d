//! The plan of one host: all its instances, jobs, networks, and what nothing declares any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::job::JobState;
use crate::model::labels;
use crate::model::memory::HostMemory;
use crate::model::names::ServiceName;
use crate::model::time::Timestamp;
use crate::observe::observed::HostObserved;

use super::gate;
use super::instance::{self, DependencyState, InstanceInput};
use super::job::{self, JobInput};
use super::step::{Subject, SubjectPlan};
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
    /// The time.
    pub now: Timestamp,
}

/// How an instance is planned: the real way, or in a test one with a planted mistake.
pub type PlanInstance = dyn Fn(&InstanceInput<'_>) -> SubjectPlan + Send + Sync;

/// What is known of everything that others may depend on.
pub fn dependencies(input: &HostInput<'_>) -> BTreeMap<String, DependencyState> {
    known(input, |_| true)
}

/// What is known of what one subject depends on.
pub fn dependencies_of(input: &HostInput<'_>, subject: &Subject) -> BTreeMap<String, DependencyState> {
    let needed = match subject {
        Subject::Service(name) => input.desired.services.get(name).map(|spec| &spec.depends_on),
        Subject::Job(name) => input.desired.jobs.get(name).map(|spec| &spec.depends_on),
        Subject::Host | Subject::Orphan(_) => None,
    };
    match needed {
        Some(needed) if !needed.is_empty() => known(input, |name| needed.contains_key(name)),
        _ => BTreeMap::new(),
    }
}

fn known(input: &HostInput<'_>, is_needed: impl Fn(&str) -> bool) -> BTreeMap<String, DependencyState> {
    let mut known = BTreeMap::new();
    for (name, desired) in input.desired.services.iter().filter(|(name, _)| is_needed(name.as_str())) {
        let current = input.observed.containers.get(desired.container_name.as_str()).filter(|container| {
            container.is_labelled(input.desired.site.as_str(), input.desired.host.as_str())
                && container.label(labels::SERVICE) == Some(name.as_str())
        });
        let memory = input.memory.instances.get(name);
        let proven = memory.and_then(|memory| memory.proven.as_ref());
        let failed = memory.and_then(|memory| memory.quarantine.as_ref());
        let is = |hash: Option<&String>| hash == Some(&desired.input_hash);
        let updated = is(proven.map(|proven| &proven.input_hash));
        let state = DependencyState {
            started: current.is_some_and(|container| container.is_running()),
            ready: current.is_some_and(|container| gate::is_ready(desired, container, input.observed))
                && proven.is_some(),
            settled: updated || is(failed.map(|failed| &failed.input_hash)),
            updated,
        };
        known.insert(name.to_string(), state);
    }
    for (name, desired) in input.desired.jobs.iter().filter(|(name, _)| is_needed(name.as_str())) {
        let record = input.memory.jobs.get(name);
        let done = record.is_some_and(|record| {
            matches!(record.state, JobState::Done { .. })
                && (desired.schedule.is_some()
                    || record.input_hash == desired.input_hash
                    || desired.run == crate::model::job::JobRun::Once)
        });
        known.insert(name.to_string(), DependencyState { started: done, ready: done, settled: done, updated: done });
    }
    known
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
    for name in input.desired.jobs.keys() {
        plans.extend(plan_subject(input, &known, &Subject::Job(name.clone()), plan_instance));
    }
    for name in input.desired.services.keys() {
        plans.extend(plan_subject(input, &known, &Subject::Service(name.clone()), plan_instance));
    }
    plans
}

/// The plan of one service or job; none where it is not declared.
pub fn plan_subject(
    input: &HostInput<'_>,
    known: &BTreeMap<String, DependencyState>,
    subject: &Subject,
    plan_instance: &PlanInstance,
) -> Option<SubjectPlan> {
    let HostInput { desired, proven, observed, memory, now } = *input;
    let plan = match subject {
        Subject::Service(name) => plan_instance(&InstanceInput {
            site: &desired.site,
            host_name: &desired.host,
            generation: desired.generation,
            desired: desired.services.get(name)?,
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
            observed,
            memory,
            dependencies: known,
            now,
        }),
        Subject::Host | Subject::Orphan(_) => return None,
    };
    Some(plan)
}

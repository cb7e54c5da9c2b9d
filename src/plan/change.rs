//! Steps of changes: what may begin, from where nothing leads back, and how far each step is.
//!
//! Where a change stands is found from the records of jobs, from the specs that were last ready, and from the words of
//! other hosts. What is written down beside them is only what nothing else tells: which versions were left behind.

use std::sync::Arc;

use crate::model::change::{ChangeDesired, ChangeRecord, PAST_NO_RETURN, StepOf};
use crate::model::condition::ConditionType;
use crate::model::desired::{InstanceDesired, JobDesired};
use crate::model::labels;
use crate::model::memory::HostMemory;
use crate::observe::observed::{HostObserved, ObservedContainer};

use super::instance::Planning;
use super::remember::MemoryChange;
use super::step::Next;

/// The step that has carried an instance past a point from which nothing leads back to the spec before. Where that is
/// not known, none does.
pub fn crossed<'a>(spec: &'a InstanceDesired, before: Option<&Arc<InstanceDesired>>) -> Option<&'a StepOf> {
    let is_same = |step: &StepOf, old: &InstanceDesired| {
        old.steps.iter().any(|other| other.change == step.change && other.version == step.version)
    };
    spec.steps.iter().filter(|step| step.irreversible).find(|step| !before.is_some_and(|old| is_same(step, old)))
}

/// Why a version is not gone to: it was left behind.
pub fn behind(memory: &HostMemory, step: &StepOf) -> Option<String> {
    let record = memory.changes.get(&step.change)?;
    record.behind.contains(&step.version).then(|| {
        format!("`{}` has gone on in a way that cannot be taken back, and this version is from before", step.change)
    })
}

/// The step from which nothing leads back, where the spec in force is not the one that was last ready.
pub(super) fn crossing<'a>(planning: &Planning<'a>) -> Option<&'a StepOf> {
    if planning.is_proven() || !planning.has_way_back() {
        return None;
    }
    crossed(planning.spec, planning.input.proven)
}

/// Where an instance is to go to a version that was left behind: it stays as it is.
pub(super) fn left_behind(planning: &mut Planning<'_>) -> Option<Next> {
    let memory = planning.input.memory;
    let why = planning.spec.steps.iter().find_map(|step| behind(memory, step))?;
    planning.condition(ConditionType::Stalled, PAST_NO_RETURN, why);
    Some(Next::Blocked)
}

/// Before an instance is started that cannot go back: what has to be written down first.
pub(super) fn before_start(planning: &Planning<'_>) -> Option<Next> {
    let step = crossing(planning)?;
    let before = planning.input.proven.map(|old| &old.steps);
    let left = before.and_then(|steps| steps.iter().find(|old| old.change == step.change));
    no_return(planning.input.memory, step, left.map(|old| old.version.as_str())).map(Next::Remember)
}

/// What has to be written down before a step begins that cannot be taken back; none where it is there already.
pub fn no_return(memory: &HostMemory, step: &StepOf, left: Option<&str>) -> Option<MemoryChange> {
    let record = memory.changes.get(&step.change);
    let noted = record.map_or_else(
        || ChangeRecord::default().has_passed(&step.version, left),
        |record| record.has_passed(&step.version, left),
    );
    (!noted).then(|| MemoryChange::NoReturn {
        change: step.change.clone(),
        version: step.version.clone(),
        left: left.map(str::to_owned),
    })
}

/// Another job of the same change that still runs for another version: that is seen to its end first.
pub fn still_runs<'a>(
    changes: &'a [Arc<ChangeDesired>],
    job: &JobDesired,
    step: &StepOf,
    is_ours: impl Fn(&ObservedContainer) -> bool,
    observed: &HostObserved,
) -> Option<&'a str> {
    let change = changes.iter().find(|change| change.change == step.change)?;
    let mut others = change.steps.iter().map(|step| step.what.name()).filter(|name| *name != job.job.as_str());
    let runs = |name: &str| {
        observed.containers.values().any(|container| {
            container.is_running()
                && is_ours(container)
                && container.label(labels::JOB) == Some(name)
                && container.label(labels::INPUT_HASH) != Some(step.version.as_str())
        })
    };
    others.find(|name| runs(name))
}

/// Names of the steps that come after one.
pub fn after<'a>(changes: &'a [Arc<ChangeDesired>], step: &StepOf, name: &str) -> Vec<&'a str> {
    let change = changes.iter().find(|change| change.change == step.change);
    let names = change.iter().flat_map(|change| change.steps.iter().map(|step| step.what.name()));
    names.skip_while(|other| *other != name).skip(1).collect()
}

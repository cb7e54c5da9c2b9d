//! Planted mistakes of the planner, to show that the property tests would find such ones.
//!
//! In: what an instance is planned from. Out: the plan, with one mistake.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::condition::{ConditionType, holds};
use crate::model::hold::HoldKind;
use crate::plan::instance::{self, InstanceInput};
use crate::plan::remember::MemoryChange;
use crate::plan::step::{Next, Step, SubjectPlan};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The new instance is started while the old one still runs.
    StartsBesideOld,
    /// The old instance is removed before the new one has proven itself.
    RemovesOldEarly,
    /// A gate counts as passed as soon as it is open.
    TrustsAtOnce,
    /// What failed is forgotten and tried again and again.
    RetriesForEver,
    /// Nobody looks at files.
    ForgetsFiles,
    /// A container of somebody else that is in the way is removed.
    TakesForeign,
    /// Anonymous volumes are not carried over.
    LosesVolumes,
    /// What runs well is restarted.
    RestartsHealthy,
    /// The same input gives different plans.
    DependsOnChance,
    /// A failed gate never leads back.
    NeverGoesBack,
    /// A limit that was changed by hand is left alone.
    LeavesLimits,
    /// A reload is written and never told to the process.
    NeverReloads,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::StartsBesideOld,
        Self::RemovesOldEarly,
        Self::TrustsAtOnce,
        Self::RetriesForEver,
        Self::ForgetsFiles,
        Self::TakesForeign,
        Self::LosesVolumes,
        Self::RestartsHealthy,
        Self::DependsOnChance,
        Self::NeverGoesBack,
        Self::LeavesLimits,
        Self::NeverReloads,
    ];
}

/// The plan of an instance with a mistake.
pub fn plan(bug: Bug, input: &InstanceInput<'_>) -> SubjectPlan {
    match bug {
        Bug::RetriesForEver => {
            let mut memory = input.memory.clone();
            if let Some(instance) = memory.instances.get_mut(&input.desired.service) {
                instance.quarantine = None;
            }
            instance::plan(&InstanceInput { memory: &memory, ..*input })
        }
        Bug::ForgetsFiles => {
            let mut observed = input.observed.clone();
            if holds_current(input) {
                observed.files.clear();
            }
            instance::plan(&InstanceInput { observed: &observed, ..*input })
        }
        _ => {
            let mut plan = instance::plan(input);
            spoil(bug, input, &mut plan);
            plan
        }
    }
}

fn holds_current(input: &InstanceInput<'_>) -> bool {
    input.observed.containers.contains_key(input.desired.container_name.as_str())
}

fn spoil(bug: Bug, input: &InstanceInput<'_>, plan: &mut SubjectPlan) {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let name = &input.desired.container_name;
    let container = |name: &str| input.observed.containers.get(name);
    let (current, next, previous) = (container(name.as_str()), container(&name.next()), container(&name.prev()));
    let is_held = input.memory.holds.iter().any(|hold| hold.kind == HoldKind::Pause);
    match (bug, &mut plan.next) {
        (Bug::StartsBesideOld, Next::Step(Step::Stop { id, .. })) => {
            if let (Some(previous), Some(next)) = (previous, next)
                && previous.id == *id
            {
                plan.next = Next::Step(Step::Rename { id: next.id.clone(), to: name.to_string() });
            }
        }
        (Bug::RemovesOldEarly, Next::Wait { .. }) => {
            if let (Some(previous), Some(_)) = (previous, current) {
                plan.next = Next::Step(Step::Remove { id: previous.id.clone() });
            }
        }
        (Bug::TrustsAtOnce, next @ Next::Wait { .. }) => {
            if let (Some(_), Some(current)) = (previous, current) {
                *next = Next::Remember(MemoryChange::Proven {
                    service: input.desired.service.clone(),
                    proven: crate::model::memory::Proven {
                        input_hash: input.desired.input_hash.clone(),
                        generation: input.generation,
                        container_id: current.id.clone(),
                    },
                    told: crate::model::memory::Told { container_id: current.id.clone(), ..Default::default() },
                });
            }
        }
        (Bug::TakesForeign, next) => {
            if holds(&plan.conditions, ConditionType::NameTaken)
                && let Some(foreign) = current
            {
                *next = Next::Step(Step::Remove { id: foreign.id.clone() });
            }
        }
        (Bug::LosesVolumes, Next::Step(Step::Create(create))) => create.carried_volumes = BTreeMap::new(),
        (Bug::RestartsHealthy, next @ Next::Nothing) => {
            if let Some(current) = current
                && current.is_running()
                && !is_held
            {
                let hooks = input.desired.hooks.clone();
                *next = Next::Step(Step::Restart { id: current.id.clone(), grace: None, hooks, digest: String::new() });
            }
        }
        (Bug::DependsOnChance, _) => {
            plan.state = format!("{} {}", plan.state, CALLS.fetch_add(1, Ordering::Relaxed));
        }
        (Bug::NeverGoesBack, next @ Next::Step(Step::Quarantine { .. })) => *next = Next::Wait { until: None },
        (Bug::LeavesLimits, next @ Next::Step(Step::Update { .. })) => {
            *next = Next::Nothing;
            plan.change = None;
        }
        (Bug::NeverReloads, next @ Next::Step(Step::Reload { .. })) => {
            if let Next::Step(Step::Reload { id, digest, .. }) = next {
                let told = crate::model::memory::Told {
                    container_id: id.clone(),
                    digest: digest.clone(),
                    ..Default::default()
                };
                *next = Next::Remember(MemoryChange::Told { service: input.desired.service.clone(), told });
            }
        }
        _ => {}
    }
}

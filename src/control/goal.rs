//! Whether what was asked for is reached, still under way, or out of reach. Pure.

use crate::model::condition::{
    ConditionType, ENGINE_UNSUPPORTED, FACT_MISSING, HOST_HINDERED, HOST_IDENTITY_CHANGED, find, holds,
};
use crate::model::memory::HostMemory;
use crate::plan::step::{Next, Subject, SubjectPlan};

/// Failures in a row after which somebody who waits is told; the loop goes on trying.
pub(super) const PATIENCE: u32 = 3;

/// How far one subject is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As desired, or as a person wants it left.
    There,
    /// Something goes on.
    Working,
    /// Waits for something that goes on elsewhere.
    Waiting(String),
    /// Nothing more is to be expected without a change.
    Failed(String),
}

/// How far a subject is.
pub fn reach(plan: &SubjectPlan, memory: &HostMemory, in_flight: bool) -> Reach {
    let conditions = &plan.conditions;
    let message = |kind| {
        let condition = find(conditions, kind);
        condition.map_or_else(String::new, |condition| format!("{}: {}", condition.reason, condition.message))
    };
    if holds(conditions, ConditionType::Quarantined) {
        let going_back =
            in_flight || matches!(plan.next, Next::Step(_) | Next::Remember(_) | Next::Wait { until: Some(_) });
        let settled = plan.ready || !going_back;
        return if settled { Reach::Failed(message(ConditionType::Quarantined)) } else { Reach::Working };
    }
    if let Some(hindered) = find(conditions, ConditionType::Waiting).filter(|waiting| waiting.reason == HOST_HINDERED)
        && matches!(plan.next, Next::Wait { .. })
        && !in_flight
    {
        return Reach::Waiting(format!("{}: {}", hindered.reason, hindered.message));
    }
    for kind in [ConditionType::NameTaken, ConditionType::PortHeldBy, ConditionType::RemovalHeld] {
        if holds(conditions, kind) {
            return Reach::Failed(message(kind));
        }
    }
    if in_flight {
        return Reach::Working;
    }
    if holds(conditions, ConditionType::Paused) {
        return match plan.next {
            Next::Step(_) | Next::Remember(_) => Reach::Working,
            _ => Reach::There,
        };
    }
    if let Subject::Service(service) = &plan.subject
        && let Some(instance) = memory.instances.get(service)
        && instance.failures >= PATIENCE
        && let Some(failure) = &instance.last_error
    {
        return Reach::Failed(format!("{}: {}", failure.reason, failure.message));
    }
    if holds(conditions, ConditionType::Stalled) && !matches!(plan.next, Next::Step(_) | Next::Remember(_)) {
        return Reach::Failed(message(ConditionType::Stalled));
    }
    // An engine that does not answer may come back; one that is refused stays so.
    let refused = [ENGINE_UNSUPPORTED, HOST_IDENTITY_CHANGED];
    if find(conditions, ConditionType::Unknown).is_some_and(|unknown| refused.contains(&unknown.reason.as_str())) {
        return Reach::Failed(message(ConditionType::Unknown));
    }
    if holds(conditions, ConditionType::Unknown) {
        return Reach::Waiting(message(ConditionType::Unknown));
    }
    // It goes on as it was, and what it should be is not known.
    let unknown = find(conditions, ConditionType::Waiting).is_some_and(|waiting| waiting.reason == FACT_MISSING);
    if unknown && !matches!(plan.next, Next::Step(_) | Next::Remember(_)) {
        return Reach::Waiting(message(ConditionType::Waiting));
    }
    if holds(conditions, ConditionType::Waiting) && plan.next == Next::Blocked {
        return Reach::Waiting(message(ConditionType::Waiting));
    }
    if holds(conditions, ConditionType::Drifted) && plan.next == Next::Blocked {
        return Reach::Failed(message(ConditionType::Drifted));
    }
    match &plan.next {
        Next::Nothing if plan.ready => Reach::There,
        Next::Wait { .. } if plan.ready && plan.change.is_none() => Reach::There,
        Next::Nothing if plan.change.is_none() && matches!(plan.subject, Subject::Host) => Reach::There,
        _ => Reach::Working,
    }
}

/// How far everything is: (working, waiting, failed), each with its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Subjects that are there.
    pub there: usize,
    /// Something goes on about these.
    pub working: Vec<String>,
    /// These wait, and why.
    pub waiting: Vec<(String, String)>,
    /// These failed, and why.
    pub failed: Vec<(String, String)>,
}

impl Summary {
    /// Everything is as desired.
    pub fn is_converged(&self) -> bool {
        self.working.is_empty() && self.waiting.is_empty() && self.failed.is_empty()
    }

    /// Nothing goes on, and not everything is as desired: waiting for what failed is in vain.
    pub fn is_stuck(&self) -> bool {
        self.working.is_empty() && !self.is_converged()
    }

    /// The failures as lines.
    pub fn complaint(&self) -> String {
        let lines = self.failed.iter().chain(&self.waiting);
        lines.map(|(subject, why)| format!("{subject}: {why}")).collect::<Vec<_>>().join("\n")
    }
}

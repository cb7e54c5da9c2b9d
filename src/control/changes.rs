//! What the loop does about changes of roles beyond their steps: it calls a person, and refuses to go back where nothing
//! leads back.

use crate::model::change::CHANGE_HALTED;
use crate::model::condition::{ConditionType, find, holds};
use crate::model::desired::HostDesired;
use crate::model::memory::HostMemory;
use crate::plan::change;
use crate::plan::step::{Subject, SubjectPlan};
use crate::report::event::Severity;

use super::reconciler::Reconciler;

/// Why a state is not gone back to, by changes of which it wants a version that was left behind; empty where it may be.
pub fn in_the_way(target: &HostDesired, memory: &HostMemory) -> Vec<String> {
    let of_services = target.services.values().flat_map(|spec| &spec.steps);
    let steps = of_services.chain(target.jobs.values().filter_map(|job| job.step.as_ref()));
    let mut reasons: Vec<String> = steps.filter_map(|step| change::behind(memory, step)).collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

/// A person says that what was left behind is there again: the versions of a state lie behind no more.
pub fn put_back(target: &HostDesired, memory: &mut HostMemory) {
    for change in &target.changes {
        if let Some(record) = memory.changes.get_mut(&change.change) {
            record.behind.remove(&change.version);
        }
    }
}

impl Reconciler {
    /// A person is called once when something stops from which nothing leads back.
    pub(super) fn tell_halt(&mut self, subject: &Subject, plan: &SubjectPlan) {
        let Some(halted) = find(&plan.conditions, ConditionType::Halted).filter(|halted| halted.is_true()) else {
            return;
        };
        if !self.plans.get(subject).is_some_and(|old| holds(&old.conditions, ConditionType::Halted)) {
            let message = halted.message.clone();
            self.tell(Severity::Warning, CHANGE_HALTED, &subject.to_string(), &message);
        }
    }
}

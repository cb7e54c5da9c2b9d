//! `on_failure: rollback-all`: what was changed here goes back when the same change fails on another host.
//!
//! There is no order to go back: each host reads from the words of the others that it failed there, and gives the spec up
//! like one that failed here. So it stays until another spec comes, or somebody has it tried again.

use crate::admit::rollout;
use crate::model::desired::{HostDesired, InstanceDesired, OnFailure};
use crate::model::memory::Quarantine;
use crate::plan::remember::MemoryChange;
use crate::plan::step::Subject;
use crate::report::event::Severity;
use crate::report::metrics::RollbackReason;

use super::reconciler::Reconciler;

impl Reconciler {
    /// Whether something here would go back if it failed elsewhere.
    pub(super) fn may_be_recalled(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| desired.services.values().any(|spec| self.was_changed(spec)))
    }

    /// Gives up what has failed on another host.
    pub(super) fn recall(&mut self) {
        let Some(desired) = self.desired.clone().filter(|_| self.mode.act) else { return };
        for spec in desired.services.values().filter(|spec| self.was_changed(spec)).cloned().collect::<Vec<_>>() {
            self.recall_one(&desired, &spec);
        }
    }

    /// Whether an instance has the spec that is asked for, or is about to get it, and there is one to go back to.
    fn was_changed(&self, spec: &InstanceDesired) -> bool {
        let Some(memory) = self.memory.instances.get(&spec.service) else { return false };
        let is_wanted = |hash: &str| hash == spec.input_hash;
        let is_given_up = memory.quarantine.as_ref().is_some_and(|failed| is_wanted(&failed.input_hash));
        let is_done = memory.proven.as_ref().is_some_and(|proven| is_wanted(&proven.input_hash));
        let has_begun = if is_done { memory.before.is_some() } else { self.granted.contains(&spec.service) };
        // Where nothing leads back, what failed elsewhere halts the others and takes none of them back.
        let leads_back = !spec.steps.iter().any(|step| step.irreversible);
        spec.rollout.on_failure == OnFailure::RollbackAll && leads_back && !is_given_up && has_begun
    }

    fn recall_one(&mut self, desired: &HostDesired, spec: &InstanceDesired) {
        let Some(ask) = self.ask(desired, &spec.service) else { return };
        let Some(host) = rollout::failed_elsewhere(&ask, &self.reports.borrow()).cloned() else { return };
        let service = spec.service.clone();
        let reason = format!("it failed on {host}");
        self.tell(Severity::Warning, "Recalled", service.as_str(), &format!("{reason}, and goes back everywhere"));
        self.ports.metrics.rolled_back(service.as_str(), RollbackReason::Other);
        let quarantine = Quarantine {
            input_hash: spec.input_hash.clone(),
            generation: desired.generation,
            reason,
            elsewhere: Some(host),
            log: String::new(),
            at: self.now(),
        };
        let subject = Subject::Service(service.clone());
        self.remember(&MemoryChange::Quarantined { service, quarantine }, &subject);
        self.dirty.insert(subject);
    }

    /// Two specs are kept for each instance only where somebody may ask for the second.
    pub(super) fn forget_before(&mut self, spec: &InstanceDesired) {
        if spec.rollout.on_failure != OnFailure::RollbackAll
            && let Some(memory) = self.memory.instances.get_mut(&spec.service)
        {
            memory.before = None;
        }
    }
}

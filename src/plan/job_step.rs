//! A job as a step of a change: what it sees before it begins, and what its end means for the steps after it.

use crate::model::change::{CHANGE_HALTED, PAST_NO_RETURN, StepOf};
use crate::model::condition::ConditionType;
use crate::model::job::{JobRecord, JobState};
use crate::observe::observed::ObservedContainer;

use super::change;
use super::job::Planning;
use super::remember::MemoryChange;
use super::step::Next;

impl Planning<'_> {
    /// A step of a change is done: with which version is remembered as long as one can go back to it.
    pub(super) fn step_done(&self) -> Option<Next> {
        let (job, step) = (self.input.desired, self.input.desired.step.as_ref()?);
        let record = self.input.memory.changes.get(&step.change);
        let (change, job, version) = (step.change.clone(), job.job.clone(), step.version.clone());
        let is_noted = record.is_some_and(|record| record.is_done(&job, &version));
        (!is_noted).then_some(Next::Remember(MemoryChange::StepDone { change, job, version }))
    }

    /// What a step of a change sees before it looks at itself.
    pub(super) fn step_begins(&mut self, record: Option<&JobRecord>) -> Option<Next> {
        let (input, job) = (self.input, self.input.desired);
        let step = job.step.as_ref()?;
        let known = input.memory.changes.get(&step.change);
        if record.is_none() && known.is_some_and(|known| known.is_done(&job.job, &step.version)) {
            // Who goes back finds what was done for that version, as long as nothing has taken it away.
            let record = JobRecord {
                input_hash: step.version.clone(),
                state: JobState::Done { at: input.now },
                attempts: 0,
                scheduled: None,
            };
            return Some(Next::Remember(MemoryChange::Job { job: job.job.clone(), record }));
        }
        if let Some(why) = change::behind(input.memory, step) {
            self.state = "blocked";
            self.condition(ConditionType::Stalled, PAST_NO_RETURN, why);
            return Some(Next::Blocked);
        }
        let is_ours =
            |container: &ObservedContainer| container.is_labelled(input.site.as_str(), input.host_name.as_str());
        if let Some(other) = change::still_runs(input.changes, job, step, is_ours, input.observed) {
            let message = format!("waits for `{other}`, which still runs for another version");
            self.condition(ConditionType::Waiting, "DependencyNotReady", message);
            return Some(Next::Blocked);
        }
        None
    }

    /// A step of a change failed. One that cannot be taken back is not tried again without a person.
    pub(super) fn step_failed(&mut self, step: &StepOf, why: &str) -> Option<Next> {
        if step.irreversible {
            let job = &self.input.desired.job;
            let message = format!(
                "it failed: {why}; there is no way back from `{}`, so nothing is tried again: when it is put right, `mastic run-job {job}`",
                step.change
            );
            self.condition(ConditionType::Halted, CHANGE_HALTED, message.clone());
            self.condition(ConditionType::Stalled, CHANGE_HALTED, message);
            return Some(Next::Blocked);
        }
        let after = change::after(self.input.changes, step, self.input.desired.job.as_str());
        let waits = if after.is_empty() { String::new() } else { format!(", {} waits for it", after.join(", ")) };
        let message = format!(
            "it failed: {why}; `{}` stops here{waits}; nothing has been done that cannot be taken back",
            step.change
        );
        self.condition(ConditionType::Stalled, "JobFailed", message);
        None
    }
}

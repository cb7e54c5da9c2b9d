//! Those who wait for the loop to get somewhere.

use tokio::time::Instant;

use crate::model::hold::HoldKind;
use crate::model::job::JobState;
use crate::model::names::{JobName, ServiceName};
use crate::plan::step::Subject;
use crate::port::coordinator::Denied;

use super::command::{Outcome, OutcomeCode, Replies, Wait};
use super::goal::{self, Reach, Summary};
use super::reconciler::Reconciler;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Everything as desired.
    Converged,
    /// One instance ready, and no restart of it pending.
    Ready(ServiceName),
    /// One instance stopped.
    Stopped(ServiceName),
    /// A job ended.
    JobEnded(JobName),
}

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) goal: Goal,
    pub(super) deadline: Option<Instant>,
    pub(super) replies: Replies,
}

impl Reconciler {
    pub(super) fn wait_for(&mut self, goal: Goal, wait: Wait, replies: Replies) {
        let deadline = wait.timeout.map(|timeout| Instant::now() + timeout.duration());
        self.waiters.push(Waiter { goal, deadline, replies });
    }

    /// How far everything is.
    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for subject in &self.order {
            let Some(plan) = self.plans.get(subject) else { continue };
            let in_flight = self.in_flight.contains_key(subject);
            if let (Subject::Service(service), false) = (subject, in_flight)
                && let Some(why) = self.refused.get(service)
                && plan.disrupts
            {
                match why {
                    // A pause is part of the work: nobody waits for it in vain.
                    Denied::NotYet(_) => summary.working.push(subject.to_string()),
                    _ => summary.waiting.push((subject.to_string(), why.to_string())),
                }
                continue;
            }
            match goal::reach(plan, &self.memory, in_flight) {
                // The host is none of those that were asked for.
                Reach::There => summary.there += usize::from(!matches!(subject, Subject::Host | Subject::Fileset(_))),
                Reach::Working => summary.working.push(subject.to_string()),
                Reach::Waiting(why) => summary.waiting.push((subject.to_string(), why)),
                Reach::Failed(why) => summary.failed.push((subject.to_string(), why)),
            }
        }
        summary.working.extend(self.drains.open().map(ToString::to_string));
        for (subject, (failures, _, message)) in &self.other_failures {
            if *failures >= 3 {
                let name = subject.to_string();
                summary.working.retain(|working| *working != name);
                summary.failed.push((name, message.clone()));
            }
        }
        summary
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.looks.is_empty() && self.dirty.is_empty() && !self.all_dirty
    }

    pub(super) fn settle_waiters(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut waiting = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            match self.outcome_of(&waiter.goal) {
                Some(outcome) => waiter.replies.finish(outcome),
                None if waiter.deadline.is_some_and(|deadline| deadline <= now) => {
                    let summary = self.summary();
                    let working = summary.working.join(", ");
                    let message = format!("not there in time; still working on: {working}\n{}", summary.complaint());
                    waiter.replies.finish(Outcome::not(OutcomeCode::TimedOut, message.trim_end()));
                }
                None => waiting.push(waiter),
            }
        }
        self.waiters = waiting;
    }

    fn outcome_of(&self, goal: &Goal) -> Option<Outcome> {
        match goal {
            Goal::Converged => {
                if self.desired.is_none() {
                    let why = self.bad_site.as_ref().map_or("there is no desired state", |bad| bad.message.as_str());
                    return Some(Outcome::not(OutcomeCode::Failed, why));
                }
                if !self.is_quiet() {
                    return None;
                }
                let summary = self.summary();
                if summary.is_converged() {
                    return Some(Outcome::done(format!("converged: {} as desired", summary.there)));
                }
                // What others do may still set it going; who looks after all of them knows when that is in vain.
                if self.waits_for_others() {
                    return None;
                }
                if summary.is_stuck() && (self.observer.is_connected() || self.observer.is_refused()) {
                    return Some(Outcome::not(OutcomeCode::Failed, summary.complaint()));
                }
                if summary.is_stuck() && self.engine_failures >= 4 {
                    return Some(Outcome::not(OutcomeCode::Failed, summary.complaint()));
                }
                None
            }
            Goal::Ready(service) => {
                let plan = self.plans.get(&Subject::Service(service.clone()))?;
                let is_asked = self.memory.restart_requests.contains_key(service);
                if !self.is_quiet() || is_asked || self.drains.is_open(service) {
                    return None;
                }
                match goal::reach(plan, &self.memory, false) {
                    Reach::There if plan.ready => Some(Outcome::done(format!("{service} is ready"))),
                    Reach::Failed(why) => Some(Outcome::not(OutcomeCode::Failed, why)),
                    _ => None,
                }
            }
            Goal::Stopped(service) => {
                let plan = self.plans.get(&Subject::Service(service.clone()))?;
                let held = self.memory.holds.iter().any(|hold| hold.kind == HoldKind::Stop && hold.covers(service));
                (self.is_quiet() && held && plan.state == "stopped")
                    .then(|| Outcome::done(format!("{service} is stopped")))
            }
            Goal::JobEnded(job) => match self.memory.jobs.get(job).map(|record| &record.state) {
                Some(JobState::Done { .. }) if self.is_quiet() => Some(Outcome::done(format!("{job} is done"))),
                Some(JobState::Failed { exit_code, .. }) => {
                    let code = exit_code.map_or("it took too long".to_owned(), |code| format!("exit code {code}"));
                    Some(Outcome::not(OutcomeCode::Failed, format!("{job} failed: {code}")))
                }
                _ => None,
            },
        }
    }
}

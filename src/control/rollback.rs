//! `mastic rollback`: the content of an older revision as a new generation.

use crate::model::desired::HostDesired;
use crate::model::hold::{Hold, HoldKind};
use crate::report::event::Severity;

use super::command::{Outcome, OutcomeCode};
use super::commands::refused;
use super::reconciler::Reconciler;
use super::{accept, changes};

/// What a person is told who would go back where nothing leads back.
fn no_way_back(reasons: &[String]) -> String {
    format!(
        "{}; nothing was changed: restore what it left behind (a backup), then `mastic rollback --past-no-return`",
        reasons.join("; ")
    )
}

impl Reconciler {
    /// The revision that a rollback goes to.
    fn revision_before(&self, current: &HostDesired, generation: Option<u64>) -> Result<(u64, HostDesired), Outcome> {
        let revisions = match self.ports.store.revisions() {
            Ok(revisions) => revisions,
            Err(error) => return Err(Outcome::not(OutcomeCode::Failed, error.to_string())),
        };
        let before =
            revisions.iter().rev().map(|revision| revision.generation).find(|known| *known < current.generation);
        let Some(wanted) = generation.or(before) else { return Err(refused("there is no revision before this one")) };
        match self.ports.store.load_revision(wanted) {
            Ok(Some(old)) => Ok((wanted, old)),
            Ok(None) => {
                let known: Vec<String> = revisions.iter().map(|revision| revision.generation.to_string()).collect();
                Err(refused(format!("revision {wanted} is not kept; there are: {}", known.join(", "))))
            }
            Err(error) => Err(Outcome::not(OutcomeCode::Failed, error.to_string())),
        }
    }

    /// Only what cannot be taken back is said no to: anything else, the rollback itself finds.
    pub(super) fn may_roll_back(&self, generation: Option<u64>) -> Outcome {
        let target = self.desired.as_ref().and_then(|current| self.revision_before(current, generation).ok());
        let reasons = target.map(|(_, old)| changes::in_the_way(&old, &self.memory)).unwrap_or_default();
        if reasons.is_empty() { Outcome::done("") } else { refused(no_way_back(&reasons)) }
    }

    pub(super) fn roll_back(
        &mut self,
        generation: Option<u64>,
        user: &str,
        reason: &str,
        past_no_return: bool,
    ) -> Outcome {
        let Some(current) = self.desired.clone() else { return refused("there is nothing to roll back") };
        let (wanted, old) = match self.revision_before(&current, generation) {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        let reasons = changes::in_the_way(&old, &self.memory);
        if !reasons.is_empty() && !past_no_return {
            return refused(no_way_back(&reasons));
        }
        if !reasons.is_empty() {
            changes::put_back(&old, &mut self.memory);
            self.tell(
                Severity::Warning,
                "PastNoReturn",
                "",
                &format!("{} {user} goes back all the same", reasons.join("; ")),
            );
        }
        // The source that is rolled back from must not be taken up again by the next look at the files.
        let source = current.source_digest.clone();
        let next = accept::next_generation(Some(&current), &self.memory, 0);
        if let Err(error) = self.accept(HostDesired { generation: next, ..old }, user, &format!("rollback to {wanted}"))
        {
            return Outcome::not(OutcomeCode::Failed, error);
        }
        let since = self.now();
        self.memory.holds.retain(|hold| hold.kind != HoldKind::Pin);
        let reason = format!("{reason} {}", accept::pin_mark(&source)).trim().to_owned();
        self.memory.holds.push(Hold {
            kind: HoldKind::Pin,
            service: None,
            user: user.to_owned(),
            reason,
            since,
            until: None,
        });
        self.save_memory();
        self.tell(
            Severity::Normal,
            "RolledBackByUser",
            "",
            &format!("to generation {wanted} by {user}, until the source changes"),
        );
        Outcome::done(format!("generation {next} has the content of {wanted}, until the source changes"))
    }
}

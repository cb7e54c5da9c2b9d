//! Edits that wait for their time: `sync.windows`, and a freeze.

use crate::admit::window;
use crate::model::time::Timestamp;

use super::reconciler::{PendingEdit, Reconciler};

impl PendingEdit {
    /// What it waits for, for people.
    pub(super) fn waits_for(&self) -> String {
        let Self { plan_id, changes, .. } = self;
        match &self.closed {
            Some(closed) => format!("{changes} changes: the edit {closed}"),
            None => format!("{changes} changes wait for `mastic approve {plan_id}`"),
        }
    }
}

impl Reconciler {
    /// When the edit that waits for its time is to be taken.
    pub(super) fn edit_due(&self) -> Option<Timestamp> {
        self.pending.as_ref()?.closed.as_ref()?.until
    }

    /// The time of an edit has come: the site is read once more, as it is now.
    pub(super) fn take_due_edit(&mut self) {
        if self.mode.follow_source && self.edit_due().is_some_and(|due| due <= self.now()) {
            self.read_site(false);
        }
    }

    /// A freeze has ended before its time.
    pub(super) fn thaw(&mut self) {
        if self.mode.follow_source && self.pending.as_ref().is_some_and(|pending| pending.closed.is_some()) {
            self.read_site(false);
        }
    }

    /// Why the edit that waits for approval may not be taken now, whoever approves it.
    pub(super) fn closed_for(&self, pending: &PendingEdit) -> Option<String> {
        let closed = window::may_take(&pending.desired.sync.windows, &self.memory.holds, self.now()).err()?;
        Some(format!("the edit {closed}; approve it then, or now with `--now --reason TEXT`"))
    }
}

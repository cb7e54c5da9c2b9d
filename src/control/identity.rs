//! Whether a machine is still the one that it was, and whether its data is still there.
//!
//! A machine that was set up anew under an old name, and an engine whose disk is not mounted, look the same as a host
//! on which everything was removed: healing would put empty databases there. So what was here once and is gone as a whole
//! is not made anew before a person says so.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::model::condition::HOST_IDENTITY_CHANGED;
use crate::model::desired::HostDesired;
use crate::observe::observed::EngineState;
use crate::port::engine::EngineError;
use crate::report::event::Severity;

use super::command::Outcome;
use super::reconciler::Reconciler;

impl Reconciler {
    /// After a look at everything. Only where nothing is left of what was here, the engine is asked who it is: that is a
    /// slow question.
    pub(super) async fn recognise(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        self.note_volumes(desired);
        if !self.observer.is_connected() {
            return Ok(());
        }
        let proven = self.memory.instances.values().filter_map(|instance| instance.proven.as_ref());
        let proven: BTreeSet<&str> = proven.map(|proven| proven.container_id.as_str()).collect();
        let is_here =
            self.observer.observed.containers.values().any(|container| proven.contains(container.id.as_str()));
        let is_strange = !proven.is_empty() && !is_here;
        let has_to_learn = self.mode.act && is_here && self.memory.identity.is_none();
        if !is_strange && !has_to_learn {
            return Ok(());
        }
        let count = proven.len();
        let identity = self.ports.engine.identity().await?;
        match &self.memory.identity {
            _ if identity.is_empty() => {}
            Some(known) if *known != identity => {
                let why = format!(
                    "this is another machine, or its engine has lost its data: its engine is {identity}, where {known} was \
                     known, and none of the {count} containers that were here is; nothing is made there before `mastic \
                     host accept {}`",
                    desired.host
                );
                self.refuse(why);
            }
            None if has_to_learn => {
                self.memory.identity = Some(identity);
                self.memory_dirty.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        Ok(())
    }

    fn refuse(&mut self, why: String) {
        if self.stranger.as_ref() != Some(&why) {
            self.tell(Severity::Warning, HOST_IDENTITY_CHANGED, "", &why);
            self.stranger = Some(why.clone());
        }
        self.observer.observed.engine = EngineState::Refused { reason: HOST_IDENTITY_CHANGED, why };
    }

    /// Volumes that were seen and are gone.
    pub(super) fn note_volumes(&mut self, desired: &HostDesired) {
        if !self.observer.is_connected() {
            return;
        }
        let declared = desired.volumes.iter().filter(|(_, spec)| !spec.external).map(|(name, _)| name.to_string());
        let declared: BTreeSet<String> = declared.collect();
        let there: BTreeSet<String> = self.observer.observed.volumes.iter().cloned().collect();
        let known = &self.memory.volumes;
        let seen: BTreeSet<String> =
            declared.iter().filter(|name| known.contains(*name) || there.contains(*name)).cloned().collect();
        self.observer.observed.lost_volumes = seen.difference(&there).cloned().collect();
        if seen != self.memory.volumes {
            self.memory.volumes = seen;
            self.memory_dirty.get_or_insert_with(Instant::now);
        }
    }

    /// A person says that the machine is to be taken as it is.
    pub(super) fn accept_host(&mut self, user: &str) -> Outcome {
        let Some(desired) = self.desired.clone() else {
            return Outcome::not(super::command::OutcomeCode::Refused, "no state was ever accepted for this host");
        };
        let is_known = self.stranger.is_none() && self.observer.observed.lost_volumes.is_empty();
        if is_known {
            return Outcome::done(format!("{} is known, and nothing of it is missing", desired.host));
        }
        let lost = self.observer.observed.lost_volumes.len();
        self.memory.identity = None;
        self.memory.volumes.clear();
        // What was done was done on the machine, or to the data, that is gone.
        self.memory.jobs.clear();
        self.memory.changes.clear();
        for instance in self.memory.instances.values_mut() {
            instance.gate = None;
            instance.told = None;
        }
        self.stranger = None;
        self.observer.observed.lost_volumes.clear();
        if !self.save_memory() {
            let why = self.store_error.clone().unwrap_or_default();
            return Outcome::not(super::command::OutcomeCode::Failed, why);
        }
        self.looks.insert(super::outcome::Look::Deep);
        self.all_dirty = true;
        let message = format!("by {user}: the machine as it is, and {lost} volumes that begin empty");
        self.tell(Severity::Warning, "HostAccepted", "", &message);
        Outcome::done(format!("{} is accepted as it is", desired.host))
    }
}

//! What a host tells of its instances before they are changed: what would be lost with them, and whether they could begin.

use crate::model::condition::{ConditionType, find};
use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::peers::{Preparation, Reports, Standing};
use crate::plan::host;
use crate::plan::lapse::{self, Seen};
use crate::plan::prepare;
use crate::plan::step::{Next, Subject};

use super::goal::PATIENCE;
use super::reconciler::Reconciler;

impl Reconciler {
    /// What would be lost with an instance that is taken down.
    pub(super) fn standing(&self, spec: &InstanceDesired) -> Standing {
        self.lapses.get(&spec.service).map(|lapse| lapse.standing(spec.rollout.deadline)).unwrap_or_default()
    }

    /// Whether what a change of an instance needs is there.
    pub(super) fn preparation(&self, spec: &InstanceDesired) -> Preparation {
        let memory = self.memory.instances.get(&spec.service);
        let plan = self.plans.get(&Subject::Service(spec.service.clone())).filter(|_| !self.all_dirty);
        // Whom a person holds nobody waits for.
        if let Some(held) = plan.and_then(|plan| find(&plan.conditions, ConditionType::Paused)) {
            return Preparation::Failed(held.message.clone());
        }
        let pulled_for = memory.and_then(|memory| memory.pulled.as_deref());
        if prepare::has_image(&self.observer.observed, spec, pulled_for) {
            return Preparation::Done;
        }
        let failure = memory.filter(|memory| memory.failures >= PATIENCE).and_then(|memory| memory.last_error.as_ref());
        if let Some(failure) = failure.filter(|failure| failure.input_hash == spec.input_hash) {
            return Preparation::Failed(failure.message.clone());
        }
        // What waits for something else does not fetch it either.
        match plan {
            Some(plan) if matches!(plan.next, Next::Blocked | Next::Nothing) => {
                let why = plan.conditions.iter().find(|condition| condition.is_true());
                Preparation::Failed(why.map_or_else(String::new, |condition| condition.message.clone()))
            }
            _ => Preparation::Pending,
        }
    }

    /// Counts for how long instances have not been ready. What an engine that cannot be asked knew last says nothing.
    pub(super) fn watch_lapses(&mut self, desired: &HostDesired) {
        if !self.observer.is_connected() {
            return;
        }
        let now = self.now();
        let reports = Reports::new();
        let input = self.input(desired, &self.proven, &reports);
        let lapses = desired.services.iter().filter_map(|(service, spec)| {
            let state = host::service_here(&input, service)?;
            let container = self.observer.observed.containers.get(spec.container_name.as_str());
            let memory = self.memory.instances.get(service);
            let told = memory.and_then(|memory| memory.told.as_ref());
            let restarts = memory.map(|memory| &memory.restarts);
            let is_told = |id: &String| told.is_some_and(|told| told.container_id == *id);
            let revived = |id: &String| {
                restarts.filter(|restarts| restarts.container_id == *id).map_or(0, |restarts| restarts.revived)
            };
            let id = container.map(|container| &container.id);
            let by_engine = container.map_or(0, |container| u64::try_from(container.state.restart_count).unwrap_or(0));
            let seen = Seen {
                container_id: id.cloned(),
                starts: by_engine + u64::from(id.map_or(0, revived)),
                running: state.started,
                ready: state.ready,
                // Without memory it may have been ready all the time: of a container that we have started it is known.
                never_ready: memory.is_none_or(|memory| memory.proven.is_none()) && id.is_none_or(is_told),
            };
            Some((service.clone(), lapse::watch(self.lapses.get(service), seen, now)))
        });
        self.lapses = lapses.collect();
    }
}

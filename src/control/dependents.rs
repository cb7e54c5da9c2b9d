//! `depends_on: {x: {restart: true}}`, as Compose means it: what depends on a service in this way is restarted after the
//! service was updated, or restarted by a person.
//!
//! An update is an edit that replaced the container of the service, once the new one is ready, or that restarted its
//! process. What heals the service is no update: it was killed, or changed by hand, and is only put back. Requests are
//! kept in memory like those of people, one for a container, so that each change leads to one restart.

use tokio::time::Instant;

use crate::model::memory::Proven;
use crate::model::names::ServiceName;
use crate::plan::step::{Step, Subject};
use crate::report::event::Severity;

use super::reconciler::Reconciler;

impl Reconciler {
    /// Before it is written down that a container is ready.
    pub(super) fn dependents_of_proven(&mut self, service: &ServiceName, proven: &Proven) {
        let before = self.memory.instances.get(service).and_then(|memory| memory.proven.as_ref());
        let updated = before
            .is_some_and(|before| before.input_hash != proven.input_hash && before.container_id != proven.container_id);
        if updated {
            self.restart_dependents(service, "updated");
        }
    }

    /// After a step succeeded, before what it means is written down.
    pub(super) fn dependents_of_step(&mut self, subject: &Subject, step: &Step, input_hash: &str) {
        let (Subject::Service(service), Step::Restart { id, .. }) = (subject, step) else { return };
        let asked = self.memory.restart_requests.get(service) == Some(id);
        let proven = self.memory.instances.get(service).and_then(|memory| memory.proven.as_ref());
        let edited = proven.is_some_and(|proven| proven.input_hash != input_hash);
        if asked || edited {
            self.restart_dependents(service, if asked { "restarted" } else { "updated" });
        }
    }

    fn restart_dependents(&mut self, service: &ServiceName, what: &str) {
        let Some(desired) = self.desired.clone() else { return };
        for (name, spec) in &desired.services {
            if !spec.depends_on.get(service.as_str()).is_some_and(|dependency| dependency.restart) {
                continue;
            }
            let container = self.observer.observed.containers.get(spec.container_name.as_str());
            let Some(id) = container.filter(|container| container.is_running()).map(|found| found.id.clone()) else {
                continue;
            };
            self.memory.restart_requests.insert(name.clone(), id);
            self.memory_dirty.get_or_insert_with(Instant::now);
            self.dirty.insert(Subject::Service(name.clone()));
            let message = format!("`{service}`, which it depends on, was {what}");
            self.tell(Severity::Normal, "RestartRequested", name.as_str(), &message);
        }
    }
}

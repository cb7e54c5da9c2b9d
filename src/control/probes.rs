//! Asking instances whether they are ready: often while a gate is open, now and then afterwards.

use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use crate::model::desired::Hook;
use crate::model::names::ServiceName;
use crate::model::probe::{Probe, ProbeAnswer, Readiness};
use crate::observe::observed::{Health, ObservedContainer, Status};
use crate::plan::step::Subject;
use crate::port::prober::Reply;
use crate::report::metrics::Phase;

use super::ports::Ports;
use super::reconciler::Reconciler;

/// Between two probes of an instance that is ready.
const STEADY: Duration = Duration::from_secs(10);

impl Reconciler {
    pub(super) fn start_probes(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        if !self.observer.is_connected() {
            self.probe_due.clear();
            return;
        }
        // What is not declared any more would be due for ever.
        self.probe_due.retain(|service, _| desired.services.contains_key(service));
        let now = Instant::now();
        for service in desired.services.keys() {
            let Some(spec) = self.spec_in_force(service).cloned() else { continue };
            let Some(readiness) = &spec.ready else {
                self.probe_due.remove(service);
                continue;
            };
            let container = self.observer.observed.containers.get(spec.container_name.as_str()).cloned();
            let adopted = self.memory.instances.get(service).and_then(|memory| memory.adopted.as_ref());
            // A stranger under the name is not asked either: a probe is a command in it.
            let ours = |container: &ObservedContainer| {
                container.is_labelled(desired.site.as_str(), desired.host.as_str()) || adopted == Some(&container.id)
            };
            let running = |container: &ObservedContainer| container.state.status == Status::Running;
            let Some(container) = container.filter(|container| running(container) && ours(container)) else {
                self.probe_due.remove(service);
                continue;
            };
            if self.probes_in_flight.contains(service) {
                continue;
            }
            let known = self.observer.observed.probes.get(service).filter(|answer| answer.container_id == container.id);
            let due = self.probe_due.get(service).copied();
            // Another container has not been asked yet.
            if known.is_some() && due.is_some_and(|due| due > now) {
                continue;
            }
            self.probe_due.remove(service);
            if !self.mode.act && matches!(readiness.probe, Probe::Exec { .. }) {
                // Who only looks runs no commands: what was proven ready and is healthy counts as ready.
                let proven = self.memory.instances.get(service).and_then(|memory| memory.proven.as_ref());
                let is_proven = proven.is_some_and(|proven| proven.container_id == container.id);
                let answer = ProbeAnswer {
                    container_id: container.id.clone(),
                    at: self.now(),
                    ready: is_proven && matches!(container.state.health, Health::None | Health::Healthy),
                    message: "its command is not run by who only looks".to_owned(),
                };
                self.observer.observed.probes.insert(service.clone(), answer);
                self.probe_due.insert(service.clone(), now + STEADY);
                self.dirty.insert(Subject::Service(service.clone()));
                continue;
            }
            self.probes_in_flight.insert(service.clone());
            let ports = self.ports.clone();
            let (service, readiness) = (service.clone(), readiness.clone());
            self.probing.spawn(async move {
                let began = Instant::now();
                let reply = ask(&ports, &readiness, &container).await;
                ports.metrics.phase_took(Phase::Verify, began.elapsed());
                let answer = reply.map(|reply| ProbeAnswer {
                    container_id: container.id.clone(),
                    at: ports.clock.now(),
                    ready: reply.ready,
                    message: reply.message,
                });
                (service, answer)
            });
        }
    }

    pub(super) fn take_answer(&mut self, answer: Result<(ServiceName, Option<ProbeAnswer>), JoinError>) {
        let Ok((service, answer)) = answer else {
            self.probes_in_flight.clear();
            return;
        };
        self.probes_in_flight.remove(&service);
        let Some(spec) = self.spec_in_force(&service).cloned() else { return };
        let Some(readiness) = &spec.ready else { return };
        let ready = answer.as_ref().is_some_and(|answer| answer.ready);
        let settled = ready && self.plans.get(&Subject::Service(service.clone())).is_some_and(|plan| plan.ready);
        let every = if settled { STEADY.max(readiness.every.duration()) } else { readiness.every.duration() };
        self.probe_due.insert(service.clone(), Instant::now() + every.max(Duration::from_millis(50)));
        if let Some(answer) = answer {
            let before = self.observer.observed.probes.insert(service.clone(), answer.clone());
            let changed =
                before.is_none_or(|before| (before.ready, before.container_id) != (answer.ready, answer.container_id));
            if changed || !settled {
                self.dirty.insert(Subject::Service(service));
            }
        }
    }
}

/// None where the question could not be asked: that is no answer.
async fn ask(ports: &Ports, readiness: &Readiness, container: &ObservedContainer) -> Option<Reply> {
    let timeout = readiness.timeout;
    match &readiness.probe {
        Probe::Exec { command } => {
            let hook = Hook { command: command.clone(), ..Hook::default() };
            let outcome = ports.engine.exec(&container.id, &hook, timeout).await.ok()?;
            Some(Reply { ready: outcome.exit_code == 0, message: format!("exit code {}", outcome.exit_code) })
        }
        Probe::Http { host, port, path, status } => {
            let host = host.clone().unwrap_or_else(|| address(container));
            Some(ports.prober.http(&host, *port, path, *status, timeout).await)
        }
        Probe::Tcp { host, port } => {
            let host = host.clone().unwrap_or_else(|| address(container));
            Some(ports.prober.tcp(&host, *port, timeout).await)
        }
    }
}

/// Where a container listens as seen from its host.
fn address(container: &ObservedContainer) -> String {
    container
        .detail
        .as_ref()
        .and_then(|detail| detail.addresses.values().find(|address| !address.is_empty()))
        .cloned()
        .unwrap_or_else(|| "127.0.0.1".to_owned())
}

//! What the probes of roles say: asked while a container runs, or by a procedure while it does not; and how long it counts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::execute::{Done, value};
use crate::model::desired::{Hook, HostDesired};
use crate::model::labels;
use crate::model::names::ServiceName;
use crate::model::peers::MemberReport;
use crate::model::procedure::ValueProbe;
use crate::model::time::Span;
use crate::observe::observed::{ObservedContainer, Status};
use crate::plan::gate;
use crate::plan::step::{Step, Subject};

use super::reconciler::Reconciler;

/// A probe of a service.
type Name = (ServiceName, String);

/// The containers of a service with the time of their last start; empty for one that never was.
type Starts = BTreeMap<String, String>;

/// A question that was answered, or not: of which container, which runs since when.
type Asked = (Name, (String, String), Option<Value>);

/// As long as what an answer counts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Basis {
    /// This container runs, since then.
    Running(String, String),
    /// None has been started since.
    Stopped(Starts),
}

#[derive(Debug)]
struct Known {
    /// None for what only had to be done.
    value: Option<Value>,
    basis: Basis,
}

/// How Docker writes the time of a start that has not been.
const NEVER: &str = "0001-01-01";

/// What was asked, and what is known.
#[derive(Debug, Default)]
pub(super) struct Values {
    known: BTreeMap<Name, Known>,
    due: BTreeMap<Name, Instant>,
    in_flight: BTreeSet<Name>,
    /// Questions under way.
    pub(super) asking: JoinSet<Asked>,
    /// The containers that were last seen to run, and since when.
    seen: BTreeMap<ServiceName, (String, String)>,
    /// As what the services were seen that are asked while they are stopped.
    asked: BTreeMap<ServiceName, Starts>,
}

impl Values {
    /// When the next question is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().filter(|(name, _)| !self.in_flight.contains(*name)).map(|(_, due)| *due).min()
    }

    /// Forgets what a service said of its data while it was stopped; what only had to be done has been done all the same.
    fn forget_answers(&mut self, service: &ServiceName) {
        self.known.retain(|(of, _), known| {
            of != service || known.value.is_none() || !matches!(known.basis, Basis::Stopped(_))
        });
    }
}

/// Whether it runs, or may at any moment.
fn is_alive(container: &ObservedContainer) -> bool {
    matches!(container.state.status, Status::Running | Status::Restarting | Status::Paused | Status::Removing)
}

impl Reconciler {
    fn containers_of<'a>(
        &'a self,
        desired: &'a HostDesired,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = &'a ObservedContainer> {
        self.observer.observed.containers.values().map(AsRef::as_ref).filter(move |container| {
            container.is_labelled(desired.site.as_str(), desired.host.as_str())
                && container.label(labels::SERVICE) == Some(service.as_str())
        })
    }

    /// None where one of them runs.
    fn starts_of(&self, desired: &HostDesired, service: &ServiceName) -> Option<Starts> {
        if self.containers_of(desired, service).any(is_alive) {
            return None;
        }
        let containers = self.containers_of(desired, service);
        Some(containers.map(|container| (container.id.clone(), container.state.started_at.clone())).collect())
    }

    /// Forgets what does not count any more.
    pub(super) fn forget_values(&mut self, desired: &HostDesired) {
        for service in desired.behaviours.keys() {
            let Some(spec) = desired.services.get(service) else { continue };
            let current = self.observer.observed.containers.get(spec.container_name.as_str());
            let now = current
                .filter(|container| container.is_running() && self.observer.is_connected())
                .map(|container| (container.id.clone(), container.state.started_at.clone()));
            // What a process has said that the engine has started again since says nothing of the new one.
            if self.values.seen.get(service) != now.as_ref() {
                self.observer.observed.probes.remove(service);
                self.probe_due.remove(service);
                match now {
                    Some(now) => drop(self.values.seen.insert(service.clone(), now)),
                    None => drop(self.values.seen.remove(service)),
                }
            }
        }
        let services: BTreeSet<ServiceName> = self.values.known.keys().map(|(service, _)| service.clone()).collect();
        for service in services {
            let starts = self.starts_of(desired, &service);
            let running: Vec<(&str, &str)> = self
                .containers_of(desired, &service)
                .filter(|container| container.is_running())
                .map(|container| (container.id.as_str(), container.state.started_at.as_str()))
                .collect();
            let running: Vec<(String, String)> =
                running.into_iter().map(|(id, since)| (id.to_owned(), since.to_owned())).collect();
            let is_connected = self.observer.is_connected();
            self.values.known.retain(|(of, _), known| {
                *of != service
                    || match &known.basis {
                        // Whoever cannot be asked may have changed.
                        Basis::Running(id, since) => is_connected && running.contains(&(id.clone(), since.clone())),
                        Basis::Stopped(before) => {
                            is_connected && starts.as_ref().is_some_and(|now| has_not_run(before, now))
                        }
                    }
            });
        }
    }

    /// Forgets what a service said while it was stopped: a person may have changed its data.
    pub(super) fn forget_stopped(&mut self, service: &ServiceName) {
        self.values.known.retain(|(of, _), known| of != service || !matches!(known.basis, Basis::Stopped(_)));
    }

    /// Asks what is due of the containers that run.
    pub(super) fn ask_values(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        if !self.mode.act || !self.observer.is_connected() {
            self.values.due.clear();
            return;
        }
        let now = Instant::now();
        let behaviours = &desired.behaviours;
        self.values.due.retain(|(service, probe), _| {
            behaviours.get(service).is_some_and(|behaviour| behaviour.probes.contains_key(probe))
        });
        for (service, behaviour) in behaviours {
            for (probe, how) in &behaviour.probes {
                let ValueProbe::Exec { command, timeout, .. } = how else { continue };
                let name = (service.clone(), probe.clone());
                let running = desired.services.get(service).and_then(|spec| {
                    let here = self.observer.observed.containers.get(spec.container_name.as_str())?;
                    let ours = self.containers_of(&desired, service).any(|container| container.id == here.id);
                    (here.is_running() && ours).then(|| (here.id.clone(), here.state.started_at.clone()))
                });
                let Some(of) = running else {
                    self.values.due.remove(&name);
                    continue;
                };
                let is_due = self.values.due.get(&name).is_none_or(|due| *due <= now);
                if !is_due || !self.values.in_flight.insert(name.clone()) {
                    continue;
                }
                let ports = self.ports.clone();
                let (hook, timeout) = (Hook { command: command.clone(), ..Hook::default() }, *timeout);
                self.values.asking.spawn(async move {
                    let answer = ports.engine.exec(&of.0, &hook, timeout).await.ok();
                    let answer = answer.filter(|outcome| outcome.exit_code == 0);
                    (name, of, answer.and_then(|outcome| value(&outcome.output)))
                });
            }
        }
    }

    /// Takes an answer over. None takes away what was known: it may have changed.
    pub(super) fn take_value(&mut self, answer: Result<Asked, JoinError>) {
        let Ok((name, (container, since), answer)) = answer else {
            self.values.in_flight.clear();
            return;
        };
        self.values.in_flight.remove(&name);
        let every =
            self.desired.as_ref().and_then(|desired| match desired.behaviours.get(&name.0)?.probes.get(&name.1)? {
                ValueProbe::Exec { every, .. } => Some(*every),
                ValueProbe::Stopped(_) => None,
            });
        let every = every.unwrap_or(Span::seconds(5));
        self.values.due.insert(name.clone(), Instant::now() + every.duration());
        match answer {
            Some(value) => {
                let known = Known { value: Some(value), basis: Basis::Running(container, since) };
                self.values.known.insert(name, known);
            }
            None => drop(self.values.known.remove(&name)),
        }
    }

    /// A step that asks a stopped service begins, or one that wipes it.
    pub(super) fn note_asking(&mut self, subject: &Subject, step: &Step) {
        let (Subject::Service(service), Step::AskStopped { .. } | Step::Wipe { .. }, Some(desired)) =
            (subject, step, self.desired.clone())
        else {
            return;
        };
        if let Some(starts) = self.starts_of(&desired, service) {
            self.values.asked.insert(service.clone(), starts);
        }
    }

    /// A step that asked a stopped service has ended well. Its answer counts only if nothing was started meanwhile.
    pub(super) fn note_asked(&mut self, subject: &Subject, step: &Step, done: &Done) {
        let Subject::Service(service) = subject else { return };
        let (key, gives_value) = match step {
            Step::Wipe { key, .. } => {
                self.values.forget_answers(service);
                (key, false)
            }
            Step::AskStopped { key, gives_value, .. } => (key, *gives_value),
            _ => return,
        };
        let Some(starts) = self.values.asked.remove(service) else { return };
        let value = match done {
            Done::Value(value) => Some(value.clone()),
            _ => None,
        };
        if gives_value == value.is_some() {
            let known = Known { value, basis: Basis::Stopped(starts) };
            self.values.known.insert((service.clone(), key.clone()), known);
        }
    }

    /// What others have to know of an instance as a member of its service.
    pub(super) fn member_report(&self, desired: &HostDesired, service: &ServiceName) -> Option<MemberReport> {
        let is_part = desired.behaviours.contains_key(service)
            || desired.procedures.iter().any(|procedure| procedure.service == *service);
        let spec = desired.services.get(service).filter(|_| is_part)?;
        let current = self.observer.observed.containers.get(spec.container_name.as_str());
        let current = current
            .map(AsRef::as_ref)
            .filter(|container| self.containers_of(desired, service).any(|own| own.id == container.id));
        let mut report = MemberReport {
            running: current.is_some_and(ObservedContainer::is_running),
            stopped: self.starts_of(desired, service).is_some(),
            answers: current.is_some_and(|container| gate::is_ready(spec, container, &self.observer.observed)),
            has_been_ready: self.memory.instances.get(service).is_some_and(|memory| memory.proven.is_some()),
            variant: current.and_then(|container| container.label(labels::VARIANT)).map(str::to_owned),
            ..MemberReport::default()
        };
        for ((of, name), known) in &self.values.known {
            if of != service {
                continue;
            }
            match &known.value {
                Some(value) => drop(report.values.insert(name.clone(), value.clone())),
                None => drop(report.done.insert(name.clone())),
            }
        }
        Some(report)
    }
}

/// Whether nothing has been started since. What was made since has never been.
fn has_not_run(before: &Starts, now: &Starts) -> bool {
    now.iter().all(|(id, started)| match before.get(id) {
        Some(then) => then == started,
        None => started.is_empty() || started.starts_with(NEVER),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn starts(all: &[(&str, &str)]) -> Starts {
        all.iter().map(|(id, started)| ((*id).to_owned(), (*started).to_owned())).collect()
    }

    /// It would be wiped again and again otherwise: "it is not empty" was said before.
    #[test]
    fn what_a_service_said_of_its_data_does_not_count_once_they_are_wiped() {
        let service = |name: &str| ServiceName::new(name).unwrap();
        let stopped = |value| Known { value, basis: Basis::Stopped(Starts::new()) };
        let mut values = Values::default();
        values.known.insert((service("db"), "datadir".to_owned()), stopped(Some(Value::from("full"))));
        values.known.insert((service("db"), "marked".to_owned()), stopped(None));
        values.known.insert((service("other"), "datadir".to_owned()), stopped(Some(Value::from("full"))));
        values.forget_answers(&service("db"));
        let left: Vec<&str> = values.known.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!(left, ["marked", "datadir"]);
        assert!(values.known.keys().any(|(of, _)| *of == service("other")));
    }

    #[test]
    fn an_answer_counts_until_a_container_of_the_service_was_started() {
        let before = starts(&[("a", "10:00")]);
        assert!(has_not_run(&before, &before));
        assert!(has_not_run(&before, &starts(&[("a", "10:00"), ("b", "")])), "what was only made has not run");
        assert!(has_not_run(&before, &starts(&[("b", "")])), "the old one was removed");
        assert!(has_not_run(&before, &starts(&[("a", "10:00"), ("b", "0001-01-01T00:00:00Z")])), "as Docker says it");
        assert!(!has_not_run(&before, &starts(&[("a", "10:05")])));
        assert!(!has_not_run(&before, &starts(&[("a", "10:00"), ("b", "10:05")])));
    }
}

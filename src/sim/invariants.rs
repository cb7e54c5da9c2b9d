//! What must never happen, checked at every call that changes something, within the host's lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::state::HostState;
use super::world::SimHost;
use crate::model::labels;

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The agent, through the ports.
    Agent,
    /// The engine by itself.
    Engine,
    /// A person, or another program.
    Stranger,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Milliseconds since the world began.
    pub at: u64,
    /// What happened.
    pub what: String,
}

/// Milliseconds.
const MINUTE: u64 = 60_000;
/// Starts of one service by the agent in a minute that are still sane: a backoff of a second that doubles, a rollout and
/// its rollback, and a person who says try again.
const MOST_STARTS: usize = 20;

/// Calls kept for people.
const TRACE: usize = 2000;

/// What was called, what is expected, what was broken.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The newest calls, also those that change nothing if asked for.
    pub(super) trace: VecDeque<String>,
    /// Calls that change something: `verb target`.
    pub(super) changes: Vec<String>,
    /// Calls that change nothing.
    pub(super) questions: usize,
    /// What was broken.
    pub(super) violations: Vec<Violation>,
    /// Why nothing may be changed now.
    pub(super) frozen: Option<String>,
    /// Services whose last instance may be removed.
    pub(super) removable: BTreeSet<String>,
    /// Whether named volumes may be removed.
    pub(super) volumes_removable: bool,
    /// Foreign containers that the agent was told to take over, by id.
    pub(super) adopted: BTreeSet<String>,
    /// When the agent started containers, by service.
    pub(super) starts: BTreeMap<String, Vec<u64>>,
    /// Anonymous volumes that were removed with a container which had been ready: (service, target).
    pub(super) lost_volumes: Vec<(String, String)>,
}

impl Watch {
    pub(super) fn note(&mut self, at: u64, line: &str) {
        if self.trace.len() >= TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{at:>8} {line}"));
    }
}

impl HostState {
    /// Keeps a line for people.
    pub(super) fn note(&mut self, line: &str) {
        let at = self.now;
        self.watch.note(at, line);
    }

    pub(super) fn violated(&mut self, what: String) {
        let at = self.now;
        self.watch.note(at, &format!("VIOLATION {what}"));
        self.watch.violations.push(Violation { at, what });
    }

    /// Anything at all may be changed.
    pub(super) fn watch_change(&mut self, line: &str) {
        self.watch.changes.push(line.to_owned());
        // Old files and images may be tidied away at any time.
        let is_garbage = line.starts_with("remove files") || line.starts_with("remove image");
        if let Some(why) = self.watch.frozen.clone().filter(|_| !is_garbage) {
            self.violated(format!("{line}: nothing may be changed now ({why})"));
        }
    }

    /// A directory of files goes: no container may need it any more.
    pub(super) fn watch_files_removal(&mut self, root: &str) {
        use crate::model::settings::Mount;
        let user = self.containers.values().find(|container| {
            let mounts = container.settings.volumes.iter().flat_map(|volumes| volumes.values());
            mounts.into_iter().any(|mount| matches!(mount, Mount::Bind { source, .. } if source.starts_with(root)))
        });
        if let Some(user) = user {
            let what = format!("{root} was removed, which {} needs", user.name);
            self.violated(what);
        }
    }

    /// The agent changes a container: it must be one of ours.
    pub(super) fn watch_touch(&mut self, verb: &str, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let ours = container.labels.contains_key(labels::SITE)
            && container.labels.get(labels::HOST) == Some(&self.name)
            || self.watch.adopted.contains(id);
        if !ours {
            let name = container.name.clone();
            self.violated(format!("{verb} of the foreign container {name}"));
        }
    }

    /// A container has been started: it must be the only one of its service or job.
    pub(super) fn watch_running(&mut self, id: &str, actor: Actor) {
        let Some(container) = self.containers.get(id) else { return };
        let Some((kind, subject)) = container.subject() else { return };
        let subject = subject.to_owned();
        if actor == Actor::Agent {
            let starts = self.watch.starts.entry(subject.clone()).or_default();
            starts.push(self.now);
            let recent = starts.iter().rev().take_while(|at| **at + MINUTE > self.now).count();
            if recent > MOST_STARTS {
                self.violated(format!("{subject} was started {recent} times within a minute"));
            }
        }
        let Some(container) = self.containers.get(id) else { return };
        if actor == Actor::Stranger {
            return;
        }
        let other = self.containers.values().find(|other| {
            other.id != id
                && other.is_alive()
                && !other.started_by_stranger
                && other.subject() == Some((kind, subject.as_str()))
                && other.labels.get(labels::SITE) == container.labels.get(labels::SITE)
        });
        if let Some(other) = other {
            let what = format!("{actor:?} started {} of {subject} while {} runs", container.name, other.name);
            self.violated(what);
        }
    }

    /// The agent is about to remove a container: unless its service goes, another one must have been ready.
    pub(super) fn watch_removal(&mut self, id: &str, anonymous_volumes: bool) {
        let Some(container) = self.containers.get(id) else { return };
        let Some((labels::SERVICE, service)) = container.subject() else { return };
        if !container.good || self.watch.removable.contains(service) {
            return;
        }
        let service = service.to_owned();
        let successor = self.containers.values().any(|other| {
            other.id != id && other.proven && other.subject() == Some((labels::SERVICE, service.as_str()))
        });
        let lost: Vec<_> = container
            .anonymous_volumes
            .iter()
            .filter(|(_, volume)| anonymous_volumes && !self.is_volume_used(volume, id))
            .map(|(target, _)| (service.clone(), target.clone()))
            .collect();
        let name = container.name.clone();
        if !successor {
            self.violated(format!("{name} was removed, the last good instance of {service}"));
        }
        self.watch.lost_volumes.extend(lost);
    }

    /// The agent makes a container: anonymous volumes of the instance before have to go over.
    pub(super) fn watch_creation(&mut self, id: &str) {
        let Some(new) = self.containers.get(id) else { return };
        let Some((labels::SERVICE, service)) = new.subject() else { return };
        let before = self.containers.values().filter(|old| {
            old.id != id
                && old.proven
                && old.subject() == Some((labels::SERVICE, service))
                && new.name.strip_suffix(".next") == Some(old.name.as_str())
        });
        let lost: Vec<(String, String)> = before
            .flat_map(|old| &old.anonymous_volumes)
            .filter(|(target, volume)| new.anonymous_volumes.get(*target).is_some_and(|other| other != *volume))
            .map(|(target, _)| (service.to_owned(), target.clone()))
            .collect();
        self.watch.lost_volumes.extend(lost);
    }

    /// Whether another container has a volume.
    pub(super) fn is_volume_used(&self, volume: &str, except: &str) -> bool {
        use crate::model::settings::Mount;
        self.containers.values().any(|container| {
            let mounts = container.settings.volumes.iter().flat_map(|volumes| volumes.values());
            container.id != except
                && (container.anonymous_volumes.values().any(|used| used == volume)
                    || mounts
                        .into_iter()
                        .any(|mount| matches!(mount, Mount::Volume { source: Some(source), .. } if source == volume)))
        })
    }
}

impl super::state::SimContainer {
    /// The label that says what it is an instance of, and its value.
    pub(super) fn subject(&self) -> Option<(&'static str, &str)> {
        [labels::SERVICE, labels::JOB]
            .into_iter()
            .find_map(|label| self.labels.get(label).map(|value| (label, value.as_str())))
    }
}

impl SimHost {
    /// The calls that changed something, as `verb target`.
    pub fn changes(&self) -> Vec<String> {
        self.state().watch.changes.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_changes(&self) {
        let mut state = self.state();
        state.watch.changes.clear();
        state.watch.questions = 0;
        state.crash.count = 0;
        state.crash.store_count = 0;
    }

    /// How many calls changed nothing.
    pub fn questions(&self) -> usize {
        self.state().watch.questions
    }

    /// The newest calls and what happened, for people.
    pub fn trace(&self) -> String {
        let state = self.state();
        let mut text = format!("host {}\n", state.name);
        for line in &state.watch.trace {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// What was broken so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.state().watch.violations.clone()
    }

    /// From now on any change is a violation; none lifts it.
    pub fn forbid_changes(&self, why: Option<&str>) {
        self.state().watch.frozen = why.map(ToOwned::to_owned);
    }

    /// The last good instance of a service may be removed: it was asked for.
    pub fn allow_removal(&self, service: &str) {
        self.state().watch.removable.insert(service.to_owned());
    }

    /// Whether it may.
    pub fn may_be_removed(&self, service: &str) -> bool {
        self.state().watch.removable.contains(service)
    }

    /// It may no longer.
    pub fn forbid_removal(&self, service: &str) {
        self.state().watch.removable.remove(service);
    }

    /// Named volumes may be removed: it was asked for.
    pub fn allow_volume_removal(&self) {
        self.state().watch.volumes_removable = true;
    }

    /// A foreign container may be touched: the agent was told to take it over.
    pub fn allow_adoption(&self, id: &str) {
        self.state().watch.adopted.insert(id.to_owned());
    }

    /// When the agent started containers of each service, in milliseconds since the world began.
    pub fn starts(&self) -> BTreeMap<String, Vec<u64>> {
        self.state().watch.starts.clone()
    }

    /// Anonymous volumes that were lost with a container that had been ready: (service, target).
    pub fn lost_volumes(&self) -> Vec<(String, String)> {
        self.state().watch.lost_volumes.clone()
    }
}

//! Changes of roles in a plan: their steps in order, how far each is on each host, and the point of no return.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::model::change::{ChangeStep, StepKind};
use crate::model::desired::HostDesired;
use crate::model::job::JobState;
use crate::model::memory::HostMemory;
use crate::plan::host::is_job_done;

/// A change of a role. The names in its JSON are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// `ROLE/CHANGE`.
    pub change: String,
    /// Its steps, in order.
    pub steps: Vec<StepView>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// `job` or `roll`.
    pub kind: String,
    /// The job or service.
    pub name: String,
    /// Whether there is no way back from its begin on.
    pub irreversible: bool,
    /// How far it is, by host.
    pub hosts: BTreeMap<String, StepState>,
}

/// How far a step is on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It is still to come.
    Open,
    /// A job runs.
    Running,
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// The host has not said it.
    Unknown,
}

impl StepState {
    const fn word(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Running => " (runs)",
            Self::Done => " (done)",
            Self::Failed => " (failed)",
            Self::Unknown => " (not known)",
        }
    }
}

impl ChangeView {
    /// Whether a step of it is still to come somewhere.
    pub fn is_open(&self) -> bool {
        self.steps.iter().flat_map(|step| step.hosts.values()).any(|state| *state != StepState::Done)
    }
}

/// The changes of one host, as far as it is part of them.
pub fn views(desired: &HostDesired, memory: &HostMemory) -> Vec<ChangeView> {
    let changes = desired.changes.iter().map(|change| ChangeView {
        change: change.change.clone(),
        steps: change.steps.iter().map(|step| view(step, desired, memory)).collect(),
    });
    changes.collect()
}

fn view(step: &ChangeStep, desired: &HostDesired, memory: &HostMemory) -> StepView {
    let (kind, state) = match &step.what {
        StepKind::Job(name) => (
            "job",
            desired.jobs.get(name).map(|job| {
                let record = memory.jobs.get(name).filter(|record| record.input_hash == job.input_hash);
                match record.map(|record| &record.state) {
                    _ if is_job_done(job, memory) => StepState::Done,
                    Some(JobState::Failed { .. }) => StepState::Failed,
                    Some(JobState::Running { .. }) => StepState::Running,
                    _ => StepState::Open,
                }
            }),
        ),
        StepKind::Roll(name) => (
            "roll",
            desired.services.get(name).map(|spec| {
                let memory = memory.instances.get(name);
                let is = |hash: Option<&String>| hash == Some(&spec.input_hash);
                let proven = memory.and_then(|memory| memory.proven.as_ref()).map(|proven| &proven.input_hash);
                let failed = memory.and_then(|memory| memory.quarantine.as_ref()).map(|failed| &failed.input_hash);
                match (is(proven), is(failed)) {
                    (true, _) => StepState::Done,
                    (_, true) => StepState::Failed,
                    _ => StepState::Open,
                }
            }),
        ),
    };
    let others = desired.placement.get(step.what.name()).into_iter().flatten().filter(|host| **host != desired.host);
    let others = others.map(|host| (host.to_string(), StepState::Unknown));
    StepView {
        kind: kind.to_owned(),
        name: step.what.name().to_owned(),
        irreversible: step.irreversible,
        hosts: state.map(|state| (desired.host.to_string(), state)).into_iter().chain(others).collect(),
    }
}

/// What several hosts say of the same changes as one.
pub fn merge(into: &mut Vec<ChangeView>, other: Vec<ChangeView>) {
    for change in other {
        match into.iter_mut().find(|known| known.change == change.change) {
            Some(known) => {
                for (step, more) in known.steps.iter_mut().zip(change.steps) {
                    for (host, state) in more.hosts {
                        // Each host knows best how it is.
                        let known = step.hosts.entry(host).or_insert(state);
                        if *known == StepState::Unknown {
                            *known = state;
                        }
                    }
                }
            }
            None => into.push(change),
        }
    }
}

/// As text, one line a step.
pub fn render(changes: &[ChangeView]) -> String {
    let mut text = String::new();
    for change in changes.iter().filter(|change| change.is_open()) {
        let _ = writeln!(text, "\n{}, step by step:", change.change);
        for (number, step) in change.steps.iter().enumerate() {
            if step.irreversible {
                let _ =
                    writeln!(text, "    -- no way back from here on: what fails halts, and nothing is rolled back --");
            }
            let hosts: Vec<String> = step.hosts.iter().map(|(host, state)| format!("{host}{}", state.word())).collect();
            let place = if hosts.is_empty() { String::new() } else { format!(" on {}", hosts.join(", ")) };
            let _ = writeln!(text, "    {}. {} {}{place}", number + 1, step.kind, step.name);
        }
    }
    text
}

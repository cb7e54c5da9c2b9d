//! What cannot be seen on the live containers: small, written atomically. Losing it loses history and holds, never a container.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::ChangeRecord;
use super::file::OnChange;
use super::fileset::FilesetRecord;
use super::hold::Hold;
use super::image::Accounts;
use super::job::{JobRecord, JobState};
use super::names::{FilesetName, HostName, JobName, ServiceName};
use super::time::{Span, Timestamp};

/// The memory of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostMemory {
    /// Number of the newest accepted desired state.
    pub generation: u64,
    /// The engine's version when it was last seen: a new one only observes in its first pass.
    pub engine_version: Option<String>,
    /// What the engine calls itself: another one under the same name is not the machine that it was.
    pub identity: Option<String>,
    /// Declared volumes that have been there.
    pub volumes: BTreeSet<String>,
    /// By id of an image: whom its files name.
    pub accounts: BTreeMap<String, Accounts>,
    /// People's words.
    pub holds: Vec<Hold>,
    /// By service.
    pub instances: BTreeMap<ServiceName, InstanceMemory>,
    /// By job.
    pub jobs: BTreeMap<JobName, JobRecord>,
    /// By change of a role, as `ROLE/CHANGE`.
    pub changes: BTreeMap<String, ChangeRecord>,
    /// Filesets as they were last known, encrypted: what others agree on may be out of reach, or lost.
    pub filesets: BTreeMap<FilesetName, FilesetRecord>,
    /// Whether the removals of this generation were allowed.
    pub prune_allowed: Option<u64>,
    /// Services that were asked to be restarted, with the container that was meant.
    pub restart_requests: BTreeMap<ServiceName, String>,
    /// Services whose quarantine is to be tried once more.
    pub retries: BTreeSet<ServiceName>,
}

impl HostMemory {
    /// The clock was stepped by so many milliseconds: what lasts for a while goes on for as long as before. What only tells
    /// when something happened stays as it is.
    pub fn clock_stepped(&mut self, milliseconds: i64) {
        let step = |time: &mut Timestamp| *time = time.stepped(milliseconds);
        for hold in &mut self.holds {
            step(&mut hold.since);
            hold.until.iter_mut().for_each(step);
        }
        for instance in self.instances.values_mut() {
            instance.gate.iter_mut().for_each(|gate| step(&mut gate.seen_at));
            instance.retry_at.iter_mut().chain(&mut instance.unhealthy_since).for_each(step);
            step(&mut instance.restarts.last);
        }
        for job in self.jobs.values_mut() {
            match &mut job.state {
                JobState::Running { since: time } | JobState::Failed { at: time, .. } => step(time),
                JobState::Done { .. } => {}
            }
        }
    }
}

/// The memory of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceMemory {
    /// The spec that was last ready here, and the revision that holds it: what a rollback goes back to.
    pub proven: Option<Proven>,
    /// The one before that, where a failure on another host may ask for it.
    pub before: Option<Proven>,
    /// The spec that is asked for, and since which generation.
    pub wanted: Option<Wanted>,
    /// The spec that failed here and is not tried again.
    pub quarantine: Option<Quarantine>,
    /// The gate that is open.
    pub gate: Option<GateMemory>,
    /// What the process was last told of its live files.
    pub told: Option<Told>,
    /// For which spec the image was fetched anew (`pull_policy: always`).
    pub pulled: Option<String>,
    /// Failures of steps in a row, for backoff.
    pub failures: u32,
    /// Before which no step is tried again.
    pub retry_at: Option<Timestamp>,
    /// What failed last, for people.
    pub last_error: Option<StepFailure>,
    /// The container id that was adopted although it lacks our labels.
    pub adopted: Option<String>,
    /// Since when it has been unhealthy without a break.
    pub unhealthy_since: Option<Timestamp>,
    /// Container restarts that were seen, of which container.
    pub restarts: RestartMemory,
}

impl InstanceMemory {
    /// Of an instance of which nothing is remembered.
    pub const EMPTY: Self = Self {
        proven: None,
        before: None,
        wanted: None,
        quarantine: None,
        gate: None,
        told: None,
        pulled: None,
        failures: 0,
        retry_at: None,
        last_error: None,
        adopted: None,
        unhealthy_since: None,
        restarts: RestartMemory { container_id: String::new(), count: 0, revived: 0, last: Timestamp(0) },
    };
}

/// A spec that has been ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// Of the spec.
    pub input_hash: String,
    /// The revision that holds the spec.
    pub generation: u64,
    /// The container that was ready; another one of the same spec has to show it for itself.
    pub container_id: String,
}

/// A spec that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of the spec.
    pub input_hash: String,
    /// The generation that brought it to this host.
    pub since: u64,
    /// When it was first seen to be ready with it.
    pub updated_at: Option<Timestamp>,
}

/// A spec that failed on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Of the spec.
    pub input_hash: String,
    /// In which it was tried.
    pub generation: u64,
    /// Why.
    pub reason: String,
    /// On which other host it failed, where it was given up here for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<HostName>,
    /// Last log lines of the failed container.
    pub log: String,
    /// When.
    pub at: Timestamp,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// In CamelCase, bounded: `ImagePullFailed`, `StartFailed`.
    pub reason: String,
    /// For people, without secrets.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// Of which spec.
    pub input_hash: String,
    /// Whether the same spec would fail again.
    pub spec_at_fault: bool,
}

/// Progress of a gate in observed time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateMemory {
    /// The container that has to prove itself.
    pub container_id: String,
    /// The spec that it has to prove.
    pub input_hash: String,
    /// How long it has been watched.
    pub watched: Span,
    /// For how much of that it has been ready without a break.
    pub ready_for: Span,
    /// Whether it was ready when last seen.
    pub ready: bool,
    /// Up to when `watched` counts.
    pub seen_at: Timestamp,
    /// The engine's count of restarts when last seen.
    pub restarts: i64,
    /// Restarts within this gate.
    pub crashes: i64,
    /// When the process was started that had ended before the gate began; empty where none had. Its end says nothing
    /// about the spec.
    pub ended_before: String,
}

/// What a process was told of its live files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The container.
    pub container_id: String,
    /// Digest over the live files that it has read; empty where not known.
    pub digest: String,
    /// What a difference needs: the strongest class of the files that changed.
    pub needs: Option<OnChange>,
    /// Whether the files that were written last failed their validation, so that the process still has `digest`.
    pub unread: bool,
}

/// Restarts of a container, to see crash loops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartMemory {
    /// Of which container.
    pub container_id: String,
    /// The engine's count when last seen.
    pub count: i64,
    /// Starts of ours since it last stayed up for a while.
    pub revived: u32,
    /// When the last of them was.
    pub last: Timestamp,
}

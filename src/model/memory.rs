//! What cannot be seen on the live containers: small, written atomically. Losing it loses history and holds, never a container.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hold::Hold;
use super::job::JobRecord;
use super::names::{JobName, ServiceName};
use super::time::{Span, Timestamp};

/// The memory of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostMemory {
    /// Number of the newest accepted desired state.
    pub generation: u64,
    /// The engine's version when it was last seen: a new one only observes in its first pass.
    pub engine_version: Option<String>,
    /// People's words.
    pub holds: Vec<Hold>,
    /// By service.
    pub instances: BTreeMap<ServiceName, InstanceMemory>,
    /// By job.
    pub jobs: BTreeMap<JobName, JobRecord>,
    /// Whether the removals of this generation were allowed.
    pub prune_allowed: Option<u64>,
    /// Services that were asked to be restarted, with the container that was meant.
    pub restart_requests: BTreeMap<ServiceName, String>,
    /// Services whose quarantine is to be tried once more.
    pub retries: BTreeSet<ServiceName>,
}

/// The memory of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceMemory {
    /// The spec that failed here and is not tried again.
    pub quarantine: Option<Quarantine>,
    /// Failures of steps in a row, for backoff.
    pub failures: u32,
    /// Before which no step is tried again.
    pub retry_at: Option<Timestamp>,
    /// What failed last, for people.
    pub last_error: Option<String>,
    /// The container id that was adopted although it lacks our labels.
    pub adopted: Option<String>,
    /// The gate that is open.
    pub gate: Option<GateMemory>,
    /// An in-place change that is not yet proven.
    pub in_place: Option<InPlaceMemory>,
    /// Whether it has ever been ready: then dependencies do not hold it up.
    pub has_been_ready: bool,
    /// Container restarts that were seen, of which container.
    pub restarts: RestartMemory,
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
    /// Last log lines of the failed container.
    pub log: String,
    /// When.
    pub at: Timestamp,
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
    /// Up to when `watched` counts.
    pub seen_at: Timestamp,
    /// Restarts of the container at the opening of the gate.
    pub restarts: i64,
}

/// An in-place change between its first call and its gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InPlaceMemory {
    /// The container that was changed.
    pub container_id: String,
    /// The spec that it is changed to.
    pub input_hash: String,
    /// Limits, restart policy as they were: fields of `ContainerSettings` by name.
    pub old_settings: serde_json::Map<String, serde_json::Value>,
    /// Whether the live files before the change lie saved.
    pub files_saved: bool,
    /// Whether the process has been told (reload) or restarted.
    pub told: bool,
    /// Whether the old state is being put back.
    pub reverting: bool,
    /// Why, when reverting.
    pub reason: String,
}

/// Restarts by the engine, to see crash loops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartMemory {
    /// Of which container.
    pub container_id: String,
    /// The engine's count when last seen.
    pub count: i64,
    /// Starts of ours within the current run of failures.
    pub revived: u32,
    /// When the last of them was.
    pub last: Timestamp,
}

//! What the hosts of a site tell each other: enough to keep budgets, order and dependencies across hosts, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::desired::{HostBudget, Rollout};
use super::drain::DrainedServers;
use super::fileset::FilesetReport;
use super::names::{FilesetName, HostName, JobName, ServiceName};
use super::time::Timestamp;

/// The newest word of each host. A host that never said anything is not in it.
pub type Reports = BTreeMap<HostName, Arc<HostReport>>;

/// One host's word about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Host.
    pub host: HostName,
    /// The generation that it has accepted; 0 before it has one.
    pub generation: u64,
    /// Digest of the source of that generation.
    pub source_digest: String,
    /// Whether its engine answered when it was last asked. Of one that did not, nothing else here is believed.
    pub reachable: bool,
    /// Whether its loop does something about what differs: one that is only looked at, or paused, is not waited for.
    pub acts: bool,
    /// Whether it knows of a newer state and does not take it for now, as one that waits for a person: it is not late.
    #[serde(default)]
    pub holds_off: bool,
    /// How often in a row it did not answer.
    pub attempts: u32,
    /// Its services.
    pub services: BTreeMap<ServiceName, InstanceReport>,
    /// Its jobs, and whether each is done with its present inputs.
    pub jobs: BTreeMap<JobName, bool>,
    /// How it is with the filesets that it takes part in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filesets: BTreeMap<FilesetName, FilesetReport>,
    /// What its load balancers say of servers whose clients they were asked to lead away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drained: BTreeMap<ServiceName, DrainedServers>,
    /// How far it is with all of it.
    pub progress: HostProgress,
}

/// One instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// It runs.
    pub started: bool,
    /// It is ready.
    pub ready: bool,
    /// What would be lost with it.
    #[serde(default)]
    pub standing: Standing,
    /// It has been ready with the spec that it should have.
    pub updated: bool,
    /// The generation in which that spec came up on this host: hosts with the same one take part in the same rollout.
    pub wanted_since: u64,
    /// That spec has failed here and is not tried again.
    pub failed: bool,
    /// That is because it failed on another host.
    #[serde(default)]
    pub recalled: bool,
    /// The machine kept it from proving itself, though it was not to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindered: Option<Hindered>,
    /// Whether it could be changed to that spec at once.
    #[serde(default)]
    pub preparation: Preparation,
    /// When it was first seen to be updated.
    pub updated_at: Option<Timestamp>,
    /// What procedures have to know of it, where a role has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberReport>,
    /// Since when it wants its clients led away, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Timestamp>,
}

/// A change that could not be tried because of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindered {
    /// The generation that brought it.
    pub since: u64,
    /// What the machine lacks.
    pub reason: String,
}

/// Whether what a change needs is there before it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// Nothing was said of it, as by an older agent: it is not waited for.
    #[default]
    Unsaid,
    /// The image is not there yet.
    Pending,
    /// The image is there.
    Done,
    /// The image cannot be had, and why: it is not waited for until it can.
    Failed(String),
}

/// What is lost with an instance that is taken down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is ready, or may be so again in a moment.
    #[default]
    Counts,
    /// It runs, and has not been ready for its deadline: others may count on it all the same.
    Mute,
    /// Nothing: it never was ready, crashes again and again, or has been gone for its deadline.
    Down,
}

/// An instance as a member of its service. All of it is known at this moment: what is not known any more is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Its container runs.
    pub running: bool,
    /// No container of it runs or is about to.
    pub stopped: bool,
    /// It runs and says that it is ready.
    pub answers: bool,
    /// It has been ready before, on this host.
    pub has_been_ready: bool,
    /// The variant that its container is made of; none is the service as it is.
    pub variant: Option<String>,
    /// What its probes say, by name.
    pub values: BTreeMap<String, Value>,
    /// What procedures have had done while it was stopped, by key. It has not run since.
    pub done: BTreeSet<String>,
}

/// How far a host is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProgress {
    /// Nothing is under way, and nothing was seen that has not been planned yet.
    pub quiet: bool,
    /// How many subjects are as desired.
    pub there: usize,
    /// Subjects that something goes on about.
    pub working: Vec<String>,
    /// Subjects that wait, and for what.
    pub waiting: Vec<(String, String)>,
    /// Subjects of which nothing more is to be expected, and why.
    pub failed: Vec<(String, String)>,
}

/// Who asks, and about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Host.
    pub host: HostName,
    /// Service.
    pub service: ServiceName,
    /// Generation that the host has accepted.
    pub generation: u64,
    /// The generation in which the spec came up that it wants to go to.
    pub wanted_since: u64,
    /// Whether it goes back from a spec that failed: order and halts are about going forward.
    pub goes_back: bool,
    /// What would be lost with the instance.
    pub standing: Standing,
    /// The rules.
    pub rollout: Rollout,
    /// Hosts that have an instance, in the order of the site.
    pub members: Vec<HostName>,
    /// Budgets that the host is part of.
    pub budgets: Vec<HostBudget>,
}

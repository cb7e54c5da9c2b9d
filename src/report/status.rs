//! What a site is like now, as plain data: one value that the JSON, the text, the metrics and systemd's status line are made from.
//!
//! The names in the JSON are stable; fields are added, never renamed. It never holds a secret.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::model::condition::{Condition, ConditionType, holds};
use crate::model::hold::{Hold, HoldKind};
use crate::model::names::{HostName, JobName, RoleName, ServiceName, SiteName};
use crate::model::time::{Timestamp, rfc3339, rfc3339_option};
use crate::observe::observed::Status;

/// A whole site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Site.
    pub site: SiteName,
    /// The accepted state in force; 0 before there is one.
    pub generation: u64,
    /// Whether all that should run is ready, as far as that is known for sure.
    pub ready: bool,
    /// Whether, beyond that, nothing is left to do.
    pub converged: bool,
    /// Hex SHA-256 of the source in force.
    pub source_digest: String,
    /// When it was last looked at; none before the first time.
    #[serde(with = "rfc3339_option", default)]
    pub observed_at: Option<Timestamp>,
    /// Set while the site's files cannot be accepted; the last good state stays in force.
    pub bad_site_file: Option<BadSiteFile>,
    /// Set while something waits for a person.
    pub pending: Option<Pending>,
    /// What failed last and has not worked since.
    pub last_error: Option<String>,
    /// People's words that are in force.
    pub holds: Vec<HoldStatus>,
    /// Rights to disrupt that are taken.
    pub slots: Vec<SlotStatus>,
    /// Hosts in the order of the site.
    pub hosts: Vec<HostStatus>,
}

/// Why the site's files are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadSiteFile {
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// How many errors.
    pub errors: usize,
    /// The diagnostics, for people.
    pub message: String,
}

/// What waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Why it waits.
    pub kind: PendingKind,
    /// What `mastic approve` takes, for an edit.
    pub plan_id: Option<String>,
    /// Of which generation.
    pub generation: u64,
    /// How many steps.
    pub changes: usize,
    /// For people.
    pub message: String,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
}

/// Why something waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingKind {
    /// `sync.edits: approve`: an edit waits for `mastic approve`.
    Edit,
    /// The removal guard: removals wait for `--allow-prune`.
    Removal,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// What it means.
    pub kind: HoldKind,
    /// On which service; none is the whole host.
    pub service: Option<ServiceName>,
    /// Who placed it.
    pub user: String,
    /// Why.
    pub reason: String,
    /// When.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
    /// When it ends by itself.
    #[serde(with = "rfc3339_option", default)]
    pub until: Option<Timestamp>,
}

impl From<&Hold> for HoldStatus {
    fn from(hold: &Hold) -> Self {
        Self {
            kind: hold.kind,
            service: hold.service.clone(),
            user: hold.user.clone(),
            reason: hold.reason.clone(),
            since: hold.since,
            until: hold.until,
        }
    }
}

/// A taken slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Of which service.
    pub service: ServiceName,
    /// By whom.
    pub host: HostName,
    /// For which generation.
    pub generation: u64,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: Timestamp,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Host.
    pub name: HostName,
    /// Whether its engine answers.
    pub reachable: bool,
    /// What is known of the engine.
    pub engine: EngineStatus,
    /// When its snapshot was taken; none before the first.
    #[serde(with = "rfc3339_option", default)]
    pub observed_at: Option<Timestamp>,
    /// What is true of the host as a whole.
    pub conditions: Vec<Condition>,
    /// Instances in the order of the site, then those that are to go.
    pub instances: Vec<InstanceStatus>,
    /// Jobs in the order of the site.
    pub jobs: Vec<JobStatus>,
}

/// An engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// `docker`, `podman`; none before it first answered.
    pub engine: Option<String>,
    /// As `20.10.24`.
    pub version: Option<String>,
    /// As `1.41`.
    pub api_version: Option<String>,
    /// Whether its events arrive.
    pub events_connected: bool,
    /// Why it cannot be asked.
    pub error: Option<String>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Service.
    pub service: ServiceName,
    /// Role that it came from.
    pub role: Option<RoleName>,
    /// What its container is called.
    pub container: String,
    /// Image as written.
    pub image: String,
    /// What should be.
    pub wanted: Wanted,
    /// Whether it runs, is healthy and has passed its gate, as desired.
    pub ready: bool,
    /// What its container does.
    pub state: InstanceState,
    /// The input hash of what runs; empty where nothing is.
    pub spec_hash: String,
    /// The generation in which the container was made; 0 where nothing is.
    pub generation: u64,
    /// The generation that it is like: that in force once nothing differs.
    pub observed_generation: u64,
    /// Restarts by the engine since the container was made.
    pub restarts: u64,
    /// In which ways it differs from what is desired.
    pub drift: BTreeSet<DriftKind>,
    /// What keeps it from starting.
    pub waiting: Option<WaitingReason>,
    /// What will be done next, in a few words.
    pub next_step: Option<String>,
    /// What failed last and has not worked since.
    pub last_error: Option<String>,
    /// The spec that failed here and is not tried again.
    pub quarantined: Option<QuarantineStatus>,
    /// What is true of it.
    pub conditions: Vec<Condition>,
}

/// What should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It should run.
    Running,
    /// It is held stopped.
    Stopped,
    /// It should not be there.
    Absent,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the engine's own words, and two of ours")]
pub enum InstanceState {
    /// It cannot be known.
    Unknown,
    /// There is none.
    Missing,
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl From<Status> for InstanceState {
    fn from(status: Status) -> Self {
        match status {
            Status::Created => Self::Created,
            Status::Running => Self::Running,
            Status::Paused => Self::Paused,
            Status::Restarting => Self::Restarting,
            Status::Removing => Self::Removing,
            Status::Exited => Self::Exited,
            Status::Dead => Self::Dead,
        }
    }
}

impl InstanceState {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// A way to differ. The set is closed, so that it can be a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// There is no container.
    Missing,
    /// There is one too many.
    Extra,
    /// Another image.
    Image,
    /// Other container settings, networks or mounts.
    Spec,
    /// Other files.
    Config,
    /// It does not run.
    Stopped,
    /// It runs and is not healthy.
    Unhealthy,
    /// It cannot be known.
    Unknown,
}

impl DriftKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Missing,
        Self::Extra,
        Self::Image,
        Self::Spec,
        Self::Config,
        Self::Stopped,
        Self::Unhealthy,
        Self::Unknown,
    ];

    /// As in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Image => "image",
            Self::Spec => "spec",
            Self::Config => "config",
            Self::Stopped => "stopped",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

/// What keeps a container from starting. The first two are Kubernetes' words, as dashboards know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WaitingReason {
    /// It dies again and again.
    CrashLoopBackOff,
    /// Its image cannot be fetched.
    ImagePullBackOff,
    /// It waits for something else.
    Blocked,
}

impl WaitingReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CrashLoopBackOff, Self::ImagePullBackOff, Self::Blocked];

    /// As in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrashLoopBackOff => "CrashLoopBackOff",
            Self::ImagePullBackOff => "ImagePullBackOff",
            Self::Blocked => "Blocked",
        }
    }
}

/// A spec that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// Its input hash.
    pub spec_hash: String,
    /// In which generation it was tried.
    pub generation: u64,
    /// Why it failed.
    pub reason: String,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Job.
    pub job: JobName,
    /// How far it is.
    pub state: JobPhase,
    /// Runs of its present inputs.
    pub attempts: u32,
    /// Exit code of the last run, where it ended by itself.
    pub exit_code: Option<i64>,
    /// When the state became what it is.
    #[serde(with = "rfc3339_option", default)]
    pub since: Option<Timestamp>,
    /// When it runs next, by its schedule or after a failure.
    #[serde(with = "rfc3339_option", default)]
    pub next_run: Option<Timestamp>,
    /// Why it waits or failed, for people.
    pub message: String,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// It is to run.
    Pending,
    /// It waits for something else.
    Waiting,
    /// It waits for its time.
    Scheduled,
    /// It runs.
    Running,
    /// It is done.
    Done,
    /// It failed, and is tried again.
    Failed,
    /// It failed where nothing leads back, and waits for a person.
    Halted,
}

impl JobPhase {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Waiting, Self::Scheduled, Self::Running, Self::Done, Self::Failed, Self::Halted];

    /// As in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Halted => "halted",
        }
    }
}

/// How many instances are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That should run.
    pub desired: usize,
    /// Of those: that are ready.
    pub ready: usize,
    /// That are held stopped.
    pub stopped: usize,
    /// That are still there and should not be.
    pub leftover: usize,
    /// Of which nothing is known for sure.
    pub unknown: usize,
}

impl SiteStatus {
    /// A site of which nothing is known yet.
    pub fn new(site: SiteName) -> Self {
        Self {
            site,
            generation: 0,
            ready: false,
            converged: false,
            source_digest: String::new(),
            observed_at: None,
            bad_site_file: None,
            pending: None,
            last_error: None,
            holds: Vec::new(),
            slots: Vec::new(),
            hosts: Vec::new(),
        }
    }

    /// All instances with their hosts.
    pub fn instances(&self) -> impl Iterator<Item = (&HostStatus, &InstanceStatus)> {
        self.hosts.iter().flat_map(|host| host.instances.iter().map(move |instance| (host, instance)))
    }

    /// Counts the instances.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (host, instance) in self.instances() {
            if !host.reachable || instance.state == InstanceState::Unknown {
                counts.unknown += 1;
            }
            match instance.wanted {
                Wanted::Running => {
                    counts.desired += 1;
                    counts.ready += usize::from(instance.ready && host.reachable);
                }
                Wanted::Stopped => counts.stopped += 1,
                Wanted::Absent => counts.leftover += usize::from(instance.state != InstanceState::Missing),
            }
        }
        counts
    }

    /// Sets `ready` and `converged` from the rest. Unknown is never ready.
    pub fn settle(&mut self) {
        let counts = self.counts();
        self.ready = self.generation > 0
            && self.observed_at.is_some()
            && counts.ready == counts.desired
            && self.hosts.iter().all(|host| host.reachable);
        self.converged = self.ready
            && counts.leftover == 0
            && self.pending.is_none()
            && self.instances().all(|(_, instance)| instance.is_settled())
            && self
                .hosts
                .iter()
                .flat_map(|host| &host.jobs)
                .all(|job| matches!(job.state, JobPhase::Done | JobPhase::Scheduled));
    }

    /// One line, for systemd and logs: `converged 5/5, generation 3`.
    pub fn line(&self) -> String {
        let counts = self.counts();
        let mut line = if self.observed_at.is_none() {
            "observing".to_owned()
        } else if self.converged {
            format!("converged {}/{}", counts.ready, counts.desired)
        } else {
            format!("{}/{} ready", counts.ready, counts.desired)
        };
        let _ = write!(line, ", generation {}", self.generation);
        let extras = [
            (counts.unknown, "unknown"),
            (counts.stopped, "held stopped"),
            (counts.leftover, "to remove"),
            (self.instances().filter(|(_, instance)| instance.quarantined.is_some()).count(), "quarantined"),
        ];
        for (count, word) in extras {
            if count > 0 {
                let _ = write!(line, ", {count} {word}");
            }
        }
        if self.bad_site_file.is_some() {
            line.push_str(", bad site file");
        }
        if let Some(pending) = &self.pending {
            line.push_str(match pending.kind {
                PendingKind::Edit => ", an edit waits for approval",
                PendingKind::Removal => ", removals wait for --allow-prune",
            });
        }
        line
    }
}

impl InstanceStatus {
    /// Whether nothing is left to do for it.
    fn is_settled(&self) -> bool {
        self.drift.is_empty()
            && self.next_step.is_none()
            && !holds(&self.conditions, ConditionType::Reconciling)
            && !holds(&self.conditions, ConditionType::Stalled)
    }
}

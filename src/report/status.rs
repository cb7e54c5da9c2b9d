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
}

impl JobPhase {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Waiting, Self::Scheduled, Self::Running, Self::Done, Self::Failed];

    /// As in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_json_is_stable() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&samples::troubled()).unwrap(), @r#"
        {
          "site": "demo",
          "generation": 4,
          "ready": false,
          "converged": false,
          "source_digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
          "observed_at": "2023-11-14T22:13:18Z",
          "bad_site_file": {
            "since": "2023-11-14T21:11:40Z",
            "errors": 1,
            "message": "error: unknown key `imgae`\n --> site.yaml:7:7\nhelp: did you mean `image`?"
          },
          "pending": {
            "kind": "removal",
            "plan_id": null,
            "generation": 5,
            "changes": 4,
            "message": "generation 5 removes 4 of 6 services",
            "since": "2023-11-14T22:12:30Z"
          },
          "last_error": "the state directory cannot be written: No space left on device",
          "holds": [
            {
              "kind": "stop",
              "service": "memcached",
              "user": "ann",
              "reason": "moving the rack",
              "since": "2023-11-13T21:12:19Z",
              "until": "2023-11-15T00:14:20Z"
            }
          ],
          "slots": [
            {
              "service": "hello",
              "host": "here",
              "generation": 4,
              "since": "2023-11-14T22:13:00Z"
            }
          ],
          "hosts": [
            {
              "name": "here",
              "reachable": true,
              "engine": {
                "engine": "docker",
                "version": "20.10.24",
                "api_version": "1.41",
                "events_connected": true,
                "error": null
              },
              "observed_at": "2023-11-14T22:13:18Z",
              "conditions": [],
              "instances": [
                {
                  "service": "hello",
                  "role": null,
                  "container": "hello",
                  "image": "busybox:1",
                  "wanted": "running",
                  "ready": true,
                  "state": "running",
                  "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
                  "generation": 3,
                  "observed_generation": 3,
                  "restarts": 1,
                  "drift": [
                    "image",
                    "config"
                  ],
                  "waiting": null,
                  "next_step": null,
                  "last_error": null,
                  "quarantined": {
                    "spec_hash": "1:d4735e3a265e16eee03f59718b9b5d03",
                    "generation": 4,
                    "reason": "exited with 3",
                    "at": "2023-11-14T22:12:40Z"
                  },
                  "conditions": [
                    {
                      "type": "Ready",
                      "status": "True",
                      "reason": "Ready",
                      "message": "",
                      "lastTransitionTime": "2023-11-14T22:08:20Z"
                    },
                    {
                      "type": "RolledBack",
                      "status": "True",
                      "reason": "GateFailed",
                      "message": "generation 4 exited with 3 within 60s; generation 3 was put back",
                      "lastTransitionTime": "2023-11-14T22:12:40Z"
                    },
                    {
                      "type": "Stalled",
                      "status": "True",
                      "reason": "Quarantined",
                      "message": "not tried again until the spec changes or somebody says so",
                      "lastTransitionTime": "2023-11-14T22:12:40Z"
                    }
                  ]
                },
                {
                  "service": "memcached",
                  "role": null,
                  "container": "memcached",
                  "image": "busybox:1",
                  "wanted": "stopped",
                  "ready": false,
                  "state": "exited",
                  "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
                  "generation": 1,
                  "observed_generation": 1,
                  "restarts": 0,
                  "drift": [],
                  "waiting": null,
                  "next_step": null,
                  "last_error": null,
                  "quarantined": null,
                  "conditions": [
                    {
                      "type": "Ready",
                      "status": "False",
                      "reason": "Stopped",
                      "message": "",
                      "lastTransitionTime": "2023-11-13T21:13:20Z"
                    },
                    {
                      "type": "Paused",
                      "status": "True",
                      "reason": "Stop",
                      "message": "stopped by ann: moving the rack",
                      "lastTransitionTime": "2023-11-13T21:13:20Z"
                    }
                  ]
                },
                {
                  "service": "web",
                  "role": null,
                  "container": "web",
                  "image": "busybox:1",
                  "wanted": "running",
                  "ready": false,
                  "state": "restarting",
                  "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
                  "generation": 4,
                  "observed_generation": 4,
                  "restarts": 7,
                  "drift": [
                    "stopped"
                  ],
                  "waiting": "CrashLoopBackOff",
                  "next_step": "start",
                  "last_error": "exited with 137",
                  "quarantined": null,
                  "conditions": [
                    {
                      "type": "Ready",
                      "status": "False",
                      "reason": "NotRunning",
                      "message": "restarting, last exit code 137",
                      "lastTransitionTime": "2023-11-14T22:01:40Z"
                    },
                    {
                      "type": "CrashLooping",
                      "status": "True",
                      "reason": "Died",
                      "message": "died 7 times within 10m",
                      "lastTransitionTime": "2023-11-14T22:01:40Z"
                    }
                  ]
                },
                {
                  "service": "cache",
                  "role": null,
                  "container": "cache",
                  "image": "busybox:1",
                  "wanted": "running",
                  "ready": false,
                  "state": "missing",
                  "spec_hash": "",
                  "generation": 0,
                  "observed_generation": 0,
                  "restarts": 0,
                  "drift": [
                    "missing"
                  ],
                  "waiting": "ImagePullBackOff",
                  "next_step": null,
                  "last_error": null,
                  "quarantined": null,
                  "conditions": [
                    {
                      "type": "Ready",
                      "status": "False",
                      "reason": "ImagePullFailed",
                      "message": "no such image",
                      "lastTransitionTime": "2023-11-14T22:12:20Z"
                    }
                  ]
                }
              ],
              "jobs": [
                {
                  "job": "migrate",
                  "state": "failed",
                  "attempts": 1,
                  "exit_code": 3,
                  "since": "2023-11-14T22:11:50Z",
                  "next_run": "2023-11-14T22:13:50Z",
                  "message": "exited with 3"
                }
              ]
            },
            {
              "name": "there",
              "reachable": false,
              "engine": {
                "engine": "docker",
                "version": "20.10.24",
                "api_version": "1.41",
                "events_connected": false,
                "error": "connection refused"
              },
              "observed_at": "2023-11-14T22:13:18Z",
              "conditions": [],
              "instances": [
                {
                  "service": "hello",
                  "role": null,
                  "container": "hello",
                  "image": "busybox:1",
                  "wanted": "running",
                  "ready": false,
                  "state": "unknown",
                  "spec_hash": "1:6b86b273ff34fce19d6b804eff5a3f57",
                  "generation": 3,
                  "observed_generation": 3,
                  "restarts": 0,
                  "drift": [
                    "unknown"
                  ],
                  "waiting": null,
                  "next_step": null,
                  "last_error": null,
                  "quarantined": null,
                  "conditions": []
                }
              ],
              "jobs": []
            }
          ]
        }
        "#);
    }

    #[test]
    fn the_json_can_be_read_back() {
        for status in [samples::converged(), samples::troubled(), SiteStatus::new(SiteName::new("demo").unwrap())] {
            let text = serde_json::to_string(&status).unwrap();
            assert_eq!(serde_json::from_str::<SiteStatus>(&text).unwrap(), status);
        }
    }

    #[test]
    fn one_line_says_how_far_it_is() {
        let new = SiteStatus::new(SiteName::new("demo").unwrap());
        assert_eq!(new.line(), "observing, generation 0");
        assert_eq!(samples::converged().line(), "converged 2/2, generation 3");
        assert_eq!(
            samples::troubled().line(),
            "1/4 ready, generation 4, 1 unknown, 1 held stopped, 1 quarantined, bad site file, \
             removals wait for --allow-prune"
        );
    }

    #[test]
    fn unknown_is_not_ready() {
        let mut status = samples::converged();
        status.hosts[0].reachable = false;
        status.settle();
        assert!(!status.ready && !status.converged);
    }

    #[test]
    fn what_is_left_to_do_is_not_converged() {
        let mut status = samples::converged();
        status.hosts[0].instances[0].drift.insert(DriftKind::Config);
        status.settle();
        assert!(status.ready && !status.converged);
        let mut status = samples::converged();
        status.hosts[0].jobs[0].state = JobPhase::Failed;
        status.settle();
        assert!(status.ready && !status.converged);
    }

    #[test]
    fn a_held_instance_does_not_make_a_site_unready() {
        let mut status = samples::converged();
        let instance = &mut status.hosts[0].instances[0];
        (instance.wanted, instance.ready, instance.state) = (Wanted::Stopped, false, InstanceState::Exited);
        status.settle();
        assert!(status.ready && status.converged);
    }

    #[test]
    fn words_agree_with_the_json() {
        for kind in DriftKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for reason in WaitingReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for phase in JobPhase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
    }
}

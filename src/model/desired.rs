//! What one host should have: the result of parsing, resolving and rendering, and what is persisted when accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::change::{ChangeDesired, StepOf};
use super::facts::Waits;
use super::file::{FileSpec, Reload};
use super::fileset::{FilesetDesired, FilesetMount};
use super::image::{ImageRef, PullPolicy};
use super::job::{DoneWhen, JobRun, Schedule};
use super::names::{ContainerName, HostName, JobName, NetworkName, RoleName, ServiceName, SiteName, VolumeName};
use super::network::{Attachment, NetworkSpec, VolumeSpec};
use super::probe::Readiness;
use super::procedure::{Behaviour, ProcedureDesired};
use super::secret::Sensitive;
use super::settings::ContainerSettings;
use super::time::Span;

/// The desired state of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDesired {
    /// Site.
    pub site: SiteName,
    /// Host.
    pub host: HostName,
    /// Number of the accepted state; 0 before it is accepted.
    pub generation: u64,
    /// Hex SHA-256 of the source files (of those that hold no secret), for people: which checkout is this?
    pub source_digest: String,
    /// Services in the order of the site file.
    pub services: IndexMap<ServiceName, Arc<InstanceDesired>>,
    /// Jobs in the order of the site file.
    pub jobs: IndexMap<JobName, Arc<JobDesired>>,
    /// Engine networks.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// Named volumes.
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// Login by registry.
    pub registries: BTreeMap<String, RegistryLogin>,
    /// What may happen without a person.
    pub sync: SyncPolicy,
    /// On which hosts of the site the services and jobs of this host, and those that they depend on, are placed: in the
    /// order of the site. What is on this host alone is not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub placement: BTreeMap<String, Vec<HostName>>,
    /// Budgets of hosts that this host is part of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<HostBudget>,
    /// What roles say of services beyond their containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behaviours: BTreeMap<ServiceName, Behaviour>,
    /// Procedures of services of this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub procedures: Vec<Arc<ProcedureDesired>>,
    /// Changes that something on this host is a step of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Arc<ChangeDesired>>,
    /// Filesets that something on this host sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesets: Vec<Arc<FilesetDesired>>,
    /// What cannot be told before facts of some machine are known; what of it was in force before stays so.
    #[serde(default, skip_serializing_if = "Waits::is_empty")]
    pub waits: Waits,
    /// All secrets of the site, to be taken out of what containers and engines say.
    #[serde(default)]
    pub secrets: Vec<Sensitive>,
}

/// How many hosts of a group may be disrupted at once, whatever the services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBudget {
    /// Group.
    pub group: String,
    /// Its hosts.
    pub hosts: Vec<HostName>,
    /// At least 1.
    pub max_unavailable_hosts: u32,
}

/// The spec of one instance: changes and rolls back as one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceDesired {
    /// Service.
    pub service: ServiceName,
    /// Role that it came from.
    pub role: Option<RoleName>,
    /// What its container is called.
    pub container_name: ContainerName,
    /// Image as written.
    pub image: ImageRef,
    /// When the image is fetched.
    pub pull_policy: PullPolicy,
    /// Container settings.
    pub settings: ContainerSettings,
    /// Engine networks; empty with a `network_mode` of its own.
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// Rendered files.
    pub files: Vec<FileSpec>,
    /// Filesets that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesets: Vec<FilesetMount>,
    /// How live files are taken in.
    pub reload: Reload,
    /// Beyond running and healthy.
    pub ready: Option<Readiness>,
    /// How a change proceeds.
    pub rollout: Rollout,
    /// What is needed before its first start and its upgrade; never before a restart.
    pub depends_on: BTreeMap<String, Dependency>,
    /// Changes that it is a step of. Not in the hashes: they say what a new image means, not what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepOf>,
    /// What an unhealthy container means.
    pub unhealthy: Unhealthy,
    /// Fields whose drift is left alone.
    pub drift_ignore: BTreeSet<String>,
    /// Commands in the container after start and before stop.
    pub hooks: Hooks,
    /// Settings that hold a secret on purpose (`expose_secrets`), as `environment.DB_PASSWORD`: never shown.
    pub sensitive: BTreeSet<String>,
    /// `VERSION:HEX` over what needs a replace.
    pub create_hash: String,
    /// `VERSION:HEX` over all of it.
    pub input_hash: String,
}

/// Compose's `post_start` and `pre_stop`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// After each start of ours, in order; a failure fails the start.
    pub post_start: Vec<Hook>,
    /// Before each stop of ours, in order; a failure is reported and the stop goes on.
    pub pre_stop: Vec<Hook>,
}

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// As whom; empty is the container's user.
    pub user: String,
    /// Whether with all privileges.
    pub privileged: bool,
    /// Where.
    pub working_dir: String,
    /// With what.
    pub environment: BTreeMap<String, String>,
}

/// How a change of an instance proceeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// How many instances of the service may be down at once.
    pub max_unavailable: u32,
    /// How long ready before it counts.
    pub min_ready: Span,
    /// Within which it must have become ready; only observed time counts.
    pub deadline: Span,
    /// What a failed gate means.
    pub on_failure: OnFailure,
    /// Whether the first instance of a rollout has to be ready before a second one is touched.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub canary: bool,
    /// How long after the first instance became ready the others wait.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause_after: Span,
    /// How many instances must stay ready, whatever else the budget allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// Names of hosts, wave by wave: each is done before the next begins; those that no wave names come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Vec<String>>,
}

// Fields that say what they always said are left out of the text, so that the hashes of older versions stay.
fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(span: &Span) -> bool {
    *span == Span::ZERO
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_unavailable: 1,
            min_ready: Span::ZERO,
            deadline: Span::seconds(300),
            on_failure: OnFailure::Rollback,
            canary: true,
            pause_after: Span::ZERO,
            quorum: None,
            waves: Vec::new(),
        }
    }
}

/// What a failed gate means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The old instance comes back.
    #[default]
    Rollback,
    /// Everything stays as it is, and somebody is paged.
    Halt,
    /// On a site: also those that had been changed already.
    RollbackAll,
}

/// What a dependency waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Service or job.
    pub on: DependencyTarget,
    /// How much of it.
    pub need: Need,
    /// Whether a missing one is no obstacle.
    pub required: bool,
    /// Compose's `restart`: this instance is restarted after the other one was replaced.
    pub restart: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyTarget {
    /// A service that runs.
    Started,
    /// A service that is ready.
    Ready,
    /// A job that is done.
    Done,
    /// The step before, of a change of a role: a job that is done, or a service that is ready and as it is to be on each
    /// of its hosts. Only the word of a host that has accepted what this one has accepted counts.
    Step,
}

/// How many of the instances that are depended on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// One of them.
    #[default]
    Any,
    /// More than half.
    Quorum,
    /// Each.
    All,
    /// The one on this host.
    SameHost,
}

/// What an unhealthy container means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unhealthy {
    /// A condition. The default: a dead database must not restart forty APIs.
    #[default]
    Report,
    /// A restart after so long.
    RestartAfter(Span),
}

/// A container that runs to completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDesired {
    /// Job.
    pub job: JobName,
    /// Role that it came from.
    pub role: Option<RoleName>,
    /// What its container is called.
    pub container_name: ContainerName,
    /// Image as written.
    pub image: ImageRef,
    /// When the image is fetched.
    pub pull_policy: PullPolicy,
    /// Container settings; `restart` is always `no`.
    pub settings: ContainerSettings,
    /// Engine networks.
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// Rendered files.
    pub files: Vec<FileSpec>,
    /// Filesets that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesets: Vec<FilesetMount>,
    /// Where and how often.
    pub run: JobRun,
    /// What it waits for.
    pub depends_on: BTreeMap<String, Dependency>,
    /// The change that it is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepOf>,
    /// The honest answer when there is no record.
    pub done_when: Option<DoneWhen>,
    /// How long it may take.
    pub timeout: Span,
    /// By the clock instead of by its inputs.
    pub schedule: Option<Schedule>,
    /// `VERSION:HEX` over what makes it run again.
    pub input_hash: String,
}

/// Name and password for a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    /// User.
    pub username: String,
    /// Password.
    pub password: Sensitive,
}

/// What may happen without a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPolicy {
    /// Whether an edit waits for `mastic approve`.
    pub edits: SyncMode,
    /// Whether drift and dead containers are only reported.
    pub heal: HealMode,
    /// Removals beyond this many wait for `--allow-prune`, if they are also more than the share below.
    pub max_removals: usize,
    /// Per cent of the instances.
    pub max_removal_percent: u8,
    /// Whether the removal of a service with named volumes waits too.
    pub protect_volumes: bool,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self {
            edits: SyncMode::Auto,
            heal: HealMode::Auto,
            max_removals: 3,
            max_removal_percent: 50,
            protect_volumes: true,
        }
    }
}

/// Whether an edit waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// It is rolled out at once.
    #[default]
    Auto,
    /// It waits for `mastic approve PLAN-ID`.
    Approve,
}

/// Whether the loop heals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealMode {
    /// At once.
    #[default]
    Auto,
    /// Never; it reports.
    Report,
}

//! The snapshot of one host. It is stale by nature: a step checks again what it relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::file::ObservedFile;
use crate::model::image::{Accounts, ImageDefaults};
use crate::model::labels::{self, Labels};
use crate::model::names::ServiceName;
use crate::model::network::{Attachment, NetworkSpec};
use crate::model::probe::ProbeAnswer;
use crate::model::settings::{ContainerSettings, Healthcheck};

/// Everything that is known of a host.
#[derive(Clone, Debug, Default)]
pub struct HostObserved {
    /// Whether the engine could be asked. Unknown never leads to a step that destroys.
    pub engine: EngineState,
    /// All containers, ours or not, by name without the leading slash.
    pub containers: BTreeMap<String, Arc<ObservedContainer>>,
    /// Image ids by reference, as `busybox:1` and as `busybox@sha256:...`, in familiar form; none where the engine has no
    /// such image. What is not in here was not asked for.
    pub image_ids: BTreeMap<String, Option<String>>,
    /// Images of which more is known, by id.
    pub images: BTreeMap<String, Arc<ObservedImage>>,
    /// By name.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Names of volumes. Only looked at where a site declares volumes.
    pub volumes: Vec<String>,
    /// Declared volumes that were there once and are not any more: what they held is not made up for by empty ones.
    pub lost_volumes: BTreeSet<String>,
    /// Files by directory `INSTANCE/CREATE-HASH`, and in it by path such as `fixed/0`.
    pub files: BTreeMap<String, BTreeMap<String, ObservedFile>>,
    /// Directories whose files could not be read, with the reason.
    pub unreadable_files: BTreeMap<String, String>,
    /// The newest answers of the `ready` probes.
    pub probes: BTreeMap<ServiceName, ProbeAnswer>,
}

/// Whether the engine could be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EngineState {
    /// Not yet, or not any more: why.
    Unknown(String),
    /// It answered.
    Known(EngineVersion),
    /// It answered, and is not worked with.
    Refused {
        /// As the reason of a condition.
        reason: &'static str,
        /// For people.
        why: String,
    },
    /// Nothing was asked yet.
    #[default]
    NotAsked,
}

/// Which engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVersion {
    /// `docker` or `podman`.
    pub engine: String,
    /// As `20.10.24`.
    pub version: String,
    /// As (1, 41).
    pub api: (u32, u32),
    /// The daemon's own id; empty where telling it would cost another call.
    pub id: String,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Hex.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// All of them.
    pub labels: Labels,
    /// Id of the image.
    pub image_id: String,
    /// The reference that it was created with.
    pub image: String,
    /// State.
    pub state: ContainerState,
    /// Only of our containers, once inspected.
    pub detail: Option<ContainerDetail>,
    /// Ports of the host that it holds while it runs: (address, port, protocol).
    pub host_ports: Vec<(String, u16, String)>,
}

/// What inspecting adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDetail {
    /// In normal form, with the image's own part still in it.
    pub settings: ContainerSettings,
    /// By name.
    pub networks: BTreeMap<String, Attachment>,
    /// Address by network, for probes.
    pub addresses: BTreeMap<String, String>,
    /// Anonymous volumes: name of the volume by target path.
    pub anonymous_volumes: BTreeMap<String, String>,
    /// The create-hash whose directory its managed mounts point at; none without any.
    pub managed_hash: Option<String>,
}

/// State of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Status.
    pub status: Status,
    /// Health, where it has a check.
    pub health: Health,
    /// Of the last run.
    pub exit_code: i64,
    /// Whether the kernel killed it for memory.
    pub oom_killed: bool,
    /// Why the engine could not start it; empty if it could.
    pub error: String,
    /// Restarts by the engine.
    pub restart_count: i64,
    /// RFC 3339, as the engine says.
    pub started_at: String,
    /// RFC 3339, as the engine says.
    pub finished_at: String,
}

/// Status of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the engine's own words")]
pub enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// Health of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It has no check.
    #[default]
    None,
    /// Not yet decided.
    Starting,
    /// It answers.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// One image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedImage {
    /// `sha256:...`.
    pub id: String,
    /// What it sets.
    pub defaults: ImageDefaults,
    /// From its /etc/passwd and /etc/group; none until looked up.
    pub accounts: Option<Accounts>,
}

/// One network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// Hex.
    pub id: String,
    /// Name.
    pub name: String,
    /// In normal form; `ipam` holds what the engine chose where nobody set it.
    pub spec: NetworkSpec,
    /// All of them.
    pub labels: Labels,
}

/// One entry of a list of containers: enough to see who is there, not enough to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSummary {
    /// Hex.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// All of them.
    pub labels: Labels,
    /// Id of the image.
    pub image_id: String,
    /// The reference that it was created with.
    pub image: String,
    /// Status.
    pub status: Status,
    /// Health as the list tells it in words; none where it says nothing of it.
    pub health: Health,
    /// Ports of the host that it holds: (address, port, protocol).
    pub host_ports: Vec<(String, u16, String)>,
}

/// One entry of a list of images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSummary {
    /// `sha256:...`.
    pub id: String,
    /// Familiar references: tags and digests.
    pub references: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub created: i64,
}

/// A word from the engine: a hint that something changed, never the truth itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineEvent {
    /// `container`, `network`, `volume`, `image`.
    pub kind: String,
    /// `die`, `start`, `health_status`, ...; what follows a colon is cut off.
    pub action: String,
    /// Id of what it is about.
    pub id: String,
    /// Name, where the event has one. For networks: of the network.
    pub name: String,
    /// The container of a network's connect and disconnect.
    pub container: Option<String>,
    /// What `health_status` tells; `None` in all others.
    pub health: Health,
}

impl HostObserved {
    /// The id of the image that a reference in familiar form is known to mean.
    pub fn image_id(&self, reference: &str) -> Option<&str> {
        self.image_ids.get(reference)?.as_deref()
    }
}

/// The health check that an image or a container effectively has.
pub fn has_check(check: Option<&Healthcheck>) -> bool {
    check.is_some_and(|check| check.test.first().is_some_and(|word| word != "NONE"))
}

impl ObservedContainer {
    /// A label of ours.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Whether it carries the labels of this site and host.
    pub fn is_labelled(&self, site: &str, host: &str) -> bool {
        self.label(labels::SITE) == Some(site) && self.label(labels::HOST) == Some(host)
    }

    /// Whether its process runs (or is frozen).
    pub fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running | Status::Paused)
    }
}

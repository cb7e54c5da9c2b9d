//! The normal form of a container's settings: what a site asks for and what an engine reports, in the same words.
//!
//! Every field is named after its Compose key. `None` means *not set* in a desired state; an observed container
//! has every field that the engine reports. Sizes are bytes, CPU shares of a core are 1e-9 units, times nanoseconds
//! where the engine's API has them so, else seconds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a container is created with, apart from its name, image and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the Compose Specification's key of the same name")]
pub struct ContainerSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Only what the spec adds to the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
    /// Only what the spec adds to the image's own; ours (`mastic.*`) are kept apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// From engines of API 1.44 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_open: Option<bool>,
    /// As `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Upper case without `CAP_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_add: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_drop: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_opt: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns_mode: Option<String>,
    /// The cgroup namespace: `host` or `private`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_add: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kill_disable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// `host:container:permissions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_cgroup_rules: Option<BTreeSet<String>>,
    /// Requests for GPUs and the like, as the engine's API has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<DeviceRequest>>,
    /// 1e-9 of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_reservation: Option<i64>,
    /// Memory and swap together; -1 is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memswap_limit: Option<i64>,
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_swappiness: Option<i64>,
    /// -1 is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_config: Option<BlockIo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ulimits: Option<BTreeMap<String, Ulimit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// `bridge`, `host`, `none`, `container:ID`, or the first of the spec's networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_search: Option<Vec<String>>,
    /// `name:address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_hosts: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<BTreeSet<Port>>,
    /// `8080/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose: Option<BTreeSet<String>>,
    /// By target path. Compose's `volumes`, `tmpfs`, `configs` and `secrets`, and our `files`, all end here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Mount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes_from: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// Compose's `healthcheck`; times in nanoseconds as the engine has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["CMD", ...]`, `["CMD-SHELL", "..."]` or `["NONE"]`; empty inherits the image's.
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// Of one check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// At the start, when failures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Between two checks within the start period; engines of API 1.44 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
}

/// A request for devices that a driver of the engine serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// Driver, empty for the engine's choice.
    pub driver: String,
    /// How many; -1 is all.
    pub count: i64,
    /// Instead of a count.
    pub device_ids: Vec<String>,
    /// One inner list must be satisfied as a whole.
    pub capabilities: Vec<Vec<String>>,
    /// For the driver.
    pub options: BTreeMap<String, String>,
}

/// Compose's `blkio_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// 10 to 1000, 0 for the default.
    pub weight: i64,
    /// Weight by device.
    pub weight_device: BTreeMap<String, i64>,
    /// Bytes a second by device.
    pub device_read_bps: BTreeMap<String, i64>,
    /// Operations a second by device.
    pub device_read_iops: BTreeMap<String, i64>,
    /// Bytes a second by device.
    pub device_write_bps: BTreeMap<String, i64>,
    /// Operations a second by device.
    pub device_write_iops: BTreeMap<String, i64>,
}

/// A resource limit of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What applies.
    pub soft: i64,
    /// Up to which a process may raise it.
    pub hard: i64,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Inside the container.
    pub target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// On the host; none lets the engine choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// Address on the host; empty for all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// Something mounted into the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Mount {
    /// A directory or file of the host.
    Bind {
        /// Path on the host.
        source: String,
        /// Whether the container may only read it.
        read_only: bool,
        /// `rprivate` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        propagation: Option<String>,
        /// Made on the host where it is missing (Compose's short syntax does so).
        #[serde(default)]
        create_host_path: bool,
    },
    /// A named volume.
    Volume {
        /// The engine's name of it; an anonymous one has none in a desired state.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// Whether the container may only read it.
        read_only: bool,
        /// Whether a new volume is *not* filled from the image's directory.
        #[serde(default)]
        nocopy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<i64>,
        /// Permissions, as 0o1777.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// Other options of mount(8), sorted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
    /// Files that Mastic writes: the path below the directory of the instance's spec, such as `fixed/0` or `live/1`.
    Managed {
        /// Below `files/INSTANCE/CREATE-HASH/`.
        path: String,
    },
}

/// When the engine itself starts a container again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Never.
    No,
    /// Whenever it ends, and with the engine even after `docker stop`.
    Always,
    /// Whenever it ends, unless somebody stopped it.
    UnlessStopped,
    /// When it fails, at most so often (0: without end).
    OnFailure(i64),
}

impl RestartPolicy {
    /// Whether the engine keeps the container alive without us.
    pub fn keeps_alive(&self) -> bool {
        matches!(self, Self::Always | Self::UnlessStopped)
    }
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// `json-file`, `journald`, ...; empty is the engine's default.
    pub driver: String,
    /// For the driver.
    pub options: BTreeMap<String, String>,
}

/// Fields that the engine changes in a live container; everything else needs a new one.
///
/// Docker's update call takes these. Lowering them to "no limit" it cannot: that needs a new container too.
pub const UPDATABLE: [&str; 12] = [
    "cpus",
    "cpu_shares",
    "cpu_quota",
    "cpu_period",
    "cpu_rt_runtime",
    "cpu_rt_period",
    "cpuset",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "pids_limit",
    "restart",
];

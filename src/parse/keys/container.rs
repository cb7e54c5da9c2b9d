//! The keys of a container, which are the Compose Specification's: each honoured, or refused with a reason.

use crate::parse::leaves::{
    ABSOLUTE_PATH, ADDRESS, ASSIGNMENT, BLKIO_WEIGHT, BOOLEAN, BYTES, BYTES_OR_UNLIMITED, CAPABILITY, COMMAND_LINE,
    COUNT, CPU_PERIOD, CPU_QUOTA, CPU_SHARES, CPUS, DEVICE, DEVICE_COUNT, DURATION, EXPOSE, EXTRA_HOST, IMAGE, IPC,
    LIMIT, MAC_ADDRESS, MEMORY, MODE, NAME, NETWORK_MODE, NUMBER_TEXT, OOM_SCORE, OWNER, PERCENT, PID, PORT_MAPPING,
    PUBLISHED, PULL_POLICY, RESTART, SIGNAL, TEXT, TMPFS, VOLUME,
};
use crate::parse::shape::Shape::{Either, List, Map, Object, OneOf};
use crate::parse::shape::{Key, Shape, Table, key, refused, required};

/// A list of texts.
pub const TEXTS: Shape = List(&TEXT);
/// A command as a line or as its words.
pub const COMMAND: Shape = Either(&[COMMAND_LINE, TEXTS]);
/// `[NAME=VALUE]` or `{NAME: VALUE}`.
pub const PAIRS: Shape = Either(&[Map(&TEXT), List(&ASSIGNMENT)]);
/// One text or several.
const ONE_OR_MORE: Shape = Either(&[TEXT, TEXTS]);

/// What names the container and its image.
pub const IDENTITY: &[Key] = &[
    key("image", IMAGE, "The image, taken literally."),
    key("container_name", NAME, "What the engine calls the container; by default the name of the service."),
];

/// What both services and jobs have.
pub const CONTAINER: &[Key] = &[
    key(
        "pull_policy",
        PULL_POLICY,
        "When the image is fetched: `always` on each rollout, `missing` (the default) or `never`.",
    ),
    key("platform", TEXT, "Platform of the image, as `linux/amd64`."),
    key("entrypoint", COMMAND, "Replaces the image's entry point."),
    key("command", COMMAND, "Replaces the image's command."),
    key("environment", PAIRS, "Environment on top of the image's own."),
    key(
        "env_file",
        Either(&[TEXT, List(&Either(&[TEXT, Object(&ENV_FILE)]))]),
        "Files with lines `NAME=VALUE`, below `environment`.",
    ),
    key("labels", PAIRS, "Labels of the container; those below `mastic.` are ours."),
    key("label_file", ONE_OR_MORE, "Files with lines `NAME=VALUE`, below `labels`."),
    key("annotations", PAIRS, "Annotations for the runtime; engines of API 1.44 on."),
    key("user", TEXT, "User, and group after a colon, of the process."),
    key("group_add", TEXTS, "Further groups of the process."),
    key("working_dir", ABSOLUTE_PATH, "Working directory of the process."),
    key("hostname", TEXT, "Host name of the container."),
    key("domainname", TEXT, "Domain name of the container."),
    key("init", BOOLEAN, "Whether a small init reaps processes."),
    key("tty", BOOLEAN, "Whether the process has a terminal."),
    key("stdin_open", BOOLEAN, "Whether standard input stays open."),
    key("stop_signal", SIGNAL, "What asks the process to end."),
    key("stop_grace_period", DURATION, "How long after the signal it is killed."),
    key("healthcheck", Object(&HEALTHCHECK), "How the engine checks the container's health."),
    key("privileged", BOOLEAN, "Whether it has all privileges on the host."),
    key("cap_add", List(&CAPABILITY), "Capabilities on top of the engine's."),
    key("cap_drop", List(&CAPABILITY), "Capabilities taken away."),
    key("security_opt", TEXTS, "Options as `no-new-privileges:true`."),
    key("pid", PID, "Process namespace: `host`, or that of another container."),
    key("ipc", IPC, "Namespace of shared memory, or that of another container."),
    key("uts", PID, "Namespace of the host name: `host`."),
    key("userns_mode", PID, "User namespace: `host`."),
    key("cgroup", OneOf(&["host", "private"]), "Control group namespace."),
    key("cgroup_parent", TEXT, "Control group below which the container's is made."),
    key("read_only", BOOLEAN, "Whether the root file system is read only."),
    key("runtime", TEXT, "OCI runtime, as `runc`."),
    key("oom_kill_disable", BOOLEAN, "Whether the kernel spares it when memory ends."),
    key("oom_score_adj", OOM_SCORE, "How early the kernel kills it when memory ends."),
    key("devices", List(&Either(&[DEVICE, Object(&DEVICE_TABLE)])), "Devices of the host."),
    key("device_cgroup_rules", TEXTS, "Rules as `c 10:200 rwm`."),
    key("gpus", Either(&[OneOf(&["all"]), List(&Object(&GPU))]), "Devices that a driver of the engine serves."),
    key("cpus", CPUS, "How many cores it may use."),
    key("cpu_shares", CPU_SHARES, "Share of cores when they are scarce; 1024 is usual."),
    key("cpu_quota", CPU_QUOTA, "Microseconds of a core in each period."),
    key("cpu_period", CPU_PERIOD, "Length of the period in microseconds."),
    key("cpu_rt_runtime", COUNT, "Microseconds of real time in each period."),
    key("cpu_rt_period", COUNT, "Length of the real-time period in microseconds."),
    key("cpuset", TEXT, "Cores that it may use, as `0-3,5`."),
    key("mem_limit", MEMORY, "Memory that it may use."),
    key("mem_reservation", MEMORY, "Memory that it keeps when memory is scarce."),
    key("memswap_limit", BYTES_OR_UNLIMITED, "Memory and swap together; -1 is without limit."),
    key("mem_swappiness", PERCENT, "How readily its memory is swapped out."),
    key("pids_limit", LIMIT, "How many processes it may have; -1 is without limit."),
    key("blkio_config", Object(&BLKIO), "Share and limits of block devices."),
    key("ulimits", Map(&Either(&[LIMIT, Object(&ULIMIT)])), "Resource limits of its processes."),
    key("shm_size", BYTES, "Size of /dev/shm."),
    key("sysctls", PAIRS, "Kernel parameters of its namespaces."),
    key("storage_opt", Map(&TEXT), "Options of the storage driver, as `size`."),
    key(
        "network_mode",
        NETWORK_MODE,
        "Instead of networks: `host`, `none`, `bridge`, or those of another container (`service:NAME`).",
    ),
    key("networks", Either(&[List(&NAME), Map(&Object(&ATTACHMENT))]), "Networks of the site that it joins."),
    key("mac_address", MAC_ADDRESS, "Hardware address of its first interface."),
    key("dns", Either(&[ADDRESS, List(&ADDRESS)]), "Name servers."),
    key("dns_opt", TEXTS, "Options of the resolver."),
    key("dns_search", ONE_OR_MORE, "Domains in which short names are looked up."),
    key("extra_hosts", Either(&[Map(&ONE_OR_MORE), List(&EXTRA_HOST)]), "Entries of /etc/hosts."),
    key("ports", List(&Either(&[PORT_MAPPING, Object(&PORT_TABLE)])), "Ports that are published on the host."),
    key("expose", List(&EXPOSE), "Ports that the image listens on, for people."),
    key("volumes", List(&Either(&[VOLUME, Object(&VOLUME_TABLE)])), "Volumes and paths of the host."),
    key("tmpfs", Either(&[TMPFS, List(&TMPFS)]), "Paths that lie in memory."),
    key("volumes_from", TEXTS, "Services whose mounts it gets as well."),
    key("configs", List(&Either(&[NAME, Object(&GRANT)])), "Configs of the site that it sees as files."),
    key("secrets", List(&Either(&[NAME, Object(&GRANT)])), "Secrets of the site that it sees as files of mode 0400."),
    key("logging", Object(&LOGGING), "Where its output goes; json-file with rotation by default."),
];

/// What services have and jobs do not.
pub const LIFECYCLE: &[Key] = &[
    key("restart", RESTART, "When the engine starts it again by itself; `unless-stopped` by default."),
    key("post_start", List(&Object(&HOOK)), "Commands in the container after each start of ours."),
    key("pre_stop", List(&Object(&HOOK)), "Commands in the container before each stop of ours."),
];

/// The same keys in a job.
pub const NO_LIFECYCLE: &[Key] = &[
    refused("restart", "a job runs to its end, and is run again by Mastic with backoff when it fails"),
    refused("post_start", "a job has a command and an end; put both into one script, or make it a job of its own"),
    refused("pre_stop", "a job is not stopped but runs to its end, or into its `timeout`"),
];

/// Keys of Compose that mean nothing here, or would do harm.
pub const REFUSED: &[Key] = &[
    refused("attach", "it is about the terminal of `compose up`; read the output with `mastic logs`"),
    refused("build", "a host runs images and builds none; build it beforehand and name it as `image`"),
    refused("cpu_count", "it is for Windows; use `cpus`"),
    refused("cpu_percent", "it is for Windows; use `cpus`"),
    refused("credential_spec", "it is for Windows"),
    refused(
        "deploy",
        "use `mem_limit`, `cpus` and `pids_limit` for limits, `hosts` for placement, `rollout` for updates and `restart`",
    ),
    refused("develop", "it is for developing with `compose watch`"),
    refused("extends", "use YAML anchors with `<<`, an overlay (`-f base.yaml -f more.yaml`), or `defaults.container`"),
    refused("external_links", "links are obsolete; give both containers a network in common, where names resolve"),
    refused("isolation", "it is for Windows"),
    refused("links", "links are obsolete; give both containers a network in common, where names resolve"),
    refused("models", "models are not managed here; run the model server as a service"),
    refused("profiles", "a site says what runs; leave the service out, or put it into an overlay of its own"),
    refused("provider", "only containers are managed here"),
    refused(
        "pull_refresh_after",
        "an image must not change because time passes; use `pull_policy: always`, which looks on each rollout",
    ),
    refused("scale", "one instance of a service runs on each of its `hosts`; give further ones names of their own"),
    refused(
        "use_api_socket",
        "it would hand the whole engine to the container; mount /var/run/docker.sock under `volumes` if that is meant",
    ),
];

const ENV_FILE: Table = Table {
    what: "an env_file entry",
    keys: &[&[
        required("path", TEXT, "Path of the file, relative to the site."),
        key("required", BOOLEAN, "Whether a missing file is an error; true by default."),
        key("format", OneOf(&["raw"]), "`raw` takes the values as they are, quotes included."),
    ]],
};

const HEALTHCHECK: Table = Table {
    what: "a healthcheck",
    keys: &[&[
        key("test", Either(&[TEXT, TEXTS]), "A shell command, or `[CMD, ...]`, `[CMD-SHELL, ...]`, `[NONE]`."),
        key("interval", DURATION, "Between two checks; 30s by default."),
        key("timeout", DURATION, "Of one check; 30s by default."),
        key("retries", POSITIVE_COUNT, "Failures in a row that make it unhealthy; 3 by default."),
        key("start_period", DURATION, "At the start, when failures do not count."),
        key("start_interval", DURATION, "Between two checks in the start period; engines of API 1.44 on."),
        key("disable", BOOLEAN, "Whether the image's own check is switched off."),
    ]],
};

const POSITIVE_COUNT: Shape = crate::parse::leaves::POSITIVE;

const DEVICE_TABLE: Table = Table {
    what: "a device",
    keys: &[&[
        required("source", ABSOLUTE_PATH, "Path on the host."),
        key("target", ABSOLUTE_PATH, "Path in the container; the same by default."),
        key("permissions", TEXT, "Some of `r`, `w`, `m`; all by default."),
    ]],
};

const GPU: Table = Table {
    what: "a request for devices",
    keys: &[&[
        key("capabilities", TEXTS, "What the devices must be able to do; `gpu` by default."),
        key("count", DEVICE_COUNT, "How many; all by default."),
        key("device_ids", TEXTS, "Which, instead of a count."),
        key("driver", TEXT, "Driver, as `nvidia`."),
        key("options", PAIRS, "For the driver."),
    ]],
};

const BLKIO: Table = Table {
    what: "blkio_config",
    keys: &[&[
        key("weight", BLKIO_WEIGHT, "Share of all devices."),
        key("weight_device", List(&Object(&BLKIO_WEIGHT_DEVICE)), "Share by device."),
        key("device_read_bps", List(&Object(&BLKIO_LIMIT)), "Bytes read in a second."),
        key("device_read_iops", List(&Object(&BLKIO_LIMIT)), "Reads in a second."),
        key("device_write_bps", List(&Object(&BLKIO_LIMIT)), "Bytes written in a second."),
        key("device_write_iops", List(&Object(&BLKIO_LIMIT)), "Writes in a second."),
    ]],
};

const BLKIO_WEIGHT_DEVICE: Table = Table {
    what: "a weight of a device",
    keys: &[&[required("path", ABSOLUTE_PATH, "The device."), required("weight", BLKIO_WEIGHT, "From 10 to 1000.")]],
};

const BLKIO_LIMIT: Table = Table {
    what: "a limit of a device",
    keys: &[&[
        required("path", ABSOLUTE_PATH, "The device."),
        required("rate", BYTES, "Bytes or operations in a second."),
    ]],
};

const ULIMIT: Table = Table {
    what: "a ulimit",
    keys: &[&[
        required("soft", LIMIT, "What applies."),
        required("hard", LIMIT, "Up to which a process may raise it."),
    ]],
};

const ATTACHMENT: Table = Table {
    what: "an attachment to a network",
    keys: &[&[
        key("aliases", List(&TEXT), "Further names under which others in the network find it."),
        key("ipv4_address", ADDRESS, "Fixed address."),
        key("ipv6_address", ADDRESS, "Fixed address."),
        key("link_local_ips", List(&ADDRESS), "Further addresses."),
        key("mac_address", MAC_ADDRESS, "Hardware address; engines of API 1.44 on."),
        key("driver_opts", Map(&TEXT), "For the driver."),
        key("priority", NUMBER_TEXT, "The network of the highest priority is joined first."),
        refused(
            "gw_priority",
            "it needs engines of API 1.48; give the network with the way out the highest `priority`",
        ),
        refused("interface_name", "it needs engines of API 1.49"),
    ]],
};

const PORT_TABLE: Table = Table {
    what: "a port",
    keys: &[&[
        required("target", PUBLISHED, "Port inside the container."),
        key("published", PUBLISHED, "Port on the host; chosen by the engine if left out."),
        key("host_ip", ADDRESS, "Address on the host; all if left out."),
        key("protocol", OneOf(&["tcp", "udp", "sctp"]), "`tcp` by default."),
        key("name", TEXT, "For people."),
        key("app_protocol", TEXT, "For people."),
        key("mode", OneOf(&["host", "ingress"]), "Both publish on this host."),
    ]],
};

const VOLUME_TABLE: Table = Table {
    what: "a mount",
    keys: &[&[
        required(
            "type",
            OneOf(&["bind", "volume", "tmpfs"]),
            "`bind` for a path of the host, `volume`, or `tmpfs` for memory.",
        ),
        key("source", TEXT, "Path on the host, or name of the volume."),
        required("target", ABSOLUTE_PATH, "Path in the container."),
        key("read_only", BOOLEAN, "Whether the container may only read it."),
        key("bind", Object(&BIND), "Options of a path of the host."),
        key("volume", Object(&VOLUME_OPTIONS), "Options of a volume."),
        key("tmpfs", Object(&TMPFS_OPTIONS), "Options of memory."),
        refused("consistency", "it means something on Docker Desktop only"),
        refused("image", "images cannot be mounted by the engines that Mastic works with"),
    ]],
};

const BIND: Table = Table {
    what: "the options of a bind mount",
    keys: &[&[
        key(
            "propagation",
            OneOf(&["private", "shared", "slave", "rprivate", "rshared", "rslave"]),
            "How mounts inside it are passed on; `rprivate` by default.",
        ),
        key("create_host_path", BOOLEAN, "Whether a missing directory is made; false by default."),
        refused("recursive", "it needs engines of API 1.44"),
        refused("selinux", "label the directory with chcon, or set `security_opt: [label=disable]`"),
    ]],
};

const VOLUME_OPTIONS: Table = Table {
    what: "the options of a volume mount",
    keys: &[&[
        key("nocopy", BOOLEAN, "Whether a new volume is left empty instead of filled from the image."),
        refused("labels", "give them to the volume under `spec.volumes`"),
        refused("subpath", "it needs engines of API 1.45"),
    ]],
};

const TMPFS_OPTIONS: Table = Table {
    what: "the options of a tmpfs mount",
    keys: &[&[key("size", BYTES, "Size."), key("mode", MODE, "Permissions.")]],
};

const GRANT: Table = Table {
    what: "a grant",
    keys: &[&[
        required("source", NAME, "Its name under `spec.configs` or `spec.secrets`."),
        key("target", TEXT, "Path in the container; by default /NAME for a config, /run/secrets/NAME for a secret."),
        key("uid", OWNER, "User that owns it; root by default."),
        key("gid", OWNER, "Group that owns it; root by default."),
        key("mode", MODE, "Permissions; \"0444\" for a config and \"0400\" for a secret by default."),
    ]],
};

const LOGGING: Table = Table {
    what: "logging",
    keys: &[&[key("driver", TEXT, "As `json-file` or `journald`."), key("options", Map(&TEXT), "For the driver.")]],
};

const HOOK: Table = Table {
    what: "a hook",
    keys: &[&[
        required("command", COMMAND, "What runs in the container."),
        key("user", TEXT, "As whom; the container's user by default."),
        key("privileged", BOOLEAN, "Whether with all privileges."),
        key("working_dir", ABSOLUTE_PATH, "Where."),
        key("environment", PAIRS, "With what."),
    ]],
};

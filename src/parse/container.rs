//! The part of a service or job that is a container, typed.
//!
//! In: the mapping of a service whose expressions have been evaluated. Out: settings in normal form, and what has to be
//! resolved against the rest of the site: mounts, networks, files, grants.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::{ImageRef, PullPolicy};
use crate::model::names::ContainerName;
use crate::model::network::Attachment;
use crate::model::settings::{BlockIo, ContainerSettings, DeviceRequest, Healthcheck, Logging, Port, Ulimit};

use super::diagnostic::Diagnostic;
use super::leaves;
use super::mounts;
use super::node::{Node, Scalar};
use super::ports;
use super::read::{At, Reader};
use super::scalars;
use super::source::Place;

pub use super::volume_mount::{MountEntry, read_mounts};

/// A container as a site describes it.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Image.
    pub image: Option<At<ImageRef>>,
    /// Name in the engine.
    pub container_name: Option<At<ContainerName>>,
    /// When the image is fetched.
    pub pull_policy: PullPolicy,
    /// Settings in normal form, without mounts, ports of several lists, and what files add.
    pub settings: ContainerSettings,
    /// Networks by their key in the site; none if `networks` is not set.
    pub networks: Option<Vec<NetworkUse>>,
    /// Mounts of `volumes` and `tmpfs`.
    pub mounts: Vec<MountEntry>,
    /// Files of variables.
    pub env_files: Vec<EnvFile>,
    /// Files of labels.
    pub label_files: Vec<At<String>>,
    /// Configs.
    pub configs: Vec<Grant>,
    /// Secrets.
    pub secrets: Vec<Grant>,
    /// `SERVICE[:ro]`.
    pub volumes_from: Vec<At<String>>,
    /// Published ports with their places.
    pub ports: Vec<At<Port>>,
}

/// A network that a container joins.
#[derive(Clone, Debug)]
pub struct NetworkUse {
    /// Key in the site.
    pub network: At<String>,
    /// How.
    pub attachment: Attachment,
    /// The highest comes first.
    pub priority: i64,
}

/// A file of variables.
#[derive(Clone, Debug)]
pub struct EnvFile {
    /// Path in the site.
    pub path: At<String>,
    /// Whether it must exist.
    pub required: bool,
    /// Whether values are taken as they are.
    pub raw: bool,
}

/// A config or secret that a container sees.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its key in the site.
    pub source: At<String>,
    /// Path or file name in the container.
    pub target: Option<At<String>>,
    /// User.
    pub owner: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Permissions.
    pub mode: Option<u32>,
}

/// Reads the container part.
pub fn read_container(node: &Node, reader: &mut Reader) -> ContainerSpec {
    let ports = read_ports(node, reader);
    let mut settings = read_settings(node, reader);
    if node.get("ports").is_some() {
        settings.ports = Some(ports.iter().map(|port| port.value.clone()).collect());
    }
    ContainerSpec {
        image: reader.at(node, "image", |s| ImageRef::new(s.text.as_str()).map_err(|why| why.to_string())),
        container_name: reader.at(node, "container_name", |s| {
            ContainerName::new(s.text.as_str()).map_err(|why| format!("`{}`: {why}", s.text))
        }),
        pull_policy: match node.get("pull_policy").and_then(Node::as_text) {
            Some("always") => PullPolicy::Always,
            Some("never") => PullPolicy::Never,
            _ => PullPolicy::Missing,
        },
        settings,
        networks: read_networks(node, reader),
        mounts: read_mounts(node, reader),
        env_files: read_env_files(node, reader),
        label_files: reader.texts_at(node, "label_file"),
        configs: read_grants(node, "configs", reader),
        secrets: read_grants(node, "secrets", reader),
        volumes_from: reader.texts_at(node, "volumes_from"),
        ports,
    }
}

fn read_settings(node: &Node, r: &mut Reader) -> ContainerSettings {
    let as_text = |scalar: &Scalar| Ok(scalar.text.clone());
    let microseconds = |r: &mut Reader, key: &str| r.integer(node, key);
    ContainerSettings {
        entrypoint: r.command(node, "entrypoint"),
        command: r.command(node, "command"),
        environment: r.pairs(node, "environment"),
        labels: read_labels(node, r),
        annotations: r.pairs(node, "annotations"),
        user: r.text(node, "user"),
        working_dir: r.text(node, "working_dir"),
        hostname: r.text(node, "hostname"),
        domainname: r.text(node, "domainname"),
        init: r.boolean(node, "init"),
        tty: r.boolean(node, "tty"),
        stdin_open: r.boolean(node, "stdin_open"),
        stop_signal: r.scalar(node, "stop_signal", scalars::signal),
        // The engine counts in seconds; a process must not be killed before its time.
        stop_grace_period: r
            .scalar(node, "stop_grace_period", scalars::duration)
            .and_then(|span| i64::try_from(span.0.div_ceil(1000)).ok()),
        healthcheck: node.get("healthcheck").and_then(|check| read_healthcheck(check, r)),
        privileged: r.boolean(node, "privileged"),
        cap_add: r.set(node, "cap_add", scalars::capability),
        cap_drop: r.set(node, "cap_drop", scalars::capability),
        security_opt: r.set(node, "security_opt", as_text),
        pid: r.text(node, "pid"),
        ipc: r.text(node, "ipc"),
        uts: r.text(node, "uts"),
        userns_mode: r.text(node, "userns_mode"),
        cgroup: r.text(node, "cgroup"),
        cgroup_parent: r.text(node, "cgroup_parent"),
        read_only: r.boolean(node, "read_only"),
        group_add: r.set(node, "group_add", as_text),
        runtime: r.text(node, "runtime"),
        oom_kill_disable: r.boolean(node, "oom_kill_disable"),
        oom_score_adj: r.integer(node, "oom_score_adj"),
        devices: read_devices(node, r),
        device_cgroup_rules: r.set(node, "device_cgroup_rules", as_text),
        gpus: read_gpus(node, r),
        cpus: r.scalar(node, "cpus", scalars::nano_cpus),
        cpu_shares: r.integer(node, "cpu_shares"),
        cpu_quota: microseconds(r, "cpu_quota"),
        cpu_period: microseconds(r, "cpu_period"),
        cpu_rt_runtime: microseconds(r, "cpu_rt_runtime"),
        cpu_rt_period: microseconds(r, "cpu_rt_period"),
        cpuset: r.text(node, "cpuset"),
        mem_limit: r.scalar(node, "mem_limit", scalars::bytes),
        mem_reservation: r.scalar(node, "mem_reservation", scalars::bytes),
        memswap_limit: r.scalar(node, "memswap_limit", scalars::bytes_or_unlimited),
        mem_swappiness: r.integer(node, "mem_swappiness"),
        pids_limit: r.integer(node, "pids_limit"),
        blkio_config: node.get("blkio_config").map(|blkio| read_blkio(blkio, r)),
        ulimits: read_ulimits(node, r),
        shm_size: r.scalar(node, "shm_size", scalars::bytes),
        sysctls: r.pairs(node, "sysctls"),
        storage_opt: r.map(node, "storage_opt"),
        network_mode: r.text(node, "network_mode"),
        mac_address: r.text(node, "mac_address").map(|address| address.to_ascii_lowercase()),
        dns: r.texts(node, "dns"),
        dns_opt: r.texts(node, "dns_opt"),
        dns_search: r.texts(node, "dns_search"),
        extra_hosts: read_extra_hosts(node, r),
        ports: None,
        expose: read_expose(node, r),
        volumes: None,
        volumes_from: None,
        restart: r.scalar(node, "restart", leaves::restart),
        logging: node.get("logging").map(|logging| Logging {
            driver: r.text(logging, "driver").unwrap_or_default(),
            options: r.map(logging, "options").unwrap_or_default(),
        }),
        platform: r.text(node, "platform"),
    }
}

/// Labels, of which those below ours are none of the site's business.
pub fn read_labels(node: &Node, reader: &mut Reader) -> Option<BTreeMap<String, String>> {
    let labels = reader.pairs(node, "labels")?;
    if let Some(label) = labels.keys().find(|name| name.starts_with(crate::model::labels::PREFIX)) {
        let place = node.get("labels").map_or(node.place, |labels| {
            labels.as_mapping().and_then(|mapping| mapping.get(label)).map_or(labels.place, |entry| entry.key_place)
        });
        let message = format!("the label `{label}` is not the site's to set: `mastic.` marks what Mastic made");
        reader.error(Diagnostic::error("N001", place, message));
    }
    Some(labels)
}

fn read_healthcheck(node: &Node, r: &mut Reader) -> Option<Healthcheck> {
    let mut check = Healthcheck {
        test: Vec::new(),
        interval: r.scalar(node, "interval", scalars::nanoseconds),
        timeout: r.scalar(node, "timeout", scalars::nanoseconds),
        retries: r.integer(node, "retries"),
        start_period: r.scalar(node, "start_period", scalars::nanoseconds),
        start_interval: r.scalar(node, "start_interval", scalars::nanoseconds),
    };
    for key in ["interval", "timeout"] {
        let time = if key == "interval" { check.interval } else { check.timeout };
        if let (Some(time), Some(at)) = (time, node.get(key))
            && time < 1_000_000
        {
            r.error(Diagnostic::error("V002", at.place, format!("`{key}` must be at least 1ms")));
        }
    }
    if r.boolean(node, "disable") == Some(true) {
        return Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
    }
    let test = node.get("test");
    if let Some(test) = test {
        check.test = match (test.as_text(), r.texts(node, "test")) {
            (Some(line), _) => vec!["CMD-SHELL".to_owned(), line.to_owned()],
            (None, words) => words.unwrap_or_default(),
        };
        match check.test.first().map(String::as_str) {
            Some("NONE") => return Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }),
            Some("CMD") if check.test.len() > 1 => {}
            Some("CMD-SHELL") if check.test.len() == 2 => {}
            first => {
                let found = first.map_or_else(|| "is empty".to_owned(), |first| format!("begins with `{first}`"));
                let error = Diagnostic::error("V002", test.place, format!("the test of the health check {found}"));
                r.error(error.help(
                    "write `[CMD, program, argument]`, `[CMD-SHELL, \"a shell command\"]`, or the shell command alone",
                ));
                return None;
            }
        }
    }
    Some(check)
}

fn read_devices(node: &Node, r: &mut Reader) -> Option<BTreeSet<String>> {
    let mut devices = BTreeSet::new();
    for item in node.get("devices")?.items() {
        if item.as_mapping().is_some() {
            let source = r.text(item, "source").unwrap_or_default();
            let target = r.text(item, "target").unwrap_or_else(|| source.clone());
            let permissions = r.text(item, "permissions").unwrap_or_else(|| "rwm".to_owned());
            match mounts::device(&source, &target, &permissions) {
                Ok(device) => drop(devices.insert(device)),
                Err(why) => r.error(Diagnostic::error("V002", item.place, why)),
            }
        } else {
            devices.extend(r.leaf(item, |scalar| mounts::parse_device(&scalar.text)));
        }
    }
    Some(devices)
}

fn read_gpus(node: &Node, r: &mut Reader) -> Option<Vec<DeviceRequest>> {
    let node = node.get("gpus")?;
    let all = |capabilities: Vec<String>| DeviceRequest {
        count: -1,
        capabilities: vec![capabilities],
        ..DeviceRequest::default()
    };
    if node.as_text().is_some() {
        return Some(vec![all(vec!["gpu".to_owned()])]);
    }
    let requests = node.items().iter().map(|item| {
        let device_ids = r.texts(item, "device_ids").unwrap_or_default();
        let count = r.scalar(item, "count", |s| if s.text == "all" { Ok(-1) } else { scalars::integer(s, -1, 1000) });
        DeviceRequest {
            driver: r.text(item, "driver").unwrap_or_default(),
            count: if device_ids.is_empty() { count.unwrap_or(-1) } else { 0 },
            device_ids,
            options: r.pairs(item, "options").unwrap_or_default(),
            ..all(r.texts(item, "capabilities").unwrap_or_else(|| vec!["gpu".to_owned()]))
        }
    });
    Some(requests.collect())
}

fn read_blkio(node: &Node, r: &mut Reader) -> BlockIo {
    let by_device = |key: &str, value: &str, r: &mut Reader| {
        let items = node.get(key).map(Node::items).unwrap_or_default();
        let pairs =
            items.iter().filter_map(|item| Some((r.text(item, "path")?, r.scalar(item, value, scalars::bytes)?)));
        pairs.collect::<BTreeMap<_, _>>()
    };
    BlockIo {
        weight: r.integer(node, "weight").unwrap_or(0),
        weight_device: by_device("weight_device", "weight", r),
        device_read_bps: by_device("device_read_bps", "rate", r),
        device_read_iops: by_device("device_read_iops", "rate", r),
        device_write_bps: by_device("device_write_bps", "rate", r),
        device_write_iops: by_device("device_write_iops", "rate", r),
    }
}

fn read_ulimits(node: &Node, r: &mut Reader) -> Option<BTreeMap<String, Ulimit>> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let mut limits = BTreeMap::new();
    for (name, entry) in node.get("ulimits")?.entries() {
        if !NAMES.contains(&name) {
            let error = Diagnostic::error("V002", entry.key_place, format!("`{name}` is no resource limit"));
            r.error(error.maybe_help(super::suggest::did_you_mean(name, NAMES)));
            continue;
        }
        let whole = |s: &Scalar| scalars::integer(s, -1, i64::MAX);
        let limit = if entry.value.as_mapping().is_some() {
            match (r.scalar(&entry.value, "soft", whole), r.scalar(&entry.value, "hard", whole)) {
                (Some(soft), Some(hard)) => Some(Ulimit { soft, hard }),
                _ => None,
            }
        } else {
            r.leaf(&entry.value, whole).map(|both| Ulimit { soft: both, hard: both })
        };
        if let Some(limit) = limit {
            if limit.hard != -1 && (limit.soft > limit.hard || limit.soft == -1) {
                let message = format!("the soft limit {} is above the hard limit {}", limit.soft, limit.hard);
                r.error(Diagnostic::error("V002", entry.key_place, message));
            }
            limits.insert(name.to_owned(), limit);
        }
    }
    Some(limits)
}

fn read_extra_hosts(node: &Node, r: &mut Reader) -> Option<BTreeSet<String>> {
    let node = node.get("extra_hosts")?;
    let mut hosts = BTreeSet::new();
    for (name, entry) in node.entries() {
        for address in entry.value.items() {
            let read = r.leaf(address, |scalar| leaves::extra_host(&format!("{name}={}", scalar.text)));
            hosts.extend(read.map(|(name, address)| format!("{name}:{address}")));
        }
    }
    for item in node.as_sequence().unwrap_or_default() {
        let read = r.leaf(item, |scalar| leaves::extra_host(&scalar.text));
        hosts.extend(read.map(|(name, address)| format!("{name}:{address}")));
    }
    Some(hosts)
}

fn read_expose(node: &Node, r: &mut Reader) -> Option<BTreeSet<String>> {
    let items = r.list(node, "expose", |scalar| ports::parse_exposed(&scalar.text))?;
    Some(items.into_iter().flatten().collect())
}

fn read_ports(node: &Node, r: &mut Reader) -> Vec<At<Port>> {
    let mut all: Vec<At<Port>> = Vec::new();
    for item in node.get("ports").map(Node::items).unwrap_or_default() {
        let read = if item.as_mapping().is_some() {
            let target = r.text(item, "target").unwrap_or_default();
            let published = r.text(item, "published").filter(|text| !text.is_empty());
            let protocol = r.text(item, "protocol").unwrap_or_else(|| "tcp".to_owned());
            let host_ip = r.text(item, "host_ip").unwrap_or_default();
            ports::combine(published.as_deref(), &target, &host_ip, &protocol)
                .map_err(|why| r.error(Diagnostic::error("V002", item.place, why)))
                .ok()
        } else {
            r.leaf(item, |scalar| ports::parse(&scalar.text))
        };
        for port in read.unwrap_or_default() {
            if let Some(first) = all.iter().find(|other| other.value == port) {
                let message = format!("the port {}/{} is given twice", port.target, port.protocol);
                r.error(Diagnostic::error("R003", item.place, message).also(first.place, "here first"));
            } else {
                all.push(At::new(port, item.place));
            }
        }
    }
    all
}

fn read_networks(node: &Node, r: &mut Reader) -> Option<Vec<NetworkUse>> {
    let node = node.get("networks")?;
    let mut uses: Vec<NetworkUse> = Vec::new();
    let mut add = |name: &str, place: Place, attachment: Attachment, priority: i64, r: &mut Reader| {
        if let Some(first) = uses.iter().find(|other| other.network.value == name) {
            let error = Diagnostic::error("R003", place, format!("the network `{name}` is joined twice"));
            r.error(error.also(first.network.place, "here first"));
        } else {
            uses.push(NetworkUse { network: At::new(name.to_owned(), place), attachment, priority });
        }
    };
    for item in node.as_sequence().unwrap_or_default() {
        if let Some(name) = item.as_text() {
            add(name, item.place, Attachment::default(), 0, r);
        }
    }
    for (name, entry) in node.entries() {
        let value = &entry.value;
        let mut aliases = r.texts(value, "aliases").unwrap_or_default();
        aliases.sort();
        aliases.dedup();
        let attachment = Attachment {
            aliases,
            ipv4_address: r.text(value, "ipv4_address"),
            ipv6_address: r.text(value, "ipv6_address"),
            link_local_ips: r.texts(value, "link_local_ips").unwrap_or_default(),
            mac_address: r.text(value, "mac_address").map(|address| address.to_ascii_lowercase()),
            driver_opts: r.map(value, "driver_opts").unwrap_or_default(),
        };
        let priority = r.integer(value, "priority").unwrap_or(0);
        add(name, entry.key_place, attachment, priority, r);
    }
    Some(uses)
}

fn read_env_files(node: &Node, r: &mut Reader) -> Vec<EnvFile> {
    let items = node.get("env_file").map(Node::items).unwrap_or_default();
    let files = items.iter().filter_map(|item| {
        if let Some(path) = item.as_text() {
            return Some(EnvFile { path: At::new(path.to_owned(), item.place), required: true, raw: false });
        }
        Some(EnvFile {
            path: r.at(item, "path", |scalar| Ok(scalar.text.clone()))?,
            required: r.boolean(item, "required").unwrap_or(true),
            raw: r.text(item, "format").is_some(),
        })
    });
    files.collect()
}

fn read_grants(node: &Node, key: &str, r: &mut Reader) -> Vec<Grant> {
    let items = node.get(key).map(Node::items).unwrap_or_default();
    let grants = items.iter().filter_map(|item| {
        if let Some(name) = item.as_text() {
            let source = At::new(name.to_owned(), item.place);
            return Some(Grant { source, target: None, owner: None, group: None, mode: None });
        }
        Some(Grant {
            source: r.at(item, "source", |scalar| Ok(scalar.text.clone()))?,
            target: r.at(item, "target", |scalar| Ok(scalar.text.clone())),
            owner: r.text(item, "uid"),
            group: r.text(item, "gid"),
            mode: r.scalar(item, "mode", scalars::mode),
        })
    });
    grants.collect()
}

//! What the engine tells of containers and images, in normal form.
//!
//! In: replies of the API, of any version from 1.41 on, Docker's or podman's. Out: the types of `observe`. Pure.
//!
//! Fields that the engine always tells are always set, with its zero for "not asked for" (`""`, `0`, `false`, an empty
//! set). `None` means that the engine says nothing of it, or only what it made up itself (the host name that is the
//! container's id). Exposed ports hold the published ones, as the engine wants it.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{EndpointSettings, HealthConfig, PortMap};

use super::mounts::{self, Managed};
use super::{limits, normal, wire};
use crate::model::image::ImageDefaults;
use crate::model::labels;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, DeviceRequest, Healthcheck, Logging, Port, Ulimit};
use crate::observe::observed::{
    ContainerDetail, ContainerState, ContainerSummary, Health, ImageSummary, ObservedContainer, ObservedImage, Status,
};

/// Length of the short id that an engine uses as host name and alias.
const SHORT: usize = 12;

/// An inspected container.
pub(super) fn container(reply: wire::Container, managed: Managed<'_>) -> ObservedContainer {
    let mounts = mounts::read(&reply.host_config, &reply.mounts, managed);
    let name = reply.name.trim_start_matches('/').to_owned();
    let mode = network_mode(&reply);
    let endpoints = reply.network_settings.networks.iter();
    let networks = endpoints.map(|(network, endpoint)| (network.clone(), attachment(endpoint, &reply.id))).collect();
    let addresses = reply
        .network_settings
        .networks
        .iter()
        .filter_map(|(network, endpoint)| Some((network.clone(), address(endpoint)?)))
        .collect();
    let host_ports = host_ports(&reply);
    let mut settings = settings(&reply, mode);
    settings.volumes = Some(mounts.volumes);
    ObservedContainer {
        id: reply.id,
        name,
        labels: reply.config.labels,
        image_id: image_id(&reply.image),
        image: reply.config.image,
        state: ContainerState {
            status: status(&reply.state.status),
            health: reply.state.health.as_ref().map_or(Health::None, |health| self::health(&health.status)),
            exit_code: reply.state.exit_code,
            oom_killed: reply.state.oom_killed,
            error: reply.state.error,
            restart_count: reply.restart_count,
            started_at: reply.state.started_at,
            finished_at: reply.state.finished_at,
        },
        detail: Some(ContainerDetail {
            settings,
            networks,
            addresses,
            anonymous_volumes: mounts.anonymous,
            managed_hash: mounts.managed_hash,
        }),
        host_ports,
    }
}

fn settings(reply: &wire::Container, network_mode: String) -> ContainerSettings {
    let (config, host) = (&reply.config, &reply.host_config);
    let text = |value: &Option<String>| Some(value.clone().unwrap_or_default());
    let mut settings = ContainerSettings {
        entrypoint: Some(config.entrypoint.clone()),
        command: Some(config.cmd.clone()),
        environment: Some(environment(&config.env)),
        labels: Some(own_labels(&config.labels)),
        annotations: host.annotations.clone().map(|map| map.into_iter().collect()),
        user: Some(config.user.clone()),
        working_dir: Some(config.working_dir.clone()),
        hostname: Some(config.hostname.clone()).filter(|name| !name.is_empty() && !reply.id.starts_with(name)),
        domainname: Some(config.domainname.clone()),
        init: host.init,
        tty: Some(config.tty),
        stdin_open: Some(config.open_stdin),
        stop_signal: config.stop_signal.as_deref().filter(|text| !text.is_empty()).map(normal::signal),
        stop_grace_period: config.stop_timeout,
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
        privileged: Some(host.privileged.unwrap_or_default()),
        cap_add: Some(set(host.cap_add.as_ref(), normal::capability)),
        cap_drop: Some(set(host.cap_drop.as_ref(), normal::capability)),
        security_opt: Some(set(host.security_opt.as_ref(), str::to_owned)),
        pid: text(&host.pid_mode),
        ipc: text(&host.ipc_mode),
        uts: text(&host.uts_mode),
        userns_mode: text(&host.userns_mode),
        cgroup: Some(host.cgroupns_mode.map(|mode| mode.to_string()).unwrap_or_default()),
        cgroup_parent: text(&host.cgroup_parent),
        read_only: Some(host.readonly_rootfs.unwrap_or_default()),
        group_add: Some(set(host.group_add.as_ref(), str::to_owned)),
        runtime: text(&host.runtime),
        oom_score_adj: Some(host.oom_score_adj.unwrap_or_default()),
        devices: Some(host.devices.iter().flatten().map(device).collect()),
        device_cgroup_rules: Some(set(host.device_cgroup_rules.as_ref(), str::to_owned)),
        gpus: Some(host.device_requests.iter().flatten().map(device_request).collect()),
        ulimits: Some(
            host.ulimits
                .iter()
                .flatten()
                .filter_map(|limit| {
                    Some((
                        limit.name.clone()?,
                        Ulimit { soft: limit.soft.unwrap_or_default(), hard: limit.hard.unwrap_or_default() },
                    ))
                })
                .collect(),
        ),
        shm_size: host.shm_size,
        sysctls: Some(host.sysctls.clone().unwrap_or_default().into_iter().collect()),
        storage_opt: Some(host.storage_opt.clone().unwrap_or_default().into_iter().collect()),
        mac_address: mac_address(reply, &network_mode),
        network_mode: Some(network_mode),
        dns: Some(host.dns.clone().unwrap_or_default()),
        dns_opt: Some(host.dns_options.clone().unwrap_or_default()),
        dns_search: Some(host.dns_search.clone().unwrap_or_default()),
        extra_hosts: Some(set(host.extra_hosts.as_ref(), normal::extra_host)),
        expose: Some(config.exposed_ports.clone()),
        ports: Some(ports(host.port_bindings.as_ref())),
        volumes_from: Some(set(host.volumes_from.as_ref(), str::to_owned)),
        logging: host.log_config.as_ref().map(|log| Logging {
            driver: log.typ.clone().unwrap_or_default(),
            options: log.config.clone().unwrap_or_default().into_iter().collect(),
        }),
        ..ContainerSettings::default()
    };
    limits::read(host, &mut settings);
    settings
}

fn set(values: Option<&Vec<String>>, form: impl Fn(&str) -> String) -> BTreeSet<String> {
    values.into_iter().flatten().map(|value| form(value)).collect()
}

fn environment(list: &[String]) -> BTreeMap<String, String> {
    list.iter()
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn own_labels(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.iter().filter(|(name, _)| !name.starts_with(labels::PREFIX)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn device(device: &bollard::models::DeviceMapping) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let rights = part(&device.cgroup_permissions);
    let rights = if rights.is_empty() { "rwm".to_owned() } else { rights };
    format!("{}:{}:{rights}", part(&device.path_on_host), part(&device.path_in_container))
}

fn device_request(request: &bollard::models::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: request.driver.clone().unwrap_or_default(),
        count: request.count.unwrap_or_default(),
        device_ids: request.device_ids.clone().unwrap_or_default(),
        capabilities: request.capabilities.clone().unwrap_or_default(),
        options: request.options.clone().unwrap_or_default().into_iter().collect(),
    }
}

fn healthcheck(check: &HealthConfig) -> Healthcheck {
    // Zero inherits, which is what not being set means.
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    Healthcheck {
        test: check.test.clone().unwrap_or_default(),
        interval: set(check.interval),
        timeout: set(check.timeout),
        retries: set(check.retries),
        start_period: set(check.start_period),
        start_interval: set(check.start_interval),
    }
}

/// `default` is `bridge`, and a network given by its id goes by its name.
fn network_mode(reply: &wire::Container) -> String {
    let mode = reply.host_config.network_mode.clone().unwrap_or_default();
    if mode.is_empty() || mode == "default" {
        return "bridge".to_owned();
    }
    let by_id =
        reply.network_settings.networks.iter().find(|(_, endpoint)| endpoint.network_id.as_ref() == Some(&mode));
    by_id.map_or(mode, |(name, _)| name.clone())
}

fn mac_address(reply: &wire::Container, mode: &str) -> Option<String> {
    let of_network = || reply.network_settings.networks.get(mode).and_then(|endpoint| endpoint.mac_address.clone());
    reply.config.mac_address.clone().or_else(of_network).filter(|address| !address.is_empty())
}

fn attachment(endpoint: &EndpointSettings, id: &str) -> Attachment {
    let some = |value: Option<&String>| value.filter(|text| !text.is_empty()).cloned();
    let address = endpoint.ipam_config.as_ref();
    let mut aliases: Vec<String> = endpoint
        .aliases
        .iter()
        .flatten()
        .filter(|alias| !(alias.len() >= SHORT && id.starts_with(alias.as_str())))
        .cloned()
        .collect();
    aliases.sort();
    aliases.dedup();
    Attachment {
        aliases,
        ipv4_address: some(address.and_then(|address| address.ipv4_address.as_ref())),
        ipv6_address: some(address.and_then(|address| address.ipv6_address.as_ref())),
        link_local_ips: address.and_then(|address| address.link_local_ips.clone()).unwrap_or_default(),
        mac_address: some(endpoint.mac_address.as_ref()),
        driver_opts: endpoint.driver_opts.clone().unwrap_or_default().into_iter().collect(),
    }
}

fn address(endpoint: &EndpointSettings) -> Option<String> {
    [&endpoint.ip_address, &endpoint.global_ipv6_address]
        .into_iter()
        .flatten()
        .find(|address| !address.is_empty())
        .cloned()
}

fn ports(bindings: Option<&PortMap>) -> BTreeSet<Port> {
    let mut ports = BTreeSet::new();
    for (key, list) in bindings.into_iter().flatten() {
        let Some((target, protocol)) = target(key) else { continue };
        for binding in list.iter().flatten() {
            ports.insert(Port {
                target,
                protocol: protocol.clone(),
                published: binding.host_port.as_deref().and_then(|text| text.parse().ok()).filter(|port| *port != 0),
                host_ip: binding.host_ip.clone().unwrap_or_default(),
            });
        }
    }
    ports
}

fn target(key: &str) -> Option<(u16, String)> {
    let (number, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    Some((number.parse().ok()?, protocol.to_owned()))
}

/// Those that it holds now; those that it will want, while it does not run.
fn host_ports(reply: &wire::Container) -> Vec<(String, u16, String)> {
    let held = ports(Some(&reply.network_settings.ports));
    let wanted = ports(reply.host_config.port_bindings.as_ref());
    let all = if held.is_empty() { wanted } else { held };
    let mut list: Vec<_> =
        all.into_iter().filter_map(|port| Some((port.host_ip, port.published?, port.protocol))).collect();
    list.sort();
    list.dedup();
    list
}

fn status(text: &str) -> Status {
    match text {
        "running" | "stopping" => Status::Running,
        "paused" => Status::Paused,
        "restarting" => Status::Restarting,
        "removing" => Status::Removing,
        // podman says `stopped` of what ended and is not cleaned up yet.
        "exited" | "stopped" => Status::Exited,
        "dead" => Status::Dead,
        _ => Status::Created,
    }
}

pub(super) fn health(text: &str) -> Health {
    match text {
        "starting" => Health::Starting,
        "healthy" => Health::Healthy,
        "unhealthy" => Health::Unhealthy,
        _ => Health::None,
    }
}

/// An entry of the list. Its health is told in words only: `Up 2 hours (healthy)`.
pub(super) fn summary(entry: wire::ListedContainer) -> ContainerSummary {
    let health = match entry.status.rsplit_once('(').map(|(_, end)| end.trim_end_matches(')')) {
        Some("healthy") => Health::Healthy,
        Some("unhealthy") => Health::Unhealthy,
        Some("health: starting" | "starting") => Health::Starting,
        _ => Health::None,
    };
    let mut host_ports: Vec<(String, u16, String)> = entry
        .ports
        .into_iter()
        .filter_map(|port| port.public_port.map(|number| (port.address, number, port.protocol)))
        .collect();
    host_ports.sort();
    host_ports.dedup();
    ContainerSummary {
        id: entry.id,
        // A container that others are linked to has several: `/web`, and `/other/alias` for each link.
        name: entry
            .names
            .iter()
            .map(|name| name.trim_start_matches('/'))
            .find(|name| !name.contains('/'))
            .unwrap_or_default()
            .to_owned(),
        labels: entry.labels,
        image_id: image_id(&entry.image_id),
        image: entry.image,
        status: status(&entry.state),
        health,
        host_ports,
    }
}

/// An image of the list.
pub(super) fn image_summary(entry: &wire::ListedImage) -> ImageSummary {
    let mut references: Vec<String> = entry
        .repo_tags
        .iter()
        .chain(&entry.repo_digests)
        .filter(|reference| !reference.contains("<none>"))
        .map(|reference| familiar(reference))
        .collect();
    references.sort();
    references.dedup();
    ImageSummary {
        id: image_id(&entry.id),
        references,
        size: u64::try_from(entry.size).unwrap_or_default(),
        created: entry.created,
    }
}

/// Podman leaves the algorithm out.
fn image_id(id: &str) -> String {
    if id.is_empty() || id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

/// As Docker lists it: without `docker.io/library/`.
fn familiar(reference: &str) -> String {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").unwrap_or(short).to_owned()
}

/// An inspected image.
pub(super) fn image(reply: wire::Image) -> ObservedImage {
    let config = reply.config;
    ObservedImage {
        id: image_id(&reply.id),
        defaults: ImageDefaults {
            environment: environment(&config.env),
            labels: config.labels,
            entrypoint: config.entrypoint,
            command: config.cmd,
            user: config.user,
            working_dir: config.working_dir,
            volumes: config.volumes.iter().map(|path| normal::path(path)).collect(),
            expose: config.exposed_ports.into_iter().collect(),
            stop_signal: config.stop_signal.as_deref().filter(|text| !text.is_empty()).map(normal::signal),
            healthcheck: config.healthcheck.as_ref().map(healthcheck),
        },
        accounts: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Docker 20.10's own words.
    const RECORDED: &str = include_str!("recorded/inspect-1.41.json");
    /// The same container in the words of newer engines, after their documented changes.
    const NEWER: [&str; 2] = [include_str!("recorded/inspect-1.44.json"), include_str!("recorded/inspect-1.52.json")];

    fn read(text: &str) -> ObservedContainer {
        let managed = |source: &str| {
            let rest = source.strip_prefix("/var/lib/mastic/files/")?;
            let (at, _) = rest.match_indices('/').nth(1)?;
            Some((rest[..at].to_owned(), rest[at + 1..].to_owned()))
        };
        container(serde_json::from_str(text).unwrap(), &managed)
    }

    /// One line for each field.
    fn lines(value: &impl serde::Serialize) -> String {
        let value = serde_json::to_value(value).unwrap();
        let fields = value.as_object().unwrap().iter();
        fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_api_gives_the_same() {
        for newer in NEWER {
            assert_eq!(read(newer), read(RECORDED));
        }
    }

    #[test]
    fn a_recorded_container_in_normal_form() {
        let found = read(RECORDED);
        let detail = found.detail.as_ref().unwrap();
        insta::assert_snapshot!(lines(&detail.settings), @r#"
        entrypoint: []
        command: ["sleep","1000"]
        environment: {"FROMIMAGE":"1","MODE":"live","PATH":"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        labels: {"base":"yes","team":"blue"}
        user: "65534"
        working_dir: ""
        domainname: ""
        init: true
        tty: false
        stdin_open: false
        stop_signal: "SIGINT"
        stop_grace_period: 30
        healthcheck: {"test":["CMD","true"],"interval":30000000000,"timeout":5000000000,"retries":3}
        privileged: false
        cap_add: ["NET_ADMIN"]
        cap_drop: ["CHOWN"]
        security_opt: ["no-new-privileges:true"]
        pid: ""
        ipc: "private"
        uts: ""
        userns_mode: ""
        cgroup: "host"
        cgroup_parent: ""
        read_only: false
        group_add: []
        runtime: "runc"
        oom_kill_disable: false
        oom_score_adj: 0
        devices: ["/dev/null:/dev/nothing:rw"]
        device_cgroup_rules: []
        gpus: []
        cpus: 500000000
        cpu_shares: 0
        cpu_quota: 0
        cpu_period: 0
        cpu_rt_runtime: 0
        cpu_rt_period: 0
        cpuset: ""
        mem_limit: 67108864
        mem_reservation: 0
        memswap_limit: 134217728
        pids_limit: 100
        blkio_config: {"weight":0,"weight_device":{},"device_read_bps":{},"device_read_iops":{},"device_write_bps":{},"device_write_iops":{}}
        ulimits: {"nofile":{"soft":1000,"hard":2000}}
        shm_size: 67108864
        sysctls: {"net.core.somaxconn":"512"}
        storage_opt: {}
        network_mode: "shop"
        mac_address: "02:42:0a:d5:5a:32"
        dns: ["192.0.2.53"]
        dns_opt: []
        dns_search: []
        extra_hosts: ["db:192.0.2.7"]
        ports: [{"target":80,"protocol":"tcp","published":18088,"host_ip":"127.0.0.1"}]
        expose: ["7000/tcp","80/tcp","9000/tcp"]
        volumes: {"/cache":{"type":"tmpfs","size":1048576,"mode":1023},"/data":{"type":"volume","source":"data","read_only":false,"nocopy":false},"/etc/web":{"type":"managed","path":"fixed"},"/scratch":{"type":"volume","read_only":false,"nocopy":false},"/shared":{"type":"bind","source":"/srv/shared","read_only":true,"create_host_path":true}}
        volumes_from: []
        restart: "unless_stopped"
        logging: {"driver":"json-file","options":{"max-size":"10m"}}
        "#);
        insta::assert_snapshot!(lines(&detail.networks), @r#"
        backend: {"aliases":["inner"],"ipv4_address":null,"ipv6_address":null,"link_local_ips":[],"mac_address":"02:42:ac:1b:00:02","driver_opts":{}}
        shop: {"aliases":["front","web"],"ipv4_address":"10.213.90.50","ipv6_address":null,"link_local_ips":[],"mac_address":"02:42:0a:d5:5a:32","driver_opts":{}}
        "#);
        let rest = (&found.name, &found.host_ports, &detail.addresses, &detail.managed_hash);
        insta::assert_snapshot!(format!("{rest:?}\n{:?}\n{:?}", detail.anonymous_volumes.keys(), found.state), @r#"
        ("web", [("127.0.0.1", 18088, "tcp")], {"backend": "172.27.0.2", "shop": "10.213.90.50"}, Some("1:abcd"))
        ["/imgvol", "/scratch"]
        ContainerState { status: Running, health: Starting, exit_code: 0, oom_killed: false, error: "", restart_count: 0, started_at: "2026-11-22T18:55:12.44696568Z", finished_at: "0001-01-01T00:00:00Z" }
        "#);
    }

    #[test]
    fn podmans_words_are_understood() {
        let found = read(
            r#"{"Id": "ab12", "Name": "/x", "Image": "0123", "State": {"Status": "stopped", "Health": {"Status": ""}},
                "Config": {"Hostname": "ab12", "Entrypoint": null, "Cmd": ["a"], "StopSignal": "15", "Labels": null,
                           "Volumes": null, "ExposedPorts": null, "Env": null},
                "HostConfig": {"NetworkMode": "bridge", "MemorySwappiness": -1, "PidsLimit": 2048},
                "NetworkSettings": {"Ports": null, "Networks": null}, "Mounts": null}"#,
        );
        let settings = &found.detail.as_ref().unwrap().settings;
        assert_eq!((found.state.status, found.image_id.as_str()), (Status::Exited, "sha256:0123"));
        assert_eq!((settings.stop_signal.as_deref(), settings.hostname.as_deref()), (Some("SIGTERM"), None));
        assert_eq!(settings.mem_swappiness, None);
    }

    #[test]
    fn health_is_read_from_the_lists_words() {
        let health =
            |status: &str| summary(wire::ListedContainer { status: status.into(), ..Default::default() }).health;
        assert_eq!(health("Up 2 hours (healthy)"), Health::Healthy);
        assert_eq!(health("Up 2 hours (unhealthy)"), Health::Unhealthy);
        assert_eq!(health("Up 1 second (health: starting)"), Health::Starting);
        assert_eq!(health("Up 1 second"), Health::None);
        assert_eq!(health("Exited (0) 2 minutes ago"), Health::None);
        assert_eq!(health("Up 3 days (Paused)"), Health::None);
    }

    #[test]
    fn names_and_references_are_the_plain_ones() {
        let names = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            summary(wire::ListedContainer { names, ..Default::default() }).name
        };
        assert_eq!(names(&["/other/alias", "/web"]), "web");
        assert_eq!(names(&["web"]), "web");
        let image = image_summary(&wire::ListedImage {
            id: "sha256:1".into(),
            repo_tags: vec!["<none>:<none>".into(), "docker.io/library/busybox:1".into(), "busybox:1".into()],
            repo_digests: vec!["busybox@sha256:2".into()],
            ..Default::default()
        });
        assert_eq!(image.references, ["busybox:1", "busybox@sha256:2"]);
    }
}

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
use crate::model::labels;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, DeviceRequest, Healthcheck, Logging, Port, Ulimit};
use crate::observe::observed::{ContainerDetail, ContainerState, ContainerSummary, Health, ObservedContainer, Status};

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

pub(super) fn environment(list: &[String]) -> BTreeMap<String, String> {
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

pub(super) fn healthcheck(check: &HealthConfig) -> Healthcheck {
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

/// Podman leaves the algorithm out.
pub(super) fn image_id(id: &str) -> String {
    if id.is_empty() || id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "convert_tests.rs"]
mod tests;

//! What no single value shows: settings that exclude each other, and instances that get into each other's way.

use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::model::desired::{InstanceDesired, JobDesired};
use crate::model::settings::{ContainerSettings, Port};
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::source::Place;

use super::instance::Built;

/// Settings of one container that the engine would not take together.
pub fn settings(node: &Node, key: Place, settings: &ContainerSettings, errors: &mut Vec<Diagnostic>) {
    let place = |key_name: &str| node.get(key_name).map_or(key, |node| node.place);
    let key_place =
        |name: &str| node.as_mapping().and_then(|mapping| mapping.get(name)).map_or(key, |entry| entry.key_place);
    if settings.cpus.is_some() && (settings.cpu_quota.is_some() || settings.cpu_period.is_some()) {
        let other = if settings.cpu_quota.is_some() { "cpu_quota" } else { "cpu_period" };
        let error =
            Diagnostic::error("V003", key_place(other), format!("`{other}` and `cpus` say the same thing in two ways"));
        errors.push(error.also(key_place("cpus"), "the other").help("keep `cpus`"));
    }
    if let (Some(reservation), Some(limit)) = (settings.mem_reservation, settings.mem_limit)
        && reservation > limit
        && limit != 0
    {
        let error = Diagnostic::error("V003", place("mem_reservation"), "the reservation is above the limit");
        errors.push(error.also(place("mem_limit"), "the limit"));
    }
    if let Some(swap) = settings.memswap_limit.filter(|swap| *swap > 0) {
        match settings.mem_limit {
            None | Some(0) => errors.push(
                Diagnostic::error("V003", key_place("memswap_limit"), "`memswap_limit` needs a `mem_limit`")
                    .help("it is memory and swap together"),
            ),
            Some(limit) if swap < limit => errors.push(
                Diagnostic::error(
                    "V003",
                    place("memswap_limit"),
                    "memory and swap together are below the memory alone",
                )
                .also(place("mem_limit"), "the memory"),
            ),
            Some(_) => {}
        }
    }
    let mode = settings.network_mode.as_deref();
    if let Some(mode @ ("host" | "none")) = mode {
        if settings.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
            let why = if mode == "host" { "the process listens on the host itself" } else { "there is no network" };
            let error = Diagnostic::error(
                "V003",
                key_place("ports"),
                format!("with `network_mode: {mode}` no port is published: {why}"),
            );
            errors.push(error.also(place("network_mode"), "set here").help("leave out `ports`"));
        }
        if settings.mac_address.is_some() {
            let error = Diagnostic::error(
                "V003",
                key_place("mac_address"),
                format!("with `network_mode: {mode}` there is no interface to give an address to"),
            );
            errors.push(error.also(place("network_mode"), "set here"));
        }
    }
    if let Some(mode) = mode.filter(|mode| mode.starts_with("service:") || mode.starts_with("container:")) {
        let keys = ["ports", "expose", "hostname", "mac_address", "dns", "dns_opt", "dns_search", "extra_hosts"];
        for key in keys.into_iter().filter(|key| node.get(key).is_some()) {
            let message = if key == "ports" {
                format!("with `network_mode: {mode}` no port is published: the network is that of the other container")
            } else {
                format!("with `network_mode: {mode}` there is no `{key}`: the network is that of the other container")
            };
            let error = Diagnostic::error("V003", key_place(key), message);
            errors.push(error.also(place("network_mode"), "set here").help(format!("set `{key}` there")));
        }
    }
    if mode == Some("host") {
        if let Some(sysctl) =
            settings.sysctls.iter().flatten().map(|(name, _)| name).find(|name| name.starts_with("net."))
        {
            let error = Diagnostic::error(
                "V003",
                key_place("sysctls"),
                format!("`{sysctl}` would change the host: Docker refuses it with `network_mode: host`"),
            );
            errors.push(error.also(place("network_mode"), "set here").help("set it on the host itself"));
        }
        if settings.uts.as_deref() == Some("host") && settings.hostname.is_some() {
            errors.push(Diagnostic::error(
                "V003",
                key_place("hostname"),
                "with `uts: host` the container has the host's name",
            ));
        }
    }
    if settings.oom_kill_disable == Some(true) && settings.mem_limit.is_none() {
        let error = Diagnostic::warning(
            "W001",
            key_place("oom_kill_disable"),
            "without a `mem_limit` this container can take all memory of the host",
        );
        errors.push(error);
    }
    let dropped = |name: &String| settings.cap_drop.iter().flatten().any(|other| other == name);
    if let Some(name) = settings.cap_add.iter().flatten().find(|name| dropped(name)) {
        let error =
            Diagnostic::error("V003", key_place("cap_add"), format!("the capability `{name}` is added and taken away"));
        errors.push(error.also(key_place("cap_drop"), "taken away here"));
    }
}

/// Instances of one host against each other.
pub fn host(services: &[Built<InstanceDesired>], jobs: &[Built<JobDesired>], errors: &mut Vec<Diagnostic>) {
    let mut names: BTreeMap<&str, Place> = BTreeMap::new();
    let of_services = services.iter().map(|built| (built.desired.container_name.as_str(), built.name_place));
    let of_jobs = jobs.iter().map(|built| (built.desired.container_name.as_str(), built.name_place));
    for (name, place) in of_services.chain(of_jobs) {
        if let Some(first) = names.insert(name, place) {
            let error =
                Diagnostic::error("R003", place, format!("two containers of this host would be called `{name}`"));
            errors.push(error.also(first, "the other"));
        }
    }
    let mut taken: BTreeMap<(u16, &str), Vec<(&Port, Place, &str)>> = BTreeMap::new();
    for built in services {
        for port in &built.ports {
            let Some(published) = port.value.published else { continue };
            let others = taken.entry((published, port.value.protocol.as_str())).or_default();
            if let Some((_, place, other)) =
                others.iter().find(|(other, ..)| overlap(&other.host_ip, &port.value.host_ip))
            {
                let what = format!("port {published}/{} of the host", port.value.protocol);
                let error = Diagnostic::error(
                    "R004",
                    port.place,
                    format!("{what} is published twice: by `{other}` and by `{}`", built.desired.service),
                );
                errors.push(error.also(*place, "here first"));
            }
            others.push((&port.value, port.place, built.desired.service.as_str()));
        }
    }
}

/// Whether two addresses to listen on get into each other's way.
fn overlap(left: &str, right: &str) -> bool {
    let any = |text: &str| text.is_empty() || text.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    any(left) || any(right) || left == right
}

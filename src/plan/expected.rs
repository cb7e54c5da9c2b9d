//! What a live container should show for each setting: the spec's own word, else the image's, else a neutral value.
//!
//! A daemon's defaults are never expected: where a spec says nothing and no neutral value holds on every daemon, the
//! setting is compared only if the spec set it when the container was made (label `mastic.fields`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::image::ImageDefaults;
use crate::model::labels;
use crate::model::settings::ContainerSettings;

/// What is expected of one setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected<'a> {
    /// This value.
    Value(Cow<'a, Value>),
    /// Nothing that could be compared.
    Anything,
}

impl From<Value> for Expected<'_> {
    fn from(value: Value) -> Self {
        Self::Value(Cow::Owned(value))
    }
}

/// Settings that no daemon fills by itself: unset means this.
fn neutral(field: &str) -> Option<Value> {
    let value = match field {
        "privileged" | "read_only" | "tty" | "stdin_open" => json!(false),
        "cap_add"
        | "cap_drop"
        | "devices"
        | "device_cgroup_rules"
        | "dns"
        | "dns_opt"
        | "dns_search"
        | "extra_hosts"
        | "group_add"
        | "ports"
        | "volumes_from" => json!([]),
        "sysctls" => json!({}),
        "cpus" | "cpu_shares" | "cpu_quota" | "cpu_period" | "cpu_rt_runtime" | "cpu_rt_period" | "mem_limit"
        | "mem_reservation" | "pids_limit" => json!(0),
        "cpuset" | "pid" | "uts" => json!(""),
        _ => return None,
    };
    Some(value)
}

/// All settings that are compared as wholes; environment, labels and mounts are compared key by key.
/// `platform` is not here: an engine does not report it, and another platform is another image.
pub const WHOLE_FIELDS: [&str; 59] = [
    "annotations",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "expose",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "init",
    "ipc",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "network_mode",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "ports",
    "privileged",
    "read_only",
    "restart",
    "runtime",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tty",
    "ulimits",
    "user",
    "userns_mode",
    "uts",
    "volumes_from",
    "working_dir",
];

/// What is expected of `field`, given the spec's settings as a map.
pub fn expected<'a>(
    field: &str,
    desired: &ContainerSettings,
    values: &'a Map<String, Value>,
    image: Option<&ImageDefaults>,
    set_at_creation: &str,
) -> Expected<'a> {
    match field {
        "expose" => return exposed(desired, image),
        "healthcheck" => return healthcheck(desired, image),
        // Given with a level that is not ours to compare: Docker adds labels for privileged containers by itself.
        "security_opt" if desired.privileged == Some(true) && desired.security_opt.is_none() => {
            return Expected::Anything;
        }
        _ => {}
    }
    if let Some(value) = values.get(field) {
        return Expected::Value(Cow::Borrowed(value));
    }
    if let Some(value) = neutral(field) {
        return value.into();
    }
    let from_image = image.and_then(|image| match field {
        "user" => Some(json!(image.user)),
        "entrypoint" => Some(json!(image.entrypoint)),
        // Docker forgets the image's command where the spec brings an entry point.
        "command" if desired.entrypoint.is_some() => Some(json!([])),
        "command" => Some(json!(image.command)),
        _ => None,
    });
    if let Some(value) = from_image {
        return value.into();
    }
    if set_at_creation.split(',').any(|set| set == field) { Value::Null.into() } else { Expected::Anything }
}

fn exposed(desired: &ContainerSettings, image: Option<&ImageDefaults>) -> Expected<'static> {
    let Some(image) = image else { return Expected::Anything };
    let mut ports: Vec<String> = image.expose.clone();
    ports.extend(desired.expose.iter().flatten().cloned());
    ports.extend(desired.ports.iter().flatten().map(|port| format!("{}/{}", port.target, port.protocol)));
    ports.sort();
    ports.dedup();
    json!(ports).into()
}

/// Docker fills what a check leaves open from the image's.
fn healthcheck(desired: &ContainerSettings, image: Option<&ImageDefaults>) -> Expected<'static> {
    let Some(own) = &desired.healthcheck else { return Expected::Anything };
    if own.test.first().is_some_and(|word| word == "NONE") {
        return json!({ "test": ["NONE"] }).into();
    }
    let mut merged = own.clone();
    let Some(image) = image else { return Expected::Anything };
    if let Some(base) = &image.healthcheck {
        if merged.test.is_empty() {
            merged.test.clone_from(&base.test);
        }
        merged.interval = merged.interval.or(base.interval);
        merged.timeout = merged.timeout.or(base.timeout);
        merged.retries = merged.retries.or(base.retries);
        merged.start_period = merged.start_period.or(base.start_period);
        merged.start_interval = merged.start_interval.or(base.start_interval);
    }
    json!(merged).into()
}

/// The environment that a container of the image should have.
pub fn environment(desired: &ContainerSettings, image: &ImageDefaults) -> BTreeMap<String, String> {
    let mut environment = image.environment.clone();
    environment.extend(desired.environment.clone().unwrap_or_default());
    environment
}

/// The labels that a container of the image should have, apart from ours.
pub fn labels(desired: &ContainerSettings, image: &ImageDefaults) -> BTreeMap<String, String> {
    let mut all = image.labels.clone();
    all.extend(desired.labels.clone().unwrap_or_default());
    all.retain(|name, _| !name.starts_with(labels::PREFIX));
    all
}

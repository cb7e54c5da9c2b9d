//! Field by field: how a live container differs from its spec, and what it takes to mend each difference.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::desired::InstanceDesired;
use crate::model::image::ImageDefaults;
use crate::model::labels;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, Mount, UPDATABLE};
use crate::observe::observed::{ContainerDetail, HostObserved, ObservedContainer};

use super::expected::{self, Expected, WHOLE_FIELDS};
use super::files;
use super::step::{Cause, Disruption};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// For people.
    pub cause: Cause,
    /// What mending it does.
    pub class: Disruption,
    /// What it is about, for the step that mends it.
    pub part: Part,
}

/// What a difference is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The image's id.
    Image,
    /// A setting.
    Setting(String),
    /// A network that is not attached, or attached otherwise.
    Network {
        /// Name.
        name: String,
        /// Whether it is attached otherwise.
        reattach: bool,
    },
    /// A network that should not be attached.
    ExtraNetwork(String),
    /// A file of ours.
    File {
        /// `fixed/0`, `live/0/name`.
        path: String,
        /// Whether its content differs; else only mode or owner.
        content: bool,
    },
}

/// Shown instead of a value that holds a secret.
pub const HIDDEN: &str = "«secret»";

/// All differences, in a stable order. `detail` must be there: an uninspected container is not compared.
pub fn differences(desired: &InstanceDesired, live: &ObservedContainer, host: &HostObserved) -> Vec<Difference> {
    let Some(detail) = &live.detail else { return Vec::new() };
    let image = host.images.get(&live.image_id).map(|image| &image.defaults);
    let mut found = Vec::new();
    image_difference(desired, live, host, &mut found);
    settings(desired, live, detail, image, host, &mut found);
    networks(desired, detail, &mut found);
    files::differences(desired, live, detail, host, &mut found);
    found.retain(|difference| !is_ignored(desired, &difference.cause.field));
    found
}

fn is_ignored(desired: &InstanceDesired, field: &str) -> bool {
    desired.drift_ignore.iter().any(|ignored| {
        field == ignored || field.strip_prefix(ignored.as_str()).is_some_and(|rest| rest.starts_with('.'))
    })
}

fn image_difference(
    desired: &InstanceDesired,
    live: &ObservedContainer,
    host: &HostObserved,
    found: &mut Vec<Difference>,
) {
    let wanted = host.image_id(&desired.image.familiar());
    let differs = match wanted {
        Some(id) => id != live.image_id,
        // Untagged or not pulled yet: the container's own word counts.
        None => live.image != desired.image.as_str() && live.image != desired.image.familiar(),
    };
    if !differs {
        return;
    }
    let short = |id: &str| id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
    let (from, to) = if live.image == desired.image.as_str() {
        // The same tag means another image now.
        let to = wanted.map_or_else(String::new, short);
        (format!("{} ({})", live.image, short(&live.image_id)), format!("{} ({to})", desired.image))
    } else {
        (live.image.clone(), desired.image.to_string())
    };
    found.push(Difference { cause: Cause::words("image", &from, &to), class: Disruption::Replace, part: Part::Image });
}

fn as_map(settings: &ContainerSettings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn settings(
    desired: &InstanceDesired,
    live: &ObservedContainer,
    detail: &ContainerDetail,
    image: Option<&ImageDefaults>,
    host: &HostObserved,
    found: &mut Vec<Difference>,
) {
    let wanted = as_map(&desired.settings);
    let seen = as_map(&detail.settings);
    let set_at_creation = live.label(labels::FIELDS).unwrap_or_default();
    for field in WHOLE_FIELDS {
        let expected = match expected::expected(field, &desired.settings, &wanted, image, set_at_creation) {
            Expected::Anything => continue,
            Expected::Value(value) => value,
        };
        // With networks of its own, a container's mode is the network that it was created with.
        if field == "network_mode" && !desired.networks.is_empty() {
            continue;
        }
        let value = seen.get(field).unwrap_or(&Value::Null);
        if is_same(field, &expected, value, host) {
            continue;
        }
        let updatable = UPDATABLE.contains(&field) && wanted.contains_key(field);
        push(
            desired,
            field,
            value,
            &expected,
            if updatable { Disruption::Update } else { Disruption::Replace },
            field,
            found,
        );
    }
    map("environment", desired, image, &detail.settings, expected::environment, |s| s.environment.as_ref(), found);
    map("labels", desired, image, &detail.settings, expected::labels, |s| s.labels.as_ref(), found);
    mounts(desired, detail, found);
}

fn push(
    desired: &InstanceDesired,
    shown: &str,
    from: &Value,
    to: &Value,
    class: Disruption,
    field: &str,
    found: &mut Vec<Difference>,
) {
    let hidden = desired.sensitive.iter().any(|sensitive| {
        shown == sensitive
            || sensitive.strip_prefix(shown).is_some_and(|rest| rest.starts_with('.'))
            || shown.strip_prefix(sensitive.as_str()).is_some_and(|rest| rest.starts_with('.'))
    });
    let cause = if hidden { Cause::words(shown, HIDDEN, HIDDEN) } else { Cause::new(shown, from, to) };
    found.push(Difference { cause, class, part: Part::Setting(field.to_owned()) });
}

/// Equality in the engine's eyes.
fn is_same(field: &str, expected: &Value, seen: &Value, host: &HostObserved) -> bool {
    if expected == seen {
        return true;
    }
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    };
    if empty(expected) && empty(seen) {
        return true;
    }
    match field {
        // 0 and -1 both mean "no limit".
        "pids_limit" | "cpu_quota" => {
            let unlimited = |value: &Value| empty(value) || value.as_i64() == Some(-1);
            unlimited(expected) && unlimited(seen)
        }
        "healthcheck" => match (expected, seen) {
            (Value::Object(expected), Value::Object(seen)) => expected
                .iter()
                .all(|(key, value)| seen.get(key) == Some(value) || (empty(value) && !seen.contains_key(key))),
            _ => false,
        },
        "logging" => match (expected, seen) {
            // Options alone leave the driver to the engine.
            (Value::Object(expected), Value::Object(seen)) => {
                let driver =
                    expected.get("driver").is_none_or(|driver| empty(driver) || seen.get("driver") == Some(driver));
                let none = Value::Object(Map::new());
                driver && expected.get("options").unwrap_or(&none) == seen.get("options").unwrap_or(&none)
            }
            _ => false,
        },
        // A container is named in a spec and shown by its id.
        "network_mode" | "pid" | "ipc" => {
            let name =
                |value: &Value| value.as_str().and_then(|text| text.strip_prefix("container:")).map(str::to_owned);
            if let (Some(wanted), Some(id)) = (name(expected), name(seen)) {
                return host.containers.get(&wanted).is_some_and(|container| container.id == id);
            }
            field == "network_mode" && matches!((expected.as_str(), seen.as_str()), (Some("bridge"), Some("default")))
        }
        _ => false,
    }
}

fn map(
    field: &str,
    desired: &InstanceDesired,
    image: Option<&ImageDefaults>,
    live: &ContainerSettings,
    expect: fn(&ContainerSettings, &ImageDefaults) -> BTreeMap<String, String>,
    select: fn(&ContainerSettings) -> Option<&BTreeMap<String, String>>,
    found: &mut Vec<Difference>,
) {
    let none = BTreeMap::new();
    let seen = select(live).unwrap_or(&none);
    // Without the image only what the spec itself sets can be told apart.
    let (wanted, whole) = match image {
        Some(image) => (expect(&desired.settings, image), true),
        None => (select(&desired.settings).cloned().unwrap_or_default(), false),
    };
    for (name, value) in &wanted {
        if seen.get(name) != Some(value) {
            let shown = format!("{field}.{name}");
            push(desired, &shown, &json!(seen.get(name)), &json!(value), Disruption::Replace, field, found);
        }
    }
    if whole {
        for (name, value) in seen {
            if !wanted.contains_key(name) && !name.starts_with(labels::PREFIX) {
                push(
                    desired,
                    &format!("{field}.{name}"),
                    &json!(value),
                    &Value::Null,
                    Disruption::Replace,
                    field,
                    found,
                );
            }
        }
    }
}

fn mounts(desired: &InstanceDesired, detail: &ContainerDetail, found: &mut Vec<Difference>) {
    let none = BTreeMap::new();
    let wanted = desired.settings.volumes.as_ref().unwrap_or(&none);
    let seen = detail.settings.volumes.as_ref().unwrap_or(&none);
    for (target, mount) in wanted {
        let anonymous = matches!(mount, Mount::Volume { source: None, .. });
        let same = match seen.get(target) {
            _ if anonymous && detail.anonymous_volumes.contains_key(target) => true,
            Some(live) => same_mount(mount, live),
            None => false,
        };
        if !same {
            let shown = format!("volumes.{target}");
            push(desired, &shown, &json!(seen.get(target)), &json!(mount), Disruption::Replace, "volumes", found);
        }
    }
    for (target, mount) in seen {
        if !wanted.contains_key(target) && !detail.anonymous_volumes.contains_key(target) {
            let shown = format!("volumes.{target}");
            push(desired, &shown, &json!(mount), &Value::Null, Disruption::Replace, "volumes", found);
        }
    }
}

fn same_mount(wanted: &Mount, live: &Mount) -> bool {
    match (wanted, live) {
        (
            Mount::Bind { source, read_only, propagation, .. },
            Mount::Bind { source: live_source, read_only: live_read_only, propagation: live_propagation, .. },
        ) => {
            source.trim_end_matches('/') == live_source.trim_end_matches('/')
                && read_only == live_read_only
                && (propagation.is_none() || propagation == live_propagation)
        }
        (
            Mount::Volume { source, read_only, .. },
            Mount::Volume { source: live_source, read_only: live_read_only, .. },
        ) => source == live_source && read_only == live_read_only,
        (
            Mount::Tmpfs { size, mode, options },
            Mount::Tmpfs { size: live_size, mode: live_mode, options: live_options },
        ) => {
            (size.is_none() || size == live_size)
                && (mode.is_none() || mode == live_mode)
                && options.iter().all(|option| live_options.contains(option))
        }
        (Mount::Managed { path }, Mount::Managed { path: live_path }) => path == live_path,
        _ => false,
    }
}

fn networks(desired: &InstanceDesired, detail: &ContainerDetail, found: &mut Vec<Difference>) {
    for (name, attachment) in &desired.networks {
        let live = detail.networks.get(name.as_str());
        let reattach = match live {
            Some(live) if same_attachment(attachment, live) => continue,
            Some(_) => true,
            None => false,
        };
        found.push(Difference {
            cause: Cause::new(format!("networks.{name}"), &json!(live), &json!(attachment)),
            class: Disruption::Attach,
            part: Part::Network { name: name.to_string(), reattach },
        });
    }
    // Without networks of its own a container hangs on what its mode says.
    let mode = desired.settings.network_mode.as_deref().unwrap_or("bridge");
    for name in detail.networks.keys() {
        let by_mode = desired.networks.is_empty() && (name == mode || (mode == "default" && name == "bridge"));
        let shared = mode.starts_with("container:") && desired.networks.is_empty();
        if !desired.networks.contains_key(name.as_str()) && !by_mode && !shared {
            found.push(Difference {
                cause: Cause::new(format!("networks.{name}"), &json!("attached"), &Value::Null),
                class: Disruption::Attach,
                part: Part::ExtraNetwork(name.clone()),
            });
        }
    }
    if desired.networks.is_empty() && mode == "bridge" && !detail.networks.contains_key("bridge") {
        found.push(Difference {
            cause: Cause::new("networks.bridge", &Value::Null, &json!("attached")),
            class: Disruption::Attach,
            part: Part::Network { name: "bridge".to_owned(), reattach: false },
        });
    }
}

fn same_attachment(wanted: &Attachment, live: &Attachment) -> bool {
    let unset_or_same = |wanted: &Option<String>, live: &Option<String>| wanted.is_none() || wanted == live;
    wanted.aliases.iter().all(|alias| live.aliases.contains(alias))
        && unset_or_same(&wanted.ipv4_address, &live.ipv4_address)
        && unset_or_same(&wanted.ipv6_address, &live.ipv6_address)
        && unset_or_same(&wanted.mac_address, &live.mac_address)
        && wanted.link_local_ips.iter().all(|address| live.link_local_ips.contains(address))
        && wanted.driver_opts.iter().all(|(name, value)| live.driver_opts.get(name) == Some(value))
}

//! One description of a container laid over another: a service over `defaults.container`, a site's word over a role's.

use super::node::{Entry, Layer, Mapping, Node, Value};

/// Keys whose lists of `defaults.container` and of a service are added up.
const ADDED_UP: [&str; 9] =
    ["volumes", "tmpfs", "configs", "secrets", "env_file", "extra_hosts", "devices", "group_add", "security_opt"];
/// Keys with two spellings, as list and as mapping.
const PAIRS: [&str; 4] = ["environment", "labels", "annotations", "sysctls"];
/// Keys that a service replaces as wholes, though they are mappings.
const WHOLE: [&str; 3] = ["logging", "healthcheck", "blkio_config"];

/// Lays a service over `defaults.container`.
pub fn over_defaults(defaults: &Node, service: &Node) -> Node {
    let mut merged = defaults.clone();
    merged.set_layer(Layer::Defaults);
    lay_over(merged, service)
}

/// Lays one description of a container over another by the same rules; the layers of both stay.
pub fn lay_over(lower: Node, service: &Node) -> Node {
    let mut merged = lower;
    let chooses_network = |node: &Node| node.get("networks").is_some() || node.get("network_mode").is_some();
    if let Value::Mapping(mapping) = &mut merged.value {
        if chooses_network(service) {
            mapping.shift_remove("networks");
            mapping.shift_remove("network_mode");
        }
        for key in WHOLE {
            if service.as_mapping().is_some_and(|service| service.contains_key(key)) {
                mapping.shift_remove(key);
            }
        }
    }
    let mut service = service.clone();
    for key in PAIRS {
        pairs_as_mapping(&mut merged, key);
        pairs_as_mapping(&mut service, key);
    }
    if let Value::Mapping(mapping) = &mut service.value {
        for (key, entry) in mapping.iter_mut() {
            if ADDED_UP.contains(&key.as_str())
                && !entry.value.is_null()
                && let Some(lower) = merged.get(key)
            {
                entry.value = added_up(lower, &entry.value);
            }
        }
    }
    let place = service.place;
    merged.overlay(service);
    merged.place = place;
    merged
}

/// The items of both; mappings (as of `extra_hosts`) are left to the usual merge.
fn added_up(lower: &Node, upper: &Node) -> Node {
    if upper.as_mapping().is_some() || lower.as_mapping().is_some() {
        return upper.clone();
    }
    let items = lower.items().iter().chain(upper.items()).cloned().collect();
    Node { value: Value::Sequence(items), ..upper.clone() }
}

/// `[A=1]` as `{A: 1}`, so that both spellings merge. What is no such list is left to be reported later.
fn pairs_as_mapping(node: &mut Node, key: &str) {
    let Value::Mapping(mapping) = &mut node.value else { return };
    let Some(entry) = mapping.get_mut(key) else { return };
    let Value::Sequence(items) = &entry.value.value else { return };
    let mut pairs = Mapping::new();
    for item in items {
        let Some((name, value)) = item.as_text().and_then(|text| text.split_once('=')) else { return };
        let value = Node::text(value, item.place, item.layer);
        if pairs.insert(name.to_owned(), Entry { key_place: item.place, value }).is_some() {
            return;
        }
    }
    entry.value.value = Value::Mapping(pairs);
}

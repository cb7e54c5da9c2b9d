//! A role that is used under another name: its own names in its own text become those of this use.

use indexmap::IndexMap;

use crate::parse::node::{Node, Scalar, Value};

/// What an own name of the role is called in a use of it: the service that bears the role's name takes that of the use,
/// everything else gets it in front.
pub fn renamed(own: &str, role: &str, called: &str) -> String {
    if role == called {
        own.to_owned()
    } else if own == role {
        called.to_owned()
    } else {
        format!("{called}-{own}")
    }
}

/// Renames services, jobs and volumes that a service or job refers to.
pub fn references(node: &mut Node, names: &IndexMap<String, String>) {
    let Value::Mapping(mapping) = &mut node.value else { return };
    for (key, entry) in mapping.iter_mut() {
        match key.as_str() {
            // Those that see a fileset.
            "services" => each(&mut entry.value, |name| names.get(name).cloned()),
            "depends_on" => list_or_keys(&mut entry.value, names),
            "like" | "service" => text(&mut entry.value, |name| names.get(name).cloned()),
            "volumes_from" => each(&mut entry.value, |name| before_colon(name, names)),
            "volumes" => {
                each(&mut entry.value, |name| before_colon(name, names));
                if let Value::Sequence(items) = &mut entry.value.value {
                    for item in items {
                        key_text(item, "source", |name| names.get(name).cloned());
                    }
                }
            }
            "network_mode" | "pid" | "ipc" => text(&mut entry.value, |value| {
                let name = value.strip_prefix("service:")?;
                names.get(name).map(|name| format!("service:{name}"))
            }),
            "done_when" => key_text(&mut entry.value, "service", |name| names.get(name).cloned()),
            _ => {}
        }
    }
}

/// Renames the keys of a mapping or the items of a list.
pub fn list_or_keys(node: &mut Node, names: &IndexMap<String, String>) {
    if let Value::Mapping(mapping) = &mut node.value {
        let entries = std::mem::take(mapping);
        mapping.extend(entries.into_iter().map(|(key, entry)| (names.get(&key).cloned().unwrap_or(key), entry)));
    } else {
        each(node, |name| names.get(name).cloned());
    }
}

fn before_colon(text: &str, names: &IndexMap<String, String>) -> Option<String> {
    let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
    names.get(name).map(|name| format!("{name}{rest}"))
}

fn each(node: &mut Node, rename: impl Fn(&str) -> Option<String>) {
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| text(item, &rename)),
        Value::Scalar(_) => text(node, rename),
        Value::Mapping(_) => {}
    }
}

fn key_text(node: &mut Node, key: &str, rename: impl Fn(&str) -> Option<String>) {
    let Value::Mapping(mapping) = &mut node.value else { return };
    if let Some(entry) = mapping.get_mut(key) {
        text(&mut entry.value, rename);
    }
}

fn text(node: &mut Node, rename: impl Fn(&str) -> Option<String>) {
    if let Value::Scalar(Scalar { text, .. }) = &mut node.value
        && let Some(name) = rename(text)
    {
        *text = name;
    }
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn the_main_service_takes_the_name_and_others_get_it_in_front() {
        assert_eq!(renamed("rabbitmq", "rabbitmq", "rabbitmq-notify"), "rabbitmq-notify");
        assert_eq!(renamed("install", "rabbitmq", "rabbitmq-notify"), "rabbitmq-notify-install");
        assert_eq!(renamed("install", "rabbitmq", "rabbitmq"), "install");
    }
}

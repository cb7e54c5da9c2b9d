//! One use of a role goes into the site: its services and jobs with the site's changes, its networks and volumes.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::model::names::{FilesetName, JobName, NameError, ServiceName};
use crate::parse::diagnostic::Diagnostic;
use crate::parse::layering::lay_over;
use crate::parse::node::{Entry as NodeEntry, Mapping, Node, Value};
use crate::parse::role::RoleUse;
use crate::parse::site::{Site, Written};
use crate::parse::suggest::did_you_mean;

use super::rename::{references, renamed};
use super::{Entry, names};

/// Puts a role into the site.
pub(super) fn insert(site: &mut Site, entry: &Entry, errors: &mut Vec<Diagnostic>) -> Arc<RoleUse> {
    let role = &entry.role;
    let own_names = role.services.keys().chain(role.jobs.keys()).chain(role.objects.keys()).chain(role.volumes.keys());
    let own_names = own_names.chain(role.filesets.keys());
    let called: IndexMap<String, String> =
        own_names.map(|own| (own.clone(), renamed(own, role.name.as_str(), entry.name.as_str()))).collect();
    let own = |key: &str| entry.node.get(key).filter(|_| !entry.is_included);
    let without = if entry.is_included { Vec::new() } else { names(&entry.node, "without") };
    for name in &without {
        if !called.contains_key(&name.value) {
            errors.push(unknown(entry, &name.value, name.place, called.keys()));
        }
    }
    let used = Arc::new(RoleUse {
        role: role.clone(),
        name: entry.name.clone(),
        place: entry.place,
        vars: own("vars").cloned(),
        names: called,
        without: without.into_iter().map(|name| name.value).collect(),
        is_included: entry.is_included,
    });
    check_patches(entry, &used, errors);
    let services: Vec<(String, Written)> =
        role.services.iter().map(|(name, written)| (name.clone(), written.clone())).collect();
    put(&mut site.services, services, "services", &used, entry, errors, ServiceName::new);
    let jobs: Vec<(String, Written)> =
        role.jobs.iter().map(|(name, written)| (name.clone(), written.clone())).collect();
    put(&mut site.jobs, jobs, "jobs", &used, entry, errors, JobName::new);
    put_filesets(site, &used, errors);
    for (section, declared) in [("networks", &role.networks), ("volumes", &role.volumes)] {
        for (name, written) in declared {
            declare(&mut site.spec, section, &used.name_of(name), written);
        }
    }
    used
}

fn unknown<'a>(
    entry: &Entry,
    name: &str,
    place: crate::parse::source::Place,
    known: impl Iterator<Item = &'a String>,
) -> Diagnostic {
    Diagnostic::error("R001", place, format!("the role `{}` has no `{name}`", entry.role.name))
        .maybe_help(did_you_mean(name, known.map(String::as_str)))
}

fn check_patches(entry: &Entry, used: &RoleUse, errors: &mut Vec<Diagnostic>) {
    if entry.is_included {
        return;
    }
    for (section, declared) in
        [("services", &used.role.services), ("place", &used.role.services), ("jobs", &used.role.jobs)]
    {
        for (name, patch) in entry.node.get(section).into_iter().flat_map(Node::entries) {
            // A job can be placed, too.
            let is_known = declared.contains_key(name) || section == "place" && used.role.jobs.contains_key(name);
            if !is_known {
                errors.push(unknown(entry, name, patch.key_place, declared.keys()));
            }
        }
    }
    for (name, var) in used.vars.iter().flat_map(Node::entries) {
        if !used.role.vars.contains_key(name) {
            let error = Diagnostic::error(
                "R001",
                var.key_place,
                format!("the role `{}` has no variable `{name}`", used.role.name),
            );
            errors.push(error.maybe_help(did_you_mean(name, used.role.vars.keys().map(String::as_str))));
        }
    }
}

fn put<T: std::hash::Hash + Eq>(
    table: &mut IndexMap<T, Written>,
    declared: Vec<(String, Written)>,
    section: &str,
    used: &Arc<RoleUse>,
    entry: &Entry,
    errors: &mut Vec<Diagnostic>,
    make: fn(String) -> Result<T, NameError>,
) {
    for (own, written) in declared {
        if used.without.contains(&own) {
            continue;
        }
        let name = used.name_of(&own);
        let key = match make(name.clone()) {
            Ok(key) => key,
            Err(why) => {
                errors.push(Diagnostic::error("N001", written.key_place, format!("`{name}`: {why}")));
                continue;
            }
        };
        if let Some(other) = table.get(&key) {
            let error = Diagnostic::error(
                "R003",
                other.key_place,
                format!("`{name}` is declared by the role `{}`, too", used.name),
            );
            errors.push(error.also(written.key_place, "the role's").help(format!(
                "to change it, write `{section}: {{{own}: ...}}` into the role's entry of `spec.roles`"
            )));
            continue;
        }
        let mut node = written.node.clone();
        if used.name.as_str() != used.role.name.as_str() {
            references(&mut node, &used.names);
        }
        let patch = entry.node.get(section).filter(|_| !entry.is_included).and_then(|patches| patches.get(&own));
        if let Some(patch) = patch {
            let place = node.place;
            node = lay_over(node, patch);
            // Errors are told apart by where a service stands, which is the role.
            node.place = place;
        }
        let placed = entry.node.get("place").filter(|_| !entry.is_included).and_then(|place| place.get(&own));
        let follows = section == "jobs" && node.get("like").is_some();
        let hosts = placed.or_else(|| entry.node.get("hosts").filter(|_| !follows));
        if let (Some(hosts), Value::Mapping(mapping)) = (hosts, &mut node.value) {
            mapping.entry("hosts".to_owned()).or_insert(NodeEntry { key_place: hosts.place, value: hosts.clone() });
        }
        table.insert(key, Written { key_place: written.key_place, node, role: Some(used.clone()), provider: None });
    }
}

fn put_filesets(site: &mut Site, used: &Arc<RoleUse>, errors: &mut Vec<Diagnostic>) {
    for (own, written) in &used.role.filesets {
        if used.without.contains(own) {
            continue;
        }
        let name = used.name_of(own);
        let key = match FilesetName::new(name.clone()) {
            Ok(key) => key,
            Err(why) => {
                errors.push(Diagnostic::error("N001", written.key_place, format!("`{name}`: {why}")));
                continue;
            }
        };
        if let Some(other) = site.filesets.get(&key) {
            let message = format!("the fileset `{name}` is declared twice");
            let error = Diagnostic::error("R003", other.key_place, message).also(written.key_place, "here, too");
            errors.push(error.help("filesets of all roles share their names: call one of them otherwise"));
            continue;
        }
        let mut node = written.node.clone();
        if used.name.as_str() != used.role.name.as_str() {
            references(&mut node, &used.names);
        }
        let written = Written { key_place: written.key_place, node, role: Some(used.clone()), provider: None };
        site.filesets.insert(key, written);
    }
}

/// A network or volume; what the site says of the same one lies over it.
fn declare(spec: &mut Node, section: &str, name: &str, written: &Written) {
    let (place, layer) = (spec.place, spec.layer);
    let Value::Mapping(mapping) = &mut spec.value else { return };
    let empty = NodeEntry { key_place: place, value: Node::empty_mapping(place, layer) };
    let all = mapping.entry(section.to_owned()).or_insert(empty);
    if all.value.as_mapping().is_none() {
        all.value = Node::empty_mapping(all.key_place, layer);
    }
    let Value::Mapping(all) = &mut all.value.value else { return };
    let own = NodeEntry { key_place: written.key_place, value: mapping_of(&written.node) };
    match all.get_mut(name) {
        Some(theirs) => {
            let upper = std::mem::replace(&mut theirs.value, own.value);
            theirs.value.overlay(mapping_of(&upper));
        }
        None => drop(all.insert(name.to_owned(), own)),
    }
}

fn mapping_of(node: &Node) -> Node {
    if node.as_mapping().is_some() {
        node.clone()
    } else {
        Node { value: Value::Mapping(Mapping::new()), ..node.clone() }
    }
}

//! Roles become services, jobs, networks and volumes of the site.
//!
//! In: `spec.roles`, the folders of roles. Out: entries in the site's own tables, each with the [`crate::parse::role::RoleUse`] that it belongs
//! to, so that everything after this treats a role's service like any other; and what roles know of each other ([`facts`]).

pub mod alone;
pub mod facts;
pub mod find;
mod insert;
pub mod objects;
pub mod reference;
mod rename;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
pub mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::model::names::RoleName;
use crate::model::role_set::RoleSet;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::read::{At, Reader};
use crate::parse::role::Role;
use crate::parse::site::Site;
use crate::parse::suggest::did_you_mean;

use self::find::Finder;

/// One entry of `spec.roles`, or a role that another one includes.
struct Entry {
    role: Arc<Role>,
    name: RoleName,
    /// The entry; for an included role that of the one that includes it, of which only the placement counts.
    node: Node,
    place: crate::parse::source::Place,
    is_included: bool,
}

/// Puts the roles of a site into it.
pub fn add(site: &mut Site, finder: &mut Finder<'_>, errors: &mut Vec<Diagnostic>) {
    let written: Vec<Node> = site.spec.get("roles").map(Node::items).unwrap_or_default().to_vec();
    let mut reader = Reader::default();
    let mut entries: IndexMap<RoleName, Entry> = IndexMap::new();
    for node in written.iter().filter(|node| node.as_mapping().is_some()) {
        let Some(wanted) = reader.at(node, "role", |s| Ok(s.text.clone())) else { continue };
        let called = reader.at(node, "name", |s| Ok(s.text.clone())).unwrap_or_else(|| wanted.clone());
        let name = match RoleName::new(called.value.as_str()) {
            Ok(name) => name,
            Err(why) => {
                errors.push(Diagnostic::error("N001", called.place, format!("`{}`: {why}", called.value)));
                continue;
            }
        };
        let Some(role) = finder.find(&wanted, errors) else { continue };
        if let Some(first) = entries.get(&name) {
            let error = Diagnostic::error("R003", called.place, format!("the role `{name}` is there twice"));
            errors.push(error.also(first.place, "here first").help("give one of them another `name`"));
            continue;
        }
        entries.insert(name.clone(), Entry { role, name, node: node.clone(), place: wanted.place, is_included: false });
    }
    errors.append(&mut reader.errors);
    let ordered = with_included(entries, finder, errors);
    for entry in ordered.into_values() {
        let used = insert::insert(site, &entry, errors);
        site.roles.push(used);
    }
    check_objects(site, errors);
}

/// Adds what roles include, before those that include it. What the site names itself is as the site says.
fn with_included(
    named: IndexMap<RoleName, Entry>,
    finder: &mut Finder<'_>,
    errors: &mut Vec<Diagnostic>,
) -> IndexMap<RoleName, Entry> {
    let explicit: IndexSet<String> = named.values().map(|entry| entry.role.name.as_str().to_owned()).collect();
    let mut all = IndexMap::new();
    for entry in named.into_values() {
        let mut path = Vec::new();
        include(entry, &explicit, finder, &mut path, &mut all, errors);
    }
    all
}

fn include(
    entry: Entry,
    explicit: &IndexSet<String>,
    finder: &mut Finder<'_>,
    path: &mut Vec<String>,
    all: &mut IndexMap<RoleName, Entry>,
    errors: &mut Vec<Diagnostic>,
) {
    path.push(entry.role.name.as_str().to_owned());
    for wanted in entry.role.includes.clone() {
        if path.contains(&wanted.value) {
            let chain = format!("{} -> {}", path.join(" -> "), wanted.value);
            errors.push(Diagnostic::error("R002", wanted.place, format!("roles include each other: {chain}")));
            continue;
        }
        if explicit.contains(&wanted.value) || all.contains_key(wanted.value.as_str()) {
            continue;
        }
        let Some(role) = finder.find(&wanted, errors) else { continue };
        let name = role.name.clone();
        let child = Entry { role, name, node: entry.node.clone(), place: entry.place, is_included: true };
        include(child, explicit, finder, path, all, errors);
    }
    path.pop();
    all.entry(entry.name.clone()).or_insert(entry);
}

/// The roles of a site as sets.
pub fn sets(site: &Site) -> BTreeMap<RoleName, RoleSet> {
    let came_along = |name: &str| site.roles.iter().any(|used| used.is_included && used.name.as_str() == name);
    let sets = site.roles.iter().map(|used| {
        let includes = used.role.includes.iter().map(|part| part.value.as_str()).filter(|part| came_along(part));
        let includes = includes.filter_map(|part| RoleName::new(part).ok()).collect();
        let set = RoleSet { role: used.role.name.clone(), version: used.role.version.clone(), includes };
        (used.name.clone(), set)
    });
    sets.collect()
}

/// Providers that sets of objects name have to be there.
fn check_objects(site: &Site, errors: &mut Vec<Diagnostic>) {
    let known = || {
        site.roles.iter().flat_map(|used| used.role.providers.keys().map(move |kind| format!("{}/{kind}", used.name)))
    };
    for used in &site.roles {
        for written in used.role.objects.values() {
            let Some(node) = written.node.get("provider") else { continue };
            let Some(provider) = node.as_text() else { continue };
            if known().any(|name| name == provider) {
                continue;
            }
            let names: Vec<String> = known().collect();
            let error =
                Diagnostic::error("R001", node.place, format!("`{provider}` is no provider of a role of this site"));
            errors.push(
                error
                    .also(used.place, "wanted because of this role")
                    .maybe_help(did_you_mean(provider, names.iter().map(String::as_str)))
                    .help("add the role that has it to `spec.roles`"),
            );
        }
    }
}

/// An entry's list of names.
fn names(node: &Node, key: &str) -> Vec<At<String>> {
    Reader::default().texts_at(node, key)
}

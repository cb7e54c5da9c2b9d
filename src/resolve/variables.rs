//! Variables of a host with their layers, and what else templates see.

use serde_json::json;

use crate::model::names::HostName;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Node, Scalar};
use crate::parse::role::RoleUse;
use crate::parse::site::Site;
use crate::parse::source::{Place, Sources};
use crate::render::variables::{Context, ContextBuilder, Layer, RESERVED, SharedData, Variable};

use super::hosts::Groups;
use super::roles::facts::describe;

/// One layer of variables: what it is called, and what it holds.
#[derive(Clone, Debug)]
pub struct VariableLayer {
    /// As `site`, `group web`, `host here`, `-e`.
    pub name: String,
    /// Names, values and places; those of the command line have none.
    pub variables: Vec<(String, serde_json::Value, Option<Place>)>,
}

/// The layers of a host, lowest first: defaults of the role, site, groups with parents first, host, the role's entry in the
/// site, command line.
pub fn layers(
    site: &Site,
    groups: &Groups,
    host: &HostName,
    extra: &[(String, String)],
    used: Option<&RoleUse>,
) -> Vec<VariableLayer> {
    let mut layers: Vec<VariableLayer> = used.map(defaults).into_iter().collect();
    layers.push(layer("site".to_owned(), site.vars.as_ref()));
    for name in groups.of(host) {
        if let Some(group) = site.groups.get(name) {
            layers.push(layer(format!("group {name}"), group.vars.as_ref()));
        }
    }
    layers.push(layer(format!("host {host}"), site.hosts.get(host).and_then(|host| host.vars.as_ref())));
    if let Some(used) = used {
        layers.push(layer(format!("entry of the role {}", used.name), used.vars.as_ref()));
    }
    let given = extra.iter().map(|(name, text)| {
        let scalar = Node::scalar(Scalar::plain(text), Place::default(), crate::parse::node::Layer::Site);
        (name.clone(), scalar.to_json(), None)
    });
    layers.push(VariableLayer { name: "-e".to_owned(), variables: given.collect() });
    layers.retain(|layer| !layer.variables.is_empty());
    layers
}

fn defaults(used: &RoleUse) -> VariableLayer {
    let variables = used.role.vars.iter().filter_map(|(name, declared)| {
        Some((name.clone(), declared.default.as_ref()?.to_json(), Some(declared.place)))
    });
    VariableLayer { name: format!("role {}", used.role.name), variables: variables.collect() }
}

fn layer(name: String, vars: Option<&Node>) -> VariableLayer {
    let variables = vars
        .into_iter()
        .flat_map(Node::entries)
        .map(|(name, entry)| (name.to_owned(), entry.value.to_json(), Some(entry.key_place)));
    VariableLayer { name, variables: variables.collect() }
}

/// Reports variables that no template could use.
pub fn check_names(site: &Site, extra: &[(String, String)], errors: &mut Vec<Diagnostic>) {
    let of_groups = site.groups.values().filter_map(|group| group.vars.as_ref());
    let of_hosts = site.hosts.values().filter_map(|host| host.vars.as_ref());
    for vars in site.vars.iter().chain(of_groups).chain(of_hosts) {
        for (name, entry) in vars.entries() {
            if let Err(why) = check_name(name) {
                errors.push(Diagnostic::error("N001", entry.key_place, why));
            }
        }
    }
    for (name, _) in extra {
        if let Err(why) = check_name(name) {
            errors.push(Diagnostic::general("N001", format!("-e: {why}")));
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !letters || name.bytes().next().is_none_or(|b| b.is_ascii_digit()) {
        return Err(format!(
            "`{name}` is no name of a variable: it takes letters, digits and `_`, and starts with no digit"
        ));
    }
    let reserved = RESERVED.contains(&name) || name == "hosts" || name == "service" || name == "job";
    if reserved || matches!(name, "true" | "false" | "none" | "not" | "and" | "or" | "in" | "is" | "if" | "else") {
        return Err(format!("`{name}` means something in templates already; choose another name for the variable"));
    }
    Ok(())
}

/// What templates of a host see, but for secrets and what roles know of each other.
pub fn builder(
    site: &Site,
    groups: &Groups,
    host: &HostName,
    layers: &[VariableLayer],
    sources: &Sources,
    data: &SiteData,
) -> ContextBuilder {
    let mut builder = Context::builder();
    for layer in layers {
        let variables = layer.variables.iter().map(|(name, value, place)| {
            let origin = place.map_or_else(|| layer.name.clone(), |place| sources.describe(place));
            (name.clone(), Variable::at(value.clone(), origin.as_str()))
        });
        builder = builder.layer(variables.collect::<Layer>());
    }
    let of_host: Vec<String> = groups.of(host).map(str::to_owned).collect();
    builder
        .data("host", &describe(site, &of_host, host))
        .shared("hosts", &data.hosts)
        .shared("groups", &data.groups)
        .shared("site", &data.site)
}

/// What templates of all hosts see alike: made once, or a site of many hosts would cost their number squared.
#[derive(Debug)]
pub struct SiteData {
    hosts: SharedData,
    groups: SharedData,
    site: SharedData,
}

impl SiteData {
    /// Of a site.
    pub fn new(site: &Site, groups: &Groups) -> Self {
        let described = |name: &HostName| {
            let of_host: Vec<String> = groups.of(name).map(str::to_owned).collect();
            describe(site, &of_host, name)
        };
        let hosts = site.hosts.keys().map(|name| (name.as_str().to_owned(), described(name)));
        let endpoints = site.spec.get("endpoints").map_or_else(|| json!({}), Node::to_json);
        Self {
            hosts: SharedData::new(&serde_json::Value::Object(hosts.collect())),
            groups: SharedData::new(&groups.to_json(site)),
            site: SharedData::new(&json!({"name": site.name.as_str(), "endpoints": endpoints})),
        }
    }
}

//! What roles know of each other: where services run, and what is provided at which address.
//!
//! Worked out once for the whole site. What is provided is evaluated with the variables of the role that provides it, on
//! each host that does; expressions there see everything but what other roles provide, so that nothing goes in circles.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::model::facts::{InterfaceAddress, MissingFact};
use crate::model::names::HostName;
use crate::model::time::Span;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::read::Reader;
use crate::parse::role::RoleUse;
use crate::parse::scalars;
use crate::parse::site::{Host, Site};
use crate::render::missing;
use crate::render::template::Templates;

use crate::resolve::addresses;
use crate::resolve::compile::CompileRequest;
use crate::resolve::expand::Expander;
use crate::resolve::tree::Tree;
use crate::resolve::variables::{builder, layers};

/// What templates see as `placement`, `endpoints` and `provides`.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By service: the hosts on which it runs.
    pub placement: Json,
    /// By name: what is provided.
    pub endpoints: Json,
    /// What is provided, in the order of the roles.
    pub provides: Json,
    /// What is provided with `drain`.
    pub drains: Vec<Drain>,
    /// What is wrong with it.
    pub errors: Vec<Diagnostic>,
}

/// An endpoint whose clients are led away before an instance is stopped.
#[derive(Clone, Debug)]
pub struct Drain {
    /// What load balancers call it.
    pub endpoint: String,
    /// The service that answers.
    pub service: String,
    /// Its hosts, and how long the clients have there.
    pub timeouts: Vec<(HostName, Span)>,
}

/// How long clients have where nothing else is said.
const DRAIN: Span = Span::seconds(30);

/// The address at which others reach services of a host: on the network of `endpoints.internal`, else on the only network
/// of addresses, else the host's own. A mark where it is not known yet.
pub fn service_address(site: &Site, host: &HostName) -> String {
    let Some(entry) = site.hosts.get(host) else { return host.as_str().to_owned() };
    let internal = site.spec.get("endpoints").and_then(|endpoints| endpoints.get("internal"));
    let network = internal.and_then(|internal| internal.get("network")).and_then(Node::as_text);
    let network = network.or_else(|| match site.address_networks.len() {
        1 => site.address_networks.keys().next().map(String::as_str),
        _ => None,
    });
    if let Some(missing) = network.and_then(|network| entry.missing.get(network)) {
        return missing::mark(missing);
    }
    let address = network.and_then(|network| entry.addresses.get(network)).map(ToString::to_string);
    address.or_else(|| entry.address.clone()).unwrap_or_else(|| match site.hosts.len() {
        1 => "127.0.0.1".to_owned(),
        _ => host.as_str().to_owned(),
    })
}

/// A host as others see it. `ordinal` is the number that it was given once.
pub fn describe(site: &Site, groups: &[String], name: &HostName) -> Json {
    let entry = site.hosts.get(name);
    let known = entry.map(|host| &host.addresses).into_iter().flatten();
    let known = known.map(|(network, address)| (network.clone(), json!(address.to_string())));
    let missing = entry.map(|host| &host.missing).into_iter().flatten();
    let missing = missing.map(|(network, missing)| (network.clone(), json!(missing::mark(missing))));
    let addresses = known.chain(missing);
    json!({
        "name": name.as_str(),
        "groups": groups,
        "address": Json::Object(addresses.collect()),
        "reached_at": entry.and_then(|host| host.address.clone()),
        "ip": service_address(site, name),
        "facts": entry.map(|host| machine(name, host)),
        "ordinal": entry.map_or(0, |host| host.ordinal),
    })
}

/// What templates see of a host's machine: what stays for as long as nobody changes the machine.
fn machine(name: &HostName, host: &Host) -> Json {
    let facts = match addresses::machine(name, host) {
        Ok(facts) => facts,
        Err(missing) => return missing::mark(&missing).into(),
    };
    let of_interface = |all: &Vec<InterfaceAddress>| all.iter().map(|own| own.address.to_string()).collect::<Vec<_>>();
    let interfaces = facts.interfaces.iter().flatten();
    let interfaces: BTreeMap<&String, Vec<String>> = interfaces.map(|(name, all)| (name, of_interface(all))).collect();
    json!({
        "hostname": facts.hostname,
        "os": facts.os,
        "architecture": facts.architecture,
        "cpus": facts.cpus,
        "memory": facts.memory,
        "interfaces": interfaces,
    })
}

/// The hosts on which any service of a role runs, in the order of the file.
pub fn members(tree: &Tree, used: &RoleUse) -> Vec<HostName> {
    let services: Vec<_> = tree
        .site
        .services
        .iter()
        .filter(|(_, written)| written.role.as_ref().is_some_and(|role| role.name == used.name))
        .filter_map(|(name, _)| tree.services.get(name))
        .collect();
    tree.site.hosts.keys().filter(|host| services.iter().any(|hosts| hosts.contains(host))).cloned().collect()
}

/// Works it out.
pub fn facts(tree: &Tree, request: &CompileRequest) -> Facts {
    let described: BTreeMap<&HostName, Json> = tree
        .site
        .hosts
        .keys()
        .map(|name| {
            let groups: Vec<String> = tree.groups.of(name).map(str::to_owned).collect();
            (name, describe(&tree.site, &groups, name))
        })
        .collect();
    let list = |hosts: &[HostName]| hosts.iter().filter_map(|host| described.get(host).cloned()).collect::<Vec<_>>();
    let placement: Map<String, Json> =
        tree.services.iter().map(|(name, hosts)| (name.as_str().to_owned(), list(hosts).into())).collect();
    let mut facts = Facts { placement: placement.into(), ..Facts::default() };
    let mut endpoints = Map::new();
    let mut provides = Vec::new();
    for used in &tree.site.roles {
        for (name, written) in &used.role.provides {
            let own = written.node.get("service").and_then(Node::as_text);
            let Some(own) = own.map(str::to_owned).or_else(|| used.role.services.keys().next().cloned()) else {
                continue;
            };
            let service = used.name_of(&own);
            let hosts = tree.services.get(service.as_str()).cloned().unwrap_or_default();
            let provided = match provided(tree, request, used, &written.node, &hosts) {
                Ok(each) => {
                    facts.drains.extend(drain(name, &service, &hosts, &each, &mut facts.errors));
                    let each = each.iter().map(Node::to_json).collect();
                    endpoint(tree, used, name, &service, &hosts, each)
                }
                Err(NotProvided::Waits(missing)) => missing::mark(&missing).into(),
                Err(NotProvided::Wrong(errors)) => {
                    facts.errors.extend(errors);
                    continue;
                }
            };
            // Used under another name, its endpoints bear that name as well.
            let key = if used.name.as_str() == used.role.name.as_str() {
                name.clone()
            } else {
                format!("{}-{name}", used.name)
            };
            if endpoints.insert(key.clone(), provided.clone()).is_some() {
                let error = Diagnostic::error("R003", written.key_place, format!("`{key}` is provided by two roles"));
                facts.errors.push(error.also(used.place, "one of them"));
            }
            provides.push(provided);
        }
    }
    facts.endpoints = endpoints.into();
    facts.provides = provides.into();
    facts
}

/// Why it is not known what is provided.
enum NotProvided {
    /// For want of a fact.
    Waits(MissingFact),
    /// It cannot be evaluated.
    Wrong(Vec<Diagnostic>),
}

/// What is provided, evaluated on each of its hosts.
fn provided(
    tree: &Tree,
    request: &CompileRequest,
    used: &RoleUse,
    node: &Node,
    hosts: &[HostName],
) -> Result<Vec<Node>, NotProvided> {
    let templates = Templates::new(|_| None);
    let mut all = Vec::new();
    for host in hosts {
        let layers = layers(&tree.site, &tree.groups, host, &request.extra_vars, Some(used));
        let context = builder(&tree.site, &tree.groups, host, &layers, &tree.sources, tree.data()).build();
        let mut expander = Expander::new(&templates, &context, &tree.sources);
        let outcome = expander.expand(node, "provides");
        let (waits, wrong): (Vec<_>, Vec<_>) = expander.errors.into_iter().partition(|error| error.waits.is_some());
        if !wrong.is_empty() {
            return Err(NotProvided::Wrong(wrong));
        }
        if let Some(missing) = waits.into_iter().find_map(|error| error.waits) {
            return Err(NotProvided::Waits(missing));
        }
        all.push(outcome);
    }
    Ok(all)
}

/// How long clients have at each host; none where they are not led away.
fn drain(
    endpoint: &str,
    service: &str,
    hosts: &[HostName],
    each: &[Node],
    errors: &mut Vec<Diagnostic>,
) -> Option<Drain> {
    let mut reader = Reader::default();
    let mut timeouts = Vec::new();
    for (host, node) in hosts.iter().zip(each) {
        let Some(drain) = node.get("drain") else { continue };
        timeouts.push((host.clone(), reader.scalar(drain, "timeout", scalars::duration).unwrap_or(DRAIN)));
    }
    errors.append(&mut reader.errors);
    let drain = Drain { endpoint: endpoint.to_owned(), service: service.to_owned(), timeouts };
    (!drain.timeouts.is_empty()).then_some(drain)
}

fn endpoint(tree: &Tree, used: &RoleUse, name: &str, service: &str, hosts: &[HostName], each: Vec<Json>) -> Json {
    let port_of = |one: &Json| match one.get("port") {
        Some(Json::String(text)) => text.parse::<u16>().map_or(Json::Null, Json::from),
        Some(port) => port.clone(),
        None => Json::Null,
    };
    let backends: Vec<Json> = hosts
        .iter()
        .zip(&each)
        .map(|(host, one)| {
            json!({"name": host.as_str(), "address": service_address(&tree.site, host), "port": port_of(one)})
        })
        .collect();
    let first = each.first().cloned().unwrap_or_else(|| json!({}));
    let internal = tree.site.spec.get("endpoints").and_then(|endpoints| endpoints.get("internal"));
    let of_internal = |key: &str| internal.and_then(|internal| internal.get(key)).and_then(Node::as_text);
    let frontend = first.get("frontend").filter(|frontend| frontend.is_object());
    let vip = of_internal("vip").filter(|_| frontend.is_some());
    let own_port = port_of(&first);
    let port = match frontend.and_then(|frontend| frontend.get("port")) {
        Some(Json::String(text)) if vip.is_some() => text.parse::<u16>().map_or(Json::Null, Json::from),
        Some(port) if vip.is_some() => port.clone(),
        _ => own_port,
    };
    let address = vip.map(str::to_owned).or_else(|| hosts.first().map(|host| service_address(&tree.site, host)));
    let host = match vip {
        Some(vip) => of_internal("fqdn").unwrap_or(vip).to_owned(),
        None => address.clone().unwrap_or_default(),
    };
    let scheme = first.get("scheme").and_then(Json::as_str).unwrap_or("http");
    let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    json!({
        "name": name,
        "role": used.name.as_str(),
        "service": service,
        "host": host,
        "address": address,
        "port": port,
        "url": format!("{scheme}://{shown}:{}", port.as_u64().unwrap_or_default()),
        "frontend": frontend,
        "metrics": first.get("metrics"),
        "backends": backends,
    })
}

//! Addresses that the site does not declare are taken from what is known of the machines.
//!
//! In: a site as it was read, and facts. Out: the site with an address of each host in each network of addresses, or with
//! the reason why there is none. What is declared needs no facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::facts::{HostFacts, InterfaceAddress, MissingFact, SiteFacts};
use crate::model::names::HostName;
use crate::parse::node::Node;
use crate::parse::site::{Connection, Host, Site};

/// Fills in what facts tell. Whether anything has to be known of the machines at all. With `assume`, something is made up
/// for machines of which nothing is known.
pub fn derive(site: &mut Site, facts: &SiteFacts, assume: bool) -> bool {
    let Site { hosts, address_networks, .. } = site;
    let mut is_needed = false;
    for (index, (name, host)) in hosts.iter_mut().enumerate() {
        host.facts = facts.get(name).cloned();
        if assume {
            host.facts.get_or_insert_with(|| Arc::new(made_up(index, address_networks.values())));
        }
        for (network, cidr) in &*address_networks {
            if host.addresses.contains_key(network) {
                continue;
            }
            is_needed = true;
            match address(name, host, network, *cidr) {
                Ok(address) => drop(host.addresses.insert(network.clone(), address)),
                Err(missing) => drop(host.missing.insert(network.clone(), missing)),
            }
        }
    }
    is_needed
}

/// A machine with an address in each network.
fn made_up<'a>(index: usize, networks: impl Iterator<Item = &'a (IpAddr, u8)>) -> HostFacts {
    let within = |(base, prefix): &(IpAddr, u8)| {
        let address = match base {
            IpAddr::V4(base) => IpAddr::V4(base.to_bits().saturating_add(u32::try_from(index).unwrap_or(0) + 1).into()),
            IpAddr::V6(base) => IpAddr::V6(base.to_bits().saturating_add(index as u128 + 1).into()),
        };
        InterfaceAddress { address, prefix: *prefix }
    };
    let interfaces = BTreeMap::from([("eth0".to_owned(), networks.map(within).collect())]);
    let os = "Linux".to_owned();
    HostFacts { cpus: 4, memory: 8 << 30, os, interfaces: Some(interfaces), ..HostFacts::default() }
}

fn address(name: &HostName, host: &Host, network: &str, (base, prefix): (IpAddr, u8)) -> Result<IpAddr, MissingFact> {
    let fix = format!("declare it: `hosts.{name}.addresses.{network}`");
    let missing = |message: String| MissingFact { host: name.clone(), message };
    let Some(facts) = &host.facts else {
        return Err(missing(format!("the address of `{name}` in `{network}` is not known yet")));
    };
    if facts.interfaces.is_none() {
        let why = if matches!(&host.connection, Connection::Docker { host, .. } if host.starts_with("tcp:")) {
            "an engine on TCP does not tell it"
        } else {
            "the host does not tell it"
        };
        return Err(missing(format!("the address of `{name}` in `{network}` is not known, and {why}; {fix}")));
    }
    match facts.addresses_in(base, prefix).as_slice() {
        [only] => Ok(*only),
        [] => Err(missing(format!("`{name}` has no address in `{network}` ({base}/{prefix}); {fix}"))),
        several => {
            let all: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!("`{name}` has {} addresses in `{network}`, {}; {fix}", all.len(), all.join(" and "));
            Err(missing(message))
        }
    }
}

/// What is known of a host's machine, or what to wait for.
pub fn machine<'a>(name: &HostName, host: &'a Host) -> Result<&'a HostFacts, MissingFact> {
    let missing = || MissingFact { host: name.clone(), message: format!("the facts of `{name}` are not known yet") };
    host.facts.as_deref().ok_or_else(missing)
}

/// Addresses of the site that move from machine to machine: no host has them for its own.
pub fn moving(site: &Site) -> BTreeSet<IpAddr> {
    let endpoints = site.spec.get("endpoints").into_iter().flat_map(Node::entries);
    let vips = endpoints.filter_map(|(_, entry)| entry.value.get("vip").and_then(Node::as_text));
    vips.filter_map(|vip| vip.split('/').next()?.parse().ok()).collect()
}

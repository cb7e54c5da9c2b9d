//! What is known of a machine itself: few things, which stay.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::{HostName, JobName, ServiceName};

/// What is known of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// What it calls itself.
    pub hostname: String,
    /// As `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// As `x86_64`.
    pub architecture: String,
    /// As `6.1.0-18-amd64`.
    pub kernel: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Its own addresses by interface, without those that move (VIPs) and those of the engine's bridges. None where nobody
    /// could ask for them, which is not the same as having none.
    pub interfaces: Option<BTreeMap<String, Vec<InterfaceAddress>>>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
}

/// What is known of the machines of a site: of those too that cannot be reached now.
pub type SiteFacts = BTreeMap<HostName, Arc<HostFacts>>;

/// A fact that something needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingFact {
    /// Of which host.
    pub host: HostName,
    /// Which, and why it is not there, for people.
    pub message: String,
}

impl std::fmt::Display for MissingFact {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// What cannot be told before some facts are known. It is left as it is until then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Services.
    pub services: BTreeMap<ServiceName, BTreeSet<MissingFact>>,
    /// Jobs.
    pub jobs: BTreeMap<JobName, BTreeSet<MissingFact>>,
}

impl Waits {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.jobs.is_empty()
    }

    /// All facts that something waits for.
    pub fn missing(&self) -> BTreeSet<&MissingFact> {
        self.services.values().chain(self.jobs.values()).flatten().collect()
    }
}

/// For people: what some facts are needed for.
pub fn missing_in_words(missing: &BTreeSet<MissingFact>) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl HostFacts {
    /// Its address in a network, if it has exactly one there: of several, nobody knows which is meant.
    pub fn address_in(&self, network: IpAddr, prefix: u8) -> Option<IpAddr> {
        match self.addresses_in(network, prefix).as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Its addresses in a network, each once.
    pub fn addresses_in(&self, network: IpAddr, prefix: u8) -> Vec<IpAddr> {
        let all = self.interfaces.iter().flatten().flat_map(|(_, addresses)| addresses);
        let inside = all.map(|own| own.address).filter(|address| is_within(*address, network, prefix));
        inside.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What is known after a new look: where addresses could not be asked for, those stay that were known before.
    #[must_use]
    pub fn over(mut self, before: Option<&Self>) -> Self {
        if self.interfaces.is_none() {
            self.interfaces = before.and_then(|before| before.interfaces.clone());
        }
        self
    }
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            differ.leading_zeros() >= prefix.min(32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            differ.leading_zeros() >= prefix.min(128)
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_network_is_given_only_where_there_is_one() {
        let at = |text: &str| InterfaceAddress { address: text.parse().unwrap(), prefix: 24 };
        let interfaces = BTreeMap::from([
            ("eth0".to_owned(), vec![at("10.0.0.11"), at("fd00::11")]),
            ("eth1".to_owned(), vec![at("10.1.0.11"), at("10.1.0.12")]),
        ]);
        let facts = HostFacts { interfaces: Some(interfaces), ..HostFacts::default() };
        let of = |network: &str, prefix| facts.address_in(network.parse().unwrap(), prefix).map(|a| a.to_string());
        assert_eq!(of("10.0.0.0", 24).as_deref(), Some("10.0.0.11"));
        assert_eq!(of("fd00::", 64).as_deref(), Some("fd00::11"));
        assert_eq!(of("10.1.0.0", 24), None);
        assert_eq!(of("10.2.0.0", 24), None);
        assert_eq!(of("10.0.0.11", 32).as_deref(), Some("10.0.0.11"));
        assert_eq!(of("0.0.0.0", 0), None);
        assert_eq!(HostFacts::default().address_in("10.0.0.0".parse().unwrap(), 24), None);
    }
}

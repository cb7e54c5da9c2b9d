//! What is known of a machine itself: few things, which stay.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

impl HostFacts {
    /// Its address in a network, if it has exactly one there: of several, nobody knows which is meant.
    pub fn address_in(&self, network: IpAddr, prefix: u8) -> Option<IpAddr> {
        let all = self.interfaces.iter().flatten().flat_map(|(_, addresses)| addresses);
        let mut inside = all.map(|own| own.address).filter(|address| is_within(*address, network, prefix));
        let first = inside.next()?;
        inside.all(|other| other == first).then_some(first)
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

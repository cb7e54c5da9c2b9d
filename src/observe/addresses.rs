//! Addresses of a machine's interfaces, out of what its commands and files say.
//!
//! In: the output of [`QUESTION`]. Out: addresses by interface. What moves from machine to machine is left out: addresses
//! that are named as moving, and those that look as keepalived adds them (a single one inside another network of the
//! interface, or a second one in the same network).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::model::facts::InterfaceAddress;

/// What a shell runs: iproute2 where it is there and speaks JSON, else what the kernel says itself.
pub const QUESTION: &str = "PATH=\"$PATH:/usr/sbin:/sbin\"; ip -j addr 2>/dev/null || \
                            grep -H '' /proc/net/route /proc/net/fib_trie /proc/net/if_inet6 2>/dev/null";

/// Addresses by interface.
pub type Interfaces = BTreeMap<String, Vec<InterfaceAddress>>;

/// Reads the answer. None where it is no answer.
pub fn read(answer: &str, moving: &BTreeSet<IpAddr>) -> Option<Interfaces> {
    let mut found = if answer.trim_start().starts_with('[') {
        of_command(answer)?
    } else {
        of_kernel(answer).filter(|f| !f.is_empty())?
    };
    for addresses in found.values_mut() {
        addresses.retain(|own| !moving.contains(&own.address));
        let all = addresses.clone();
        addresses.retain(|own| {
            let bits = if own.address.is_ipv4() { 32 } else { 128 };
            let has_network =
                |other: &InterfaceAddress| other.prefix < bits && other.address.is_ipv4() == own.address.is_ipv4();
            own.prefix < bits || !all.iter().any(has_network)
        });
        addresses.sort();
        addresses.dedup();
    }
    found.retain(|name, addresses| !addresses.is_empty() && !is_the_engines(name));
    Some(found)
}

/// Bridges and ends of cables that come and go with containers.
fn is_the_engines(name: &str) -> bool {
    let bridge = name.strip_prefix("br-").is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    bridge || name == "lo" || name.starts_with("docker") || name.starts_with("veth") || name.starts_with("podman")
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    local: Option<IpAddr>,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    secondary: bool,
    #[serde(default)]
    temporary: bool,
    #[serde(default)]
    deprecated: bool,
}

fn of_command(answer: &str) -> Option<Interfaces> {
    let links: Vec<Link> = serde_json::from_str(answer).ok()?;
    let own = |info: &Info| {
        let stays = info.scope == "global" && !info.secondary && !info.temporary && !info.deprecated;
        info.local.filter(|_| stays).map(|address| InterfaceAddress { address, prefix: info.prefixlen })
    };
    Some(links.into_iter().map(|link| (link.ifname, link.addr_info.iter().filter_map(own).collect())).collect())
}

/// The kernel's tables: addresses of version 4 stand in one, and in another the networks of each interface.
fn of_kernel(answer: &str) -> Option<Interfaces> {
    let lines = |file: &'static str| answer.lines().filter_map(move |line| line.strip_prefix(file)?.strip_prefix(':'));
    let mut found = Interfaces::new();
    let routes: Vec<(&str, u32, u32)> = lines("/proc/net/route").filter_map(route).collect();
    let mut last: Option<Ipv4Addr> = None;
    for line in lines("/proc/net/fib_trie") {
        match line.trim().strip_prefix("|-- ") {
            Some(address) => last = address.trim().parse().ok(),
            None if line.contains("/32 host LOCAL") => {
                let Some(address) = last.take() else { continue };
                let bits = address.to_bits();
                let fits = routes.iter().filter(|(_, network, mask)| bits & mask == *network);
                if let Some((name, _, mask)) = fits.max_by_key(|(_, _, mask)| mask.count_ones()) {
                    let prefix = u8::try_from(mask.count_ones()).ok()?;
                    let own = InterfaceAddress { address: IpAddr::V4(address), prefix };
                    found.entry((*name).to_owned()).or_default().push(own);
                }
            }
            None => {}
        }
    }
    for line in lines("/proc/net/if_inet6") {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, prefix, "00", flags, name] = fields.as_slice() else { continue };
        let (Ok(address), Ok(prefix)) = (u128::from_str_radix(address, 16), u8::from_str_radix(prefix, 16)) else {
            continue;
        };
        // Temporary, or on its way out.
        if u32::from_str_radix(flags, 16).ok()? & 0x21 == 0 {
            let address = IpAddr::V6(Ipv6Addr::from_bits(address));
            found.entry((*name).to_owned()).or_default().push(InterfaceAddress { address, prefix });
        }
    }
    Some(found)
}

/// Interface, network and mask of a route that leads through no gateway; its numbers stand with their bytes reversed.
fn route(line: &str) -> Option<(&str, u32, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |index: usize| Some(u32::from_str_radix(fields.get(index)?, 16).ok()?.swap_bytes());
    let (network, gateway, mask) = (number(1)?, number(2)?, number(7)?);
    (gateway == 0 && mask != 0).then_some((*fields.first()?, network, mask))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn shown(answer: &str, moving: &[&str]) -> String {
        let moving = moving.iter().map(|address| address.parse().unwrap()).collect();
        let found = read(answer, &moving).unwrap();
        let list = |all: &Vec<InterfaceAddress>| {
            all.iter().map(|own| format!("{}/{}", own.address, own.prefix)).collect::<Vec<_>>().join(" ")
        };
        found.iter().map(|(name, all)| format!("{name}: {}", list(all))).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_command_is_read_without_what_moves() {
        let answer = r#"[
            {"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
            {"ifname":"eth0","flags":["UP"],"addr_info":[
                {"family":"inet","local":"10.0.0.11","prefixlen":24,"scope":"global","dynamic":true},
                {"family":"inet","local":"10.0.0.250","prefixlen":32,"scope":"global"},
                {"family":"inet","local":"10.0.0.251","prefixlen":24,"scope":"global","secondary":true},
                {"family":"inet","local":"10.0.0.252","prefixlen":24,"scope":"global"},
                {"family":"inet6","local":"fd00::11","prefixlen":64,"scope":"global"},
                {"family":"inet6","local":"fd00::12","prefixlen":64,"scope":"global","temporary":true},
                {"family":"inet6","local":"fd00::fa","prefixlen":128,"scope":"global","deprecated":true},
                {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
            {"ifname":"wg0","addr_info":[{"family":"inet","local":"192.0.2.7","prefixlen":32,"scope":"global"}]},
            {"ifname":"docker0","addr_info":[{"family":"inet","local":"172.17.0.1","prefixlen":16,"scope":"global"}]},
            {"ifname":"br-0123456789ab","addr_info":[{"family":"inet","local":"172.18.0.1","prefixlen":16,"scope":"global"}]},
            {"ifname":"br-ex","addr_info":[{"family":"inet","local":"10.5.0.1","prefixlen":16,"scope":"global"}]}
        ]"#;
        insta::assert_snapshot!(shown(answer, &["10.0.0.252"]), @"
        br-ex: 10.5.0.1/16
        eth0: 10.0.0.11/24 fd00::11/64
        wg0: 192.0.2.7/32
        ");
    }

    #[test]
    fn the_kernel_is_read_where_there_is_no_such_command() {
        let answer = "\
/proc/net/route:Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
/proc/net/route:eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
/proc/net/route:eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
/proc/net/route:docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
/proc/net/fib_trie:Main:
/proc/net/fib_trie:  +-- 0.0.0.0/0 3 0 5
/proc/net/fib_trie:     |-- 10.0.0.0
/proc/net/fib_trie:        /24 link UNICAST
/proc/net/fib_trie:Local:
/proc/net/fib_trie:     |-- 10.0.0.11
/proc/net/fib_trie:        /32 host LOCAL
/proc/net/fib_trie:     |-- 10.0.0.250
/proc/net/fib_trie:        /32 host LOCAL
/proc/net/fib_trie:     |-- 127.0.0.1
/proc/net/fib_trie:        /32 host LOCAL
/proc/net/fib_trie:     |-- 172.17.0.1
/proc/net/fib_trie:        /32 host LOCAL
/proc/net/if_inet6:00000000000000000000000000000001 01 80 10 80       lo
/proc/net/if_inet6:fd000000000000000000000000000011 02 40 00 80     eth0
/proc/net/if_inet6:fd000000000000000000000000000012 02 40 00 01     eth0
/proc/net/if_inet6:fe800000000000000000000000000011 02 40 20 80     eth0
";
        insta::assert_snapshot!(shown(answer, &["10.0.0.250"]), @"eth0: 10.0.0.11/24 fd00::11/64");
    }

    #[test]
    fn what_is_no_answer_is_none() {
        assert_eq!(read("", &BTreeSet::new()), None);
        assert_eq!(read("This account is currently not available.\n", &BTreeSet::new()), None);
        assert_eq!(read("[{]", &BTreeSet::new()), None);
        assert_eq!(read("[]", &BTreeSet::new()), Some(Interfaces::new()));
    }
}

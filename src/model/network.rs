//! Networks of the engine, and how an instance hangs on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An engine's network that a site declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Whether somebody else makes it; then the rest is not looked at.
    pub external: bool,
    /// `bridge` unless set.
    pub driver: Option<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether containers that nobody declared may join.
    pub attachable: bool,
    /// Whether it has IPv6.
    pub enable_ipv6: bool,
    /// Subnets.
    pub ipam: Vec<IpamPool>,
    /// As the site wants them; ours are kept apart.
    pub labels: BTreeMap<String, String>,
}

/// One subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamPool {
    /// CIDR.
    pub subnet: String,
    /// CIDR from which containers get addresses.
    pub ip_range: Option<String>,
    /// Address.
    pub gateway: Option<String>,
    /// Reserved addresses by name.
    pub aux_addresses: BTreeMap<String, String>,
}

/// How a container hangs on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// Names that other containers of the network resolve, sorted; the engine's own (container id) are left out.
    pub aliases: Vec<String>,
    /// Fixed address.
    pub ipv4_address: Option<String>,
    /// Fixed address.
    pub ipv6_address: Option<String>,
    /// Further addresses.
    pub link_local_ips: Vec<String>,
    /// From API 1.44 on for each network.
    pub mac_address: Option<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
}

/// A named volume that a site declares. It is created where missing and never removed without an explicit command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// Whether somebody else makes it.
    pub external: bool,
    /// `local` unless set.
    pub driver: Option<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// As the site wants them.
    pub labels: BTreeMap<String, String>,
}

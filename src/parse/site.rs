//! The parts of a site that are the same for every host, typed; services and jobs stay trees until a host is chosen.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::model::desired::{HealMode, SyncMode, SyncPolicy};
use crate::model::facts::{HostFacts, MissingFact};
use crate::model::names::{FilesetName, HostName, JobName, ServiceName, SiteName};
use crate::model::ordinals::Declared;
use crate::model::window::{Window, WindowKind};

use super::diagnostic::Diagnostic;
use super::leaves;
use super::node::Node;
use super::range::{expand_in, expand_range};
use super::read::{At, Reader};
use super::role::RoleUse;
use super::source::Place;
use super::ssh::{SshSettings, read_ssh, refuse_expressions};

/// A site.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Hosts in the order of the file.
    pub hosts: IndexMap<HostName, Host>,
    /// Groups in the order of the file; those that only hosts name are not here.
    pub groups: IndexMap<String, Group>,
    /// Variables for all hosts.
    pub vars: Option<Node>,
    /// `defaults.container`.
    pub defaults: Option<Node>,
    /// Services as written.
    pub services: IndexMap<ServiceName, Written>,
    /// Jobs as written.
    pub jobs: IndexMap<JobName, Written>,
    /// Filesets as written.
    pub filesets: IndexMap<FilesetName, Written>,
    /// Roles as they are used here, in the order of the file, each after those that it includes.
    pub roles: Vec<Arc<RoleUse>>,
    /// The other sections, as written: they may hold expressions.
    pub spec: Node,
    /// What may happen without a person.
    pub sync: SyncPolicy,
    /// How many hosts of a group may be worked on at once, by group.
    pub budgets: BTreeMap<String, u32>,
    /// Networks of addresses.
    pub address_networks: BTreeMap<String, (IpAddr, u8)>,
}

/// A service or job as written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where its name is.
    pub key_place: Place,
    /// What it says.
    pub node: Node,
    /// The role that it belongs to.
    pub role: Option<Arc<RoleUse>>,
    /// Who keeps the objects that it is about, where it is a job that Mastic made for them.
    pub provider: Option<Arc<Provided>>,
}

/// What a role keeps for others, with the use of the role that keeps it.
#[derive(Clone, Debug)]
pub struct Provided {
    /// The use of the role.
    pub role: Arc<RoleUse>,
    /// What its role says of it.
    pub declared: Node,
}

impl Written {
    /// Something that belongs to no role.
    pub fn new(key_place: Place, node: Node) -> Self {
        Self { key_place, node, role: None, provider: None }
    }
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where its name is.
    pub place: Place,
    /// How its engine is reached.
    pub connection: Connection,
    /// Groups that it names itself.
    pub groups: Vec<At<String>>,
    /// Its variables.
    pub vars: Option<Node>,
    /// How others know it.
    pub address: Option<String>,
    /// Its address in each network of addresses, as declared or as its facts tell.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Networks of addresses in which none is known, and why.
    pub missing: BTreeMap<String, MissingFact>,
    /// What is known of the machine.
    pub facts: Option<Arc<HostFacts>>,
    /// Its number, where the site says one.
    pub declared_ordinal: Option<u64>,
    /// Its number; its place where nobody knows better.
    pub ordinal: u64,
}

impl Site {
    /// Hosts with the numbers that the site itself says.
    pub fn declared_ordinals(&self) -> Vec<Declared> {
        self.hosts.iter().map(|(name, host)| (name.clone(), host.declared_ordinal)).collect()
    }
}

/// A named set of hosts.
#[derive(Clone, Debug)]
pub struct Group {
    /// Where its name is.
    pub place: Place,
    /// Hosts that it names.
    pub hosts: Vec<At<String>>,
    /// Groups inside it.
    pub groups: Vec<At<String>>,
    /// Variables of its hosts.
    pub vars: Option<Node>,
}

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// This machine's, as the environment names it.
    Local,
    /// By its address.
    Docker {
        /// `unix:///PATH` or `tcp://HOST:PORT`.
        host: String,
        /// Certificates, as paths relative to the site.
        tls: Option<TlsPaths>,
    },
    /// Over SSH; the address is filled in.
    Ssh(SshSettings),
}

/// Certificates for an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// The authority's.
    pub ca: String,
    /// Ours.
    pub cert: String,
    /// Our key.
    pub key: String,
}

/// The group of all hosts.
pub const ALL: &str = "all";

/// Reads a document whose shape has been checked. None where its envelope is missing.
pub fn read_site(root: &Node, r: &mut Reader) -> Option<Site> {
    let metadata = root.get("metadata");
    let name = metadata.and_then(|metadata| {
        r.scalar(metadata, "name", |s| SiteName::new(s.text.as_str()).map_err(|why| format!("`{}`: {why}", s.text)))
    });
    // A missing or wrong name has been reported; the rest is still looked at.
    let name = name.or_else(|| SiteName::new("unnamed").ok())?;
    let spec = root.get("spec").cloned().unwrap_or_else(|| Node::empty_mapping(root.place, root.layer));
    let default_connection =
        spec.get("defaults").and_then(|defaults| defaults.get("connection")).map(|c| read_connection(c, r));
    let hosts = read_hosts(&spec, default_connection.as_ref(), r);
    let declared = spec.get("hosts").into_iter().flat_map(Node::entries).map(|(_, entry)| &entry.value);
    for ssh in declared.chain(spec.get("defaults")).filter_map(|node| node.get("connection")?.get("ssh")) {
        refuse_expressions(ssh, r);
    }
    let groups = read_groups(&spec, &hosts, r);
    let networks = spec.get("networks");
    let address_networks = networks.into_iter().flat_map(Node::entries).filter_map(|(name, entry)| {
        let cidr = r.scalar(&entry.value, "cidr", |s| leaves::cidr(&s.text))?;
        for (key, other) in entry.value.entries().filter(|(key, _)| *key != "cidr") {
            let message =
                format!("`{key}` is for networks of the engine, and `cidr` makes this one a network of addresses");
            r.error(
                Diagnostic::error("V002", other.key_place, message).help("a subnet of the engine goes under `ipam`"),
            );
        }
        Some((name.to_owned(), cidr))
    });
    let address_networks: BTreeMap<String, (IpAddr, u8)> = address_networks.collect();
    let mut hosts = hosts;
    for (key, host) in &mut hosts {
        check_addresses(key, host, &address_networks, &spec, r);
    }
    let services = read_named(&spec, "services", |name| ServiceName::new(name), r);
    let jobs = read_named(&spec, "jobs", |name| JobName::new(name), r);
    let filesets = read_named(&spec, "filesets", |name| FilesetName::new(name), r);
    Some(Site {
        name,
        groups,
        vars: spec.get("vars").cloned(),
        defaults: spec.get("defaults").and_then(|defaults| defaults.get("container")).cloned(),
        services,
        jobs,
        filesets,
        roles: Vec::new(),
        sync: spec.get("sync").map_or_else(SyncPolicy::default, |sync| read_sync(sync, r)),
        budgets: read_budgets(&spec, r),
        address_networks,
        spec,
        hosts,
    })
}

fn read_budgets(spec: &Node, r: &mut Reader) -> BTreeMap<String, u32> {
    let mut budgets = BTreeMap::new();
    for (group, entry) in spec.get("budgets").into_iter().flat_map(Node::entries) {
        let most = r.integer(&entry.value, "max_unavailable_hosts").and_then(|most| u32::try_from(most).ok());
        budgets.insert(group.to_owned(), most.unwrap_or(1));
    }
    budgets
}

fn read_named<T: std::hash::Hash + Eq>(
    spec: &Node,
    section: &str,
    name: impl Fn(&str) -> Result<T, crate::model::names::NameError>,
    r: &mut Reader,
) -> IndexMap<T, Written> {
    let mut all = IndexMap::new();
    for (key, entry) in spec.get(section).into_iter().flat_map(Node::entries) {
        match name(key) {
            Ok(name) => {
                all.insert(name, Written::new(entry.key_place, entry.value.clone()));
            }
            Err(why) => r.error(Diagnostic::error("N001", entry.key_place, format!("`{key}`: {why}"))),
        }
    }
    all
}

fn read_hosts(spec: &Node, default_connection: Option<&Connection>, r: &mut Reader) -> IndexMap<HostName, Host> {
    let mut hosts: IndexMap<HostName, Host> = IndexMap::new();
    for (key, entry) in spec.get("hosts").into_iter().flat_map(Node::entries) {
        let names = match expand_range(key) {
            Ok(names) => names,
            Err(why) => {
                r.error(Diagnostic::error("N001", entry.key_place, why));
                continue;
            }
        };
        let count = names.len();
        for (index, name) in names.into_iter().enumerate() {
            let name = match HostName::new(name.as_str()) {
                Ok(name) => name,
                Err(why) => {
                    r.error(Diagnostic::error("N001", entry.key_place, format!("`{name}`: {why}")));
                    continue;
                }
            };
            let mut node = entry.value.clone();
            if count > 1 || key.contains('[') {
                expand_in(&mut node, index, count, r);
            }
            let connection = node.get("connection").map(|connection| read_connection(connection, r));
            let host = Host {
                place: entry.key_place,
                connection: connection_of(&node, name.as_str(), connection, default_connection),
                groups: r.texts_at(&node, "groups"),
                vars: node.get("vars").cloned(),
                address: r.text(&node, "address"),
                addresses: read_addresses(&node, r),
                missing: BTreeMap::new(),
                facts: None,
                declared_ordinal: r.integer(&node, "ordinal").and_then(|number| u64::try_from(number).ok()),
                ordinal: 0,
            };
            if name.as_str() == ALL {
                r.error(Diagnostic::error(
                    "N001",
                    entry.key_place,
                    "`all` stands for all hosts, and none can be called so",
                ));
            }
            if let Some(first) = hosts.get(&name) {
                let error = Diagnostic::error("R003", entry.key_place, format!("the host `{name}` is declared twice"));
                r.error(error.also(first.place, "here first"));
                continue;
            }
            hosts.insert(name, host);
        }
    }
    hosts
}

/// The connection of a host over that of the defaults.
fn connection_of(node: &Node, name: &str, own: Option<Connection>, default: Option<&Connection>) -> Connection {
    match (own, default) {
        (Some(Connection::Ssh(own)), Some(Connection::Ssh(below))) => Connection::Ssh(own.over(below)),
        (Some(own), _) => own,
        (None, Some(default)) => default.clone(),
        (None, None) => Connection::Local,
    }
    .at(node.get("address").and_then(Node::as_text).unwrap_or(name))
}

impl Connection {
    /// Where the host is that it leads to, unless it says so itself.
    fn at(self, address: &str) -> Self {
        match self {
            Self::Ssh(mut settings) => {
                settings.address.get_or_insert_with(|| address.to_owned());
                Self::Ssh(settings)
            }
            other => other,
        }
    }
}

fn read_addresses(node: &Node, r: &mut Reader) -> BTreeMap<String, IpAddr> {
    let mut addresses = BTreeMap::new();
    for (network, entry) in node.get("addresses").into_iter().flat_map(Node::entries) {
        let read = |s: &super::node::Scalar| {
            s.text.parse().map_err(|_| format!("`{}` is no address such as `10.0.0.11`", s.text))
        };
        if let Some(address) = r.leaf(&entry.value, read) {
            addresses.insert(network.to_owned(), address);
        }
    }
    addresses
}

/// Each address must lie in its network; the host's own address counts for a network in which it lies.
fn check_addresses(
    name: &HostName,
    host: &mut Host,
    networks: &BTreeMap<String, (IpAddr, u8)>,
    spec: &Node,
    r: &mut Reader,
) {
    for (network, address) in &host.addresses {
        let node = spec.get("hosts").and_then(|hosts| {
            let entry = hosts.entries().find(|(_, entry)| entry.key_place == host.place)?;
            entry.1.value.get("addresses")?.as_mapping()?.get(network).cloned()
        });
        let place = node.as_ref().map_or(host.place, |entry| entry.key_place);
        match networks.get(network) {
            None => r.error(
                Diagnostic::error("R001", place, format!("`{network}` is no network of addresses"))
                    .maybe_help(super::suggest::did_you_mean(network, networks.keys().map(String::as_str)))
                    .help("declare it under `spec.networks` with a `cidr`"),
            ),
            Some(cidr) if !leaves::is_within(*address, *cidr) => {
                let message = format!("`{address}` of `{name}` does not lie in `{network}`, {}/{}", cidr.0, cidr.1);
                r.error(Diagnostic::error("V002", place, message));
            }
            Some(_) => {}
        }
    }
    let Some(own) = host.address.as_deref().and_then(|address| address.parse().ok()) else { return };
    for (network, cidr) in networks {
        if leaves::is_within(own, *cidr) {
            host.addresses.entry(network.clone()).or_insert(own);
        }
    }
}

fn read_connection(node: &Node, r: &mut Reader) -> Connection {
    let given: Vec<(&str, &super::node::Entry)> = node.entries().filter(|(key, _)| !key.starts_with("x-")).collect();
    match given.as_slice() {
        [("docker", entry)] => {
            let docker = &entry.value;
            let host = r.text(docker, "host").unwrap_or_default();
            let tls = docker.get("tls").map(|tls| TlsPaths {
                ca: r.text(tls, "ca").unwrap_or_default(),
                cert: r.text(tls, "cert").unwrap_or_default(),
                key: r.text(tls, "key").unwrap_or_default(),
            });
            if let (Some(tls), true) = (docker.get("tls"), host.starts_with("unix:")) {
                r.error(Diagnostic::error(
                    "V002",
                    tls.place,
                    "`tls` is for `tcp://`; a unix socket is kept by its permissions",
                ));
            }
            Connection::Docker { host, tls }
        }
        [("ssh", entry)] => Connection::Ssh(read_ssh(&entry.value, r)),
        [_] | [] => Connection::Local,
        [_, second, ..] => {
            let message = "a connection is one of `local`, `docker`, `ssh`";
            r.error(Diagnostic::error("V002", second.1.key_place, message));
            Connection::Local
        }
    }
}

fn read_groups(spec: &Node, hosts: &IndexMap<HostName, Host>, r: &mut Reader) -> IndexMap<String, Group> {
    let mut groups = IndexMap::new();
    for (key, entry) in spec.get("groups").into_iter().flat_map(Node::entries) {
        if let Err(why) = ServiceName::new(key) {
            r.error(Diagnostic::error("N001", entry.key_place, format!("`{key}`: {why}")));
            continue;
        }
        let taken = hosts.get(key).map(|host| host.place);
        if let Some(place) = taken {
            let message = format!(
                "`{key}` is a host already; with a group of the same name, `hosts: [{key}]` would be ambiguous"
            );
            r.error(Diagnostic::error("R003", entry.key_place, message).also(place, "the host"));
        }
        let group = Group {
            place: entry.key_place,
            hosts: r.texts_at(&entry.value, "hosts"),
            groups: r.texts_at(&entry.value, "groups"),
            vars: entry.value.get("vars").cloned(),
        };
        groups.insert(key.to_owned(), group);
    }
    for (name, host) in hosts {
        for group in &host.groups {
            if hosts.contains_key(group.value.as_str()) {
                let message = format!("`{}`, a group of `{name}`, is the name of a host", group.value);
                r.error(Diagnostic::error("R003", group.place, message));
            }
        }
    }
    groups
}

fn read_sync(node: &Node, r: &mut Reader) -> SyncPolicy {
    let default = SyncPolicy::default();
    let removals = node.get("removals");
    SyncPolicy {
        edits: if r.text(node, "edits").as_deref() == Some("approve") { SyncMode::Approve } else { SyncMode::Auto },
        heal: if r.text(node, "heal").as_deref() == Some("report") { HealMode::Report } else { HealMode::Auto },
        max_removals: removals
            .and_then(|node| r.integer(node, "max"))
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(default.max_removals),
        max_removal_percent: removals
            .and_then(|node| r.integer(node, "max_percent"))
            .and_then(|percent| u8::try_from(percent).ok())
            .unwrap_or(default.max_removal_percent),
        protect_volumes: removals
            .and_then(|node| r.boolean(node, "protect_volumes"))
            .unwrap_or(default.protect_volumes),
        windows: read_windows(node, r),
    }
}

fn read_windows(node: &Node, r: &mut Reader) -> Vec<Window> {
    let mut windows = Vec::new();
    for item in node.get("windows").into_iter().flat_map(Node::items) {
        let written = [(WindowKind::Allow, r.text(item, "allow")), (WindowKind::Deny, r.text(item, "deny"))];
        match written {
            [(_, Some(_)), (_, Some(_))] | [(_, None), (_, None)] => {
                let error = Diagnostic::error("K003", item.place, "a window has either `allow` or `deny`");
                r.error(error.help("write `{allow: \"Mon-Thu 09:00-16:00 Europe/Berlin\"}`"));
            }
            // What cannot be read has been reported by its shape.
            each => windows.extend(each.into_iter().filter_map(|(kind, text)| Window::parse(kind, &text?).ok())),
        }
    }
    windows
}

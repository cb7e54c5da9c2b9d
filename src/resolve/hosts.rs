//! Which host is meant, who belongs to which group, and where a service is placed.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};

use crate::model::desired::HostBudget;
use crate::model::names::HostName;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::site::{ALL, Connection, Site};
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;

/// Groups with their hosts, parents before what is inside them.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    members: IndexMap<String, IndexSet<HostName>>,
}

impl Groups {
    /// Works out who belongs where, and reports unknown names and groups that contain themselves.
    pub fn new(site: &Site, errors: &mut Vec<Diagnostic>) -> Self {
        let mut direct: IndexMap<String, IndexSet<HostName>> = IndexMap::new();
        for (name, group) in &site.groups {
            let members = direct.entry(name.clone()).or_default();
            for host in &group.hosts {
                match site.hosts.get_key_value(host.value.as_str()) {
                    Some((host, _)) => drop(members.insert(host.clone())),
                    None => errors.push(
                        Diagnostic::error("R001", host.place, format!("no host is called `{}`", host.value))
                            .maybe_help(did_you_mean(&host.value, site.hosts.keys().map(HostName::as_str))),
                    ),
                }
            }
        }
        for (name, host) in &site.hosts {
            for group in &host.groups {
                direct.entry(group.value.clone()).or_default().insert(name.clone());
            }
        }
        for group in site.groups.values() {
            for child in &group.groups {
                if !direct.contains_key(&child.value) && child.value != ALL {
                    errors.push(
                        Diagnostic::error("R001", child.place, format!("no group is called `{}`", child.value))
                            .maybe_help(did_you_mean(&child.value, direct.keys().map(String::as_str))),
                    );
                }
            }
        }
        let order = order(site, &direct, errors);
        let mut members: IndexMap<String, IndexSet<HostName>> =
            order.into_iter().map(|name| (name.clone(), direct.get(&name).cloned().unwrap_or_default())).collect();
        // Children come after their parents, so going backwards each child is complete before it is added.
        for index in (0..members.len()).rev() {
            let Some((name, _)) = members.get_index(index) else { continue };
            let children = site.groups.get(name).map(|group| group.groups.clone()).unwrap_or_default();
            for child in children {
                let inside = members.get(&child.value).cloned().unwrap_or_default();
                if let Some((_, members)) = members.get_index_mut(index) {
                    members.extend(inside);
                }
            }
        }
        for hosts in members.values_mut() {
            hosts.sort_by_key(|host| site.hosts.get_index_of(host));
        }
        Self { members }
    }

    /// The groups of a host, parents first.
    pub fn of<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = &'a str> {
        self.members.iter().filter(|(_, members)| members.contains(host)).map(|(name, _)| name.as_str())
    }

    /// Hosts by group, with `all`, as templates see it.
    pub fn to_json(&self, site: &Site) -> serde_json::Value {
        let names = |hosts: &mut dyn Iterator<Item = &HostName>| {
            hosts.map(|host| serde_json::Value::from(host.as_str())).collect::<Vec<_>>().into()
        };
        let groups = self.members.iter().map(|(name, hosts)| (name.clone(), names(&mut hosts.iter())));
        let all = std::iter::once((ALL.to_owned(), names(&mut site.hosts.keys())));
        serde_json::Value::Object(all.chain(groups).collect())
    }

    /// The hosts that a name stands for: `all`, a group, or a host. An error is a hint at what was meant.
    pub fn hosts(&self, site: &Site, name: &str) -> Result<Vec<HostName>, Option<String>> {
        if name == ALL {
            Ok(site.hosts.keys().cloned().collect())
        } else if let Some(members) = self.members.get(name) {
            Ok(members.iter().cloned().collect())
        } else if let Some((host, _)) = site.hosts.get_key_value(name) {
            Ok(vec![host.clone()])
        } else {
            let known = site.hosts.keys().map(HostName::as_str).chain(self.members.keys().map(String::as_str));
            Err(did_you_mean(name, known))
        }
    }

    /// The hosts on which a service or job is placed, in the order of the file.
    pub fn placement(
        &self,
        site: &Site,
        node: &Node,
        key: Place,
        what: &str,
        errors: &mut Vec<Diagnostic>,
    ) -> Vec<HostName> {
        let Some(written) = node.get("hosts") else {
            if site.hosts.len() > 1 {
                let error = Diagnostic::error("K003", key, format!("{what} does not say on which hosts it runs"));
                errors.push(error.help("add `hosts:` with names of hosts or groups; `all` stands for every host"));
            }
            return site.hosts.keys().cloned().collect();
        };
        let mut chosen: IndexSet<HostName> = IndexSet::new();
        for item in written.items() {
            let Some(name) = item.as_text() else { continue };
            match self.hosts(site, name) {
                Ok(hosts) => chosen.extend(hosts),
                Err(help) => errors.push(
                    Diagnostic::error("R001", item.place, format!("`{name}` is neither a host nor a group"))
                        .maybe_help(help),
                ),
            }
        }
        chosen.sort_by_key(|host| site.hosts.get_index_of(host));
        chosen.into_iter().collect()
    }
}

/// The budgets of hosts that a host is part of.
pub fn budgets(site: &Site, groups: &Groups, host: &HostName) -> Vec<HostBudget> {
    let budgets = site.budgets.iter().filter_map(|(group, most)| {
        let hosts = groups.hosts(site, group).ok()?;
        let budget = HostBudget { group: group.clone(), hosts, max_unavailable_hosts: *most };
        budget.hosts.contains(host).then_some(budget)
    });
    budgets.collect()
}

/// Groups so that each comes before what is inside it, otherwise in the order of the file.
fn order(site: &Site, direct: &IndexMap<String, IndexSet<HostName>>, errors: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, group) in &site.groups {
        for child in &group.groups {
            parents.entry(child.value.as_str()).or_default().push(name);
        }
    }
    let mut done: IndexSet<String> = IndexSet::new();
    for name in direct.keys() {
        visit(name, &parents, &mut Vec::new(), &mut done, site, errors);
    }
    done.into_iter().collect()
}

fn visit<'a>(
    name: &'a str,
    parents: &BTreeMap<&'a str, Vec<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut IndexSet<String>,
    site: &Site,
    errors: &mut Vec<Diagnostic>,
) {
    if done.contains(name) {
        return;
    }
    if let Some(start) = path.iter().position(|other| *other == name) {
        let mut chain: Vec<&str> = path.get(start..).unwrap_or_default().to_vec();
        chain.reverse();
        chain.insert(0, name);
        let place = site.groups.get(name).map(|group| group.place).unwrap_or_default();
        errors.push(Diagnostic::error("R002", place, format!("groups contain each other: {}", chain.join(" -> "))));
        return;
    }
    path.push(name);
    for parent in parents.get(name).into_iter().flatten() {
        visit(parent, parents, path, done, site, errors);
    }
    path.pop();
    done.insert(name.to_owned());
}

/// The host that is meant: the named one, else this machine's, else the only local one.
pub fn choose(site: &Site, explicit: Option<&str>, hostname: &str) -> Result<HostName, Diagnostic> {
    let known = || site.hosts.keys().map(HostName::as_str);
    if site.hosts.is_empty() {
        return Err(Diagnostic::general("H001", "the site declares no host")
            .help("add `hosts: {here: {connection: {local: {}}}}` to `spec`"));
    }
    if let Some(name) = explicit {
        return match site.hosts.get_key_value(name) {
            Some((host, _)) => Ok(host.clone()),
            None => Err(Diagnostic::general("H001", format!("the site has no host `{name}`"))
                .maybe_help(did_you_mean(name, known()))
                .help(format!("it has {}", known().collect::<Vec<_>>().join(", ")))),
        };
    }
    let short = hostname.split('.').next().unwrap_or(hostname);
    if let Some((host, _)) = site.hosts.get_key_value(hostname).or_else(|| site.hosts.get_key_value(short)) {
        return Ok(host.clone());
    }
    let local: Vec<&HostName> =
        site.hosts.iter().filter(|(_, host)| host.connection == Connection::Local).map(|(name, _)| name).collect();
    let only = if let [only] = local.as_slice() {
        Some(*only)
    } else {
        site.hosts.keys().next().filter(|_| site.hosts.len() == 1)
    };
    only.cloned().ok_or_else(|| {
        Diagnostic::general(
            "H001",
            format!("no host of the site is called `{hostname}`, and {} are local", local.len()),
        )
        .help(format!("say which one is meant with `--host`: {}", known().collect::<Vec<_>>().join(", ")))
    })
}

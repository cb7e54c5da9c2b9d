//! Whose clients are led away before it is stopped, and by which load balancers.
//!
//! In: what roles provide with `drain`, and the roles that are load balancers. Out: for each host what its instances have
//! to wait for, and what its load balancers look after. Where the site has no load balancer, nobody waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::desired::InstanceDesired;
use crate::model::drain::{BalancerDesired, DrainDesired};
use crate::model::names::{HostName, ServiceName};
use crate::model::time::Span;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::keys::role::BALANCER;
use crate::parse::node::Node;
use crate::parse::read::Reader;
use crate::parse::role::RoleUse;
use crate::parse::scalars;
use crate::parse::shape::Shape;

use super::compile::HostCompiler;
use super::instance::Built;

/// What a host has to do with it.
#[derive(Debug, Default)]
pub(super) struct Drains {
    /// Services whose clients are led away.
    pub(super) drains: BTreeMap<ServiceName, DrainDesired>,
    /// Services that lead them.
    pub(super) balancers: BTreeMap<ServiceName, BalancerDesired>,
}

impl HostCompiler<'_> {
    /// For the services of this host.
    pub(super) fn drains(&mut self, services: &[Built<InstanceDesired>]) -> Drains {
        let tree = self.tree;
        let mut drains = Drains::default();
        let roles: Vec<&Arc<RoleUse>> = tree.site.roles.iter().filter(|used| used.role.balancer.is_some()).collect();
        if roles.is_empty() {
            return drains;
        }
        let is_here = |name: &ServiceName| services.iter().any(|built| built.desired.service == *name);
        let of_role = |used: &RoleUse| {
            let written = used.role.balancer.as_ref()?;
            let service = written.node.get("exec").and_then(|exec| exec.get("in")).and_then(Node::as_text)?;
            ServiceName::new(used.name_of(service)).ok()
        };
        let mut balancers: Vec<(HostName, ServiceName)> = Vec::new();
        for service in roles.iter().filter_map(|used| of_role(used)) {
            let hosts = tree.services.get(&service).into_iter().flatten();
            balancers.extend(hosts.map(|host| (host.clone(), service.clone())));
        }
        let mut servers = BTreeMap::new();
        for drain in &tree.facts(self.request).drains {
            let Ok(service) = ServiceName::new(drain.service.as_str()) else { continue };
            for (host, timeout) in &drain.timeouts {
                let server = format!("{}/{host}", drain.endpoint);
                servers.insert(server.clone(), (host.clone(), service.clone()));
                if *host != self.host || !is_here(&service) || balancers.is_empty() {
                    continue;
                }
                let blank = DrainDesired { timeout: Span::ZERO, balancers: balancers.clone(), servers: Vec::new() };
                let own = drains.drains.entry(service.clone()).or_insert(blank);
                own.timeout = own.timeout.max(*timeout);
                own.servers.push(server);
            }
        }
        for used in roles {
            if let Some((service, balancer)) = self.balancer(used, &servers)
                && is_here(&service)
                && !servers.is_empty()
            {
                drains.balancers.insert(service, balancer);
            }
        }
        self.enter(None);
        drains
    }

    fn balancer(
        &mut self,
        used: &Arc<RoleUse>,
        servers: &BTreeMap<String, (HostName, ServiceName)>,
    ) -> Option<(ServiceName, BalancerDesired)> {
        let written = used.role.balancer.as_ref()?;
        self.enter(Some(used));
        let node = self.effective(&written.node, "balancer", written.key_place, &Shape::Object(&BALANCER))?;
        let exec = node.get("exec")?;
        let service = self.service_named(used, exec.get("in"))?;
        let mut reader = Reader::default();
        let command = reader.command(exec, "command").unwrap_or_default();
        let every = reader.scalar(&node, "every", scalars::duration).unwrap_or(Span::seconds(1));
        let timeout = reader.scalar(&node, "timeout", scalars::duration).unwrap_or(Span::seconds(5));
        if every == Span::ZERO || timeout == Span::ZERO {
            let message = "`every` and `timeout` must be more than nothing";
            self.errors.push(Diagnostic::error("V002", written.key_place, message));
        }
        self.errors.append(&mut reader.errors);
        Some((service, BalancerDesired { command, every, timeout, servers: servers.clone() }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#[path = "drain_tests.rs"]
mod tests;

//! What a verb that operates is about: one service, or all services of a role and its parts as a unit.

use std::collections::BTreeSet;

use clap::Args;

use crate::control::command::Command;
use crate::edge::store::DiskStore;
use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::names::{RoleName, ServiceName};
use crate::model::role_set::with_parts;
use crate::port::store::Store as _;

use super::args::Global;
use super::ask::{Follow, ask_and_tell, something_is_kept};
use super::error::{CommandError, Exit};

fn service(text: &str) -> Result<ServiceName, String> {
    ServiceName::new(text).map_err(|error| error.to_string())
}

pub(super) fn role(text: &str) -> Result<RoleName, String> {
    RoleName::new(text).map_err(|error| error.to_string())
}

/// A service, or all of a role.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Which
    #[arg(value_name = "SERVICE", value_parser = service, required_unless_present = "role")]
    pub service: Option<ServiceName>,
    /// All services of this role, and of those that came along because of it, in the order in which they depend on each other
    #[arg(long = "role", value_name = "NAME", value_parser = role, conflicts_with = "service")]
    pub role: Option<RoleName>,
}

/// A service, all of a role, or the whole host.
#[derive(Clone, Debug, Args)]
pub struct TargetOrHost {
    /// Which; without it the whole host
    #[arg(value_name = "SERVICE", value_parser = service)]
    pub service: Option<ServiceName>,
    /// All services of this role, and of those that came along because of it
    #[arg(long = "role", value_name = "NAME", value_parser = role, conflicts_with = "service")]
    pub role: Option<RoleName>,
}

/// In which order the services of a role come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What others need first.
    Start,
    /// What needs others first.
    Stop,
}

/// Asks for the same thing for each service that is meant, one after the other; the first failure ends it.
pub async fn each(
    global: &Global,
    purpose: &str,
    target: &Target,
    order: Order,
    command: impl Fn(ServiceName) -> Command,
) -> Result<Exit, CommandError> {
    for service in services(global, target.service.as_ref(), target.role.as_ref(), order)? {
        ask_and_tell(global, purpose, Follow::Accepted, command(service)).await?;
    }
    Ok(Exit::Done)
}

/// The same for what may also be the whole host.
pub async fn each_or_host(
    global: &Global,
    purpose: &str,
    target: &TargetOrHost,
    command: impl Fn(Option<ServiceName>) -> Command,
) -> Result<Exit, CommandError> {
    if target.service.is_none() && target.role.is_none() {
        return ask_and_tell(global, purpose, Follow::Accepted, command(None)).await;
    }
    for service in services(global, target.service.as_ref(), target.role.as_ref(), Order::Start)? {
        ask_and_tell(global, purpose, Follow::Accepted, command(Some(service))).await?;
    }
    Ok(Exit::Done)
}

fn services(
    global: &Global,
    service: Option<&ServiceName>,
    role: Option<&RoleName>,
    order: Order,
) -> Result<Vec<ServiceName>, CommandError> {
    if let Some(service) = service {
        return Ok(vec![service.clone()]);
    }
    let Some(role) = role else { return Ok(Vec::new()) };
    let place = global.place();
    if place.etcd.is_some() {
        return Err(CommandError::usage("what belongs to a role is known on its hosts only").hinted("name the service"));
    }
    let mut accepted = Vec::new();
    for home in place.homes()? {
        accepted.extend(DiskStore::open(&home.state).load_accepted()?);
    }
    if accepted.is_empty() {
        something_is_kept(&place.state)?;
    }
    let mut services: Vec<ServiceName> = Vec::new();
    for service in accepted.iter().flat_map(|desired| in_order(desired, role)) {
        if !services.contains(&service) {
            services.push(service);
        }
    }
    if services.is_empty() {
        let all = accepted.iter().flat_map(|desired| desired.services.values());
        let roles: BTreeSet<&str> = all.filter_map(|service| service.role.as_ref().map(RoleName::as_str)).collect();
        let known: Vec<&str> = roles.into_iter().collect();
        let error = CommandError::usage(format!("no service here belongs to a role `{role}`"));
        return Err(if known.is_empty() { error } else { error.hinted(format!("there are {}", known.join(", "))) });
    }
    if order == Order::Stop {
        services.reverse();
    }
    Ok(services)
}

/// The services of a role and its parts, each after those of them that it depends on, through jobs as well.
fn in_order(desired: &HostDesired, role: &RoleName) -> Vec<ServiceName> {
    let set = with_parts(&desired.roles, role);
    let is_meant = |service: &InstanceDesired| service.role.as_ref().is_some_and(|role| set.contains(role));
    let mut ordered = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, _) in desired.services.iter().filter(|(_, service)| is_meant(service)) {
        visit(desired, name.as_str(), &mut seen, &mut ordered);
    }
    ordered.retain(|name| desired.services.get(name).is_some_and(|service| is_meant(service)));
    ordered
}

fn visit(desired: &HostDesired, name: &str, seen: &mut BTreeSet<String>, ordered: &mut Vec<ServiceName>) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let service = desired.services.get_key_value(name);
    let of_service = service.map(|(_, service)| &service.depends_on);
    let of_job = desired.jobs.get(name).map(|job| &job.depends_on);
    for other in of_service.or(of_job).into_iter().flat_map(|needs| needs.keys()) {
        visit(desired, other, seen, ordered);
    }
    if let Some((name, _)) = service {
        ordered.push(name.clone());
    }
}

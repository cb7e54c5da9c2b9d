//! The plan of a host's networks and volumes.

use crate::model::condition::{Condition, ConditionType, VOLUME_LOST};
use crate::model::desired::HostDesired;
use crate::model::labels;
use crate::model::network::NetworkSpec;
use crate::observe::observed::{EngineState, HostObserved, ObservedNetwork};

use super::step::{ActionKind, Cause, Change, Disruption, Next, Step, Subject, SubjectPlan};
use super::volumes;

/// The one next step, with all that is to change.
pub fn plan(desired: &HostDesired, observed: &HostObserved) -> SubjectPlan {
    let mut plan = SubjectPlan {
        subject: Subject::Host,
        change: None,
        next: Next::Nothing,
        disrupts: false,
        drains: false,
        ready: true,
        state: String::new(),
        conditions: Vec::new(),
    };
    if !matches!(observed.engine, EngineState::Known(_)) {
        plan.ready = false;
        return plan;
    }
    for (name, spec) in &desired.networks {
        match observed.networks.get(name.as_str()) {
            None if spec.external => {
                let message = format!("the external network `{name}` does not exist");
                stall(&mut plan, "NetworkMissing", message);
            }
            None => {
                let step = Step::CreateNetwork { name: name.to_string(), spec: spec.clone() };
                step_of(
                    &mut plan,
                    ActionKind::CreateNetwork,
                    Disruption::None,
                    format!("networks.{name}"),
                    "missing",
                    "there",
                    step,
                );
            }
            Some(live) if !spec.external => changed(&mut plan, desired, observed, name.as_str(), spec, live),
            Some(_) => {}
        }
    }
    for (name, spec) in &desired.volumes {
        if observed.volumes.iter().any(|volume| volume == name.as_str()) {
            continue;
        }
        if spec.external {
            stall(&mut plan, "VolumeMissing", format!("the external volume `{name}` does not exist"));
            continue;
        }
        if observed.lost_volumes.contains(name.as_str()) {
            stall(&mut plan, VOLUME_LOST, volumes::lost_words(name.as_str(), &desired.host));
            continue;
        }
        let step = Step::CreateVolume { name: name.to_string(), spec: spec.clone() };
        step_of(
            &mut plan,
            ActionKind::CreateVolume,
            Disruption::None,
            format!("volumes.{name}"),
            "missing",
            "there",
            step,
        );
    }
    for network in observed.networks.values() {
        let ours = is_ours(desired, network);
        if ours && !desired.networks.contains_key(network.name.as_str()) && users(observed, &network.name).is_empty() {
            let step = Step::RemoveNetwork { name: network.name.clone() };
            let field = format!("networks.{}", network.name);
            step_of(
                &mut plan,
                ActionKind::RemoveNetwork,
                Disruption::None,
                field,
                "there",
                "not declared any more",
                step,
            );
        }
    }
    plan.ready = plan.change.is_none() && plan.conditions.is_empty();
    plan
}

fn is_ours(desired: &HostDesired, network: &ObservedNetwork) -> bool {
    network.labels.get(labels::SITE).map(String::as_str) == Some(desired.site.as_str())
        && network.labels.get(labels::HOST).map(String::as_str) == Some(desired.host.as_str())
}

fn users(observed: &HostObserved, network: &str) -> Vec<String> {
    observed
        .containers
        .values()
        .filter(|container| container.detail.as_ref().is_some_and(|detail| detail.networks.contains_key(network)))
        .map(|container| container.name.clone())
        .collect()
}

/// A network cannot be changed, only made anew, for which nothing may hang on it.
fn changed(
    plan: &mut SubjectPlan,
    desired: &HostDesired,
    observed: &HostObserved,
    name: &str,
    spec: &NetworkSpec,
    live: &ObservedNetwork,
) {
    let Some(field) = difference(spec, &live.spec) else { return };
    if !is_ours(desired, live) {
        stall(
            plan,
            "NetworkDiffers",
            format!("the network `{name}` exists with another `{field}` and is not ours to change"),
        );
        return;
    }
    let users = users(observed, name);
    if users.is_empty() {
        let step = Step::RemoveNetwork { name: name.to_owned() };
        step_of(
            plan,
            ActionKind::RemoveNetwork,
            Disruption::None,
            format!("networks.{name}.{field}"),
            "as it was",
            "as declared",
            step,
        );
    } else {
        let users = users.join(", ");
        let message = format!(
            "the network `{name}` differs in `{field}`; it can be made anew once nothing hangs on it ({users})"
        );
        stall(plan, "NetworkDiffers", message);
    }
}

fn difference(spec: &NetworkSpec, live: &NetworkSpec) -> Option<&'static str> {
    if spec.driver.as_deref().unwrap_or("bridge") != live.driver.as_deref().unwrap_or("bridge") {
        return Some("driver");
    }
    if spec.internal != live.internal {
        return Some("internal");
    }
    if spec.attachable != live.attachable {
        return Some("attachable");
    }
    if spec.enable_ipv6 != live.enable_ipv6 {
        return Some("enable_ipv6");
    }
    if spec.driver_opts.iter().any(|(name, value)| live.driver_opts.get(name) != Some(value)) {
        return Some("driver_opts");
    }
    let missing = spec.ipam.iter().any(|pool| {
        !live.ipam.iter().any(|seen| {
            seen.subnet == pool.subnet
                && (pool.gateway.is_none() || seen.gateway == pool.gateway)
                && (pool.ip_range.is_none() || seen.ip_range == pool.ip_range)
        })
    });
    missing.then_some("ipam")
}

fn stall(plan: &mut SubjectPlan, reason: &str, message: String) {
    if plan.conditions.is_empty() {
        plan.conditions.push(Condition::new(ConditionType::Stalled, true, reason, message));
    }
}

fn step_of(
    plan: &mut SubjectPlan,
    kind: ActionKind,
    disruption: Disruption,
    field: String,
    from: &str,
    to: &str,
    step: Step,
) {
    let cause = Cause::words(field, from, to);
    match &mut plan.change {
        Some(change) => change.causes.push(cause),
        None => plan.change = Some(Change { kind, disruption, causes: vec![cause] }),
    }
    if plan.next == Next::Nothing {
        plan.next = Next::Step(step);
    }
}

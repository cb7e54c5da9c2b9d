//! Containers of ours that nothing declares any more, and the guard against removing too many of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::condition::{Condition, ConditionType};
use crate::model::desired::HostDesired;
use crate::model::hold::HoldKind;
use crate::model::labels;
use crate::model::memory::HostMemory;
use crate::model::names::{ContainerName, RESERVED_ENDINGS};
use crate::model::settings::Mount;
use crate::model::time::Timestamp;
use crate::observe::observed::{EngineState, HostObserved, ObservedContainer, Status};

use super::step::{ActionKind, Cause, Change, Disruption, Next, Step, Subject, SubjectPlan};

/// Plans of removal, by name of the container.
pub fn plan(desired: &HostDesired, observed: &HostObserved, memory: &HostMemory, now: Timestamp) -> Vec<SubjectPlan> {
    if !matches!(observed.engine, EngineState::Known(_)) {
        return Vec::new();
    }
    let ours: Vec<&Arc<ObservedContainer>> = observed
        .containers
        .values()
        .filter(|container| container.is_labelled(desired.site.as_str(), desired.host.as_str()))
        .collect();
    let orphans: Vec<&Arc<ObservedContainer>> =
        ours.iter().copied().filter(|container| is_orphan(desired, observed, container)).collect();
    let held = guard(desired, &ours, &orphans, memory);
    let paused =
        memory.holds.iter().any(|hold| hold.kind == HoldKind::Pause && hold.service.is_none() && hold.is_active(now));
    orphans
        .into_iter()
        .map(|container| {
            let reason = if is_service_gone(desired, container) { held.clone() } else { None };
            removal(container, reason, paused)
        })
        .collect()
}

fn is_service_gone(desired: &HostDesired, container: &ObservedContainer) -> bool {
    container.label(labels::SERVICE).is_some_and(|service| !desired.services.contains_key(service))
}

fn is_orphan(desired: &HostDesired, observed: &HostObserved, container: &ObservedContainer) -> bool {
    if let Some(service) = container.label(labels::SERVICE) {
        if desired.waits.services.contains_key(service) && !desired.services.contains_key(service) {
            return false;
        }
        let Some(instance) = desired.services.get(service) else { return true };
        return is_stray(&instance.container_name, observed, container);
    }
    if let Some(job) = container.label(labels::JOB) {
        return match desired.jobs.get(job) {
            Some(job) => container.name != job.container_name.as_str() && !container.is_running(),
            None => !desired.waits.jobs.contains_key(job),
        };
    }
    // A helper that was made to look into an image, and whose maker died.
    true
}

/// One container too many of a service that has its own: it was renamed by hand and another one was made since.
fn is_stray(name: &ContainerName, observed: &HostObserved, container: &ObservedContainer) -> bool {
    let of_replacement = [name.to_string(), name.next(), name.prev(), name.failed()];
    let has_own = observed.containers.contains_key(name.as_str()) || observed.containers.contains_key(&name.prev());
    !of_replacement.contains(&container.name)
        && (has_own || RESERVED_ENDINGS.iter().any(|ending| container.name.ends_with(ending)))
}

/// Why the removals of this generation wait for a person, if they do.
fn guard(
    desired: &HostDesired,
    ours: &[&Arc<ObservedContainer>],
    orphans: &[&Arc<ObservedContainer>],
    memory: &HostMemory,
) -> Option<String> {
    if memory.prune_allowed == Some(desired.generation) {
        return None;
    }
    let services = |containers: &[&Arc<ObservedContainer>]| {
        containers
            .iter()
            .filter_map(|container| container.label(labels::SERVICE))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let all = services(ours);
    let gone: BTreeSet<String> =
        services(orphans).into_iter().filter(|service| !desired.services.contains_key(service.as_str())).collect();
    if gone.is_empty() {
        return None;
    }
    let names = gone.iter().cloned().collect::<Vec<_>>().join(", ");
    if gone.len() == all.len() {
        return Some(format!("generation {} would remove everything that runs here: {names}", desired.generation));
    }
    let share = gone.len() * 100 > all.len() * usize::from(desired.sync.max_removal_percent);
    if gone.len() > desired.sync.max_removals && share {
        let (gone, all) = (gone.len(), all.len());
        return Some(format!("generation {} would remove {gone} of {all} services: {names}", desired.generation));
    }
    let volumes: BTreeMap<&str, &str> = orphans
        .iter()
        .filter(|container| is_service_gone(desired, container))
        .filter_map(|container| {
            let detail = container.detail.as_ref()?;
            let volume = detail.settings.volumes.iter().flatten().find_map(|(_, mount)| match mount {
                Mount::Volume { source: Some(name), .. } => Some(name.as_str()),
                _ => None,
            })?;
            Some((container.name.as_str(), volume))
        })
        .collect();
    match volumes.first_key_value() {
        Some((name, volume)) if desired.sync.protect_volumes => {
            Some(format!("`{name}` has the volume `{volume}` (which would stay)"))
        }
        _ => None,
    }
}

fn removal(container: &Arc<ObservedContainer>, held: Option<String>, paused: bool) -> SubjectPlan {
    let mut conditions = Vec::new();
    let change = Change {
        kind: ActionKind::Remove,
        disruption: Disruption::Replace,
        causes: vec![Cause::words("service", "not declared any more", "removed")],
    };
    let next = if let Some(why) = held {
        let message = format!("{why}; allow it with `mastic apply --allow-prune`");
        conditions.push(Condition::new(ConditionType::RemovalHeld, true, "RemovalGuard", message));
        Next::Blocked
    } else if paused {
        conditions.push(Condition::new(ConditionType::Paused, true, "Paused", "the host is paused"));
        Next::Blocked
    } else if container.is_running() || container.state.status == Status::Restarting {
        Next::Step(Step::Stop {
            id: container.id.clone(),
            grace: container.detail.as_ref().and_then(|detail| detail.settings.stop_grace_period),
            hooks: crate::model::desired::Hooks::default(),
        })
    } else {
        Next::Step(Step::Remove { id: container.id.clone() })
    };
    SubjectPlan {
        subject: Subject::Orphan(container.name.clone()),
        change: Some(change),
        next,
        disrupts: false,
        drains: false,
        ready: false,
        state: "not declared".to_owned(),
        conditions,
    }
}

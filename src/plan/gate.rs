//! What a changed instance has to show before it counts: running, healthy, answering, for so long, before its deadline.
//!
//! Only time in which it was watched counts: an agent that was down neither fails nor passes anything.

use crate::model::desired::InstanceDesired;
use crate::model::labels;
use crate::model::memory::GateMemory;
use crate::model::time::{Span, Timestamp};
use crate::observe::observed::{Health, HostObserved, ObservedContainer, Status};

/// The longest stretch that one look accounts for; a longer one means that nobody watched.
const LONGEST_LOOK: Span = Span::seconds(30);
/// Without a health check or a probe nothing tells a process that lives from one that is about to die. Before an old
/// instance is given up, the new one has to stay up for as long.
const BLIND_WATCH: Span = Span::seconds(2);
/// So many crashes in a row are no slow start. Docker waits 100 ms, 200 ms, ... between them.
const CRASHES: i64 = 5;

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is proven.
    Passed,
    /// Not yet; worth another look then, if nothing happens before.
    Waiting(Timestamp),
    /// It did not make it: why.
    Failed(String),
}

/// Whether a container is as ready as it can be asked to be at this moment.
pub fn is_ready(desired: &InstanceDesired, container: &ObservedContainer, host: &HostObserved) -> bool {
    if container.state.status != Status::Running {
        return false;
    }
    if !matches!(container.state.health, Health::None | Health::Healthy) {
        return false;
    }
    if desired.ready.is_none() {
        return true;
    }
    host.probes.get(&desired.service).is_some_and(|answer| answer.container_id == container.id && answer.ready)
}

fn has_ended(container: &ObservedContainer) -> bool {
    matches!(container.state.status, Status::Exited | Status::Dead) && !container.state.started_at.is_empty()
}

/// Whether the container ended before the gate began, and has not been started since: no verdict on its new spec.
pub fn ended_before(gate: Option<&GateMemory>, desired: &InstanceDesired, container: &ObservedContainer) -> bool {
    has_ended(container)
        && gate.is_some_and(|gate| {
            gate.container_id == container.id
                && gate.input_hash == desired.input_hash
                && gate.ended_before == container.state.started_at
        })
}

/// The gate after one more look.
pub fn watch(
    before: Option<&GateMemory>,
    desired: &InstanceDesired,
    container: &ObservedContainer,
    host: &HostObserved,
    now: Timestamp,
) -> GateMemory {
    let ready = is_ready(desired, container, host);
    let restarts = container.state.restart_count;
    match before {
        Some(gate) if gate.container_id == container.id && gate.input_hash == desired.input_hash => {
            let passed = Span(now.since(gate.seen_at).0.min(LONGEST_LOOK.0));
            let crashed = restarts > gate.restarts;
            let unbroken = ready && gate.ready && !crashed;
            GateMemory {
                watched: Span(gate.watched.0 + passed.0),
                ready_for: if unbroken { Span(gate.ready_for.0 + passed.0) } else { Span::ZERO },
                ready,
                seen_at: now,
                restarts,
                crashes: gate.crashes + (restarts - gate.restarts).max(0),
                ..gate.clone()
            }
        }
        _ => GateMemory {
            container_id: container.id.clone(),
            input_hash: desired.input_hash.clone(),
            seen_at: now,
            ready,
            restarts,
            ended_before: if has_ended(container) { container.state.started_at.clone() } else { String::new() },
            ..GateMemory::default()
        },
    }
}

/// How long it has to be ready. `protects` says whether an old instance would be given up.
pub fn needed(desired: &InstanceDesired, container: &ObservedContainer, protects: bool) -> Span {
    let blind = desired.ready.is_none() && container.state.health == Health::None;
    // A process that was only told of a change may answer once more before it dies of it.
    let in_place = container.label(labels::INPUT_HASH) != Some(desired.input_hash.as_str());
    if (blind || in_place) && protects { desired.rollout.min_ready.max(BLIND_WATCH) } else { desired.rollout.min_ready }
}

/// The verdict on a gate that was just looked at. `protects` says whether an old instance is there to come back.
pub fn judge(
    gate: &GateMemory,
    desired: &InstanceDesired,
    container: &ObservedContainer,
    protects: bool,
    now: Timestamp,
) -> Verdict {
    let needed = needed(desired, container, protects);
    if gate.ready && gate.ready_for >= needed {
        return Verdict::Passed;
    }
    let state = &container.state;
    if gate.crashes >= CRASHES && protects {
        return Verdict::Failed(format!("it crashed {} times, last with exit code {}", gate.crashes, state.exit_code));
    }
    if has_ended(container) && protects {
        return Verdict::Failed(format!("it ended with exit code {}", state.exit_code));
    }
    let deadline = desired.rollout.deadline;
    // One that became ready just before its deadline gets the time to stay so: a slow machine is no failed change.
    let came_late = gate.ready && gate.watched.0.saturating_sub(gate.ready_for.0) < deadline.0;
    if gate.watched >= deadline && !came_late {
        let seen = match (state.status, state.health) {
            (Status::Running, Health::Unhealthy) => "it is unhealthy".to_owned(),
            (Status::Running, Health::Starting) => "its health check has not passed".to_owned(),
            (Status::Running, _) if desired.ready.is_some() => "its probe has not answered".to_owned(),
            (Status::Running, _) => "it was not ready for long enough".to_owned(),
            (Status::Restarting, _) => format!("it keeps crashing with exit code {}", state.exit_code),
            (status, _) => format!("it is {}", format!("{status:?}").to_lowercase()),
        };
        return Verdict::Failed(format!("not ready within {deadline}: {seen}"));
    }
    let left = Span(deadline.0.saturating_sub(gate.watched.0));
    let soon = if gate.ready { Span(needed.0.saturating_sub(gate.ready_for.0)) } else { left };
    Verdict::Waiting(now.plus(Span(soon.0.max(1))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::plan::testing::{container, instance};

    fn running(id: &str) -> ObservedContainer {
        let mut container = container("web", id);
        container.state.status = Status::Running;
        container.state.started_at = "2026-01-01T00:00:00Z".to_owned();
        container
    }

    fn looks(desired: &InstanceDesired, container: &ObservedContainer, times: &[i64]) -> GateMemory {
        let host = HostObserved::default();
        let mut gate = None;
        for time in times {
            gate = Some(watch(gate.as_ref(), desired, container, &host, Timestamp(*time)));
        }
        gate.unwrap()
    }

    #[test]
    fn passes_after_the_needed_time_of_being_ready() {
        let mut desired = instance("web");
        desired.rollout.min_ready = Span::seconds(5);
        let container = running("a");
        let gate = looks(&desired, &container, &[0, 4000]);
        assert_eq!(judge(&gate, &desired, &container, true, Timestamp(4000)), Verdict::Waiting(Timestamp(5000)));
        let gate = looks(&desired, &container, &[0, 4000, 5000]);
        assert_eq!(judge(&gate, &desired, &container, true, Timestamp(5000)), Verdict::Passed);
    }

    #[test]
    fn without_any_check_a_process_has_to_stay_up_before_an_old_one_is_given_up_for_it() {
        let desired = instance("web");
        let mut container = running("a");
        container.labels.insert(labels::INPUT_HASH.to_owned(), desired.input_hash.clone());
        assert_eq!(needed(&desired, &container, true), BLIND_WATCH);
        assert_eq!(needed(&desired, &container, false), Span::ZERO, "nothing is lost by believing it");
        container.state.health = Health::Healthy;
        assert_eq!(needed(&desired, &container, true), Span::ZERO, "it says itself how it is");
        container.labels.clear();
        assert_eq!(needed(&desired, &container, true), BLIND_WATCH, "it was only told of its change");
    }

    #[test]
    fn one_that_became_ready_just_in_time_may_show_that_it_stays_so() {
        let mut desired = instance("web");
        (desired.rollout.min_ready, desired.rollout.deadline) = (Span::seconds(5), Span::seconds(6));
        let (mut starting, host) = (running("a"), HostObserved::default());
        starting.state.health = Health::Starting;
        let late = |time: i64| {
            let mut gate = watch(None, &desired, &starting, &host, Timestamp(0));
            gate = watch(Some(&gate), &desired, &starting, &host, Timestamp(4000));
            for time in [5000, 7000, time] {
                gate = watch(Some(&gate), &desired, &running("a"), &host, Timestamp(time));
            }
            gate
        };
        assert_eq!(
            judge(&late(8000), &desired, &running("a"), true, Timestamp(8000)),
            Verdict::Waiting(Timestamp(10_000))
        );
        assert_eq!(judge(&late(10_000), &desired, &running("a"), true, Timestamp(10_000)), Verdict::Passed);
        // Ready for a moment only is not ready.
        let gate = watch(Some(&late(8000)), &desired, &starting, &host, Timestamp(9000));
        assert!(matches!(judge(&gate, &desired, &starting, true, Timestamp(9000)), Verdict::Failed(_)));
    }

    #[test]
    fn time_in_which_nobody_watched_does_not_count() {
        let desired = instance("web");
        let mut container = running("a");
        container.state.health = Health::Starting;
        let gate = looks(&desired, &container, &[0, 100_000_000]);
        assert!(matches!(judge(&gate, &desired, &container, true, Timestamp(100_000_000)), Verdict::Waiting(_)));
    }

    #[test]
    fn a_clock_that_steps_back_neither_passes_nor_fails() {
        let mut desired = instance("web");
        desired.rollout.min_ready = Span::seconds(5);
        let container = running("a");
        let gate = looks(&desired, &container, &[10_000, 2000, 3000]);
        assert_eq!(gate.watched, Span(1000));
    }

    #[test]
    fn an_end_before_the_gate_began_is_no_verdict() {
        let desired = instance("web");
        let mut container = running("a");
        container.state.status = Status::Exited;
        let gate = looks(&desired, &container, &[0, 1_000]);
        assert!(ended_before(Some(&gate), &desired, &container));
        container.state.started_at = "2026-01-01T00:00:09Z".to_owned();
        assert!(!ended_before(Some(&gate), &desired, &container), "it was started anew and has ended again");
        let gate = looks(&desired, &running("a"), &[0]);
        container.state.started_at = "2026-01-01T00:00:00Z".to_owned();
        assert!(!ended_before(Some(&gate), &desired, &container), "it ran when the gate began");
    }

    #[test]
    fn a_process_that_ends_fails_at_once_where_an_old_one_waits() {
        let desired = instance("web");
        let mut container = running("a");
        container.state.status = Status::Exited;
        container.state.exit_code = 3;
        let gate = looks(&desired, &container, &[0]);
        assert_eq!(
            judge(&gate, &desired, &container, true, Timestamp(0)),
            Verdict::Failed("it ended with exit code 3".to_owned())
        );
    }
}

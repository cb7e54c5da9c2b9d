//! The table of a replacement: which of NAME, NAME.next and NAME.prev exist decides the one next step.

use crate::model::condition::ConditionType;
use crate::model::hold::HoldKind;
use crate::observe::observed::{ObservedContainer, Status};

use super::change;
use super::diff;
use super::instance::Planning;
use super::prepare;
use super::remember::MemoryChange;
use super::steady;
use super::step::{ActionKind, Cause, Disruption, Next, Step};

/// The next step where NAME.next or NAME.prev exists.
pub(super) fn next(planning: &mut Planning<'_>) -> Next {
    "replacing".clone_into(&mut planning.state);
    match (planning.slots.current, planning.slots.previous, planning.slots.next) {
        (Some(current), Some(previous), next) => proving(planning, current, previous, next.map(AsRef::as_ref)),
        (None, Some(previous), next) => between(planning, previous, next.map(AsRef::as_ref)),
        (Some(current), None, Some(next)) => prepared(planning, current, next),
        (None, None, Some(next)) => orphaned_next(planning, next),
        (_, None, None) => Next::Nothing,
    }
}

fn causes(planning: &Planning<'_>, old: &ObservedContainer) -> Vec<Cause> {
    planning.differences(old).into_iter().map(|difference| difference.cause).collect()
}

fn describe(planning: &mut Planning<'_>, old: &ObservedContainer) {
    let causes = causes(planning, old);
    let kind = if planning.quarantined { ActionKind::Rollback } else { ActionKind::Replace };
    planning.change(kind, Disruption::Replace, causes);
}

/// NAME and NAME.prev: NAME has to prove itself, or to make room.
fn proving(
    planning: &mut Planning<'_>,
    current: &ObservedContainer,
    previous: &ObservedContainer,
    next: Option<&ObservedContainer>,
) -> Next {
    if planning.fits(current) {
        return proving_current(planning, current, previous);
    }
    if let Some(blocked) = change::left_behind(planning) {
        planning.describe_running(current);
        return blocked;
    }
    if planning.fits(previous) {
        // A rollback, or an edit that was taken back.
        let kind = if planning.quarantined { ActionKind::Rollback } else { ActionKind::Replace };
        let causes = causes(planning, current);
        planning.change(kind, Disruption::Replace, causes);
        return make_room(planning, current);
    }
    if planning.quarantined && planning.input.proven.is_none() {
        // Nobody remembers the spec of NAME.prev any more; it is the last good instance all the same.
        planning.change(ActionKind::Rollback, Disruption::Replace, Vec::new());
        return make_room(planning, current);
    }
    // A newer spec came before this one was proven. It is prepared first; what is not proven makes room for it.
    describe(planning, current);
    match next {
        Some(next) if planning.fits(next) => {
            // Of two that were never proven, the one that works is worth more than the one that was put aside.
            let proven = planning.memory.proven.as_ref();
            let is_good = proven.is_some_and(|proven| proven.container_id == previous.id);
            if !is_good && planning.is_ready_now(current) {
                return Next::Step(Step::Remove { id: previous.id.clone() });
            }
            make_room(planning, current)
        }
        Some(next) => Next::Step(Step::Remove { id: next.id.clone() }),
        None => {
            let name = planning.spec.container_name.next();
            prepare::next(planning, &name, Some(current))
        }
    }
}

fn proving_current(planning: &mut Planning<'_>, current: &ObservedContainer, previous: &ObservedContainer) -> Next {
    if planning.is_proven_by(current) {
        planning.describe_running(current);
        planning.ready = planning.is_ready_now(current);
        planning.change(ActionKind::Remove, Disruption::None, vec![Cause::words("prev", "kept", "no longer needed")]);
        return Next::Step(Step::Remove { id: previous.id.clone() });
    }
    // The change is told by what the old one lacks.
    describe(planning, previous);
    if let Some(failure) = planning.spec_failure() {
        let reason = failure.message.clone();
        return planning.gate_failed(current, &reason);
    }
    // What it would read was damaged since it was written: without mounts it could not even be started.
    if matches!(current.state.status, Status::Created | Status::Exited | Status::Dead) {
        let differences = planning.differences(current);
        if let Some(next) = steady::write_files(planning, current, &differences) {
            return next;
        }
    }
    // What was changed by hand meanwhile would fail the gate of a spec that is innocent.
    if let Some(next) = steady::mend_live(planning, current) {
        return next;
    }
    match current.state.status {
        Status::Created => change::before_start(planning).unwrap_or_else(|| Next::Step(planning.start(current))),
        Status::Exited | Status::Dead if current.state.started_at.is_empty() => {
            change::before_start(planning).unwrap_or_else(|| Next::Step(planning.start(current)))
        }
        Status::Exited | Status::Dead => match planning.gate(current) {
            // Its own end was no verdict: somebody stopped it, or nothing is there to go back to.
            Next::Wait { .. } => Next::Step(planning.start(current)),
            verdict => verdict,
        },
        Status::Paused => Next::Step(Step::Unpause { id: current.id.clone() }),
        Status::Running | Status::Restarting | Status::Removing => planning.gate(current),
    }
}

/// NAME is stopped and put aside for NAME.prev or NAME.next. It never was ready: no grant is needed.
fn make_room(planning: &mut Planning<'_>, current: &ObservedContainer) -> Next {
    if planning.quarantined {
        "rolling back".clone_into(&mut planning.state);
    }
    if current.is_running() || current.state.status == Status::Restarting {
        return Next::Step(planning.stop(current));
    }
    if !planning.quarantined {
        return Next::Step(Step::Remove { id: current.id.clone() });
    }
    if let Some(old) = planning.slots.failed {
        return Next::Step(Step::Remove { id: old.id.clone() });
    }
    // The engine must not start it again beside the one that comes back.
    Next::Step(Step::MoveAside { id: current.id.clone(), to: planning.spec.container_name.failed() })
}

/// NAME.prev without NAME: on with the new one, or back with the old one.
fn between(planning: &mut Planning<'_>, previous: &ObservedContainer, next: Option<&ObservedContainer>) -> Next {
    let name = planning.spec.container_name.to_string();
    describe(planning, previous);
    let forward =
        next.filter(|next| !planning.fits(previous) && planning.fits(next) && planning.spec_failure().is_none());
    match forward {
        Some(next) => {
            if previous.is_running() || previous.state.status == Status::Restarting {
                return Next::Step(planning.stop(previous));
            }
            Next::Step(Step::Rename { id: next.id.clone(), to: name })
        }
        None => {
            if planning.quarantined {
                "rolling back".clone_into(&mut planning.state);
            }
            Next::Step(Step::Rename { id: previous.id.clone(), to: name })
        }
    }
}

/// NAME and NAME.next: begin, or throw away what was prepared for another spec.
fn prepared(planning: &mut Planning<'_>, current: &ObservedContainer, next: &ObservedContainer) -> Next {
    let unfit = !planning.fits(next)
        || planning.differences(next).iter().any(|difference| matches!(difference.part, diff::Part::Network { .. }));
    if planning.fits(current) || unfit {
        let causes = causes(planning, current);
        if !causes.is_empty() {
            planning.change(ActionKind::Replace, Disruption::Replace, causes);
        }
        planning.describe_running(current);
        planning.ready = planning.fits(current) && planning.is_ready_now(current);
        return Next::Step(Step::Remove { id: next.id.clone() });
    }
    describe(planning, current);
    if let Some(failure) = planning.spec_failure()
        && planning.has_way_back()
        && !planning.quarantined
    {
        let reason = failure.message.clone();
        return Next::Step(Step::Quarantine { id: None, reason, input_hash: planning.spec.input_hash.clone() });
    }
    // The files of the new one may have been damaged while it waited.
    let damaged =
        planning.differences(next).iter().any(|difference| matches!(difference.part, diff::Part::File { .. }));
    if damaged {
        return Next::Step(Step::Remove { id: next.id.clone() });
    }
    if !planning.is_proven()
        && let Some(waiting) = planning.waits_for_dependency(true)
    {
        planning.describe_running(current);
        return waiting;
    }
    if let Some(blocked) = change::left_behind(planning) {
        planning.describe_running(current);
        return blocked;
    }
    let is_alive = current.is_running() || current.state.status == Status::Restarting;
    if is_alive && let Some(hold) = planning.hold(HoldKind::Cordon) {
        let message = format!("the host is cordoned by {}: {}", hold.user, hold.reason);
        planning.condition(ConditionType::Paused, "Cordoned", message);
        planning.describe_running(current);
        return Next::Blocked;
    }
    // One that has been ready may be so again in a moment, as it is: others have to be there if it is not brought back.
    let has_been_ready = planning.memory.proven.as_ref().is_some_and(|proven| proven.container_id == current.id);
    if !is_alive
        && has_been_ready
        && planning.input.slotless
        && let Some(next @ (Next::Step(_) | Next::Wait { .. })) = steady::revive(planning, current)
    {
        planning.describe_running(current);
        return next;
    }
    planning.disrupts = is_alive || has_been_ready;
    Next::Step(Step::MoveAside { id: current.id.clone(), to: planning.spec.container_name.prev() })
}

/// NAME.next alone: somebody removed the rest.
fn orphaned_next(planning: &mut Planning<'_>, next: &ObservedContainer) -> Next {
    "missing".clone_into(&mut planning.state);
    planning.change(ActionKind::Create, Disruption::None, vec![Cause::words("state", "missing", "running")]);
    if planning.fits(next) {
        Next::Step(Step::Rename { id: next.id.clone(), to: planning.spec.container_name.to_string() })
    } else {
        Next::Step(Step::Remove { id: next.id.clone() })
    }
}

/// Begins a replacement of NAME: what is needed beside it, at the end NAME.next.
pub(super) fn begin(planning: &mut Planning<'_>, current: &ObservedContainer, causes: Vec<Cause>) -> Next {
    let kind = if planning.quarantined { ActionKind::Rollback } else { ActionKind::Replace };
    planning.change(kind, Disruption::Replace, causes);
    if planning.quarantined && planning.input.proven.is_none() {
        return Next::Blocked;
    }
    if let Some(failure) = planning.spec_failure()
        && planning.has_way_back()
        && !planning.quarantined
    {
        let reason = failure.message.clone();
        return Next::Step(Step::Quarantine { id: None, reason, input_hash: planning.spec.input_hash.clone() });
    }
    if let Some(request) = planning.input.memory.restart_requests.get(&planning.spec.service)
        && *request != current.id
    {
        return Next::Remember(MemoryChange::RestartDone { service: planning.spec.service.clone() });
    }
    let name = planning.spec.container_name.next();
    prepare::next(planning, &name, Some(current))
}

//! What procedures have an instance do: not run, answer something meanwhile, run as a variant of its service.
//!
//! A container that was made of a variant is never mended into the service as it is, nor the other way round: one is
//! prepared beside the other as ever, but nothing leads back to a variant. It might begin a second cluster.

use std::sync::Arc;

use crate::model::condition::ConditionType;
use crate::model::desired::{Hooks, InstanceDesired};
use crate::model::hold::HoldKind;
use crate::model::labels;
use crate::model::procedure::{Instruction, OneOff};
use crate::model::settings::{ContainerSettings, RestartPolicy};
use crate::observe::observed::{ObservedContainer, Status};

use super::files;
use super::instance::{InstanceInput, Planning};
use super::prepare::{self, Image};
use super::remember::MemoryChange;
use super::step::{ActionKind, Cause, CreateStep, Disruption, FilesOf, Next, Step};

/// What ends the name of a container that only answers something.
const HELPER: &str = ".ask";

/// The spec that a procedure chose, and its name where it is a variant.
pub(super) fn chosen<'a>(input: &InstanceInput<'a>) -> Option<(&'a Arc<InstanceDesired>, Option<&'a str>)> {
    let Instruction::Start { variant: Some(variant) } = &input.instructed?.what else { return None };
    let spec = input.behaviour?.variants.get(variant)?;
    Some((spec, Some(variant.as_str())))
}

/// The next step where a procedure has a say, or a variant is what is there.
pub(super) fn next(planning: &mut Planning<'_>) -> Option<Next> {
    if let Some((reason, message)) = planning.input.refused {
        planning.condition(ConditionType::Stalled, reason, message.clone());
    }
    if let Some(instructed) = planning.input.instructed {
        planning.condition(ConditionType::Progressing, "Procedure", instructed.why.clone());
        if let Some((reason, message)) = &instructed.refused {
            planning.condition(ConditionType::Stalled, reason, message.clone());
        }
        match &instructed.what {
            Instruction::Start { .. } => {}
            Instruction::Leave => return Some(left(planning)),
            Instruction::Stop { grace } => {
                return Some(match (planning.stopped(), grace) {
                    (Next::Step(Step::Stop { id, .. }), Some(grace)) => {
                        let grace = i64::try_from(grace.0.div_ceil(1000)).ok();
                        Next::Step(Step::Stop { id, grace, hooks: Hooks::default() })
                    }
                    (next, _) => next,
                });
            }
            Instruction::Ask { key, how, gives_value } => {
                return Some(match planning.stopped() {
                    Next::Nothing => ask(planning, key, how, *gives_value),
                    other => other,
                });
            }
            Instruction::Wipe { key, volumes } => {
                return Some(match planning.stopped() {
                    Next::Nothing => wipe(planning, key, volumes),
                    other => other,
                });
            }
        }
    }
    variant(planning)
}

fn left(planning: &mut Planning<'_>) -> Next {
    if let Some(current) = planning.slots.current {
        planning.describe_running(current);
    }
    Next::Blocked
}

/// Why a dead instance is not started now.
pub(super) fn held(planning: &mut Planning<'_>) -> Option<Next> {
    let is_told_to =
        matches!(planning.input.instructed.map(|instructed| &instructed.what), Some(Instruction::Start { .. }));
    let why = planning.input.held.filter(|_| !is_told_to && planning.memory.proven.is_some())?;
    planning.condition(ConditionType::Waiting, "WaitingForQuorum", why);
    Some(Next::Blocked)
}

fn ask(planning: &mut Planning<'_>, key: &str, how: &OneOff, gives_value: bool) -> Next {
    let spec = planning.input.desired;
    let host = planning.input.observed;
    "asked".clone_into(&mut planning.state);
    if let Some(blocked) = prepare::no_data(planning, &spec.settings) {
        return blocked;
    }
    let image = match prepare::image(host, &spec.image, spec.pull_policy, true) {
        Image::Known(image) => image,
        Image::Pull => {
            return Next::Step(Step::Pull { image: spec.image.clone(), input_hash: spec.input_hash.clone() });
        }
        Image::NotInspected => return Next::Wait { until: None },
        Image::Missing => {
            planning.condition(
                ConditionType::Waiting,
                "ImageMissing",
                format!("the image {} is not on this host", spec.image),
            );
            return Next::Blocked;
        }
    };
    let files_key = files::key(spec.container_name.as_str(), &spec.create_hash);
    let name = spec.container_name.as_str();
    match prepare::files_step(host, &image, &spec.files, &files_key, name, || FilesOf::Instance(spec.clone())) {
        Ok(None) => {}
        Ok(Some(step)) => return Next::Step(step),
        Err(owner) => {
            let message = format!("the image {} knows no user or group `{owner}`", spec.image);
            planning.condition(ConditionType::Stalled, "UnknownOwner", message);
            return Next::Blocked;
        }
    }
    let own_network = how.network_mode.is_none();
    let settings = ContainerSettings {
        command: Some(how.command.clone()),
        restart: Some(RestartPolicy::No),
        healthcheck: None,
        ports: None,
        network_mode: how.network_mode.clone().or_else(|| spec.settings.network_mode.clone()),
        ..spec.settings.clone()
    };
    let networks = spec.networks.iter().filter(|_| own_network);
    let labels =
        [(labels::SITE, planning.input.site.to_string()), (labels::HOST, planning.input.host_name.to_string())];
    Next::Step(Step::AskStopped {
        key: key.to_owned(),
        create: Box::new(CreateStep {
            name: format!("{name}{HELPER}"),
            image: spec.image.clone(),
            image_id: image.id.clone(),
            settings,
            networks: networks.map(|(name, attachment)| (name.to_string(), attachment.clone())).collect(),
            labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            files_key,
            carried_volumes: std::collections::BTreeMap::new(),
        }),
        timeout: how.timeout,
        gives_value,
    })
}

/// What uses the volumes goes first; it is made again from the spec.
fn wipe(planning: &mut Planning<'_>, key: &str, volumes: &[String]) -> Next {
    "wiping".clone_into(&mut planning.state);
    let slots = &planning.slots;
    let own = [slots.next, slots.previous, slots.failed, slots.current];
    if let Some(container) = own.into_iter().flatten().next() {
        return Next::Step(Step::Remove { id: container.id.clone() });
    }
    if volumes.iter().any(|name| planning.input.memory.volumes.contains(name)) {
        return Next::Remember(MemoryChange::Wiping { volumes: volumes.to_vec() });
    }
    let specs = volumes.iter().filter_map(|name| {
        let (name, spec) = planning.input.volumes.iter().find(|(known, _)| known.as_str() == name)?;
        Some((name.to_string(), spec.clone()))
    });
    Next::Step(Step::Wipe { key: key.to_owned(), volumes: specs.collect() })
}

/// What a container was made of.
fn variant_of(container: &ObservedContainer) -> Option<&str> {
    container.label(labels::VARIANT)
}

/// The table for variants: none where only containers of the service as it is are there, and that is what is wanted.
fn variant(planning: &mut Planning<'_>) -> Option<Next> {
    let wanted = planning.variant;
    let slots = &planning.slots;
    let all = [slots.current, slots.next, slots.previous];
    let is_wanted = |container: &ObservedContainer| variant_of(container) == wanted;
    if wanted.is_none() && all.into_iter().flatten().all(|container| is_wanted(container)) {
        return None;
    }
    let (current, next, previous) = (slots.current, slots.next, slots.previous);
    // Nothing is kept to come back to.
    if let Some(previous) = previous {
        if previous.is_running() || previous.state.status == Status::Restarting {
            return Some(Next::Step(planning.stop(previous)));
        }
        return Some(if current.is_none() && next.is_none() {
            Next::Step(Step::Rename { id: previous.id.clone(), to: planning.spec.container_name.to_string() })
        } else {
            Next::Step(Step::Remove { id: previous.id.clone() })
        });
    }
    let shown = |variant: Option<&str>| variant.unwrap_or("none").to_owned();
    match (current, next) {
        (Some(current), next) if is_wanted(current) => match next {
            Some(next) => Some(Next::Step(Step::Remove { id: next.id.clone() })),
            None if wanted.is_some() => Some(running_variant(planning, current)),
            None => None,
        },
        (Some(current), next) => {
            let from = shown(variant_of(current));
            planning.describe_running(current);
            planning.change(
                ActionKind::Replace,
                Disruption::Replace,
                vec![Cause::words("variant", &from, &shown(wanted))],
            );
            let fitting = next.filter(|next| is_wanted(next) && planning.fits(next));
            match (fitting, next) {
                (Some(_), _) if current.is_running() || current.state.status == Status::Restarting => {
                    Some(make_room(planning, current))
                }
                (Some(_), _) => Some(Next::Step(Step::Remove { id: current.id.clone() })),
                (None, Some(unfit)) => Some(Next::Step(Step::Remove { id: unfit.id.clone() })),
                (None, None) => {
                    let name = planning.spec.container_name.next();
                    Some(prepare::next(planning, &name, Some(current)))
                }
            }
        }
        (None, Some(next)) if is_wanted(next) && planning.fits(next) => {
            let to = planning.spec.container_name.to_string();
            Some(Next::Step(Step::Rename { id: next.id.clone(), to }))
        }
        (None, Some(next)) => Some(Next::Step(Step::Remove { id: next.id.clone() })),
        (None, None) => {
            planning.change(
                ActionKind::Create,
                Disruption::None,
                vec![Cause::words("variant", "none", &shown(wanted))],
            );
            let name = planning.spec.container_name.to_string();
            Some(prepare::next(planning, &name, None))
        }
    }
}

fn make_room(planning: &mut Planning<'_>, current: &ObservedContainer) -> Next {
    if let Some(hold) = planning.hold(HoldKind::Cordon) {
        let message = format!("the host is cordoned by {}: {}", hold.user, hold.reason);
        planning.condition(ConditionType::Paused, "Cordoned", message);
        return Next::Blocked;
    }
    // What works is stopped only with a slot: the others have to be there.
    planning.disrupts = true;
    planning.drains = true;
    Next::Step(planning.stop(current))
}

/// A container of the variant that is wanted: it is started once. Whether it is started again, the procedure decides.
fn running_variant(planning: &mut Planning<'_>, current: &ObservedContainer) -> Next {
    planning.describe_running(current);
    match current.state.status {
        Status::Running | Status::Restarting | Status::Removing | Status::Paused => Next::Wait { until: None },
        Status::Created => {
            planning.change(ActionKind::Start, Disruption::None, vec![Cause::words("state", "created", "running")]);
            Next::Step(planning.start(current))
        }
        // It has run: another one is made, so that nothing is remembered of that.
        Status::Exited | Status::Dead => Next::Step(Step::Remove { id: current.id.clone() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#[path = "instructed_tests.rs"]
mod tests;

//! The plan of a fileset on the host that does something about it: run what makes it, or take it from where it lies.
//!
//! Whether, and which host, is decided with the words of all (`admit::fileset`). What is made counts only once it stands in
//! the record that hosts agree on, so that being killed here costs nothing but another run.

use std::collections::BTreeMap;

use crate::model::condition::{Condition, ConditionType, VOLUME_LOST};
use crate::model::desired::InstanceDesired;
use crate::model::fileset::{FilesetDesired, Make};
use crate::model::hold::HoldKind;
use crate::model::kolla::START;
use crate::model::labels;
use crate::model::settings::{ContainerSettings, RestartPolicy};
use crate::model::time::Timestamp;
use crate::observe::observed::EngineState;

use super::files;
use super::host::HostInput;
use super::prepare::{self, Image};
use super::step::{ActionKind, Cause, Change, CreateStep, Disruption, FilesOf, Next, Step, Subject, SubjectPlan};
use super::volumes;

/// What ends the name of the container in which a fileset is made.
const HELPER: &str = ".fileset";

/// What this host is to do about a fileset, or why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesetOrder {
    /// Make it for the first time.
    Create,
    /// Make new files of those of this revision.
    Update {
        /// Which.
        base: u64,
    },
    /// Take it out of a container that sees it.
    Take,
    /// Nothing, as others have to do something first.
    Wait {
        /// A reason in CamelCase.
        reason: &'static str,
        /// For people.
        why: String,
        /// When this host goes on all the same.
        until: Option<Timestamp>,
    },
    /// Nothing, until a person does something.
    Stuck {
        /// A reason in CamelCase.
        reason: &'static str,
        /// For people.
        why: String,
    },
}

/// All that the plan of a fileset depends on.
#[derive(Clone, Copy, Debug)]
pub struct FilesetInput<'a> {
    /// The host.
    pub host: &'a HostInput<'a>,
    /// The fileset.
    pub fileset: &'a FilesetDesired,
    /// What is to be done about it; none is nothing.
    pub order: Option<&'a FilesetOrder>,
}

/// The plan.
pub fn plan(input: &FilesetInput<'_>) -> SubjectPlan {
    let mut conditions = Vec::new();
    let (next, change) = match input.order {
        None => (Next::Nothing, None),
        Some(FilesetOrder::Wait { reason, why, until }) => {
            conditions.push(Condition::new(ConditionType::Progressing, true, *reason, why.clone()));
            (until.map_or(Next::Nothing, |until| Next::Wait { until: Some(until) }), None)
        }
        Some(FilesetOrder::Stuck { reason, why }) => {
            conditions.push(Condition::new(ConditionType::Stalled, true, *reason, why.clone()));
            (Next::Blocked, None)
        }
        Some(FilesetOrder::Create) => {
            let cause = Cause::words("copies", "none on any host", "made once, for all");
            (make(input, &input.fileset.create, 0, &mut conditions), Some((ActionKind::CreateFileset, cause)))
        }
        Some(FilesetOrder::Update { base }) => {
            let cause = Cause::words("revision", &base.to_string(), &(base + 1).to_string());
            let next = match &input.fileset.update {
                Some(update) => make(input, &update.make, *base, &mut conditions),
                None => Next::Nothing,
            };
            (next, Some((ActionKind::UpdateFileset, cause)))
        }
        Some(FilesetOrder::Take) => {
            let cause = Cause::words("copies", "on this host alone", "known to all");
            (take(input), Some((ActionKind::CreateFileset, cause)))
        }
    };
    let ready = matches!(next, Next::Nothing);
    let reason = if ready { "Known" } else { "NotKnown" };
    let message = conditions.first().map_or_else(String::new, |condition: &Condition| condition.message.clone());
    conditions.insert(0, Condition::new(ConditionType::Ready, ready, reason, message));
    conditions.sort_by_key(|condition| condition.kind);
    SubjectPlan {
        subject: Subject::Fileset(input.fileset.fileset.clone()),
        change: change.map(|(kind, cause)| Change { kind, disruption: Disruption::None, causes: vec![cause] }),
        next,
        disrupts: false,
        drains: false,
        ready,
        state: if ready { "known".to_owned() } else { "missing".to_owned() },
        conditions,
    }
}

/// The container here that sees the fileset and whose files were looked at, and where in it.
pub fn copy<'a>(input: &'a HostInput<'_>, fileset: &FilesetDesired) -> Option<(&'a str, &'a str)> {
    input.desired.services.values().find_map(|spec| {
        let mount = spec.filesets.iter().find(|mount| mount.fileset == fileset.fileset)?;
        let container = input.observed.containers.get(spec.container_name.as_str())?;
        let is_ours = container.is_labelled(input.desired.site.as_str(), input.desired.host.as_str());
        let hash = container.detail.as_ref()?.managed_hash.as_ref()?;
        let seen = input.observed.files.get(&format!("{}/{hash}", spec.container_name))?;
        let below = format!("{}/", mount.directory);
        let has_files = seen.keys().any(|path| path.starts_with(&below));
        (is_ours && has_files).then_some((container.id.as_str(), mount.target.as_str()))
    })
}

/// Whether all that sees the fileset here has its files as they are known, with mode and owner.
pub fn is_current(input: &HostInput<'_>, fileset: &FilesetDesired) -> bool {
    input.desired.services.values().all(|spec| {
        let Some(mount) = spec.filesets.iter().find(|mount| mount.fileset == fileset.fileset) else { return true };
        let container = input.observed.containers.get(spec.container_name.as_str());
        let hash = container.and_then(|container| container.detail.as_ref()?.managed_hash.clone());
        let key = match hash {
            Some(hash) => format!("{}/{hash}", spec.container_name),
            None => files::key(spec.container_name.as_str(), &spec.create_hash),
        };
        let image = container.map(|container| container.image_id.as_str());
        let image = image.or_else(|| input.observed.image_id(&spec.image.familiar()));
        let image = image.and_then(|id| input.observed.images.get(id)).map(AsRef::as_ref);
        let Some(seen) = input.observed.files.get(&key) else { return false };
        let below = format!("{}/", mount.directory);
        let wanted = spec.files.iter().filter(|file| file.fileset.as_ref() == Some(&fileset.fileset));
        let count = wanted.clone().count();
        count > 0
            && count == seen.keys().filter(|path| path.starts_with(&below)).count()
            && wanted.into_iter().all(|file| {
                seen.get(&file.path).is_some_and(|seen| {
                    seen.digest == files::digest(file.content.expose())
                        && seen.mode == file.mode
                        && files::owner_ids(file, image) == Some((seen.uid, seen.gid))
                })
            })
    })
}

fn take(input: &FilesetInput<'_>) -> Next {
    match copy(input.host, input.fileset) {
        Some((id, path)) => Next::Step(Step::TakeFileset {
            fileset: input.fileset.fileset.clone(),
            id: id.to_owned(),
            path: path.to_owned(),
        }),
        None => Next::Wait { until: None },
    }
}

fn make(input: &FilesetInput<'_>, how: &Make, base: u64, conditions: &mut Vec<Condition>) -> Next {
    let HostInput { desired, observed, memory, now, .. } = *input.host;
    let mut say = |kind, reason: &str, message: String| conditions.push(Condition::new(kind, true, reason, message));
    if !matches!(observed.engine, EngineState::Known(_)) {
        say(ConditionType::Unknown, "EngineUnreachable", "the engine cannot be asked".to_owned());
        return Next::Blocked;
    }
    let held =
        |kind| memory.holds.iter().any(|hold| hold.kind == kind && hold.service.is_none() && hold.is_active(now));
    if held(HoldKind::Pause) {
        say(ConditionType::Paused, "Paused", "the host is paused".to_owned());
        return Next::Blocked;
    }
    let Some(spec) = desired.services.get(&input.fileset.like) else { return Next::Blocked };
    if let Some(why) = volumes::lost(&spec.settings, observed, &desired.host) {
        say(ConditionType::Stalled, VOLUME_LOST, why);
        return Next::Blocked;
    }
    let image = match prepare::image(observed, &spec.image, spec.pull_policy, true) {
        Image::Known(image) => image,
        Image::Pull => {
            return Next::Step(Step::Pull { image: spec.image.clone(), input_hash: spec.input_hash.clone() });
        }
        Image::NotInspected => return Next::Wait { until: None },
        Image::Missing => {
            say(ConditionType::Waiting, "ImageMissing", format!("the image {} is not on this host", spec.image));
            return Next::Blocked;
        }
    };
    if let Some(name) = spec.networks.keys().find(|name| !observed.networks.contains_key(name.as_str())) {
        say(ConditionType::Waiting, "NetworkMissing", format!("the network `{name}` does not exist"));
        return Next::Blocked;
    }
    let key = files::key(spec.container_name.as_str(), &spec.create_hash);
    let whose = || FilesOf::Instance(spec.clone());
    match prepare::files_step(observed, &image, &spec.files, &key, spec.container_name.as_str(), whose) {
        Ok(None) => {}
        Ok(Some(step)) => return Next::Step(step),
        Err(owner) => {
            let message = format!("the image {} knows no user or group `{owner}`", spec.image);
            say(ConditionType::Stalled, "UnknownOwner", message);
            return Next::Blocked;
        }
    }
    let of_fileset = |file: &&crate::model::file::FileSpec| file.fileset.as_ref() == Some(&input.fileset.fileset);
    let ours = [(labels::SITE, desired.site.to_string()), (labels::HOST, desired.host.to_string())];
    Next::Step(Step::MakeFileset {
        fileset: input.fileset.fileset.clone(),
        base,
        create: Box::new(CreateStep {
            name: format!("{}{HELPER}", spec.container_name),
            image: spec.image.clone(),
            image_id: image.id.clone(),
            settings: settings(spec, input.fileset, how),
            networks: spec.networks.iter().map(|(name, attachment)| (name.to_string(), attachment.clone())).collect(),
            labels: ours.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            files_key: key,
            carried_volumes: BTreeMap::new(),
        }),
        path: input.fileset.path.clone(),
        files: if base == 0 { Vec::new() } else { spec.files.iter().filter(of_fileset).cloned().collect() },
        timeout: how.timeout,
    })
}

/// Those of the service, with another command, and without the files that are to be made.
fn settings(spec: &InstanceDesired, fileset: &FilesetDesired, how: &Make) -> ContainerSettings {
    let mut command = how.command.clone();
    // The start program puts the files of the service in place first.
    if spec.settings.command.as_ref().and_then(|words| words.first()).is_some_and(|first| first == START) {
        command.insert(0, START.to_owned());
    }
    let mut settings = ContainerSettings {
        command: Some(command),
        restart: Some(RestartPolicy::No),
        healthcheck: None,
        ports: None,
        read_only: None,
        ..spec.settings.clone()
    };
    if let Some(volumes) = &mut settings.volumes {
        volumes.retain(|target, _| *target != fileset.path);
        for mount in &spec.filesets {
            volumes.retain(|target, _| *target != mount.target);
        }
    }
    settings
}

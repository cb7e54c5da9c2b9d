//! Getting a container ready beside what runs: image, accounts, files, the container itself. None of it disturbs anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::condition::{ConditionType, FILESET_MISSING, VOLUME_LOST};
use crate::model::desired::InstanceDesired;
use crate::model::file::FileSpec;
use crate::model::fileset;
use crate::model::image::{ImageRef, PullPolicy};
use crate::model::labels;
use crate::model::settings::{ContainerSettings, Mount};
use crate::observe::observed::{HostObserved, ObservedContainer, ObservedImage};

use super::files;
use super::instance::{Planning, short};
use super::namespaces;
use super::step::{CreateStep, FilesOf, Next, Step};
use super::volumes;

/// The next step of preparing the container `name` for the spec in force. `before` is the one whose anonymous volumes go over.
pub(super) fn next(planning: &mut Planning<'_>, name: &str, before: Option<&ObservedContainer>) -> Next {
    let spec = planning.spec;
    let host = planning.input.observed;
    if let Some(blocked) = no_data(planning, &spec.settings) {
        return blocked;
    }
    if let Some(name) = fileset::missing(&spec.filesets, &spec.files) {
        let message = format!("waits for the fileset `{name}`");
        planning.condition(ConditionType::Waiting, FILESET_MISSING, message);
        return Next::Blocked;
    }
    let pulled_for = planning.memory.pulled.as_deref();
    let image = match image(host, &spec.image, spec.pull_policy, pulled_for == Some(spec.input_hash.as_str())) {
        Image::Known(image) => image,
        Image::Pull => {
            let step = Step::Pull { image: spec.image.clone(), input_hash: spec.input_hash.clone() };
            return Next::Step(step);
        }
        Image::NotInspected => return Next::Wait { until: None },
        Image::Missing => {
            let message =
                format!("the image {} is not on this host, and `pull_policy: never` forbids to fetch it", spec.image);
            planning.condition(ConditionType::Waiting, "ImageMissing", message);
            return Next::Blocked;
        }
    };
    if let Some(blocked) = networks_and_ports(planning) {
        return blocked;
    }
    if let Some(waiting) = namespaces::waits(planning) {
        return waiting;
    }
    let key = files::key(spec.container_name.as_str(), &spec.create_hash);
    match files_step(host, &image, &spec.files, &key, spec.container_name.as_str(), || FilesOf::Instance(spec.clone()))
    {
        Ok(None) => {}
        Ok(Some(step)) => return Next::Step(step),
        Err(owner) => {
            let message =
                format!("the image {} knows no user or group `{owner}`, which a file is to belong to", spec.image);
            planning.condition(ConditionType::Stalled, "UnknownOwner", message);
            return Next::Blocked;
        }
    }
    let input = planning.input;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert(labels::SITE.to_owned(), input.site.to_string());
    all.insert(labels::HOST.to_owned(), input.host_name.to_string());
    all.insert(labels::SERVICE.to_owned(), spec.service.to_string());
    if let Some(role) = &spec.role {
        all.insert(labels::ROLE.to_owned(), role.to_string());
    }
    if let Some(variant) = planning.variant {
        all.insert(labels::VARIANT.to_owned(), variant.to_owned());
    }
    all.insert(labels::CREATE_HASH.to_owned(), spec.create_hash.clone());
    all.insert(labels::INPUT_HASH.to_owned(), spec.input_hash.clone());
    all.insert(labels::GENERATION.to_owned(), input.generation.to_string());
    all.insert(labels::FIELDS.to_owned(), fields(&spec.settings));
    Next::Step(Step::Create(Box::new(CreateStep {
        name: name.to_owned(),
        image: spec.image.clone(),
        image_id: image.id.clone(),
        settings: spec.settings.clone(),
        networks: spec.networks.iter().map(|(name, attachment)| (name.to_string(), attachment.clone())).collect(),
        labels: all,
        files_key: key,
        carried_volumes: carried(&spec.settings, &image, before),
    })))
}

/// Whether the image that a spec needs is on the host.
pub fn has_image(host: &HostObserved, spec: &InstanceDesired, pulled_for: Option<&str>) -> bool {
    let pulled = pulled_for == Some(spec.input_hash.as_str());
    matches!(image(host, &spec.image, spec.pull_policy, pulled), Image::Known(_))
}

/// Every container of an instance comes past this: the engine would make up for a volume that is gone with an empty one.
pub(super) fn no_data(planning: &mut Planning<'_>, settings: &ContainerSettings) -> Option<Next> {
    let why = volumes::lost(settings, planning.input.observed, planning.input.host_name)?;
    planning.condition(ConditionType::Stalled, VOLUME_LOST, why);
    Some(Next::Blocked)
}

/// The names of the settings that a spec sets, for the label that finds what it sets no longer.
pub(super) fn fields(settings: &ContainerSettings) -> String {
    match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => map.keys().cloned().collect::<Vec<_>>().join(","),
        _ => String::new(),
    }
}

/// What is known of an image.
pub(super) enum Image {
    /// Enough.
    Known(Arc<ObservedImage>),
    /// It has to be fetched.
    Pull,
    /// The engine has not been asked for it yet, and will be.
    NotInspected,
    /// It is not there and must not be fetched.
    Missing,
}

pub(super) fn image(host: &HostObserved, image: &ImageRef, policy: PullPolicy, pulled: bool) -> Image {
    if policy == PullPolicy::Always && !pulled {
        return Image::Pull;
    }
    match host.image_ids.get(&image.familiar()) {
        Some(Some(id)) => host.images.get(id).map_or(Image::NotInspected, |image| Image::Known(image.clone())),
        Some(None) if policy == PullPolicy::Never => Image::Missing,
        Some(None) => Image::Pull,
        None => Image::NotInspected,
    }
}

/// The step that a directory of files needs; an unknown owner is an error.
pub(super) fn files_step(
    host: &HostObserved,
    image: &ObservedImage,
    wanted: &[FileSpec],
    key: &str,
    container_name: &str,
    whose: impl FnOnce() -> FilesOf,
) -> Result<Option<Step>, String> {
    if wanted.is_empty() {
        return Ok(None);
    }
    if files::needs_accounts(wanted) && image.accounts.is_none() {
        let helper = format!("{container_name}.accounts");
        return Ok(Some(Step::LookUpAccounts { image_id: image.id.clone(), helper }));
    }
    if let Some(owner) = files::unknown_owner(wanted, image) {
        return Err(owner.to_owned());
    }
    let none = BTreeMap::new();
    let seen = host.files.get(key).unwrap_or(&none);
    let right = wanted.len() == seen.len()
        && wanted.iter().all(|file| {
            seen.get(&file.path).is_some_and(|observed| {
                observed.digest == files::digest(file.content.expose())
                    && observed.mode == file.mode
                    && files::owner_ids(file, Some(image)) == Some((observed.uid, observed.gid))
            })
        });
    if right {
        return Ok(None);
    }
    Ok(Some(Step::WriteFiles { key: key.to_owned(), instance: whose(), image_id: image.id.clone() }))
}

/// Networks that must exist, and host ports that must be free of strangers.
fn networks_and_ports(planning: &mut Planning<'_>) -> Option<Next> {
    let spec = planning.spec;
    let host = planning.input.observed;
    if let Some(name) = spec.networks.keys().find(|name| !host.networks.contains_key(name.as_str())) {
        planning.condition(ConditionType::Waiting, "NetworkMissing", format!("the network `{name}` does not exist"));
        return Some(Next::Blocked);
    }
    let own = [planning.slots.current, planning.slots.next, planning.slots.previous, planning.slots.failed];
    for port in spec.settings.ports.iter().flatten() {
        let Some(published) = port.published else { continue };
        let holder = host.containers.values().find(|container| {
            !own.iter().flatten().any(|ours| ours.id == container.id)
                && container.is_running()
                && container.host_ports.iter().any(|(address, held, protocol)| {
                    let any = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
                    *held == published
                        && *protocol == port.protocol
                        && (any(address) || any(&port.host_ip) || *address == port.host_ip)
                })
        });
        if let Some(holder) = holder {
            let message = format!(
                "port {published}/{} is held by container `{}` ({})",
                port.protocol,
                holder.name,
                short(&holder.id)
            );
            planning.condition(ConditionType::PortHeldBy, "PortHeldBy", message);
            return Some(Next::Blocked);
        }
    }
    None
}

/// Anonymous volumes by the target paths at which the new container would get anonymous ones.
fn carried(
    settings: &ContainerSettings,
    image: &ObservedImage,
    before: Option<&ObservedContainer>,
) -> BTreeMap<String, String> {
    let Some(detail) = before.and_then(|container| container.detail.as_ref()) else { return BTreeMap::new() };
    let wanted = settings.volumes.as_ref();
    detail
        .anonymous_volumes
        .iter()
        .filter(|(target, _)| match wanted.and_then(|mounts| mounts.get(target.as_str())) {
            Some(Mount::Volume { source: None, .. }) => true,
            Some(_) => false,
            None => image.defaults.volumes.contains(target),
        })
        .map(|(target, volume)| (target.clone(), volume.clone()))
        .collect()
}

//! How the files of an instance on the host differ from its spec.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::desired::InstanceDesired;
use crate::model::file::{FileSpec, OnChange, Owner};
use crate::model::fileset;
use crate::model::labels;
use crate::observe::observed::{ContainerDetail, HostObserved, ObservedContainer, ObservedImage};

use super::diff::{Difference, Part};
use super::step::{Cause, Disruption};

/// Hex SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The key of a spec's directory: `INSTANCE/CREATE-HASH`, without the characters that a path could stumble over.
pub fn key(container_name: &str, create_hash: &str) -> String {
    format!("{container_name}/{}", create_hash.replace(':', "-"))
}

/// The numbers of a file's user and group; none where a name is not known (yet).
pub fn owner_ids(file: &FileSpec, image: Option<&ObservedImage>) -> Option<(u32, u32)> {
    let user = match &file.owner {
        Owner::Id(id) => *id,
        Owner::Name(name) if name == "root" => 0,
        Owner::Name(name) => image?.accounts.as_ref()?.users.get(name)?.0,
    };
    let group = match &file.group {
        Owner::Id(id) => *id,
        Owner::Name(name) if name == "root" => 0,
        Owner::Name(name) => *image?.accounts.as_ref()?.groups.get(name)?,
    };
    Some((user, group))
}

/// Names that an image's accounts would have to know, and does not although they were looked up.
pub fn unknown_owner<'a>(files: &'a [FileSpec], image: &ObservedImage) -> Option<&'a str> {
    let accounts = image.accounts.as_ref()?;
    files.iter().find_map(|file| match (&file.owner, &file.group) {
        (Owner::Name(name), _) if name != "root" && !accounts.users.contains_key(name) => Some(name.as_str()),
        (_, Owner::Name(name)) if name != "root" && !accounts.groups.contains_key(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Whether owners are given by name, so that the image has to be asked.
pub fn needs_accounts(files: &[FileSpec]) -> bool {
    let named = |owner: &Owner| matches!(owner, Owner::Name(name) if name != "root");
    files.iter().any(|file| named(&file.owner) || named(&file.group))
}

/// Digest over the live files of a spec: what a process has read once it was told.
pub fn live_digest(files: &[FileSpec]) -> String {
    let mut sum = String::new();
    for file in files.iter().filter(|file| file.on_change.is_live()) {
        let _ = writeln!(sum, "{} {}", file.path, digest(file.content.expose()));
    }
    if sum.is_empty() { sum } else { digest(sum.as_bytes()) }
}

/// Adds the differences of files to `found`.
pub fn differences(
    desired: &InstanceDesired,
    live: &ObservedContainer,
    detail: &ContainerDetail,
    host: &HostObserved,
    found: &mut Vec<Difference>,
) {
    // What a fileset holds is not known yet: whether its files are right neither.
    if desired.files.is_empty() || fileset::missing(&desired.filesets, &desired.files).is_some() {
        return;
    }
    let Some(hash) = &detail.managed_hash else { return };
    let directory = format!("{}/{hash}", desired.container_name);
    // Not looked at yet, or unreadable: unknown is no difference.
    let Some(seen) = host.files.get(&directory) else { return };
    let is_own_directory = live.label(labels::CREATE_HASH) == Some(desired.create_hash.as_str());
    let image = host.images.get(&live.image_id).map(AsRef::as_ref);
    for file in &desired.files {
        let before = found.len();
        file_difference(file, seen, is_own_directory, image, found);
        // Where nothing is left, the directory was removed as a whole. The container goes on to mount the removed one, and sees
        // nothing of what is written in its place before it is started again. A fileset may have no more than the one file.
        if seen.is_empty() && file.fileset.is_none() {
            for difference in &mut found[before..] {
                difference.class = difference.class.max(Disruption::Restart);
            }
        }
    }
    extra_files(desired, seen, found);
}

fn file_difference(
    file: &FileSpec,
    seen: &BTreeMap<String, crate::model::file::ObservedFile>,
    is_own_directory: bool,
    image: Option<&ObservedImage>,
    found: &mut Vec<Difference>,
) {
    let field = format!("files.{}", file.target);
    let observed = seen.get(&file.path);
    let wanted_digest = digest(file.content.expose());
    let content = observed.is_none_or(|observed| observed.digest != wanted_digest);
    if content {
        let class = match file.on_change {
            // In its own directory it was tampered with: written anew, and restarted, since a mount of a single file
            // keeps showing the old one. Otherwise the spec has changed.
            OnChange::Replace if is_own_directory => Disruption::Restart,
            OnChange::Replace => Disruption::Replace,
            OnChange::Restart => Disruption::Restart,
            OnChange::Reload => Disruption::Reload,
            OnChange::Nothing => Disruption::None,
        };
        let from = if observed.is_some() { json!("other content") } else { Value::Null };
        let to = file.fileset.as_ref().map_or_else(|| "as declared".to_owned(), |name| format!("as in fileset {name}"));
        found.push(Difference {
            cause: Cause::new(field, &from, &json!(to)),
            class,
            part: Part::File { path: file.path.clone(), content: true },
        });
        return;
    }
    let Some(observed) = observed else { return };
    let class =
        if file.on_change == OnChange::Replace && !is_own_directory { Disruption::Replace } else { Disruption::None };
    if observed.mode != file.mode {
        found.push(Difference {
            cause: Cause::words(
                format!("{field}.mode"),
                &format!("{:04o}", observed.mode),
                &format!("{:04o}", file.mode),
            ),
            class,
            part: Part::File { path: file.path.clone(), content: false },
        });
    }
    if let Some((uid, gid)) = owner_ids(file, image)
        && (observed.uid, observed.gid) != (uid, gid)
    {
        let from = format!("{}:{}", observed.uid, observed.gid);
        found.push(Difference {
            cause: Cause::words(format!("{field}.owner"), &from, &format!("{uid}:{gid}")),
            class,
            part: Part::File { path: file.path.clone(), content: false },
        });
    }
}

/// A live directory is ours as a whole: what a spec no longer has goes away.
fn extra_files(
    desired: &InstanceDesired,
    seen: &BTreeMap<String, crate::model::file::ObservedFile>,
    found: &mut Vec<Difference>,
) {
    for path in seen.keys().filter(|path| path.starts_with("live/")) {
        if desired.files.iter().any(|file| file.path == *path) {
            continue;
        }
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let strongest = desired
            .files
            .iter()
            .filter(|file| file.path.rsplit_once('/').is_some_and(|(other, _)| other == directory))
            .map(|file| file.on_change)
            .max();
        found.push(Difference {
            cause: Cause::new(format!("files.{path}"), &json!("not declared"), &Value::Null),
            class: match strongest {
                Some(OnChange::Reload) => Disruption::Reload,
                Some(OnChange::Restart) => Disruption::Restart,
                _ => Disruption::None,
            },
            part: Part::File { path: path.clone(), content: true },
        });
    }
}

//! `volumes` and `tmpfs` of a service, in both syntaxes.

use crate::model::settings::Mount;

use super::diagnostic::Diagnostic;
use super::mounts::{is_path, normal_target, parse_short, parse_tmpfs};
use super::node::{Layer, Node};
use super::read::Reader;
use super::scalars;
use super::source::Place;

/// A mount, where it was written and in which layer.
#[derive(Clone, Debug)]
pub struct MountEntry {
    /// Path in the container.
    pub target: String,
    /// What is mounted; the source of a path may still be relative to the site, that of a volume is its key.
    pub mount: Mount,
    /// Where it was written.
    pub place: Place,
    /// In which layer.
    pub layer: Layer,
}

/// Reads both keys. The same target twice is an error, unless one is of `defaults.container`, which gives way.
pub fn read_mounts(node: &Node, r: &mut Reader) -> Vec<MountEntry> {
    let mut mounts: Vec<MountEntry> = Vec::new();
    for item in node.get("volumes").map(Node::items).unwrap_or_default() {
        let read = if item.as_mapping().is_some() { long(item, r) } else { short(item, r) };
        if let Some((target, mount)) = read {
            add(&mut mounts, MountEntry { target, mount, place: item.place, layer: item.layer }, r);
        }
    }
    for item in node.get("tmpfs").map(Node::items).unwrap_or_default() {
        if let Some((target, mount)) = r.leaf(item, |scalar| parse_tmpfs(&scalar.text)) {
            add(&mut mounts, MountEntry { target, mount, place: item.place, layer: item.layer }, r);
        }
    }
    mounts
}

fn add(mounts: &mut Vec<MountEntry>, entry: MountEntry, r: &mut Reader) {
    match mounts.iter_mut().find(|other| other.target == entry.target) {
        Some(other) if other.layer == Layer::Defaults && entry.layer != Layer::Defaults => *other = entry,
        Some(other) => {
            let error = Diagnostic::error("R005", entry.place, format!("two things are mounted at `{}`", entry.target));
            r.error(error.also(other.place, "here first"));
        }
        None => mounts.push(entry),
    }
}

fn short(item: &Node, r: &mut Reader) -> Option<(String, Mount)> {
    let short = r.leaf(item, |scalar| parse_short(&scalar.text))?;
    let mount = match short.source {
        Some(source) if is_path(&source) => Mount::Bind {
            source,
            read_only: short.read_only,
            propagation: short.propagation,
            // As in Compose: the short syntax makes what is missing, the long one does not.
            create_host_path: true,
        },
        source => Mount::Volume { source, read_only: short.read_only, nocopy: short.nocopy },
    };
    Some((short.target, mount))
}

fn long(item: &Node, r: &mut Reader) -> Option<(String, Mount)> {
    let target = r.text(item, "target")?;
    if target.trim_end_matches('/').is_empty() {
        r.error(Diagnostic::error("V002", item.place, "this would hide the whole file system of the container"));
        return None;
    }
    let read_only = r.boolean(item, "read_only").unwrap_or(false);
    let source = r.text(item, "source").filter(|source| !source.is_empty());
    let kind = item.get("type")?.as_text()?;
    for (key, belongs_to) in [("bind", "bind"), ("volume", "volume"), ("tmpfs", "tmpfs")] {
        if let (true, Some(options)) = (kind != belongs_to, item.get(key)) {
            let message = format!("the options `{key}` are for mounts of that type, and this one is of type `{kind}`");
            r.error(Diagnostic::error("V002", options.place, message));
        }
    }
    let mount = match kind {
        "bind" => {
            let Some(source) = source else {
                r.error(Diagnostic::error("K003", item.place, "a bind mount needs the key `source`"));
                return None;
            };
            let options = item.get("bind");
            Mount::Bind {
                source,
                read_only,
                propagation: options.and_then(|options| r.text(options, "propagation")),
                create_host_path: options.and_then(|options| r.boolean(options, "create_host_path")).unwrap_or(false),
            }
        }
        "volume" => {
            if let Some(path) = source.as_deref().filter(|source| is_path(source)) {
                let message = format!("`{path}` is a path, and a mount of type `volume` takes the name of a volume");
                r.error(Diagnostic::error("V002", item.place, message).help("write `type: bind`"));
                return None;
            }
            let nocopy = item.get("volume").and_then(|options| r.boolean(options, "nocopy")).unwrap_or(false);
            Mount::Volume { source, read_only, nocopy }
        }
        _ => {
            if source.is_some() {
                r.error(Diagnostic::error("V002", item.place, "a mount of type `tmpfs` has no source"));
            }
            let options = item.get("tmpfs");
            Mount::Tmpfs {
                size: options.and_then(|options| r.scalar(options, "size", scalars::bytes)),
                mode: options.and_then(|options| r.scalar(options, "mode", scalars::mode)),
                options: if read_only { vec!["ro".to_owned()] } else { Vec::new() },
            }
        }
    };
    Some((normal_target(&target), mount))
}

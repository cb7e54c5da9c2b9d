//! Filesets of a host: what makes them, and what sees them.
//!
//! In: the filesets of the site and of its roles. Out: [`FilesetDesired`]s, and for each container the places where it
//! sees one. What they hold is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::file::{OnChange, Owner};
use crate::model::fileset::{FilesetDesired, FilesetMount, KEY, Make, Update};
use crate::model::names::{FilesetName, HostName, ServiceName};
use crate::model::secret::Sensitive;
use crate::model::settings::Mount;
use crate::model::time::Span;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::keys::fileset::FILESET;
use crate::parse::mounts::normal_target;
use crate::parse::node::Node;
use crate::parse::read::{At, Reader};
use crate::parse::scalars;
use crate::parse::shape::Shape;
use crate::parse::site::Written;
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;

use super::compile::HostCompiler;
use super::files::Placed;

/// How long what makes a fileset may take, unless it says otherwise.
const TIMEOUT: Span = Span::seconds(300);

/// A fileset as it is written, for one host.
#[derive(Clone, Debug)]
pub struct ReadFileset {
    desired: FilesetDesired,
    services: Vec<At<String>>,
    owner: Owner,
    group: Owner,
    mode: u32,
    on_change: OnChange,
    place: Place,
}

impl HostCompiler<'_> {
    /// Reads all filesets, before what sees them is built.
    pub(super) fn read_filesets(&mut self) {
        let tree = self.tree;
        for (name, written) in &tree.site.filesets {
            self.enter(written.role.as_ref());
            name.as_str().clone_into(&mut self.subject);
            let path = format!("filesets.{name}");
            let shape = Shape::Object(&FILESET);
            let Some(node) = self.effective(&written.node, &path, written.key_place, &shape) else { continue };
            let read = self.fileset(name, written, &node);
            self.filesets.extend(read);
        }
        self.enter(None);
    }

    fn fileset(&mut self, name: &FilesetName, written: &Written, node: &Node) -> Option<ReadFileset> {
        let mut reader = Reader::default();
        let path = reader.at(node, "path", |s| Ok(s.text.clone()));
        let services = reader.texts_at(node, "services");
        let like = reader.at(node, "like", |s| Ok(s.text.clone())).or_else(|| services.first().cloned());
        let make = |node: &Node, reader: &mut Reader| Make {
            command: reader.command(node, "command").unwrap_or_default(),
            timeout: reader.scalar(node, "timeout", scalars::duration).unwrap_or(TIMEOUT),
        };
        let create = node.get("create").map(|create| make(create, &mut reader));
        let update = node.get("update").map(|update| {
            let every = reader.at(update, "every", scalars::duration);
            (make(update, &mut reader), every)
        });
        let mode = reader.scalar(node, "mode", scalars::mode).unwrap_or(0o600);
        let owner = |key: &str| {
            let text = node.get(key).and_then(Node::as_text).unwrap_or("0");
            text.parse().map_or_else(|_| Owner::Name(text.to_owned()), Owner::Id)
        };
        let on_change = match node.get("on_change").and_then(Node::as_text) {
            Some("restart") => OnChange::Restart,
            Some("reload") => OnChange::Reload,
            _ => OnChange::Nothing,
        };
        self.errors.append(&mut reader.errors);
        let like = like?;
        self.check_members(&services, &like);
        if let Some((_, Some(every))) = &update
            && every.value == Span::ZERO
        {
            let message = "`every` must be more than nothing";
            self.errors.push(Diagnostic::error("V002", every.place, message));
        }
        let update = update.and_then(|(make, every)| Some(Update { make, every: every?.value }));
        let tree = self.tree;
        let hosts_of = |name: &str| {
            let hosts = tree.services.get(name).or_else(|| tree.jobs.get(name));
            hosts.map(Vec::as_slice).unwrap_or_default()
        };
        let sees = |host: &&HostName| services.iter().any(|service| hosts_of(&service.value).contains(host));
        let like = ServiceName::new(like.value).ok()?;
        let desired = FilesetDesired {
            fileset: name.clone(),
            role: written.role.as_ref().map(|used| used.name.clone()),
            path: normal_target(&path?.value),
            create: create?,
            update,
            members: tree.site.hosts.keys().filter(sees).cloned().collect(),
            makers: hosts_of(like.as_str()).to_vec(),
            // Where it is missing, that has been said.
            key: self.secrets.get(KEY).cloned().unwrap_or_else(Sensitive::default),
            like,
        };
        let (owner, group) = (owner("owner"), owner("group"));
        Some(ReadFileset { desired, services, owner, group, mode, on_change, place: written.key_place })
    }

    fn check_members(&mut self, services: &[At<String>], like: &At<String>) {
        let site = &self.tree.site;
        let services_of_site: Vec<&str> = site.services.keys().map(ServiceName::as_str).collect();
        let jobs = site.jobs.keys().map(crate::model::names::JobName::as_str);
        let all: Vec<&str> = services_of_site.iter().copied().chain(jobs).collect();
        let mut wrong = Vec::new();
        for at in services.iter().filter(|at| !all.contains(&at.value.as_str())) {
            let error = Diagnostic::error("R001", at.place, format!("`{}` is neither a service nor a job", at.value));
            wrong.push(error.maybe_help(did_you_mean(&at.value, all.iter().copied())));
        }
        if !services_of_site.contains(&like.value.as_str()) && all.contains(&like.value.as_str()) {
            let message =
                format!("`{}` is a job, and a fileset is made in a container like that of a service", like.value);
            wrong.push(Diagnostic::error("R001", like.place, message).help("name a service with `like`"));
        } else if !all.contains(&like.value.as_str()) && services.iter().all(|at| at.place != like.place) {
            let error = Diagnostic::error("R001", like.place, format!("`{}` is no service", like.value));
            wrong.push(error.maybe_help(did_you_mean(&like.value, services_of_site.iter().copied())));
        }
        self.errors.append(&mut wrong);
    }

    /// Where a service or job sees filesets; each gets a live directory beside those of its files.
    pub(super) fn mount_filesets(&mut self, name: &str, placed: &mut Placed) -> Vec<FilesetMount> {
        let mut mounts = Vec::new();
        for read in &self.filesets {
            if !read.services.iter().any(|service| service.value == name) {
                continue;
            }
            let target = read.desired.path.clone();
            match placed.mount_live(&target, read.place) {
                Ok(directory) => mounts.push(FilesetMount {
                    fileset: read.desired.fileset.clone(),
                    target,
                    directory,
                    owner: read.owner.clone(),
                    group: read.group.clone(),
                    mode: read.mode,
                    on_change: read.on_change,
                }),
                Err(first) => {
                    let message = format!("the fileset `{}` is put where `{name}` has files", read.desired.fileset);
                    let error = Diagnostic::error("R005", read.place, message);
                    self.errors.push(error.also(first, "here they are"));
                }
            }
        }
        mounts
    }

    /// The filesets that this host has to do with.
    pub(super) fn filesets_of(&mut self, host: &HostName) -> Vec<Arc<FilesetDesired>> {
        let concerns = |read: &ReadFileset| read.desired.members.contains(host) || read.desired.makers.contains(host);
        let all = std::mem::take(&mut self.filesets);
        all.into_iter().filter(concerns).map(|read| Arc::new(read.desired)).collect()
    }

    /// What reloads has to be told how.
    pub(super) fn check_reload(&mut self, mounts: &[FilesetMount], reload: &crate::model::file::Reload) {
        if reload.signal.is_some() || reload.exec.is_some() {
            return;
        }
        let reloaded: BTreeMap<&FilesetName, Place> =
            self.filesets.iter().map(|read| (&read.desired.fileset, read.place)).collect();
        let mut wrong = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.on_change == OnChange::Reload) {
            let place = reloaded.get(&mount.fileset).copied().unwrap_or_default();
            let message = format!("the fileset `{}` is to be reloaded, and nothing says how", mount.fileset);
            let error = Diagnostic::error("F002", place, message);
            wrong.push(error.help("add `reload: {signal: HUP}` or `reload: {exec: [...]}` to the service"));
        }
        self.errors.append(&mut wrong);
    }
}

impl Placed {
    /// A live directory for `target`; an error where files are put there, and where they are.
    fn mount_live(&mut self, target: &str, place: Place) -> Result<String, Place> {
        let path = self.new_live(target);
        let mount = (Mount::Managed { path: path.clone() }, place);
        match self.mounts.insert(target.to_owned(), mount) {
            None => Ok(path),
            Some((_, first)) => Err(first),
        }
    }
}

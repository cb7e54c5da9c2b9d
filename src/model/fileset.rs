//! Files that are born at run time and are the same on many hosts: fernet keys, an Erlang cookie.
//!
//! What they hold stands encrypted in a record that hosts agree on. A loop that has opened it puts it, as files, into the
//! specs of what sees them; from then on they are files like any other. What is accepted and hashed never has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::desired::{HostDesired, InstanceDesired, JobDesired};
use super::file::{FileSpec, OnChange, Owner, Shown};
use super::names::{FilesetName, HostName, RoleName, ServiceName};
use super::secret::Sensitive;
use super::time::{Span, Timestamp};

/// The secret of the site that filesets are encrypted with.
pub const KEY: &str = "fileset_key";

/// Bytes that all files of a fileset may have together: a record of etcd is not to be larger than that.
pub const MOST: usize = 256 * 1024;

/// What the files hold, by name.
pub type Contents = BTreeMap<String, Sensitive>;

/// A fileset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesetDesired {
    /// Its name.
    pub fileset: FilesetName,
    /// Role that it came from.
    pub role: Option<RoleName>,
    /// The directory in which what makes it leaves the files.
    pub path: String,
    /// The service whose container those that make it are like.
    pub like: ServiceName,
    /// Run once, where no host has a copy.
    pub create: Make,
    /// Run from time to time.
    pub update: Option<Update>,
    /// Hosts on which something sees it, in the order of the site.
    pub members: Vec<HostName>,
    /// Hosts that can make it.
    pub makers: Vec<HostName>,
    /// What it is encrypted with outside of the hosts.
    pub key: Sensitive,
}

impl FilesetDesired {
    /// Under which its record stands.
    pub fn record_name(&self) -> String {
        format!("fileset/{}", self.fileset)
    }
}

/// What makes the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Make {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Span,
}

/// What makes new files of those that are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// How.
    pub make: Make,
    /// How long after the last time.
    pub every: Span,
}

/// A fileset as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesetMount {
    /// Which.
    pub fileset: FilesetName,
    /// The directory in the container.
    pub target: String,
    /// The directory below that of the spec.
    pub directory: String,
    /// User.
    pub owner: Owner,
    /// Group.
    pub group: Owner,
    /// Permissions of each file.
    pub mode: u32,
    /// What a change needs.
    pub on_change: OnChange,
}

impl FilesetMount {
    fn files<'a>(&'a self, contents: &'a Contents) -> impl Iterator<Item = FileSpec> + 'a {
        contents.iter().map(|(name, content)| FileSpec {
            target: format!("{}/{name}", self.target),
            source: None,
            shown: Shown::Opaque(content.expose().len() as u64),
            content: content.clone(),
            mode: self.mode,
            owner: self.owner.clone(),
            group: self.group.clone(),
            on_change: self.on_change,
            path: format!("{}/{name}", self.directory),
            fileset: Some(self.fileset.clone()),
        })
    }
}

/// What hosts agree on about a fileset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesetRecord {
    /// Counts what it has held, from 1.
    pub revision: u64,
    /// Since when it holds this.
    pub since: Timestamp,
    /// The host that made it.
    pub by: HostName,
    /// The contents, encrypted.
    pub sealed: String,
}

/// How a fileset is on a host, by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesetReport {
    /// The newest revision whose contents it knows; 0 for none.
    pub revision: u64,
    /// All that sees it here has the files of that revision, with their mode and owner.
    pub current: bool,
    /// Something here has files of it, though nobody knows of which revision.
    pub copy: bool,
}

/// The first fileset that a container is to see and whose contents are not known.
pub fn missing<'a>(mounts: &'a [FilesetMount], files: &[FileSpec]) -> Option<&'a FilesetName> {
    let is_known = |mount: &&FilesetMount| files.iter().any(|file| file.fileset.as_ref() == Some(&mount.fileset));
    mounts.iter().find(|mount| !is_known(mount)).map(|mount| &mount.fileset)
}

fn filled(files: &[FileSpec], mounts: &[FilesetMount], known: &BTreeMap<FilesetName, Contents>) -> Vec<FileSpec> {
    let own = files.iter().filter(|file| file.fileset.is_none()).cloned();
    let seen = mounts.iter().filter_map(|mount| Some((mount, known.get(&mount.fileset)?)));
    own.chain(seen.flat_map(|(mount, contents)| mount.files(contents))).collect()
}

/// The spec with the files of the filesets that are known, and of no others.
pub fn fill(spec: &Arc<InstanceDesired>, known: &BTreeMap<FilesetName, Contents>) -> Arc<InstanceDesired> {
    if spec.filesets.is_empty() {
        return spec.clone();
    }
    let files = filled(&spec.files, &spec.filesets, known);
    Arc::new(InstanceDesired { files, ..spec.as_ref().clone() })
}

fn fill_job(spec: &Arc<JobDesired>, known: &BTreeMap<FilesetName, Contents>) -> Arc<JobDesired> {
    if spec.filesets.is_empty() {
        return spec.clone();
    }
    let files = filled(&spec.files, &spec.filesets, known);
    Arc::new(JobDesired { files, ..spec.as_ref().clone() })
}

/// The same for all of a host; with nothing known it is what can be accepted, compared and kept.
pub fn fill_all(desired: &mut HostDesired, known: &BTreeMap<FilesetName, Contents>) {
    for spec in desired.services.values_mut().filter(|spec| !spec.filesets.is_empty()) {
        *spec = fill(spec, known);
    }
    for spec in desired.jobs.values_mut().filter(|spec| !spec.filesets.is_empty()) {
        *spec = fill_job(spec, known);
    }
    for behaviour in desired.behaviours.values_mut() {
        for spec in behaviour.variants.values_mut().filter(|spec| !spec.filesets.is_empty()) {
            *spec = fill(spec, known);
        }
    }
}

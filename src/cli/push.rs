//! `mastic push`: a site becomes the signed revision that agents take from etcd.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::edge::clock::SystemClock;
use crate::edge::etcd::{Client, Head, Keys, blobs, head, machines, publish};
use crate::edge::identity;
use crate::edge::revision::{
    FileEntry, Manifest, PackError, Packed, Purpose, Signed, SigningKey, Tree, Version, pack, request,
};
use crate::edge::site_files::DiskSiteFiles;
use crate::edge::store::DiskStore;
use crate::model::desired::HostDesired;
use crate::model::names::{HostName, SiteName};
use crate::port::clock::Clock as _;
use crate::resolve::compile::{CompileRequest, compile_all};

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::output;
use super::validate::no_site;

/// Options of `push`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic push --generate-key ~/.config/mastic/key\n  mastic -f site.yaml push --key ~/.config/mastic/key --etcd-endpoints https://10.0.0.1:2379,https://10.0.0.2:2379\n  mastic -f site.yaml push --dry-run\n  mastic -f site.yaml push --parent 7      # go on from what somebody else has pushed"
)]
pub struct Options {
    /// Make a key that signs, and FILE.pub for the trust files of agents; nothing is pushed
    #[arg(long, value_name = "FILE")]
    pub generate_key: Option<PathBuf>,
    /// Show what would change, and publish nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The generation that this one follows, where it was not pushed from here; 0 for the first
    #[arg(long, value_name = "GENERATION")]
    pub parent: Option<u64>,
    /// The oldest agent that may take it; without it as old as this program
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub minimum_version: Option<Version>,
}

fn version(text: &str) -> Result<Version, String> {
    Version::try_from(text.to_owned())
}

/// What was pushed last from a state directory.
#[derive(Debug, Serialize, Deserialize)]
struct Pushed {
    site: SiteName,
    digest: String,
}

/// What changes on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct HostChanges {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

/// Packs, shows, signs and publishes.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    if let Some(path) = &options.generate_key {
        return generate(global, path);
    }
    let Some(asked) = global.request() else { return Err(no_site()) };
    let client = global.etcd.client()?;
    let key = if options.dry_run { None } else { Some(global.etcd.signing_key()?) };
    let packed = pack(&asked).map_err(unpackable)?;
    let Some(site) = packed.compiled.first().map(|one| one.desired.site.clone()) else { return Err(no_site()) };
    let keys = Keys::of(&site);
    let asked = CompileRequest { facts: Arc::new(machines(&client, &keys).await?), ..asked };
    let found = head(&client, &keys).await?;
    let record = global.state_dir.join(format!("pushed-{site}.json"));
    follows(found.as_ref(), options.parent, &record, &site)?;
    let (manifest, contents) = manifest(&asked, &packed, &site, found.as_ref(), options);
    let changes = changes(&client, &keys, &asked, &manifest, &contents, found.as_ref()).await?;
    if found.as_ref().and_then(|head| head.manifest.as_ref()).is_some_and(|old| is_same(old, &manifest)) {
        tell(global, &manifest, &changes, "Nothing to push: this is what was pushed last.")?;
        return Ok(Exit::Done);
    }
    for path in &packed.elsewhere {
        output::note(&format!("note: `{}` is not published; each host has to have its own", path.display()));
    }
    let Some(key) = key else {
        tell(global, &manifest, &changes, "Nothing was published (--dry-run).")?;
        return Ok(Exit::Done);
    };
    let bytes = manifest.bytes()?;
    let signed = Signed::seal(Purpose::Revision, &bytes, &key);
    if !publish(&client, &keys, &signed, &manifest, &contents, found.as_ref()).await? {
        let now = head(&client, &keys).await?;
        return Err(stale(now.as_ref(), "meanwhile"));
    }
    let pushed = Pushed { site, digest: Manifest::digest(&bytes) };
    if let Err(error) = DiskStore::write_private(&record, &serde_json::to_vec(&pushed)?) {
        output::note(&format!("note: {error}; the next push from here needs --parent"));
    }
    tell(global, &manifest, &changes, &format!("Pushed generation {}.", manifest.generation))?;
    Ok(Exit::Done)
}

fn generate(global: &Global, path: &Path) -> Result<Exit, CommandError> {
    let whose = format!("{}@{}", identity::user(), identity::hostname());
    let (key, public) = SigningKey::generate(path, &whose)?;
    let value = json!({"key": path, "public": public, "line": key.public_line()});
    output::show(global, &value, || {
        format!(
            "The key is {}; keep it where you push from.\nAgents trust it by this line, which is also in {}:\n{}\n",
            path.display(),
            public.display(),
            key.public_line()
        )
    })?;
    Ok(Exit::Done)
}

fn unpackable(error: PackError) -> CommandError {
    match error {
        PackError::Invalid(diagnostics) => CommandError::invalid_site(*diagnostics),
        PackError::Secret(_) => CommandError::failed(error.to_string()).hinted(
            "put secrets into the site's store (`mastic secrets`), and name the file, or the store's identity, by an \
             absolute path outside of the site that each host has",
        ),
        other => CommandError::failed(other.to_string()),
    }
}

fn stale(head: Option<&Head>, when: &str) -> CommandError {
    let what = match head.and_then(|head| head.manifest.as_ref()) {
        Some(manifest) => manifest.line(),
        None => "something that cannot be read was pushed".to_owned(),
    };
    let generation = head.and_then(|head| head.manifest.as_ref()).map_or(0, |manifest| manifest.generation);
    CommandError::failed(format!("what is in etcd is not what this push follows: {what}, {when}")).hinted(format!(
        "bring your files up to date with that, look with `push --dry-run --parent {generation}`, and push with \
         `--parent {generation}`"
    ))
}

/// Nobody overwrites what he has not seen: a push follows what was pushed last from here, or what was named.
fn follows(head: Option<&Head>, parent: Option<u64>, record: &Path, site: &SiteName) -> Result<(), CommandError> {
    if let Some(parent) = parent {
        let generation = head.map_or(Some(0), |head| head.manifest.as_ref().map(|manifest| manifest.generation));
        // What cannot be read has no number, and is replaced by who says so.
        return if generation.is_none_or(|generation| generation == parent) {
            Ok(())
        } else {
            Err(stale(head, &format!("not {parent}")))
        };
    }
    let Some(head) = head else { return Ok(()) };
    let last = std::fs::read(record).ok().and_then(|content| serde_json::from_slice::<Pushed>(&content).ok());
    match last.filter(|last| last.site == *site) {
        Some(last) if last.digest == head.digest => Ok(()),
        Some(_) => Err(stale(Some(head), "after the last push from here")),
        None => Err(stale(Some(head), "and nothing was pushed from here yet")),
    }
}

fn manifest(
    asked: &CompileRequest,
    packed: &Packed,
    site: &SiteName,
    head: Option<&Head>,
    options: &Options,
) -> (Manifest, BTreeMap<String, Vec<u8>>) {
    let mut contents = BTreeMap::new();
    let files = packed.files.iter().map(|(name, (mode, content))| {
        let entry = FileEntry::of(content, *mode);
        contents.insert(entry.sha256.clone(), content.clone());
        (name.clone(), entry)
    });
    let files = files.collect();
    let old = head.and_then(|head| head.manifest.as_ref());
    let declared = packed.compiled.first().map_or(&[][..], |one| one.declared.as_slice());
    let manifest = Manifest {
        site: site.clone(),
        generation: old.map_or(0, |old| old.generation).max(options.parent.unwrap_or(0)) + 1,
        parent: head.map(|head| head.digest.clone()).unwrap_or_default(),
        minimum_version: options.minimum_version.unwrap_or_else(Version::own),
        pushed_by: format!("{}@{}", identity::user(), identity::hostname()),
        pushed_at: SystemClock.now(),
        hosts: packed.compiled.iter().map(|one| one.desired.host.clone()).collect(),
        ordinals: old.map(Manifest::ordinals).unwrap_or_default().with(declared),
        paths: packed.paths.clone(),
        role_directories: packed.role_directories.clone(),
        variables: asked.extra_vars.clone(),
        files,
    };
    (manifest, contents)
}

/// Whether two revisions ask for the same.
fn is_same(old: &Manifest, new: &Manifest) -> bool {
    let like_old = Manifest {
        generation: old.generation,
        parent: old.parent.clone(),
        pushed_by: old.pushed_by.clone(),
        pushed_at: old.pushed_at,
        ..new.clone()
    };
    *old == like_old
}

/// What changes where, by compiling both as agents do: from what is packed, at the same place.
async fn changes(
    client: &Client,
    keys: &Keys,
    asked: &CompileRequest,
    new: &Manifest,
    contents: &BTreeMap<String, Vec<u8>>,
    head: Option<&Head>,
) -> Result<BTreeMap<HostName, HostChanges>, CommandError> {
    let place = tempfile::tempdir()?;
    let tree = Tree::new(place.path());
    let compiled = |manifest: &Manifest, contents: &BTreeMap<String, Vec<u8>>| {
        tree.unpack(b"{}", manifest, contents).map_err(|error| CommandError::failed(error.to_string()))?;
        let request = request(manifest, &tree.files(), asked);
        let all = compile_all(&request, &DiskSiteFiles::new()).map_err(CommandError::invalid_site)?;
        Ok::<_, CommandError>(all.into_iter().map(|one| (one.desired.host.clone(), one.desired)).collect())
    };
    let after: BTreeMap<HostName, HostDesired> = compiled(new, contents)?;
    let before = match head.and_then(|head| head.manifest.as_ref()) {
        Some(old) => {
            let contents = blobs(client, keys, old, contents.clone()).await?;
            // What was pushed once and cannot be compiled any more is no reason not to push what can.
            compiled(old, &contents).unwrap_or_else(|error| {
                output::note(&format!("note: what was pushed last cannot be compared with: {}", error.message));
                BTreeMap::new()
            })
        }
        None => BTreeMap::new(),
    };
    Ok(compare(&before, &after))
}

fn compare(
    before: &BTreeMap<HostName, HostDesired>,
    after: &BTreeMap<HostName, HostDesired>,
) -> BTreeMap<HostName, HostChanges> {
    let parts = |desired: Option<&HostDesired>| -> BTreeMap<String, String> {
        let Some(desired) = desired else { return BTreeMap::new() };
        let services = desired.services.iter().map(|(name, spec)| (name.to_string(), spec.input_hash.clone()));
        let jobs = desired.jobs.iter().map(|(name, spec)| (name.to_string(), spec.input_hash.clone()));
        // What waits for a fact is there, and what it will be is not known.
        let unknown = |name: String| (name, "waits".to_owned());
        let waits = &desired.waits;
        let services = services.chain(waits.services.keys().map(|name| unknown(name.to_string())));
        services.chain(jobs).chain(waits.jobs.keys().map(|name| unknown(name.to_string()))).collect()
    };
    let hosts: BTreeSet<&HostName> = before.keys().chain(after.keys()).collect();
    let mut all = BTreeMap::new();
    for host in hosts {
        let (old, new) = (parts(before.get(host)), parts(after.get(host)));
        let changes = HostChanges {
            added: new.keys().filter(|name| !old.contains_key(*name)).cloned().collect(),
            changed: new
                .iter()
                .filter(|(name, hash)| old.get(*name).is_some_and(|old| old != *hash))
                .map(|(name, _)| name.clone())
                .collect(),
            removed: old.keys().filter(|name| !new.contains_key(*name)).cloned().collect(),
        };
        if changes != HostChanges::default() {
            all.insert(host.clone(), changes);
        }
    }
    all
}

fn tell(
    global: &Global,
    manifest: &Manifest,
    changes: &BTreeMap<HostName, HostChanges>,
    last: &str,
) -> Result<(), CommandError> {
    let value = json!({
        "site": manifest.site,
        "generation": manifest.generation,
        "files": manifest.files.len(),
        "changes": changes,
        "message": last,
    });
    if global.output == Output::Text && global.quiet > 0 {
        return Ok(());
    }
    output::show(global, &value, || text(changes) + last + "\n")
}

fn text(changes: &BTreeMap<HostName, HostChanges>) -> String {
    let mut text = String::new();
    for (host, changes) in changes {
        let marked = [('+', &changes.added), ('~', &changes.changed), ('-', &changes.removed)];
        let words = marked.iter().flat_map(|(mark, names)| names.iter().map(move |name| format!("{mark}{name}")));
        let _ = writeln!(text, "{host}: {}", words.collect::<Vec<_>>().join(" "));
    }
    text
}

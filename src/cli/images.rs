//! `mastic images`: which content the images of the site have.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::edge::docker::{ConnectOptions, DockerBuilder};
use crate::edge::docker_config;
use crate::edge::site_files::DiskSiteFiles;
use crate::model::image::ImageRef;
use crate::parse::image_lock::FILE;
use crate::resolve::compile::{CompileRequest, Compiled, compile_all};
use crate::resolve::image_settings::image_settings;

use super::args::Global;
use super::error::{CommandError, Exit};
use super::lock_file::LockFile;
use super::output;
use super::validate::no_site;

/// Options of `images`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic images lock\n  mastic images lock --check\n  mastic images lock reg.example:5000/mastic/keystone:1"
)]
pub struct Options {
    /// What to do
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Ask registries what the tags of the site's images mean now, and write it into the lock of images
    Lock(Lock),
}

#[derive(Clone, Debug, Args)]
struct Lock {
    /// Only these, as the site names them; without them all images of the site's services and jobs
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Write nothing; exit with 2 where the lock would change
    #[arg(long)]
    check: bool,
}

/// Runs it.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Verb::Lock(options) = &options.verb;
    lock(global, options).await
}

async fn lock(global: &Global, options: &Lock) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    let files = DiskSiteFiles::new();
    let settings = image_settings(&request, &files).map_err(CommandError::invalid_site)?;
    let compiled = compile_all(&CompileRequest { ignore_lock: true, assume_facts: true, ..request }, &files)
        .map_err(CommandError::invalid_site)?;
    let images = chosen(&compiled, &options.images)?;
    let mut file = LockFile::open(settings.directory.join(settings.lock.as_deref().unwrap_or(FILE)))?;
    let environment = |name: &str| std::env::var(name).ok();
    let mut logins = docker_config::logins(environment);
    logins.extend(settings.logins);
    let engine = DockerBuilder::new(&ConnectOptions::from_environment(environment)?, logins)?;
    let mut changes = Vec::new();
    let mut failed = BTreeMap::new();
    for image in &images {
        match engine.digest(image).await {
            Ok(digest) => {
                let before = file.lock.images.insert(image.with_tag(), digest.clone());
                changes.push((image.with_tag(), before, digest));
            }
            Err(error) => drop(failed.insert(image.with_tag(), error.to_string())),
        }
    }
    let differs = changes.iter().any(|(_, before, now)| before.as_ref() != Some(now));
    if differs && !options.check {
        file.write()?;
    }
    let list = changes.iter().map(|(image, from, to)| json!({"image": image, "from": from, "to": to}));
    let wrong = failed.iter().map(|(image, error)| json!({"image": image, "error": error}));
    let value = json!({"images": list.collect::<Vec<_>>(), "failed": wrong.collect::<Vec<_>>()});
    output::show(global, &value, || changes.iter().map(|change| line(change) + "\n").collect())?;
    for (image, error) in &failed {
        output::note(&format!("error: {image}: {error}"));
    }
    if settings.lock.is_none() {
        output::note("note: the site does not read it; say `images: {lock: images.lock}`");
    }
    Ok(match (failed.is_empty(), differs && options.check) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Differences,
        (true, false) => Exit::Done,
    })
}

/// The images that can have a digest in the lock: what has one already, or is in no registry, is left out.
fn chosen(compiled: &[Compiled], wanted: &[String]) -> Result<BTreeSet<ImageRef>, CommandError> {
    let of_services = compiled.iter().flat_map(|one| one.desired.services.values().map(|service| &service.image));
    let of_jobs = compiled.iter().flat_map(|one| one.desired.jobs.values().map(|job| &job.image));
    let mut images: BTreeSet<ImageRef> =
        of_services.chain(of_jobs).filter(|image| !image.is_digest()).cloned().collect();
    for name in wanted {
        if !images.iter().any(|image| image.as_str() == name || image.with_tag() == *name) {
            let known: Vec<&str> = images.iter().map(ImageRef::as_str).collect();
            return Err(CommandError::usage(format!("the site has no image `{name}`"))
                .hinted(format!("there are {}", known.join(", "))));
        }
    }
    images.retain(|image| {
        wanted.is_empty() || wanted.iter().any(|name| *name == image.as_str() || *name == image.with_tag())
    });
    Ok(images)
}

fn line((image, from, to): &(String, Option<String>, String)) -> String {
    match from {
        Some(from) if from == to => format!("{image}  {to}"),
        Some(from) => format!("{image}  {from} -> {to}"),
        None => format!("{image}  new: {to}"),
    }
}

//! `mastic build`: the images of roles.

mod gather;
mod progress;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::build::graph;
use crate::build::naming::ImageName;
use crate::build::plan::{self, BuildPlan};
use crate::build::recipe::Recipe;
use crate::build::schedule::Bounds;
use crate::build::summary::Summary;
use crate::edge::docker::{ConnectOptions, DockerBuilder};
use crate::model::time::Span;

use self::gather::Gathered;
use super::args::{Global, span};
use super::error::{CommandError, Exit};
use super::lock_file::LockFile;
use super::output;

/// Options of `build`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic build --list\n  mastic build keystone --dry-run\n  mastic build --profile infra --push --registry reg.example:5000 --tag 1\n  mastic build base --set apt_mirror=http://mirror.example/debian"
)]
pub struct Options {
    /// Images, or roles with all their images; `*` stands for anything. Without them all
    #[arg(value_name = "IMAGE|ROLE")]
    pub names: Vec<String>,
    /// List the images
    #[arg(long, group = "instead")]
    pub list: bool,
    /// Print who is built from whom, in the language of Graphviz
    #[arg(long, group = "instead")]
    pub graph: bool,
    /// Only show what would be built, and why
    #[arg(long, group = "instead")]
    pub dry_run: bool,
    /// Only images with this profile
    #[arg(long = "profile", value_name = "NAME", value_delimiter = ',')]
    pub profiles: Vec<String>,
    /// Builds at a time
    #[arg(long, short = 'T', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// How often what failed is tried again
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub retries: u32,
    /// Give one build up after so long (90s, 10m)
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "2h")]
    pub timeout: Span,
    /// Build what was selected in any case, without the engine's cache
    #[arg(long)]
    pub force: bool,
    /// Push what was selected, and write digests into the lock of images
    #[arg(long, conflicts_with = "instead")]
    pub push: bool,
    /// Tag of the images
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Namespace of the images
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Registry of the images, as HOST:PORT
    #[arg(long, value_name = "HOST")]
    pub registry: Option<String>,
    /// A variable of the build's templates; the value is YAML
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::args::variable)]
    pub set: Vec<(String, String)>,
    /// Where logs are written, one for each image [default: build-logs in the state directory]
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// The start program of the base image, instead of `mastic-start` beside this program
    #[arg(long, value_name = "FILE")]
    pub start_program: Option<PathBuf>,
}

/// Builds, or shows what would be built.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let mut gathered = gather::gather(global, options)?;
    let order = graph::order(&gathered.recipes).map_err(|error| gathered.invalid(vec![error]))?;
    if options.list {
        list(global, &gathered)?;
        return Ok(Exit::Done);
    }
    if options.graph {
        output::print(&graph::dot(&gathered.recipes))?;
        return Ok(Exit::Done);
    }
    let lock = if options.push { Some(open_lock(&gathered)?) } else { None };
    let hashes = gathered.hashes(&order)?;
    let environment = |name: &str| std::env::var(name).ok();
    let logins = std::mem::take(&mut gathered.logins);
    let builder = DockerBuilder::new(&ConnectOptions::from_environment(environment)?, logins)?;
    let mut existing = BTreeMap::new();
    for (name, recipe) in &gathered.recipes {
        if let Some(found) = builder.existing(&recipe.reference).await? {
            existing.insert(name.clone(), found);
        }
    }
    let plan = plan::plan(&plan::Request {
        recipes: &gathered.recipes,
        order: &order,
        selected: &gathered.selected,
        hashes: &hashes,
        existing: &existing,
        force: options.force,
    });
    if options.dry_run {
        output::show(global, &plan_json(&plan), || plan_text(&plan))?;
        return Ok(Exit::Done);
    }
    let bounds = Bounds { threads: usize::from(options.threads), retries: options.retries, push: options.push };
    let site = work::Site {
        builder,
        inputs: gathered.inputs.clone(),
        recipes: gathered.recipes,
        logs: options.logs.clone().unwrap_or_else(|| global.state_dir.join("build-logs")),
        timeout: options.timeout,
        force: options.force,
        selected: gathered.selected,
    };
    let began = tokio::time::Instant::now();
    let summary = work::run(global, site, &plan, bounds).await?;
    if let Some(mut file) = lock.filter(|_| !summary.pushed.is_empty()) {
        // Entries of other images stay.
        file.lock.images.extend(summary.pushed.iter().map(|pushed| (pushed.reference.clone(), pushed.digest.clone())));
        file.write()?;
    }
    output::show(global, &summary, || format!("{} in {:.1} s\n", summary.line(), began.elapsed().as_secs_f64()))?;
    Ok(exit(&summary))
}

/// Makes sure that there is somewhere to push to as well.
fn open_lock(gathered: &Gathered) -> Result<LockFile, CommandError> {
    if gathered.naming.registry.is_empty() {
        return Err(CommandError::usage("there is no registry to push to")
            .hinted("name it with --registry HOST:PORT, or in the site under `images.registry`"));
    }
    LockFile::open(gathered.lock.clone())
}

fn exit(summary: &Summary) -> Exit {
    if summary.interrupted {
        Exit::Interrupted
    } else if summary.failed.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}

fn list(global: &Global, gathered: &Gathered) -> Result<(), CommandError> {
    let chosen: Vec<&Recipe> =
        gathered.recipes.values().filter(|recipe| gathered.selected.contains(&recipe.name)).collect();
    let images: Vec<serde_json::Value> = chosen
        .iter()
        .map(|recipe| {
            json!({
                "name": recipe.name, "role": recipe.role, "reference": recipe.reference,
                "description": recipe.description, "profiles": recipe.profiles,
                "parents": recipe.parents, "foreign_parents": recipe.foreign,
            })
        })
        .collect();
    output::show(global, &json!({ "images": images }), || {
        let width = |of: &dyn Fn(&Recipe) -> usize| chosen.iter().map(|recipe| of(recipe)).max().unwrap_or_default();
        let names = width(&|recipe| recipe.name.as_str().len());
        let roles = width(&|recipe| recipe.role.len());
        let profiles = width(&|recipe| recipe.profiles.join(",").len());
        let mut lines: Vec<(&str, String)> = chosen
            .iter()
            .map(|recipe| {
                let of = recipe.profiles.join(",");
                let line = format!(
                    "{:<names$}  {:<roles$}  {of:<profiles$}  {}",
                    recipe.name.as_str(),
                    recipe.role,
                    recipe.description
                );
                (recipe.role.as_str(), line)
            })
            .collect();
        lines.sort();
        lines.iter().flat_map(|(_, line)| [line.trim_end(), "\n"]).collect()
    })
}

fn plan_json(plan: &BuildPlan) -> serde_json::Value {
    let images = plan.entries.iter().map(|entry| {
        json!({
            "name": entry.name, "reference": entry.reference, "hash": entry.hash,
            "action": if entry.reason.is_some() { "build" } else { "keep" },
            "why": entry.reason, "selected": entry.selected,
            "parents": entry.parents.iter().map(ImageName::as_str).collect::<Vec<_>>(),
        })
    });
    json!({"builds": plan.builds(), "images": images.collect::<Vec<_>>()})
}

fn plan_text(plan: &BuildPlan) -> String {
    let width = plan.entries.iter().map(|entry| entry.name.as_str().len()).max().unwrap_or_default();
    let lines = plan.entries.iter().map(|entry| {
        let what = entry.reason.as_ref().map_or_else(|| "up to date".to_owned(), |reason| format!("build: {reason}"));
        format!("{:<width$}  {what}\n", entry.name.as_str())
    });
    let last = match plan.builds() {
        0 => "nothing to build\n".to_owned(),
        1 => "1 image to build\n".to_owned(),
        number => format!("{number} images to build\n"),
    };
    lines.chain([last]).collect()
}

//! The builds themselves: tasks that the schedule hands out, and what they come to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::build::context;
use crate::build::hash::{LABEL, NAME_LABEL};
use crate::build::naming::ImageName;
use crate::build::plan::{BuildPlan, Entry};
use crate::build::recipe::Recipe;
use crate::build::schedule::{Bounds, Ended, Schedule, Task};
use crate::build::summary::{Summary, Work};
use crate::edge::build_inputs::InputFiles;
use crate::edge::docker::{BuildRequest, DockerBuilder};
use crate::edge::system_words;
use crate::model::time::Span;
use crate::port::engine::EngineError;

use super::super::args::Global;
use super::super::error::CommandError;
use super::super::interrupted::interrupted;
use super::progress::{Log, Reporter};

/// What all builds share.
pub struct Site {
    /// The engine.
    pub builder: DockerBuilder,
    /// Where inputs are.
    pub inputs: InputFiles,
    /// What is built.
    pub recipes: BTreeMap<ImageName, Recipe>,
    /// Where logs are written.
    pub logs: PathBuf,
    /// Within which one build must end.
    pub timeout: Span,
    /// Whether what was selected is built without the engine's cache.
    pub force: bool,
    /// What was asked for.
    pub selected: BTreeSet<ImageName>,
}

/// How a task went.
struct Finished {
    task: Task,
    outcome: Ended,
    seconds: f64,
    /// The image's id, or its digest.
    gives: String,
    error: String,
    tail: String,
    log: String,
}

/// Does all of the plan; Ctrl-C ends it early.
pub async fn run(global: &Global, site: Site, plan: &BuildPlan, bounds: Bounds) -> Result<Summary, CommandError> {
    let reporter = Reporter::new(global);
    if plan.builds() > 0 || bounds.push {
        reporter.say(&format!(
            "Building {} of {} images, logs in {}.",
            plan.builds(),
            plan.entries.len(),
            site.logs.display()
        ));
    }
    let site = Arc::new(site);
    let entries: BTreeMap<&ImageName, &Entry> = plan.entries.iter().map(|entry| (&entry.name, entry)).collect();
    let mut schedule = Schedule::new(plan, bounds);
    let mut works: BTreeMap<ImageName, Work> = BTreeMap::new();
    let mut running: JoinSet<Finished> = JoinSet::new();
    let token = CancellationToken::new();
    let mut signals = std::pin::pin!(interrupted());
    loop {
        for task in schedule.start() {
            let (Task::Build(name, _) | Task::Push(name, _)) = &task;
            let Some(entry) = entries.get(name).map(|entry| (*entry).clone()) else { continue };
            running.spawn(work(Arc::clone(&site), reporter.clone(), token.clone(), task, entry));
        }
        if schedule.is_over() {
            break;
        }
        tokio::select! {
            ended = running.join_next() => {
                let Some(ended) = ended else {
                    return Err(CommandError::failed("builds wait for each other and none is under way"));
                };
                let finished = ended.map_err(|error| CommandError::failed(format!("a build broke off: {error}")))?;
                take(&mut schedule, &mut works, &reporter, bounds, finished);
            }
            () = &mut signals, if !token.is_cancelled() => {
                reporter.say("Interrupted; ending what is under way.");
                schedule.cancel();
                token.cancel();
            }
        }
    }
    Ok(Summary::new(plan, &schedule, &works, token.is_cancelled()))
}

/// Takes in how a task ended, and tells.
fn take(
    schedule: &mut Schedule,
    works: &mut BTreeMap<ImageName, Work>,
    reporter: &Reporter,
    bounds: Bounds,
    finished: Finished,
) {
    let again = schedule.ended(&finished.task, finished.outcome);
    let (Task::Build(name, attempt) | Task::Push(name, attempt)) = &finished.task;
    let is_build = matches!(finished.task, Task::Build(..));
    let work = works.entry(name.clone()).or_default();
    work.log.clone_from(&finished.log);
    match finished.outcome {
        Ended::Done if is_build => {
            work.id = finished.gives;
            work.attempts = *attempt;
            work.seconds = (finished.seconds * 10.0).round() / 10.0;
            reporter.end(name.as_str(), &format!("built in {:.1} s", finished.seconds));
        }
        Ended::Done => {
            reporter.end(name.as_str(), &format!("pushed as {}", finished.gives));
            work.digest = Some(finished.gives);
        }
        Ended::Cancelled => reporter.end(name.as_str(), "interrupted"),
        Ended::Failed | Ended::Hopeless => {
            work.attempts = *attempt;
            let what = if is_build { "build" } else { "push" };
            let tries = bounds.retries + 1;
            let next = if again { ", trying again" } else { "" };
            let mut text = format!("{what} failed (attempt {attempt} of {tries}{next}): {}", finished.error);
            if !again && !finished.tail.is_empty() {
                text.push_str(&format!("\n  the last lines of {}:\n{}", finished.log, finished.tail.trim_end()));
            } else if !finished.log.is_empty() {
                text.push_str(&format!("\n  log: {}", finished.log));
            }
            work.error = finished.error;
            reporter.fail(name.as_str(), &text);
        }
    }
}

/// One task, to its end or until it is given up.
async fn work(site: Arc<Site>, reporter: Reporter, token: CancellationToken, task: Task, entry: Entry) -> Finished {
    let began = tokio::time::Instant::now();
    let name = entry.name.as_str();
    let (Task::Build(_, attempt) | Task::Push(_, attempt)) = task;
    let is_build = matches!(task, Task::Build(..));
    let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    reporter.begin(name, &format!("{}{again}", if is_build { "building" } else { "pushing" }));
    let mut finished = Finished {
        task,
        outcome: Ended::Done,
        seconds: 0.0,
        gives: String::new(),
        error: String::new(),
        tail: String::new(),
        log: String::new(),
    };
    // A push goes on with the log of its build.
    let anew = is_build && attempt == 1;
    let outcome = match Log::open(&site.logs, name, anew) {
        Err(error) => {
            let hint = "name a directory that can be written with --logs";
            Err(Failure::hopeless(format!("{}: {} ({hint})", site.logs.display(), system_words(&error))))
        }
        Ok(mut log) => {
            finished.log = log.path().display().to_string();
            let mut say = |text: &str| {
                if let Some(line) = log.write(text) {
                    reporter.follow(name, line);
                }
            };
            let doing = async {
                let doing = async {
                    if is_build {
                        build(&site, &entry, attempt, &mut say).await
                    } else {
                        push(&site, &entry, &mut say).await
                    }
                };
                tokio::time::timeout(site.timeout.duration(), doing)
                    .await
                    .unwrap_or_else(|_| Err(Failure::again(format!("it did not end within {}", site.timeout))))
            };
            let outcome = tokio::select! {
                biased;
                () = token.cancelled() => Err(Failure { ended: Ended::Cancelled, why: "interrupted".to_owned() }),
                outcome = doing => outcome,
            };
            if let Err(failure) = &outcome {
                log.write(&format!("{}\n", failure.why));
                finished.tail = log.tail();
            }
            outcome
        }
    };
    finished.seconds = began.elapsed().as_secs_f64();
    match outcome {
        Ok(gives) => finished.gives = gives,
        Err(failure) => {
            finished.outcome = failure.ended;
            finished.error = failure.why;
        }
    }
    finished
}

/// Why a task did not succeed.
struct Failure {
    ended: Ended,
    why: String,
}

impl Failure {
    fn hopeless(why: String) -> Self {
        Self { ended: Ended::Hopeless, why }
    }

    fn again(why: String) -> Self {
        Self { ended: Ended::Failed, why }
    }

    fn of_engine(error: EngineError) -> Self {
        match error {
            EngineError::Refused(_) | EngineError::NotFound(_) => Self::hopeless(error.to_string()),
            _ => Self::again(error.to_string()),
        }
    }
}

async fn build(site: &Site, entry: &Entry, attempt: u32, say: &mut impl FnMut(&str)) -> Result<String, Failure> {
    let Some(recipe) = site.recipes.get(&entry.name) else {
        return Err(Failure::hopeless(format!("`{}` has no recipe", entry.name)));
    };
    if attempt == 1 {
        say(&format!(
            "--- Dockerfile of {} ({})\n{}\n--- build\n",
            entry.reference,
            entry.hash,
            recipe.dockerfile.trim_end()
        ));
    } else {
        say(&format!("--- attempt {attempt}\n"));
    }
    let work = tempfile::Builder::new().prefix("mastic-build-").tempdir();
    let work = work.map_err(|error| Failure::again(format!("a directory to work in: {}", system_words(&error))))?;
    let context = prepare(site, recipe, work.path(), say).await?;
    let labels = [(LABEL, entry.hash.as_str()), (NAME_LABEL, entry.name.as_str())];
    let request = BuildRequest {
        reference: entry.reference.clone(),
        context,
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        arguments: recipe.proxies.clone(),
        // What an attempt before has done stays done.
        no_cache: site.force && attempt == 1 && site.selected.contains(&entry.name),
    };
    site.builder.build(&request, say).await.map_err(Failure::of_engine)
}

/// The context on disk.
async fn prepare(site: &Site, recipe: &Recipe, work: &Path, say: &mut impl FnMut(&str)) -> Result<PathBuf, Failure> {
    let mut supplied = BTreeMap::new();
    for (name, input) in &recipe.inputs {
        let supply = site.inputs.supply(input, &recipe.proxies, work, &mut *say).await;
        supplied.insert(name.clone(), supply.map_err(|error| Failure::again(error.to_string()))?);
    }
    let path = work.join("context.tar");
    let (recipe, target) = (recipe.clone(), path.clone());
    let written = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::create(&target)?;
        context::write(&recipe, supplied, BufWriter::new(file))
    });
    let written = written.await.map_err(|error| Failure::again(error.to_string()))?;
    written.map_err(|error| Failure::again(format!("{}: {}", path.display(), system_words(&error))))?;
    Ok(path)
}

async fn push(site: &Site, entry: &Entry, say: &mut impl FnMut(&str)) -> Result<String, Failure> {
    say("--- push\n");
    site.builder.push(&entry.reference, say).await.map_err(Failure::of_engine)
}

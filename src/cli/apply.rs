//! `mastic apply`: bring the host to its desired state, and wait until it is there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::control::command::{Command, Reconcile, Wait};
use crate::edge::agent_client::AgentClient;
use crate::model::time::Span;
use crate::report::plan_view::PlanView;

use super::args::{Global, Output, span};
use super::ask::{Follow, ask};
use super::error::{CommandError, Exit};
use super::operate::Override;
use super::output;
use super::progress::Reporter;
use super::validate::no_site;

/// Options of `apply`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic apply\n  mastic plan -O change.plan && mastic apply change.plan\n  mastic apply --timeout 10m --retry"
)]
pub struct Options {
    /// A saved plan: applied only while planning anew gives the same
    #[arg(value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    /// Allow removals that the removal guard would hold back
    #[arg(long)]
    pub allow_prune: bool,
    /// Try specs once more that have failed here
    #[arg(long)]
    pub retry: bool,
    /// Whether at any time.
    #[command(flatten)]
    pub overrides: Override,
    /// Give up waiting after so long (90s, 10m); what was begun goes on if an agent runs
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub timeout: Option<Span>,
    /// Do not ask (apply never does; for scripts that say it everywhere)
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Applies through the agent where one runs, else by a loop of its own.
pub async fn run(global: &Global, options: Options) -> Result<Exit, CommandError> {
    let place = global.place();
    if place.etcd.is_some() {
        return apply_pushed(global, options).await;
    }
    let Some(request) = &place.request else { return Err(no_site()) };
    let plan_id = match &options.plan {
        Some(path) => Some(saved(path)?),
        None => None,
    };
    let command = Command::Reconcile(Reconcile {
        files: request.paths.clone(),
        plan_id,
        allow_prune: options.allow_prune,
        retry: options.retry,
        now: options.overrides.why(),
        user: Global::user(),
        wait: Some(Wait { timeout: options.timeout }),
    });
    let reporter = Reporter::new(global);
    let through = if AgentClient::find(&place.state).await?.is_some() { " through the agent" } else { "" };
    let files: Vec<String> = request.paths.iter().map(|path| path.display().to_string()).collect();
    reporter.say(&format!("Applying {}{through}.", files.join(", ")));
    let began = Instant::now();
    let outcome = ask(global, "apply", Follow::Site, command, &reporter).await?;
    if global.output == Output::Text {
        output::print(&format!("{} in {:.1} s\n", outcome.message.trim_end(), began.elapsed().as_secs_f64()))?;
    } else {
        output::show(global, &outcome, String::new)?;
    }
    Ok(Exit::Done)
}

/// The same for agents that have their site from etcd: files are what `push` is for.
async fn apply_pushed(global: &Global, options: Options) -> Result<Exit, CommandError> {
    if options.plan.is_some() {
        return Err(CommandError::usage("a saved plan is of files, and agents with etcd follow what was pushed")
            .hinted("`mastic push --dry-run` shows what a push would change"));
    }
    let command = Command::Reconcile(Reconcile {
        allow_prune: options.allow_prune,
        retry: options.retry,
        now: options.overrides.why(),
        user: Global::user(),
        wait: Some(Wait { timeout: options.timeout }),
        ..Reconcile::default()
    });
    super::ask::ask_and_tell(global, "apply", Follow::Site, command).await
}

/// The name of a saved plan.
fn saved(path: &Path) -> Result<String, CommandError> {
    let wrong = |why: String| CommandError::usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(crate::edge::system_words(&error)))?;
    let plan: PlanView =
        serde_json::from_str(&text).map_err(|error| wrong(format!("this is no saved plan: {error}")))?;
    Ok(plan.id)
}

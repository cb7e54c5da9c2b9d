//! `mastic apply`: bring the host to its desired state, and wait until it is there.

use std::path::PathBuf;

use clap::Args;

use crate::control::command::{Command, OutcomeCode, Reconcile, Wait};
use crate::model::time::Span;
use crate::report::plan_view::PlanView;

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::progress::Reporter;
use super::validate::no_site;
use super::world::{Access, Door};

/// Options of `apply`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic apply\n  mastic plan -O change.plan && mastic apply change.plan\n  mastic apply --timeout 600 --retry"
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
    /// Give up waiting after so many seconds; what was begun goes on if an agent runs
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Do not ask (apply never does; for scripts that say it everywhere)
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Applies through the agent where one runs, else by a loop of its own.
pub async fn run(global: &Global, options: Options) -> Result<Exit, CommandError> {
    let place = global.place();
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
        user: Global::user(),
        wait: Some(Wait { timeout: options.timeout.map(Span::seconds) }),
    });
    let reporter = Reporter::new(global.colour(), global.quiet > 0 || global.output != Output::Text);
    let door = Door::open(&place, Access::Act, "apply").await?;
    let outcome = tokio::select! {
        outcome = door.ask(command, |progress| reporter.tell(&progress)) => outcome?,
        _ = tokio::signal::ctrl_c() => {
            door.close().await;
            return Err(CommandError::new(Exit::Interrupted, "interrupted; the next `mastic apply` goes on from here"));
        }
    };
    door.close().await;
    if global.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    }
    if outcome.code == OutcomeCode::Done {
        if global.output == Output::Text {
            println!("{}", outcome.message);
        }
        return Ok(Exit::Done);
    }
    Err(CommandError::from_outcome(&outcome))
}

fn saved(path: &std::path::Path) -> Result<String, CommandError> {
    let wrong = |why: String| CommandError::new(Exit::Usage, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let plan: PlanView =
        serde_json::from_str(&text).map_err(|error| wrong(format!("this is no saved plan: {error}")))?;
    Ok(plan.id)
}

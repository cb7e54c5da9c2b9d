//! `mastic plan`: what would change, and why.

use std::path::PathBuf;

use clap::Args;

use crate::control::command::{Command, OutcomeCode};
use crate::report::plan_view::{self, PlanView};

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::world::{Access, Door};

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic plan\n  mastic plan -O change.plan && mastic apply change.plan\n  mastic plan --detailed-exitcode   # 0: nothing to do, 1: failed, 2: changes"
)]
pub struct Options {
    /// Save the plan, for `mastic apply FILE`
    #[arg(short = 'O', long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 where there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Plans without any means to change something.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let view = look(global).await?;
    if let Some(out) = &options.out {
        std::fs::write(out, serde_json::to_string_pretty(&view)?)
            .map_err(|error| CommandError::new(Exit::Failed, format!("{}: {error}", out.display())))?;
    }
    match global.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&view)?),
        Output::Yaml => print!("{}", serde_yaml::to_string(&view)?),
        Output::Text => print!("{}", plan_view::render(&view, global.colour())),
    }
    Ok(if options.detailed_exitcode && view.changes > 0 { Exit::Differences } else { Exit::Done })
}

/// The plan as it is now.
pub(super) async fn look(global: &Global) -> Result<PlanView, CommandError> {
    let place = global.place();
    let door = Door::open(&place, Access::Look, "plan").await?;
    let outcome = door.ask(Command::Plan, |_| {}).await?;
    door.close().await;
    if outcome.code != OutcomeCode::Done {
        return Err(CommandError::from_outcome(&outcome));
    }
    let Some(data) = outcome.data.filter(|data| !data.is_null()) else {
        return Err(CommandError::new(Exit::Failed, "there is no desired state to plan for"));
    };
    Ok(serde_json::from_value(data)?)
}

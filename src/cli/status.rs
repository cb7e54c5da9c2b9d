//! `mastic status`: how things are.

use clap::Args;

use crate::control::command::{Command, OutcomeCode};
use crate::edge::agent_client::AgentClient;
use crate::edge::clock::SystemClock;
use crate::port::clock::Clock as _;
use crate::report::status::SiteStatus;
use crate::report::status_text::{self, Look};

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::world::{Access, Door};

/// Options of `status`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic status\n  mastic status -o json | jq .ready")]
pub struct Options {}

/// Tells the status; exits with 1 where not everything is ready.
pub async fn run(global: &Global, _: &Options) -> Result<Exit, CommandError> {
    let status = look(global).await?;
    match global.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
        Output::Yaml => print!("{}", serde_yaml::to_string(&status)?),
        Output::Text => {
            let look = Look { width: 120, colour: global.colour() };
            print!("{}", status_text::render(&status, SystemClock.now(), look));
        }
    }
    Ok(if status.ready { Exit::Done } else { Exit::Failed })
}

/// The status as the agent knows it, or as it is seen now.
pub(super) async fn look(global: &Global) -> Result<SiteStatus, CommandError> {
    let place = global.place();
    if let Some(agent) = AgentClient::find(&place.state).await? {
        return Ok(agent.status().await?);
    }
    let door = Door::open(&place, Access::Look, "status").await?;
    let outcome = door.ask(Command::Status, |_| {}).await?;
    door.close().await;
    match outcome.data {
        Some(data) if outcome.code == OutcomeCode::Done => Ok(serde_json::from_value(data)?),
        _ => Err(CommandError::from_outcome(&outcome)),
    }
}

//! `mastic exec`: a command in the container of a service.

use clap::Args;

use crate::model::desired::Hook;
use crate::model::time::Span;
use crate::port::engine::Engine as _;

use super::args::{Global, Output, span};
use super::error::{CommandError, Exit};
use super::logs::{container_of, missing};
use super::output;
use super::world::{engine, interrupted};

/// As long as a person may wait.
const LONGEST: Span = Span::seconds(366 * 86_400);

/// Options of `exec`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic exec web -- cat /etc/app.conf\n  mastic exec web --user root --timeout 10s -- sh -c 'ps | wc -l'"
)]
pub struct Options {
    /// In which service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// As whom
    #[arg(long, short = 'u', value_name = "USER", default_value = "")]
    pub user: String,
    /// In which directory of the container
    #[arg(long, value_name = "DIR", default_value = "")]
    pub workdir: String,
    /// Give up waiting after so long; the command itself goes on
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub timeout: Option<Span>,
    /// The command with its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

/// Runs it without input, shows both of its outputs together when it has ended, and exits with its exit code.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let place = global.place();
    let container = container_of(&place, &options.service)?;
    let engine = engine(&place)?;
    let hook = Hook {
        command: options.command.clone(),
        user: options.user.clone(),
        working_dir: options.workdir.clone(),
        ..Hook::default()
    };
    let ended = tokio::select! {
        ended = engine.exec(&container, &hook, options.timeout.unwrap_or(LONGEST)) => ended,
        () = interrupted() => return Err(CommandError::interrupted("interrupted; the command goes on")),
    };
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(error @ crate::port::engine::EngineError::Timeout(_)) if options.timeout.is_some() => {
            return Err(CommandError::new(Exit::TimedOut, error.to_string()));
        }
        Err(error) => return Err(missing(error, &options.service)),
    };
    if global.output == Output::Text {
        output::print(&outcome.output)?;
    } else {
        let value = serde_json::json!({"exit_code": outcome.exit_code, "output": outcome.output});
        output::show(global, &value, String::new)?;
    }
    Ok(Exit::Of(u8::try_from(outcome.exit_code).unwrap_or(u8::MAX)))
}

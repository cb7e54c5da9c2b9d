//! `mastic exec`: a command in the container of a service.

use clap::Args;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::edge::docker::Session;
use crate::edge::raw_terminal::{self, RawTerminal};
use crate::model::desired::Hook;
use crate::model::time::Span;

use super::args::{Global, Output, span};
use super::connection::engine;
use super::error::{CommandError, Exit};
use super::interrupted::interrupted;
use super::logs::{container_of, missing};
use super::output;
use super::subject::Subject;

/// Options of `exec`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic exec web -- cat /etc/app.conf\n  mastic exec web -- sh\n  mastic exec db -- mysql < dump.sql\n  mastic exec web --user root --timeout 10s -- sh -c 'ps | wc -l'"
)]
pub struct Options {
    /// In which service; on one of several hosts: HOST/SERVICE
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
    /// Give it no input; else it reads what comes here by standard input
    #[arg(long, short = 'n')]
    pub no_stdin: bool,
    /// Give it no terminal, also where a person sits at one
    #[arg(long, short = 'T')]
    pub no_tty: bool,
    /// The command with its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

/// Runs it with the input that there is, shows what it writes as it comes, and exits with its exit code.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Subject { home, name, .. } = Subject::find(global, &options.service)?;
    let container = container_of(&home, &name)?;
    let engine = engine(&home)?;
    let hook = Hook {
        command: options.command.clone(),
        user: options.user.clone(),
        working_dir: options.workdir.clone(),
        ..Hook::default()
    };
    let is_plain = options.no_tty || options.no_stdin || global.output != Output::Text;
    let terminal = if is_plain { None } else { raw_terminal::size() };
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout.duration());
    let opened = tokio::select! {
        opened = engine.open_session(&container, &hook, terminal) => opened,
        error = given_up(options, deadline) => return Err(error),
    };
    let session = opened.map_err(|error| missing(error, &options.service))?;
    // Dropped when this returns, whichever way.
    let _raw = terminal.map(|_| RawTerminal::enter()).transpose()?;
    let reads = !options.no_stdin && (terminal.is_some() || raw_terminal::input_is_no_terminal());
    tokio::select! {
        ended = attend(global, session, reads, terminal.is_some()) => ended,
        error = given_up(options, deadline) => Err(error),
    }
}

/// Ends when somebody interrupts it, or the time is over.
async fn given_up(options: &Options, deadline: Option<Instant>) -> CommandError {
    let over = async {
        match (deadline, options.timeout) {
            (Some(deadline), Some(timeout)) => {
                tokio::time::sleep_until(deadline).await;
                timeout
            }
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        timeout = over => CommandError::new(Exit::TimedOut, format!("the command did not end within {timeout}; it goes on")),
        () = interrupted() => CommandError::interrupted("interrupted; the command goes on"),
    }
}

/// Carries input and output until the command has ended.
async fn attend(global: &Global, mut session: Session, reads: bool, terminal: bool) -> Result<Exit, CommandError> {
    let mut input = std::mem::replace(&mut session.input, Box::pin(tokio::io::sink()));
    tokio::spawn(async move {
        if reads {
            // A command that ends without reading all of it is no failure.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
        }
        let _ = input.shutdown().await;
    });
    let resizer = session.resizer();
    let follow_size = async {
        let Ok(mut changes) = signal(SignalKind::window_change()) else { return std::future::pending().await };
        while changes.recv().await.is_some() {
            if let Some(size) = raw_terminal::size() {
                resizer.resize(size).await;
            }
        }
    };
    let mut collected = Vec::new();
    let carry = async {
        while let Some(chunk) = session.output.next().await {
            let chunk = chunk?;
            let is_read = match (global.output == Output::Text, chunk.stderr) {
                (true, true) => output::print_errors(&chunk.bytes)?,
                (true, false) => output::print_bytes(&chunk.bytes)?,
                (false, _) => {
                    collected.extend_from_slice(&chunk.bytes);
                    true
                }
            };
            if !is_read {
                return Ok(false);
            }
        }
        Ok::<_, CommandError>(true)
    };
    let is_read = tokio::select! {
        carried = carry => carried?,
        () = follow_size, if terminal => true,
    };
    if !is_read {
        return Ok(Exit::Done);
    }
    let exit_code = session.exit_code().await?;
    if global.output != Output::Text {
        let value = serde_json::json!({"exit_code": exit_code, "output": String::from_utf8_lossy(&collected)});
        output::show(global, &value, String::new)?;
    }
    Ok(Exit::Of(u8::try_from(exit_code).unwrap_or(u8::MAX)))
}

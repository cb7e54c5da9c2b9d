//! Asking the loop for something: through the agent where one runs, else by a loop of our own for as long as it takes.

use std::path::Path;

use crate::control::command::{Command, Outcome, OutcomeCode, Progress};
use crate::edge::agent_client::AgentClient;
use crate::edge::site_files::DiskSiteFiles;
use crate::resolve::compile::{CompileRequest, compile};

use super::args::{Global, Output};
use super::door::Door;
use super::error::{CommandError, Exit};
use super::output;
use super::progress::Reporter;
use super::world::Access;

/// Whether a loop of our own reads the site. An agent always follows the one that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It reads the site, and takes what it says.
    Site,
    /// It keeps to what was accepted: stopping a service must not roll out an edit.
    Accepted,
}

/// Asks, tells of the progress, and gives back an answer that is a success. Ctrl-C ends the waiting.
pub async fn ask(
    global: &Global,
    purpose: &str,
    follow: Follow,
    command: Command,
    reporter: &Reporter,
) -> Result<Outcome, CommandError> {
    let place = global.place();
    if follow == Follow::Accepted && place.etcd.is_none() && AgentClient::find(&place.state).await?.is_none() {
        something_is_kept(&place.state)?;
    }
    let door = Door::open(&place, Access::Act, purpose).await?;
    if let (Door::Own(world), Follow::Site) = (&door, follow) {
        world.valid_site(&place)?;
    }
    reporter.follow(door.view());
    let outcome = door.run(command, follow == Follow::Site, |progress: Progress| reporter.tell(&progress)).await;
    reporter.end();
    let outcome = outcome?;
    match outcome.code {
        OutcomeCode::Done => Ok(outcome),
        OutcomeCode::InvalidSite => Err(invalid_site(place.request.as_ref(), &outcome)),
        _ => Err(CommandError::from_outcome(&outcome)),
    }
}

/// Asks, and shows how it ended.
pub async fn ask_and_tell(
    global: &Global,
    purpose: &str,
    follow: Follow,
    command: Command,
) -> Result<Exit, CommandError> {
    let reporter = Reporter::new(global);
    let outcome = ask(global, purpose, follow, command, &reporter).await?;
    tell(global, &outcome)?;
    Ok(Exit::Done)
}

/// Shows how it ended.
pub fn tell(global: &Global, outcome: &Outcome) -> Result<(), CommandError> {
    if global.output == Output::Text && outcome.message.is_empty() {
        return Ok(());
    }
    output::show(global, outcome, || format!("{}\n", outcome.message.trim_end()))
}

/// The diagnostics in full, where the site can be read from here too.
pub fn invalid_site(request: Option<&CompileRequest>, outcome: &Outcome) -> CommandError {
    match request.map(|request| compile(request, &DiskSiteFiles::new())) {
        Some(Err(diagnostics)) => CommandError::invalid_site(diagnostics),
        _ => CommandError::from_outcome(outcome),
    }
}

/// Nothing can be done about what was never applied.
pub fn something_is_kept(state: &Path) -> Result<(), CommandError> {
    let of_hosts = std::fs::read_dir(state.join("hosts")).into_iter().flatten().flatten();
    if state.join("accepted.json").exists()
        || of_hosts.map(|host| host.path()).any(|host| host.join("accepted.json").exists())
    {
        return Ok(());
    }
    let message = format!("nothing was ever applied with the state directory {}", state.display());
    Err(CommandError::failed(message).hinted("name a site with `-f PATH` (`mastic init` starts one) and apply it, or name the right directory with --state-dir"))
}

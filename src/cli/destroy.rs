//! `mastic destroy`: nothing of the site is left on this host. It asks before.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;

use crate::control::command::Command;
use crate::edge::store::DiskStore;
use crate::model::desired::HostDesired;
use crate::model::names::ServiceName;
use crate::port::store::Store as _;

use super::args::Global;
use super::ask::{Follow, ask_and_tell, something_is_kept};
use super::error::{CommandError, Exit};
use super::output;

/// Options of `destroy`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic destroy\n  mastic destroy --volumes --yes   # data too, without being asked"
)]
pub struct Options {
    /// Remove named volumes too, with all data in them
    #[arg(long)]
    pub volumes: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Asks, then removes containers, networks and files; an agent ends with it.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let state = global.place().state;
    something_is_kept(&state)?;
    let mut accepted = Vec::new();
    for home in global.place().homes()? {
        accepted.extend(DiskStore::open(&home.state).load_accepted()?);
    }
    if !options.yes {
        if !io::stdin().is_terminal() {
            return Err(CommandError::usage("nobody can be asked: standard input is no terminal")
                .hinted("to destroy without being asked, give --yes"));
        }
        output::note(&question(&accepted, options.volumes));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Err(CommandError::failed("nothing was destroyed"));
        }
    }
    let command = Command::Destroy { volumes: options.volumes, user: Global::user() };
    ask_and_tell(global, "destroy", Follow::Accepted, command).await
}

fn question(accepted: &[HostDesired], volumes: bool) -> String {
    let what = match accepted {
        [] => "the site".to_owned(),
        [desired] => {
            let names: Vec<&str> = desired.services.keys().map(ServiceName::as_str).collect();
            format!("site {} on {} ({})", desired.site, desired.host, names.join(", "))
        }
        [first, ..] => {
            let hosts: Vec<&str> = accepted.iter().map(|desired| desired.host.as_str()).collect();
            format!("site {} on {} hosts ({})", first.site, hosts.len(), hosts.join(", "))
        }
    };
    let data = if volumes { "AND THE DATA in named volumes" } else { "named volumes stay" };
    format!("This removes all containers, networks and files of {what}; {data}.\nDo it? [y/N]")
}

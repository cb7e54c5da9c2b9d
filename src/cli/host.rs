//! `mastic host`: what machines are to the site.

use clap::{Args, Subcommand};

use crate::control::command::Command;
use crate::edge::coordinator::LocalCoordinator;
use crate::edge::store::DiskStore;
use crate::model::names::HostName;
use crate::port::coordinator::Coordinator as _;

use super::args::Global;
use super::ask::{Follow, ask_and_tell};
use super::error::{CommandError, Exit};
use super::output;
use super::validate::no_site;
use super::world::lock;

fn host(text: &str) -> Result<HostName, String> {
    HostName::new(text).map_err(|error| error.to_string())
}

/// Options of `host`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic host accept ctl2     # it was set up anew: begin there from nothing\n  mastic host forget ctl3     # it is not in the site any more"
)]
pub struct Options {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Take a machine as it is, although another one was known under its name, or volumes that were there are gone
    Accept {
        /// Which
        #[arg(value_name = "HOST", required = true, value_parser = host)]
        machines: Vec<HostName>,
    },
    /// Forget what is known of a machine that is not in the site any more; what runs there stays
    Forget {
        /// Which
        #[arg(value_name = "HOST", value_parser = host)]
        machine: HostName,
    },
}

/// Runs it.
pub async fn run(global: &Global, options: Options) -> Result<Exit, CommandError> {
    match options.deed {
        Deed::Accept { machines } => {
            let hosts = machines.iter().map(HostName::to_string).collect();
            let global = Global { hosts, ..global.clone() };
            let command = Command::AcceptHost { user: Global::user() };
            ask_and_tell(&global, "host accept", Follow::Accepted, command).await
        }
        Deed::Forget { machine } => forget(global, &machine).await,
    }
}

async fn forget(global: &Global, host: &HostName) -> Result<Exit, CommandError> {
    let place = global.place();
    // Without the site nobody knows whether the host is still one of it.
    if place.request.is_none() {
        return Err(no_site());
    }
    let in_site = place.reach()?.is_some_and(|reach| reach.hosts.iter().any(|one| one.host == *host));
    if in_site {
        return Err(CommandError::failed(format!("{host} is in the site")).hinted("take it out of the site first"));
    }
    let home = DiskStore::home(&place.state, host);
    if !home.is_dir() {
        let message = format!("nothing is known of a host `{host}` in {}", place.state.display());
        return Err(CommandError::failed(message));
    }
    let _lock = lock(&place.state, "host forget")?;
    // A slot of a host that nobody looks after would be taken for ever.
    let [coordinator] = &LocalCoordinator::of_all(&place.state, std::slice::from_ref(host))[..] else {
        return Err(CommandError::failed("there is no coordinator"));
    };
    for slot in coordinator.slots().await.map_err(|error| CommandError::failed(error.to_string()))? {
        if slot.host == *host {
            coordinator.release(&slot.service).await.map_err(|error| CommandError::failed(error.to_string()))?;
        }
    }
    std::fs::remove_dir_all(&home).map_err(|error| CommandError::failed(format!("{}: {error}", home.display())))?;
    output::note(&format!("{host} is forgotten; what runs there stays"));
    Ok(Exit::Done)
}

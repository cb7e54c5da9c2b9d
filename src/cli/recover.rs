//! `mastic recover`: a person begins a procedure of a role.

use clap::Args;

use crate::control::command::{Command, Recover};
use crate::model::names::HostName;

use super::args::Global;
use super::ask::{Follow, ask_and_tell};
use super::error::{CommandError, Exit};
use super::operate::Waiting;

fn host(text: &str) -> Result<HostName, String> {
    HostName::new(text).map_err(|error| error.to_string())
}

/// Options of `recover`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic recover mariadb                                    # begins at once what would begin by itself\n  mastic recover mariadb --from ctl2 --accept-data-loss     # without those that are gone for good\n  mastic recover mariadb --procedure rejoin --on ctl3 --accept-data-loss"
)]
pub struct Options {
    /// The role, as it is called in the site
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// Which of its procedures
    #[arg(long, value_name = "NAME", default_value = "recover")]
    pub procedure: String,
    /// Go on from what this host has, whatever the others have
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub from: Option<HostName>,
    /// The host that the procedure is about, where it is about one
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub on: Option<HostName>,
    /// What only others have, or the host has by itself, may be lost
    #[arg(long)]
    pub accept_data_loss: bool,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Begins it.
pub async fn run(global: &Global, options: Options) -> Result<Exit, CommandError> {
    let command = Command::Recover(Recover {
        role: options.role,
        procedure: options.procedure,
        from: options.from,
        host: options.on,
        accept_data_loss: options.accept_data_loss,
        user: Global::user(),
        wait: options.waiting.wait(),
    });
    ask_and_tell(global, "recover", Follow::Accepted, command).await
}

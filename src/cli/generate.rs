//! `mastic completions` and `mastic man`: made from the command line itself, so that they never lag behind.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Arguments;
use super::error::{CommandError, Exit};
use super::output;

/// Options of `completions`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic completions bash > /usr/share/bash-completion/completions/mastic\n  source <(mastic completions zsh)"
)]
pub struct Completions {
    /// Which shell
    pub shell: Shell,
}

/// Options of `man`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic man /usr/share/man/man1\n  mastic man . && man ./mastic.1")]
pub struct Man {
    /// The directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Prints completions.
pub fn completions(options: &Completions) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "mastic", &mut script);
    output::print_bytes(&script)?;
    Ok(Exit::Done)
}

/// Writes a page for the program and one for each verb.
pub fn man(options: &Man) -> Result<Exit, CommandError> {
    let directory = &options.directory;
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Arguments::command(), directory));
    written.map_err(|error| {
        CommandError::failed(format!("{}: {}", directory.display(), crate::edge::system_words(&error)))
    })?;
    Ok(Exit::Done)
}

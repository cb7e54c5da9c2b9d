//! `mastic init`: a small site to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::edge::system_words;
use crate::parse::starter::FILES;

use super::args::Global;
use super::error::{CommandError, Exit};
use super::output;

/// Options of `init`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic init\n  mastic init /etc/mastic && mastic -f /etc/mastic/site.yaml validate"
)]
pub struct Options {
    /// Where; it is made if it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
}

/// Writes the starter. What is there already is never touched.
pub fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let directory = &options.directory;
    let paths = FILES.map(|(name, _)| directory.join(name));
    if let Some(taken) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CommandError::failed(format!("{} exists already", taken.display()))
            .hinted("give another directory: `mastic init DIR`"));
    }
    let failed = |path: &PathBuf, error: std::io::Error| {
        CommandError::failed(format!("{}: {}", path.display(), system_words(&error)))
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for ((_, content), path) in FILES.iter().zip(&paths) {
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| failed(path, error))?;
        file.write_all(content.as_bytes()).map_err(|error| failed(path, error))?;
    }
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let site = names.first().cloned().unwrap_or_default();
    output::show(global, &serde_json::json!({"written": names}), || {
        format!("Wrote {}.\nNext: mastic -f {site} plan\n", names.join(" and "))
    })?;
    Ok(Exit::Done)
}

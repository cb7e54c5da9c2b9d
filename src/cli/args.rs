//! The command line.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::edge::journal::{self, LogForm, LogOptions};
use crate::resolve::compile::CompileRequest;

use super::world::Place;
use super::{agent, apply, plan, status, validate};

/// Version with the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MASTIC_COMMIT"), ")");

/// Keeps the containers of Docker hosts in the state that a YAML file declares.
#[derive(Debug, Parser)]
#[command(name = "mastic", version = VERSION, about, max_term_width = 120, arg_required_else_help = true)]
pub struct Arguments {
    /// Options of all verbs.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of all verbs.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The site: a file, several (later ones win), or a directory
    #[arg(short = 'f', long = "file", global = true, value_name = "PATH", env = "MASTIC_FILE", value_delimiter = ':')]
    pub files: Vec<PathBuf>,
    /// Where state is kept
    #[arg(long, global = true, value_name = "DIR", env = "MASTIC_STATE_DIR", default_value = "/var/lib/mastic")]
    pub state_dir: PathBuf,
    /// Which host of the site this is; by default the one named like this machine, else the only local one
    #[arg(long, global = true, value_name = "NAME")]
    pub host: Option<String>,
    /// A variable, above all others
    #[arg(short = 'e', long = "var", global = true, value_name = "NAME=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// Form of the output
    #[arg(short = 'o', long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: Color,
    /// Log more (twice: even more)
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log less
    #[arg(short = 'q', long, global = true, action = clap::ArgAction::Count)]
    pub quiet: u8,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the words are the help")]
pub enum Output {
    #[default]
    Text,
    Json,
    Yaml,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the words are the help")]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check the site, and tell all that is wrong with it
    Validate(validate::Options),
    /// Show what would change, and why
    Plan(plan::Options),
    /// Bring the host to its desired state, and wait until it is there
    Apply(apply::Options),
    /// Keep the host in its desired state
    Agent(agent::Options),
    /// Show how things are
    Status(status::Options),
}

impl Global {
    /// Starts logging: an agent tells what it does, a command only what is wrong.
    pub fn start_logging(&self, is_agent: bool) {
        let default = if is_agent { tracing::Level::INFO } else { tracing::Level::ERROR };
        let options = LogOptions {
            form: LogForm::Auto,
            level: LogOptions::level(default, self.verbose, self.quiet),
            colour: self.colour(),
        };
        journal::start(options, std::env::var("JOURNAL_STREAM").ok().as_deref());
    }

    /// Whether standard output has colour.
    pub fn colour(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stdout().is_terminal()
            }
        }
    }

    /// Where the command is at home.
    pub fn place(&self) -> Place {
        Place { state: self.state_dir.clone(), request: self.request() }
    }

    /// What to compile; none where no site was named and none lies here.
    pub fn request(&self) -> Option<CompileRequest> {
        let paths = if self.files.is_empty() {
            let here = PathBuf::from("site.yaml");
            if !here.is_file() {
                return None;
            }
            vec![here]
        } else {
            self.files.clone()
        };
        // Absolute, so that an agent can tell whether a command means the same files.
        let paths = paths.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect();
        Some(CompileRequest {
            paths,
            host: self.host.clone(),
            hostname: hostname(),
            extra_vars: self.vars.clone(),
            environment: std::env::vars().collect(),
            site_key: Vec::new(),
        })
    }

    /// Who asks, for the record: whoever became root to do so, if somebody did.
    pub fn user() -> String {
        let named = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
        named("SUDO_USER")
            .or_else(|| named("USER"))
            .or_else(|| named("LOGNAME"))
            .unwrap_or_else(|| "unknown".to_owned())
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

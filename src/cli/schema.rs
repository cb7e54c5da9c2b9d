//! `mastic schema`: what a site or a role may say, for editors and other programs.

use clap::Args;

use crate::parse::schema::{role_schema, site_schema};

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::output;

/// Options of `schema`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic schema > site.schema.json\n  # then, at the top of site.yaml: # yaml-language-server: $schema=site.schema.json\n  mastic schema role > role.schema.json"
)]
pub struct Options {
    /// Of what
    #[arg(value_enum, default_value_t)]
    pub kind: Kind,
}

/// Kinds of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the words are the help")]
pub enum Kind {
    #[default]
    Site,
    Role,
}

/// Prints it, as JSON unless YAML is asked for.
pub fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let output = if global.output == Output::Yaml { Output::Yaml } else { Output::Json };
    let schema = match options.kind {
        Kind::Site => site_schema(),
        Kind::Role => role_schema(),
    };
    output::show(&Global { output, ..global.clone() }, &schema, String::new)?;
    Ok(Exit::Done)
}

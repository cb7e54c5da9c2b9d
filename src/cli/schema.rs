//! `mastic schema`: what a site may say, for editors and other programs.

use clap::Args;

use crate::parse::schema::site_schema;

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::output;

/// Options of `schema`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic schema > site.schema.json\n  # then, at the top of site.yaml: # yaml-language-server: $schema=site.schema.json"
)]
pub struct Options {}

/// Prints it, as JSON unless YAML is asked for.
pub fn run(global: &Global, _: &Options) -> Result<Exit, CommandError> {
    let output = if global.output == Output::Yaml { Output::Yaml } else { Output::Json };
    output::show(&Global { output, ..global.clone() }, &site_schema(), String::new)?;
    Ok(Exit::Done)
}

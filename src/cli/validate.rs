//! `mastic validate`: all that is wrong with a site at once.

use clap::Args;
use serde_json::json;

use crate::edge::site_files::DiskSiteFiles;
use crate::resolve::compile::{CompileRequest, compile_all};

use super::args::{Global, Output};
use super::error::{CommandError, Exit};
use super::output;

/// Options of `validate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic validate\n  mastic -f /etc/mastic validate -o json")]
pub struct Options {}

/// Checks the site for all its hosts.
pub fn run(global: &Global, _: &Options) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    let request = CompileRequest { assume_facts: true, ..request };
    let compiled = compile_all(&request, &DiskSiteFiles::new())
        .map_err(|errors| CommandError { message: String::new(), ..CommandError::invalid_site(errors) })?;
    let warnings = compiled.first().map(|first| first.warnings.clone()).unwrap_or_default();
    if !warnings.is_empty() && global.output == Output::Text {
        output::note(&warnings.render(output::stderr(global).color));
    }
    output::show(global, &json!({"valid": true, "diagnostics": warnings.to_json()}), || {
        let hosts = compiled.iter().map(|host| {
            let (services, jobs) = (host.desired.services.len(), host.desired.jobs.len());
            let many = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
            format!("{}: {}, {}\n", host.desired.host, many(services, "service"), many(jobs, "job"))
        });
        hosts.chain(["valid\n".to_owned()]).collect()
    })?;
    Ok(Exit::Done)
}

/// Nobody said which site.
pub(super) fn no_site() -> CommandError {
    CommandError::usage("no site was named, and there is no site.yaml here")
        .hinted("give one with `-f PATH`, or start one with `mastic init`")
}

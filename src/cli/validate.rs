//! `mastic validate`: all that is wrong with a site at once.

use clap::Args;

use crate::edge::site_files::DiskSiteFiles;
use crate::resolve::compile::compile_all;

use super::args::{Global, Output};
use super::error::{CommandError, Exit};

/// Options of `validate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic validate\n  mastic -f /etc/mastic validate -o json")]
pub struct Options {}

/// Checks the site for all its hosts.
pub fn run(global: &Global, _: &Options) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    match compile_all(&request, &DiskSiteFiles::new()) {
        Ok(compiled) => {
            let warnings = compiled.first().map(|first| first.warnings.clone()).unwrap_or_default();
            if global.output == Output::Json {
                println!("{}", serde_json::json!({ "valid": true, "diagnostics": warnings.to_json() }));
            } else {
                if !warnings.is_empty() {
                    eprint!("{}", warnings.render(global.colour()));
                }
                for host in &compiled {
                    let (services, jobs) = (host.desired.services.len(), host.desired.jobs.len());
                    println!("{}: {services} services, {jobs} jobs", host.desired.host);
                }
                println!("valid");
            }
            Ok(Exit::Done)
        }
        Err(errors) => {
            if global.output == Output::Json {
                println!("{}", serde_json::json!({ "valid": false, "diagnostics": errors.to_json() }));
            } else {
                eprint!("{}", errors.render(global.colour()));
            }
            Ok(Exit::InvalidSite)
        }
    }
}

/// Nobody said which site.
pub(super) fn no_site() -> CommandError {
    CommandError::new(Exit::Usage, "no site was named, and there is no site.yaml here")
        .hinted("give one with `-f PATH`, or start one with `mastic init`")
}

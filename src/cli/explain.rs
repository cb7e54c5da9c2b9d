//! `mastic explain`: where a value comes from.

use clap::Args;

use crate::edge::site_files::DiskSiteFiles;
use crate::resolve::explain::explain;
use crate::resolve::explain_config::{PREFIX, explain_config};

use super::args::Global;
use super::error::{CommandError, Exit};
use super::output;
use super::validate::no_site;

/// Options of `explain`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic explain services.web.image\n  mastic explain vars.port --host ctl1 -o json\n  mastic explain config/keystone/keystone.conf\n  mastic explain config/keystone/keystone.conf/database/connection"
)]
pub struct Options {
    /// The value, by its path below `spec`; or `config/SERVICE/FILE/SECTION/KEY` in a file of a role
    #[arg(value_name = "PATH")]
    pub path: String,
}

/// Tells it.
pub fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    let wrong = |diagnostics| {
        // A path that leads nowhere is a slip of who asks, not of the site.
        let is_path = crate::resolve::compile::compile(&request, &DiskSiteFiles::new()).is_ok();
        let exit = if is_path { Exit::Usage } else { Exit::InvalidSite };
        CommandError { exit, message: String::new(), ..CommandError::invalid_site(diagnostics) }
    };
    if options.path.starts_with(PREFIX) {
        let found = explain_config(&request, &DiskSiteFiles::new(), &options.path).map_err(wrong)?;
        output::show(global, &found.to_json(), || found.to_text())?;
        return Ok(Exit::Done);
    }
    let found = explain(&request, &DiskSiteFiles::new(), &options.path).map_err(wrong)?;
    output::show(global, &found.to_json(), || found.to_text())?;
    Ok(Exit::Done)
}

//! `mastic diff`: what would change, in the form of `diff -u`.

use clap::Args;

use crate::report::plan_view;

use super::args::{Global, Selection};
use super::error::{CommandError, Exit};
use super::{output, plan};

/// Options of `diff`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic diff\n  mastic diff --service web   # 0: no difference, 1: some, above: trouble"
)]
pub struct Options {
    /// Which services.
    #[command(flatten)]
    pub selection: Selection,
}

/// Shows the differences; the exit code is that of `diff`.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    match show(global, options).await {
        // 1 is taken: it means that there are differences.
        Err(error) if error.exit == Exit::Failed => Err(CommandError { exit: Exit::Of(2), ..error }),
        shown => shown,
    }
}

async fn show(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let mut view = plan::look(global).await?;
    plan::select(&mut view, &options.selection, &global.place())?;
    output::show(global, &view, || plan_view::render_diff(&view, output::stdout(global).color))?;
    Ok(if view.actions.is_empty() { Exit::Done } else { Exit::Of(1) })
}

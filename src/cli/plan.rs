//! `mastic plan`: what would change, and why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use crate::control::command::{Command, OutcomeCode};
use crate::edge::agent_client::AgentClient;
use crate::edge::site_files::DiskSiteFiles;
use crate::edge::store::DiskStore;
use crate::edge::system_words;
use crate::port::store::Store as _;
use crate::report::change_view::ChangeView;
use crate::report::plan_view::{self, PlanView};
use crate::resolve::compile::compile;

use super::args::{Global, Selection};
use super::ask::something_is_kept;
use super::door::Door;
use super::error::{CommandError, Exit};
use super::output;
use super::world::{Access, Place, World};

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic plan\n  mastic plan -O change.plan && mastic apply change.plan\n  mastic plan --detailed-exitcode   # 0: nothing to do, 1: failed, 2: changes"
)]
pub struct Options {
    /// Save the plan, for `mastic apply FILE`
    #[arg(short = 'O', long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 where there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// What is shown of it.
    #[command(flatten)]
    pub selection: Selection,
}

/// Plans without any means to change something.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let mut view = look(global).await?;
    if let Some(out) = &options.out {
        // Always all of it: what is saved is what is applied.
        std::fs::write(out, serde_json::to_string_pretty(&view)?)
            .map_err(|error| CommandError::failed(format!("{}: {}", out.display(), system_words(&error))))?;
    }
    select(&mut view, &options.selection, &global.place())?;
    output::show(global, &view, || plan_view::render(&view, output::stdout(global).color))?;
    Ok(if options.detailed_exitcode && view.changes > 0 { Exit::Differences } else { Exit::Done })
}

/// The plan as it is now: of the site that was named, else of what is in force.
pub(super) async fn look(global: &Global) -> Result<PlanView, CommandError> {
    let place = global.place();
    let agent = if place.etcd.is_some() { None } else { AgentClient::find(&place.state).await? };
    let outcome = match (&place.request, agent) {
        // Of what was pushed; `push --dry-run` tells what a push would change.
        _ if place.etcd.is_some() => {
            Door::open(&place, Access::Look, "plan").await?.run(Command::Plan, false, |_| {}).await?
        }
        (None, Some(agent)) => Door::through(&place, agent)?.run(Command::Plan, false, |_| {}).await?,
        (request, _) => {
            if request.is_none() {
                something_is_kept(&place.state)?;
            }
            let world = World::open(&place, Access::Look, "plan").await?;
            world.valid_site(&place)?;
            Door::Own(Box::new(world)).run(Command::Plan, true, |_| {}).await?
        }
    };
    if outcome.code != OutcomeCode::Done {
        return Err(CommandError::from_outcome(&outcome));
    }
    let Some(data) = outcome.data.filter(|data| !data.is_null()) else {
        return Err(CommandError::failed("there is no desired state to plan for"));
    };
    let mut view: PlanView = serde_json::from_value(data)?;
    view.ordered.retain(ChangeView::is_open);
    Ok(view)
}

/// Keeps what was selected.
pub(super) fn select(view: &mut PlanView, selection: &Selection, place: &Place) -> Result<(), CommandError> {
    if selection.is_all() {
        return Ok(());
    }
    let roles = if selection.roles.is_empty() { BTreeMap::new() } else { roles(place)? };
    view.actions.retain(|action| selection.covers(&action.service, roles.get(&action.service).map(String::as_str)));
    view.changes = view.actions.len();
    view.notes.clear();
    view.ordered.clear();
    Ok(())
}

/// The role of each service and job that comes from one.
fn roles(place: &Place) -> Result<BTreeMap<String, String>, CommandError> {
    let mut roles = BTreeMap::new();
    for home in place.homes()? {
        let desired = match &home.request {
            Some(request) => Some(compile(request, &DiskSiteFiles::new()).map_err(CommandError::invalid_site)?.desired),
            None => DiskStore::open(&home.state).load_accepted()?,
        };
        let Some(desired) = desired else { continue };
        let services = desired.services.iter().map(|(name, spec)| (name.to_string(), spec.role.clone()));
        let jobs = desired.jobs.iter().map(|(name, spec)| (name.to_string(), spec.role.clone()));
        roles.extend(services.chain(jobs).filter_map(|(name, role)| Some((name, role?.to_string()))));
    }
    Ok(roles)
}

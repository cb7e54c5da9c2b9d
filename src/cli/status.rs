//! `mastic status`: how things are.

use clap::Args;

use crate::control::command::{Command, OutcomeCode};
use crate::edge::agent_client::AgentClient;
use crate::edge::clock::SystemClock;
use crate::model::names::RoleName;
use crate::port::clock::Clock as _;
use crate::report::status::{BadSiteFile, SiteStatus};
use crate::report::status_text::{self, Look};

use super::args::{Global, Selection};
use super::ask::something_is_kept;
use super::door::Door;
use super::error::{CommandError, Exit};
use super::output;
use super::remote::Remote;
use super::world::{Access, World};

/// What is no terminal has any width; this one shows all columns.
const WIDE: usize = 120;

/// Options of `status`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic status\n  mastic status --service web\n  mastic status -o json | jq .ready"
)]
pub struct Options {
    /// What is shown of it.
    #[command(flatten)]
    pub selection: Selection,
}

/// Tells the status; exits with 1 where not everything (of what was selected) is ready.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let mut status = look(global).await?;
    let sets = select(&mut status, &options.selection)?;
    output::show(global, &status, || sets + &status_text::render(&status, SystemClock.now(), text_look(global)))?;
    Ok(if status.ready { Exit::Done } else { Exit::Failed })
}

/// How text is laid out.
pub(super) fn text_look(global: &Global) -> Look {
    let terminal = output::stdout(global);
    let width = if terminal.is_terminal { terminal.width } else { terminal.width.max(WIDE) };
    Look { width, colour: terminal.color }
}

/// The status as the agent knows it, or as it is seen now.
pub(super) async fn look(global: &Global) -> Result<SiteStatus, CommandError> {
    let place = global.place();
    if let Some(arguments) = &place.etcd {
        return Ok(Remote::open(&place, arguments).await?.status());
    }
    if let Some(agent) = AgentClient::find(&place.state).await? {
        return Ok(agent.status().await?);
    }
    let applied = something_is_kept(&place.state);
    if place.request.is_none() {
        applied.clone()?;
    }
    let world = World::open(&place, Access::Look, "status").await?;
    let bad_site = match world.valid_site(&place) {
        // Of a site that was never applied, its own words are all there is.
        Err(error) if applied.is_err() => return Err(error),
        result => result.err(),
    };
    let outcome = Door::Own(Box::new(world)).run(Command::Status, applied.is_err(), |_| {}).await?;
    match outcome.data {
        Some(data) if outcome.code == OutcomeCode::Done => {
            let mut status: SiteStatus = serde_json::from_value(data)?;
            if applied.is_err() {
                status.generation = 0;
                status.settle();
            }
            status.bad_site_file = bad_site.and_then(|error| error.diagnostics).map(|diagnostics| BadSiteFile {
                since: SystemClock.now(),
                errors: diagnostics.len(),
                message: diagnostics.render(false),
            });
            Ok(status)
        }
        _ => Err(CommandError::from_outcome(&outcome)),
    }
}

/// Keeps what was selected, and judges by that alone. Tells of the sets that were.
fn select(status: &mut SiteStatus, selection: &Selection) -> Result<String, CommandError> {
    if selection.is_all() {
        return Ok(String::new());
    }
    if let Some(unknown) =
        selection.roles.iter().find(|name| !status.roles.iter().any(|role| role.name.as_str() == *name))
    {
        let known: Vec<&str> = status.roles.iter().map(|role| role.name.as_str()).collect();
        let error = CommandError::usage(format!("there is no role `{unknown}`"));
        return Err(if known.is_empty() { error } else { error.hinted(format!("there are {}", known.join(", "))) });
    }
    let meant: Vec<String> = status.with_parts(&selection.roles).iter().map(ToString::to_string).collect();
    let selection = Selection { services: selection.services.clone(), roles: meant };
    status.roles.retain(|role| selection.roles.iter().any(|name| name == role.name.as_str()));
    for host in &mut status.hosts {
        host.instances.retain(|instance| {
            selection.covers(instance.service.as_str(), instance.role.as_ref().map(RoleName::as_str))
        });
        host.jobs.retain(|job| selection.covers(job.job.as_str(), job.role.as_ref().map(RoleName::as_str)));
    }
    status.settle();
    Ok(status.roles.iter().map(|role| status_text::set(role) + "\n").collect())
}

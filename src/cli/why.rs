//! `mastic why`: why a service is, was or will be changed.

use clap::Args;
use serde_json::json;

use crate::edge::clock::SystemClock;
use crate::port::clock::Clock as _;
use crate::report::why_text;

use super::args::Global;
use super::describe::{EVENTS, events_text};
use super::error::{CommandError, Exit};
use super::subject::Subject;
use super::wait::unknown;
use super::{events, output, plan, status};

/// Options of `why`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic why web\n  mastic why web -o json | jq .actions")]
pub struct Options {
    /// Which service or job; on one of several hosts: HOST/SERVICE
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

/// Tells the plan's causes, the conditions, and what happened last.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Subject { global, home, name } = Subject::find(global, &options.service)?;
    let (global, name) = (&global, name.as_str());
    let seen = status::look(global).await?;
    let planned = match plan::look(global).await {
        // What is in force can be explained while somebody is in the middle of an edit.
        Err(error) if error.exit == Exit::InvalidSite => {
            let planned = plan::look_at_accepted(global).await.map_err(|_| error)?;
            output::note("The site is not valid now (`mastic validate` tells why); this is about what is in force.\n");
            planned
        }
        planned => planned?,
    };
    let told = events::about(&home, name, EVENTS)?;
    let instance = seen.instances().map(|(_, instance)| instance).find(|instance| instance.service.as_str() == name);
    let job = seen.hosts.iter().flat_map(|host| &host.jobs).find(|job| job.job.as_str() == name);
    let actions: Vec<_> = planned.actions.into_iter().filter(|action| action.service == name).collect();
    if instance.is_none() && job.is_none() && actions.is_empty() {
        return Err(unknown(&seen, name));
    }
    let conditions = instance.map(|instance| instance.conditions.clone()).unwrap_or_default();
    let ready = instance.map(|instance| instance.ready);
    let value = json!({
        "subject": name, "ready": ready, "conditions": conditions, "job": job, "actions": actions, "events": told,
    });
    output::show(global, &value, || {
        let now = SystemClock.now();
        let mut text = match (instance, job) {
            (Some(instance), _) => why_text::instance(instance, now),
            (None, Some(job)) => why_text::job(job, now),
            (None, None) => format!("{name} is not there yet.\n"),
        };
        let colour = output::stdout(global).color;
        text.push_str(&why_text::actions(&actions));
        text.push_str(&events_text(&told, colour));
        text
    })?;
    Ok(Exit::Done)
}

//! `mastic describe`: all that is known of a service or job.

use clap::Args;
use serde_json::{Value, json};

use crate::edge::clock::SystemClock;
use crate::edge::store::DiskStore;
use crate::model::condition::Condition;
use crate::model::desired::HostDesired;
use crate::model::names::RoleName;
use crate::model::time::Timestamp;
use crate::port::clock::Clock as _;
use crate::port::store::Store as _;
use crate::report::describe_text::{self, Spec, SpecFile};
use crate::report::status::{RoleStatus, SiteStatus};

use super::args::Global;
use super::error::{CommandError, Exit};
use super::subject::Subject;
use super::wait::unknown;
use super::{events, output, status};

/// Events that are shown of a subject.
pub(super) const EVENTS: usize = 10;

/// Options of `describe`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic describe web\n  mastic describe web -o json | jq .status.conditions")]
pub struct Options {
    /// Which service or job; on one of several hosts: HOST/SERVICE
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

/// Tells it.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Subject { global, home, name } = Subject::find(global, &options.service)?;
    let (global, name) = (&global, name.as_str());
    let seen = status::look(global).await?;
    let told = events::about(&home, name, EVENTS)?;
    let accepted = DiskStore::open(&home.state).load_accepted()?;
    let spec = accepted.as_ref().and_then(|desired| spec(desired, name));
    let holds: Vec<_> = seen
        .holds
        .iter()
        .filter(|hold| hold.service.as_ref().is_none_or(|service| service.as_str() == name))
        .cloned()
        .collect();
    let now: Timestamp = SystemClock.now();
    let (host, value, text, conditions): (_, Value, String, &[Condition]) =
        if let Some((host, instance)) = seen.instances().find(|(_, instance)| instance.service.as_str() == name) {
            (
                &host.name,
                serde_json::to_value(instance)?,
                describe_text::instance(&host.name, instance, role_of(&seen, instance.role.as_ref()), now),
                &instance.conditions,
            )
        } else if let Some((host, job)) =
            seen.hosts.iter().find_map(|host| Some((host, host.jobs.iter().find(|job| job.job.as_str() == name)?)))
        {
            (&host.name, serde_json::to_value(job)?, describe_text::job(&host.name, job, now), &[])
        } else {
            return Err(unknown(&seen, name));
        };
    let of = seen.instances().find(|(_, instance)| instance.service.as_str() == name);
    let role = role_of(&seen, of.and_then(|(_, instance)| instance.role.as_ref()));
    let value = json!({"host": host, "status": value, "role": role, "spec": spec, "holds": holds, "events": told});
    output::show(global, &value, || {
        let mut text = text;
        if let Some(spec) = &spec {
            text.push_str(&describe_text::spec(spec));
        }
        text.push_str(&describe_text::conditions(conditions, now));
        text.push_str(&describe_text::holds(&holds, now));
        let colour = output::stdout(global).color;
        text.push_str(&events_text(&told, colour));
        text
    })?;
    Ok(Exit::Done)
}

fn role_of<'a>(seen: &'a SiteStatus, name: Option<&RoleName>) -> Option<&'a RoleStatus> {
    seen.roles.iter().find(|role| Some(&role.name) == name)
}

/// The last events below a heading; nothing where there are none.
pub(super) fn events_text(told: &[events::Told], colour: bool) -> String {
    if told.is_empty() {
        return String::new();
    }
    let lines = told.iter().map(|event| format!("  {}", event.line(colour)));
    std::iter::once("\nEvents:\n".to_owned()).chain(lines).collect()
}

/// What of a spec is of interest and holds no secret.
fn spec(desired: &HostDesired, name: &str) -> Option<Spec> {
    let (image, files, networks, depends_on, hash) = match (desired.services.get(name), desired.jobs.get(name)) {
        (Some(spec), _) => (&spec.image, &spec.files, &spec.networks, &spec.depends_on, &spec.input_hash),
        (None, Some(spec)) => (&spec.image, &spec.files, &spec.networks, &spec.depends_on, &spec.input_hash),
        (None, None) => return None,
    };
    Some(Spec {
        image: image.to_string(),
        input_hash: hash.clone(),
        networks: networks.keys().map(ToString::to_string).collect(),
        depends_on: depends_on.keys().cloned().collect(),
        files: files
            .iter()
            .map(|file| SpecFile {
                target: file.target.clone(),
                source: file.source.clone(),
                mode: format!("{:04o}", file.mode),
                on_change: file.on_change,
            })
            .collect(),
    })
}

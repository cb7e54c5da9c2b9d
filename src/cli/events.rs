//! `mastic events`: what happened, and with `--follow` what happens.

use std::collections::VecDeque;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::control::command::{Command, OutcomeCode, Progress};
use crate::edge::agent_client::AgentClient;
use crate::edge::store::DiskStore;
use crate::model::time::{Timestamp, rfc3339};
use crate::port::store::Store as _;
use crate::report::event::{Event, Severity};

use super::args::Global;
use super::error::{CommandError, Exit};
use super::interrupted::interrupted;
use super::output;
use super::world::Place;

/// How often the log is looked at where no agent tells of news.
const POLL: Duration = Duration::from_millis(500);

/// Options of `events`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic events -n 20\n  mastic events --service web --follow\n  mastic events -o json | jq -r .reason"
)]
pub struct Options {
    /// Go on with new ones
    #[arg(long)]
    pub follow: bool,
    /// At most so many of the past
    #[arg(short = 'n', long = "lines", value_name = "NUMBER", default_value_t = 100)]
    pub lines: usize,
    /// Only about these services or jobs
    #[arg(long = "service", value_name = "NAME", value_delimiter = ',')]
    pub services: Vec<String>,
}

/// One event. The names in its JSON are stable.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    #[serde(with = "rfc3339")]
    at: Timestamp,
    severity: Severity,
    reason: String,
    subject: String,
    message: String,
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        let Event { at, severity, reason, subject, message, .. } = event;
        Self { at, severity, reason, subject, message }
    }
}

impl From<Progress> for Told {
    fn from(progress: Progress) -> Self {
        let Progress { at, severity, reason, subject, message } = progress;
        Self { at, severity, reason, subject, message }
    }
}

impl Told {
    /// With the host before its subject, where there are several.
    fn at(mut self, host: &str) -> Self {
        if !host.is_empty() {
            self.subject = if self.subject.is_empty() { host.to_owned() } else { format!("{host}/{}", self.subject) };
        }
        self
    }

    fn is_about(&self, name: &str) -> bool {
        self.subject == name || self.subject.rsplit('/').next() == Some(name)
    }

    /// As a line.
    pub(super) fn line(&self, colour: bool) -> String {
        let subject = if self.subject.is_empty() { "site" } else { &self.subject };
        let line = format!("{}  {subject:<20} {:<16} {}", self.at, self.reason, self.message);
        let line = line.trim_end();
        if colour && self.severity == Severity::Warning {
            format!("\u{1b}[33m{line}\u{1b}[0m\n")
        } else {
            format!("{line}\n")
        }
    }
}

/// Tells them, oldest first.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let state = global.place().state;
    let colour = output::stdout(global).color;
    let is_asked_for =
        |told: &Told| options.services.is_empty() || options.services.iter().any(|name| told.is_about(name));
    let show = |told: &Told| output::stream(global, told, || told.line(colour));
    if options.follow
        && let Some(agent) = AgentClient::find(&state).await?
    {
        return follow_agent(&agent, options, |told| if is_asked_for(told) { show(told) } else { Ok(true) }).await;
    }
    let stores = stores(global)?;
    let mut seen = of(&stores, options.lines, is_asked_for)?;
    for told in &seen {
        if !show(told)? {
            return Ok(Exit::Done);
        }
    }
    if !options.follow {
        return Ok(Exit::Done);
    }
    let mut last = seen.pop_back();
    loop {
        tokio::select! {
            () = interrupted() => return Err(CommandError::interrupted("")),
            () = tokio::time::sleep(POLL) => {}
        }
        let news = of(&stores, 1000, is_asked_for)?;
        let is_last = |told: &Told| {
            last.as_ref()
                .is_some_and(|last| last.at == told.at && last.message == told.message && last.reason == told.reason)
        };
        let start = news.iter().rposition(is_last).map_or(0, |place| place + 1);
        for told in news.iter().skip(start) {
            if !show(told)? {
                return Ok(Exit::Done);
            }
        }
        last = news.back().cloned().or(last);
    }
}

/// Where events are kept: of this host, or of several with what is put before their subjects.
fn stores(global: &Global) -> Result<Vec<(String, DiskStore)>, CommandError> {
    let homes = global.place().homes()?;
    let is_one = homes.len() < 2;
    let store = |home: Place| {
        let host = home.selected.first().filter(|_| !is_one).cloned().unwrap_or_default();
        (host, DiskStore::open(&home.state))
    };
    Ok(homes.into_iter().map(store).collect())
}

/// The newest that are asked for, oldest first.
fn of(
    stores: &[(String, DiskStore)],
    most: usize,
    is_asked_for: impl Fn(&Told) -> bool,
) -> Result<VecDeque<Told>, CommandError> {
    // What is asked for may be far apart: all are looked through.
    let mut all = Vec::new();
    for (host, store) in stores {
        let told = store.events(usize::MAX)?.into_iter().map(Told::from).map(|told| told.at(host));
        all.extend(told.filter(|told| is_asked_for(told)));
    }
    if stores.len() > 1 {
        all.sort_by_key(|told| told.at);
    }
    let skip = all.len().saturating_sub(most);
    Ok(all.into_iter().skip(skip).collect())
}

async fn follow_agent(
    agent: &AgentClient,
    options: &Options,
    show: impl Fn(&Told) -> Result<bool, CommandError>,
) -> Result<Exit, CommandError> {
    let (sender, mut news) = tokio::sync::mpsc::unbounded_channel();
    let command = Command::Events { most: options.lines, follow: true };
    let asking = agent.ask(&command, |progress| {
        let _ = sender.send(Told::from(progress));
    });
    tokio::pin!(asking);
    loop {
        tokio::select! {
            biased;
            Some(told) = news.recv() => {
                if !show(&told)? {
                    return Ok(Exit::Done);
                }
            }
            outcome = &mut asking => {
                let outcome = outcome?;
                return match outcome.code {
                    OutcomeCode::Done => Ok(Exit::Done),
                    _ => Err(CommandError::failed("the agent ended")),
                };
            }
            () = interrupted() => return Err(CommandError::interrupted("")),
        }
    }
}

/// The newest about one subject of a host, for other verbs.
pub(super) fn about(home: &Place, subject: &str, most: usize) -> Result<Vec<Told>, CommandError> {
    let store = [(String::new(), DiskStore::open(&home.state))];
    Ok(of(&store, most, |told| told.subject == subject)?.into())
}

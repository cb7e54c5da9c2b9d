//! The agents of a site that meet in etcd, as one: from a workstation.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::control::command::{Command, Outcome, Progress, Replies, Reply, Request};
use crate::control::fleet::{Elsewhere, Fleet};
use crate::control::input::Input;
use crate::control::published::Published;
use crate::edge::clock::SystemClock;
use crate::edge::etcd::{Asker, Client, EtcdCoordinator, Head, Keys, Range, head};
use crate::edge::site_files::DiskSiteFiles;
use crate::model::hold::HoldKind;
use crate::model::names::{HostName, SiteName};
use crate::port::coordinator::Coordinator as _;
use crate::report::merge;
use crate::report::metrics::Metrics;
use crate::report::status::{EngineStatus, HostStatus, SiteStatus};
use crate::resolve::survey::survey;

use super::error::CommandError;
use super::etcd::EtcdArguments;
use super::interrupted::interrupted;
use super::world::Place;

/// The agents of a site, and those that a command is about.
pub struct Remote {
    client: Client,
    site: SiteName,
    arguments: EtcdArguments,
    head: Option<Head>,
    hosts: Vec<Seen>,
    published: Arc<Published>,
}

/// What is known of a host.
struct Seen {
    host: HostName,
    meant: bool,
    /// None where no agent answers for it.
    status: Option<SiteStatus>,
}

impl Remote {
    /// Looks which agents there are.
    pub async fn open(place: &Place, arguments: &EtcdArguments) -> Result<Self, CommandError> {
        let client = arguments.client()?;
        let site = arguments.chosen_site(place.request.as_ref(), &client).await?;
        let keys = Keys::of(&site);
        let head = head(&client, &keys).await?;
        let statuses = statuses(&client, &keys).await?;
        let pushed = head.as_ref().and_then(|head| head.manifest.as_ref());
        if pushed.is_none() && statuses.is_empty() {
            return Err(CommandError::failed(format!("nothing is known of a site `{site}` in this etcd"))
                .hinted("publish it with `mastic push`, or name another one with --site"));
        }
        let mut names: Vec<HostName> = pushed.map(|pushed| pushed.hosts.clone()).unwrap_or_default();
        // A host that is no longer in the site keeps what it has, and its agent says so.
        names.extend(statuses.iter().map(|(host, _)| host.clone()));
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|host| seen.insert(host.clone()));
        let wanted = wanted(place, &names)?;
        let hosts = names.into_iter().map(|host| Seen {
            meant: wanted.as_ref().is_none_or(|wanted| wanted.contains(&host)),
            status: statuses.iter().find(|(of, _)| *of == host).map(|(_, status)| status.clone()),
            host,
        });
        let hosts = hosts.collect();
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), env!("MASTIC_COMMIT"))?);
        let published = Published::new(site.clone(), metrics);
        let remote = Self { client, site, arguments: arguments.clone(), head, hosts, published };
        remote.published.publish(remote.status());
        Ok(remote)
    }

    /// What the agents last said of themselves, as one site.
    pub fn status(&self) -> SiteStatus {
        let meant = || self.hosts.iter().filter(|seen| seen.meant);
        let known = merge::status(meant().filter_map(|seen| seen.status.as_ref()));
        let mut status = known.unwrap_or_else(|| SiteStatus::new(self.site.clone()));
        let converged = status.converged;
        for seen in meant().filter(|seen| seen.status.is_none()) {
            status.hosts.push(silent(&seen.host));
        }
        let order = |name: &HostName| self.hosts.iter().position(|seen| seen.host == *name);
        status.hosts.sort_by_key(|host| order(&host.name));
        status.settle();
        let pushed = self.head.as_ref().and_then(|head| Some((head.manifest.as_ref()?.generation, &head.digest)));
        // Who has not heard of what was pushed is not there yet, whatever it says. Facts of machines and rollbacks make
        // generations as well, so that the number alone does not tell.
        let is_of = |status: &SiteStatus, (generation, digest): (u64, &String)| {
            let is_pinned = status.holds.iter().any(|hold| hold.kind == HoldKind::Pin);
            status.generation >= generation && (status.source_digest == *digest || is_pinned)
        };
        let is_behind = |seen: &Seen| {
            let status = seen.status.as_ref();
            status.is_none_or(|status| pushed.is_some_and(|pushed| !is_of(status, pushed)))
        };
        status.converged &= converged && !meant().any(is_behind);
        status
    }

    /// Where the status can be seen while a command goes on.
    pub fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    /// Asks for one thing, and waits for the answer.
    pub async fn run(self, command: Command, mut on_progress: impl FnMut(Progress)) -> Result<Outcome, CommandError> {
        let key = match &self.arguments.key {
            Some(_) => Some(Arc::new(self.arguments.signing_key()?)),
            None => None,
        };
        let clock = Arc::new(SystemClock);
        let asker = Asker { client: self.client.clone(), site: self.site.clone(), key, clock };
        let mut bridges = JoinSet::new();
        let elsewhere = self.hosts.iter().map(|seen| {
            let (inputs, receiver) = mpsc::channel(16);
            bridges.spawn(carry(asker.clone(), seen.host.clone(), receiver));
            let published = Published::new(self.site.clone(), self.published.metrics().clone());
            if let Some(status) = &seen.status {
                published.publish(status.clone());
            }
            Elsewhere { host: seen.host.clone(), meant: seen.meant, inputs, published }
        });
        let elsewhere = elsewhere.collect();
        // It only listens: nothing is ever reported here.
        let listener = EtcdCoordinator::start(self.client.clone(), &self.site, HostName::new("workstation")?, None);
        let fleet = Fleet::elsewhere(elsewhere, listener.reports(), self.published.clone());
        let (inputs, receiver) = mpsc::channel(16);
        let (replies, mut answers) = Replies::channel();
        let _sent = inputs.send(Input::Request(Box::new(Request { command, replies }))).await;
        let answer = async {
            while let Some(reply) = answers.recv().await {
                match reply {
                    Reply::Progress(progress) => on_progress(progress),
                    Reply::Result(outcome) => return Ok(outcome),
                }
            }
            Err(CommandError::failed("nobody answered"))
        };
        tokio::select! {
            outcome = answer => outcome,
            () = fleet.run(receiver) => Err(CommandError::failed("nobody answered")),
            () = interrupted() => Err(CommandError::interrupted("interrupted; the agents go on")),
        }
    }
}

/// Hands on what is asked of one host.
async fn carry(asker: Asker, host: HostName, mut inputs: mpsc::Receiver<Input>) {
    let mut asking = JoinSet::new();
    while let Some(input) = inputs.recv().await {
        if let Input::Request(request) = input {
            let (asker, host) = (asker.clone(), host.clone());
            asking.spawn(async move { asker.ask(&host, *request).await });
        }
    }
}

async fn statuses(client: &Client, keys: &Keys) -> Result<Vec<(HostName, SiteStatus)>, CommandError> {
    let (found, _) = client.range(Range::Prefix(keys.statuses())).await?;
    let read = |one: crate::edge::etcd::KeyValue| {
        let host = HostName::new(one.key.strip_prefix(&keys.statuses())?).ok()?;
        Some((host, serde_json::from_slice(&one.value).ok()?))
    };
    Ok(found.into_iter().filter_map(read).collect())
}

/// The hosts that were named; none is all of them. Groups are known where the site's files are.
fn wanted(place: &Place, names: &[HostName]) -> Result<Option<Vec<HostName>>, CommandError> {
    if place.selected.is_empty() {
        return Ok(None);
    }
    if let Some(request) = &place.request
        && let Ok(survey) = survey(request, &DiskSiteFiles::new())
    {
        let wanted = survey.select(&place.selected).map_err(CommandError::invalid_site)?;
        return Ok(Some(names.iter().filter(|name| wanted.contains(*name)).cloned().collect()));
    }
    if let Some(unknown) = place.selected.iter().find(|one| !names.iter().any(|name| name.as_str() == one.as_str())) {
        let known: Vec<&str> = names.iter().map(HostName::as_str).collect();
        return Err(CommandError::usage(format!("there is no host `{unknown}`; there are: {}", known.join(", "))));
    }
    Ok(Some(names.iter().filter(|name| place.selected.iter().any(|one| one == name.as_str())).cloned().collect()))
}

fn silent(host: &HostName) -> HostStatus {
    HostStatus {
        name: host.clone(),
        reachable: false,
        engine: EngineStatus { error: Some("no agent answers for it".to_owned()), ..EngineStatus::default() },
        observed_at: None,
        conditions: Vec::new(),
        instances: Vec::new(),
        jobs: Vec::new(),
    }
}

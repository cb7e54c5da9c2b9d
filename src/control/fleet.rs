//! The loops of several hosts as one: what people ask goes to the hosts that it is about, and one answer comes back.
//!
//! Each host has a loop of its own, with its own memory; they meet at the coordinator. In: the same inputs as for one
//! host. Out: the same status, of the whole site. A host that is slow or dead keeps nobody waiting but those who asked
//! for it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::model::names::HostName;
use crate::model::peers::Reports;
use crate::port::store::StoreError;
use crate::report::merge;

use super::answers::{self, Answer};
use super::command::{Command, Outcome, OutcomeCode, Progress, Replies, Reply, Request};
use super::events;
use super::input::Input;
use super::ports::Ports;
use super::published::{HEARTBEAT, Published};
use super::reconciler::{Mode, Reconciler};

/// Between two statuses of the site while much happens.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);

/// Who waits for a site that waits for itself is told after so long without news.
const PATIENCE: Duration = Duration::from_secs(2);

/// A host of the site, before its loop begins.
pub struct Member {
    /// Host.
    pub host: HostName,
    /// Whether it is what people asked about; else it is only looked at, for what others have to know of it.
    pub meant: bool,
    /// How its loop meets the world.
    pub ports: Ports,
}

/// A loop on another machine, before anybody asks it for anything.
pub struct Elsewhere {
    /// Host.
    pub host: HostName,
    /// Whether it is what people asked about.
    pub meant: bool,
    /// The way to it.
    pub inputs: mpsc::Sender<Input>,
    /// What it shows.
    pub published: Arc<Published>,
}

/// One loop.
struct Loop {
    host: HostName,
    meant: bool,
    inputs: mpsc::Sender<Input>,
    published: Arc<Published>,
    paths: watch::Receiver<BTreeSet<PathBuf>>,
}

/// The loops of a site.
pub struct Fleet {
    loops: Arc<Vec<Loop>>,
    reports: watch::Receiver<Arc<Reports>>,
    tasks: JoinSet<()>,
    published: Arc<Published>,
    paths: watch::Sender<BTreeSet<PathBuf>>,
}

impl Fleet {
    /// Starts the loops. `mode.act` is for those members that are meant.
    pub fn start(members: Vec<Member>, mode: Mode, published: Arc<Published>) -> Result<Self, StoreError> {
        let mut loops = Vec::new();
        let mut tasks = JoinSet::new();
        let mut reports = None;
        for Member { host, meant, ports } in members {
            let (inputs, receiver) = mpsc::channel(1024);
            let reconciler = Reconciler::new(ports.clone(), Mode { act: mode.act && meant, once: false, ..mode })?;
            reports.get_or_insert_with(|| ports.coordinator.reports());
            let follower = mode.act.then(|| (ports.engine.clone(), ports.clock.clone(), inputs.downgrade()));
            loops.push(Loop { host, meant, inputs, published: ports.published.clone(), paths: reconciler.paths() });
            tasks.spawn(async move {
                let following = async move {
                    if let Some((engine, clock, inputs)) = follower
                        && let Some(inputs) = inputs.upgrade()
                    {
                        events::follow(engine, clock, inputs).await;
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = reconciler.run(receiver) => {}
                    () = following => {}
                }
            });
        }
        let reports = reports.unwrap_or_else(|| watch::Sender::new(Arc::new(Reports::new())).subscribe());
        Ok(Self { loops: Arc::new(loops), reports, tasks, published, paths: watch::Sender::new(BTreeSet::new()) })
    }

    /// Loops on other machines. They go on when this ends.
    pub fn elsewhere(loops: Vec<Elsewhere>, reports: watch::Receiver<Arc<Reports>>, published: Arc<Published>) -> Self {
        let paths = watch::Sender::new(BTreeSet::new());
        let loops = loops.into_iter().map(|one| {
            let Elsewhere { host, meant, inputs, published } = one;
            Loop { host, meant, inputs, published, paths: paths.subscribe() }
        });
        Self { loops: Arc::new(loops.collect()), reports, tasks: JoinSet::new(), published, paths }
    }

    /// The files that the site is read from, whenever that changes.
    pub fn paths(&self) -> watch::Receiver<BTreeSet<PathBuf>> {
        self.paths.subscribe()
    }

    /// Runs until it is told to end; steps under way are seen to their end.
    pub async fn run(self, mut inputs: mpsc::Receiver<Input>) {
        let Self { loops, reports, mut tasks, published, paths } = self;
        // All of it ends with this future.
        let mut showing = JoinSet::new();
        showing.spawn(show(loops.clone(), published, paths));
        let mut answering = JoinSet::new();
        while let Some(input) = inputs.recv().await {
            while answering.try_join_next().is_some() {}
            match input {
                Input::Request(request) => {
                    let Request { command, replies } = *request;
                    if command == Command::Shutdown {
                        replies.finish(Outcome::done("the controller ends; the containers stay"));
                        break;
                    }
                    answering.spawn(answer(loops.clone(), reports.clone(), command, replies));
                }
                Input::Edit => tell_all(&loops, || Input::Edit).await,
                Input::Reload => tell_all(&loops, || Input::Reload).await,
                Input::Shutdown => break,
                // What is about one engine or its files reaches its loop by itself.
                Input::Engine(_) | Input::EventsConnected | Input::EventsLost(_) | Input::Files(_) => {}
            }
        }
        tell_all(&loops, || Input::Shutdown).await;
        while tasks.join_next().await.is_some() {}
        // Who waits hears that it is over; then nobody is left to show anything to.
        while answering.join_next().await.is_some() {}
    }
}

async fn tell_all(loops: &[Loop], input: impl Fn() -> Input) {
    for one in loops {
        let _ = one.inputs.send(input()).await;
    }
}

/// Shows what the hosts show, as one site.
async fn show(loops: Arc<Vec<Loop>>, published: Arc<Published>, paths: watch::Sender<BTreeSet<PathBuf>>) {
    let mut statuses: Vec<_> = loops.iter().map(|one| one.published.watch()).collect();
    loop {
        let known: Vec<_> = statuses.iter_mut().map(|status| status.borrow_and_update().clone()).collect();
        if let Some(status) = merge::status(known.iter().map(AsRef::as_ref)) {
            if *published.status() == status {
                published.progressed();
            } else {
                published.publish(status);
            }
        }
        paths.send_if_modified(|old| {
            let new: BTreeSet<PathBuf> = loops.iter().flat_map(|one| one.paths.borrow().clone()).collect();
            let changed = *old != new;
            *old = new;
            changed
        });
        let mut changes: FuturesUnordered<_> = statuses.iter_mut().map(watch::Receiver::changed).collect();
        tokio::select! {
            _ = changes.next() => {}
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        drop(changes);
        tokio::time::sleep(PUBLISH_EVERY).await;
    }
}

/// Does what was asked for at the hosts that it is about.
async fn answer(loops: Arc<Vec<Loop>>, reports: watch::Receiver<Arc<Reports>>, command: Command, replies: Replies) {
    let (wanted, command) = match command {
        Command::At { hosts, command } => (Some(hosts), *command),
        command => (None, command),
    };
    if let Some(unknown) =
        wanted.iter().flatten().find(|host| !loops.iter().any(|one| one.host.as_str() == host.as_str()))
    {
        let names: Vec<&str> = loops.iter().map(|one| one.host.as_str()).collect();
        let message = format!("no host `{unknown}` is looked after here; there are: {}", names.join(", "));
        replies.finish(Outcome::not(OutcomeCode::Refused, message));
        return;
    }
    let is_meant = |one: &&Loop| one.meant && wanted.as_ref().is_none_or(|hosts| hosts.contains(&one.host));
    let meant: Vec<&Loop> = match command {
        // The rest is read as well: what others do has to do with it.
        Command::Status | Command::Plan => loops.iter().collect(),
        _ => loops.iter().filter(is_meant).collect(),
    };
    if let Some(refused) = no_way_back(&loops, &command, &replies).await {
        replies.finish(refused);
        return;
    }
    let others = loops.iter().filter(|one| !meant.iter().any(|other| other.host == one.host));
    for one in others {
        look(one).await;
    }
    if matches!(command, Command::Plan | Command::Status) {
        // Everybody has looked, and said how things are, before anybody says what that means.
        let looked = ask_all(&meant, &Command::Status, &replies, None).await;
        drop(looked);
    }
    let mut answers = ask_all(&meant, &command, &replies, command.waits().then_some(reports)).await;
    answers.retain(|answer| loops.iter().filter(is_meant).any(|one| one.host == answer.host));
    replies.finish(answers::merge(&command, answers));
}

/// Whether a host knows of something that a rollback cannot take back: then none of them goes back.
async fn no_way_back(loops: &[Loop], command: &Command, replies: &Replies) -> Option<Outcome> {
    let Command::Rollback { generation, past_no_return: false, .. } = command else { return None };
    let all: Vec<&Loop> = loops.iter().collect();
    let question = Command::MayRollBack { generation: *generation };
    let answers = ask_all(&all, &question, replies, None).await;
    let against: Vec<Answer> = answers.into_iter().filter(|answer| answer.outcome.code != OutcomeCode::Done).collect();
    (!against.is_empty()).then(|| answers::merge(&question, against))
}

/// Has a host looked at, so that others know how it is; nobody waits for it.
async fn look(one: &Loop) {
    let (replies, _) = Replies::channel();
    let request = Request { command: Command::Status, replies };
    let _ = one.inputs.send(Input::Request(Box::new(request))).await;
}

/// Asks all of them at once. With `reports`, those that wait for one another in vain are not waited for.
async fn ask_all(
    meant: &[&Loop],
    command: &Command,
    replies: &Replies,
    mut reports: Option<watch::Receiver<Arc<Reports>>>,
) -> Vec<Answer> {
    let mut asked: FuturesUnordered<_> = meant.iter().map(|one| ask(one, command.clone(), replies)).collect();
    let mut open: BTreeSet<&HostName> = meant.iter().map(|one| &one.host).collect();
    let mut answers = Vec::new();
    let mut stuck: Option<(Instant, Vec<Answer>)> = None;
    while !open.is_empty() {
        let vain = reports.as_mut().and_then(|reports| answers::in_vain(&open, &reports.borrow_and_update()));
        stuck = match (stuck, vain) {
            (Some((since, before)), Some(vain)) if before == vain => Some((since, vain)),
            (_, vain) => vain.map(|vain| (Instant::now(), vain)),
        };
        if let Some((_, vain)) = stuck.take_if(|(since, _)| since.elapsed() >= PATIENCE) {
            answers.extend(vain);
            break;
        }
        tokio::select! {
            answer = asked.next() => match answer {
                Some(answer) => {
                    open.retain(|host| **host != answer.host);
                    answers.push(answer);
                }
                None => break,
            },
            () = heard(reports.as_mut()) => {}
            () = tokio::time::sleep(PATIENCE), if stuck.is_some() => {}
        }
    }
    let order = |answer: &Answer| meant.iter().position(|one| one.host == answer.host);
    answers.sort_by_key(order);
    answers
}

async fn heard(reports: Option<&mut watch::Receiver<Arc<Reports>>>) {
    if let Some(reports) = reports
        && reports.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

async fn ask(one: &Loop, command: Command, replies: &Replies) -> Answer {
    let (own, mut receiver) = Replies::channel();
    let gone = || Outcome::not(OutcomeCode::Interrupted, "the loop of this host has ended");
    if one.inputs.send(Input::Request(Box::new(Request { command, replies: own }))).await.is_err() {
        return Answer { host: one.host.clone(), outcome: gone() };
    }
    while let Some(reply) = receiver.recv().await {
        match reply {
            Reply::Progress(progress) => replies.progress(at_host(&one.host, progress)),
            Reply::Result(outcome) => return Answer { host: one.host.clone(), outcome },
        }
    }
    Answer { host: one.host.clone(), outcome: gone() }
}

/// With the host in front of what it is about.
fn at_host(host: &HostName, progress: Progress) -> Progress {
    let subject = match progress.subject.as_str() {
        "" => host.to_string(),
        subject => format!("{host}/{subject}"),
    };
    Progress { subject, ..progress }
}

//! Putting the loop together with the real world, or finding the agent that has done so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control::command::{Command, Outcome, Progress, Replies, Reply, Request};
use crate::control::events;
use crate::control::input::Input;
use crate::control::ports::{Ports, SiteSource};
use crate::control::published::Published;
use crate::control::reconciler::{Mode, Reconciler};
use crate::edge::agent_client::AgentClient;
use crate::edge::clock::SystemClock;
use crate::edge::coordinator::LocalCoordinator;
use crate::edge::docker::DockerEngine;
use crate::edge::docker::DockerObserver;
use crate::edge::docker::{Certificates, ConnectOptions};
use crate::edge::files::DiskFiles;
use crate::edge::lock::{LockError, StateLock};
use crate::edge::measured::Measured;
use crate::edge::prober::NetworkProber;
use crate::edge::site_files::DiskSiteFiles;
use crate::edge::site_source::{DiskSource, NoSource};
use crate::edge::store::DiskStore;
use crate::model::names::{HostName, SiteName};
use crate::parse::site::Connection;
use crate::port::engine::Engine;
use crate::port::files::{Files, ObserveFiles};
use crate::port::read_only::{ReadOnlyEngine, ReadOnlyFiles, ReadOnlyStore};
use crate::port::store::Store;
use crate::report::metrics::Metrics;
use crate::report::status::SiteStatus;
use crate::resolve::compile::{CompileRequest, compile};

use super::error::{CommandError, Exit};

/// What all commands know of where they are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where state is kept.
    pub state: PathBuf,
    /// The site, if one was named.
    pub request: Option<CompileRequest>,
}

/// How the loop meets the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only looks: no lock, and nothing that could change anything.
    Look,
    /// It acts, under the lock of the state directory.
    Act,
}

/// The loop's surroundings, ready to run.
pub struct World {
    /// The ports.
    pub ports: Ports,
    /// What the loop shows.
    pub published: Arc<Published>,
    /// The right to change the state directory.
    lock: Option<StateLock>,
    /// Whether a site was named.
    has_site: bool,
    /// Whether it could be read, if one was named.
    is_valid: bool,
}

impl World {
    /// Connects everything. `purpose` is what others read who find the lock taken.
    pub async fn open(place: &Place, access: Access, purpose: &str) -> Result<Self, CommandError> {
        let lock = match access {
            Access::Look => None,
            Access::Act => Some(lock(&place.state, purpose)?),
        };
        let disk_store = Arc::new(DiskStore::open(&place.state));
        let disk_files = Arc::new(DiskFiles::open(&place.state)?);
        if access == Access::Act
            && let Err(error) = disk_files.clean().await
        {
            // A full or read-only disk: what runs can be healed all the same.
            tracing::warn!(%error, "leftovers of a crash stay");
        }
        let key = match access {
            // Looking makes no key; without one the hashes differ, and hashes alone mean nothing.
            Access::Look if !place.state.join("site.key").exists() => Vec::new(),
            _ => disk_store.site_key().unwrap_or_default(),
        };
        let mut is_valid = true;
        let (source, connection, names): (Arc<dyn SiteSource>, _, _) = match &place.request {
            Some(request) => {
                let source = DiskSource::new(request.clone());
                let names = source.prepare(&key).ok();
                is_valid = names.is_some();
                let connection = source.connection();
                (Arc::new(source), connection, names)
            }
            None => (Arc::new(NoSource), None, None),
        };
        let accepted = || disk_store.load_accepted().ok().flatten().map(|accepted| (accepted.site, accepted.host));
        let (site, host) = match names.or_else(accepted) {
            Some(names) => names,
            None => (SiteName::unknown(), HostName::new("localhost")?),
        };
        let options = connect_options(connection)?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), env!("MASTIC_COMMIT"))?);
        let observe_files: Arc<dyn ObserveFiles> = disk_files.clone();
        let (engine, files, store): (Arc<dyn Engine>, Arc<dyn Files>, Arc<dyn Store>) = match access {
            Access::Look => {
                let observer = DockerObserver::with_files(&options, observe_files.clone())?;
                let store = ReadOnlyStore::over(disk_store).with_key(key);
                (Arc::new(ReadOnlyEngine(observer)), Arc::new(ReadOnlyFiles(observe_files)), Arc::new(store))
            }
            Access::Act => {
                let engine = DockerEngine::over(DockerObserver::with_files(&options, observe_files)?);
                (Arc::new(Measured::new(engine, host.clone(), metrics.clone())), disk_files, disk_store)
            }
        };
        let published = Published::new(site, metrics.clone());
        let ports = Ports {
            engine,
            files,
            store,
            clock: Arc::new(SystemClock),
            coordinator: Arc::new(LocalCoordinator::new(&place.state, host)),
            prober: Arc::new(NetworkProber),
            source,
            metrics,
            published: published.clone(),
            planner: Arc::new(crate::plan::instance::plan),
        };
        Ok(Self { ports, published, lock, has_site: place.request.is_some(), is_valid })
    }

    /// An error with all diagnostics where the site that was named cannot be used.
    pub fn valid_site(&self, place: &Place) -> Result<(), CommandError> {
        match &place.request {
            Some(request) if !self.is_valid => {
                compile(request, &DiskSiteFiles::new()).map_err(CommandError::invalid_site).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Starts the loop of an agent.
    pub fn start_agent(self) -> Result<Running, CommandError> {
        self.start(true, None)
    }

    /// Starts the loop. The lock is held until it ends. Whether the site is read; and what is to be done first of all.
    fn start(self, follow_site: bool, first: Option<Request>) -> Result<Running, CommandError> {
        let Self { ports, published, lock, has_site, .. } = self;
        let mode = Mode { follow_source: follow_site && has_site, act: lock.is_some(), on_request: first.is_some() };
        let (inputs, receiver) = mpsc::channel(1024);
        if let Some(first) = first {
            // The channel is new: there is room.
            let _ = inputs.try_send(Input::Request(Box::new(first)));
        }
        let reconciler = Reconciler::new(ports.clone(), mode)?;
        let paths = reconciler.paths();
        // Only who acts has to hear at once of what happens.
        let follower = mode.act.then(|| {
            let inputs = inputs.downgrade();
            let (engine, clock) = (ports.engine.clone(), ports.clock.clone());
            tokio::spawn(async move {
                if let Some(inputs) = inputs.upgrade() {
                    events::follow(engine, clock, inputs).await;
                }
            })
        });
        let task = tokio::spawn(async move {
            reconciler.run(receiver).await;
            if let Some(follower) = follower {
                follower.abort();
            }
            drop(lock);
        });
        Ok(Running { inputs, paths, published, task })
    }
}

/// The loop at work.
pub struct Running {
    /// Its inputs.
    pub inputs: mpsc::Sender<Input>,
    /// The files of the site, to be watched.
    pub paths: tokio::sync::watch::Receiver<std::collections::BTreeSet<PathBuf>>,
    /// What it shows.
    pub published: Arc<Published>,
    /// Its task.
    pub task: JoinHandle<()>,
}

impl Running {
    /// Ends the loop; steps under way are seen to their end, unless somebody asks once more.
    pub async fn end(mut self) -> Result<(), CommandError> {
        let _ = self.inputs.send(Input::Shutdown).await;
        tokio::select! {
            _ = &mut self.task => Ok(()),
            () = interrupted() => Err(CommandError::interrupted("ended in the middle of a step; the next run goes on from there")),
        }
    }
}

/// The engine alone, for what neither reads nor changes the state: logs, commands in containers.
pub fn engine(place: &Place) -> Result<DockerEngine, CommandError> {
    let connection = place.request.as_ref().and_then(|request| {
        let source = DiskSource::new(request.clone());
        source.compile(&[]).ok()?;
        source.connection()
    });
    let files: Arc<dyn ObserveFiles> = Arc::new(DiskFiles::open(&place.state)?);
    Ok(DockerEngine::over(DockerObserver::with_files(&connect_options(connection)?, files)?))
}

/// Whom a command is given to.
pub enum Door {
    /// The agent of the state directory.
    Agent(AgentClient),
    /// A loop of our own.
    Own(Box<World>),
}

/// Where the status can be seen while a command goes on.
#[derive(Clone)]
pub enum View {
    /// At the agent.
    Agent(AgentClient),
    /// At the loop of our own.
    Own(Arc<Published>),
}

impl View {
    /// As it is now; none where it cannot be seen.
    pub async fn status(&self) -> Option<SiteStatus> {
        match self {
            Self::Agent(agent) => agent.status().await.ok(),
            Self::Own(published) => Some(published.status().as_ref().clone()),
        }
    }
}

impl Door {
    /// The agent if one runs; else a loop of our own.
    pub async fn open(place: &Place, access: Access, purpose: &str) -> Result<Self, CommandError> {
        if let Some(agent) = AgentClient::find(&place.state).await? {
            return Ok(Self::Agent(agent));
        }
        Ok(Self::Own(Box::new(World::open(place, access, purpose).await?)))
    }

    /// Where the status can be seen.
    pub fn view(&self) -> View {
        match self {
            Self::Agent(agent) => View::Agent(agent.clone()),
            Self::Own(world) => View::Own(world.published.clone()),
        }
    }

    /// Asks for one thing, and waits for the answer. A loop of our own ends with it.
    pub async fn run(
        self,
        command: Command,
        follow_site: bool,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::Agent(agent) => tokio::select! {
                outcome = agent.ask(&command, on_progress) => Ok(outcome?),
                () = interrupted() => Err(CommandError::interrupted("interrupted; the agent goes on")),
            },
            Self::Own(world) => {
                let (replies, mut receiver) = Replies::channel();
                let running = world.start(follow_site, Some(Request { command, replies }))?;
                let answer = async {
                    while let Some(reply) = receiver.recv().await {
                        match reply {
                            Reply::Progress(progress) => on_progress(progress),
                            Reply::Result(outcome) => return Ok(outcome),
                        }
                    }
                    Err(CommandError::failed("the loop ended before it answered"))
                };
                let outcome = tokio::select! {
                    outcome = answer => outcome,
                    () = interrupted() => Err(CommandError::interrupted("interrupted; the next run goes on from here")),
                };
                running.end().await?;
                outcome
            }
        }
    }
}

/// Ends when somebody presses Ctrl-C, or asks the program to end.
pub async fn interrupted() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}

fn lock(state: &Path, purpose: &str) -> Result<StateLock, CommandError> {
    StateLock::take(state, purpose).map_err(|error| match error {
        LockError::Busy { .. } => CommandError::new(Exit::Locked, error.to_string())
            .hinted("wait for it to end, or give another directory with --state-dir"),
        LockError::Failed { .. } => CommandError::new(Exit::Failed, error.to_string()),
    })
}

fn connect_options(connection: Option<(Connection, PathBuf)>) -> Result<ConnectOptions, CommandError> {
    match connection {
        Some((Connection::Docker { host, tls }, directory)) => {
            let certificates = tls.map(|tls| Certificates {
                authority: Some(directory.join(tls.ca)),
                certificate: Some(directory.join(tls.cert)),
                key: Some(directory.join(tls.key)),
            });
            Ok(ConnectOptions::parse(&host, certificates)?)
        }
        Some((Connection::Ssh(_), _)) => {
            Err(CommandError::new(Exit::InvalidSite, "connections over SSH are not available yet")
                .hinted("run `mastic` on the host itself, with `connection: {local: {}}`"))
        }
        Some((Connection::Local, _)) | None => Ok(ConnectOptions::from_environment(|name| std::env::var(name).ok())?),
    }
}

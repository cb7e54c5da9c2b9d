//! Putting the loop together with the real world, or finding the agent that has done so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

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
use crate::edge::site_source::{DiskSource, NoSource};
use crate::edge::store::DiskStore;
use crate::model::names::{HostName, SiteName};
use crate::parse::site::Connection;
use crate::port::engine::Engine;
use crate::port::files::{Files, ObserveFiles};
use crate::port::read_only::{ReadOnlyEngine, ReadOnlyFiles, ReadOnlyStore};
use crate::port::store::Store;
use crate::report::metrics::Metrics;
use crate::resolve::compile::CompileRequest;

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
        let (source, connection, names): (Arc<dyn SiteSource>, _, _) = match &place.request {
            Some(request) => {
                let source = DiskSource::new(request.clone());
                let compiled = source.compile(&key).ok();
                let names = compiled.map(|(compiled, _)| (compiled.desired.site, compiled.desired.host));
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
                let store = ReadOnlyStore::over(disk_store);
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
        Ok(Self { ports, published, lock })
    }

    /// Starts the loop. The lock is held until it ends.
    pub fn start(self, mode: Mode) -> Result<Running, CommandError> {
        let Self { ports, published, lock } = self;
        let (inputs, receiver) = mpsc::channel(1024);
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
        Ok(Running { inputs, paths, published, ports, task })
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
    /// Its ports.
    pub ports: Ports,
    /// Its task.
    pub task: JoinHandle<()>,
}

impl Running {
    /// Asks the loop.
    pub async fn ask(&self, command: Command, mut on_progress: impl FnMut(Progress)) -> Result<Outcome, CommandError> {
        let (replies, mut receiver) = Replies::channel();
        let request = Request { command, replies };
        let gone = || CommandError::new(Exit::Failed, "the loop ended before it answered");
        self.inputs.send(Input::Request(Box::new(request))).await.map_err(|_| gone())?;
        while let Some(reply) = receiver.recv().await {
            match reply {
                Reply::Progress(progress) => on_progress(progress),
                Reply::Result(outcome) => return Ok(outcome),
            }
        }
        Err(gone())
    }

    /// Ends the loop; steps under way are seen to their end.
    pub async fn end(self) {
        let _ = self.inputs.send(Input::Shutdown).await;
        let _ = self.task.await;
    }
}

/// Whom a command is given to.
pub enum Door {
    /// The agent of the state directory.
    Agent(AgentClient),
    /// A loop of our own.
    Own(Box<Running>),
}

impl Door {
    /// The agent if one runs; else a loop of our own.
    pub async fn open(place: &Place, access: Access, purpose: &str) -> Result<Self, CommandError> {
        if let Some(agent) = AgentClient::find(&place.state).await? {
            return Ok(Self::Agent(agent));
        }
        let world = World::open(place, access, purpose).await?;
        let mode = Mode { follow_source: place.request.is_some(), act: access == Access::Act, on_request: true };
        Ok(Self::Own(Box::new(world.start(mode)?)))
    }

    /// Asks.
    pub async fn ask(&self, command: Command, on_progress: impl FnMut(Progress)) -> Result<Outcome, CommandError> {
        match self {
            Self::Agent(agent) => Ok(agent.ask(&command, on_progress).await?),
            Self::Own(running) => running.ask(command, on_progress).await,
        }
    }

    /// Ends a loop of our own.
    pub async fn close(self) {
        if let Self::Own(running) = self {
            running.end().await;
        }
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

//! Putting the loop together with the real world.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control::command::Request;
use crate::control::events;
use crate::control::fleet::{Fleet, Member};
use crate::control::input::Input;
use crate::control::ports::{Ports, SiteSource};
use crate::control::published::Published;
use crate::control::reconciler::{Mode, Reconciler};
use crate::edge::clock::SystemClock;
use crate::edge::coordinator::LocalCoordinator;
use crate::edge::docker::{ConnectOptions, DockerObserver};
use crate::edge::facts::EngineFacts;
use crate::edge::files::DiskFiles;
use crate::edge::fleet_source::FleetSource;
use crate::edge::host_files::{self, Early};
use crate::edge::lock::{LockError, StateLock};
use crate::edge::measured::Measured;
use crate::edge::prober::prober_of;
use crate::edge::site_files::DiskSiteFiles;
use crate::edge::site_source::{DiskSource, NoSource, Prepared};
use crate::edge::store::DiskStore;
use crate::edge::vault::AeadVault;
use crate::model::names::{HostName, SiteName};
use crate::port::clock::Clock;
use crate::port::coordinator::Coordinator;
use crate::port::engine::{Commands, Engine};
use crate::port::files::Files;
use crate::port::prober::Prober;
use crate::port::read_only::{ReadOnlyEngine, ReadOnlyFiles, ReadOnlyStore};
use crate::port::store::Store;
use crate::report::metrics::Metrics;
use crate::resolve::compile::{CompileRequest, compile, compile_all};

use super::connection::{connect_options, or_nowhere};
use super::error::{CommandError, Exit};
use super::etcd::EtcdArguments;
use super::facts;
use super::interrupted::interrupted;
use super::scope::Reach;

/// What all commands know of where they are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where state is kept.
    pub state: PathBuf,
    /// The site, if one was named.
    pub request: Option<CompileRequest>,
    /// Hosts and groups that were named.
    pub selected: Vec<String>,
    /// Where its agents meet, if that is elsewhere.
    pub etcd: Option<EtcdArguments>,
}

impl Place {
    /// The hosts that a command is about, where this machine is not all of them.
    pub fn reach(&self) -> Result<Option<Reach>, CommandError> {
        self.request.as_ref().map_or(Ok(None), |request| Reach::of(request, &self.selected))
    }

    /// The same place for one of several hosts.
    #[must_use]
    pub fn at(&self, host: &HostName) -> Self {
        let request = self.request.clone().map(|request| CompileRequest { host: Some(host.to_string()), ..request });
        Self {
            state: DiskStore::home(&self.state, host),
            request,
            selected: vec![host.to_string()],
            etcd: self.etcd.clone(),
        }
    }

    /// One place for each host that is meant: several, or this one.
    pub fn homes(&self) -> Result<Vec<Self>, CommandError> {
        Ok(match self.reach()? {
            Some(reach) => reach.hosts.iter().filter(|one| one.meant).map(|one| self.at(&one.host)).collect(),
            None => vec![self.clone()],
        })
    }
}

/// How the loop meets the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only looks: no lock, and nothing that could change anything.
    Look,
    /// It looks, where others act: all that it may do is to have a load balancer lead their clients away.
    Attend,
    /// It acts, under the lock of the state directory.
    Act,
}

/// The loop's surroundings, ready to run.
pub struct World {
    loops: Loops,
    /// What the loop shows.
    pub published: Arc<Published>,
    /// The right to change the state directory.
    lock: Option<StateLock>,
    /// Whether a site was named.
    has_site: bool,
    /// Whether it could be read, if one was named.
    is_valid: bool,
}

/// What is looked after.
enum Loops {
    /// One host.
    One(Box<Ports>),
    /// Several.
    Many(Vec<Member>),
}

/// What a loop of a host needs besides what is its own.
struct Surroundings<'a> {
    site: &'a SiteName,
    state: &'a Path,
    access: Access,
    key: Vec<u8>,
    metrics: Arc<Metrics>,
    published: Arc<Published>,
    early: Option<Early>,
}

impl World {
    /// Connects to this machine's engine, or to all hosts that can be reached from here. `purpose` is what others read who find the lock taken.
    pub async fn open(place: &Place, access: Access, purpose: &str) -> Result<Self, CommandError> {
        let lock = match access {
            Access::Look | Access::Attend => None,
            Access::Act => Some(lock(&place.state, purpose)?),
        };
        let key = site_key(&place.state, access);
        let source = place.request.clone().map(|request| DiskSource::new(request, &place.state, access == Access::Act));
        let early = ask_early(&place.state);
        let prepared = source.as_ref().map(|source| source.prepare(&key));
        // Only where there may be other hosts is it worth another look at the site.
        let alone = matches!(&prepared, None | Some(Ok(Prepared { hosts: 1, .. })));
        match if alone { None } else { place.reach()? } {
            Some(reach) => Self::of_many(place, access, lock, key, reach).await,
            None => {
                let prepared = prepared.and_then(Result::ok);
                Self::of_one(place, access, lock, key, source, prepared, early).await
            }
        }
    }

    /// Connects to this machine's engine alone: what an agent does.
    pub async fn open_here(place: &Place, purpose: &str) -> Result<Self, CommandError> {
        let lock = Some(lock(&place.state, purpose)?);
        let key = site_key(&place.state, Access::Act);
        let source = place.request.clone().map(|request| DiskSource::new(request, &place.state, true));
        let prepared = source.as_ref().and_then(|source| source.prepare(&key).ok());
        Self::of_one(place, Access::Act, lock, key, source, prepared, None).await
    }

    /// The agent of a host that meets the others elsewhere, and takes its site from there.
    pub async fn of_agent(
        place: &Place,
        lock: StateLock,
        site: SiteName,
        host: HostName,
        coordinator: Arc<dyn Coordinator>,
        source: Arc<dyn SiteSource>,
    ) -> Result<Self, CommandError> {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), env!("MASTIC_COMMIT"))?);
        let published = Published::new(site.clone(), metrics.clone());
        let (key, access) = (site_key(&place.state, Access::Act), Access::Act);
        let around = Surroundings {
            site: &site,
            state: &place.state,
            access,
            key,
            metrics,
            published: published.clone(),
            early: None,
        };
        let store = DiskStore::open(&place.state);
        // However others would reach this host: the agent is there.
        let ports = around.ports(store, host, &connect_options(None)?, coordinator, source)?;
        clean(&place.state).await?;
        Ok(Self { loops: Loops::One(Box::new(ports)), published, lock: Some(lock), has_site: true, is_valid: true })
    }

    async fn of_one(
        place: &Place,
        access: Access,
        lock: Option<StateLock>,
        key: Vec<u8>,
        source: Option<DiskSource>,
        prepared: Option<Prepared>,
        early: Option<Early>,
    ) -> Result<Self, CommandError> {
        let is_valid = place.request.is_none() || prepared.is_some();
        let asks_facts = prepared.as_ref().and_then(|prepared| prepared.asks_facts.clone());
        let names = prepared.map(|prepared| (prepared.site, prepared.host));
        let connection = source.as_ref().and_then(DiskSource::connection);
        let source: Arc<dyn SiteSource> = match source {
            Some(source) => Arc::new(source),
            None => Arc::new(NoSource),
        };
        let store = DiskStore::open(&place.state);
        let accepted = || store.load_accepted().ok().flatten().map(|accepted| (accepted.site, accepted.host));
        let (site, host) = match names.or_else(accepted) {
            Some(names) => names,
            None => (SiteName::unknown(), HostName::new("localhost")?),
        };
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), env!("MASTIC_COMMIT"))?);
        let published = Published::new(site.clone(), metrics.clone());
        let around = Surroundings {
            site: &site,
            state: &place.state,
            access,
            key,
            metrics,
            published: published.clone(),
            early,
        };
        let coordinator = Arc::new(LocalCoordinator::new(&place.state, host.clone()));
        let ports = around.ports(store, host.clone(), &connect_options(connection)?, coordinator, source)?;
        if let Some(moving) = asks_facts {
            facts::ask(std::iter::once((&host, &ports)), &moving, access == Access::Act).await;
        }
        if access == Access::Act {
            clean(&place.state).await?;
        }
        let loops = Loops::One(Box::new(ports));
        Ok(Self { loops, published, lock, has_site: place.request.is_some(), is_valid })
    }

    async fn of_many(
        place: &Place,
        access: Access,
        lock: Option<StateLock>,
        key: Vec<u8>,
        reach: Reach,
    ) -> Result<Self, CommandError> {
        let Some(request) = place.request.clone() else { return Err(super::validate::no_site()) };
        let acts = access == Access::Act;
        let source = FleetSource::new(request, &place.state, acts);
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), env!("MASTIC_COMMIT"))?);
        let published = Published::new(reach.site.clone(), metrics.clone());
        let names: Vec<HostName> = reach.hosts.iter().map(|one| one.host.clone()).collect();
        let mut members = Vec::new();
        for (one, coordinator) in reach.hosts.iter().cloned().zip(LocalCoordinator::of_all(&place.state, &names)) {
            let home = DiskStore::home(&place.state, &one.host);
            let around = Surroundings {
                site: &reach.site,
                state: &home,
                access: match access {
                    Access::Act if !one.meant => Access::Attend,
                    access => access,
                },
                key: key.clone(),
                metrics: metrics.clone(),
                published: Published::new(reach.site.clone(), metrics.clone()),
                early: None,
            };
            let store = DiskStore::of_host(&place.state, &one.host);
            let options = or_nowhere(connect_options(Some((one.connection, reach.directory.clone()))));
            let site = source.at(one.host.clone());
            let ports = around.ports(store, one.host.clone(), &options, Arc::new(coordinator), site)?;
            members.push(Member { host: one.host, meant: one.meant, ports });
        }
        if let Some(moving) = source.asks_facts(&key) {
            facts::ask(members.iter().map(|member| (&member.host, &member.ports)), &moving, acts).await;
        }
        let is_valid = source.is_valid(&key);
        Ok(Self { loops: Loops::Many(members), published, lock, has_site: true, is_valid })
    }

    /// An error with all diagnostics where the site that was named cannot be used.
    pub fn valid_site(&self, place: &Place) -> Result<(), CommandError> {
        let Some(request) = place.request.as_ref().filter(|_| !self.is_valid) else { return Ok(()) };
        let files = DiskSiteFiles::new();
        let result = match self.loops {
            Loops::One(_) => compile(request, &files).map(|_| ()),
            Loops::Many(_) => compile_all(request, &files).map(|_| ()),
        };
        result.map_err(CommandError::invalid_site)
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: &Arc<impl Clock + 'static>) -> Self {
        match &mut self.loops {
            Loops::One(ports) => ports.clock = clock.clone(),
            Loops::Many(members) => members.iter_mut().for_each(|member| member.ports.clock = clock.clone()),
        }
        self
    }

    /// Where its host meets the others; none where several are looked after.
    pub fn coordinator(&self) -> Option<Arc<dyn Coordinator>> {
        match &self.loops {
            Loops::One(ports) => Some(ports.coordinator.clone()),
            Loops::Many(_) => None,
        }
    }

    /// Starts the loop of an agent or a controller.
    pub fn start_agent(self) -> Result<Running, CommandError> {
        self.start(true, None)
    }

    /// Starts the loop. The lock is held until it ends. Whether the site is read; and what is to be done first of all.
    pub(super) fn start(self, follow_site: bool, first: Option<Request>) -> Result<Running, CommandError> {
        let Self { loops, published, lock, has_site, .. } = self;
        let on_request = first.is_some();
        let mode = Mode { follow_source: follow_site && has_site, act: lock.is_some(), on_request, once: on_request };
        let (inputs, receiver) = mpsc::channel(1024);
        if let Some(first) = first {
            // The channel is new: there is room.
            let _ = inputs.try_send(Input::Request(Box::new(first)));
        }
        let (paths, task) = match loops {
            Loops::One(ports) => {
                let reconciler = Reconciler::new(*ports.clone(), mode)?;
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
                (paths, task)
            }
            Loops::Many(members) => {
                let fleet = Fleet::start(members, mode, published.clone())?;
                let paths = fleet.paths();
                let task = tokio::spawn(async move {
                    fleet.run(receiver).await;
                    drop(lock);
                });
                (paths, task)
            }
        };
        Ok(Running { inputs, paths, published, task })
    }
}

/// Takes away what a crash has left of files.
async fn clean(state: &Path) -> Result<(), CommandError> {
    // A full or read-only disk: what runs can be healed all the same.
    if let Err(error) = DiskFiles::open(state)?.clean().await {
        tracing::warn!(%error, "leftovers of a crash stay");
    }
    Ok(())
}

/// Where a host's state lies, its engine is most likely the one of this machine: it is asked while the site is read. If it
/// is another one after all, nobody hears the answers.
fn ask_early(state: &Path) -> Option<Early> {
    Early::begin(connect_options(None).ok()?, state, DiskStore::open(state).accepted_names()?)
}

/// The key of the site; empty where there is none and none is to be made.
fn site_key(state: &Path, access: Access) -> Vec<u8> {
    match access {
        // Looking makes no key; without one the hashes differ, and hashes alone mean nothing.
        Access::Look | Access::Attend if !state.join("site.key").exists() => Vec::new(),
        _ => DiskStore::open(state).site_key().unwrap_or_default(),
    }
}

/// Engine, files, store and network of a host, and its engine once more to be asked about the machine.
type Doors = (Arc<dyn Engine>, Arc<dyn Files>, Arc<dyn Store>, Arc<dyn Prober>, DockerObserver);

impl Surroundings<'_> {
    /// The ports of one host's loop.
    fn ports(
        self,
        store: DiskStore,
        host: HostName,
        options: &ConnectOptions,
        coordinator: Arc<dyn Coordinator>,
        source: Arc<dyn SiteSource>,
    ) -> Result<Ports, CommandError> {
        let Self { site, state, access, key, metrics, published, early } = self;
        let store = Arc::new(store);
        let mut commands: Option<Arc<dyn Commands>> = None;
        if access == Access::Attend {
            let (engine, _) = host_files::change(options, state, site, &host, None)?;
            commands = Some(Arc::new(engine));
        }
        let (engine, files, store, prober, observer): Doors = match access {
            Access::Look | Access::Attend => {
                let (observer, files) = host_files::observe(options, state, site, &host, early)?;
                let store = ReadOnlyStore::over(store).with_key(key);
                let (prober, asked) = (prober_of(&observer), observer.clone());
                (Arc::new(ReadOnlyEngine(observer)), Arc::new(ReadOnlyFiles(files)), Arc::new(store), prober, asked)
            }
            Access::Act => {
                let (engine, files) = host_files::change(options, state, site, &host, early)?;
                let (prober, asked) = (prober_of(engine.observer()), engine.observer().clone());
                let engine = Arc::new(Measured::new(engine, host, metrics.clone()));
                commands = Some(engine.clone());
                (engine, files, store, prober, asked)
            }
        };
        Ok(Ports {
            engine,
            commands,
            files,
            store,
            clock: Arc::new(SystemClock),
            coordinator,
            vault: Arc::new(AeadVault),
            prober,
            facts: Arc::new(EngineFacts::over(observer)),
            source,
            metrics,
            published,
            planner: Arc::new(crate::plan::instance::plan),
        })
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

/// Whether nobody works on a state directory.
pub fn is_unlocked(state: &Path) -> bool {
    !matches!(StateLock::take(state, "controller"), Err(LockError::Busy { .. }))
}

/// The right to change a state directory.
pub(super) fn lock(state: &Path, purpose: &str) -> Result<StateLock, CommandError> {
    StateLock::take(state, purpose).map_err(|error| match error {
        LockError::Busy { .. } => CommandError::new(Exit::Locked, error.to_string())
            .hinted("wait for it to end, or give another directory with --state-dir"),
        LockError::Failed { .. } => CommandError::new(Exit::Failed, error.to_string()),
    })
}

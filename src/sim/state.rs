//! All that one simulated host is, behind one lock.

use std::collections::{BTreeMap, VecDeque};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::UnboundedSender;

use super::clock::BEGINNING;
use super::faults::{CrashPoints, Faults};
use super::files::FilesState;
use super::invariants::Watch;
use super::program::{Program, SimImage};
use super::store::StoreState;
use crate::model::facts::HostFacts;
use crate::model::labels::Labels;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, Port, RestartPolicy};
use crate::observe::observed::{EngineEvent, EngineVersion, Health, ObservedNetwork, Status};
use crate::port::engine::{Answer, EngineError};

/// One host.
#[derive(Debug)]
pub(super) struct HostState {
    /// Its name.
    pub(super) name: String,
    /// Decides latencies and faults.
    pub(super) random: StdRng,
    /// Up to which everything that was due has happened: milliseconds since the world began.
    pub(super) now: u64,
    /// Numbers whatever is made.
    pub(super) sequence: u64,
    /// The engine itself.
    pub(super) version: EngineVersion,
    /// What the machine is.
    pub(super) machine: HostFacts,
    /// Until when the engine is away.
    pub(super) down_until: Option<u64>,
    /// By id.
    pub(super) containers: BTreeMap<String, SimContainer>,
    /// By id.
    pub(super) images: BTreeMap<String, SimImage>,
    /// Id by familiar reference.
    pub(super) references: BTreeMap<String, String>,
    /// By name.
    pub(super) networks: BTreeMap<String, ObservedNetwork>,
    /// By name.
    pub(super) volumes: BTreeMap<String, SimVolume>,
    /// Who listens to events.
    pub(super) subscribers: Vec<Subscriber>,
    /// Managed files.
    pub(super) files: FilesState,
    /// Memory, accepted states, events.
    pub(super) store: StoreState,
    /// The disk that both lie on.
    pub(super) disk: Disk,
    /// Shortest and longest time that a call takes, in milliseconds.
    pub(super) latency: (u64, u64),
    /// What goes wrong.
    pub(super) faults: Faults,
    /// Where the agent dies.
    pub(super) crash: CrashPoints,
    /// What was called, and what must never be.
    pub(super) watch: Watch,
}

/// The disk under the state directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// No space left.
    pub full: bool,
    /// Mounted read-only.
    pub read_only: bool,
    /// No space left where the engine keeps its data, which is elsewhere.
    pub engine_full: bool,
}

impl Disk {
    /// Why nothing can be written; none if it can.
    pub(super) fn refusal(self) -> Option<&'static str> {
        if self.read_only {
            Some("Read-only file system (os error 30)")
        } else if self.full {
            Some("No space left on device (os error 28)")
        } else {
            None
        }
    }
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SimVolume {
    /// Whether the engine made it for a container without being asked by name.
    pub(super) anonymous: bool,
}

/// Somebody who listens to events.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) sender: UnboundedSender<Answer<EngineEvent>>,
    /// An event that is to come after the next one.
    pub(super) late: Option<EngineEvent>,
}

/// One container.
#[derive(Clone, Debug)]
pub(super) struct SimContainer {
    pub(super) id: String,
    /// Order of making.
    pub(super) sequence: u64,
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) image_id: String,
    pub(super) image: String,
    /// As the engine reports them.
    pub(super) settings: ContainerSettings,
    pub(super) networks: BTreeMap<String, Attachment>,
    pub(super) addresses: BTreeMap<String, String>,
    pub(super) anonymous_volumes: BTreeMap<String, String>,
    pub(super) program: Program,
    pub(super) process: Option<Process>,
    pub(super) status: Status,
    pub(super) exit_code: i64,
    pub(super) oom_killed: bool,
    pub(super) error: String,
    pub(super) restart_count: i64,
    pub(super) started_at: Option<u64>,
    pub(super) finished_at: Option<u64>,
    /// Somebody stopped or signalled it: the engine does not start it again by itself.
    pub(super) stopped_by_hand: bool,
    /// Next wait before a restart by the engine.
    pub(super) restart_wait: u64,
    /// When the engine starts it again.
    pub(super) restart_at: Option<u64>,
    pub(super) log: VecDeque<String>,
    /// It has been ready since it was made.
    pub(super) proven: bool,
    /// Since when it has been ready without a break.
    pub(super) ready_since: Option<u64>,
    /// It has been ready for so long that any gate counts it as good.
    pub(super) good: bool,
    /// Files that were put into it, by path.
    pub(super) own_files: BTreeMap<String, Vec<u8>>,
    /// Its running process was started by somebody else than the agent or the engine.
    pub(super) started_by_stranger: bool,
}

/// The running process of a container.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Since when.
    pub(super) since: u64,
    /// When it ends, and with which code.
    pub(super) ends: Option<(u64, i64)>,
    /// The health that its check has found, and when it finds another.
    pub(super) health: Health,
    pub(super) health_turns: Option<(u64, Health)>,
    /// When it answers over the network.
    pub(super) ready_at: u64,
    /// Since when it is frozen.
    pub(super) frozen_at: Option<u64>,
    /// Digests of the files that it has read, by their paths in the container.
    pub(super) has_read: BTreeMap<String, String>,
    /// Whether the end was asked for by a stop: then the engine tells of it.
    pub(super) stopping: bool,
    /// As a load balancer: the servers that get no new clients, and since when.
    pub(super) drained: BTreeMap<String, u64>,
}

impl HostState {
    /// `seed` is its own, `site` that of the world: one key is that of all hosts of a site.
    pub(super) fn new(name: &str, seed: u64, site: u64) -> Self {
        let mut state = Self {
            name: name.to_owned(),
            random: StdRng::seed_from_u64(seed),
            now: 0,
            sequence: 0,
            version: EngineVersion {
                engine: "docker".to_owned(),
                version: "20.10.24".to_owned(),
                api: (1, 41),
                id: format!("SIM-{name}"),
            },
            machine: HostFacts::default(),
            down_until: None,
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            references: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            subscribers: Vec::new(),
            files: FilesState::default(),
            store: StoreState::new(site),
            disk: Disk::default(),
            latency: (1, 5),
            faults: Faults::default(),
            crash: CrashPoints::default(),
            watch: Watch::default(),
        };
        for network in ["bridge", "host", "none"] {
            let id = state.new_id("network");
            state.networks.insert(
                network.to_owned(),
                ObservedNetwork { id, name: network.to_owned(), ..ObservedNetwork::default() },
            );
        }
        state
    }

    /// An id as an engine makes them: 64 hex digits.
    pub(super) fn new_id(&mut self, kind: &str) -> String {
        self.sequence += 1;
        hex::encode(Sha256::digest(format!("{} {kind} {}", self.name, self.sequence)))
    }

    /// The id of a container by id, name or beginning of an id.
    pub(super) fn find(&self, wanted: &str) -> Answer<String> {
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        if self.containers.contains_key(wanted) {
            return Ok(wanted.to_owned());
        }
        if let Some(container) = self.containers.values().find(|container| container.name == name) {
            return Ok(container.id.clone());
        }
        let mut with_prefix = self.containers.keys().filter(|id| wanted.len() >= 4 && id.starts_with(wanted));
        match (with_prefix.next(), with_prefix.next()) {
            (Some(id), None) => Ok(id.clone()),
            _ => Err(EngineError::NotFound(format!("No such container: {wanted}"))),
        }
    }

    /// A container by id, name or beginning of an id.
    pub(super) fn container(&mut self, wanted: &str) -> Answer<&mut SimContainer> {
        let id = self.find(wanted)?;
        self.containers.get_mut(&id).ok_or_else(|| EngineError::NotFound(format!("No such container: {wanted}")))
    }

    /// The image that a reference or an id means.
    pub(super) fn image_id(&self, wanted: &str) -> Option<String> {
        if self.images.contains_key(wanted) {
            return Some(wanted.to_owned());
        }
        let familiar = crate::model::image::ImageRef::new(wanted).ok()?.familiar();
        self.references.get(&familiar).cloned()
    }

    /// A point in time as an engine writes it.
    pub(super) fn written(at: Option<u64>) -> String {
        let Some(at) = at else { return "0001-01-01T00:00:00Z".to_owned() };
        let at = BEGINNING + i64::try_from(at).unwrap_or(i64::MAX / 2);
        jiff::Timestamp::from_millisecond(at).map(|time| format!("{time:.9}")).unwrap_or_default()
    }
}

impl SimContainer {
    pub(super) fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// Health as it is reported.
    pub(super) fn health(&self) -> Health {
        self.process.as_ref().map_or(Health::None, |process| process.health)
    }

    /// Whether it would answer over the network.
    pub(super) fn answers(&self, now: u64) -> bool {
        self.process.as_ref().is_some_and(|process| process.frozen_at.is_none() && now >= process.ready_at)
    }

    /// Whether it runs, is healthy and answers.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        self.answers(now) && matches!(self.health(), Health::None | Health::Healthy)
    }

    pub(super) fn restart_policy(&self) -> &RestartPolicy {
        self.settings.restart.as_ref().unwrap_or(&RestartPolicy::No)
    }

    /// Published ports as (address, port, protocol).
    pub(super) fn host_ports(&self) -> Vec<(String, u16, String)> {
        let ports = self.settings.ports.iter().flatten();
        ports
            .filter_map(|Port { protocol, published, host_ip, .. }| {
                let address = if host_ip.is_empty() { "0.0.0.0" } else { host_ip };
                published.map(|port| (address.to_owned(), port, protocol.clone()))
            })
            .collect()
    }

    pub(super) fn say(&mut self, line: impl Into<String>) {
        if self.log.len() >= 1000 {
            self.log.pop_front();
        }
        self.log.push_back(line.into());
    }
}

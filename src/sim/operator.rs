//! What people and other programs do on a host without asking the agent, and what befalls it.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::files::Tampering;
use super::invariants::Actor;
use super::program::SimImage;
use super::state::SimVolume;
use super::world::{Published, SimHost};
use crate::model::image::ImageRef;
use crate::model::labels::Labels;
use crate::model::names::RESERVED_ENDINGS;
use crate::model::network::{Attachment, NetworkSpec};
use crate::model::settings::ContainerSettings;
use crate::model::time::Span;
use crate::observe::observed::{ContainerSummary, ObservedContainer};
use crate::port::engine::{Answer, CreateContainer, EngineError};

/// One deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The first process of a container dies.
    KillProcess(String),
    /// `docker stop`.
    Stop(String),
    /// `docker start`.
    Start(String),
    /// `docker rm -f`.
    Remove(String),
    /// `docker pause`.
    Freeze(String),
    /// `docker update`.
    Update(String, Box<ContainerSettings>),
    /// `docker network disconnect`.
    Disconnect(String, String),
    /// A managed file is changed: key, path.
    Tamper(String, String, Tampering),
    /// Removed and made again by hand with other settings, with or without our labels.
    Recreate(String, Box<ContainerSettings>, bool),
    /// The engine restarts; whether its containers go on, and how long it is away.
    RestartEngine(bool, Span),
    /// The clock shows another time than it should.
    Skew(i64),
}

impl std::fmt::Display for Deed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |settings: &ContainerSettings| serde_json::to_string(settings).unwrap_or_default();
        match self {
            Self::Update(name, settings) => write!(formatter, "update {name} {}", text(settings)),
            Self::Recreate(name, settings, labelled) => {
                write!(formatter, "recreate {name} {} labelled: {labelled}", text(settings))
            }
            other => write!(formatter, "{other:?}"),
        }
    }
}

impl SimHost {
    /// Does it, at once and without a fault.
    pub fn does(&self, deed: &Deed) -> Answer<()> {
        self.watch_over();
        let done = self.do_it(deed);
        self.state().note(&format!("BY HAND {deed}"));
        self.stir();
        done
    }

    fn do_it(&self, deed: &Deed) -> Answer<()> {
        if let Deed::Skew(milliseconds) = deed {
            self.clock().set_skew(*milliseconds);
            return Ok(());
        }
        let mut state = self.state();
        let now = state.now;
        match deed {
            Deed::KillProcess(name) => {
                let id = state.find(name)?;
                state.end_process(&id, now, 137);
                state.advance(now);
                Ok(())
            }
            Deed::Stop(name) => {
                let id = state.find(name)?;
                state.begin_stop(&id, Some(1));
                Ok(())
            }
            Deed::Start(name) => {
                let id = state.find(name)?;
                state.start_as(&id, Actor::Stranger)
            }
            Deed::Remove(name) => {
                let id = state.find(name)?;
                state.remove_container(&id, false);
                Ok(())
            }
            Deed::Freeze(name) => {
                let id = state.find(name)?;
                state.freeze(&id)
            }
            Deed::Update(name, change) => {
                let id = state.find(name)?;
                state.update_container(&id, change)
            }
            Deed::Disconnect(network, name) => {
                let id = state.find(name)?;
                state.disconnect(network, &id);
                Ok(())
            }
            Deed::Tamper(key, path, tampering) => {
                let there = state.files.tamper(key, path, tampering.clone());
                if there { Ok(()) } else { Err(EngineError::NotFound(format!("{key}/{path}"))) }
            }
            Deed::Recreate(name, settings, labelled) => {
                let old = state.inspect_container(name)?;
                let own = state.container(name)?.settings.clone();
                let request = again(&old, own, settings, *labelled)?;
                state.remove_container(&old.id, false);
                let id = state.create_container(&request, false)?;
                state.start_as(&id, Actor::Stranger)
            }
            Deed::RestartEngine(live_restore, away) => {
                state.engine_away(*live_restore, now + away.0);
                Ok(())
            }
            Deed::Skew(_) => Ok(()),
        }
    }

    /// Something that may go wrong on this host now: a container, file or the engine, chosen at random among those of the agent.
    pub fn random_deed(&self, random: &mut StdRng) -> Deed {
        let state = self.state();
        let ours: Vec<String> =
            state.containers.values().filter(|c| c.subject().is_some()).map(|c| c.name.clone()).collect();
        let paths = state.files.paths();
        let networks: BTreeMap<String, Vec<String>> =
            state.containers.values().map(|c| (c.name.clone(), c.networks.keys().cloned().collect())).collect();
        drop(state);
        let restart = Deed::RestartEngine(random.random(), Span(random.random_range(100..5000)));
        if ours.is_empty() {
            return restart;
        }
        let name = ours[random.random_range(0..ours.len())].clone();
        let settings = ContainerSettings { cpu_shares: Some(random.random_range(2..2048)), ..Default::default() };
        match random.random_range(0..12) {
            0 | 1 => Deed::KillProcess(name),
            2 => Deed::Stop(name),
            3 => Deed::Remove(name),
            4 => Deed::Freeze(name),
            5 => Deed::Update(name, Box::new(settings)),
            6 => match networks.get(&name).and_then(|names| names.first()) {
                Some(network) => Deed::Disconnect(network.clone(), name),
                None => Deed::KillProcess(name),
            },
            7 | 8 if !paths.is_empty() => {
                let (key, path) = paths[random.random_range(0..paths.len())].clone();
                let tampering = match random.random_range(0..4) {
                    0 => Tampering::Content(b"tampered".to_vec()),
                    1 => Tampering::Mode(0o777),
                    2 => Tampering::Owner(4711, 4711),
                    _ => Tampering::Removed,
                };
                Deed::Tamper(key, path, tampering)
            }
            // A person who runs a prepared container beside the old one breaks the promise, not the loop.
            9 if RESERVED_ENDINGS.iter().any(|ending| name.ends_with(ending)) => Deed::KillProcess(name),
            9 => Deed::Recreate(name, Box::new(settings), true),
            10 => Deed::Skew(random.random_range(-600_000..600_000)),
            _ => restart,
        }
    }

    /// Puts an image there without a registry.
    pub fn load_image(&self, reference: &ImageRef, image: SimImage) {
        let published = Published { image, build: 0, login: None, takes: Span::ZERO };
        let familiar = reference.familiar();
        let id = published.id(&familiar);
        self.state().load(&familiar, &id, published);
    }

    /// Makes a container that is not ours, and starts it.
    pub fn run_by_hand(&self, request: &CreateContainer) -> Answer<String> {
        let mut state = self.state();
        let id = state.create_container(request, false)?;
        let started = state.start_as(&id, Actor::Stranger);
        drop(state);
        self.stir();
        started.map(|()| id)
    }

    /// Makes a network that is not ours.
    pub fn create_network_by_hand(&self, name: &str) {
        self.state().create_network(name, &NetworkSpec::default(), &Labels::new());
    }

    /// Makes a named volume.
    pub fn create_volume_by_hand(&self, name: &str) {
        let mut state = self.state();
        state.volumes.insert(name.to_owned(), SimVolume { anonymous: false });
        state.emit_volume("create", name);
    }

    /// Hangs a container on a network by hand.
    pub fn connect_by_hand(&self, network: &str, name: &str) -> Answer<()> {
        let mut state = self.state();
        let id = state.find(name)?;
        state.connect(network, &id, &Attachment::default())
    }

    /// All containers, without a call.
    pub fn containers(&self) -> Vec<ContainerSummary> {
        self.state().list_containers()
    }

    /// One container, without a call.
    pub fn inspect(&self, name: &str) -> Answer<ObservedContainer> {
        self.state().inspect_container(name)
    }

    /// The servers to which a load balancer leads no new clients, and for how many milliseconds already.
    pub fn drained(&self, name: &str) -> BTreeMap<String, u64> {
        let mut state = self.state();
        let now = state.now;
        let process = state.container(name).ok().and_then(|container| container.process.as_ref());
        let drained = process.map(|process| process.drained.clone()).unwrap_or_default();
        drained.into_iter().map(|(server, since)| (server, now.saturating_sub(since))).collect()
    }

    /// The digest of what the process of a container has read at a path; none if it runs not, or read nothing there.
    pub fn has_read(&self, name: &str, path: &str) -> Option<String> {
        let mut state = self.state();
        state.container(name).ok()?.process.as_ref()?.has_read.get(path).cloned()
    }

    /// Names of all volumes that were made by name, without a call.
    pub fn named_volumes(&self) -> Vec<String> {
        let state = self.state();
        state.volumes.iter().filter(|(_, volume)| !volume.anonymous).map(|(name, _)| name.clone()).collect()
    }

    /// Managed files as (key, path), without a call.
    pub fn file_paths(&self) -> Vec<(String, String)> {
        self.state().files.paths()
    }

    /// A directory whose files cannot be read, with the reason; none lifts it.
    pub fn set_unreadable(&self, key: &str, reason: Option<&str>) {
        let mut state = self.state();
        match reason {
            Some(reason) => {
                state.files.unreadable.insert(key.to_owned(), reason.to_owned());
            }
            None => {
                state.files.unreadable.remove(key);
            }
        }
    }

    /// Another machine stands in its place, under the same name.
    pub fn replace_machine(&self) {
        self.lose_disk();
        let mut state = self.state();
        state.version.id = format!("{}-new", state.version.id);
    }

    /// The disk with the engine's data is not mounted.
    pub fn lose_disk(&self) {
        let mut state = self.state();
        state.containers.clear();
        state.volumes.clear();
        state.images.clear();
        state.references.clear();
        state.networks.retain(|name, _| ["bridge", "host", "none"].contains(&name.as_str()));
    }

    /// The engine is upgraded while it restarts.
    pub fn upgrade_engine(&self, version: &str) {
        version.clone_into(&mut self.state().version.version);
    }
}

impl super::state::HostState {
    fn freeze(&mut self, id: &str) -> Answer<()> {
        let now = self.now;
        let refused = || EngineError::Conflict(format!("Container {id} is not running"));
        let container = self.container(id)?;
        let process = container.process.as_mut().ok_or_else(refused)?;
        process.frozen_at.get_or_insert(now);
        container.status = crate::observe::observed::Status::Paused;
        self.emit_container("pause", id);
        Ok(())
    }
}

/// What makes a container again, a bit different.
fn again(
    old: &ObservedContainer,
    mut own: ContainerSettings,
    settings: &ContainerSettings,
    labelled: bool,
) -> Answer<CreateContainer> {
    let refused = |text: String| EngineError::Refused(text);
    let detail = old.detail.clone().ok_or_else(|| refused("nothing is known of it".to_owned()))?;
    own.cpu_shares = settings.cpu_shares.or(own.cpu_shares);
    own.environment = settings.environment.clone().or(own.environment);
    own.labels.clone_from(&settings.labels);
    Ok(CreateContainer {
        name: old.name.clone(),
        image_id: old.image_id.clone(),
        image: ImageRef::new(old.image.clone()).map_err(|error| refused(error.to_string()))?,
        settings: own,
        networks: detail.networks,
        labels: if labelled { old.labels.clone() } else { Labels::new() },
        carried_volumes: detail.anonymous_volumes,
    })
}

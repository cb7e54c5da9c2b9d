//! Keeps the snapshot of the host: light passes, deep passes, and single looks where an event or a step points.
//!
//! Lists are the truth, events are hints. What could not be asked makes the engine Unknown, never something absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::model::desired::HostDesired;
use crate::model::memory::HostMemory;
use crate::observe::observed::{ContainerState, ContainerSummary, EngineState, HostObserved, ObservedContainer};
use crate::plan::files;
use crate::port::engine::{EngineError, ObserveEngine};
use crate::port::files::ObserveFiles;

/// Inspects at once: the engine answers them in parallel, and more do not make it faster.
const INSPECTS_AT_ONCE: usize = 16;

/// The snapshot and the means to renew it.
pub struct Observer {
    engine: Arc<dyn ObserveEngine>,
    files: Arc<dyn ObserveFiles>,
    site: String,
    host: String,
    adopted: BTreeSet<String>,
    /// The snapshot.
    pub observed: HostObserved,
}

impl Observer {
    /// Nothing is known yet.
    pub fn new(engine: Arc<dyn ObserveEngine>, files: Arc<dyn ObserveFiles>) -> Self {
        Self {
            engine,
            files,
            site: String::new(),
            host: String::new(),
            adopted: BTreeSet::new(),
            observed: HostObserved::default(),
        }
    }

    /// Says what is ours.
    pub fn look_for(&mut self, desired: &HostDesired, memory: &HostMemory) {
        desired.site.as_str().clone_into(&mut self.site);
        desired.host.as_str().clone_into(&mut self.host);
        self.adopted = memory.instances.values().filter_map(|instance| instance.adopted.clone()).collect();
    }

    /// Whether the engine is known to answer.
    pub fn is_connected(&self) -> bool {
        matches!(self.observed.engine, EngineState::Known(_))
    }

    /// Whether the engine answers and is none that is worked with.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.observed.engine, EngineState::Unsupported(_))
    }

    /// Why nothing is known, or nothing may be done; none where the engine answers and is worked with.
    pub fn obstacle(&self) -> Option<&str> {
        match &self.observed.engine {
            EngineState::Known(_) => None,
            EngineState::Unknown(why) | EngineState::Unsupported(why) => Some(why),
            EngineState::NotAsked => Some("the engine has not been asked yet"),
        }
    }

    /// Writes down that the engine cannot be asked.
    pub fn lost(&mut self, error: &EngineError) {
        self.observed.engine = EngineState::Unknown(error.to_string());
    }

    /// Everything anew: one inspect a container of ours, all images and networks, hashes of all files.
    pub async fn deep(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        let version = self.engine.version().await?;
        if version.api < (1, 41) {
            let (major, minor) = version.api;
            self.observed.engine =
                EngineState::Unsupported(format!("its API is {major}.{minor}, and 1.41 is the oldest that works"));
            return Ok(());
        }
        self.observed.containers.clear();
        let (containers, networks, images) =
            tokio::join!(self.engine.list_containers(), self.engine.list_networks(), self.engine.list_images());
        self.take_images(images?);
        self.observed.networks = networks?.into_iter().map(|network| (network.name.clone(), network)).collect();
        if !desired.volumes.is_empty() {
            self.observed.volumes = self.engine.list_volumes().await?;
        }
        self.take_containers(containers?).await?;
        self.learn_images(desired).await?;
        self.all_files(desired).await;
        // Its API looks the same and behaves otherwise in ways that promises rest on: it is looked at, not changed.
        self.observed.engine = if version.engine == "podman" {
            EngineState::Unsupported(format!("podman {} is only looked at, not changed", version.version))
        } else {
            EngineState::Known(version)
        };
        Ok(())
    }

    /// At most three calls where nothing changed: containers, networks, and the version where it was lost.
    pub async fn light(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        if !self.is_connected() {
            return self.deep(desired).await;
        }
        let (containers, networks) = tokio::join!(self.engine.list_containers(), self.engine.list_networks());
        self.observed.networks = networks?.into_iter().map(|network| (network.name.clone(), network)).collect();
        self.take_containers(containers?).await?;
        self.learn_images(desired).await
    }

    /// One container, by id or name.
    pub async fn container(&mut self, id: &str) -> Result<(), EngineError> {
        match self.engine.inspect_container(id).await {
            Ok(container) => {
                self.observed.containers.retain(|name, old| old.id != container.id || *name == container.name);
                self.observed.containers.insert(container.name.clone(), Arc::new(container));
                Ok(())
            }
            Err(EngineError::NotFound(_)) => {
                self.observed.containers.retain(|_, old| old.id != id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// All networks.
    pub async fn networks(&mut self) -> Result<(), EngineError> {
        let networks = self.engine.list_networks().await?;
        self.observed.networks = networks.into_iter().map(|network| (network.name.clone(), network)).collect();
        Ok(())
    }

    /// All volumes, where the site declares any.
    pub async fn volumes(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        if !desired.volumes.is_empty() {
            self.observed.volumes = self.engine.list_volumes().await?;
        }
        Ok(())
    }

    /// Which references mean which image, and what those that matter set.
    pub async fn images(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        let images = self.engine.list_images().await?;
        self.take_images(images);
        self.learn_images(desired).await
    }

    /// What was looked up in an image.
    pub fn accounts(&mut self, image_id: &str, users: BTreeMap<String, (u32, u32)>, groups: BTreeMap<String, u32>) {
        if let Some(image) = self.observed.images.get_mut(image_id) {
            let image = Arc::make_mut(image);
            image.users = Some(users);
            image.groups = Some(groups);
        }
    }

    /// The files of one directory, `INSTANCE/CREATE-HASH`.
    pub async fn files(&mut self, key: &str) {
        match self.files.observe(key).await {
            Ok(seen) => {
                self.observed.unreadable_files.remove(key);
                self.observed.files.insert(key.to_owned(), seen);
            }
            Err(error) => {
                // Unknown is not different: nothing is rewritten or restarted for it.
                self.observed.files.remove(key);
                self.observed.unreadable_files.insert(key.to_owned(), error.to_string());
            }
        }
    }

    async fn all_files(&mut self, desired: &HostDesired) {
        let mut keys: BTreeSet<String> = desired
            .services
            .values()
            .filter(|instance| !instance.files.is_empty())
            .map(|instance| files::key(instance.container_name.as_str(), &instance.create_hash))
            .collect();
        for container in self.observed.containers.values() {
            if let Some(hash) = container.detail.as_ref().and_then(|detail| detail.managed_hash.as_ref()) {
                let instance = crate::model::names::RESERVED_ENDINGS
                    .iter()
                    .find_map(|ending| container.name.strip_suffix(ending))
                    .unwrap_or(&container.name);
                keys.insert(format!("{instance}/{hash}"));
            }
        }
        self.observed.files.retain(|key, _| keys.contains(key));
        for key in keys {
            self.files(&key).await;
        }
    }

    fn is_ours(&self, summary: &ContainerSummary) -> bool {
        use crate::model::labels::{HOST, SITE};
        (summary.labels.get(SITE) == Some(&self.site) && summary.labels.get(HOST) == Some(&self.host))
            || self.adopted.contains(&summary.id)
    }

    async fn take_containers(&mut self, list: Vec<ContainerSummary>) -> Result<(), EngineError> {
        let known: BTreeMap<String, Arc<ObservedContainer>> = std::mem::take(&mut self.observed.containers)
            .into_values()
            .map(|container| (container.id.clone(), container))
            .collect();
        let mut to_inspect = Vec::new();
        for summary in list {
            let old = known.get(&summary.id);
            let unchanged = old.filter(|old| {
                old.name == summary.name
                    && old.state.status == summary.status
                    && (summary.health == old.state.health || old.detail.is_none())
                    && (old.detail.is_some() || !self.is_ours(&summary))
            });
            match unchanged {
                Some(old) => {
                    self.observed.containers.insert(summary.name.clone(), old.clone());
                }
                None if self.is_ours(&summary) => to_inspect.push(summary),
                None => {
                    let container = foreign(summary);
                    self.observed.containers.insert(container.name.clone(), Arc::new(container));
                }
            }
        }
        let engine = &self.engine;
        let mut inspected = stream::iter(to_inspect)
            .map(|summary| async move { (engine.inspect_container(&summary.id).await, summary) })
            .buffer_unordered(INSPECTS_AT_ONCE);
        while let Some((answer, _summary)) = inspected.next().await {
            match answer {
                Ok(container) => {
                    self.observed.containers.insert(container.name.clone(), Arc::new(container));
                }
                // It went between the list and the look.
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_images(&mut self, list: Vec<crate::observe::observed::ImageSummary>) {
        self.observed.image_ids = list
            .into_iter()
            .flat_map(|image| {
                let id = image.id;
                image.references.into_iter().map(move |reference| (reference, id.clone()))
            })
            .collect();
    }

    /// Inspects the images of the site and of the containers, each once: an image never changes.
    async fn learn_images(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        let references = desired
            .services
            .values()
            .map(|instance| &instance.image)
            .chain(desired.jobs.values().map(|job| &job.image));
        let mut ids: BTreeSet<String> =
            references.filter_map(|image| self.observed.image_ids.get(&image.familiar()).cloned()).collect();
        ids.extend(
            self.observed
                .containers
                .values()
                .filter(|container| container.detail.is_some())
                .map(|container| container.image_id.clone()),
        );
        for id in ids {
            if self.observed.images.contains_key(&id) {
                continue;
            }
            match self.engine.inspect_image(&id).await {
                Ok(image) => {
                    self.observed.images.insert(id, Arc::new(image));
                }
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn foreign(summary: ContainerSummary) -> ObservedContainer {
    ObservedContainer {
        id: summary.id,
        name: summary.name,
        labels: summary.labels,
        image_id: summary.image_id,
        image: summary.image,
        state: ContainerState { status: summary.status, health: summary.health, ..ContainerState::default() },
        detail: None,
        host_ports: summary.host_ports,
    }
}

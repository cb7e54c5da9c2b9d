//! Keeps the snapshot of the host: light passes, deep passes, and single looks where an event or a step points.
//!
//! Lists are the truth, events are hints. What could not be asked makes the engine Unknown, never something absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::model::condition::ENGINE_UNSUPPORTED;
use crate::model::desired::HostDesired;
use crate::model::memory::HostMemory;
use crate::observe::observed::{
    ContainerState, ContainerSummary, EngineState, HostObserved, ObservedContainer, ObservedImage,
};
use crate::plan::files;
use crate::port::engine::{EngineError, ObserveEngine};
use crate::port::files::ObserveFiles;

/// Inspects at once: the engine answers them in parallel, and more do not make it faster.
const INSPECTS_AT_ONCE: usize = 16;

type Containers = BTreeMap<String, Arc<ObservedContainer>>;

/// The snapshot and the means to renew it.
pub struct Observer {
    engine: Arc<dyn ObserveEngine>,
    files: Arc<dyn ObserveFiles>,
    site: String,
    host: String,
    adopted: BTreeSet<String>,
    /// Ids of the containers that were last known to be good.
    remembered: BTreeSet<String>,
    /// Of images that may be needed, in familiar form.
    references: BTreeSet<String>,
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
            remembered: BTreeSet::new(),
            references: BTreeSet::new(),
            observed: HostObserved::default(),
        }
    }

    /// Says what is ours, and which images may be needed.
    pub fn look_for(&mut self, desired: &HostDesired, memory: &HostMemory, references: BTreeSet<String>) {
        self.references = references;
        desired.site.as_str().clone_into(&mut self.site);
        desired.host.as_str().clone_into(&mut self.host);
        let proven = memory.instances.values().filter_map(|instance| instance.proven.as_ref());
        self.remembered = proven.map(|proven| proven.container_id.clone()).collect();
        self.adopted = memory.instances.values().filter_map(|instance| instance.adopted.clone()).collect();
    }

    /// Whether the engine is known to answer.
    pub fn is_connected(&self) -> bool {
        matches!(self.observed.engine, EngineState::Known(_))
    }

    /// Whether the engine answers and is not worked with.
    pub fn is_refused(&self) -> bool {
        matches!(self.observed.engine, EngineState::Refused { .. })
    }

    /// Why nothing is known, or nothing may be done; none where the engine answers and is worked with.
    pub fn obstacle(&self) -> Option<&str> {
        match &self.observed.engine {
            EngineState::Known(_) => None,
            EngineState::Unknown(why) | EngineState::Refused { why, .. } => Some(why),
            EngineState::NotAsked => Some("the engine has not been asked yet"),
        }
    }

    /// Writes down that the engine cannot be asked.
    pub fn lost(&mut self, error: &EngineError) {
        self.observed.engine = EngineState::Unknown(error.to_string());
    }

    /// Everything anew: one inspect a container of ours and an image of the site, all networks, hashes of all files.
    pub async fn deep(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        // At first, those that are known from before are asked for beside the list, which takes the engine a while.
        let early = if self.observed.containers.is_empty() { self.remembered.clone() } else { BTreeSet::new() };
        let (version, containers, networks, images, early) = tokio::join!(
            self.engine.version(),
            self.engine.list_containers(),
            self.engine.list_networks(),
            self.wanted_images(),
            self.inspect_all(early),
        );
        let version = version?;
        if version.api < (1, 41) {
            let (major, minor) = version.api;
            self.observed.engine =
                unsupported(format!("its API is {major}.{minor}, and 1.41 is the oldest that works"));
            return Ok(());
        }
        self.take_images(images?);
        self.observed.networks = networks?.into_iter().map(|network| (network.name.clone(), network)).collect();
        if !desired.volumes.is_empty() {
            self.observed.volumes = self.engine.list_volumes().await?;
        }
        // Last of all: what is seen of them is as new as can be when it is planned with.
        let early = early?.into_iter().map(|container| (container.id.clone(), Arc::new(container))).collect();
        self.observed.containers = self.look_at(containers?, &early).await?;
        self.learn_images().await?;
        self.all_files(desired).await;
        // Its API looks the same and behaves otherwise in ways that promises rest on: it is looked at, not changed.
        self.observed.engine = if version.engine == "podman" {
            unsupported(format!("podman {} is only looked at, not changed", version.version))
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
        self.learn_images().await
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
    pub async fn images(&mut self) -> Result<(), EngineError> {
        let images = self.wanted_images().await?;
        self.take_images(images);
        self.learn_images().await
    }

    /// What was looked up in images once.
    pub fn recall_accounts(&mut self, memory: &HostMemory) {
        for (id, image) in self.observed.images.iter_mut().filter(|(_, image)| image.accounts.is_none()) {
            if let Some(accounts) = memory.accounts.get(id) {
                Arc::make_mut(image).accounts = Some(accounts.clone());
            }
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
            .filter(|instance| !instance.files.is_empty() || !instance.filesets.is_empty())
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

    /// Those that are in the list, inspected where they are ours and may have changed.
    async fn take_containers(&mut self, list: Vec<ContainerSummary>) -> Result<(), EngineError> {
        let known: Containers = std::mem::take(&mut self.observed.containers)
            .into_values()
            .map(|container| (container.id.clone(), container))
            .collect();
        self.observed.containers = self.look_at(list, &known).await?;
        Ok(())
    }

    /// `known` are containers by id.
    async fn look_at(&self, list: Vec<ContainerSummary>, known: &Containers) -> Result<Containers, EngineError> {
        let mut seen = Containers::new();
        let mut to_inspect = BTreeSet::new();
        for summary in list {
            let old = known.get(&summary.id);
            let unchanged = old.filter(|old| {
                old.name == summary.name
                    && old.state.status == summary.status
                    && (summary.health == old.state.health || old.detail.is_none())
                    && old.detail.is_some() == self.is_ours(&summary)
            });
            match unchanged {
                Some(old) => {
                    seen.insert(summary.name.clone(), old.clone());
                }
                None if self.is_ours(&summary) => {
                    to_inspect.insert(summary.id);
                }
                None => {
                    let container = foreign(summary);
                    seen.insert(container.name.clone(), Arc::new(container));
                }
            }
        }
        let inspected = self.inspect_all(to_inspect).await?;
        seen.extend(inspected.into_iter().map(|container| (container.name.clone(), Arc::new(container))));
        Ok(seen)
    }

    /// By id; one that went meanwhile is left out.
    async fn inspect_all(&self, ids: BTreeSet<String>) -> Result<Vec<ObservedContainer>, EngineError> {
        let mut inspected = stream::iter(ids)
            .map(|id| async move { self.engine.inspect_container(&id).await })
            .buffer_unordered(INSPECTS_AT_ONCE);
        let mut containers = Vec::new();
        while let Some(answer) = inspected.next().await {
            match answer {
                Ok(container) => containers.push(container),
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(containers)
    }

    /// What the references of the site mean. Each is asked for: a list of all that the engine has takes it far longer.
    async fn wanted_images(&self) -> Result<BTreeMap<String, ObservedImage>, EngineError> {
        self.inspect_images(self.references.clone()).await
    }

    /// By reference or id; what is not there is left out.
    async fn inspect_images(
        &self,
        references: BTreeSet<String>,
    ) -> Result<BTreeMap<String, ObservedImage>, EngineError> {
        let mut inspected = stream::iter(references)
            .map(|reference| async move { (self.engine.inspect_image(&reference).await, reference) })
            .buffer_unordered(INSPECTS_AT_ONCE);
        let mut images = BTreeMap::new();
        while let Some((answer, reference)) = inspected.next().await {
            match answer {
                Ok(image) => {
                    images.insert(reference, image);
                }
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }

    fn take_images(&mut self, images: BTreeMap<String, ObservedImage>) {
        let id = |reference: &String| images.get(reference).map(|image| image.id.clone());
        self.observed.image_ids = self.references.iter().map(|reference| (reference.clone(), id(reference))).collect();
        for image in images.into_values() {
            // An image never changes, and more may have been looked up in it.
            self.observed.images.entry(image.id.clone()).or_insert_with(|| Arc::new(image));
        }
    }

    /// Inspects the images of our containers that are not known yet.
    async fn learn_images(&mut self) -> Result<(), EngineError> {
        let ours = self.observed.containers.values().filter(|container| container.detail.is_some());
        let ids = ours.map(|container| &container.image_id).filter(|id| !self.observed.images.contains_key(*id));
        let images = self.inspect_images(ids.cloned().collect()).await?;
        self.observed.images.extend(images.into_values().map(|image| (image.id.clone(), Arc::new(image))));
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

fn unsupported(why: String) -> EngineState {
    EngineState::Refused { reason: ENGINE_UNSUPPORTED, why }
}

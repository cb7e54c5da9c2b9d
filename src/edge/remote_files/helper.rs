//! The container that an engine packs and unpacks archives through: it mounts the files of a host and is never started.
//!
//! It is none of the site's containers, so it carries none of their labels: every pass takes it for somebody else's. It is there as
//! long as there are files. Whoever removes it (a prune, say) removes nothing with it; it is made again. Its image is empty
//! and made on the spot, so that no image of a service is held by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::Root;
use super::archive::Pack;
use crate::edge::docker::{DockerEngine, DockerObserver};
use crate::model::image::ImageRef;
use crate::model::labels::{FILES, FILES_ROOT, Labels};
use crate::model::settings::{ContainerSettings, Mount};
use crate::port::engine::{Answer, CreateContainer, Engine as _, EngineError, ObserveEngine as _};
use crate::port::files::FilesError;

/// Where the helper mounts the files.
pub(super) const PLACE: &str = "files";
/// The image that holds nothing.
const REPOSITORY: &str = "mastic-files";
const TAG: &str = "1";
/// The archive of one directory, packed. Configuration is small; what is larger was put there by somebody else.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What is asked of an engine.
#[async_trait]
pub trait Look: Send + Sync {
    /// Labels of a container; none where there is none.
    async fn labels(&self, container: &str) -> Answer<Option<Labels>>;
    /// The archive of a path in a container.
    async fn read(&self, container: &str, path: &str) -> Answer<Bytes>;
    /// Sources of all mounts of the containers of a site.
    async fn mount_sources(&self, site: &str) -> Answer<Vec<String>>;
}

/// What is ordered from an engine.
#[async_trait]
pub trait Act: Look {
    /// Makes the helper's image.
    async fn import(&self, archive: Bytes) -> Answer<()>;
    /// Makes a helper that mounts a directory of the host; `NotFound` without the image.
    async fn create(&self, container: &str, root: &str, labels: &Labels) -> Answer<()>;
    /// Unpacks an archive in it.
    async fn write(&self, container: &str, archive: Bytes) -> Answer<()>;
    /// Removes it; done if it is gone.
    async fn remove(&self, container: &str) -> Answer<()>;
    /// Removes its image, unless another helper has it.
    async fn remove_image(&self) -> Answer<()>;
}

#[async_trait]
impl Look for DockerObserver {
    async fn labels(&self, container: &str) -> Answer<Option<Labels>> {
        Self::labels(self, container).await
    }

    async fn read(&self, container: &str, path: &str) -> Answer<Bytes> {
        self.download(container, path, LARGEST).await
    }

    async fn mount_sources(&self, site: &str) -> Answer<Vec<String>> {
        Self::mount_sources(self, site).await
    }
}

#[async_trait]
impl Look for DockerEngine {
    async fn labels(&self, container: &str) -> Answer<Option<Labels>> {
        self.observer().labels(container).await
    }

    async fn read(&self, container: &str, path: &str) -> Answer<Bytes> {
        self.observer().download(container, path, LARGEST).await
    }

    async fn mount_sources(&self, site: &str) -> Answer<Vec<String>> {
        self.observer().mount_sources(site).await
    }
}

#[async_trait]
impl Act for DockerEngine {
    async fn import(&self, archive: Bytes) -> Answer<()> {
        Self::import(self, REPOSITORY, TAG, archive).await
    }

    async fn create(&self, container: &str, root: &str, labels: &Labels) -> Answer<()> {
        let name = format!("{REPOSITORY}:{TAG}");
        let image_id = self.observer().inspect_image(&name).await?.id;
        let image = ImageRef::new(&name).map_err(|error| EngineError::Refused(error.to_string()))?;
        // The one kind of mount that makes a missing directory on the host.
        let mount =
            Mount::Bind { source: root.to_owned(), read_only: false, propagation: None, create_host_path: true };
        let settings = ContainerSettings {
            entrypoint: Some(vec!["/never-started".to_owned()]),
            volumes: Some([(format!("/{PLACE}"), mount)].into()),
            ..ContainerSettings::default()
        };
        let request = CreateContainer {
            name: container.to_owned(),
            image_id,
            image,
            settings,
            networks: std::collections::BTreeMap::new(),
            labels: labels.clone(),
            carried_volumes: std::collections::BTreeMap::new(),
        };
        self.create_container(&request).await.map(drop)
    }

    async fn write(&self, container: &str, archive: Bytes) -> Answer<()> {
        self.upload(container, archive).await
    }

    async fn remove(&self, container: &str) -> Answer<()> {
        self.remove_container(container, true).await
    }

    async fn remove_image(&self) -> Answer<()> {
        match crate::port::engine::Engine::remove_image(self, &format!("{REPOSITORY}:{TAG}")).await {
            Err(EngineError::Conflict(_) | EngineError::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

/// What is at a path of the helper's.
pub(super) enum State {
    /// There is no helper.
    Missing,
    /// There is nothing.
    Nothing,
    /// This.
    Archive(Bytes),
}

/// The helper of a host.
pub(super) struct Helper<E: ?Sized> {
    pub(super) engine: Arc<E>,
    pub(super) root: Root,
    pub(super) name: String,
    /// Whether the container of that name was found to be ours, of this root.
    is_known: AtomicBool,
}

impl<E: Look + ?Sized> Helper<E> {
    pub(super) fn new(engine: Arc<E>, root: Root) -> Self {
        let name = format!("{}.{}.files", root.site, root.host);
        Self { engine, root, name, is_known: AtomicBool::new(false) }
    }

    fn labels(&self) -> Labels {
        [(FILES.to_owned(), self.root.site.clone()), (FILES_ROOT.to_owned(), self.root.path.clone())].into()
    }

    /// Whether it is there; an error if its name belongs to somebody else.
    async fn is_there(&self) -> Result<bool, FilesError> {
        let found = self.engine.labels(&self.name).await.map_err(|error| self.root.engine_error("", &error))?;
        let Some(found) = found else {
            self.is_known.store(false, Ordering::Relaxed);
            return Ok(false);
        };
        if !found.contains_key(FILES) {
            let reason = format!("the container {} is not ours, and files go through one of that name", self.name);
            return Err(self.root.error("", reason));
        }
        // One of another state directory is made anew.
        let is_ours = self.labels().iter().all(|(name, value)| found.get(name) == Some(value));
        self.is_known.store(is_ours, Ordering::Relaxed);
        Ok(is_ours)
    }

    /// What is at a path below the root.
    pub(super) async fn fetch(&self, path: &str) -> Result<State, FilesError> {
        if !self.is_known.load(Ordering::Relaxed) && !self.is_there().await? {
            return Ok(State::Missing);
        }
        match self.engine.read(&self.name, &format!("/{PLACE}/{path}")).await {
            Ok(bytes) => Ok(State::Archive(bytes)),
            // It is the path that does not exist, or the helper.
            Err(EngineError::NotFound(_)) => Ok(if self.is_there().await? { State::Nothing } else { State::Missing }),
            Err(error) => Err(self.root.engine_error(path, &error)),
        }
    }
}

impl<E: Act + ?Sized> Helper<E> {
    /// Makes it, and its image where that is missing.
    pub(super) async fn make(&self) -> Result<(), FilesError> {
        let failed = |error: EngineError| self.root.engine_error("", &error);
        // What is there is of another state directory: `fetch` has refused what is somebody else's.
        self.engine.remove(&self.name).await.map_err(failed)?;
        let labels = self.labels();
        match self.engine.create(&self.name, &self.root.path, &labels).await {
            Err(EngineError::NotFound(_)) => {
                let nothing = Pack::default().finish().map_err(|error| self.root.error("", error.to_string()))?;
                self.engine.import(nothing).await.map_err(failed)?;
                self.engine.create(&self.name, &self.root.path, &labels).await.map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// Removes it with its image.
    pub(super) async fn dispose(&self) -> Result<(), FilesError> {
        self.is_known.store(false, Ordering::Relaxed);
        let failed = |error: EngineError| self.root.engine_error("", &error);
        self.engine.remove(&self.name).await.map_err(failed)?;
        self.engine.remove_image().await.map_err(failed)
    }
}

//! Doors that cannot change anything, for dry runs: built on the halves of the ports that have no mutating call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::model::desired::{Hook, HostDesired, RegistryLogin};
use crate::model::file::ObservedFile;
use crate::model::fileset::Contents;
use crate::model::image::ImageRef;
use crate::model::labels::Labels;
use crate::model::memory::HostMemory;
use crate::model::network::{Attachment, NetworkSpec, VolumeSpec};
use crate::model::time::Span;
use crate::observe::observed::{
    ContainerSummary, EngineEvent, EngineVersion, ImageSummary, ObservedContainer, ObservedImage, ObservedNetwork,
};
use crate::report::event::Event;

use super::engine::{
    Answer, CreateContainer, Engine, EngineError, ExecOutcome, LimitChange, LogChunk, ObserveEngine, OnProgress,
};
use super::files::{FileToWrite, Files, FilesError, ObserveFiles};
use super::store::{Revision, Store, StoreError};

/// An engine that can only be asked, where one is wanted that can be told. It has nothing to tell with.
pub struct ReadOnlyEngine<O>(pub O);

fn refused<T>() -> Answer<T> {
    Err(EngineError::Refused("this is a dry run".to_owned()))
}

#[async_trait]
impl<O: ObserveEngine> ObserveEngine for ReadOnlyEngine<O> {
    async fn version(&self) -> Answer<EngineVersion> {
        self.0.version().await
    }
    async fn list_containers(&self) -> Answer<Vec<ContainerSummary>> {
        self.0.list_containers().await
    }
    async fn inspect_container(&self, id: &str) -> Answer<ObservedContainer> {
        self.0.inspect_container(id).await
    }
    async fn list_images(&self) -> Answer<Vec<ImageSummary>> {
        self.0.list_images().await
    }
    async fn inspect_image(&self, reference: &str) -> Answer<ObservedImage> {
        self.0.inspect_image(reference).await
    }
    async fn list_networks(&self) -> Answer<Vec<ObservedNetwork>> {
        self.0.list_networks().await
    }
    async fn identity(&self) -> Answer<String> {
        self.0.identity().await
    }
    async fn list_volumes(&self) -> Answer<Vec<String>> {
        self.0.list_volumes().await
    }
    async fn log_tail(&self, id: &str, lines: usize) -> Answer<String> {
        self.0.log_tail(id, lines).await
    }
    async fn logs(&self, id: &str, follow: bool, lines: Option<usize>) -> Answer<BoxStream<'static, Answer<LogChunk>>> {
        self.0.logs(id, follow, lines).await
    }
    async fn events(&self) -> Answer<BoxStream<'static, Answer<EngineEvent>>> {
        self.0.events().await
    }
    async fn read_file(&self, id: &str, path: &str) -> Answer<Bytes> {
        self.0.read_file(id, path).await
    }
    async fn read_directory(&self, id: &str, path: &str) -> Answer<Contents> {
        self.0.read_directory(id, path).await
    }
}

#[async_trait]
impl<O: ObserveEngine> Engine for ReadOnlyEngine<O> {
    async fn pull(&self, _: &ImageRef, _: Option<&RegistryLogin>, _: OnProgress<'_>) -> Answer<()> {
        refused()
    }
    async fn remove_image(&self, _: &str) -> Answer<()> {
        refused()
    }
    async fn create_container(&self, _: &CreateContainer) -> Answer<String> {
        refused()
    }
    async fn start_container(&self, _: &str) -> Answer<()> {
        refused()
    }
    async fn stop_container(&self, _: &str, _: Option<i64>) -> Answer<()> {
        refused()
    }
    async fn signal_container(&self, _: &str, _: &str) -> Answer<()> {
        refused()
    }
    async fn unpause_container(&self, _: &str) -> Answer<()> {
        refused()
    }
    async fn rename_container(&self, _: &str, _: &str) -> Answer<()> {
        refused()
    }
    async fn remove_container(&self, _: &str, _: bool) -> Answer<()> {
        refused()
    }
    async fn update_container(&self, _: &str, _: &LimitChange) -> Answer<()> {
        refused()
    }
    async fn exec(&self, _: &str, _: &Hook, _: Span) -> Answer<ExecOutcome> {
        refused()
    }
    async fn put_files(&self, _: &str, _: &str, _: &[FileToWrite]) -> Answer<()> {
        refused()
    }
    async fn wait_container(&self, _: &str) -> Answer<i64> {
        refused()
    }
    async fn create_network(&self, _: &str, _: &NetworkSpec, _: &Labels) -> Answer<()> {
        refused()
    }
    async fn remove_network(&self, _: &str) -> Answer<()> {
        refused()
    }
    async fn connect_network(&self, _: &str, _: &str, _: &Attachment) -> Answer<()> {
        refused()
    }
    async fn disconnect_network(&self, _: &str, _: &str) -> Answer<()> {
        refused()
    }
    async fn create_volume(&self, _: &str, _: &VolumeSpec, _: &Labels) -> Answer<()> {
        refused()
    }
    async fn remove_volume(&self, _: &str) -> Answer<()> {
        refused()
    }
}

/// Files that can only be looked at.
pub struct ReadOnlyFiles(pub Arc<dyn ObserveFiles>);

#[async_trait]
impl ObserveFiles for ReadOnlyFiles {
    async fn observe(&self, key: &str) -> Result<BTreeMap<String, ObservedFile>, FilesError> {
        self.0.observe(key).await
    }
    async fn keys(&self) -> Result<Vec<String>, FilesError> {
        self.0.keys().await
    }
    fn host_path(&self, key: &str, path: &str) -> String {
        self.0.host_path(key, path)
    }
    fn managed_path(&self, source: &str) -> Option<(String, String)> {
        self.0.managed_path(source)
    }
}

#[async_trait]
impl Files for ReadOnlyFiles {
    async fn write(&self, key: &str, _: &[FileToWrite]) -> Result<(), FilesError> {
        Err(FilesError { path: key.to_owned(), reason: "this is a dry run".to_owned() })
    }
    async fn remove(&self, key: &str) -> Result<(), FilesError> {
        Err(FilesError { path: key.to_owned(), reason: "this is a dry run".to_owned() })
    }
}

/// A store of which nothing is changed: what is kept is only kept in memory.
pub struct ReadOnlyStore {
    below: Arc<dyn Store>,
    key: Option<Vec<u8>>,
    accepted: Mutex<Option<HostDesired>>,
    memory: Mutex<Option<HostMemory>>,
}

impl ReadOnlyStore {
    /// Reads from `below`.
    pub fn over(below: Arc<dyn Store>) -> Self {
        Self { below, key: None, accepted: Mutex::new(None), memory: Mutex::new(None) }
    }

    /// With this key of the site, as asking the store below would make one where there is none.
    #[must_use]
    pub fn with_key(self, key: Vec<u8>) -> Self {
        Self { key: Some(key), ..self }
    }
}

impl Store for ReadOnlyStore {
    fn load_memory(&self) -> Result<HostMemory, StoreError> {
        match &*self.memory.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(memory) => Ok(memory.clone()),
            None => self.below.load_memory(),
        }
    }
    fn save_memory(&self, memory: &HostMemory) -> Result<(), StoreError> {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory.clone());
        Ok(())
    }
    fn load_accepted(&self) -> Result<Option<HostDesired>, StoreError> {
        match &*self.accepted.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(accepted) => Ok(Some(accepted.clone())),
            None => self.below.load_accepted(),
        }
    }
    fn save_accepted(&self, desired: &HostDesired, _: &Revision, _: &BTreeSet<u64>) -> Result<(), StoreError> {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(desired.clone());
        Ok(())
    }
    fn revisions(&self) -> Result<Vec<Revision>, StoreError> {
        self.below.revisions()
    }
    fn load_revision(&self, generation: u64) -> Result<Option<HostDesired>, StoreError> {
        self.below.load_revision(generation)
    }
    fn append_event(&self, _: &Event) -> Result<(), StoreError> {
        Ok(())
    }
    fn events(&self, most: usize) -> Result<Vec<Event>, StoreError> {
        self.below.events(most)
    }
    fn site_key(&self) -> Result<Vec<u8>, StoreError> {
        self.key.clone().map_or_else(|| self.below.site_key(), Ok)
    }
}

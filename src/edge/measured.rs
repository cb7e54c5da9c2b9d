//! An engine that counts and times what it is asked, for the metrics.
//!
//! In: any engine. Out: the same engine. Streams (events, logs) are timed until they begin, not until they end.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use crate::model::desired::{Hook, RegistryLogin};
use crate::model::fileset::Contents;
use crate::model::image::ImageRef;
use crate::model::labels::Labels;
use crate::model::names::HostName;
use crate::model::network::{Attachment, NetworkSpec, VolumeSpec};
use crate::model::time::Span;
use crate::observe::observed::{
    ContainerSummary, EngineEvent, EngineVersion, ImageSummary, ObservedContainer, ObservedImage, ObservedNetwork,
};
use crate::port::engine::{
    Answer, CreateContainer, Engine, EngineError, ExecOutcome, LimitChange, LogChunk, ObserveEngine, OnProgress,
};
use crate::port::files::FileToWrite;
use crate::report::metrics::{Metrics, PullFailure};

/// An engine with its metrics.
#[derive(Debug)]
pub struct Measured<E> {
    engine: E,
    host: HostName,
    metrics: Arc<Metrics>,
}

/// The closed set of words for how a call ended.
fn code<T>(answer: &Answer<T>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(EngineError::Unreachable(_)) => "unreachable",
        Err(EngineError::Timeout(_)) => "timeout",
        Err(EngineError::NotFound(_)) => "not_found",
        Err(EngineError::Conflict(_)) => "conflict",
        Err(EngineError::Refused(_)) => "refused",
        Err(EngineError::Registry(_)) => "registry",
        Err(EngineError::Failed(_)) => "failed",
        Err(EngineError::Warned(_)) => "warned",
    }
}

impl<E> Measured<E> {
    /// Measures an engine from now on.
    pub fn new(engine: E, host: HostName, metrics: Arc<Metrics>) -> Self {
        Self { engine, host, metrics }
    }

    /// The engine itself.
    pub fn inner(&self) -> &E {
        &self.engine
    }

    async fn measure<T>(&self, operation: &'static str, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let begin = Instant::now();
        let answer = call.await;
        self.metrics.engine_asked(self.host.as_str(), operation, code(&answer), begin.elapsed());
        answer
    }
}

#[async_trait]
impl<E: ObserveEngine> ObserveEngine for Measured<E> {
    async fn version(&self) -> Answer<EngineVersion> {
        self.measure("version", self.engine.version()).await
    }

    async fn list_containers(&self) -> Answer<Vec<ContainerSummary>> {
        self.measure("list_containers", self.engine.list_containers()).await
    }

    async fn inspect_container(&self, id: &str) -> Answer<ObservedContainer> {
        self.measure("inspect_container", self.engine.inspect_container(id)).await
    }

    async fn list_images(&self) -> Answer<Vec<ImageSummary>> {
        self.measure("list_images", self.engine.list_images()).await
    }

    async fn inspect_image(&self, reference: &str) -> Answer<ObservedImage> {
        self.measure("inspect_image", self.engine.inspect_image(reference)).await
    }

    async fn list_networks(&self) -> Answer<Vec<ObservedNetwork>> {
        self.measure("list_networks", self.engine.list_networks()).await
    }

    async fn identity(&self) -> Answer<String> {
        self.measure("identity", self.engine.identity()).await
    }

    async fn list_volumes(&self) -> Answer<Vec<String>> {
        self.measure("list_volumes", self.engine.list_volumes()).await
    }

    async fn log_tail(&self, id: &str, lines: usize) -> Answer<String> {
        self.measure("log_tail", self.engine.log_tail(id, lines)).await
    }

    async fn logs(&self, id: &str, follow: bool, lines: Option<usize>) -> Answer<BoxStream<'static, Answer<LogChunk>>> {
        self.measure("logs", self.engine.logs(id, follow, lines)).await
    }

    async fn events(&self) -> Answer<BoxStream<'static, Answer<EngineEvent>>> {
        self.measure("events", self.engine.events()).await
    }

    async fn read_file(&self, id: &str, path: &str) -> Answer<Bytes> {
        self.measure("read_file", self.engine.read_file(id, path)).await
    }

    async fn read_directory(&self, id: &str, path: &str) -> Answer<Contents> {
        self.measure("read_directory", self.engine.read_directory(id, path)).await
    }
}

#[async_trait]
impl<E: Engine> Engine for Measured<E> {
    async fn pull(&self, image: &ImageRef, login: Option<&RegistryLogin>, progress: OnProgress<'_>) -> Answer<()> {
        let begin = Instant::now();
        let answer = self.measure("pull", self.engine.pull(image, login, progress)).await;
        let host = self.host.as_str();
        match &answer {
            Ok(()) => self.metrics.pulled(host, begin.elapsed()),
            Err(EngineError::Registry(_) | EngineError::NotFound(_)) => {
                self.metrics.pull_failed(host, PullFailure::Registry);
            }
            Err(EngineError::Unreachable(_)) => self.metrics.pull_failed(host, PullFailure::Unreachable),
            Err(EngineError::Timeout(_)) => self.metrics.pull_failed(host, PullFailure::Timeout),
            Err(_) => self.metrics.pull_failed(host, PullFailure::Other),
        }
        answer
    }

    async fn remove_image(&self, id: &str) -> Answer<()> {
        self.measure("remove_image", self.engine.remove_image(id)).await
    }

    async fn create_container(&self, request: &CreateContainer) -> Answer<String> {
        self.measure("create_container", self.engine.create_container(request)).await
    }

    async fn start_container(&self, id: &str) -> Answer<()> {
        self.measure("start_container", self.engine.start_container(id)).await
    }

    async fn stop_container(&self, id: &str, grace: Option<i64>) -> Answer<()> {
        self.measure("stop_container", self.engine.stop_container(id, grace)).await
    }

    async fn signal_container(&self, id: &str, signal: &str) -> Answer<()> {
        self.measure("signal_container", self.engine.signal_container(id, signal)).await
    }

    async fn unpause_container(&self, id: &str) -> Answer<()> {
        self.measure("unpause_container", self.engine.unpause_container(id)).await
    }

    async fn rename_container(&self, id: &str, name: &str) -> Answer<()> {
        self.measure("rename_container", self.engine.rename_container(id, name)).await
    }

    async fn remove_container(&self, id: &str, anonymous_volumes: bool) -> Answer<()> {
        self.measure("remove_container", self.engine.remove_container(id, anonymous_volumes)).await
    }

    async fn update_container(&self, id: &str, change: &LimitChange) -> Answer<()> {
        self.measure("update_container", self.engine.update_container(id, change)).await
    }

    async fn exec(&self, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome> {
        self.measure("exec", self.engine.exec(id, hook, timeout)).await
    }

    async fn put_files(&self, id: &str, directory: &str, files: &[FileToWrite]) -> Answer<()> {
        self.measure("put_files", self.engine.put_files(id, directory, files)).await
    }

    async fn wait_container(&self, id: &str) -> Answer<i64> {
        self.measure("wait_container", self.engine.wait_container(id)).await
    }

    async fn create_network(&self, name: &str, spec: &NetworkSpec, labels: &Labels) -> Answer<()> {
        self.measure("create_network", self.engine.create_network(name, spec, labels)).await
    }

    async fn remove_network(&self, name: &str) -> Answer<()> {
        self.measure("remove_network", self.engine.remove_network(name)).await
    }

    async fn connect_network(&self, network: &str, id: &str, attachment: &Attachment) -> Answer<()> {
        self.measure("connect_network", self.engine.connect_network(network, id, attachment)).await
    }

    async fn disconnect_network(&self, network: &str, id: &str) -> Answer<()> {
        self.measure("disconnect_network", self.engine.disconnect_network(network, id)).await
    }

    async fn create_volume(&self, name: &str, spec: &VolumeSpec, labels: &Labels) -> Answer<()> {
        self.measure("create_volume", self.engine.create_volume(name, spec, labels)).await
    }

    async fn remove_volume(&self, name: &str) -> Answer<()> {
        self.measure("remove_volume", self.engine.remove_volume(name)).await
    }
}

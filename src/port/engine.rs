//! A Docker-compatible engine. Reading and changing are two traits, so that a dry run cannot change anything.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::model::desired::{Hook, RegistryLogin};
use crate::model::fileset::Contents;
use crate::model::image::ImageRef;
use crate::model::labels::Labels;
use crate::model::network::{Attachment, NetworkSpec, VolumeSpec};
use crate::model::settings::ContainerSettings;
use crate::model::time::Span;
use crate::observe::observed::{
    ContainerSummary, EngineEvent, EngineVersion, ImageSummary, ObservedContainer, ObservedImage, ObservedNetwork,
};

use super::files::FileToWrite;

/// Why an engine did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody answered: the socket is gone, the connection broke, TLS failed.
    #[error("the engine cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time. Whether it was done is not known.
    #[error("the engine did not answer within {0}")]
    Timeout(Span),
    /// What was asked for does not exist (404).
    #[error("{0}")]
    NotFound(String),
    /// A name is taken, or the state forbids it (409).
    #[error("{0}")]
    Conflict(String),
    /// The engine will never do this (400, 403, and 500 for what the kernel refuses).
    #[error("{0}")]
    Refused(String),
    /// The registry refused or could not be reached.
    #[error("{0}")]
    Registry(String),
    /// It failed otherwise (5xx): disk, runtime.
    #[error("{0}")]
    Failed(String),
    /// The engine warned at creation that it would ignore a setting.
    #[error("the engine would ignore a setting: {0}")]
    Warned(String),
}

/// Whether a failure lies in the spec (quarantined) or around it (retried).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Disk, pull, engine, registry.
    Environment,
    /// The same spec would fail again.
    Spec,
}

impl EngineError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused(_) | Self::Warned(_) => Blame::Spec,
            _ => Blame::Environment,
        }
    }
}

/// Result of a call.
pub type Answer<T> = Result<T, EngineError>;

/// Questions to an engine; nothing here changes anything.
#[async_trait]
pub trait ObserveEngine: Send + Sync {
    /// Which engine it is.
    async fn version(&self) -> Answer<EngineVersion>;
    /// All containers, running or not.
    async fn list_containers(&self) -> Answer<Vec<ContainerSummary>>;
    /// One container, by id or name.
    async fn inspect_container(&self, id: &str) -> Answer<ObservedContainer>;
    /// All images.
    async fn list_images(&self) -> Answer<Vec<ImageSummary>>;
    /// One image, by id or reference; `users` and `groups` are not looked up.
    async fn inspect_image(&self, reference: &str) -> Answer<ObservedImage>;
    /// All networks.
    async fn list_networks(&self) -> Answer<Vec<ObservedNetwork>>;
    /// What tells this engine from another one under the same address; empty where it does not say. A slow call.
    async fn identity(&self) -> Answer<String>;
    /// Names of all volumes.
    async fn list_volumes(&self) -> Answer<Vec<String>>;
    /// The last lines that a container wrote, both streams, as text.
    async fn log_tail(&self, id: &str, lines: usize) -> Answer<String>;
    /// What a container writes, chunk by chunk.
    async fn logs(&self, id: &str, follow: bool, lines: Option<usize>) -> Answer<BoxStream<'static, Answer<LogChunk>>>;
    /// What happens from now on. The stream ends when the connection does. It never carries the events of health-check execs.
    async fn events(&self) -> Answer<BoxStream<'static, Answer<EngineEvent>>>;
    /// A file of a container or, before its first start, of its image. `NotFound` where it does not exist.
    async fn read_file(&self, id: &str, path: &str) -> Answer<Bytes>;
    /// The files of a directory of a container, whether it runs or not, by name. `NotFound` where there is no such directory;
    /// refused where it holds anything but files, or more than a fileset may.
    async fn read_directory(&self, id: &str, path: &str) -> Answer<Contents>;
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Whether it came by standard error.
    pub stderr: bool,
    /// As written.
    pub bytes: Bytes,
}

/// All that a container is created from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateContainer {
    /// Its name.
    pub name: String,
    /// Image; an id, so that what was verified is what is used.
    pub image_id: String,
    /// The reference as written, which the container is to show.
    pub image: ImageRef,
    /// Settings. `Mount::Managed` was replaced by binds before.
    pub settings: ContainerSettings,
    /// The networks to attach, first the one to create it with.
    pub networks: BTreeMap<String, Attachment>,
    /// Ours.
    pub labels: Labels,
    /// Anonymous volumes to carry over: volume by target path.
    pub carried_volumes: BTreeMap<String, String>,
}

/// What can be changed in a live container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitChange {
    /// Fields that are `Some` are set: cpus, `cpu_*`, cpuset, `mem_*`, memswap_limit, pids_limit, blkio weight, restart.
    pub settings: ContainerSettings,
}

/// What a command in a container answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit code.
    pub exit_code: i64,
    /// Both streams, cut at 64 KiB.
    pub output: String,
}

/// Progress of a pull, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress {
    /// Layer.
    pub layer: String,
    /// `Downloading`, `Extracting`, ...
    pub status: String,
    /// Bytes so far.
    pub current: u64,
    /// Bytes in all, 0 where not known.
    pub total: u64,
}

/// Called with progress.
pub type OnProgress<'a> = &'a (dyn Fn(PullProgress) + Send + Sync);

/// An engine that may be changed.
#[async_trait]
pub trait Engine: ObserveEngine {
    /// Fetches an image.
    async fn pull(&self, image: &ImageRef, login: Option<&RegistryLogin>, progress: OnProgress<'_>) -> Answer<()>;
    /// Removes an image; a conflict where a container uses it.
    async fn remove_image(&self, id: &str) -> Answer<()>;
    /// Makes a container and attaches all its networks. A warning of the engine is an error, and nothing is left behind.
    async fn create_container(&self, request: &CreateContainer) -> Answer<String>;
    /// Starts it; done if it runs.
    async fn start_container(&self, id: &str) -> Answer<()>;
    /// Stops it, by force after `grace` seconds (none: its own); done if it is stopped.
    async fn stop_container(&self, id: &str, grace: Option<i64>) -> Answer<()>;
    /// Sends a signal to its first process.
    async fn signal_container(&self, id: &str, signal: &str) -> Answer<()>;
    /// Lets a frozen one go on.
    async fn unpause_container(&self, id: &str) -> Answer<()>;
    /// Gives it another name.
    async fn rename_container(&self, id: &str, name: &str) -> Answer<()>;
    /// Removes it with force; its anonymous volumes only when asked; done if it is gone.
    async fn remove_container(&self, id: &str, anonymous_volumes: bool) -> Answer<()>;
    /// Changes limits and the restart policy.
    async fn update_container(&self, id: &str, change: &LimitChange) -> Answer<()>;
    /// Runs a command in it.
    async fn exec(&self, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome>;
    /// Puts files into a directory of a container that was never started; their paths are their names there.
    async fn put_files(&self, id: &str, directory: &str, files: &[FileToWrite]) -> Answer<()>;
    /// Waits until it has ended; its exit code.
    async fn wait_container(&self, id: &str) -> Answer<i64>;
    /// Makes a network; done if one of that name exists.
    async fn create_network(&self, name: &str, spec: &NetworkSpec, labels: &Labels) -> Answer<()>;
    /// Removes it; done if it is gone.
    async fn remove_network(&self, name: &str) -> Answer<()>;
    /// Hangs a container on a network; done if it hangs there.
    async fn connect_network(&self, network: &str, id: &str, attachment: &Attachment) -> Answer<()>;
    /// Takes it off; done if it is off.
    async fn disconnect_network(&self, network: &str, id: &str) -> Answer<()>;
    /// Makes a volume; done if one of that name exists.
    async fn create_volume(&self, name: &str, spec: &VolumeSpec, labels: &Labels) -> Answer<()>;
    /// Removes it. Only ever for an explicit command.
    async fn remove_volume(&self, name: &str) -> Answer<()>;
}

/// Commands in containers, and nothing else of an engine.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Runs a command in one.
    async fn command(&self, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome>;
}

#[async_trait]
impl<E: Engine> Commands for E {
    async fn command(&self, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome> {
        self.exec(id, hook, timeout).await
    }
}

//! The half of the engine port that only asks.
//!
//! In: connect options, and which sources of mounts are ours. Out: [`DockerObserver`]; what it hands out has no call
//! that changes anything.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bollard::Docker;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::Method;
use serde::Deserialize;

use super::ahead::Ahead;
use super::connect::{ConnectError, ConnectOptions};
use super::transport::{Transport, escape};
use super::{archive, convert, convert_image, events, logs, network, version, wire};
use crate::edge::ssh::SshLink;
use crate::model::facts::HostFacts;
use crate::model::fileset::{self, Contents};
use crate::model::names::{HostName, SiteName};
use crate::observe::observed::{
    ContainerSummary, EngineEvent, EngineVersion, ImageSummary, ObservedContainer, ObservedImage, ObservedNetwork,
};
use crate::port::engine::{Answer, EngineError, LogChunk, ObserveEngine};
use crate::port::files::ObserveFiles;

/// Key and path of a mount's source, if it is a file of ours.
pub type ManagedPath = Arc<dyn Fn(&str) -> Option<(String, String)> + Send + Sync>;

/// What is kept of a log's tail: enough for 200 long lines, little enough for an event.
const TAIL: usize = 256 * 1024;
/// The largest file that is read out of a container; /etc/passwd is what it is for.
const FILE: u64 = 16 * 1024 * 1024;
/// Symbolic links that are followed to a file.
const LINKS: usize = 8;

/// A Docker engine that can be asked and not changed.
#[derive(Clone)]
pub struct DockerObserver {
    pub(super) transport: Transport,
    pub(super) docker: Docker,
    managed: ManagedPath,
    /// Of the last version that was seen.
    api: Arc<Mutex<Option<(u32, u32)>>>,
    ahead: Ahead,
}

impl DockerObserver {
    /// Reads the certificates; the engine itself is called by the first question.
    pub fn new(options: &ConnectOptions, managed: ManagedPath) -> Result<Self, ConnectError> {
        let transport = Transport::new(options)?;
        let docker = transport.bollard()?;
        Ok(Self { transport, docker, managed, api: Arc::default(), ahead: Ahead::default() })
    }

    /// The same, asking `files` which sources of mounts are ours.
    pub fn with_files(options: &ConnectOptions, files: Arc<dyn ObserveFiles>) -> Result<Self, ConnectError> {
        Self::new(options, Arc::new(move |source| files.managed_path(source)))
    }

    /// Begins to ask what is asked first about a host of a site. Whoever asks for the same later has the answers sooner.
    pub fn look_ahead(&self, site: SiteName, host: HostName) {
        self.ahead.begin(&self.transport, site, host);
    }

    /// Where the engine is, as people write it.
    pub fn address(&self) -> &str {
        self.transport.address()
    }

    /// The way to the engine's host over SSH, where that is how the engine is reached.
    pub fn ssh(&self) -> Option<&SshLink> {
        self.transport.ssh()
    }

    /// Whether the engine is on this machine, by its socket.
    pub fn is_local(&self) -> bool {
        self.transport.is_local()
    }

    /// What the engine says of its machine.
    pub async fn machine(&self) -> Answer<HostFacts> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        struct Info {
            name: String,
            operating_system: String,
            architecture: String,
            kernel_version: String,
            #[serde(rename = "NCPU")]
            cpus: u32,
            mem_total: u64,
        }
        let info: Info = self.transport.get("/info").await?;
        Ok(HostFacts {
            hostname: info.name,
            os: info.operating_system,
            architecture: info.architecture,
            kernel: info.kernel_version,
            cpus: info.cpus,
            memory: info.mem_total,
            interfaces: None,
        })
    }

    /// The API's version, asked for only where nobody did so before.
    pub(super) async fn api(&self) -> Answer<(u32, u32)> {
        let known = *self.api.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(api) => Ok(api),
            None => self.version().await.map(|version| version.api),
        }
    }

    /// The id of an image; an error where there is none.
    pub(super) async fn image(&self, reference: &str) -> Answer<wire::Image> {
        self.transport.get(&format!("/images/{}/json", escape(reference))).await
    }
}

#[async_trait]
impl ObserveEngine for DockerObserver {
    async fn version(&self) -> Answer<EngineVersion> {
        let response =
            self.transport.within(self.transport.answer, self.transport.open(Method::GET, "/_ping", None)).await?;
        let told = version::from_headers(response.headers());
        // Read to its end, the connection can be used again.
        self.transport.within(self.transport.answer, self.transport.collect(response)).await?;
        let version = match told {
            Some(version) => version,
            None => version::from_version(&self.transport.get("/version").await?)?,
        };
        let version = version::supported(version)?;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.api);
        Ok(version)
    }

    async fn list_containers(&self) -> Answer<Vec<ContainerSummary>> {
        let list = match self.ahead.list().await {
            Some(early) => early,
            None => self.transport.list().await,
        };
        Ok(list?.into_iter().map(convert::summary).collect())
    }

    async fn inspect_container(&self, id: &str) -> Answer<ObservedContainer> {
        let container = match self.ahead.container(id).await {
            Some(early) => early,
            None => self.transport.inspect(id).await,
        };
        Ok(convert::container(container?, &*self.managed))
    }

    async fn list_images(&self) -> Answer<Vec<ImageSummary>> {
        let list: Vec<wire::ListedImage> = self.transport.get("/images/json").await?;
        Ok(list.iter().map(convert_image::image_summary).collect())
    }

    async fn inspect_image(&self, reference: &str) -> Answer<ObservedImage> {
        Ok(convert_image::image(self.image(reference).await?))
    }

    async fn list_networks(&self) -> Answer<Vec<ObservedNetwork>> {
        let list: Vec<bollard::models::Network> = self.transport.get("/networks").await?;
        Ok(list.into_iter().map(network::observed).collect())
    }

    async fn identity(&self) -> Answer<String> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(rename = "ID", default)]
            id: String,
        }
        self.transport.get::<Info>("/info").await.map(|info| info.id)
    }

    async fn list_volumes(&self) -> Answer<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct List {
            volumes: Option<Vec<Volume>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Volume {
            name: String,
        }
        let list: List = self.transport.get("/volumes").await?;
        let mut names: Vec<String> = list.volumes.into_iter().flatten().map(|volume| volume.name).collect();
        names.sort();
        Ok(names)
    }

    async fn log_tail(&self, id: &str, lines: usize) -> Answer<String> {
        let chunks = self.logs(id, false, Some(lines)).await?;
        self.transport.within(self.transport.answer, logs::text(chunks, TAIL, true)).await
    }

    async fn logs(&self, id: &str, follow: bool, lines: Option<usize>) -> Answer<BoxStream<'static, Answer<LogChunk>>> {
        // Only this tells frames from a terminal's plain bytes: before API 1.42 the reply does not.
        let terminal = self.transport.inspect(id).await?.config.tty;
        let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let path = format!("/containers/{}/logs?stdout=true&stderr=true&follow={follow}&tail={tail}", escape(id));
        let response =
            self.transport.within(self.transport.answer, self.transport.open(Method::GET, &path, None)).await?;
        Ok(logs::chunks(self.transport.address(), response, terminal))
    }

    async fn events(&self) -> Answer<BoxStream<'static, Answer<EngineEvent>>> {
        let path = events::path();
        let open = self.transport.open(Method::GET, &path, None);
        let response = self.transport.within(self.transport.answer, open).await?;
        Ok(events::stream(self.transport.address(), response))
    }

    async fn read_file(&self, id: &str, path: &str) -> Answer<Bytes> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let url = format!("/containers/{}/archive?path={}", escape(id), escape(&path));
            let archive = self
                .transport
                .within(self.transport.answer, async {
                    let response = self.transport.open(Method::GET, &url, None).await?;
                    self.transport.collect_at_most(response, FILE + 1024 * 1024).await
                })
                .await?;
            match archive::read(&path, &archive, FILE)? {
                archive::Entry::File(content) => return Ok(content),
                archive::Entry::Link(target) => path = target,
            }
        }
        Err(EngineError::Refused(format!("{path}: too many symbolic links")))
    }

    async fn read_directory(&self, id: &str, path: &str) -> Answer<Contents> {
        // Each file has a header of its own.
        let archive = self.download(id, path, 2 * fileset::MOST as u64 + 1024 * 1024).await?;
        archive::files(path, &archive)
    }
}

//! Building and pushing images, by the engine's own builder.
//!
//! In: a context on disk, names and labels. Out: the image's id, a line at a time of what the builder says, and the digest
//! that a registry gives.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{BuildImageOptions, PushImageOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::connect::{ConnectError, ConnectOptions};
use super::observer::DockerObserver;
use super::transport::escape;
use super::{errors, image};
use crate::build::hash::LABEL;
use crate::build::plan::Existing;
use crate::model::desired::RegistryLogin;
use crate::model::image::ImageRef;
use crate::port::engine::{Answer, EngineError};

/// Bytes of the context that are sent at a time.
const CHUNK: usize = 128 * 1024;

/// What is built.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Its whole reference.
    pub reference: String,
    /// The context, a tar archive with a `Dockerfile`.
    pub context: PathBuf,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Arguments of the build.
    pub arguments: BTreeMap<String, String>,
    /// Whether steps that were done before are done again.
    pub no_cache: bool,
}

/// An engine that builds.
#[derive(Clone)]
pub struct DockerBuilder {
    observer: DockerObserver,
    logins: BTreeMap<String, RegistryLogin>,
}

impl std::fmt::Debug for DockerBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "DockerBuilder({})", self.observer.address())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default, rename = "RootFS")]
    root: Root,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Root {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerBuilder {
    /// Reads the certificates; the engine is called by the first request. Logins are by registry.
    pub fn new(options: &ConnectOptions, logins: BTreeMap<String, RegistryLogin>) -> Result<Self, ConnectError> {
        let observer = DockerObserver::new(options, std::sync::Arc::new(|_| None))?;
        Ok(Self { observer, logins })
    }

    /// What the engine has under a reference.
    pub async fn existing(&self, reference: &str) -> Answer<Option<Existing>> {
        let inspected = match self.inspect(reference).await {
            Ok(inspected) => inspected,
            Err(EngineError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let labels = inspected.config.and_then(|config| config.labels).unwrap_or_default();
        let layers = inspected.root.layers.unwrap_or_default();
        Ok(Some(Existing { id: inspected.id, hash: labels.get(LABEL).cloned(), layers }))
    }

    async fn inspect(&self, reference: &str) -> Answer<Inspected> {
        self.observer.transport.get(&format!("/images/{}/json", escape(reference))).await
    }

    /// Builds, and hands on each piece of what the builder says. Dropping the future ends the build.
    pub async fn build(&self, request: &BuildRequest, mut say: impl FnMut(&str)) -> Answer<String> {
        let options = BuildImageOptions {
            dockerfile: crate::build::context::DOCKERFILE.to_owned(),
            t: Some(request.reference.clone()),
            nocache: request.no_cache,
            rm: true,
            forcerm: true,
            labels: Some(request.labels.clone().into_iter().collect()),
            buildargs: Some(request.arguments.clone().into_iter().collect())
                .filter(|map: &HashMap<_, _>| !map.is_empty()),
            ..BuildImageOptions::default()
        };
        let mut logins = HashMap::new();
        for (registry, login) in &self.logins {
            // The builder looks a login up by the name that Docker has for its own registry.
            let known = if registry == "docker.io" { image::HUB } else { registry.as_str() };
            logins.insert(known.to_owned(), credentials(registry, login)?);
        }
        let failed = |error: std::io::Error| {
            EngineError::Failed(format!("{}: {}", request.context.display(), crate::edge::system_words(&error)))
        };
        let file = tokio::fs::File::open(&request.context).await.map_err(failed)?;
        let chunks = futures_util::stream::unfold(file, |mut file| async move {
            let mut chunk = vec![0; CHUNK];
            match file.read(&mut chunk).await {
                Ok(0) => None,
                Ok(read) => {
                    chunk.truncate(read);
                    Some((Ok(Bytes::from(chunk)), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        });
        let body = bollard::body_try_stream(chunks);
        let mut lines = self.observer.docker.build_image(options, Some(logins), Some(body)).boxed();
        let mut id = None;
        while let Some(line) = lines.next().await {
            let line = line.map_err(|error| self.error(error))?;
            if let Some(text) = &line.stream {
                say(text);
            }
            if let Some(status) = line.status {
                // Layers of a base image that is pulled; their progress is left out.
                if line.progress_detail.is_none_or(|detail| detail.current.is_none()) {
                    say(&format!("{} {status}\n", line.id.unwrap_or_default()));
                }
            }
            if let Some(built) = line.aux.and_then(|aux| aux.id) {
                id = Some(built);
            }
        }
        match id {
            Some(id) => Ok(id),
            None => Ok(self.inspect(&request.reference).await?.id),
        }
    }

    /// Pushes, and gives the digest by which the registry knows the image now.
    pub async fn push(&self, reference: &str, mut say: impl FnMut(&str)) -> Answer<String> {
        let image = ImageRef::new(reference).map_err(|error| EngineError::Refused(error.to_string()))?;
        let registry = image.registry().unwrap_or("docker.io");
        let login = self.logins.get(registry);
        let credentials = login.map(|login| credentials(registry, login)).transpose()?;
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let mut lines = self.observer.docker.push_image(repository, Some(options), credentials).boxed();
        let mut told = None;
        while let Some(line) = lines.next().await {
            let line = line.map_err(|error| errors::from_pull(self.error(error)))?;
            let Some(status) = line.status else { continue };
            if line.progress_detail.is_none_or(|detail| detail.current.is_none()) {
                say(&format!("{status}\n"));
            }
            if let Some(digest) = status.split_whitespace().find(|word| word.starts_with("sha256:")) {
                told = Some(digest.to_owned());
            }
        }
        let digests = self.inspect(reference).await?.repo_digests.unwrap_or_default();
        let known: Vec<&str> =
            digests.iter().filter_map(|digest| digest.strip_prefix(repository)?.strip_prefix('@')).collect();
        // An image that was pushed from here before may have several; the one that was told just now counts.
        match (told, known.as_slice()) {
            (Some(told), known) if known.is_empty() || known.contains(&told.as_str()) => Ok(told),
            (_, [only]) => Ok((*only).to_owned()),
            _ => Err(EngineError::Failed(format!(
                "the engine does not say by which digest {registry} knows {reference}"
            ))),
        }
    }

    /// The digest by which a registry knows an image now. The engine asks the registry; nothing is fetched.
    pub async fn digest(&self, image: &ImageRef) -> Answer<String> {
        let registry = image.registry().unwrap_or("docker.io");
        let credentials = self.logins.get(registry).map(|login| credentials(registry, login)).transpose()?;
        let asked = self.observer.docker.inspect_registry_image(&image.with_tag(), credentials).await;
        let told = asked.map_err(|error| errors::from_pull(self.error(error)))?.descriptor.digest;
        told.ok_or_else(|| {
            EngineError::Failed(format!("the engine does not say by which digest {registry} knows {image}"))
        })
    }

    fn error(&self, error: bollard::errors::Error) -> EngineError {
        self.observer.transport.error(error)
    }
}

/// A login in the engine's form.
fn credentials(registry: &str, login: &RegistryLogin) -> Answer<DockerCredentials> {
    let name = if registry == "docker.io" { "image".to_owned() } else { format!("{registry}/image") };
    let image = ImageRef::new(name).map_err(|error| EngineError::Refused(error.to_string()))?;
    image::credentials(&image, login)
}

//! Directories of containers as tar archives, to and from the engine, and images made of one.
//!
//! What `edge::remote_files` works with. The calls that change anything are those of [`DockerEngine`].

use bollard::query_parameters::{CreateImageOptions, UploadToContainerOptions};
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Method;
use serde::Deserialize;

use super::transport::escape;
use super::{DockerEngine, DockerObserver, archive};
use crate::model::labels::{Labels, SITE};
use crate::model::time::Span;
use crate::port::engine::{Answer, EngineError};
use crate::port::files::FileToWrite;

/// The engine mounts a container's file systems for it, and much may have to go over a slow line.
const TRANSFER: Span = Span::seconds(120);

impl DockerObserver {
    /// The archive of a path in a container, whether it runs or not; what its first component is called is the engine's
    /// affair. `NotFound` where container or path do not exist.
    pub async fn download(&self, container: &str, path: &str, limit: u64) -> Answer<Bytes> {
        let url = format!("/containers/{}/archive?path={}", escape(container), escape(path));
        self.transport
            .within(TRANSFER, async {
                let response = self.transport.open(Method::GET, &url, None).await?;
                self.transport.collect_at_most(response, limit).await
            })
            .await
    }

    /// The labels of a container; none where there is no such container.
    pub async fn labels(&self, container: &str) -> Answer<Option<Labels>> {
        match self.transport.inspect(container).await {
            Ok(found) => Ok(Some(found.config.labels)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sources of all mounts of the containers of a site.
    pub async fn mount_sources(&self, site: &str) -> Answer<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            #[serde(default)]
            mounts: Vec<Point>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Point {
            #[serde(default)]
            source: String,
        }
        let filter = serde_json::json!({"label": [format!("{SITE}={site}")]}).to_string();
        let list: Vec<Listed> =
            self.transport.get(&format!("/containers/json?all=true&filters={}", escape(&filter))).await?;
        Ok(list.into_iter().flat_map(|listed| listed.mounts).map(|point| point.source).collect())
    }
}

impl DockerEngine {
    /// Unpacks an archive into the root directory of a container, whether it runs or not.
    pub async fn upload(&self, container: &str, archive: Bytes) -> Answer<()> {
        let observer = self.observer();
        let options = UploadToContainerOptions { path: "/".to_owned(), ..UploadToContainerOptions::default() };
        let upload = observer.docker.upload_to_container(container, Some(options), bollard::body_full(archive));
        let transport = &observer.transport;
        transport.within(TRANSFER, async { upload.await.map_err(|error| transport.error(error)) }).await
    }

    /// Puts files into a directory of a container.
    pub(super) async fn unpack(&self, container: &str, directory: &str, files: &[FileToWrite]) -> Answer<()> {
        let packed = archive::pack(directory, files).map_err(|error| EngineError::Failed(error.to_string()))?;
        self.upload(container, packed).await
    }

    /// Makes an image of one layer.
    pub async fn import(&self, repository: &str, tag: &str, archive: Bytes) -> Answer<()> {
        let observer = self.observer();
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let lines = observer.docker.create_image(Some(options), Some(bollard::body_full(archive)), None);
        let transport = &observer.transport;
        let all = lines.try_for_each(|_line| futures_util::future::ready(Ok(())));
        transport.within(TRANSFER, async { all.await.map_err(|error| transport.error(error)) }).await
    }
}

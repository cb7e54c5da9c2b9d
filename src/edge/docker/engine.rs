//! The half of the engine port that changes things.
//!
//! In: a [`DockerObserver`] and requests. Out: [`DockerEngine`]. Each call says in the port whether doing it twice is
//! an error; where it is not, the engine's "already so" is success here.

use std::future::Future;

use async_trait::async_trait;
use bollard::query_parameters as query;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::Method;
use serde_json::{Value, json};

use super::connect::{ConnectError, ConnectOptions};
use super::observer::{DockerObserver, ManagedPath};
use super::transport::{escape, read_json};
use super::{create, errors, exec, image, limits, network, wire};
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
use crate::port::engine::{
    Answer, CreateContainer, Engine, EngineError, ExecOutcome, LimitChange, LogChunk, ObserveEngine, OnProgress,
};
use crate::port::files::FileToWrite;

/// For what makes the engine write or start processes: longer than for a question.
const WORK: Span = Span::seconds(180);
/// On top of the time that a container has to stop by itself.
const AFTER_GRACE: u64 = 30;
/// Docker's own grace where neither the call nor the container names one.
const OWN_GRACE: i64 = 10;
/// A pull that says nothing for so long is stuck.
const SILENT_PULL: Span = Span::seconds(600);
/// A removal that is under way already is waited for in these steps,
const STEP: std::time::Duration = std::time::Duration::from_millis(50);
/// so often.
const STEPS: u32 = 200;

/// A Docker engine that can be changed.
#[derive(Clone)]
pub struct DockerEngine {
    observer: DockerObserver,
}

impl DockerEngine {
    /// Reads the certificates; the engine itself is called by the first request.
    pub fn new(options: &ConnectOptions, managed: ManagedPath) -> Result<Self, ConnectError> {
        DockerObserver::new(options, managed).map(Self::over)
    }

    /// On the connections of an observer.
    pub fn over(observer: DockerObserver) -> Self {
        Self { observer }
    }

    /// The half that only asks.
    pub fn observer(&self) -> &DockerObserver {
        &self.observer
    }

    /// A call of bollard's with a limit.
    async fn call<T>(
        &self,
        limit: Span,
        work: impl Future<Output = Result<T, bollard::errors::Error>> + Send,
    ) -> Answer<T> {
        let transport = &self.observer.transport;
        transport.within(limit, async { work.await.map_err(|error| transport.error(error)) }).await
    }

    /// A call whose reply does not matter.
    async fn order(&self, path: &str, body: Option<&Value>, limit: Span) -> Answer<()> {
        let transport = &self.observer.transport;
        transport
            .within(limit, async {
                let response = transport.open(Method::POST, path, body).await?;
                transport.collect(response).await.map(drop)
            })
            .await
    }

    async fn attach(&self, network: &str, id: &str, attachment: &Attachment) -> Answer<()> {
        let endpoint = serde_json::to_value(create::endpoint(attachment))
            .map_err(|error| EngineError::Refused(error.to_string()))?;
        let body = json!({"Container": id, "EndpointConfig": endpoint});
        self.order(&format!("/networks/{}/connect", escape(network)), Some(&body), WORK).await
    }

    /// Removes what a failed creation leaves; the failure itself is what is reported.
    async fn discard(&self, id: &str) {
        let path = format!("/containers/{}?force=true&v=true", escape(id));
        let transport = &self.observer.transport;
        let removal = transport.within(WORK, async { transport.open(Method::DELETE, &path, None).await });
        if let Err(error) = removal.await {
            tracing::warn!(container = id, %error, "an unfinished container could not be removed");
        }
    }
}

/// The reference as written where it leads to the image that was verified, else the image's id.
async fn image_to_use(observer: &DockerObserver, request: &CreateContainer) -> Answer<String> {
    match observer.image(request.image.as_str()).await {
        Ok(image) if image.id == request.image_id => Ok(request.image.as_str().to_owned()),
        Ok(_) | Err(EngineError::NotFound(_) | EngineError::Refused(_)) => Ok(request.image_id.clone()),
        Err(error) => Err(error),
    }
}

/// An engine takes a network that it does not have, and fails at the start of the container.
async fn check_networks(observer: &DockerObserver, request: &CreateContainer) -> Answer<()> {
    if request.networks.is_empty() {
        return Ok(());
    }
    let known = observer.list_networks().await?;
    let is_known = |wanted: &str| known.iter().any(|network| network.name == wanted || network.id == wanted);
    match request.networks.keys().find(|name| !is_known(name)) {
        Some(name) => Err(EngineError::NotFound(format!("network {name} not found"))),
        None => Ok(()),
    }
}

/// Whether a warning is of no setting that would be ignored. A kernel without accounting of swap warns at each memory
/// limit, which works all the same; a host that does not forward tells so at each container; and whoever disables the
/// OOM killer gets just that, with advice.
fn is_harmless(warning: &str, settings: &ContainerSettings) -> bool {
    let text = warning.to_lowercase();
    let swap = text.contains("swap limit") && settings.memswap_limit.is_none();
    swap || text.contains("forwarding is disabled") || text.contains("oom killer is disabled for the container")
}

/// A memory limit above the sum of memory and swap is refused. Where that sum is the engine's own choice (twice the
/// limit), it has to move with the limit.
fn with_swap(settings: &ContainerSettings, memory: i64, memory_and_swap: i64) -> ContainerSettings {
    let mut settings = settings.clone();
    if let (Some(limit), None, true) =
        (settings.mem_limit, settings.memswap_limit, memory_and_swap == memory.saturating_mul(2))
    {
        settings.memswap_limit = Some(limit.saturating_mul(2));
    }
    settings
}

#[async_trait]
impl Engine for DockerEngine {
    async fn pull(&self, image: &ImageRef, login: Option<&RegistryLogin>, progress: OnProgress<'_>) -> Answer<()> {
        let credentials = login.map(|login| image::credentials(image, login)).transpose()?;
        let transport = &self.observer.transport;
        let mut lines = self.observer.docker.create_image(Some(image::options(image, None)), None, credentials).boxed();
        loop {
            match tokio::time::timeout(SILENT_PULL.duration(), lines.next()).await {
                Ok(Some(Ok(line))) => progress(image::progress(line)),
                Ok(Some(Err(error))) => return Err(errors::from_pull(transport.error(error))),
                Ok(None) => return Ok(()),
                Err(_) => return Err(EngineError::Timeout(SILENT_PULL)),
            }
        }
    }

    async fn remove_image(&self, id: &str) -> Answer<()> {
        let options = query::RemoveImageOptions::default();
        self.call(WORK, self.observer.docker.remove_image(id, Some(options), None)).await.map(drop)
    }

    async fn create_container(&self, request: &CreateContainer) -> Answer<String> {
        check_networks(&self.observer, request).await?;
        let image = image_to_use(&self.observer, request).await?;
        let call = create::call(request, &image, self.observer.api().await?)?;
        let platform = request.settings.platform.as_deref().map(|platform| format!("&platform={}", escape(platform)));
        let path = format!("/containers/create?name={}{}", escape(&request.name), platform.unwrap_or_default());
        let created: wire::Created = self.observer.transport.post(&path, &call.body, WORK).await?;
        let (harmless, warnings): (Vec<_>, Vec<_>) =
            created.warnings.into_iter().partition(|warning| is_harmless(warning, &request.settings));
        for warning in harmless {
            tracing::debug!(container = request.name, warning, "the engine warns of what was not asked for");
        }
        if !warnings.is_empty() {
            self.discard(&created.id).await;
            return Err(EngineError::Warned(warnings.join("; ")));
        }
        for (network, attachment) in &call.networks {
            if let Err(error) = self.attach(network, &created.id, attachment).await {
                self.discard(&created.id).await;
                return Err(error);
            }
        }
        Ok(created.id)
    }

    async fn start_container(&self, id: &str) -> Answer<()> {
        self.order(&format!("/containers/{}/start", escape(id)), None, WORK).await
    }

    async fn stop_container(&self, id: &str, grace: Option<i64>) -> Answer<()> {
        let own = match grace {
            Some(grace) => grace,
            None => self.observer.transport.inspect(id).await?.config.stop_timeout.unwrap_or(OWN_GRACE),
        };
        // A negative grace waits for ever; we do not.
        let limit = u64::try_from(own).map_or(WORK, |own| Span::seconds(own.saturating_add(AFTER_GRACE)));
        let given = grace.map(|grace| format!("?t={grace}")).unwrap_or_default();
        self.order(&format!("/containers/{}/stop{given}", escape(id)), None, limit).await
    }

    async fn signal_container(&self, id: &str, signal: &str) -> Answer<()> {
        self.order(&format!("/containers/{}/kill?signal={}", escape(id), escape(signal)), None, WORK).await
    }

    async fn unpause_container(&self, id: &str) -> Answer<()> {
        match self.order(&format!("/containers/{}/unpause", escape(id)), None, WORK).await {
            Err(EngineError::Conflict(text) | EngineError::Failed(text)) if text.contains("is not paused") => Ok(()),
            other => other,
        }
    }

    async fn rename_container(&self, id: &str, name: &str) -> Answer<()> {
        self.order(&format!("/containers/{}/rename?name={}", escape(id), escape(name)), None, WORK).await
    }

    async fn remove_container(&self, id: &str, anonymous_volumes: bool) -> Answer<()> {
        let path = format!("/containers/{}?force=true&v={anonymous_volumes}", escape(id));
        let transport = &self.observer.transport;
        let removal = transport.within(WORK, async { transport.open(Method::DELETE, &path, None).await.map(drop) });
        match removal.await {
            Err(EngineError::NotFound(_)) => Ok(()),
            Err(EngineError::Conflict(text)) if text.contains("already in progress") => {
                for _ in 0..STEPS {
                    if let Err(EngineError::NotFound(_)) = self.observer.transport.inspect(id).await {
                        return Ok(());
                    }
                    tokio::time::sleep(STEP).await;
                }
                Err(EngineError::Conflict(text))
            }
            other => other,
        }
    }

    async fn update_container(&self, id: &str, change: &LimitChange) -> Answer<()> {
        let mut settings = change.settings.clone();
        if settings.mem_limit.is_some() && settings.memswap_limit.is_none() {
            let host = self.observer.transport.inspect(id).await?.host_config;
            settings = with_swap(&settings, host.memory.unwrap_or_default(), host.memory_swap.unwrap_or_default());
        }
        let body = serde_json::to_value(limits::update(&settings)?)
            .map_err(|error| EngineError::Refused(error.to_string()))?;
        let path = format!("/containers/{}/update", escape(id));
        let reply: wire::Created = self.observer.transport.post(&path, &body, WORK).await?;
        let warnings: Vec<String> =
            reply.warnings.into_iter().filter(|warning| !is_harmless(warning, &change.settings)).collect();
        if warnings.is_empty() { Ok(()) } else { Err(EngineError::Warned(warnings.join("; "))) }
    }

    async fn exec(&self, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome> {
        exec::run(&self.observer.transport, &escape(id), hook, timeout).await
    }

    async fn put_files(&self, id: &str, directory: &str, files: &[FileToWrite]) -> Answer<()> {
        self.unpack(id, directory, files).await
    }

    async fn wait_container(&self, id: &str) -> Answer<i64> {
        let transport = &self.observer.transport;
        let path = format!("/containers/{}/wait?condition=not-running", escape(id));
        // The head comes at once, the body when the container has ended, however long that takes.
        let response = transport.within(transport.answer, transport.open(Method::POST, &path, None)).await?;
        let reply: wire::Waited = read_json(&transport.collect(response).await?)?;
        match reply.error.filter(|error| !error.message.is_empty()) {
            Some(error) => Err(EngineError::Failed(error.message)),
            None => Ok(reply.status_code),
        }
    }

    async fn create_network(&self, name: &str, spec: &NetworkSpec, labels: &Labels) -> Answer<()> {
        match self.order("/networks/create", Some(&network::create(name, spec, labels)?), WORK).await {
            Err(EngineError::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    async fn remove_network(&self, name: &str) -> Answer<()> {
        match self.call(WORK, self.observer.docker.remove_network(name)).await {
            Err(EngineError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    async fn connect_network(&self, network: &str, id: &str, attachment: &Attachment) -> Answer<()> {
        create::check_attachment(attachment, self.observer.api().await?)?;
        match self.attach(network, id, attachment).await {
            Err(EngineError::Refused(text)) if text.contains("already exists in network") => {
                let attached =
                    self.observer.transport.inspect(id).await?.network_settings.networks.contains_key(network);
                if attached { Ok(()) } else { Err(EngineError::Failed(text)) }
            }
            other => other,
        }
    }

    async fn disconnect_network(&self, network: &str, id: &str) -> Answer<()> {
        let body = json!({"Container": id, "Force": true});
        match self.order(&format!("/networks/{}/disconnect", escape(network)), Some(&body), WORK).await {
            Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) if error.to_string().contains("is not connected to") => Ok(()),
            other => other,
        }
    }

    async fn create_volume(&self, name: &str, spec: &VolumeSpec, labels: &Labels) -> Answer<()> {
        match self.order("/volumes/create", Some(&network::create_volume(name, spec, labels)), WORK).await {
            Err(EngineError::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    async fn remove_volume(&self, name: &str) -> Answer<()> {
        self.call(WORK, self.observer.docker.remove_volume(name, None::<query::RemoveVolumeOptions>)).await
    }
}

#[async_trait]
impl ObserveEngine for DockerEngine {
    async fn version(&self) -> Answer<EngineVersion> {
        self.observer.version().await
    }

    async fn list_containers(&self) -> Answer<Vec<ContainerSummary>> {
        self.observer.list_containers().await
    }

    async fn inspect_container(&self, id: &str) -> Answer<ObservedContainer> {
        self.observer.inspect_container(id).await
    }

    async fn list_images(&self) -> Answer<Vec<ImageSummary>> {
        self.observer.list_images().await
    }

    async fn inspect_image(&self, reference: &str) -> Answer<ObservedImage> {
        self.observer.inspect_image(reference).await
    }

    async fn list_networks(&self) -> Answer<Vec<ObservedNetwork>> {
        self.observer.list_networks().await
    }

    async fn identity(&self) -> Answer<String> {
        self.observer.identity().await
    }

    async fn list_volumes(&self) -> Answer<Vec<String>> {
        self.observer.list_volumes().await
    }

    async fn log_tail(&self, id: &str, lines: usize) -> Answer<String> {
        self.observer.log_tail(id, lines).await
    }

    async fn logs(&self, id: &str, follow: bool, lines: Option<usize>) -> Answer<BoxStream<'static, Answer<LogChunk>>> {
        self.observer.logs(id, follow, lines).await
    }

    async fn events(&self) -> Answer<BoxStream<'static, Answer<EngineEvent>>> {
        self.observer.events().await
    }

    async fn read_file(&self, id: &str, path: &str) -> Answer<Bytes> {
        self.observer.read_file(id, path).await
    }

    async fn read_directory(&self, id: &str, path: &str) -> Answer<Contents> {
        self.observer.read_directory(id, path).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_of_ignored_settings_count() {
        let plain = ContainerSettings::default();
        let with_swap = ContainerSettings { memswap_limit: Some(1), ..ContainerSettings::default() };
        let swap = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
        assert!(is_harmless(swap, &plain));
        assert!(!is_harmless(swap, &with_swap));
        assert!(is_harmless("IPv4 forwarding is disabled. Networking will not work.", &plain));
        assert!(!is_harmless("Your kernel does not support OomKillDisable. OomKillDisable discarded.", &plain));
        assert!(!is_harmless("Published ports are discarded when using host network mode", &plain));
    }

    #[test]
    fn swap_moves_with_memory_only_where_the_engine_chose_it() {
        let change = ContainerSettings { mem_limit: Some(300), ..ContainerSettings::default() };
        assert_eq!(with_swap(&change, 100, 200).memswap_limit, Some(600));
        assert_eq!(with_swap(&change, 100, 150).memswap_limit, None);
        assert_eq!(with_swap(&change, 100, -1).memswap_limit, None);
        let both = ContainerSettings { memswap_limit: Some(500), ..change };
        assert_eq!(with_swap(&both, 100, 200).memswap_limit, Some(500));
    }
}

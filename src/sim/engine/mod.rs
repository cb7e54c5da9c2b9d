//! The simulated engine: the ports, over the state of one host.
//!
//! Each call takes its time, may fail by the world's faults, and is counted and checked if it changes something. What it
//! does to the state is in the other files of this directory, written after what dockerd 20.10 does.

mod containers;
mod events;
mod exec;
mod facts;
mod images;
mod networks;
mod settings;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::faults::{Fault, Moment};
use super::state::HostState;
use super::world::SimHost;
use crate::model::desired::{Hook, RegistryLogin};
use crate::model::fileset::Contents;
use crate::model::image::ImageRef;
use crate::model::labels::Labels;
use crate::model::network::{Attachment, NetworkSpec, VolumeSpec};
use crate::model::time::Span;
use crate::observe::observed::{
    ContainerSummary, EngineEvent, EngineVersion, ImageSummary, ObservedContainer, ObservedImage, ObservedNetwork,
};
use crate::port::engine::{
    Answer, CreateContainer, Engine, EngineError, ExecOutcome, LimitChange, LogChunk, ObserveEngine, OnProgress,
};
use crate::port::files::FileToWrite;

/// The engine of a simulated host. Copies are the same engine.
#[derive(Clone, Debug)]
pub struct SimEngine {
    host: SimHost,
}

impl SimEngine {
    pub(super) fn new(host: SimHost) -> Self {
        Self { host }
    }

    /// A question.
    async fn ask<T: Send>(
        &self,
        verb: &str,
        target: &str,
        act: impl FnOnce(&mut HostState) -> Answer<T> + Send,
    ) -> Answer<T> {
        let started = self.host.begin(verb, target, false).await;
        let answer = {
            let mut state = self.host.state();
            match &started.fault {
                Some(fault) => Err(fault.error().clone()),
                None if state.down_until.is_some() => Err(away()),
                None => act(&mut state),
            }
        };
        self.host.end(&started).await;
        answer
    }

    /// A change; `act` gets whether only its beginning is to be done, `finish` says when it has ended.
    async fn change_until<T: Send + Sync, U: Send>(
        &self,
        verb: &str,
        target: &str,
        act: impl FnOnce(&mut HostState, bool) -> Answer<T> + Send,
        finish: impl Fn(&mut HostState, &T) -> Option<Answer<U>> + Send + Sync,
    ) -> Answer<U> {
        let started = self.host.begin(verb, target, true).await;
        let begun = {
            let mut state = self.host.state();
            let line = format!("{verb} {target}");
            match &started.fault {
                Some(Fault::Before(error)) => {
                    state.note(&format!("{line}: not done: {error}"));
                    Err(error.clone())
                }
                _ if state.down_until.is_some() => Err(away()),
                fault => {
                    state.watch_change(&line);
                    let answer = act(&mut state, started.death == Some(Moment::During));
                    let outcome = match (&answer, fault) {
                        (Err(error), _) => format!(": {error}"),
                        (Ok(_), Some(_)) => ": done, reply lost".to_owned(),
                        (Ok(_), None) => String::new(),
                    };
                    state.note(&format!("{line}{outcome}"));
                    answer
                }
            }
        };
        self.host.stir();
        let answer = match begun {
            Ok(_) if started.death.is_some() => Err(away()),
            Ok(begun) => {
                self.host
                    .until(|state| match finish(state, &begun) {
                        None if state.down_until.is_some() => Some(Err(away())),
                        answer => answer,
                    })
                    .await
            }
            Err(error) => Err(error),
        };
        self.host.end(&started).await;
        match (answer, started.fault) {
            (Ok(_), Some(Fault::After(error))) => Err(error),
            (answer, _) => answer,
        }
    }

    /// A change that is done at once.
    async fn change<T: Clone + Send + Sync>(
        &self,
        verb: &str,
        target: &str,
        act: impl FnOnce(&mut HostState, bool) -> Answer<T> + Send,
    ) -> Answer<T> {
        self.change_until(verb, target, act, |_, done| Some(Ok(done.clone()))).await
    }
}

fn away() -> EngineError {
    EngineError::Unreachable("connection refused".to_owned())
}

#[async_trait]
impl ObserveEngine for SimEngine {
    async fn version(&self) -> Answer<EngineVersion> {
        self.ask("version", "", |state| Ok(state.version.clone())).await
    }

    async fn list_containers(&self) -> Answer<Vec<ContainerSummary>> {
        self.ask("list containers", "", |state| Ok(state.list_containers())).await
    }

    async fn inspect_container(&self, id: &str) -> Answer<ObservedContainer> {
        self.ask("inspect", id, |state| state.inspect_container(id)).await
    }

    async fn list_images(&self) -> Answer<Vec<ImageSummary>> {
        self.ask("list images", "", |state| Ok(state.list_images())).await
    }

    async fn inspect_image(&self, reference: &str) -> Answer<ObservedImage> {
        self.ask("inspect image", reference, |state| state.inspect_image(reference)).await
    }

    async fn list_networks(&self) -> Answer<Vec<ObservedNetwork>> {
        self.ask("list networks", "", |state| Ok(state.networks.values().cloned().collect())).await
    }

    async fn identity(&self) -> Answer<String> {
        self.ask("identity", "", |state| Ok(state.version.id.clone())).await
    }

    async fn list_volumes(&self) -> Answer<Vec<String>> {
        self.ask("list volumes", "", |state| Ok(state.volumes.keys().cloned().collect())).await
    }

    async fn log_tail(&self, id: &str, lines: usize) -> Answer<String> {
        self.ask("log", id, |state| state.log_tail(id, lines)).await
    }

    async fn logs(&self, id: &str, follow: bool, lines: Option<usize>) -> Answer<BoxStream<'static, Answer<LogChunk>>> {
        let text = self.ask("log", id, |state| state.log_tail(id, lines.unwrap_or(usize::MAX))).await?;
        let chunk = LogChunk { stderr: false, bytes: Bytes::from(text) };
        let told = futures_util::stream::iter([Ok(chunk)]);
        if follow { Ok(told.chain(futures_util::stream::pending()).boxed()) } else { Ok(told.boxed()) }
    }

    async fn events(&self) -> Answer<BoxStream<'static, Answer<EngineEvent>>> {
        self.ask("events", "", |state| Ok(state.subscribe())).await
    }

    async fn read_file(&self, id: &str, path: &str) -> Answer<Bytes> {
        self.ask("read file", id, |state| {
            let container = state.find(id)?;
            let content = state.read_in_container(&container, path);
            let content = content.ok_or_else(|| {
                EngineError::NotFound(format!("Could not find the file {path} in container {container}"))
            })?;
            Ok(Bytes::from(content))
        })
        .await
    }

    async fn read_directory(&self, id: &str, path: &str) -> Answer<Contents> {
        self.ask("read directory", id, |state| {
            let id = state.find(id)?;
            Ok(state.directory_in_container(&id, path))
        })
        .await
    }
}

#[async_trait]
impl Engine for SimEngine {
    async fn pull(&self, image: &ImageRef, login: Option<&RegistryLogin>, progress: OnProgress<'_>) -> Answer<()> {
        let published = self.host.published(image);
        if let Some(published) = &published {
            let total = published.image.size;
            for current in [0, total / 2] {
                progress(crate::port::engine::PullProgress {
                    layer: "layer".to_owned(),
                    status: "Downloading".to_owned(),
                    current,
                    total,
                });
                self.host.alive().await;
                tokio::time::sleep(published.takes.duration() / 2).await;
            }
        }
        self.change("pull", image.as_str(), |state, _| state.pull(image, login, published)).await
    }

    async fn remove_image(&self, id: &str) -> Answer<()> {
        self.change("remove image", id, |state, _| state.remove_image(id)).await
    }

    async fn create_container(&self, request: &CreateContainer) -> Answer<String> {
        self.change("create", &request.name, |state, half| {
            let id = state.create_container(request, half)?;
            state.watch_creation(&id);
            Ok(id)
        })
        .await
    }

    async fn start_container(&self, id: &str) -> Answer<()> {
        self.change("start", &self.name(id), |state, _| state.start_container(id)).await
    }

    async fn stop_container(&self, id: &str, grace: Option<i64>) -> Answer<()> {
        self.change_until(
            "stop",
            &self.name(id),
            |state, _| {
                let id = state.find(id)?;
                state.watch_touch("stop", &id);
                state.begin_stop(&id, grace);
                Ok(id)
            },
            |state, id| {
                let ended = state.containers.get(id).is_none_or(|container| !container.is_alive());
                ended.then_some(Ok(()))
            },
        )
        .await
    }

    async fn signal_container(&self, id: &str, signal: &str) -> Answer<()> {
        self.change(&format!("signal {signal}"), &self.name(id), |state, _| {
            let id = state.find(id)?;
            state.watch_touch("signal", &id);
            state.signal(&id, signal)
        })
        .await
    }

    async fn unpause_container(&self, id: &str) -> Answer<()> {
        self.change("unpause", &self.name(id), |state, _| {
            let id = state.find(id)?;
            state.watch_touch("unpause", &id);
            state.unpause(&id)
        })
        .await
    }

    async fn rename_container(&self, id: &str, name: &str) -> Answer<()> {
        self.change("rename", &format!("{} to {name}", self.name(id)), |state, _| {
            let id = state.find(id)?;
            state.watch_touch("rename", &id);
            state.rename(&id, name)
        })
        .await
    }

    async fn remove_container(&self, id: &str, anonymous_volumes: bool) -> Answer<()> {
        self.change("remove", &self.name(id), |state, _| {
            let Ok(id) = state.find(id) else { return Ok(()) };
            state.watch_touch("remove", &id);
            state.watch_removal(&id, anonymous_volumes);
            state.remove_container(&id, anonymous_volumes);
            Ok(())
        })
        .await
    }

    async fn update_container(&self, id: &str, change: &LimitChange) -> Answer<()> {
        self.change("update", &self.name(id), |state, _| {
            let id = state.find(id)?;
            state.watch_touch("update", &id);
            state.update_container(&id, &change.settings)
        })
        .await
    }

    async fn exec(&self, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome> {
        let target = format!("{} {}", self.name(id), hook.command.join(" "));
        let run = |state: &mut HostState| {
            let id = state.find(id)?;
            state.watch_touch("exec", &id);
            state.exec(&id, &hook.command)
        };
        // A probe changes nothing, though it goes this way.
        let begun = if self.host.state().is_question(id, &hook.command) {
            self.ask("exec", &target, run).await?
        } else {
            self.change("exec", &target, |state, _| run(state)).await?
        };
        if begun.0 > timeout.0 {
            tokio::time::sleep(timeout.duration()).await;
            return Err(EngineError::Timeout(timeout));
        }
        tokio::time::sleep(std::time::Duration::from_millis(begun.0)).await;
        Ok(begun.1)
    }

    async fn put_files(&self, id: &str, directory: &str, files: &[FileToWrite]) -> Answer<()> {
        self.change("put files", &self.name(id), |state, half| {
            let container = state.container(id)?;
            let count = if half { files.len() / 2 } else { files.len() };
            let put = files.iter().take(count).map(|file| (format!("{directory}/{}", file.path), file.content.clone()));
            container.own_files.extend(put);
            Ok(())
        })
        .await
    }

    async fn wait_container(&self, id: &str) -> Answer<i64> {
        let id = self.ask("wait", id, |state| state.find(id)).await?;
        self.host
            .until(|state| match state.containers.get(&id) {
                _ if state.down_until.is_some() => Some(Err(away())),
                None => Some(Err(EngineError::NotFound(format!("No such container: {id}")))),
                Some(container) if container.is_alive() || container.restart_at.is_some() => None,
                Some(container) => Some(Ok(container.exit_code)),
            })
            .await
    }

    async fn create_network(&self, name: &str, spec: &NetworkSpec, labels: &Labels) -> Answer<()> {
        self.change("create network", name, |state, _| {
            state.create_network(name, spec, labels);
            Ok(())
        })
        .await
    }

    async fn remove_network(&self, name: &str) -> Answer<()> {
        self.change("remove network", name, |state, _| state.remove_network(name)).await
    }

    async fn connect_network(&self, network: &str, id: &str, attachment: &Attachment) -> Answer<()> {
        self.change("connect", &format!("{network} {}", self.name(id)), |state, _| {
            let id = state.find(id)?;
            state.watch_touch("connect", &id);
            state.connect(network, &id, attachment)
        })
        .await
    }

    async fn disconnect_network(&self, network: &str, id: &str) -> Answer<()> {
        self.change("disconnect", &format!("{network} {}", self.name(id)), |state, _| {
            if let Ok(id) = state.find(id) {
                state.watch_touch("disconnect", &id);
                state.disconnect(network, &id);
            }
            Ok(())
        })
        .await
    }

    async fn create_volume(&self, name: &str, _spec: &VolumeSpec, _labels: &Labels) -> Answer<()> {
        self.change("create volume", name, |state, _| {
            state.volumes.entry(name.to_owned()).or_default();
            Ok(())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Answer<()> {
        self.change("remove volume", name, |state, _| {
            if !state.watch.volumes_removable && state.volumes.get(name).is_some_and(|volume| !volume.anonymous) {
                state.violated(format!("the named volume {name} was removed"));
            }
            if state.is_volume_used(name, "") {
                return Err(EngineError::Conflict(format!("remove {name}: volume is in use")));
            }
            state.volumes.remove(name);
            Ok(())
        })
        .await
    }
}

impl SimEngine {
    /// What people call a container, for the list of calls.
    fn name(&self, id: &str) -> String {
        let state = self.host.state();
        let found = state.find(id).ok().and_then(|id| state.containers.get(&id));
        found.map_or_else(|| id.to_owned(), |container| container.name.clone())
    }
}

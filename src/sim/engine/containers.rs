//! What calls do to containers.

use std::collections::{BTreeMap, VecDeque};

use super::settings::{anonymous_targets, effective, is_possible, update};
use crate::model::settings::{ContainerSettings, Mount};
use crate::observe::observed::{ContainerDetail, ContainerState, ContainerSummary, ObservedContainer, Status};
use crate::port::engine::{Answer, CreateContainer, EngineError};
use crate::sim::files::split;
use crate::sim::invariants::Actor;
use crate::sim::program::OnStop;
use crate::sim::state::{HostState, SimContainer, SimVolume};

/// Seconds between the stop signal and the kill, where nobody says otherwise.
const GRACE: i64 = 10;

impl HostState {
    pub(in crate::sim) fn list_containers(&self) -> Vec<ContainerSummary> {
        let mut containers: Vec<&SimContainer> = self.containers.values().collect();
        containers.sort_by_key(|container| std::cmp::Reverse(container.sequence));
        containers
            .into_iter()
            .map(|container| ContainerSummary {
                id: container.id.clone(),
                name: container.name.clone(),
                labels: container.labels.clone(),
                image_id: container.image_id.clone(),
                image: container.image.clone(),
                status: container.status,
                health: container.health(),
                host_ports: if container.is_alive() { container.host_ports() } else { Vec::new() },
            })
            .collect()
    }

    pub(in crate::sim) fn inspect_container(&self, id: &str) -> Answer<ObservedContainer> {
        let id = self.find(id)?;
        let Some(container) = self.containers.get(&id) else { return Err(gone(&id)) };
        let (settings, managed_hash) = self.with_managed(&container.settings);
        Ok(ObservedContainer {
            id,
            name: container.name.clone(),
            labels: container.labels.clone(),
            image_id: container.image_id.clone(),
            image: container.image.clone(),
            state: ContainerState {
                status: container.status,
                health: container.health(),
                exit_code: container.exit_code,
                oom_killed: container.oom_killed,
                error: container.error.clone(),
                restart_count: container.restart_count,
                started_at: Self::written(container.started_at),
                finished_at: Self::written(container.finished_at),
            },
            detail: Some(ContainerDetail {
                settings,
                networks: container.networks.clone(),
                addresses: if container.is_alive() { container.addresses.clone() } else { BTreeMap::new() },
                anonymous_volumes: container.anonymous_volumes.clone(),
                managed_hash,
            }),
            host_ports: if container.is_alive() { container.host_ports() } else { Vec::new() },
        })
    }

    /// Settings with the mounts of our own files known again, and the create-hash that they are of.
    fn with_managed(&self, settings: &ContainerSettings) -> (ContainerSettings, Option<String>) {
        let mut settings = settings.clone();
        let mut hash = None;
        for mount in settings.volumes.iter_mut().flat_map(|volumes| volumes.values_mut()) {
            let Mount::Bind { source, .. } = mount else { continue };
            if let Some((key, path)) = split(&self.name, source) {
                hash = key.rsplit_once('/').map(|(_, hash)| hash.to_owned());
                *mount = Mount::Managed { path };
            }
        }
        (settings, hash)
    }

    pub(in crate::sim) fn log_tail(&self, id: &str, lines: usize) -> Answer<String> {
        let id = self.find(id)?;
        let log = self.containers.get(&id).map(|container| &container.log);
        let log = log.into_iter().flatten().map(String::as_str);
        let all: Vec<&str> = log.collect();
        let mut text = all[all.len().saturating_sub(lines)..].join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        Ok(text)
    }

    /// Makes a container; with `half`, only the first of its networks is attached.
    pub(in crate::sim) fn create_container(&mut self, request: &CreateContainer, half: bool) -> Answer<String> {
        let name = &request.name;
        if let Some(missing) = request.networks.keys().find(|network| !self.networks.contains_key(*network)) {
            return Err(EngineError::NotFound(format!("network {missing} not found")));
        }
        if let Some(other) = self.containers.values().find(|container| container.name == *name) {
            return Err(EngineError::Conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\".",
                other.id
            )));
        }
        is_possible(&request.settings)?;
        let image_id = self
            .image_id(&request.image_id)
            .ok_or_else(|| EngineError::NotFound(format!("No such image: {}", request.image_id)))?;
        let Some(image) = self.images.get(&image_id).cloned() else {
            return Err(EngineError::NotFound(format!("No such image: {image_id}")));
        };
        for mount in request.settings.volumes.iter().flat_map(|volumes| volumes.values()) {
            match mount {
                Mount::Bind { source, create_host_path: false, .. } if self.files.is_missing(&self.name, source) => {
                    return Err(EngineError::Refused(format!(
                        "invalid mount config for type \"bind\": bind source path does not exist: {source}"
                    )));
                }
                Mount::Managed { path } => {
                    return Err(EngineError::Refused(format!("invalid mount config: managed path {path}")));
                }
                _ => {}
            }
        }
        let mut settings = effective(&request.settings, &image.defaults, &request.networks);
        if settings.network_mode.as_deref() == Some("host") {
            settings.hostname.get_or_insert_with(|| self.name.clone());
        }
        let mut labels = image.defaults.labels.clone();
        labels.extend(request.settings.labels.clone().unwrap_or_default());
        labels.extend(request.labels.clone());
        let anonymous_volumes = self.volumes_of(&mut settings, &image.defaults.volumes, &request.carried_volumes);
        let id = self.new_id("container");
        let words: Vec<String> =
            settings.entrypoint.iter().flatten().chain(settings.command.iter().flatten()).cloned().collect();
        let program = image.program_of(&words).clone();
        let mut container = SimContainer {
            id: id.clone(),
            sequence: self.sequence,
            name: name.clone(),
            labels,
            image_id,
            image: request.image.as_str().to_owned(),
            settings,
            networks: BTreeMap::new(),
            addresses: BTreeMap::new(),
            anonymous_volumes,
            program,
            process: None,
            status: Status::Created,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            restart_count: 0,
            started_at: None,
            finished_at: None,
            stopped_by_hand: false,
            restart_wait: 0,
            restart_at: None,
            log: VecDeque::new(),
            proven: false,
            ready_since: None,
            good: false,
            own_files: BTreeMap::new(),
            started_by_stranger: false,
        };
        let networks: Vec<_> = request.networks.iter().take(if half { 1 } else { usize::MAX }).collect();
        for (number, (network, attachment)) in networks.into_iter().enumerate() {
            container.networks.insert(network.clone(), attachment.clone());
            container.addresses.insert(network.clone(), self.new_address(attachment));
            if number > 0 {
                container.alias_host_name(network);
            }
        }
        if request.networks.is_empty() {
            self.attach_default(&mut container);
        }
        self.containers.insert(id.clone(), container);
        self.emit_container("create", &id);
        Ok(id)
    }

    /// Gives each volume that nobody named a name, and makes the named ones; the anonymous ones by target.
    fn volumes_of(
        &mut self,
        settings: &mut ContainerSettings,
        of_image: &[String],
        carried: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut anonymous = BTreeMap::new();
        for target in anonymous_targets(settings, of_image) {
            let volume = carried.get(&target).cloned().unwrap_or_else(|| self.new_id("volume"));
            self.volumes.entry(volume.clone()).or_insert(SimVolume { anonymous: true });
            anonymous.insert(target, volume);
        }
        for mount in settings.volumes.iter().flat_map(|volumes| volumes.values()) {
            if let Mount::Volume { source: Some(source), .. } = mount {
                self.volumes.entry(source.clone()).or_default();
            }
        }
        anonymous
    }

    pub(in crate::sim) fn start_container(&mut self, id: &str) -> Answer<()> {
        let id = self.find(id)?;
        self.watch_touch("start", &id);
        self.start_as(&id, Actor::Agent)
    }

    pub(in crate::sim) fn start_as(&mut self, id: &str, actor: Actor) -> Answer<()> {
        let Some(container) = self.containers.get_mut(id) else { return Err(gone(id)) };
        match container.status {
            Status::Running | Status::Restarting => return Ok(()),
            Status::Paused => {
                return Err(EngineError::Conflict("cannot start a paused container, try unpause instead".to_owned()));
            }
            _ => {}
        }
        container.stopped_by_hand = false;
        container.restart_wait = 0;
        container.restart_count = 0;
        self.launch(id, actor)
    }

    /// Begins to stop a container, as if by hand.
    pub(in crate::sim) fn begin_stop(&mut self, id: &str, grace: Option<i64>) {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else { return };
        if !container.is_alive() && container.restart_at.is_none() {
            return;
        }
        container.stopped_by_hand = true;
        if container.restart_at.take().is_some() {
            container.status = Status::Exited;
            self.emit_container("stop", id);
            return;
        }
        let grace = grace.or(container.settings.stop_grace_period).unwrap_or(GRACE);
        let killed_at = u64::try_from(grace).map_or(u64::MAX / 2, |seconds| now + seconds * 1000);
        let (at, code) = match container.program.on_stop {
            OnStop::Ends { after, code } if now + after.0 < killed_at => (now + after.0, code),
            _ => (killed_at, 137),
        };
        if let Some(process) = container.process.as_mut() {
            process.stopping = true;
        }
        self.emit_container("kill", id);
        self.end_process(id, at, code);
        self.advance(now);
    }

    pub(in crate::sim) fn signal(&mut self, id: &str, signal: &str) -> Answer<()> {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else { return Err(gone(id)) };
        if container.restart_at.is_some() {
            container.stopped_by_hand = true;
            return Ok(());
        }
        if !container.is_alive() {
            return Err(EngineError::Conflict(format!("Container {id} is not running")));
        }
        let stop_signal = container.settings.stop_signal.clone();
        // Any signal by the API counts as a stop by hand: dockerd does not restart the container afterwards.
        container.stopped_by_hand = true;
        let on_stop = container.program.on_stop;
        let is_stop = signal == stop_signal.as_deref().unwrap_or("SIGTERM");
        self.emit_container("kill", id);
        match (signal, on_stop) {
            ("SIGKILL", _) => self.end_process(id, now, 137),
            (_, OnStop::Ends { after, code }) if is_stop => self.end_process(id, now + after.0, code),
            ("SIGHUP", _) => self.reread(id),
            _ => {}
        }
        self.advance(now);
        Ok(())
    }

    /// A program reads its files again: with bad content it ends.
    pub(super) fn reread(&mut self, id: &str) {
        if self.reads_bad(id) {
            let now = self.now;
            if let Some(container) = self.containers.get_mut(id) {
                container.say("fatal: bad configuration");
            }
            self.end_process(id, now + 10, 1);
        } else {
            let has_read = self.digests_read(id);
            if let Some(container) = self.containers.get_mut(id) {
                container.say("configuration read again");
                if let Some(process) = container.process.as_mut() {
                    process.has_read = has_read;
                }
            }
        }
    }

    pub(in crate::sim) fn unpause(&mut self, id: &str) -> Answer<()> {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else { return Err(gone(id)) };
        let Some(process) = container.process.as_mut() else { return Ok(()) };
        let Some(since) = process.frozen_at.take() else { return Ok(()) };
        let lost = now - since;
        if let Some((at, _)) = process.ends.as_mut() {
            *at += lost;
        }
        if let Some((at, _)) = process.health_turns.as_mut() {
            *at += lost;
        }
        container.status = Status::Running;
        self.emit_container("unpause", id);
        Ok(())
    }

    pub(in crate::sim) fn rename(&mut self, id: &str, name: &str) -> Answer<()> {
        let current = self.containers.get(id).map(|container| container.name.clone()).unwrap_or_default();
        if current == name {
            return Err(EngineError::Refused("Renaming a container with the same name as its current name".to_owned()));
        }
        if let Some(other) = self.containers.values().find(|container| container.name == name) {
            return Err(EngineError::Conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\".",
                other.id
            )));
        }
        if let Some(container) = self.containers.get_mut(id) {
            name.clone_into(&mut container.name);
        }
        self.emit_container("rename", id);
        Ok(())
    }

    pub(in crate::sim) fn remove_container(&mut self, id: &str, anonymous_volumes: bool) {
        let now = self.now;
        if let Some(container) = self.containers.get_mut(id) {
            container.stopped_by_hand = true;
            container.restart_at = None;
        }
        self.end_process(id, now, 137);
        self.advance(now);
        self.emit_container("destroy", id);
        let Some(container) = self.containers.remove(id) else { return };
        if anonymous_volumes {
            for volume in container.anonymous_volumes.values() {
                if !self.is_volume_used(volume, id) {
                    self.volumes.remove(volume);
                }
            }
        }
    }

    pub(in crate::sim) fn update_container(&mut self, id: &str, change: &ContainerSettings) -> Answer<()> {
        let Some(container) = self.containers.get_mut(id) else { return Err(gone(id)) };
        update(&mut container.settings, change)?;
        self.emit_container("update", id);
        Ok(())
    }
}

pub(super) fn gone(id: &str) -> EngineError {
    EngineError::NotFound(format!("No such container: {id}"))
}

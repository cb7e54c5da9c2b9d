//! What happens on a host by itself: processes end, health checks turn, the engine starts containers again, events go out.
//!
//! Everything due is done in order of time, then of the container's making, so that a seed decides all of it.

use std::collections::BTreeMap;

use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use super::faults::Faults;
use super::invariants::Actor;
use super::program::{BAD, Course, Life, OnStop};
use super::state::{HostState, Process, SimContainer};
use crate::model::fileset::Contents;
use crate::model::secret::Sensitive;
use crate::model::settings::{Mount, RestartPolicy};
use crate::observe::observed::{EngineEvent, Health, Status, has_check};
use crate::port::engine::{Answer, EngineError};

/// The engine's first wait before a restart; it doubles.
const FIRST_RESTART_WAIT: u64 = 100;
/// The longest.
const LONGEST_RESTART_WAIT: u64 = 60_000;
/// A process that lived so long begins with the first wait again.
const STEADY: u64 = 10_000;

/// Longer than any `min_ready` in the tests, with the time that an engine hangs and an agent is dead: then a container
/// counts as good whatever gate it had to pass, and the agent has had the time to see it.
const GOOD_AFTER: u64 = 30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    EngineBack,
    Ends,
    Restarts,
    HealthTurns,
}

impl HostState {
    /// When the next thing happens by itself.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.next().map(|(at, _, _, _)| at)
    }

    fn next(&self) -> Option<(u64, u64, Due, String)> {
        if let Some(until) = self.down_until {
            return Some((until, 0, Due::EngineBack, String::new()));
        }
        let mut next: Option<(u64, u64, Due, &str)> = None;
        for container in self.containers.values() {
            if let Some((at, due)) = container.due() {
                let candidate = (at, container.sequence, due, container.id.as_str());
                if next.is_none_or(|next| candidate < next) {
                    next = Some(candidate);
                }
            }
        }
        next.map(|(at, sequence, due, id)| (at, sequence, due, id.to_owned()))
    }

    /// Lets everything happen that is due by then.
    pub(super) fn advance(&mut self, to: u64) {
        while let Some((at, _, due, id)) = self.next() {
            if at > to {
                break;
            }
            self.now = self.now.max(at);
            match due {
                Due::EngineBack => self.engine_back(),
                Due::Ends => self.process_ended(&id),
                Due::Restarts => self.restart_due(&id),
                Due::HealthTurns => self.health_turned(&id),
            }
        }
        self.now = self.now.max(to);
        let now = self.now;
        for container in self.containers.values_mut() {
            if container.is_ready(now) {
                container.proven = true;
                let since = *container.ready_since.get_or_insert(now);
                container.good = container.good || now - since >= GOOD_AFTER;
            } else {
                container.ready_since = None;
            }
        }
    }

    fn process_ended(&mut self, id: &str) {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(process) = container.process.take() else { return };
        let code = process.ends.map_or(137, |(_, code)| code);
        container.exit_code = code;
        container.finished_at = Some(now);
        container.status = Status::Exited;
        container.restart_at = None;
        if container.engine_restarts(code, now - process.since) {
            container.status = Status::Restarting;
            container.restart_at = Some(now + container.restart_wait);
        }
        let stopping = process.stopping;
        self.emit_container("die", id);
        if stopping {
            self.emit_container("stop", id);
        }
    }

    fn restart_due(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            container.restart_at = None;
            container.restart_count += 1;
        }
        if self.launch(id, Actor::Engine).is_err() {
            // A restart that fails is tried again like one whose process ended at once.
            let now = self.now;
            if let Some(container) = self.containers.get_mut(id)
                && container.engine_restarts(127, 0)
            {
                container.status = Status::Restarting;
                container.restart_at = Some(now + container.restart_wait);
            }
        }
    }

    fn health_turned(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(process) = container.process.as_mut() else { return };
        let Some((at, health)) = process.health_turns.take() else { return };
        process.health = health;
        if let Course::Flaps { every } = container.program.health {
            let other = if health == Health::Healthy { Health::Unhealthy } else { Health::Healthy };
            process.health_turns = Some((at + every.0.max(1), other));
        }
        self.emit_container("health_status", id);
    }

    fn engine_back(&mut self) {
        self.down_until = None;
        let mut ids: Vec<(u64, String)> = self.containers.values().map(|c| (c.sequence, c.id.clone())).collect();
        ids.sort();
        for (_, id) in ids {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            // With live-restore the process still runs.
            if container.is_alive() || container.status == Status::Created {
                continue;
            }
            let wanted = match container.restart_policy() {
                RestartPolicy::Always => true,
                RestartPolicy::UnlessStopped => !container.stopped_by_hand,
                RestartPolicy::OnFailure(_) => container.exit_code != 0 && !container.stopped_by_hand,
                RestartPolicy::No => false,
            };
            container.status = Status::Exited;
            if wanted {
                // A start that fails leaves its error on the container.
                let _ = self.launch(&id, Actor::Engine);
            }
        }
    }

    /// The engine goes away; without live-restore its containers end with it.
    pub(super) fn engine_away(&mut self, live_restore: bool, until: u64) {
        self.subscribers.clear();
        self.down_until = Some(until);
        let now = self.now;
        for container in self.containers.values_mut() {
            container.restart_at = None;
            if !live_restore && container.process.take().is_some() {
                container.status = Status::Exited;
                container.exit_code = match container.program.on_stop {
                    OnStop::Ends { code, .. } => code,
                    OnStop::Ignores => 137,
                };
                container.finished_at = Some(now);
            }
        }
    }

    /// Starts the process of a container.
    pub(super) fn launch(&mut self, id: &str, actor: Actor) -> Answer<()> {
        let now = self.now;
        let Some(container) = self.containers.get(id) else {
            return Err(EngineError::NotFound(format!("No such container: {id}")));
        };
        if let Err(error) = self.can_start(container) {
            let text = error.to_string();
            if let Some(container) = self.containers.get_mut(id) {
                container.error = text;
                container.exit_code = if container.program.life == Life::CannotStart { 127 } else { 128 };
                container.status = if container.status == Status::Created { Status::Created } else { Status::Exited };
            }
            return Err(error);
        }
        let reads_bad = self.reads_bad(id);
        let has_read = self.digests_read(id);
        let Some(container) = self.containers.get_mut(id) else { return Ok(()) };
        let program = container.program.clone();
        let has_no_room = program.writes && self.disk.engine_full;
        let is_broken = reads_bad || has_no_room;
        let checked = has_check(container.settings.healthcheck.as_ref());
        let ends = match &program.life {
            Life::Ends { after, code } => Some((now + after.0, *code)),
            Life::Forever | Life::CannotStart => None,
        };
        let (turns, health) = match program.health {
            _ if !checked => (None, Health::None),
            Course::Healthy { after } => (Some((now + after.0, Health::Healthy)), Health::Starting),
            Course::Unhealthy { after } => (Some((now + after.0, Health::Unhealthy)), Health::Starting),
            Course::Flaps { every } => (Some((now + every.0.max(1), Health::Healthy)), Health::Starting),
        };
        container.process = Some(Process {
            since: now,
            ends: if is_broken { Some((now + 10, 1)) } else { ends },
            health,
            health_turns: turns,
            ready_at: if is_broken { u64::MAX } else { now.saturating_add(program.ready_after.0) },
            frozen_at: None,
            has_read,
            stopping: false,
            drained: BTreeMap::new(),
        });
        for network in container.networks.keys().cloned().collect::<Vec<_>>() {
            container.alias_host_name(&network);
        }
        container.status = Status::Running;
        container.error.clear();
        container.exit_code = 0;
        container.oom_killed = false;
        container.started_at = Some(now);
        container.started_by_stranger = actor == Actor::Stranger;
        container.say(match (reads_bad, has_no_room) {
            (true, _) => "fatal: bad configuration",
            (false, true) => "fatal: write /data/state: No space left on device",
            (false, false) => "started",
        });
        self.emit_container("start", id);
        self.watch_running(id, actor);
        Ok(())
    }

    fn can_start(&self, container: &SimContainer) -> Answer<()> {
        let failed = |text: String| Err(EngineError::Failed(text));
        if container.program.life == Life::CannotStart {
            // The engine answers 400 to this.
            return Err(EngineError::Refused(
                "OCI runtime create failed: exec: executable file not found in $PATH: unknown".to_owned(),
            ));
        }
        for mount in container.settings.volumes.iter().flat_map(|volumes| volumes.values()) {
            if let Mount::Bind { source, create_host_path: false, .. } = mount
                && self.files.is_missing(&self.name, source)
            {
                return failed(format!("error while creating mount source path '{source}': no such file"));
            }
        }
        for (address, port, protocol) in container.host_ports() {
            let taken = self.containers.values().any(|other| {
                other.id != container.id
                    && other.is_alive()
                    && other
                        .host_ports()
                        .iter()
                        .any(|held| held.1 == port && held.2 == protocol && overlaps(&held.0, &address))
            });
            if taken {
                return failed(format!(
                    "driver failed programming external connectivity on endpoint {}: Bind for {address}:{port} failed: port is already allocated",
                    container.name
                ));
            }
        }
        for network in container.networks.keys() {
            if !self.networks.contains_key(network) {
                return Err(EngineError::NotFound(format!("network {network} not found")));
            }
        }
        Ok(())
    }

    /// What a container finds at a path: in our files, or in its image.
    pub(super) fn read_in_container(&self, id: &str, path: &str) -> Option<Vec<u8>> {
        let container = self.containers.get(id)?;
        let mounts = container.settings.volumes.iter().flatten();
        for (target, mount) in mounts {
            let Mount::Bind { source, .. } = mount else { continue };
            let below = if path == target { Some("") } else { path.strip_prefix(&format!("{target}/")) };
            if let Some(below) = below {
                return self.files.read(&self.name, source, below);
            }
        }
        self.images.get(&container.image_id)?.files.get(path).map(|bytes| bytes.to_vec())
    }

    /// The files of a directory: of a mount, or those that were put there and what its program has made.
    pub(super) fn directory_in_container(&self, id: &str, path: &str) -> Contents {
        let Some(container) = self.containers.get(id) else { return Contents::new() };
        let mounted = container.settings.volumes.iter().flatten().find(|(target, _)| *target == path);
        if let Some((_, Mount::Bind { source, .. })) = mounted {
            return self.files.below(&self.name, source);
        }
        let below = format!("{path}/");
        let own = container.own_files.iter();
        let mut found: Contents = own
            .filter_map(|(path, content)| {
                Some((path.strip_prefix(&below)?.to_owned(), Sensitive::new(content.clone())))
            })
            .collect();
        if container.program.makes && container.status == Status::Exited && container.exit_code == 0 {
            found.insert(format!("k{:04}", found.len()), Sensitive::new(format!("key made by {id}")));
        }
        found
    }

    /// Digests of the files that a program reads, as they are now.
    pub(super) fn digests_read(&self, id: &str) -> BTreeMap<String, String> {
        let paths = self.containers.get(id).map(|container| container.program.reads.clone()).unwrap_or_default();
        paths
            .into_iter()
            .filter_map(|path| {
                let content = self.read_in_container(id, &path)?;
                Some((path, hex::encode(Sha256::digest(content))))
            })
            .collect()
    }

    /// Whether a program finds bad content in what it reads.
    pub(super) fn reads_bad(&self, id: &str) -> bool {
        let Some(container) = self.containers.get(id) else { return false };
        container
            .program
            .reads
            .iter()
            .any(|path| self.read_in_container(id, path).is_some_and(|content| is_bad(&content)))
    }

    /// Lets a process end, now or later; an earlier end stays.
    pub(super) fn end_process(&mut self, id: &str, at: u64, code: i64) {
        let now = self.now;
        if let Some(process) = self.containers.get_mut(id).and_then(|container| container.process.as_mut()) {
            process.frozen_at = None;
            if process.ends.is_none_or(|(earlier, _)| at < earlier) {
                process.ends = Some((at.max(now), code));
            }
        }
    }

    pub(super) fn emit_container(&mut self, action: &str, id: &str) {
        let container = self.containers.get(id);
        let name = container.map(|container| container.name.clone()).unwrap_or_default();
        let health = container.filter(|_| action == "health_status").map(SimContainer::health).unwrap_or_default();
        self.emit(&EngineEvent {
            kind: "container".to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            name,
            container: None,
            health,
        });
    }

    pub(super) fn emit_volume(&mut self, action: &str, name: &str) {
        let (kind, action, id) = ("volume".to_owned(), action.to_owned(), name.to_owned());
        self.emit(&EngineEvent { kind, action, id, ..EngineEvent::default() });
    }

    pub(super) fn emit(&mut self, event: &EngineEvent) {
        let Faults { event_lost, event_doubled, event_late, stream_cut, .. } = self.faults;
        let random = &mut self.random;
        self.subscribers.retain_mut(|subscriber| {
            let mut hit = |probability: f64| probability > 0.0 && random.random::<f64>() < probability;
            if hit(stream_cut) {
                return false;
            }
            if hit(event_lost) {
                return true;
            }
            if subscriber.late.is_none() && hit(event_late) {
                subscriber.late = Some(event.clone());
                return true;
            }
            let mut alive = subscriber.sender.send(Ok(event.clone())).is_ok();
            if hit(event_doubled) {
                alive = subscriber.sender.send(Ok(event.clone())).is_ok();
            }
            match subscriber.late.take() {
                Some(late) => subscriber.sender.send(Ok(late)).is_ok(),
                None => alive,
            }
        });
    }
}

fn overlaps(one: &str, other: &str) -> bool {
    one == other || one == "0.0.0.0" || other == "0.0.0.0"
}

pub(super) fn is_bad(content: &[u8]) -> bool {
    content.windows(BAD.len()).any(|window| window == BAD)
}

impl SimContainer {
    fn due(&self) -> Option<(u64, Due)> {
        if let Some(at) = self.restart_at {
            return Some((at, Due::Restarts));
        }
        let process = self.process.as_ref()?;
        if process.frozen_at.is_some() {
            return None;
        }
        let ends = process.ends.map(|(at, _)| (at, Due::Ends));
        let turns = process.health_turns.map(|(at, _)| (at, Due::HealthTurns));
        [ends, turns].into_iter().flatten().min()
    }

    /// Whether the engine starts it again, by its policy; then the wait is set.
    fn engine_restarts(&mut self, code: i64, lived: u64) -> bool {
        if self.stopped_by_hand {
            return false;
        }
        let again = match self.restart_policy() {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure(most) => code != 0 && (*most == 0 || self.restart_count < *most),
        };
        if again {
            self.restart_wait = if self.restart_wait == 0 || lived >= STEADY {
                FIRST_RESTART_WAIT
            } else {
                (self.restart_wait * 2).min(LONGEST_RESTART_WAIT)
            };
        }
        again
    }
}

//! The simulated engine against dockerd: random operations on both must be seen the same way.
//!
//! `MASTIC_SEED=N` repeats one sequence.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mastic::edge::docker::{ConnectOptions, DockerEngine};
use mastic::model::desired::Hook;
use mastic::model::image::ImageRef;
use mastic::model::labels::Labels;
use mastic::model::network::{Attachment, NetworkSpec};
use mastic::model::settings::{ContainerSettings, Mount, Port, RestartPolicy, Ulimit};
use mastic::model::time::Span;
use mastic::observe::observed::{ObservedContainer, Status};
use mastic::port::engine::{Answer, CreateContainer, Engine, EngineError, LimitChange};
use mastic::sim::operator::Deed;
use mastic::sim::program::{OnStop, Program, SimImage};
use mastic::sim::world::{SimHost, SimWorld};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::{Sandbox, docker, try_docker};

/// Sequences in a run.
const SEQUENCES: u64 = 200;
/// Sequences at a time: most of the time they wait for the engine.
const AT_ONCE: usize = 6;
/// Names that containers may have.
const SLOTS: usize = 3;

/// Ends at once when told to.
const SERVE: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done";
/// The first process of a container ignores what it does not handle.
const DEAF: &str = "exec sleep 1000";
const FAILS: &str = "exit 3";
const DONE: &str = "exit 0";

#[derive(Clone, Debug)]
enum Operation {
    Create(usize, Box<Making>),
    Start(usize),
    Stop(usize, i64),
    Kill(usize),
    Signal(usize, &'static str),
    Pause(usize),
    Unpause(usize),
    Rename(usize, usize),
    Remove(usize, bool),
    Update(usize, Box<ContainerSettings>),
    Connect(usize, usize),
    Disconnect(usize, usize),
    Exec(usize, &'static str),
    RemoveNetwork(usize),
}

#[derive(Clone, Debug)]
struct Making {
    script: &'static str,
    networks: Vec<usize>,
    settings: ContainerSettings,
}

fn operations(random: &mut StdRng) -> Vec<Operation> {
    let count = random.random_range(4..=10);
    let mut list = vec![Operation::Create(0, Box::new(making(random)))];
    if random.random_bool(0.8) {
        list.push(Operation::Start(0));
    }
    while list.len() < count {
        let slot = random.random_range(0..SLOTS).min(random.random_range(0..SLOTS));
        list.push(match random.random_range(0..21) {
            0..3 => Operation::Create(slot, Box::new(making(random))),
            3..6 => Operation::Start(slot),
            // Without any grace it is chance whether a process ends by itself.
            6 | 7 => Operation::Stop(slot, 1),
            8 | 9 => Operation::Kill(slot),
            10 => Operation::Signal(slot, ["SIGHUP", "SIGTERM", "SIGKILL"][random.random_range(0..3)]),
            11 => Operation::Pause(slot),
            12 => Operation::Unpause(slot),
            13 | 14 => Operation::Rename(slot, random.random_range(0..SLOTS)),
            15 => Operation::Remove(slot, random.random()),
            16 | 17 => Operation::Update(slot, Box::new(change(random))),
            18 => Operation::Connect(slot, random.random_range(0..3)),
            19 => Operation::Disconnect(slot, random.random_range(0..3)),
            _ if random.random_bool(0.2) => Operation::RemoveNetwork(random.random_range(0..2)),
            _ => Operation::Exec(slot, ["true", "false", "nothing-of-that-name"][random.random_range(0..3)]),
        });
    }
    list
}

fn making(random: &mut StdRng) -> Making {
    let script = [SERVE, SERVE, DEAF, FAILS, DONE][random.random_range(0..5)];
    // What ends at once and is always started again never comes to rest.
    let restart = match random.random_range(0..4) {
        0 => RestartPolicy::No,
        1 => RestartPolicy::OnFailure(2),
        2 if script == SERVE || script == DEAF => RestartPolicy::Always,
        3 if script == SERVE || script == DEAF => RestartPolicy::UnlessStopped,
        _ => RestartPolicy::No,
    };
    let mut settings = ContainerSettings { restart: Some(restart), ..change_limits(random) };
    if random.random_bool(0.3) {
        settings.environment = Some(BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]));
    }
    if random.random_bool(0.3) {
        settings.labels = Some(BTreeMap::from([("tier".to_owned(), "front".to_owned())]));
    }
    if random.random_bool(0.2) {
        settings.stop_grace_period = Some(1);
        settings.init = Some(false);
    }
    if random.random_bool(0.2) {
        let memory = Mount::Tmpfs { size: Some(1 << 20), mode: None, options: Vec::new() };
        let unnamed = Mount::Volume { source: None, read_only: false, nocopy: false };
        settings.volumes = Some(BTreeMap::from([("/scratch".to_owned(), memory), ("/spare".to_owned(), unnamed)]));
    }
    if random.random_bool(0.2) {
        settings.ulimits = Some(BTreeMap::from([("nofile".to_owned(), Ulimit { soft: 100, hard: 200 })]));
        settings.cap_drop = Some(["NET_RAW".to_owned()].into());
        settings.read_only = Some(true);
        settings.user = Some("1000:1000".to_owned());
        settings.working_dir = Some("/tmp".to_owned());
        settings.hostname = Some("named".to_owned());
    }
    if random.random_bool(0.2) {
        settings.expose = Some(["9000/tcp".to_owned()].into());
        let free = Port { target: 80, protocol: "tcp".to_owned(), published: None, host_ip: "127.0.0.1".to_owned() };
        settings.ports = Some([free].into());
    }
    let mut networks: Vec<usize> = (0..2).filter(|_| random.random_bool(0.4)).collect();
    if networks.is_empty() && random.random_bool(0.3) {
        settings.network_mode = Some(["host", "none", "bridge"][random.random_range(0..3)].to_owned());
        if settings.network_mode.as_deref() == Some("host") {
            settings.ports = None;
        }
    } else if random.random_bool(0.02) {
        networks.push(2);
    }
    Making { script, networks, settings }
}

fn change(random: &mut StdRng) -> ContainerSettings {
    let restart = match random.random_range(0..6) {
        0 => Some(RestartPolicy::No),
        1 => Some(RestartPolicy::OnFailure(2)),
        _ => None,
    };
    ContainerSettings { restart, ..change_limits(random) }
}

fn change_limits(random: &mut StdRng) -> ContainerSettings {
    let mut settings = ContainerSettings::default();
    let mebibyte = 1 << 20;
    if random.random_bool(0.3) {
        settings.mem_limit = Some(mebibyte * random.random_range(10..100));
    }
    if settings.mem_limit.is_some() && random.random_bool(0.3) {
        settings.memswap_limit = Some(mebibyte * random.random_range(100..300));
    }
    if random.random_bool(0.2) {
        settings.cpus = Some(100_000_000 * random.random_range(1..9));
    } else if random.random_bool(0.1) {
        settings.cpu_quota = Some(50_000);
        settings.cpu_period = Some(100_000);
    }
    if random.random_bool(0.2) {
        settings.cpu_shares = Some(random.random_range(2..2000));
    }
    if random.random_bool(0.2) {
        settings.pids_limit = Some(random.random_range(20..100));
    }
    if random.random_bool(0.1) {
        settings.mem_reservation = Some(mebibyte * 9);
    }
    settings
}

/// What is seen after an operation.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    answer: String,
    containers: BTreeMap<String, Value>,
}

/// Either of the engines, with names of its own.
struct Subject<'a> {
    engine: Arc<dyn Engine>,
    by_hand: &'a dyn ByHand,
    prefix: String,
    image: ImageRef,
}

/// What is done without the engine's port.
trait ByHand {
    fn kill(&self, name: &str) -> Answer<()>;
    fn pause(&self, name: &str) -> Answer<()>;
}

impl Subject<'_> {
    fn name(&self, slot: usize) -> String {
        format!("{}-{slot}", self.prefix)
    }

    fn network(&self, number: usize) -> String {
        format!("{}-n{number}", self.prefix)
    }

    async fn prepare(&self) {
        for number in 0..2 {
            self.engine.create_network(&self.network(number), &NetworkSpec::default(), &Labels::new()).await.unwrap();
        }
    }

    async fn clean(&self) {
        for slot in 0..SLOTS {
            let _ = self.engine.remove_container(&self.name(slot), true).await;
        }
    }

    async fn act(&self, operation: &Operation) -> String {
        let engine = &self.engine;
        match operation {
            Operation::Create(slot, making) => {
                let request = self.request(*slot, making);
                class(&engine.create_container(&request).await.map(drop))
            }
            Operation::Start(slot) => class(&engine.start_container(&self.name(*slot)).await),
            Operation::Stop(slot, grace) => class(&engine.stop_container(&self.name(*slot), Some(*grace)).await),
            Operation::Kill(slot) => class(&self.by_hand.kill(&self.name(*slot))),
            Operation::Signal(slot, signal) => class(&engine.signal_container(&self.name(*slot), signal).await),
            Operation::Pause(slot) => class(&self.by_hand.pause(&self.name(*slot))),
            Operation::Unpause(slot) => class(&engine.unpause_container(&self.name(*slot)).await),
            Operation::Rename(slot, to) => class(&engine.rename_container(&self.name(*slot), &self.name(*to)).await),
            Operation::Remove(slot, volumes) => class(&engine.remove_container(&self.name(*slot), *volumes).await),
            Operation::Update(slot, settings) => {
                let change = LimitChange { settings: (**settings).clone() };
                class(&engine.update_container(&self.name(*slot), &change).await)
            }
            Operation::Connect(slot, network) => {
                let attachment = Attachment { aliases: vec!["other".to_owned()], ..Attachment::default() };
                class(&engine.connect_network(&self.network(*network), &self.name(*slot), &attachment).await)
            }
            Operation::Disconnect(slot, network) => {
                class(&engine.disconnect_network(&self.network(*network), &self.name(*slot)).await)
            }
            Operation::Exec(slot, word) => {
                let hook = Hook { command: vec![(*word).to_owned()], ..Hook::default() };
                match engine.exec(&self.name(*slot), &hook, Span::seconds(30)).await {
                    Ok(outcome) => format!("exit code {}", outcome.exit_code),
                    Err(error) => class(&Err(error)),
                }
            }
            Operation::RemoveNetwork(number) => class(&engine.remove_network(&self.network(*number)).await),
        }
    }

    fn request(&self, slot: usize, making: &Making) -> CreateContainer {
        let mut settings = making.settings.clone();
        settings.command = Some(vec!["sh".to_owned(), "-c".to_owned(), making.script.to_owned()]);
        let attach = |number: &usize| {
            let aliases = vec![format!("alias-{number}")];
            (self.network(*number), Attachment { aliases, ..Attachment::default() })
        };
        CreateContainer {
            name: self.name(slot),
            image_id: self.image.as_str().to_owned(),
            image: self.image.clone(),
            settings,
            networks: making.networks.iter().map(attach).collect(),
            labels: Labels::from([("mastic.service".to_owned(), format!("of-{slot}"))]),
            carried_volumes: BTreeMap::new(),
        }
    }

    async fn look(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        let listed = self.engine.list_containers().await.unwrap();
        for entry in listed.iter().filter(|entry| entry.name.starts_with(&format!("{}-", self.prefix))) {
            // It may be gone by now.
            let Ok(container) = self.engine.inspect_container(&entry.id).await else { continue };
            let mut value = value_of(&container);
            value["list"] = json!({
                "status": entry.status, "health": entry.health, "service": entry.labels.get("mastic.service"), "image": entry.image,
            });
            let text = value.to_string().replace(&self.prefix, "P").replace(self.image.as_str(), "IMAGE");
            let name = entry.name.replace(&self.prefix, "P");
            all.insert(name, serde_json::from_str(&text).unwrap());
        }
        all
    }
}

/// What of a container both engines must show alike.
fn value_of(container: &ObservedContainer) -> Value {
    let detail = container.detail.clone().unwrap();
    let mut settings = serde_json::to_value(&detail.settings).unwrap();
    // The daemon's or the kernel's own choice.
    for field in ["runtime", "cgroup", "shm_size", "mac_address", "oom_kill_disable"] {
        settings.as_object_mut().unwrap().remove(field);
    }
    // With the host's network it is the host's name.
    if settings["network_mode"] == "host" {
        settings.as_object_mut().unwrap().remove("hostname");
    }
    settings["labels"].as_object_mut().unwrap().remove("mastic.test");
    let state = &container.state;
    let ended = matches!(state.status, Status::Exited | Status::Dead);
    let networks: BTreeMap<_, _> =
        detail.networks.iter().map(|(name, attachment)| (name, &attachment.aliases)).collect();
    json!({
        "status": state.status,
        "health": state.health,
        "exit_code": if ended { state.exit_code } else { 0 },
        "restart_count": state.restart_count,
        "failed_to_start": !state.error.is_empty(),
        "oom_killed": state.oom_killed,
        "networks": networks,
        "addresses": detail.addresses.keys().collect::<Vec<_>>(),
        "anonymous": detail.anonymous_volumes.keys().collect::<Vec<_>>(),
        "settings": settings,
        "service": container.label("mastic.service"),
    })
}

fn class(answer: &Answer<()>) -> String {
    match answer {
        Ok(()) => "done",
        Err(EngineError::NotFound(_)) => "not found",
        Err(EngineError::Conflict(_)) => "conflict",
        Err(EngineError::Refused(_)) => "refused",
        Err(EngineError::Failed(_)) => "failed",
        Err(error) => return error.to_string(),
    }
    .to_owned()
}

struct BySim(SimHost);

impl ByHand for BySim {
    fn kill(&self, name: &str) -> Answer<()> {
        self.0.does(&Deed::KillProcess(name.to_owned()))
    }

    fn pause(&self, name: &str) -> Answer<()> {
        self.0.does(&Deed::Freeze(name.to_owned()))
    }
}

struct ByDocker;

impl ByHand for ByDocker {
    fn kill(&self, name: &str) -> Answer<()> {
        let process = try_docker(&["inspect", "-f", "{{.State.Pid}}", name]).map_err(EngineError::NotFound)?;
        if process.trim() != "0" {
            let _ = std::process::Command::new("kill").args(["-KILL", process.trim()]).output().unwrap();
        }
        Ok(())
    }

    fn pause(&self, name: &str) -> Answer<()> {
        try_docker(&["pause", name]).map(drop).map_err(|text| {
            if text.contains("No such container") { EngineError::NotFound(text) } else { EngineError::Conflict(text) }
        })
    }
}

/// What the simulated engine shows after each operation.
fn simulate(seed: u64, operations: &[Operation]) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let host = SimWorld::new(seed).host("here");
        let image = ImageRef::new("image:1").unwrap();
        host.load_image(&image, sim_image());
        let by_hand = BySim(host.clone());
        let subject = Subject { engine: Arc::new(host.engine()), by_hand: &by_hand, prefix: "sim".to_owned(), image };
        subject.prepare().await;
        let mut seen = Vec::new();
        for operation in operations {
            let answer = subject.act(operation).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            seen.push(Seen { answer, containers: subject.look().await });
        }
        seen
    })
}

/// The image of the real engine, simulated.
fn sim_image() -> SimImage {
    let mut image = SimImage::of(Program::healthy_after(Span::ZERO));
    image.defaults.command.clear();
    image.defaults.environment = BTreeMap::from([(
        "PATH".to_owned(),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
    )]);
    image.defaults.volumes = vec!["/data".to_owned()];
    image.defaults.expose = vec!["7/tcp".to_owned()];
    let words = |script: &str| format!("sh -c {script}");
    let serve = Program { on_stop: OnStop::Ends { after: Span(5), code: 0 }, ..Program::healthy_after(Span::ZERO) };
    image.programs.insert(words(SERVE), serve);
    image.programs.insert(words(DEAF), Program::healthy_after(Span::ZERO).deaf());
    image.programs.insert(words(FAILS), Program::ends(Span(5), 3));
    image.programs.insert(words(DONE), Program::ends(Span(5), 0));
    image
}

/// The same on the real engine; the first difference, if there is one.
async fn compare(subject: &Subject<'_>, operations: &[Operation], expected: &[Seen]) -> Option<String> {
    for (number, (operation, expected)) in operations.iter().zip(expected).enumerate() {
        let answer = subject.act(operation).await;
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let seen = Seen { answer: answer.clone(), containers: subject.look().await };
            if seen == *expected {
                break;
            }
            if Instant::now() > deadline || seen.answer != expected.answer {
                return Some(format!("operation {number} of\n{}\n{}", shown(operations), difference(expected, &seen)));
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        if matches!(operation, Operation::Start(_) | Operation::Kill(_)) {
            settle(subject, expected).await;
        }
    }
    None
}

/// A trap that is not set yet is no trap.
async fn settle(subject: &Subject<'_>, expected: &Seen) {
    for (name, container) in &expected.containers {
        if container["status"] == "running" && container["settings"]["command"][2] == SERVE {
            while !traps_term(&name.replacen('P', &subject.prefix, 1)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Whether the first process of a container handles SIGTERM; a container without one is not waited for.
fn traps_term(name: &str) -> bool {
    let process = docker(&["inspect", "-f", "{{.State.Pid}}", name]);
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", process.trim())) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default();
    caught & (1 << 14) != 0
}

/// Without what is not set.
fn shown(operations: &[Operation]) -> String {
    let lines = operations.iter().map(|operation| {
        let settings = match operation {
            Operation::Create(_, making) => Some(&making.settings),
            Operation::Update(_, settings) => Some(&**settings),
            _ => None,
        };
        match (operation, settings) {
            (Operation::Create(slot, making), Some(settings)) => {
                format!("Create({slot}, {:?}, {:?}) {}", making.script, making.networks, json!(settings))
            }
            (Operation::Update(slot, _), Some(settings)) => format!("Update({slot}) {}", json!(settings)),
            _ => format!("{operation:?}"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn difference(expected: &Seen, seen: &Seen) -> String {
    let text = |seen: &Seen| {
        let mut containers = json!(seen.containers);
        containers.sort_all_objects();
        format!("{}\n{}", seen.answer, serde_json::to_string_pretty(&containers).unwrap())
    };
    let (one, other) = (text(expected), text(seen));
    let diff = similar::TextDiff::from_lines(&one, &other);
    format!("- simulated, + real\n{}", diff.unified_diff().context_radius(3))
}

#[test]
fn the_simulated_engine_agrees_with_dockerd() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("differential", "VOLUME /data\nEXPOSE 7\nCMD []");
    let image = ImageRef::new(image).unwrap();
    let only: Option<u64> = std::env::var("MASTIC_SEED").ok().map(|text| text.parse().unwrap());
    let seeds: Vec<u64> = only.map_or_else(|| (0..SEQUENCES).collect(), |seed| vec![seed]);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (next, failures, seeds, image, sandbox) = (&next, &failures, &seeds, &image, &sandbox);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let engine = DockerEngine::new(&ConnectOptions::default(), Arc::new(|_: &str| None)).unwrap();
                let subject = Subject {
                    engine: Arc::new(engine),
                    by_hand: &ByDocker,
                    prefix: sandbox.name(&format!("w{worker}")),
                    image: image.clone(),
                };
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let operations = operations(&mut StdRng::seed_from_u64(*seed));
                    let expected = simulate(*seed, &operations);
                    let found = runtime.block_on(async {
                        subject.prepare().await;
                        let found = compare(&subject, &operations, &expected).await;
                        subject.clean().await;
                        found
                    });
                    if let Some(text) = found {
                        failures.lock().unwrap().push(format!("MASTIC_SEED={seed}: {text}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} sequences differ\n{}", failures.len(), failures.join("\n"));
}

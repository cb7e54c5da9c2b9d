//! One host, measured against the raw engine API in the same run: `tests/bench/run`.
//!
//! Prints a table of ratios and writes `target/bench.json`. Needs an idle machine, a Docker engine and the image `busybox:1`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use mastic::edge::docker::{ConnectOptions, DockerEngine};
use mastic::model::image::ImageRef;
use mastic::model::settings::{ContainerSettings, Healthcheck, RestartPolicy};
use mastic::port::engine::{CreateContainer, Engine as _, ObserveEngine as _};

const COUNT: usize = 100;
const FEW: usize = 12;
const REPAIRS: usize = 30;
const NO_OPS: usize = 20;

struct Row {
    name: &'static str,
    ours: f64,
    floor: f64,
    unit: &'static str,
    limit: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours / self.floor
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_mastic"))
}

fn mastic(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("-f").arg(directory.join("site.yaml")).arg("--state-dir").arg(directory.join("state")).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn site(directory: &Path, count: usize, health: bool) {
    let mut text = String::from(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: bench}\nspec:\n  hosts: {here: {connection: {local: {}}}}\n  services:\n",
    );
    for number in 0..count {
        text.push_str(&format!(
            "    bench-{number}:\n      hosts: [here]\n      image: busybox:1\n      command: [sleep, infinity]\n      init: true\n      network_mode: none\n      stop_grace_period: 1s\n      environment: {{NUMBER: \"{number}\"}}\n",
        ));
        if health {
            text.push_str("      healthcheck: {test: [CMD, \"true\"], interval: 10s}\n");
        }
    }
    std::fs::write(directory.join("site.yaml"), text).unwrap();
}

fn request(name: &str, image_id: &str) -> CreateContainer {
    CreateContainer {
        name: name.to_owned(),
        image_id: image_id.to_owned(),
        image: ImageRef::new("busybox:1").unwrap(),
        settings: ContainerSettings {
            command: Some(vec!["sleep".to_owned(), "infinity".to_owned()]),
            init: Some(true),
            network_mode: Some("none".to_owned()),
            stop_grace_period: Some(1),
            restart: Some(RestartPolicy::UnlessStopped),
            environment: Some([("NUMBER".to_owned(), "1".to_owned())].into()),
            healthcheck: None::<Healthcheck>,
            ..ContainerSettings::default()
        },
        networks: BTreeMap::new(),
        labels: BTreeMap::new(),
        carried_volumes: BTreeMap::new(),
    }
}

async fn remove_all(engine: &DockerEngine) {
    let all = engine.list_containers().await.unwrap();
    let ours = all.into_iter().filter(|container| container.name.starts_with("bench-"));
    stream::iter(ours)
        .for_each_concurrent(4, |container| async move {
            let _ = engine.remove_container(&container.id, true).await;
        })
        .await;
}

/// Create and start so many containers, 4 at once: what nobody can be faster than.
async fn raw_up(engine: &DockerEngine, image_id: &str) -> f64 {
    let began = Instant::now();
    stream::iter(0..COUNT)
        .for_each_concurrent(4, |number| async move {
            let id = engine.create_container(&request(&format!("bench-raw-{number}"), image_id)).await.unwrap();
            engine.start_container(&id).await.unwrap();
        })
        .await;
    let took = began.elapsed().as_secs_f64();
    remove_all(engine).await;
    took
}

async fn raw_look() -> f64 {
    let engine = connect();
    let began = Instant::now();
    let list = engine.list_containers().await.unwrap();
    let ours: Vec<String> = list.into_iter().filter(|c| c.name.starts_with("bench-")).map(|c| c.id).collect();
    let engine = &engine;
    stream::iter(ours)
        .for_each_concurrent(None, |id| async move {
            engine.inspect_container(&id).await.unwrap();
        })
        .await;
    began.elapsed().as_secs_f64()
}

fn connect() -> DockerEngine {
    let options = ConnectOptions::from_environment(|name| std::env::var(name).ok()).unwrap();
    DockerEngine::new(&options, Arc::new(|_| None)).unwrap()
}

fn first_apply(directory: &Path) -> f64 {
    let began = Instant::now();
    assert!(mastic(directory, &["apply"]).status().unwrap().success(), "apply failed");
    began.elapsed().as_secs_f64()
}

async fn wait_ready(engine: &DockerEngine, name: &str, not: Option<u64>) -> u64 {
    loop {
        if let Ok(container) = engine.inspect_container(name).await
            && container.is_running()
        {
            let started: u64 =
                container.state.started_at.bytes().fold(7, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
            if Some(started) != not {
                return started;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Kill a container and wait until it runs again: by the agent, and by hand at the first sight of its death.
async fn repairs(engine: &DockerEngine, raw_id: &str) -> (f64, f64) {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..REPAIRS {
        let before = wait_ready(engine, "bench-0", None).await;
        let began = Instant::now();
        engine.signal_container("bench-0", "SIGKILL").await.unwrap();
        wait_ready(engine, "bench-0", Some(before)).await;
        ours.push(began.elapsed().as_secs_f64() * 1000.0);

        let before = wait_ready(engine, raw_id, None).await;
        let began = Instant::now();
        engine.signal_container(raw_id, "SIGKILL").await.unwrap();
        while engine.inspect_container(raw_id).await.unwrap().is_running() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        engine.start_container(raw_id).await.unwrap();
        wait_ready(engine, raw_id, Some(before)).await;
        floor.push(began.elapsed().as_secs_f64() * 1000.0);
        // A crash loop's backoff is not what is measured here.
        engine.remove_container("bench-0", true).await.unwrap();
        wait_ready(engine, "bench-0", None).await;
    }
    (median(ours), median(floor))
}

fn process(child: &Child) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let pages: f64 = fields[21].parse().unwrap();
    (ticks / 100.0, pages * 4096.0 / 1_048_576.0)
}

/// User and system time of all children that have ended, in milliseconds.
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) * 10.0
}

/// An apply that changes nothing, measured in turns with the raw questions: ours, theirs, and our time of the processor.
async fn no_op(directory: &Path) -> (f64, f64, f64) {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    let before = children();
    for _ in 0..NO_OPS {
        floor.push(raw_look().await * 1000.0);
        ours.push(first_apply(directory) * 1000.0);
    }
    #[allow(clippy::cast_precision_loss, reason = "a few rounds")]
    let processor = (children() - before) / NO_OPS as f64;
    (median(ours), median(floor), processor)
}

async fn applies(engine: &DockerEngine, image_id: &str, directory: &Path, rows: &mut Vec<Row>) {
    site(directory, COUNT, false);
    let before = raw_up(engine, image_id).await;
    let first = first_apply(directory);
    let (ours, floor, processor) = no_op(directory).await;
    rows.push(Row { name: "unchanged apply, 100 containers", ours, floor, unit: "ms", limit: 1.5 });
    rows.push(Row { name: "  of it on the processor", ours: processor, floor, unit: "ms", limit: 1.5 });
    remove_all(engine).await;
    let after = raw_up(engine, image_id).await;
    let floor = f64::midpoint(before, after);
    rows.push(Row { name: "first apply, 100 containers", ours: first, floor, unit: "s", limit: 1.2 });

    site(directory, FEW, false);
    let _ = std::fs::remove_dir_all(directory.join("state"));
    first_apply(directory);
    let (ours, _, _) = no_op(directory).await;
    rows.push(Row { name: "unchanged apply, 12 containers", ours, floor: 25.0, unit: "ms", limit: 1.0 });
    remove_all(engine).await;
}

async fn heals(engine: &DockerEngine, image_id: &str, directory: &Path, rows: &mut Vec<Row>) {
    site(directory, 1, false);
    let _ = std::fs::remove_dir_all(directory.join("state"));
    let relay = Relay::start(directory);
    let mut agent = mastic(directory, &["agent"]).env("DOCKER_HOST", relay.address()).spawn().unwrap();
    wait_ready(engine, "bench-0", None).await;
    let raw_id = engine.create_container(&request("bench-raw", image_id)).await.unwrap();
    engine.start_container(&raw_id).await.unwrap();
    let (ours, floor) = repairs(engine, &raw_id).await;
    rows.push(Row { name: "killed, running again", ours, floor, unit: "ms", limit: 1.15 });
    // A round of `repairs` kills it once, and removes it once: both are events with a first call after them.
    let mut waits = relay.waits();
    waits.sort_by(f64::total_cmp);
    assert!(waits.len() >= REPAIRS, "only {} events were answered", waits.len());
    let worst = waits[waits.len() * 95 / 100];
    rows.push(Row { name: "event to first call", ours: median(waits), floor: 50.0, unit: "ms", limit: 1.0 });
    rows.push(Row { name: "event to first call, 95 of 100", ours: worst, floor: 50.0, unit: "ms", limit: 1.0 });
    let _ = agent.kill();
    let _ = agent.wait();
    remove_all(engine).await;
}

async fn idles(engine: &DockerEngine, directory: &Path, rows: &mut Vec<Row>) {
    site(directory, COUNT, true);
    let _ = std::fs::remove_dir_all(directory.join("state"));
    first_apply(directory);
    let mut agent = mastic(directory, &["agent"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (cpu, _) = process(&agent);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (later, memory) = process(&agent);
    let share = (later - cpu) / began.elapsed().as_secs_f64() * 100.0;
    let _ = agent.kill();
    let _ = agent.wait();
    remove_all(engine).await;
    rows.push(Row { name: "idle agent, resident", ours: memory, floor: 25.0, unit: "MB", limit: 1.0 });
    rows.push(Row { name: "idle agent, of a core", ours: share, floor: 0.5, unit: "%", limit: 1.0 });
}

/// Stands between the agent and the engine, and notes how long after an event the agent's first call comes. Most often it looks
/// at the container, which the engine answers once it has cleaned up after its death.
struct Relay {
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// When the death or removal of a container was told, and nothing has been asked about it yet.
    told: Option<Instant>,
    waits: Vec<f64>,
}

impl Relay {
    fn start(directory: &Path) -> Self {
        let path = directory.join("relay.sock");
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        let engine = engine.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned();
        let listener = UnixListener::bind(&path).unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            for asked in listener.incoming() {
                let (asked, answers) = (asked.unwrap(), UnixStream::connect(&engine).unwrap());
                let (asking, answered) = (asked.try_clone().unwrap(), answers.try_clone().unwrap());
                let (to, from) = (shared.clone(), shared.clone());
                std::thread::spawn(move || {
                    carry(asking, answered, |part| {
                        let calls: [&[u8]; 3] = [b"GET /containers/", b"POST ", b"DELETE "];
                        let is_call = calls.iter().any(|call| part.starts_with(call));
                        let mut seen = to.lock().unwrap();
                        if is_call && let Some(told) = seen.told.take() {
                            seen.waits.push(told.elapsed().as_secs_f64() * 1000.0);
                        }
                    });
                });
                std::thread::spawn(move || {
                    carry(answers, asked, |part| {
                        let tells = |word: &[u8]| part.windows(word.len()).any(|window| window == word);
                        if tells(b"\"Action\":\"die\"") || tells(b"\"Action\":\"destroy\"") {
                            from.lock().unwrap().told.get_or_insert_with(Instant::now);
                        }
                    });
                });
            }
        });
        Self { path, seen }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    fn waits(&self) -> Vec<f64> {
        self.seen.lock().unwrap().waits.clone()
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, look: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// `apply`, `heal` and `idle` choose what is measured; all of it without.
#[tokio::main]
async fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|word| word == part);
    let engine = connect();
    let image = engine.inspect_image("busybox:1").await.expect("the image busybox:1 is missing");
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    remove_all(&engine).await;
    let mut rows = Vec::new();
    if wanted("apply") {
        applies(&engine, &image.id, directory, &mut rows).await;
    }
    if wanted("heal") {
        heals(&engine, &image.id, directory, &mut rows).await;
    }
    if wanted("idle") {
        idles(&engine, directory, &mut rows).await;
    }
    #[allow(clippy::cast_precision_loss, reason = "a file's size")]
    let size = std::fs::metadata(binary()).unwrap().len() as f64 / 1_048_576.0;
    rows.push(Row { name: "binary", ours: size, floor: 20.0, unit: "MB", limit: 1.0 });
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load at the end: {}", load.trim());

    println!("{:<36} {:>10} {:>10} {:>7} {:>7}", "what", "ours", "floor", "ratio", "limit");
    for row in &rows {
        let (name, unit) = (row.name, row.unit);
        println!(
            "{name:<36} {:>7.2} {unit:<2} {:>7.2} {unit:<2} {:>7.2} {:>7.2}",
            row.ours,
            row.floor,
            row.ratio(),
            row.limit
        );
    }
    let json: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| serde_json::json!({"name": row.name, "ours": row.ours, "floor": row.floor, "unit": row.unit, "ratio": row.ratio(), "limit": row.limit}))
        .collect();
    let _ = std::fs::create_dir_all("target");
    std::fs::write("target/bench.json", serde_json::to_string_pretty(&json).unwrap()).unwrap();
}

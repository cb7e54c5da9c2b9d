//! A controller over simulated hosts. The site is a real file, compiled as always; engines, disks and time are not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mastic::control::command::{Command, Outcome, Reconcile, Replies, Reply, Request, Wait};
use mastic::control::fleet::{Fleet as Loops, Member};
use mastic::control::input::Input;
use mastic::control::ports::Ports;
use mastic::control::published::Published;
use mastic::control::reconciler::Mode;
use mastic::edge::fleet_source::FleetSource;
use mastic::model::names::{HostName, SiteName};
use mastic::model::time::Span;
use mastic::observe::observed::Health;
use mastic::port::coordinator::Coordinator as _;
use mastic::port::store::Store as _;
use mastic::report::metrics::Metrics;
use mastic::report::status::SiteStatus;
use mastic::resolve::compile::CompileRequest;
use mastic::sim::program::{Program, SimImage};
use mastic::sim::world::{SimHost, SimWorld};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Between two looks of a sampler.
const SAMPLE: Duration = Duration::from_millis(5);

/// One service on hosts h1 to h9, of which a test uses the first.
pub fn site(image: &str, rollout: &str) -> String {
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
         defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{HOSTS: {{}}}}\n  \
         services: {{web: {{hosts: all, image: \"{image}\", rollout: {rollout}}}}}\n"
    )
}

/// The controller and its world.
pub struct Fleet {
    world: SimWorld,
    hosts: Vec<String>,
    directory: tempfile::TempDir,
    inputs: Option<mpsc::Sender<Input>>,
    published: Arc<Published>,
    tasks: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// So many hosts, all there, and a controller that follows the site.
    pub fn start(count: usize, text: &str) -> Self {
        Self::start_with(count, text, &[])
    }

    /// The same with files beside the site.
    pub fn start_with(count: usize, text: &str, files: &[(&str, &str)]) -> Self {
        let world = SimWorld::new(7);
        for reference in ["app:1", "app:2"] {
            world.publish(reference, 1, image(Program::healthy_after(Span(300))));
        }
        world.publish("flaps:1", 1, image(Program::flaps(Span(15_000))));
        world.publish_with("late:1", 1, image(Program::healthy_after(Span(300))), None, Span(300_000));
        world.publish("slow:1", 1, image(Program::healthy_after(Span(3000))));
        world.publish("crash:1", 1, image(Program::ends(Span(40), 3)));
        world.publish("job:1", 1, image(Program::ends(Span(500), 0)));
        let hosts: Vec<String> = (1..=count).map(|number| format!("h{number}")).collect();
        for host in &hosts {
            world.host(host).set_latency(1, 5);
        }
        let metrics = Arc::new(Metrics::new("0", "0").unwrap());
        let published = Published::new(SiteName::new("demo").unwrap(), metrics);
        let directory = tempfile::tempdir().unwrap();
        let mut fleet = Self { world, hosts, directory, inputs: None, published, tasks: Vec::new() };
        for (name, content) in files {
            let path = fleet.directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        fleet.write(text);
        fleet.begin();
        fleet
    }

    /// Edits the site.
    pub fn write(&self, text: &str) {
        let text = text.replace("HOSTS", &format!("\"h[1:{}]\"", self.hosts.len()));
        std::fs::write(self.directory.path().join("site.yaml"), text).unwrap();
    }

    /// Starts the controller.
    pub fn begin(&mut self) {
        let request =
            CompileRequest { paths: vec![self.directory.path().join("site.yaml")], ..CompileRequest::default() };
        let source = FleetSource::new(request, self.directory.path(), true);
        let metrics = Arc::new(Metrics::new("0", "0").unwrap());
        let site = SiteName::new("demo").unwrap();
        self.published = Published::new(site.clone(), metrics.clone());
        let members = self.hosts.iter().map(|name| {
            let host = self.world.host(name);
            host.revive();
            let ports = Ports {
                engine: Arc::new(host.engine()),
                files: Arc::new(host.files()),
                store: Arc::new(host.store()),
                clock: Arc::new(host.clock()),
                coordinator: Arc::new(host.coordinator()),
                vault: Arc::new(mastic::edge::vault::AeadVault),
                prober: Arc::new(host.prober()),
                facts: Arc::new(host.engine()),
                source: source.at(HostName::new(name).unwrap()),
                metrics: metrics.clone(),
                published: Published::new(site.clone(), metrics.clone()),
                planner: Arc::new(mastic::plan::instance::plan),
            };
            Member { host: HostName::new(name).unwrap(), meant: true, ports }
        });
        let mode = Mode { follow_source: true, act: true, on_request: false, once: false };
        let loops = Loops::start(members.collect(), mode, self.published.clone()).unwrap();
        let (inputs, receiver) = mpsc::channel(64);
        self.inputs = Some(inputs);
        self.tasks = vec![tokio::spawn(loops.run(receiver))];
    }

    /// The controller dies at once; what an engine has been asked is done.
    pub fn kill(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.inputs = None;
    }

    /// All that was kept is lost.
    pub fn lose_state(&self) {
        for host in &self.hosts {
            self.world.host(host).lose_store();
        }
        let _ = std::fs::remove_file(self.directory.path().join("site.json"));
    }

    /// What is known of the machines is lost.
    pub fn forget_facts(&self) {
        self.world.host(&self.hosts[0]).coordinator().lose_facts();
    }

    /// The site was edited.
    pub async fn edited(&self) {
        self.inputs.as_ref().unwrap().send(Input::Edit).await.unwrap();
    }

    /// `mastic apply`.
    pub async fn apply(&self) -> Outcome {
        self.apply_within(600).await
    }

    /// `mastic apply --timeout`.
    pub async fn apply_within(&self, seconds: u64) -> Outcome {
        let wait = Some(Wait { timeout: Some(Span::seconds(seconds)) });
        self.ask(Command::Reconcile(Reconcile { user: "tester".to_owned(), wait, ..Reconcile::default() })).await
    }

    /// Any command.
    pub async fn ask(&self, command: Command) -> Outcome {
        let (replies, mut receiver) = Replies::channel();
        let request = Request { command, replies };
        self.inputs.as_ref().unwrap().send(Input::Request(Box::new(request))).await.unwrap();
        while let Some(reply) = receiver.recv().await {
            if let Reply::Result(outcome) = reply {
                return outcome;
            }
        }
        panic!("the controller ended without an answer");
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(3600), async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited an hour for this: {what}");
    }

    /// One more image: what it runs as, and what it does with another command.
    pub fn publish(&self, reference: &str, program: Program, programs: &[(&str, Program)]) {
        let programs = programs.iter().map(|(words, program)| ((*words).to_owned(), program.clone())).collect();
        self.world.publish(reference, 1, SimImage { programs, ..SimImage::of(program) });
    }

    /// When a service or job was started, on any host, in milliseconds of the simulation.
    pub fn all_starts(&self, name: &str) -> Vec<u64> {
        let of = |host: &String| self.world.host(host).starts().get(name).cloned().unwrap_or_default();
        let mut starts: Vec<u64> = self.hosts.iter().flat_map(of).collect();
        starts.sort_unstable();
        starts
    }

    /// Reasons and messages of what was told on a host.
    pub fn events(&self, host: &str, reason: &str) -> Vec<String> {
        let events = self.world.host(host).store().events(500).unwrap();
        events.into_iter().filter(|event| event.reason == reason).map(|event| event.message).collect()
    }

    pub fn host(&self, name: &str) -> SimHost {
        self.world.host(name)
    }

    fn status(&self) -> Arc<SiteStatus> {
        self.published.status()
    }

    /// The images of the containers of a service, host by host.
    pub fn images(&self, service: &str) -> Vec<String> {
        let image = |host: &String| self.world.host(host).inspect(service).map_or(String::new(), |found| found.image);
        self.hosts.iter().map(image).collect()
    }

    /// The generation in force at each host.
    pub fn generations(&self) -> Vec<u64> {
        let status = self.status();
        let instances = status.instances().map(|(_, instance)| instance.generation);
        instances.collect()
    }

    /// Hosts whose engine answers.
    pub fn reachable(&self) -> Vec<String> {
        let reports = self.world.host(&self.hosts[0]).coordinator().reports().borrow().clone();
        reports.values().filter(|report| report.reachable).map(|report| report.host.to_string()).collect()
    }

    /// Hosts whose instance does not run, or says that it is not well.
    pub fn unready(&self, service: &str) -> Vec<String> {
        let is_ready = |host: &&String| {
            let found = self.world.host(host).inspect(service);
            found.is_ok_and(|found| found.is_running() && found.state.health == Health::Healthy)
        };
        self.hosts.iter().filter(|host| !is_ready(host)).cloned().collect()
    }

    /// What was changed at all hosts since changes were forgotten.
    pub fn changes(&self) -> Vec<String> {
        self.hosts.iter().flat_map(|host| self.changes_of(host)).collect()
    }

    pub fn changes_of(&self, host: &str) -> Vec<String> {
        self.world.host(host).changes()
    }

    pub fn forget_changes(&self) {
        for host in &self.hosts {
            self.world.host(host).forget_changes();
        }
    }

    /// When a service or job was first started, in milliseconds of the simulation.
    pub fn started(&self, host: &str, name: &str) -> u64 {
        let starts = self.world.host(host).starts();
        *starts.get(name).and_then(|starts| starts.first()).unwrap_or_else(|| panic!("{name} on {host}: {starts:?}"))
    }

    /// The hosts on which something was ever started.
    pub fn containers_that_ever_were(&self, name: &str) -> Vec<String> {
        let ran = |host: &&String| self.world.host(host).starts().contains_key(name);
        self.hosts.iter().filter(ran).cloned().collect()
    }

    /// Watches from outside how many instances are down at once.
    pub fn sample(&self, service: &str) -> Sampler {
        let hosts: Vec<SimHost> = self.hosts.iter().map(|name| self.world.host(name)).collect();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (service, record) = (service.to_owned(), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                let is_down = |host: &&SimHost| !host.inspect(&service).is_ok_and(|found| found.is_running());
                let down: BTreeSet<String> = hosts.iter().filter(is_down).map(|host| host.name().to_owned()).collect();
                record.lock().unwrap().note(down);
                tokio::time::sleep(SAMPLE).await;
            }
        });
        Sampler { seen, task }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Run with `make`, it leaves a file.
fn image(program: Program) -> SimImage {
    let programs = [("make".to_owned(), Program::makes(Span(200)))].into();
    SimImage { programs, ..SimImage::of(program) }
}

#[derive(Default)]
struct Seen {
    most: usize,
    first: Vec<String>,
}

impl Seen {
    fn note(&mut self, down: BTreeSet<String>) {
        self.most = self.most.max(down.len());
        if self.first.is_empty() {
            self.first.extend(down);
        }
    }
}

/// Watches from outside.
pub struct Sampler {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Sampler {
    pub fn most_down(&self) -> usize {
        self.seen.lock().unwrap().most
    }

    /// Those that were down first.
    pub fn first_down(&self) -> Vec<String> {
        self.seen.lock().unwrap().first.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

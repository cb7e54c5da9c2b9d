//! The whole agent in a simulated host: loop, events, commands. It can die at any moment.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use mastic::control::command::{Command, Outcome, Reconcile, Replies, Reply, Request, Wait};
use mastic::control::events;
use mastic::control::input::Input;
use mastic::control::ports::{BadSite, Loaded, Ports, SiteSource};
use mastic::control::published::Published;
use mastic::control::reconciler::{Mode, Reconciler};
use mastic::model::desired::HostDesired;
use mastic::model::facts::SiteFacts;
use mastic::model::time::Span;
use mastic::plan::host::PlanInstance;
use mastic::port::clock::Clock as _;
use mastic::report::metrics::Metrics;
use mastic::sim::world::SimHost;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The site file: what tests edit.
#[derive(Clone)]
pub struct Source(Arc<Mutex<Result<HostDesired, String>>>);

impl Source {
    pub fn new(desired: HostDesired) -> Self {
        Self(Arc::new(Mutex::new(Ok(desired))))
    }

    /// Saves another content; the agent has to be told of the edit.
    pub fn save(&self, desired: HostDesired) {
        *self.0.lock().unwrap() = Ok(desired);
    }
}

impl SiteSource for Source {
    fn load(&self, _site_key: &[u8], _facts: &Arc<SiteFacts>) -> Result<Loaded, BadSite> {
        match &*self.0.lock().unwrap() {
            Ok(desired) => {
                Ok(Loaded { desired: desired.clone(), paths: BTreeSet::new(), warnings: Vec::new(), asks_facts: None })
            }
            Err(why) => Err(BadSite { errors: 1, message: why.clone(), paths: BTreeSet::new() }),
        }
    }
}

fn ports(host: &SimHost, source: &Source, planner: &Arc<PlanInstance>) -> Ports {
    let metrics = Arc::new(Metrics::new("0", "0").unwrap());
    Ports {
        engine: Arc::new(host.engine()),
        commands: Some(Arc::new(host.engine())),
        files: Arc::new(host.files()),
        store: Arc::new(host.store()),
        clock: Arc::new(host.clock()),
        coordinator: Arc::new(host.coordinator()),
        vault: Arc::new(mastic::edge::vault::AeadVault),
        prober: Arc::new(host.prober()),
        facts: Arc::new(host.engine()),
        source: Arc::new(source.clone()),
        published: Published::new(super::site::site_name(), metrics.clone()),
        metrics,
        planner: planner.clone(),
    }
}

/// One `apply` by a loop of its own, as the command line runs it; the stream of events comes up meanwhile. Ends by itself;
/// gives the metrics.
pub async fn apply_once(host: &SimHost, source: &Source, planner: &Arc<PlanInstance>) -> String {
    let ports = ports(host, source, planner);
    let published = ports.published.clone();
    let (inputs, receiver) = mpsc::channel(16);
    let (replies, mut answers) = Replies::channel();
    let wait = Some(Wait { timeout: Some(Span::seconds(60)) });
    let command = Command::Reconcile(Reconcile { user: "tester".to_owned(), wait, ..Reconcile::default() });
    inputs.try_send(Input::Request(Box::new(Request { command, replies }))).unwrap();
    inputs.try_send(Input::EventsConnected).unwrap();
    let mode = Mode { follow_source: true, act: true, on_request: true, once: true };
    Reconciler::new(ports, mode).unwrap().run(receiver).await;
    let answer = std::iter::from_fn(|| answers.try_recv().ok()).last();
    assert!(matches!(&answer, Some(Reply::Result(outcome)) if outcome.message.starts_with("converged")), "{answer:?}");
    published.metrics().text(host.clock().now())
}

/// A running agent.
pub struct Agent {
    inputs: mpsc::Sender<Input>,
    published: Arc<Published>,
    tasks: Vec<JoinHandle<()>>,
}

impl Agent {
    /// Starts one.
    pub fn start(host: &SimHost, source: &Source, planner: &Arc<PlanInstance>) -> Self {
        let ports = ports(host, source, planner);
        let published = ports.published.clone();
        let (inputs, receiver) = mpsc::channel(256);
        let follow = events::follow(Arc::new(host.engine()), ports.clock.clone(), inputs.clone());
        let reconciler =
            Reconciler::new(ports, Mode { follow_source: true, act: true, on_request: false, once: false }).unwrap();
        let tasks = vec![tokio::spawn(reconciler.run(receiver)), tokio::spawn(follow)];
        Self { inputs, published, tasks }
    }

    /// The site was edited.
    pub async fn edited(&self) {
        let _ = self.inputs.send(Input::Edit).await;
    }

    /// Files of containers may have changed, as inotify tells.
    pub async fn files_changed(&self) {
        let _ = self.inputs.send(Input::Files(None)).await;
    }

    /// Asks for something and waits for the answer.
    pub async fn ask(&self, command: Command) -> Option<Outcome> {
        let (replies, mut receiver) = Replies::channel();
        self.inputs.send(Input::Request(Box::new(Request { command, replies }))).await.ok()?;
        while let Some(reply) = receiver.recv().await {
            if let Reply::Result(outcome) = reply {
                return Some(outcome);
            }
        }
        None
    }

    /// What an `apply` is told while it waits.
    pub fn listen_to_apply(&self) -> mpsc::Receiver<Reply> {
        let (replies, receiver) = Replies::channel();
        let wait = Some(Wait { timeout: Some(Span::seconds(3600)) });
        let command = Command::Reconcile(Reconcile { user: "tester".to_owned(), wait, ..Reconcile::default() });
        self.inputs.try_send(Input::Request(Box::new(Request { command, replies }))).unwrap();
        receiver
    }

    /// `apply --retry`: everything once more, until it is converged or stuck.
    pub async fn apply(&self, minutes: u64) -> Option<Outcome> {
        let wait = Some(Wait { timeout: Some(Span::seconds(60 * minutes)) });
        let reconcile = Reconcile { retry: true, user: "tester".to_owned(), wait, ..Reconcile::default() };
        self.ask(Command::Reconcile(reconcile)).await
    }

    /// The same, without waiting for room.
    pub fn tell_edited(&self) {
        self.inputs.try_send(Input::Edit).unwrap();
    }

    /// Asks for something; nobody listens to the answer.
    pub fn tell(&self, command: Command) {
        let (replies, _) = Replies::channel();
        self.inputs.try_send(Input::Request(Box::new(Request { command, replies }))).unwrap();
    }

    pub fn published(&self) -> &Published {
        &self.published
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

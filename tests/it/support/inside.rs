//! An agent within the test's own process, as `mastic agent` puts it together, so that the test can let time pass.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mastic::cli::world::{Access, Place, Running, World};
use mastic::model::time::Timestamp;
use mastic::port::clock::Clock as _;
use mastic::report::status::SiteStatus;
use mastic::resolve::compile::CompileRequest;
use mastic::sim::clock::{BEGINNING, SimClock};

use super::Sandbox;

/// Real engine, real disk; the clock goes with Tokio's time, of which a test may skip as much as it likes.
pub struct Inside {
    running: Running,
    clock: SimClock,
}

impl Inside {
    /// Follows `site.yaml` of a sandbox. The site says how the engine is reached.
    pub async fn start(sandbox: &Sandbox) -> Self {
        let request = CompileRequest {
            paths: vec![sandbox.path().join("site.yaml")],
            host: None,
            hostname: "here".to_owned(),
            extra_vars: Vec::new(),
            environment: BTreeMap::new(),
            role_directories: Vec::new(),
            ignore_lock: false,
            ordinals: mastic::model::ordinals::Ordinals::default(),
            site_key: Vec::new(),
            ..CompileRequest::default()
        };
        let place = Place { state: sandbox.state(), request: Some(request), selected: Vec::new(), etcd: None };
        let world = World::open(&place, Access::Act, "test").await.unwrap();
        // The engine tells real times: the clock begins with them.
        let real = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let clock = SimClock::new(1);
        clock.set_skew(real - BEGINNING);
        let world = world.with_clock(&std::sync::Arc::new(clock.clone()));
        Self { running: world.start_agent().unwrap(), clock }
    }

    /// Waits until the status says so.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&SiteStatus) -> bool) {
        let mut news = self.running.published.watch();
        let waited = tokio::time::timeout(Duration::from_secs(30), news.wait_for(|status| holds(status))).await;
        assert!(waited.is_ok(), "waited 30 s for {what}: {:#?}", self.status());
    }

    /// Waits until it has looked again.
    pub async fn looked(&self) {
        let before = self.status().observed_at;
        self.until("another look", |status| status.observed_at != before).await;
    }

    /// What it says of itself.
    pub fn status(&self) -> std::sync::Arc<SiteStatus> {
        self.running.published.status()
    }

    /// So much time is over at once.
    pub async fn skip(&self, seconds: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }

    /// What the machine's clock shows.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends it.
    pub async fn end(self) {
        self.running.end().await.unwrap();
    }
}

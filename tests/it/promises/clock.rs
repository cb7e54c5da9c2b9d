//! The machine's clock steps while the whole agent works: no wait grows with it, nothing is given up for it, and nothing is
//! done twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mastic::control::command::Command;
use mastic::model::desired::{HostDesired, InstanceDesired};
use mastic::model::image::ImageRef;
use mastic::model::job::{JobRun, JobState, Schedule};
use mastic::model::time::Span;
use mastic::port::clock::Clock as _;
use mastic::port::store::Store as _;
use mastic::render::seal::seal_job;
use mastic::sim::operator::Deed;
use mastic::sim::program::Program;
use mastic::sim::world::{SimHost, SimWorld};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::agent::{Agent, Source};
use super::case::real_planner;
use super::{oracle, site};

const DAY: i64 = 24 * 3600 * 1000;
/// Backwards and forwards, by a little and by a lot.
const STEPS: [i64; 5] = [-30 * 365 * DAY, -DAY, -30_000, DAY, 30 * 365 * DAY];

struct Scene {
    world: SimWorld,
    host: SimHost,
    source: Source,
    desired: HostDesired,
    agent: Agent,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut HostDesired)) -> Self {
        let world = SimWorld::new(5);
        site::publish(&world, &mut StdRng::seed_from_u64(5));
        let host = world.host(site::host_name().as_str());
        let mut desired = site::fixed_site();
        change(&mut desired);
        let source = Source::new(desired.clone());
        let agent = Agent::start(&host, &source, &real_planner());
        let scene = Self { world, host, source, desired, agent };
        scene.right("at the beginning", 120, &BTreeMap::new()).await;
        sleep(Duration::from_secs(20)).await;
        scene
    }

    /// Waits until all is right, at most so many seconds.
    async fn right(&self, when: &str, seconds: u64, instead: &BTreeMap<String, InstanceDesired>) {
        let mut wrong = None;
        for _ in 0..seconds * 5 {
            wrong = oracle::wrong(&self.host, &self.desired, instead).await;
            let known = !instead.is_empty() || self.agent.published().status().converged;
            if wrong.is_none() && known {
                assert_eq!(self.host.violations().first().map(|first| first.what.clone()), None, "{when}");
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("{when}: not right within {seconds} s: {wrong:?}\n{}", self.host.trace());
    }

    async fn edit(&mut self, change: impl FnOnce(&mut HostDesired)) {
        change(&mut self.desired);
        self.source.save(self.desired.clone());
        self.agent.edited().await;
    }

    fn step(&self, milliseconds: i64) {
        self.host.does(&Deed::Skew(milliseconds)).unwrap();
    }

    fn runs(&self, job: &str) -> usize {
        self.host.starts().get(job).map_or(0, Vec::len)
    }
}

fn image(desired: &mut HostDesired, name: &str) {
    site::edit(desired, "alpha", |service| service.image = ImageRef::new(name).unwrap());
}

#[tokio::test(start_paused = true)]
async fn healing_takes_no_longer() {
    for step in STEPS {
        let scene = Scene::new(|_| {}).await;
        // It dies so often that it has a wait before it, and then the clock is stepped.
        for _ in 0..6 {
            let _running = scene.host.does(&Deed::Stop("beta".to_owned()));
            sleep(Duration::from_millis(700)).await;
        }
        scene.step(step);
        scene.right(&format!("after a step by {step}"), 70, &BTreeMap::new()).await;
        scene.host.does(&Deed::Remove("alpha".to_owned())).unwrap();
        scene.right(&format!("healing after a step by {step}"), 30, &BTreeMap::new()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_version_passes_its_gate_and_a_bad_one_does_not() {
    for step in STEPS {
        let mut scene = Scene::new(|_| {}).await;
        scene.edit(|desired| image(desired, "app:2")).await;
        // In the middle of its gate.
        sleep(Duration::from_millis(2500)).await;
        scene.step(step);
        scene.right(&format!("a good edit and a step by {step}"), 60, &BTreeMap::new()).await;
        let memory = scene.host.store().load_memory().unwrap();
        assert!(memory.instances.values().all(|instance| instance.quarantine.is_none()), "step by {step}");

        let good = InstanceDesired::clone(&scene.desired.services["alpha"]);
        sleep(Duration::from_secs(20)).await;
        scene.edit(|desired| image(desired, "sick:1")).await;
        sleep(Duration::from_millis(2500)).await;
        scene.step(0);
        sleep(Duration::from_secs(5)).await;
        assert!(scene.host.inspect("alpha.failed").is_err(), "it has 20 s, whatever the clock says: {step}");
        let when = format!("a bad edit and a step by {}", -step);
        scene.right(&when, 60, &BTreeMap::from([("alpha".to_owned(), good)])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_after_a_failure_is_tried_again_within_the_longest_wait() {
    for step in STEPS {
        let mut scene = Scene::new(|_| {}).await;
        scene.edit(|desired| image(desired, "later:1")).await;
        sleep(Duration::from_secs(90)).await;
        scene.step(step);
        let program = Program::healthy_after(Span(50)).reading("/etc/app.conf").reading("/etc/app.d/live.conf");
        scene.world.publish("later:1", 1, site::image(program));
        scene.right(&format!("a pull that failed and a step by {step}"), 130, &BTreeMap::new()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_lasts_as_long_as_was_said() {
    for step in STEPS {
        let scene = Scene::new(|_| {}).await;
        let hold = Command::Pause {
            service: None,
            user: "tester".to_owned(),
            reason: "moving racks".to_owned(),
            lasts: Some(Span::seconds(60)),
        };
        scene.agent.ask(hold).await.unwrap();
        scene.step(step);
        sleep(Duration::from_secs(10)).await;
        scene.host.does(&Deed::Remove("beta".to_owned())).unwrap();
        sleep(Duration::from_secs(40)).await;
        assert!(scene.host.inspect("beta").is_err(), "the hold ended too soon after a step by {step}");
        scene.right(&format!("after the hold with a step by {step}"), 30, &BTreeMap::new()).await;
    }
}

/// A site with a job for each full hour.
fn hourly(desired: &mut HostDesired) {
    for job in desired.jobs.values_mut() {
        let job = Arc::make_mut(job);
        job.run = JobRun::Each;
        job.schedule = Some(Schedule { cron: "0 * * * *".to_owned(), timezone: "UTC".to_owned(), run_missed: false });
        seal_job(job, None, b"key");
    }
}

async fn with_schedule() -> Scene {
    let world = SimWorld::new(5);
    site::publish(&world, &mut StdRng::seed_from_u64(5));
    let host = world.host(site::host_name().as_str());
    let mut desired = site::fixed_site();
    hourly(&mut desired);
    let source = Source::new(desired.clone());
    let agent = Agent::start(&host, &source, &real_planner());
    sleep(Duration::from_secs(30)).await;
    Scene { world, host, source, desired, agent }
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_job_runs_once_for_each_of_its_times() {
    let mut scene = with_schedule().await;
    assert_eq!(scene.runs("migrate"), 0, "nothing is due before the job was known");
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(scene.runs("migrate"), 1);
    let record = scene.host.store().load_memory().unwrap().jobs["migrate"].clone();
    assert!(matches!(record.state, JobState::Done { .. }), "{record:?}");
    assert!(scene.host.inspect("migrate").is_err(), "its container is gone");
    sleep(Duration::from_secs(5 * 3600)).await;
    assert_eq!(scene.runs("migrate"), 6);
    // Times that pass while no agent is there are not made up for.
    scene.agent = {
        let Scene { agent, .. } = &scene;
        let _ = agent.ask(Command::Shutdown).await;
        sleep(Duration::from_secs(3 * 3600 + 120)).await;
        Agent::start(&scene.host, &scene.source, &real_planner())
    };
    sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.runs("migrate"), 6);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(scene.runs("migrate"), 7);
    let status = serde_json::to_value(&*scene.agent.published().status()).unwrap();
    assert!(status["hosts"][0]["jobs"][0]["next_run"].is_string(), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_survives_steps_of_the_clock() {
    // Half an hour back after a run: its time comes a second time and is not run again.
    let scene = with_schedule().await;
    sleep(Duration::from_secs(3600 + 600)).await;
    assert_eq!(scene.runs("migrate"), 1);
    scene.step(-1_800_000);
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(scene.runs("migrate"), 1);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(scene.runs("migrate"), 2);

    // First seen with a clock that was years ahead: it runs again within the hour once that is right.
    let world = with_schedule().await;
    world.step(20 * 365 * DAY);
    sleep(Duration::from_secs(2 * 3600)).await;
    let before = world.runs("migrate");
    assert!(before >= 1);
    world.step(0);
    sleep(Duration::from_secs(3700)).await;
    assert_eq!(world.runs("migrate"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_of_the_clock_as_it_is_now() {
    let scene = Scene::new(|_| {}).await;
    scene.step(-DAY);
    sleep(Duration::from_secs(90)).await;
    let status = scene.agent.published().status();
    let now = scene.host.clock().now();
    assert!(
        status.observed_at.is_some_and(|at| at <= now && now.since(at) < Span::seconds(90)),
        "{:?}",
        status.observed_at
    );
    assert!(status.converged);
}

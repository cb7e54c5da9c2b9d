//! One random case: a site, edits, faults, deaths and deeds by hand; then peace, in which everything has to come right.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use mastic::control::command::Command;
use mastic::model::desired::{HostDesired, InstanceDesired};
use mastic::model::image::ImageRef;
use mastic::model::settings::{ContainerSettings, RestartPolicy};
use mastic::model::time::Span;
use mastic::plan::host::PlanInstance;
use mastic::plan::instance;
use mastic::port::engine::CreateContainer;
use mastic::port::store::Store as _;
use mastic::sim::faults::{Faults, Moment};
use mastic::sim::operator::Deed;
use mastic::sim::program::{Program, SimImage};
use mastic::sim::world::{SimHost, SimWorld};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::agent::{Agent, Source};
use super::{oracle, site};

/// How long it may take until everything is right once nothing goes wrong any more: longer than any backoff.
const PEACE: Duration = Duration::from_secs(30 * 60);

/// Real time after which a case is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// The planner as it is, asked twice: the same input gives the same plan.
pub fn real_planner() -> Arc<PlanInstance> {
    Arc::new(|input| {
        let plan = instance::plan(input);
        assert_eq!(plan, instance::plan(input), "planned twice, and not the same");
        plan
    })
}

/// Runs one case.
pub fn run(seed: u64, planner: &Arc<PlanInstance>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let world = runtime.block_on(async { SimWorld::new(seed) });
    let host = world.host(site::host_name().as_str());
    let _watchdog = watchdog(seed, &host);
    let result = runtime.block_on(async {
        let case = AssertUnwindSafe(Case::new(seed, &world, planner.clone()).run()).catch_unwind();
        // Far more than any case takes: a case that hangs fails.
        match tokio::time::timeout(Duration::from_secs(12 * 3600), case).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("it panicked".to_owned()),
            Err(_) => Err("it hangs".to_owned()),
        }
    });
    if std::env::var("MASTIC_SEED").is_ok() {
        println!("{}", story(&host));
    }
    result.map_err(|text| format!("{text}\n{}", story(&host)))
}

/// The newest calls and events, in their order.
fn story(host: &SimHost) -> String {
    let trace = host.trace();
    let mut lines: Vec<(i64, String)> = trace
        .lines()
        .filter_map(|line| Some((line.split_whitespace().next()?.parse().ok()?, line.to_owned())))
        .collect();
    for event in host.store().events(200).unwrap() {
        let at = event.at.0 - mastic::sim::clock::BEGINNING;
        lines.push((at, format!("{at:>8}                {} {}: {}", event.subject, event.reason, event.message)));
    }
    lines.sort_by_key(|(at, _)| *at);
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    lines[lines.len().saturating_sub(200)..].join("\n")
}

/// Ends the process if a case takes real minutes: then simulated time does not pass, and nothing else would tell.
fn watchdog(seed: u64, host: &SimHost) -> std::sync::mpsc::Sender<()> {
    let (alive, ended) = std::sync::mpsc::channel();
    let host = host.clone();
    std::thread::spawn(move || {
        if ended.recv_timeout(STUCK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // Not captured by the test harness, which dies with it.
            let text = format!("MASTIC_SEED={seed} is stuck: the loop runs and no time passes\n{}", host.trace());
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            std::process::abort();
        }
    });
    alive
}

struct Case {
    random: StdRng,
    host: SimHost,
    planner: Arc<PlanInstance>,
    desired: HostDesired,
    source: Source,
    agent: Option<Agent>,
}

impl Case {
    fn new(seed: u64, world: &SimWorld, planner: Arc<PlanInstance>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        site::publish(world, &mut random);
        let host = world.host(site::host_name().as_str());
        host.set_latency(0, [1, 5, 50][random.random_range(0..3)]);
        let desired = site::random_site(&mut random);
        let source = Source::new(desired.clone());
        Self { random, host, planner, desired, source, agent: None }
    }

    fn start_agent(&mut self) {
        self.agent = Some(Agent::start(&self.host, &self.source, &self.planner));
    }

    async fn run(mut self) -> Result<(), String> {
        let foreign = self.random.random_bool(0.1).then(|| self.foreign_in_the_way());
        self.start_agent();
        if let Some(name) = foreign {
            // Nothing happens to it; once its owner takes it away, the place is free.
            self.wait(60_000).await;
            let there = self.host.inspect(&name).is_ok_and(|container| container.is_running());
            self.broken("with a foreign container in the way")?;
            if !there {
                return Err(format!("the foreign container {name} is gone"));
            }
            let _ = self.host.does(&Deed::Remove(name));
        }
        let quiet = self.random.random_bool(0.25);
        if quiet {
            self.peace("after the first apply", &BTreeMap::new()).await?;
        }
        let rounds = self.random.random_range(1..5);
        for _ in 0..rounds {
            self.round(quiet).await?;
        }
        self.calm_down();
        if self.random.random_bool(0.3) {
            self.bad_edit_rolls_back().await?;
        }
        self.peace("at the end", &BTreeMap::new()).await?;
        self.stays_so().await
    }

    /// A container of somebody else has the name that one of ours needs.
    fn foreign_in_the_way(&self) -> String {
        let name = self.desired.services[0].container_name.to_string();
        let image = ImageRef::new("stranger:1").unwrap();
        self.host.load_image(&image, SimImage::of(Program::healthy_after(Span(10))));
        let request = CreateContainer {
            name: name.clone(),
            image_id: "stranger:1".to_owned(),
            image,
            settings: ContainerSettings { restart: Some(RestartPolicy::Always), ..ContainerSettings::default() },
            networks: BTreeMap::new(),
            labels: BTreeMap::new(),
            carried_volumes: BTreeMap::new(),
        };
        self.host.run_by_hand(&request).unwrap();
        name
    }

    /// Some edits and mishaps.
    async fn round(&mut self, quiet: bool) -> Result<(), String> {
        if self.random.random_bool(0.7) {
            self.edit(|random, desired| site::good_edit(random, desired).removed).await;
            if quiet {
                return self.peace("after an edit", &BTreeMap::new()).await;
            }
        }
        if self.random.random_bool(0.3) {
            let good = self.desired.clone();
            self.edit(|random, desired| {
                site::bad_edit(random, desired);
                Vec::new()
            })
            .await;
            self.wait(30_000).await;
            // The next good edit comes before or after the rollback.
            self.edit(|random, desired| {
                *desired = good;
                site::good_edit(random, desired).removed
            })
            .await;
        }
        let rate = [0.0, 0.02, 0.1, 0.3][self.random.random_range(0..4)];
        if !quiet {
            self.host.set_faults(Faults::some(rate));
        }
        for _ in 0..self.random.random_range(0..4) {
            if self.random.random_bool(0.25) {
                self.die();
            }
            if self.random.random_bool(0.5) {
                self.deed().await;
            }
            self.wait(if quiet { 200 } else { 8000 }).await;
        }
        self.calm_down();
        Ok(())
    }

    async fn edit(&mut self, change: impl FnOnce(&mut StdRng, &mut HostDesired) -> Vec<String>) {
        let removed = change(&mut self.random, &mut self.desired);
        for service in &removed {
            self.host.allow_removal(service);
        }
        self.source.save(self.desired.clone());
        if let Some(agent) = &self.agent {
            agent.edited().await;
        }
    }

    async fn wait(&mut self, most: u64) {
        let time = self.random.random_range(0..most);
        sleep(Duration::from_millis(time)).await;
        self.look_after_agent().await;
    }

    async fn deed(&mut self) {
        let deed = self.host.random_deed(&mut self.random);
        if let Deed::RestartEngine(..) = deed
            && self.random.random_bool(0.7)
        {
            return;
        }
        let tampers = matches!(deed, Deed::Tamper(..));
        // What does not work by hand does not work.
        let _ = self.host.does(&deed);
        if tampers
            && self.random.random()
            && let Some(agent) = &self.agent
        {
            agent.files_changed().await;
        }
    }

    /// The agent is killed at one of its next calls; somebody starts it again.
    fn die(&mut self) {
        let moment = [Moment::Before, Moment::During, Moment::After][self.random.random_range(0..3)];
        self.host.crash_at(self.random.random_range(1..6), moment);
    }

    async fn look_after_agent(&mut self) {
        if self.host.is_dead() {
            self.host.died().await;
            drop(self.agent.take());
            self.host.revive();
            let pause = self.random.random_range(0..5000);
            sleep(Duration::from_millis(pause)).await;
            self.start_agent();
        }
    }

    fn calm_down(&mut self) {
        self.host.set_faults(Faults::default());
    }

    /// Nothing goes wrong any more: everything has to become right.
    async fn peace(&mut self, when: &str, instead: &BTreeMap<String, InstanceDesired>) -> Result<(), String> {
        if !self.host.is_dead() {
            self.host.revive();
        }
        self.look_after_agent().await;
        self.host.does(&Deed::Skew(0)).unwrap();
        let mut waited = Duration::ZERO;
        let mut asked = false;
        loop {
            self.broken(when)?;
            // The agent has to know it, too; with a rollback it is not what was asked for.
            let known = match &self.agent {
                Some(agent) if instead.is_empty() => agent.published().status().converged,
                _ => true,
            };
            let wrong = if known {
                oracle::wrong(&self.host, &self.desired, instead).await
            } else {
                Some("the agent does not call it converged".to_owned())
            };
            let Some(wrong) = wrong else { break };
            if waited > PEACE {
                return Err(format!("{when}, not converged: {wrong}\n{}", self.status()));
            }
            // What was broken by hand while it had to prove itself may have been given up: a person says try again.
            if waited > PEACE / 2 && !asked && instead.is_empty() {
                asked = true;
                if let Some(agent) = &self.agent {
                    let _ = agent.apply(10).await;
                }
            }
            sleep(Duration::from_secs(2)).await;
            waited += Duration::from_secs(2);
        }
        Ok(())
    }

    /// What the agent says of what is not ready.
    fn status(&self) -> String {
        let Some(agent) = &self.agent else { return "there is no agent".to_owned() };
        let status = serde_json::to_value(&*agent.published().status()).unwrap();
        let mut text = String::new();
        for kind in ["instances", "jobs"] {
            for subject in status["hosts"][0][kind].as_array().into_iter().flatten() {
                let conditions = subject["conditions"].as_array().into_iter().flatten();
                let lines =
                    conditions.filter(|condition| condition["status"] == "True" && condition["type"] != "Ready");
                for condition in lines {
                    let name = subject["service"].as_str().or(subject["job"].as_str()).unwrap_or_default();
                    text.push_str(&format!("{name}: {} {}\n", condition["type"], condition["message"]));
                }
                let name = subject["service"].as_str().or(subject["job"].as_str()).unwrap_or_default();
                text.push_str(&format!("{name} is {}\n", subject["state"].as_str().unwrap_or_default()));
            }
        }
        text
    }

    fn broken(&self, when: &str) -> Result<(), String> {
        let violations = self.host.violations();
        match violations.first() {
            None => Ok(()),
            Some(first) => Err(format!("{when}: {} ms: {}", first.at, first.what)),
        }
    }

    /// A spec that cannot become ready: what was there before comes back, whole, and stays.
    async fn bad_edit_rolls_back(&mut self) -> Result<(), String> {
        self.peace("before a bad edit", &BTreeMap::new()).await?;
        // Gates have to be passed before there is something to go back to.
        sleep(Duration::from_secs(10)).await;
        let good = self.desired.clone();
        let name = site::bad_edit(&mut self.random, &mut self.desired);
        self.source.save(self.desired.clone());
        if let Some(agent) = &self.agent {
            agent.edited().await;
        }
        sleep(Duration::from_secs(30)).await;
        let before = InstanceDesired::clone(&good.services[&name]);
        self.peace("after a bad edit", &BTreeMap::from([(name.to_string(), before)])).await?;
        self.desired = good;
        site::good_edit(&mut self.random, &mut self.desired)
            .removed
            .iter()
            .for_each(|name| self.host.allow_removal(name));
        self.source.save(self.desired.clone());
        if let Some(agent) = &self.agent {
            agent.edited().await;
        }
        Ok(())
    }

    /// It stays as it is: no plan, no call, also by a new agent.
    async fn stays_so(&mut self) -> Result<(), String> {
        sleep(Duration::from_secs(20)).await;
        self.peace("after a while", &BTreeMap::new()).await?;
        self.host.forbid_changes(Some("everything is as desired"));
        // Some are watched for longer than two periodic deep passes.
        let is_long = self.random.random_bool(0.1);
        sleep(Duration::from_secs(if is_long { 800 } else { 10 })).await;
        self.start_agent();
        sleep(Duration::from_secs(if is_long { 400 } else { 20 })).await;
        self.broken("once converged")?;
        let plan = match &self.agent {
            Some(agent) => agent.ask(Command::Plan).await,
            None => None,
        };
        let plan = plan.and_then(|outcome| outcome.data).ok_or("no plan was told")?;
        if plan["changes"] != 0 {
            return Err(format!("the plan is not empty: {plan:#}"));
        }
        let lost = self.host.lost_volumes();
        if let Some((service, target)) = lost.first() {
            return Err(format!("the volume of {service} at {target} was lost"));
        }
        self.tells_no_secret(&plan.to_string())
    }

    fn tells_no_secret(&self, plan: &str) -> Result<(), String> {
        let mut texts = vec![("the plan", plan.to_owned()), ("the calls", self.host.trace())];
        for container in self.host.containers() {
            let container = self.host.inspect(&container.id).unwrap();
            texts.push(("an inspect", format!("{container:?}")));
        }
        if let Some(agent) = &self.agent {
            texts.push(("the status", serde_json::to_string(&*agent.published().status()).unwrap()));
        }
        let events = self.host.store().events(1000).unwrap();
        texts.push(("the events", serde_json::to_string(&events).unwrap()));
        for (key, path) in self.host.file_paths() {
            texts.push(("a path", format!("{key}/{path}")));
        }
        for (what, text) in &texts {
            for form in secret_forms() {
                if text.contains(&form) {
                    return Err(format!("{what} tells the secret as {form}"));
                }
            }
        }
        Ok(())
    }
}

fn secret_forms() -> Vec<String> {
    use base64::Engine as _;
    use sha2::Digest as _;
    let raw = site::SECRET.as_bytes();
    let encoded: String = raw
        .iter()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                char::from(*byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    vec![
        site::SECRET.to_owned(),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(raw),
        hex::encode(raw),
        encoded,
        hex::encode(sha2::Sha256::digest(raw)),
    ]
}

//! The agent is killed before, in the middle of and after each call of engine, files and store that changes something, with
//! the reply lost. The next one has to bring everything to the same end.

use std::collections::BTreeMap;
use std::time::Duration;

use mastic::control::command::Command;
use mastic::model::desired::{HostDesired, InstanceDesired};
use mastic::model::file::OnChange;
use mastic::model::labels;
use mastic::port::files::ObserveFiles as _;
use mastic::sim::faults::Moment;
use mastic::sim::world::{SimHost, SimWorld};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::agent::{Agent, Source};
use super::case::real_planner;
use super::{oracle, site};

/// What is under way when the agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undertaking {
    FirstApply,
    Replace,
    Reload,
    Job,
    Rollback,
    Destroy,
}

const ALL: [Undertaking; 6] = [
    Undertaking::FirstApply,
    Undertaking::Replace,
    Undertaking::Reload,
    Undertaking::Job,
    Undertaking::Rollback,
    Undertaking::Destroy,
];
/// Where the agent dies.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// Whether the number counts the calls of the store, else those of engine and files.
    at_store: bool,
    number: usize,
    moment: Moment,
}

/// The calls of an undertaking that change something.
struct Calls {
    /// Of engine and files.
    made: Vec<String>,
    /// Of the store.
    of_store: usize,
}

/// Simulated time in which everything has to be right: longer than a deadline and a few waits.
const PATIENCE: Duration = Duration::from_secs(240);

struct Scene {
    host: SimHost,
    source: Source,
    undertaking: Undertaking,
    before: HostDesired,
    desired: HostDesired,
    /// Specs that hold instead of the desired ones at the end.
    instead: BTreeMap<String, InstanceDesired>,
}

/// Runs one undertaking, with a death or without; the calls that it took.
fn play(undertaking: Undertaking, death: Option<Death>) -> Result<Calls, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = SimWorld::new(11);
        site::publish(&world, &mut StdRng::seed_from_u64(11));
        let scene = Scene::new(&world, undertaking);
        let host = scene.host.clone();
        let result = scene.play(death).await;
        result.map_err(|text| format!("{undertaking:?}, death {death:?}: {text}\n{}", host.trace()))
    })
}

impl Scene {
    fn new(world: &SimWorld, undertaking: Undertaking) -> Self {
        let before = site::fixed_site();
        let mut desired = before.clone();
        let mut instead = BTreeMap::new();
        match undertaking {
            Undertaking::FirstApply | Undertaking::Destroy => {}
            Undertaking::Replace => site::edit(&mut desired, "alpha", |service| {
                service.image = mastic::model::image::ImageRef::new("app:2").unwrap();
                let fixed = service.files.iter_mut().find(|file| file.on_change == OnChange::Replace).unwrap();
                fixed.content = mastic::model::secret::Sensitive::new("other");
            }),
            Undertaking::Reload => site::edit(&mut desired, "alpha", |service| {
                let live = service.files.iter_mut().find(|file| file.on_change == OnChange::Reload).unwrap();
                live.content = mastic::model::secret::Sensitive::new("other");
                service.settings.cpu_shares = Some(77);
            }),
            Undertaking::Job => site::run_job_again(&mut desired),
            Undertaking::Rollback => {
                instead.insert("alpha".to_owned(), InstanceDesired::clone(&before.services["alpha"]));
                site::edit(&mut desired, "alpha", |service| {
                    service.image = mastic::model::image::ImageRef::new("sick:1").unwrap();
                    service.settings.mem_limit = Some(64 << 20);
                });
            }
        }
        let host = world.host(site::host_name().as_str());
        Self { host, source: Source::new(before.clone()), undertaking, before, desired, instead }
    }

    async fn play(mut self, death: Option<Death>) -> Result<Calls, String> {
        let mut agent = None;
        if self.undertaking != Undertaking::FirstApply {
            agent = Some(self.agent());
            self.right(&self.before, &BTreeMap::new()).await?;
            // Everything has passed its gate, so that there is something to go back to.
            sleep(Duration::from_secs(20)).await;
        }
        self.host.forget_changes();
        let jobs_before = self.runs();
        match death {
            Some(Death { at_store: true, number, moment }) => self.host.crash_at_store(number, moment),
            Some(Death { at_store: false, number, moment }) => self.host.crash_at(number, moment),
            None => {}
        }
        if agent.is_none() {
            agent = Some(self.agent());
        }
        self.begin(agent.as_ref());
        tokio::select! {
            result = self.right(&self.desired, &self.instead) => result?,
            () = self.host.died() => {}
        }
        let calls = Calls { made: self.host.changes(), of_store: self.host.store_changes() };
        if self.host.is_dead() {
            drop(agent.take());
            self.host.revive();
            sleep(Duration::from_secs(1)).await;
            let next = self.agent();
            self.begin(Some(&next));
            self.right(&self.desired, &self.instead).await?;
            agent = Some(next);
        }
        sleep(Duration::from_secs(30)).await;
        self.right(&self.desired, &self.instead).await?;
        drop(agent);
        let runs = self.runs() - jobs_before;
        let expected = match self.undertaking {
            Undertaking::FirstApply | Undertaking::Job => 1,
            _ => 0,
        };
        // At least once; a second time only where nobody can know whether there was a first one.
        let most = expected + usize::from(death.is_some() && expected > 0);
        if !(expected..=most).contains(&runs) {
            return Err(format!("the job ran {runs} times"));
        }
        Ok(calls)
    }

    fn agent(&self) -> Agent {
        Agent::start(&self.host, &self.source, &real_planner())
    }

    /// Asks for what is to be done.
    fn begin(&mut self, agent: Option<&Agent>) {
        let Some(agent) = agent else { return };
        if self.undertaking == Undertaking::Destroy {
            for name in self.before.services.keys() {
                self.host.allow_removal(name.as_str());
            }
            agent.tell(Command::Destroy { volumes: false, user: "tester".to_owned() });
        } else {
            self.source.save(self.desired.clone());
            agent.tell_edited();
        }
    }

    /// Waits until all is right.
    async fn right(&self, desired: &HostDesired, instead: &BTreeMap<String, InstanceDesired>) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(violation) = self.host.violations().first() {
                return Err(violation.what.clone());
            }
            let wrong = if self.undertaking == Undertaking::Destroy && desired == &self.desired && self.is_ending() {
                self.left_over().await
            } else if !instead.is_empty() && self.host.inspect("alpha.failed").is_err() {
                Some("nothing has failed yet".to_owned())
            } else {
                oracle::wrong(&self.host, desired, instead).await
            };
            match wrong {
                None => return Ok(()),
                Some(what) if waited > PATIENCE => return Err(what),
                Some(_) => {}
            }
            sleep(Duration::from_millis(500)).await;
            waited += Duration::from_millis(500);
        }
    }

    /// Whether the end of everything has been asked for.
    fn is_ending(&self) -> bool {
        self.host.may_be_removed("alpha")
    }

    async fn left_over(&self) -> Option<String> {
        let ours = self.host.containers().into_iter().find(|container| container.labels.contains_key(labels::SITE));
        if let Some(container) = ours {
            return Some(format!("{} is left", container.name));
        }
        if let Some(key) = self.host.files().keys().await.unwrap().first() {
            return Some(format!("the files of {key} are left"));
        }
        let volumes = self.host.named_volumes();
        if volumes != ["data-alpha"] {
            return Some(format!("the volumes are {volumes:?}"));
        }
        None
    }

    /// How often the job was started.
    fn runs(&self) -> usize {
        self.host.starts().get("migrate").map_or(0, Vec::len)
    }
}

#[test]
fn a_death_at_any_call_leads_to_the_same_end() {
    let mut points = Vec::new();
    for undertaking in ALL {
        let calls = play(undertaking, None).unwrap();
        assert!(calls.made.len() > 1, "{undertaking:?}: {:?}", calls.made);
        assert!(calls.of_store > 1, "{undertaking:?}: {}", calls.of_store);
        for (at_store, count) in [(false, calls.made.len()), (true, calls.of_store)] {
            for number in 1..=count {
                for moment in [Moment::Before, Moment::During, Moment::After] {
                    points.push((undertaking, Some(Death { at_store, number, moment })));
                }
            }
        }
    }
    let numbers: Vec<u64> = (0..points.len() as u64).collect();
    let mut failures = super::run(&numbers, |number| {
        let (undertaking, death) = points[usize::try_from(number).unwrap()];
        play(undertaking, death).map(drop)
    });
    failures.sort();
    let shown: Vec<&str> = failures.iter().take(3).map(|(_, text)| text.as_str()).collect();
    assert!(failures.is_empty(), "{} of {} deaths\n{}", failures.len(), points.len(), shown.join("\n\n"));
}

/// What each change of one instance is made of: a change here is a change of what people see happen.
#[test]
fn the_calls_of_each_change() {
    let alone = [Undertaking::Replace, Undertaking::Reload, Undertaking::Job, Undertaking::Rollback];
    let calls = alone.map(|undertaking| {
        let calls = play(undertaking, None).unwrap();
        // Hashes change with the sites of these tests.
        let calls = calls.made.iter().map(|call| call.split("/1-").next().unwrap_or_default());
        format!("{undertaking:?}\n  {}", calls.collect::<Vec<_>>().join("\n  "))
    });
    insta::assert_snapshot!(calls.join("\n"), @"
    Replace
      pull app:2
      remove alpha.accounts
      create alpha.accounts
      remove alpha.accounts
      write files alpha
      create alpha.next
      update alpha
      rename alpha to alpha.prev
      stop alpha.prev
      rename alpha.next to alpha
      start alpha
      remove alpha.prev
    Reload
      update alpha
      write files alpha
      exec alpha validate
      signal SIGHUP alpha
    Job
      create migrate
      start migrate
      remove migrate
    Rollback
      pull sick:1
      remove alpha.accounts
      create alpha.accounts
      remove alpha.accounts
      write files alpha
      create alpha.next
      update alpha
      rename alpha to alpha.prev
      stop alpha.prev
      rename alpha.next to alpha
      start alpha
      stop alpha
      update alpha
      rename alpha to alpha.failed
      rename alpha.prev to alpha
      update alpha
      start alpha
    ");
}

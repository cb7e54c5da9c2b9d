//! Clients are led away before an instance is stopped for a change, in the simulated world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mastic::control::command::{Command, OutcomeCode, Wait};
use mastic::model::names::{HostName, ServiceName};
use mastic::model::time::Span;
use mastic::port::store::Store as _;
use mastic::sim::faults::Faults;
use mastic::sim::operator::Deed;
use mastic::sim::world::SimHost;
use tokio::task::JoinHandle;

use super::cut_off;
use super::world::Fleet;

const WEB: &str = "
apiVersion: mastic/v1
kind: Role
metadata: {name: web}
spec:
  services: {web: {image: \"app:1\", rollout: {min_ready: 1s}, ready: {exec: [check], every: 1s}}}
  provides: {page: {port: 80, frontend: {mode: http}, drain: {timeout: 10s}}}
";

const LB: &str = "
apiVersion: mastic/v1
kind: Role
metadata: {name: lb}
spec:
  services: {lb: {image: \"lb:1\"}}
  balancer: {exec: {in: lb, command: [keep]}}
";

/// Web servers and load balancers on these hosts, as these images.
fn site(web: (&str, &str), lb: (&str, &str)) -> String {
    let ((web, web_image), (lb, lb_image)) = (web, lb);
    format!(
        "apiVersion: mastic/v1
kind: Site
metadata: {{name: demo}}
spec:
  defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}
  hosts: {{HOSTS: {{}}}}
  roles:
    - {{role: web, hosts: {web}, services: {{web: {{image: \"{web_image}\"}}}}}}
    - {{role: lb, hosts: {lb}, services: {{lb: {{image: \"{lb_image}\"}}}}}}
"
    )
}

const BACK: &str = "[h1, h2]";

fn fleet(count: usize, text: &str) -> Fleet {
    Fleet::start_with(count, text, &[("roles/web/role.yaml", WEB), ("roles/lb/role.yaml", LB)])
}

fn events(fleet: &Fleet, host: &str, reason: &str) -> usize {
    let events = fleet.host(host).store().events(500).unwrap();
    events.iter().filter(|event| event.reason == reason).count()
}

fn drained(fleet: &Fleet, host: &str) -> BTreeMap<String, u64> {
    fleet.host(host).drained("lb")
}

/// Watches what clients would meet: for how long a server had got no new ones when it went down.
struct Clients {
    stops: Arc<Mutex<Vec<(String, Option<u64>)>>>,
    task: JoinHandle<()>,
}

impl Clients {
    fn watch(fleet: &Fleet, web: &[&str], lb: &str) -> Self {
        let servers: Vec<SimHost> = web.iter().map(|host| fleet.host(host)).collect();
        let (balancer, stops) = (fleet.host(lb), Arc::new(Mutex::new(Vec::new())));
        let record = stops.clone();
        let task = tokio::spawn(async move {
            let mut down = vec![false; servers.len()];
            loop {
                for (server, was_down) in servers.iter().zip(&mut down) {
                    let is_down = !["web", "web.prev"]
                        .iter()
                        .any(|name| server.inspect(name).is_ok_and(|found| found.is_running()));
                    if is_down && !*was_down {
                        let since = balancer.drained("lb").get(&format!("page/{}", server.name())).copied();
                        record.lock().unwrap().push((server.name().to_owned(), since));
                    }
                    *was_down = is_down;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { stops, task }
    }

    /// Who went down, and since when (in milliseconds) it had got no new clients.
    fn stops(&self) -> Vec<(String, Option<u64>)> {
        self.stops.lock().unwrap().clone()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// That each went down once, no sooner than its clients were gone and no later than a while after.
fn went_after(stops: &[(String, Option<u64>)], hosts: &[&str], least: u64, most: u64) {
    assert_eq!(stops.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>(), hosts);
    for (host, since) in stops {
        let since = since.unwrap_or_else(|| panic!("{host} had clients: {stops:?}"));
        assert!((least..most).contains(&since), "{host} went down {since} ms after it got no new clients");
    }
}

#[tokio::test(start_paused = true)]
async fn each_is_stopped_when_its_clients_are_gone_and_gets_new_ones_when_it_is_ready() {
    let fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:1")));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    let clients = Clients::watch(&fleet, &["h1", "h2"], "h3");
    fleet.write(&site((BACK, "app:2"), ("[h3]", "lb:1")));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    assert_eq!(drained(&fleet, "h3"), BTreeMap::new(), "clients are led to all of them when it is over");
    assert_eq!(fleet.images("web")[..2], ["app:2", "app:2"]);
    went_after(&clients.stops(), &["h1", "h2"], 3000, 5500);
    assert_eq!((events(&fleet, "h1", "Draining"), events(&fleet, "h2", "Draining")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn clients_that_stay_have_their_time_and_no_more() {
    let fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:stays")));
    fleet.apply().await;
    let clients = Clients::watch(&fleet, &["h1", "h2"], "h3");
    fleet.write(&site((BACK, "app:2"), ("[h3]", "lb:stays")));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    went_after(&clients.stops(), &["h1", "h2"], 9000, 10_500);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_is_cut_off_or_does_not_run_is_not_waited_for() {
    let fleet = fleet(4, &site((BACK, "app:1"), ("[h3, h4]", "lb:1")));
    fleet.apply().await;
    fleet.host("h3").set_faults(cut_off());
    fleet.until("it is known that h3 is gone", |fleet| !fleet.reachable().contains(&"h3".to_owned())).await;
    let clients = Clients::watch(&fleet, &["h1", "h2"], "h4");
    fleet.write(&site((BACK, "app:2"), ("[h3, h4]", "lb:1")));
    fleet.edited().await;
    fleet.until("both are new", |fleet| fleet.images("web")[..2] == ["app:2", "app:2"]).await;
    went_after(&clients.stops(), &["h1", "h2"], 3000, 5500);
    fleet.host("h3").set_faults(Faults::default());
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_is_asked_for_at_one_host_is_drained_by_another_that_is_only_looked_at() {
    let mut fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:1")));
    fleet.apply().await;
    fleet.kill();
    fleet.begin_for(|host| host == "h2");
    let clients = Clients::watch(&fleet, &["h1", "h2"], "h3");
    let wait = Some(Wait { timeout: Some(Span::seconds(60)) });
    let service = ServiceName::new("web").unwrap();
    // The others have to have said how they are.
    fleet.until("all are heard", |fleet| fleet.reachable().len() == 3).await;
    let outcome = fleet.ask(Command::Restart { service, user: "ann".to_owned(), wait }).await;
    assert_eq!((outcome.code, outcome.message.as_str()), (OutcomeCode::Done, "h2: web is ready"));
    assert_eq!(drained(&fleet, "h3"), BTreeMap::new());
    went_after(&clients.stops(), &["h2"], 3000, 5500);
    let touched: Vec<String> =
        fleet.changes_of("h3").into_iter().filter(|change| !change.starts_with("exec lb keep")).collect();
    assert!(touched.iter().all(|change| !change.contains("restart")), "{touched:?}");
}

#[tokio::test(start_paused = true)]
async fn what_dies_comes_back_at_once() {
    let fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:1")));
    fleet.apply().await;
    let clients = Clients::watch(&fleet, &["h1", "h2"], "h3");
    fleet.host("h1").does(&Deed::KillProcess("web".to_owned())).unwrap();
    fleet.until("it is back", |fleet| fleet.host("h1").inspect("web").is_ok_and(|found| found.is_running())).await;
    assert_eq!(clients.stops(), [("h1".to_owned(), None)]);
    assert_eq!(events(&fleet, "h1", "Draining"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_leaves_nobody_without_clients() {
    for died_after in [400, 1500, 2500, 4000, 4500, 5000, 6000, 8000] {
        let mut fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:1")));
        fleet.apply().await;
        let clients = Clients::watch(&fleet, &["h1", "h2"], "h3");
        fleet.write(&site((BACK, "app:2"), ("[h3]", "lb:1")));
        fleet.edited().await;
        tokio::time::sleep(Duration::from_millis(died_after)).await;
        fleet.kill();
        fleet.begin();
        let outcome = fleet.apply().await;
        assert_eq!(outcome.code, OutcomeCode::Done, "died after {died_after} ms: {}", outcome.message);
        assert_eq!(drained(&fleet, "h3"), BTreeMap::new(), "died after {died_after} ms");
        went_after(&clients.stops(), &["h1", "h2"], 3000, 12_000);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_is_taken_back_meanwhile_gives_the_clients_back() {
    for dies in [false, true] {
        let mut fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:stays")));
        fleet.apply().await;
        let clients = Clients::watch(&fleet, &["h1", "h2"], "h3");
        fleet.write(&site((BACK, "app:2"), ("[h3]", "lb:stays")));
        fleet.edited().await;
        fleet.until("it is drained", |fleet| !drained(fleet, "h3").is_empty()).await;
        if dies {
            fleet.kill();
        }
        fleet.write(&site((BACK, "app:1"), ("[h3]", "lb:stays")));
        if dies {
            fleet.begin();
        }
        let outcome = fleet.apply().await;
        assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
        fleet.until("clients are led to it", |fleet| drained(fleet, "h3").is_empty()).await;
        assert_eq!(clients.stops(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn on_one_host_it_is_the_same() {
    let fleet = fleet(1, &site(("[h1]", "app:1"), ("[h1]", "lb:1")));
    fleet.apply().await;
    let clients = Clients::watch(&fleet, &["h1"], "h1");
    fleet.write(&site(("[h1]", "app:2"), ("[h1]", "lb:1")));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    went_after(&clients.stops(), &["h1"], 3000, 5500);
    assert_eq!(drained(&fleet, "h1"), BTreeMap::new());
    // A load balancer that was replaced knows nothing; it is told.
    fleet.write(&site(("[h1]", "app:2"), ("[h1]", "lb:stays")));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_a_person_wants_left_alone_is_and_the_time_passes() {
    let fleet = fleet(3, &site((BACK, "app:1"), ("[h3]", "lb:1")));
    fleet.apply().await;
    let pause = Command::Pause {
        service: Some(ServiceName::new("lb").unwrap()),
        user: "ann".to_owned(),
        reason: "I look at it".to_owned(),
        lasts: None,
    };
    let outcome = fleet.ask(Command::At { hosts: vec![HostName::new("h3").unwrap()], command: Box::new(pause) }).await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    fleet.forget_changes();
    fleet.write(&site((BACK, "app:2"), ("[h3]", "lb:1")));
    let began = tokio::time::Instant::now();
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert!(began.elapsed() >= Duration::from_secs(20), "each had its ten seconds");
    assert_eq!(fleet.changes_of("h3"), Vec::<String>::new());
}

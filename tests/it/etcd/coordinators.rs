//! What a coordinator promises, tried on all that there are: of one program, simulated, and in etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mastic::edge::coordinator::LocalCoordinator;
use mastic::edge::etcd::{Client, EtcdCoordinator, Identity};
use mastic::model::desired::{HostBudget, Rollout};
use mastic::model::names::{HostName, ServiceName, SiteName};
use mastic::model::peers::{Ask, HostProgress, HostReport, InstanceReport, Standing};
use mastic::model::time::Timestamp;
use mastic::port::coordinator::{Coordinator, Denied};
use mastic::sim::world::SimWorld;
use serde_json::json;

use crate::support::Etcd;

type Seats = [Arc<dyn Coordinator>; 3];

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn hosts() -> Vec<HostName> {
    ["one", "two", "three"].map(host).to_vec()
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn ask(of: &str, name: &str, generation: u64) -> Ask {
    Ask {
        host: host(of),
        service: service(name),
        generation,
        wanted_since: generation,
        goes_back: false,
        standing: Standing::Counts,
        rollout: Rollout { canary: false, ..Rollout::default() },
        members: hosts(),
        budgets: Vec::new(),
    }
}

fn word(of: &str, ready: bool) -> HostReport {
    let instance = InstanceReport { started: true, ready, ..InstanceReport::default() };
    HostReport {
        host: host(of),
        generation: 1,
        reachable: true,
        source_digest: String::new(),
        acts: true,
        holds_off: false,
        attempts: 0,
        services: ["web", "api"].map(|name| (service(name), instance.clone())).into(),
        filesets: BTreeMap::new(),
        drained: BTreeMap::new(),
        jobs: BTreeMap::new(),
        progress: HostProgress::default(),
    }
}

/// Waits until a seat has heard what is asked for.
async fn heard(seat: &Arc<dyn Coordinator>, of: &str, what: impl Fn(&HostReport) -> bool) {
    let mut reports = seat.reports();
    let heard = reports.wait_for(|reports| reports.get(&host(of)).is_some_and(|report| what(report)));
    let _heard = tokio::time::timeout(Duration::from_secs(60), heard).await.expect("it is heard").unwrap();
}

/// The words of all three have reached all three.
async fn all_are_ready(seats: &Seats) {
    for (seat, name) in seats.iter().zip(["one", "two", "three"]) {
        seat.report(word(name, true));
    }
    for seat in seats {
        for name in ["one", "two", "three"] {
            heard(seat, name, |report| report.services[&service("web")].ready).await;
        }
    }
}

fn refused(denied: Denied) -> String {
    match denied {
        Denied::Refused(why) => why,
        other => panic!("{other:?} is no refusal by the rules"),
    }
}

/// What they all promise.
async fn contract(seats: Seats) {
    let [one, two, three] = &seats;
    let web = service("web");

    // Who never said anything is not known to be up.
    one.report(word("one", true));
    heard(one, "one", |_| true).await;
    let why = refused(one.acquire(&ask("one", "web", 1), Timestamp(1)).await.unwrap_err());
    assert_eq!(why, "2 of at most 1 may be down: two, three");
    all_are_ready(&seats).await;

    // One at a time; again by the same host, as often as it likes; another service has slots of its own.
    let grant = one.acquire(&ask("one", "web", 1), Timestamp(10)).await.unwrap();
    assert_eq!((grant.service(), grant.generation()), (&web, 1));
    one.acquire(&ask("one", "web", 1), Timestamp(11)).await.unwrap();
    let why = refused(two.acquire(&ask("two", "web", 1), Timestamp(12)).await.unwrap_err());
    assert_eq!(why, "1 of at most 1 may be down: one");
    two.acquire(&ask("two", "api", 1), Timestamp(12)).await.unwrap();

    // A newer generation goes on with the slot that it finds, and with its time.
    one.acquire(&ask("one", "web", 2), Timestamp(20)).await.unwrap();
    let held = one.slots().await.unwrap().into_iter().find(|slot| slot.service == web).unwrap();
    assert_eq!((held.host, held.generation, held.since), (host("one"), 2, Timestamp(10)));

    // Budgets of hosts cut across services.
    let budget = HostBudget { group: "all".to_owned(), max_unavailable_hosts: 1, hosts: hosts() };
    let rollout = Rollout { max_unavailable: 9, canary: false, ..Rollout::default() };
    let within = Ask { budgets: vec![budget], rollout, ..ask("three", "db", 1) };
    let why = refused(three.acquire(&within, Timestamp(21)).await.unwrap_err());
    assert_eq!(why, "2 of at most 1 hosts of `all` may be down: one, two");

    // Who waits is woken when a slot is free; giving back what is not held does nothing.
    let mut waiting = two.reports();
    waiting.mark_unchanged();
    one.release(&web).await.unwrap();
    one.release(&web).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), waiting.changed()).await.expect("woken").unwrap();
    assert!(!one.slots().await.unwrap().iter().any(|slot| slot.service == web));
    two.acquire(&ask("two", "web", 1), Timestamp(30)).await.unwrap();
    two.release(&web).await.unwrap();
    two.release(&service("api")).await.unwrap();
    assert_eq!(two.slots().await.unwrap(), []);

    // Two that ask at once: one of them gets it.
    let (of_two, of_three) = (ask("two", "web", 1), ask("three", "web", 1));
    let both = tokio::join!(two.acquire(&of_two, Timestamp(40)), three.acquire(&of_three, Timestamp(40)));
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    two.release(&web).await.unwrap();
    three.release(&web).await.unwrap();

    // A host that says that it is not ready counts as down.
    three.report(word("three", false));
    heard(one, "three", |report| !report.services[&service("web")].ready).await;
    let why = refused(one.acquire(&ask("one", "web", 3), Timestamp(50)).await.unwrap_err());
    assert_eq!(why, "1 of at most 1 may be down: three");

    // A record is written over only by who has read it.
    assert_eq!(one.record("recover").await.unwrap(), None);
    assert!(one.put_record("recover", 0, json!({"step": 1})).await.unwrap());
    assert!(!two.put_record("recover", 0, json!({"step": 9})).await.unwrap());
    let read = two.record("recover").await.unwrap().unwrap();
    assert_eq!((read.revision, &read.content), (1, &json!({"step": 1})));
    let mut listening = one.reports();
    listening.mark_unchanged();
    assert!(two.put_record("recover", 1, json!({"step": 2})).await.unwrap());
    tokio::time::timeout(Duration::from_secs(60), listening.changed()).await.expect("woken").unwrap();
    assert_eq!(one.record("recover").await.unwrap().unwrap().revision, 2);
    assert_eq!(one.record("other").await.unwrap(), None);
    assert!(!one.is_alone());
}

#[tokio::test]
async fn the_coordinator_of_one_program_keeps_the_contract() {
    let state = tempfile::tempdir().unwrap();
    let all = LocalCoordinator::of_all(state.path(), &hosts());
    let all: Vec<Arc<dyn Coordinator>> = all.into_iter().map(|one| Arc::new(one) as Arc<dyn Coordinator>).collect();
    contract(all.try_into().ok().unwrap()).await;
}

#[tokio::test]
async fn the_simulated_coordinator_keeps_the_contract() {
    let world = SimWorld::new(1);
    let seat = |name: &str| -> Arc<dyn Coordinator> { Arc::new(world.host(name).coordinator()) };
    contract([seat("one"), seat("two"), seat("three")]).await;
}

/// A seat that has found etcd.
async fn seat(etcd: &Etcd, site: &str, name: &str) -> Arc<EtcdCoordinator> {
    let client = Client::new(etcd.options()).unwrap();
    let seat = Arc::new(EtcdCoordinator::start(client, &SiteName::new(site).unwrap(), host(name), None));
    let mut reports = seat.reports();
    while seat.trouble().is_some() {
        tokio::time::timeout(Duration::from_secs(60), reports.changed()).await.expect("etcd answers").unwrap();
    }
    seat
}

async fn seats(etcd: &Etcd, site: &str) -> Seats {
    [seat(etcd, site, "one").await, seat(etcd, site, "two").await, seat(etcd, site, "three").await]
}

#[tokio::test]
async fn the_coordinator_in_etcd_keeps_the_contract() {
    let etcd = Etcd::start(1);
    contract(seats(&etcd, "demo").await).await;
    // Another site in the same etcd has nothing to do with it.
    contract(seats(&etcd, "other").await).await;
}

#[tokio::test]
async fn with_tls_and_users_it_is_the_same() {
    let etcd = Etcd::with_tls_and_users();
    contract(seats(&etcd, "demo").await).await;
}

/// Tries until it is so. What is refused without a question leaves those who ask etcd no room by itself.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    while !is_so().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_etcd_nothing_begins_and_with_it_all_goes_on() {
    let mut etcd = Etcd::start(3);
    let all = seats(&etcd, "demo").await;
    all_are_ready(&all).await;
    let [one, two, _] = &all;
    let web = service("web");
    one.acquire(&ask("one", "web", 1), Timestamp(1)).await.unwrap();

    // The leader alone changes nothing: for a moment nobody is granted anything, then it goes on.
    etcd.kill(etcd.leader());
    let released = until(async || one.release(&web).await.is_ok());
    tokio::time::timeout(Duration::from_secs(30), released).await.expect("two of three go on");
    let granted = until(async || two.acquire(&ask("two", "web", 1), Timestamp(2)).await.is_ok());
    tokio::time::timeout(Duration::from_secs(30), granted).await.expect("two of three go on");

    etcd.kill_all();
    let denied = two.acquire(&ask("two", "api", 1), Timestamp(3)).await.unwrap_err();
    assert!(matches!(&denied, Denied::Unreachable(why) if why.contains("no member of etcd answers")), "{denied}");
    // Nobody waits for an answer that does not come: the loop has other things to do.
    let began = tokio::time::Instant::now();
    assert!(matches!(two.release(&web).await, Err(Denied::Unreachable(_))));
    assert!(matches!(two.slots().await, Err(Denied::Unreachable(_))));
    assert!(matches!(two.put_record("x", 0, json!(1)).await, Err(Denied::Unreachable(_))));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    let mut waiting = two.reports();
    waiting.mark_unchanged();
    etcd.restart();
    tokio::time::timeout(Duration::from_secs(60), waiting.changed()).await.expect("woken").unwrap();
    let released = until(async || two.release(&web).await.is_ok());
    tokio::time::timeout(Duration::from_secs(30), released).await.expect("it goes on by itself");
    assert_eq!(two.slots().await.unwrap(), []);
}

#[tokio::test]
async fn who_falls_silent_is_not_known_to_be_up_and_a_slot_outlives_its_holder() {
    let etcd = Etcd::start(1);
    let [one, two, three] = seats(&etcd, "demo").await;
    let all = [one, two, three];
    all_are_ready(&all).await;
    let [one, two, three] = all;
    three.acquire(&ask("three", "api", 1), Timestamp(1)).await.unwrap();
    // Killed: its word ends with its lease, its slot does not.
    drop(three);
    heard(&one, "three", |report| !report.reachable).await;
    let why = refused(one.acquire(&ask("one", "web", 1), Timestamp(2)).await.unwrap_err());
    assert_eq!(why, "1 of at most 1 may be down: three");
    let three = seat(&etcd, "demo", "three").await;
    let [held] = three.slots().await.unwrap().try_into().unwrap();
    assert_eq!((held.host, held.service, held.generation), (host("three"), service("api"), 1));
    three.report(word("three", true));
    heard(&two, "three", |report| report.reachable).await;
    one.acquire(&ask("one", "web", 1), Timestamp(3)).await.unwrap();
}

#[tokio::test]
async fn of_two_agents_of_one_host_the_second_waits_and_the_same_one_goes_on_at_once() {
    let etcd = Etcd::start(1);
    let agent = |id: &str| {
        let identity = Identity { id: id.to_owned(), machine: format!("machine-{id}") };
        let client = Client::new(etcd.options()).unwrap();
        EtcdCoordinator::start(client, &SiteName::new("demo").unwrap(), host("one"), Some(identity))
    };
    let alone = |name: &str| Ask { members: vec![host("one")], ..ask("one", name, 1) };
    let granted = async |agent: &EtcdCoordinator| {
        until(async || agent.acquire(&alone("web"), Timestamp(1)).await.is_ok()).await;
    };
    let first = agent("a");
    first.report(word("one", true));
    tokio::time::timeout(Duration::from_secs(30), granted(&first)).await.expect("the first is granted its slot");
    let listener = seat(&etcd, "demo", "two").await;
    heard(&(listener.clone() as Arc<dyn Coordinator>), "one", |_| true).await;

    let second = agent("b");
    second.report(word("one", true));
    let waits = async {
        loop {
            match second.acquire(&alone("api"), Timestamp(1)).await {
                Err(Denied::Unreachable(why)) if why.contains("another agent looks after `one`, on machine-a") => break,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.expect("the second is told");

    // The first is killed; started again in the same state directory it is the first again.
    drop(first);
    let again = agent("a");
    again.report(word("one", true));
    tokio::time::timeout(Duration::from_secs(8), granted(&again)).await.expect("sooner than its lease has ended");
}

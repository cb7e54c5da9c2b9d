//! Files that are born at run time and are the same on many hosts, under one controller in the simulated world.

use std::collections::BTreeMap;
use std::time::Duration;

use mastic::control::command::OutcomeCode;
use mastic::port::engine::ObserveEngine as _;
use mastic::port::files::ObserveFiles as _;
use mastic::port::store::Store as _;
use mastic::sim::faults::Faults;
use mastic::sim::files::Tampering;
use mastic::sim::operator::Deed;

use super::cut_off;
use super::world::Fleet;

/// A service with keys that are made by a run of its image, and updated each hour.
fn site(hosts: &str) -> String {
    format!(
        "apiVersion: mastic/v1
kind: Site
metadata: {{name: demo}}
spec:
  defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}
  hosts: {{HOSTS: {{}}}}
  secrets: {{fileset_key: {{file: key}}}}
  services: {{web: {{hosts: {hosts}, image: \"app:1\"}}}}
  filesets:
    keys:
      path: /keys
      services: web
      create: {{command: [make]}}
      update: {{command: [make], every: 1h}}
      owner: 7
      group: 8
"
    )
}

type Contents = BTreeMap<String, Vec<u8>>;

/// What the service sees on a host.
async fn keys(fleet: &Fleet, host: &str) -> Contents {
    let found = fleet.host(host).engine().read_directory("web", "/keys").await.unwrap();
    found.into_iter().map(|(name, content)| (name, content.expose().to_vec())).collect()
}

fn events(fleet: &Fleet, host: &str, reason: &str) -> usize {
    let events = fleet.host(host).store().events(500).unwrap();
    events.iter().filter(|event| event.reason == reason).count()
}

/// The hosts on which what makes it was run, once for each time.
fn makings(fleet: &Fleet) -> Vec<&'static str> {
    let of = |host| {
        let changes = fleet.changes_of(host).into_iter();
        changes.filter(|change| change.starts_with("create web.fileset")).map(move |_| host)
    };
    ["h1", "h2", "h3"].into_iter().flat_map(of).collect()
}

/// Which of the changes on a host this was.
fn place(fleet: &Fleet, host: &str, what: &str) -> usize {
    let changes = fleet.changes_of(host);
    let is = |change: &String| change.starts_with(what) && !change.contains(".fileset");
    changes.iter().position(is).unwrap_or_else(|| panic!("{what}: {changes:?}"))
}

fn fleet(count: usize, hosts: &str) -> Fleet {
    Fleet::start_with(count, &site(hosts), &[("key", "a key of the site")])
}

#[tokio::test(start_paused = true)]
async fn it_is_made_once_and_is_the_same_everywhere_before_anything_starts() {
    let fleet = fleet(3, "all");
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    let first = keys(&fleet, "h1").await;
    assert_eq!(first.len(), 1);
    for host in ["h2", "h3"] {
        assert_eq!(keys(&fleet, host).await, first);
    }
    assert_eq!(makings(&fleet), ["h1"]);
    for host in ["h1", "h2", "h3"] {
        assert!(place(&fleet, host, "write files") < place(&fleet, host, "start web"), "{host}");
        assert!(fleet.host(host).inspect("web.fileset").is_err(), "nothing of its making is left");
    }
    let record = fleet.host("h1").coordinator().written("fileset/keys").unwrap().to_string();
    let plain = String::from_utf8(first["k0000"].clone()).unwrap();
    assert!(record.contains("\"revision\":1") && !record.contains(&plain), "{record}");
    fleet.forget_changes();
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(fleet.changes(), Vec::<String>::new(), "a second apply finds nothing to do");
}

#[tokio::test(start_paused = true)]
async fn a_new_host_has_its_copy_before_its_first_start() {
    let fleet = fleet(3, "[h1, h2]");
    fleet.apply().await;
    let first = keys(&fleet, "h1").await;
    fleet.write(&site("all"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(keys(&fleet, "h3").await, first);
    assert_eq!(makings(&fleet), ["h1"]);
    assert!(place(&fleet, "h3", "write files") < place(&fleet, "h3", "start web"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_changed_by_hand_is_put_right_without_touching_the_process() {
    let fleet = fleet(2, "all");
    fleet.apply().await;
    let first = keys(&fleet, "h1").await;
    let key = fleet.host("h2").files().keys().await.unwrap().remove(0);
    let edits =
        [Tampering::Content(b"mine".to_vec()), Tampering::Mode(0o644), Tampering::Owner(0, 0), Tampering::Removed];
    fleet.forget_changes();
    for (number, edit) in edits.into_iter().enumerate() {
        let deed = Deed::Tamper(key.clone(), "live/0/k0000".to_owned(), edit);
        let before = fleet.host("h2").files().observe(&key).await.unwrap();
        fleet.host("h2").does(&deed).unwrap();
        tokio::time::sleep(Duration::from_secs(400)).await;
        assert_eq!(fleet.host("h2").files().observe(&key).await.unwrap(), before, "{deed}");
        assert_eq!(events(&fleet, "h2", "FilesetDiffers"), number + 1, "{deed}");
    }
    assert_eq!(keys(&fleet, "h2").await, first);
    let touched: Vec<String> =
        fleet.changes().into_iter().filter(|change| !change.starts_with("write files")).collect();
    assert_eq!(touched, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn it_is_updated_by_the_clock_once_all_hosts_have_the_last_revision() {
    let fleet = fleet(3, "all");
    fleet.apply().await;
    let first = keys(&fleet, "h1").await;
    tokio::time::sleep(Duration::from_secs(3700)).await;
    let second = keys(&fleet, "h1").await;
    assert_eq!((second.len(), &second["k0000"]), (2, &first["k0000"]), "the new one is made of the old one");
    for host in ["h2", "h3"] {
        assert_eq!(keys(&fleet, host).await, second);
    }
    // One is away: nothing is made that it would not understand. It is when it has caught up.
    fleet.host("h3").set_faults(cut_off());
    tokio::time::sleep(Duration::from_secs(8000)).await;
    assert_eq!(keys(&fleet, "h1").await, second);
    fleet.host("h3").set_faults(Faults::default());
    tokio::time::sleep(Duration::from_secs(600)).await;
    let third = keys(&fleet, "h1").await;
    assert_eq!(third.len(), 3);
    assert_eq!(keys(&fleet, "h3").await, third);
    assert_eq!(makings(&fleet), ["h1"; 3], "once, and two updates");
}

#[tokio::test(start_paused = true)]
async fn what_was_agreed_on_is_lost_and_what_the_hosts_have_stays() {
    let mut fleet = fleet(3, "all");
    fleet.apply().await;
    let first = keys(&fleet, "h1").await;
    // The record alone: whoever remembers it puts it back.
    fleet.kill();
    fleet.host("h1").coordinator().lose_records();
    fleet.begin();
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(events(&fleet, "h1", "FilesetPutBack"), 1);
    // And with it all that loops remember: it is taken from a container.
    fleet.kill();
    fleet.lose_state();
    fleet.host("h1").coordinator().lose_records();
    fleet.begin();
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    for host in ["h1", "h2", "h3"] {
        assert_eq!(keys(&fleet, host).await, first, "{host}");
    }
    assert_eq!(makings(&fleet), ["h1"], "it was made once");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_while_it_is_made_goes_on_by_looking() {
    for died_after in [10, 100, 250, 300, 350, 400, 450, 500, 600, 800, 1200] {
        let mut fleet = fleet(3, "all");
        tokio::time::sleep(Duration::from_millis(died_after)).await;
        fleet.kill();
        fleet.begin();
        let outcome = fleet.apply().await;
        assert_eq!(outcome.code, OutcomeCode::Done, "died after {died_after} ms: {}", outcome.message);
        let first = keys(&fleet, "h1").await;
        for host in ["h1", "h2", "h3"] {
            assert_eq!(keys(&fleet, host).await, first, "died after {died_after} ms");
            assert!(fleet.host(host).inspect("web.fileset").is_err(), "died after {died_after} ms: {host}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_coordinator_copies_are_put_right_from_what_is_remembered() {
    let mut fleet = fleet(2, "all");
    fleet.apply().await;
    let key = fleet.host("h2").files().keys().await.unwrap().remove(0);
    let before = fleet.host("h2").files().observe(&key).await.unwrap();
    fleet.kill();
    fleet.host("h1").coordinator().set_unreachable(true);
    let deed = Deed::Tamper(key.clone(), "live/0/k0000".to_owned(), Tampering::Removed);
    fleet.host("h2").does(&deed).unwrap();
    fleet.begin();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(fleet.host("h2").files().observe(&key).await.unwrap(), before);
}

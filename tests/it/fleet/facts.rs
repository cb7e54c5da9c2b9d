//! Addresses that the site does not declare: taken from the machines, remembered, and waited for.

use std::collections::BTreeMap;

use mastic::control::command::OutcomeCode;
use mastic::model::facts::{HostFacts, InterfaceAddress};
use mastic::sim::faults::Faults;
use mastic::sim::operator::Deed;

use super::cut_off;
use super::world::Fleet;

/// A service that names the addresses of all hosts, and one that needs none.
fn site(image: &str) -> String {
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
         defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{HOSTS: {{}}}}\n  \
         networks: {{api: {{cidr: 10.0.0.0/24}}}}\n  endpoints: {{internal: {{vip: 10.0.0.250}}}}\n  services:\n    \
         plain: {{hosts: all, image: \"app:1\"}}\n    \
         web: {{hosts: all, image: \"{image}\", rollout: {{max_unavailable: 2}}, \
         environment: {{PEERS: \"{{{{ hosts.values() | map(attribute='address.api') | join(',') }}}}\"}}}}\n"
    )
}

/// The machine of a host, which has the site's moving address for the moment.
fn plug_in(fleet: &Fleet, host: &str, address: &str) {
    let own = |text: &str, prefix| InterfaceAddress { address: text.parse().unwrap(), prefix };
    let interfaces = BTreeMap::from([("eth0".to_owned(), vec![own(address, 24), own("10.0.0.250", 24)])]);
    fleet.host(host).set_machine(HostFacts { cpus: 2, interfaces: Some(interfaces), ..HostFacts::default() });
}

fn peers(fleet: &Fleet, host: &str) -> Option<String> {
    let container = fleet.host(host).inspect("web").ok()?;
    container.detail?.settings.environment?.get("PEERS").cloned()
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_keeps_its_last_known_address_and_nobody_else_changes() {
    let mut fleet = Fleet::start(3, &site("app:1"));
    for (host, address) in [("h1", "10.0.0.11"), ("h2", "10.0.0.12"), ("h3", "10.0.0.13")] {
        plug_in(&fleet, host, address);
    }
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    let all = Some("10.0.0.11,10.0.0.12,10.0.0.13".to_owned());
    assert_eq!(peers(&fleet, "h1"), all);

    // Another controller comes up while one of them is away.
    fleet.kill();
    fleet.host("h3").set_faults(cut_off());
    fleet.forget_changes();
    fleet.begin();
    let outcome = fleet.apply().await;
    assert!(outcome.message.contains("h3: "), "{}", outcome.message);
    assert_eq!(fleet.changes(), Vec::<String>::new(), "nobody has anything to change");

    // Nor is what is rolled out meanwhile any different for it.
    fleet.write(&site("app:2"));
    fleet.apply().await;
    assert_eq!(fleet.images("web"), ["app:2", "app:2", "app:1"]);
    assert_eq!((peers(&fleet, "h1"), peers(&fleet, "h2")), (all.clone(), all));

    // It comes back with another one, which the others take over.
    plug_in(&fleet, "h3", "10.0.0.33");
    fleet.host("h3").set_faults(Faults::default());
    let moved = Some("10.0.0.11,10.0.0.12,10.0.0.33".to_owned());
    fleet.until("all know it", |fleet| ["h1", "h2", "h3"].iter().all(|host| peers(fleet, host) == moved)).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_fact_is_not_begun_and_nothing_waits_with_it() {
    let mut fleet = Fleet::start(3, &site("app:1"));
    fleet.kill();
    plug_in(&fleet, "h1", "10.0.0.11");
    plug_in(&fleet, "h2", "10.0.0.12");
    fleet.host("h3").set_faults(cut_off());
    fleet.begin();
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    let why = "h1, h2: web: FactMissing: the address of `h3` in `api` is not known yet";
    assert!(outcome.message.contains(why), "{}", outcome.message);
    assert_eq!(fleet.images("plain"), ["app:1", "app:1", ""]);
    assert_eq!(fleet.images("web"), ["", "", ""]);

    plug_in(&fleet, "h3", "10.0.0.13");
    fleet.host("h3").set_faults(Faults::default());
    fleet.until("the service is there", |fleet| fleet.images("web") == ["app:1", "app:1", "app:1"]).await;
    assert_eq!(peers(&fleet, "h2").as_deref(), Some("10.0.0.11,10.0.0.12,10.0.0.13"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_any_more_leaves_in_force_what_was() {
    let mut fleet = Fleet::start(2, &site("app:1"));
    plug_in(&fleet, "h1", "10.0.0.11");
    plug_in(&fleet, "h2", "10.0.0.12");
    fleet.apply().await;
    fleet.kill();
    fleet.forget_changes();
    // Nobody tells its addresses any more, and what was known is lost.
    fleet.forget_facts();
    fleet.host("h2").set_machine(HostFacts::default());
    fleet.write(&site("app:2"));
    fleet.begin();
    let outcome = fleet.apply().await;
    assert!(outcome.message.contains("FactMissing"), "{}", outcome.message);
    assert_eq!(fleet.changes(), Vec::<String>::new());
    assert_eq!(fleet.images("web"), ["app:1", "app:1"]);
    // It is healed as it was.
    fleet.host("h1").does(&Deed::KillProcess("web".to_owned())).unwrap();
    fleet.until("it runs again", |fleet| fleet.host("h1").inspect("web").is_ok_and(|web| web.is_running())).await;
    assert_eq!(fleet.images("web"), ["app:1", "app:1"]);
}

//! What a change of a role means, on many hosts: order, hosts that are down, points of no return.

use std::time::Duration;

use mastic::control::command::{Command, Outcome, OutcomeCode, Wait};
use mastic::model::names::JobName;
use mastic::model::time::Span;
use mastic::report::plan_view::{self, PlanView};
use mastic::sim::faults::Faults;
use mastic::sim::program::Program;

use super::cut_off;
use super::world::Fleet;

const ROLE: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: app}
spec:
  vars:
    app_image: {type: string, default: "app:1"}
    app_level: {type: string, default: info}
  services:
    app:
      image: "{{ app_image }}"
      environment: {LEVEL: "{{ app_level }}"}
      rollout: {min_ready: 1s, deadline: 20s, max_unavailable: 2}
  jobs:
    expand: {like: app, command: [expand]}
    migrate: {like: app, command: [migrate]}
    contract: {like: app, command: [contract]}
  changes:
    upgrade:
      when: [image]
      steps:
        - {job: expand}
        - {job: migrate}
        - {roll: app, until: updated-everywhere}
        - {job: contract, irreversible: true}
"#;

fn site(image: &str, level: &str) -> String {
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
         defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{HOSTS: {{}}}}\n  \
         vars: {{app_image: \"{image}\", app_level: {level}}}\n  roles: [{{role: app, hosts: [all]}}]\n"
    )
}

/// Three hosts with version 1, all of whose steps are done.
async fn fleet() -> Fleet {
    let fleet = Fleet::start_with(3, &site("app:1", "info"), &[("roles/app/role.yaml", ROLE)]);
    let good = || Program::ends(Span(300), 0);
    let bad = || Program::ends(Span(300), 3);
    let runs = || Program::healthy_after(Span(300));
    for (image, migrate, contract) in [
        ("app:1", good(), good()),
        ("app:2", good(), good()),
        ("unmigrated:1", bad(), good()),
        ("uncontracted:1", good(), bad()),
    ] {
        fleet.publish(image, runs(), &[("expand", good()), ("migrate", migrate), ("contract", contract)]);
    }
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    fleet
}

fn counts(fleet: &Fleet) -> [usize; 3] {
    ["expand", "migrate", "contract"].map(|job| fleet.all_starts(job).len())
}

async fn roll_back(fleet: &Fleet, past_no_return: bool) -> Outcome {
    let wait = Some(Wait { timeout: Some(Span::seconds(600)) });
    let (user, reason) = ("tester".to_owned(), String::new());
    fleet.ask(Command::Rollback { generation: None, user, reason, past_no_return, wait }).await
}

async fn plan(fleet: &Fleet) -> String {
    let outcome = fleet.ask(Command::Plan).await;
    let view: PlanView = serde_json::from_value(outcome.data.unwrap()).unwrap();
    plan_view::render(&view, false)
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_an_upgrade_are_done_in_order_and_those_of_another_change_not_at_all() {
    let fleet = fleet().await;
    assert_eq!(counts(&fleet), [1, 1, 1]);
    let before = fleet.all_starts("app").len();
    fleet.write(&site("app:2", "info"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(counts(&fleet), [2, 2, 2]);
    let [expand, migrate, contract] = ["expand", "migrate", "contract"].map(|job| fleet.all_starts(job)[1]);
    let apps = fleet.all_starts("app").split_off(before);
    let (first, last) = (*apps.first().unwrap(), *apps.last().unwrap());
    assert!(expand < migrate && migrate < first && last < contract, "{expand} {migrate} {apps:?} {contract}");
    // Another configuration is no upgrade.
    fleet.write(&site("app:2", "debug"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(counts(&fleet), [2, 2, 2]);
    assert!(fleet.all_starts("app").len() > before + 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_is_not_updated_and_the_contract_waits_for_it() {
    let fleet = fleet().await;
    fleet.host("h3").set_faults(cut_off());
    fleet.until("it is known that h3 is gone", |fleet| fleet.reachable() == ["h1", "h2"]).await;
    fleet.write(&site("app:2", "info"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(
        outcome.message.contains("contract: ContractPending: waits for the step `app`: h3 cannot be reached"),
        "{}",
        outcome.message
    );
    assert_eq!(fleet.images("app"), ["app:2", "app:2", "app:1"]);
    assert_eq!(counts(&fleet), [2, 2, 1], "nothing that cannot be taken back was done");
    let shown = plan(&fleet).await;
    let wanted = "
app/upgrade, step by step:
    1. job expand on h1 (done)
    2. job migrate on h1 (done)
    3. roll app on h1 (done), h2 (done), h3 (not known)
    -- no way back from here on: what fails halts, and nothing is rolled back --
    4. job contract on h1
";
    assert!(shown.contains(wanted), "{shown}");
    fleet.host("h3").set_faults(Faults::default());
    fleet.until("h3 has caught up", |fleet| fleet.images("app") == vec!["app:2"; 3]).await;
    fleet.until("it is contracted", |fleet| counts(fleet) == [2, 2, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_fails_stops_before_any_process_and_any_contract() {
    let fleet = fleet().await;
    let before = fleet.all_starts("app");
    fleet.write(&site("unmigrated:1", "info"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    let told = "`app/upgrade` stops here, app, contract waits for it; nothing has been done that cannot be taken back";
    assert!(outcome.message.contains(told), "{}", outcome.message);
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert_eq!(fleet.images("app"), vec!["app:1"; 3]);
    assert_eq!(fleet.all_starts("app"), before);
    let [expand, migrate, contract] = counts(&fleet);
    assert!(expand == 2 && migrate > 2 && contract == 1, "{expand} {migrate} {contract}");
    // It is put right.
    fleet.write(&site("app:2", "info"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(fleet.images("app"), vec!["app:2"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_contract_that_fails_halts_and_calls_somebody() {
    let fleet = fleet().await;
    fleet.write(&site("uncontracted:1", "info"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("contract: ChangeHalted: it failed"), "{}", outcome.message);
    assert_eq!(fleet.images("app"), vec!["uncontracted:1"; 3], "nothing is rolled back");
    assert_eq!(fleet.events("h1", "ChangeHalted").len(), 1);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(counts(&fleet), [2, 2, 2], "it is not tried again by itself");
    assert_eq!(fleet.events("h1", "ChangeHalted").len(), 1, "nobody is called twice");
    let command = Command::RunJob { job: JobName::new("contract").unwrap(), user: "tester".to_owned(), wait: None };
    assert_eq!(fleet.ask(command).await.code, OutcomeCode::Done);
    fleet.until("a person has it tried again", |fleet| counts(fleet) == [2, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn before_the_contract_one_can_go_back_and_no_phase_is_run_again() {
    let fleet = fleet().await;
    fleet.host("h3").set_faults(cut_off());
    fleet.until("it is known that h3 is gone", |fleet| fleet.reachable() == ["h1", "h2"]).await;
    fleet.write(&site("app:2", "info"));
    fleet.apply().await;
    assert_eq!(fleet.images("app"), ["app:2", "app:2", "app:1"]);
    fleet.host("h3").set_faults(cut_off());
    let wait = None;
    let command = Command::Rollback {
        generation: None,

        user: "tester".to_owned(),
        reason: String::new(),
        past_no_return: false,
        wait,
    };
    let outcome = fleet.ask(command).await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    fleet.until("they are back", |fleet| fleet.images("app") == vec!["app:1"; 3]).await;
    fleet.host("h3").set_faults(Faults::default());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(counts(&fleet), [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn past_the_contract_nobody_goes_back_by_accident() {
    let fleet = fleet().await;
    fleet.write(&site("app:2", "info"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    let generations = fleet.generations();
    let outcome = roll_back(&fleet, false).await;
    assert_eq!(outcome.code, OutcomeCode::Refused, "{}", outcome.message);
    assert!(
        outcome.message.contains("`app/upgrade` has gone on in a way that cannot be taken back"),
        "{}",
        outcome.message
    );
    assert_eq!(fleet.generations(), generations, "no host went alone");
    // Nor by an edit.
    fleet.write(&site("app:1", "info"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("PastNoReturn"), "{}", outcome.message);
    assert_eq!((fleet.images("app"), counts(&fleet)), (vec!["app:2".to_owned(); 3], [2, 2, 2]));
    fleet.write(&site("app:2", "info"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    // Somebody has restored what was left behind.
    let wanted = generations[0] - 1;
    let outcome = fleet
        .ask(Command::Rollback {
            generation: Some(wanted),

            user: "tester".to_owned(),
            reason: String::new(),
            past_no_return: true,
            wait: Some(Wait { timeout: Some(Span::seconds(600)) }),
        })
        .await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    assert_eq!(fleet.images("app"), vec!["app:1"; 3]);
    assert_eq!(fleet.events("h1", "PastNoReturn").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_at_any_step_goes_on_by_looking() {
    for died_after in [30, 150, 350, 600, 900, 1300, 2000, 3000, 4500, 6000] {
        let mut fleet = fleet().await;
        let before = fleet.all_starts("app").len();
        fleet.write(&site("app:2", "info"));
        fleet.edited().await;
        tokio::time::sleep(Duration::from_millis(died_after)).await;
        fleet.kill();
        fleet.begin();
        let outcome = fleet.apply().await;
        assert_eq!(outcome.code, OutcomeCode::Done, "died after {died_after} ms: {}", outcome.message);
        assert_eq!(fleet.images("app"), vec!["app:2"; 3]);
        let last = |job: &str| *fleet.all_starts(job).last().unwrap();
        let apps = fleet.all_starts("app").split_off(before);
        assert!(
            last("expand") < last("migrate") && last("migrate") < apps[0] && *apps.last().unwrap() < last("contract"),
            "died after {died_after} ms: {:?} {:?} {apps:?} {:?}",
            fleet.all_starts("expand"),
            fleet.all_starts("migrate"),
            fleet.all_starts("contract")
        );
    }
}

const DATABASE: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: db}
spec:
  vars: {db_image: {type: string, default: "app:1"}}
  services: {db: {image: "{{ db_image }}", rollout: {min_ready: 1s, deadline: 20s, max_unavailable: 2}}}
  changes: {major: {steps: [{roll: db, irreversible: true}]}}
"#;

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_go_back_is_left_as_it_is_and_nobody_follows() {
    let site = |image: &str| {
        format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
             defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{HOSTS: {{}}}}\n  \
             vars: {{db_image: \"{image}\"}}\n  roles: [{{role: db, hosts: [all]}}]\n"
        )
    };
    let fleet = Fleet::start_with(3, &site("app:1"), &[("roles/db/role.yaml", DATABASE)]);
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    fleet.write(&site("crash:1"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("h1: db: ChangeHalted: "), "{}", outcome.message);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fleet.images("db"), ["crash:1", "app:1", "app:1"]);
    assert_eq!(fleet.events("h1", "ChangeHalted").len(), 1);
    // The old version may not read the data any more.
    fleet.write(&site("app:1"));
    let outcome = fleet.apply().await;
    assert!(outcome.message.contains("h1: db: PastNoReturn"), "{}", outcome.message);
    assert_eq!(fleet.images("db"), ["crash:1", "app:1", "app:1"]);
    fleet.write(&site("app:2"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    assert_eq!(fleet.images("db"), vec!["app:2"; 3]);
}

/// Whatever befalls hosts and controller meanwhile, no process of the old version is there when the contract begins.
#[tokio::test(start_paused = true)]
async fn no_contract_meets_an_old_process() {
    for seed in 1..=12_u64 {
        let mut fleet = fleet().await;
        let before = fleet.all_starts("app").len();
        fleet.write(&site("app:2", "info"));
        fleet.edited().await;
        // A generator of its own: the same seed is the same story.
        let mut state = seed;
        let mut story = Vec::new();
        let mut next = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(100 + next(1500))).await;
            let host = format!("h{}", 1 + next(3));
            match next(4) {
                0 => {
                    fleet.kill();
                    tokio::time::sleep(Duration::from_millis(next(3000))).await;
                    fleet.begin();
                    story.push("the controller died".to_owned());
                }
                1 => {
                    fleet.host(&host).set_faults(Faults::default());
                    story.push(format!("{host} is back"));
                }
                _ => {
                    fleet.host(&host).set_faults(cut_off());
                    story.push(format!("{host} is cut off"));
                }
            }
            let contracted = fleet.all_starts("contract").len() > 1;
            let old = fleet.images("app").iter().filter(|image| *image != "app:2").count();
            assert!(!contracted || old == 0, "seed {seed}: {story:?}: {old} are old");
        }
        for host in ["h1", "h2", "h3"] {
            fleet.host(host).set_faults(Faults::default());
        }
        fleet.until("it is contracted", |fleet| fleet.all_starts("contract").len() > 1).await;
        assert_eq!(fleet.images("app"), vec!["app:2"; 3], "seed {seed}: {story:?}");
        let apps = fleet.all_starts("app").split_off(before);
        let contract = fleet.all_starts("contract")[1];
        assert!(apps.len() >= 3 && apps[2] < contract, "seed {seed}: {story:?}: {apps:?} {contract}");
    }
}

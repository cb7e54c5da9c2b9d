//! Many hosts under one controller, in the simulated world: budgets, order, halts, hosts that are cut off.

mod changes;
mod facts;
mod filesets;
mod images;
mod recall;
mod standing;
mod world;

use std::time::Duration;

use mastic::control::command::OutcomeCode;
use mastic::sim::faults::Faults;

use self::world::{Fleet, site};

/// No call gets through, as behind a firewall that drops.
fn cut_off() -> Faults {
    Faults { unreachable: 1.0, ..Faults::default() }
}

#[tokio::test(start_paused = true)]
async fn a_rolling_upgrade_takes_down_one_at_a_time_and_the_second_apply_finds_nothing() {
    let fleet = Fleet::start(5, &site("app:1", "{min_ready: 2s}"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    let sampler = fleet.sample("web");
    fleet.write(&site("app:2", "{min_ready: 2s}"));
    let outcome = fleet.apply().await;
    assert_eq!(
        (outcome.code, outcome.message.as_str()),
        (OutcomeCode::Done, "h1, h2, h3, h4, h5: converged: 1 as desired")
    );
    assert_eq!(sampler.most_down(), 1);
    assert_eq!(fleet.images("web"), vec!["app:2"; 5]);
    let generations: Vec<u64> = fleet.generations();
    assert_eq!(generations, vec![2; 5], "the number of a state is that of the site");
    fleet.forget_changes();
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(fleet.changes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn with_a_greater_budget_the_first_one_still_goes_alone() {
    let rollout = "{min_ready: 5s, max_unavailable: 3}";
    let fleet = Fleet::start(5, &site("app:1", rollout));
    fleet.apply().await;
    let sampler = fleet.sample("web");
    fleet.write(&site("app:2", rollout));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert!((2..=3).contains(&sampler.most_down()), "{} were down at once", sampler.most_down());
    assert_eq!(sampler.first_down(), ["h1"], "the canary was alone until it was ready");
}

#[tokio::test(start_paused = true)]
async fn a_bad_image_stops_at_the_canary_and_a_fix_goes_everywhere() {
    let fleet = Fleet::start(5, &site("app:1", "{max_unavailable: 2, deadline: 20s}"));
    fleet.apply().await;
    fleet.forget_changes();
    fleet.write(&site("crash:1", "{max_unavailable: 2, deadline: 20s}"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("h1: web: SpecFailed"), "{}", outcome.message);
    assert!(outcome.message.contains("the rollout is halted: it failed on h1"), "{}", outcome.message);
    assert_eq!(fleet.images("web"), vec!["app:1"; 5], "the canary was rolled back, the others never touched");
    for host in ["h2", "h3", "h4", "h5"] {
        let touched: Vec<String> = fleet
            .changes_of(host)
            .into_iter()
            .filter(|change| change.contains("stop") || change.contains("rename"))
            .collect();
        assert_eq!(touched, Vec::<String>::new(), "{host}");
    }
    fleet.write(&site("app:2", "{max_unavailable: 2, deadline: 20s}"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    assert_eq!(fleet.images("web"), vec!["app:2"; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_cut_off_holds_nobody_up_that_the_budget_allows_and_catches_up() {
    let rollout = "{min_ready: 1s, max_unavailable: 2}";
    let fleet = Fleet::start(5, &site("app:1", rollout));
    fleet.apply().await;
    fleet.host("h2").set_faults(cut_off());
    let sampler = fleet.sample("web");
    fleet.write(&site("app:2", rollout));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed, "{}", outcome.message);
    assert!(outcome.message.contains("h2: "), "{}", outcome.message);
    assert_eq!(fleet.images("web"), ["app:2", "app:1", "app:2", "app:2", "app:2"]);
    assert_eq!(sampler.most_down(), 1, "the one that is cut off counts");
    fleet.host("h2").set_faults(Faults::default());
    fleet.until("h2 has caught up", |fleet| fleet.images("web") == vec!["app:2"; 5]).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_a_dead_host_uses_up_is_told() {
    let fleet = Fleet::start(3, &site("app:1", "{}"));
    fleet.apply().await;
    fleet.host("h3").set_faults(cut_off());
    fleet.until("it is known that h3 is gone", |fleet| fleet.reachable() == ["h1", "h2"]).await;
    fleet.write(&site("app:2", "{}"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("1 of at most 1 may be down: h3"), "{}", outcome.message);
    assert_eq!(fleet.images("web"), vec!["app:1"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_in_a_rollout_goes_on_where_it_was() {
    for died_after in [50, 400, 1500, 4000, 9000] {
        let mut fleet = Fleet::start(4, &site("app:1", "{min_ready: 1s}"));
        fleet.apply().await;
        let sampler = fleet.sample("web");
        fleet.write(&site("app:2", "{min_ready: 1s}"));
        fleet.edited().await;
        tokio::time::sleep(Duration::from_millis(died_after)).await;
        fleet.kill();
        fleet.begin();
        assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
        assert_eq!(fleet.images("web"), vec!["app:2"; 4]);
        assert!(sampler.most_down() <= 1, "died after {died_after} ms: {} were down at once", sampler.most_down());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_waits_for_one_on_another_host_and_a_job_is_done_once_for_all() {
    let text = |needs: &str| {
        format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
             defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{\"h[1:3]\": {{}}}}\n  \
             services:\n    db: {{hosts: [h3], image: \"slow:1\", healthcheck: {{test: [CMD, x], interval: 1s}}}}\n    \
             web: {{hosts: [h1, h2], image: \"app:1\", depends_on: {{db: {{condition: service_healthy}}, init: {{condition: service_completed_successfully}}}}}}\n  \
             jobs:\n    init: {{hosts: all, image: \"job:1\", depends_on: {{db: {{condition: service_healthy{needs}}}}}}}\n"
        )
    };
    let fleet = Fleet::start(3, &text(""));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    let started = |host: &str, name: &str| fleet.started(host, name);
    let (db, init) = (started("h3", "db"), started("h1", "init"));
    assert!(db + 3000 <= init, "the job waits until db is healthy: {db} and {init}");
    assert!(started("h1", "init") < started("h1", "web") && started("h1", "init") < started("h2", "web"));
    assert_eq!(fleet.containers_that_ever_were("init"), ["h1"], "it is pinned to the first host");
}

#[tokio::test(start_paused = true)]
async fn hosts_that_have_counted_differently_agree_on_the_highest_number() {
    let mut fleet = Fleet::start(3, &site("app:1", "{min_ready: 1s}"));
    fleet.apply().await;
    fleet.write(&site("app:2", "{min_ready: 1s}"));
    fleet.apply().await;
    // The state is lost, and on one host the containers as well: it has nothing to number on from.
    fleet.kill();
    fleet.lose_state();
    fleet.host("h1").does(&mastic::sim::operator::Deed::Remove("web".to_owned())).unwrap();
    fleet.begin();
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    fleet.write(&site("app:1", "{min_ready: 1s}"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    let generations = fleet.generations();
    assert_eq!(generations, vec![generations[0]; 3]);
    assert!(generations[0] > 2, "{generations:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_the_first_one_is_waited_for() {
    let rollout = "{min_ready: 1s, max_unavailable: 3, pause_after: 10m}";
    let fleet = Fleet::start(3, &site("app:1", rollout));
    fleet.apply().await;
    let began = tokio::time::Instant::now();
    fleet.write(&site("app:2", rollout));
    let outcome = fleet.apply_within(3600).await;
    assert_eq!(
        (outcome.code, fleet.images("web")),
        (OutcomeCode::Done, vec!["app:2".to_owned(); 3]),
        "{}",
        outcome.message
    );
    assert!(began.elapsed() >= Duration::from_secs(600), "{:?}", began.elapsed());
}

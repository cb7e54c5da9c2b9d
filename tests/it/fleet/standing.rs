//! Who is out for a moment and who for good: an ensemble never loses a second member to a rollout.

use std::time::Duration;

use mastic::control::command::OutcomeCode;
use mastic::sim::faults::Faults;
use mastic::sim::operator::Deed;

use super::cut_off;
use super::world::Fleet;

fn ensemble(image: &str, deadline: &str) -> String {
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
         defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{HOSTS: {{}}}}\n  \
         services:\n    web:\n      hosts: all\n      image: \"{image}\"\n      \
         healthcheck: {{test: [CMD, x], interval: 1s, retries: 1}}\n      \
         rollout: {{quorum: 2, deadline: {deadline}}}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn members_that_are_not_ready_for_a_moment_stay_while_another_one_is_cut_off() {
    let fleet = Fleet::start(3, &ensemble("flaps:1", "10m"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    fleet.host("h3").set_faults(cut_off());
    fleet.until("it is known that h3 is gone", |fleet| fleet.reachable() == ["h1", "h2"]).await;
    fleet.write(&ensemble("app:2", "10m"));
    fleet.edited().await;
    let unready = |fleet: &Fleet| fleet.unready("web").contains(&"h1".to_owned());
    for _ in 0..3 {
        fleet.until("h1 is not ready", unready).await;
        fleet.until("h1 is ready again", |fleet| !unready(fleet)).await;
    }
    assert_eq!(fleet.images("web"), vec!["flaps:1"; 3]);
    fleet.host("h3").set_faults(Faults::default());
    fleet.until("the rollout is done", |fleet| fleet.images("web") == vec!["app:2"; 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_dies_while_another_one_is_cut_off_comes_back_as_it_was() {
    let fleet = Fleet::start(3, &ensemble("app:1", "10m"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    fleet.host("h3").set_faults(cut_off());
    fleet.until("it is known that h3 is gone", |fleet| fleet.reachable() == ["h1", "h2"]).await;
    fleet.write(&ensemble("app:2", "10m"));
    fleet.edited().await;
    fleet.until("h1 is prepared", |fleet| fleet.host("h1").inspect("web.next").is_ok()).await;
    fleet.host("h1").does(&Deed::Stop("web".to_owned())).unwrap();
    fleet.until("h1 is down", |fleet| fleet.unready("web").contains(&"h1".to_owned())).await;
    fleet.until("h1 is back", |fleet| !fleet.unready("web").contains(&"h1".to_owned())).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fleet.images("web"), vec!["app:1"; 3], "it was no occasion to go on");
}

#[tokio::test(start_paused = true)]
async fn members_that_never_were_ready_do_not_keep_each_other_from_what_is_better() {
    let fleet = Fleet::start(3, &ensemble("crash:1", "10s"));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Failed);
    fleet.write(&ensemble("app:1", "10s"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    assert_eq!(fleet.images("web"), vec!["app:1"; 3]);
}

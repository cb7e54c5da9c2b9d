//! `on_failure: rollback-all`: what fails on one host goes back on all that had it already.

use std::time::Duration;

use mastic::control::command::OutcomeCode;
use mastic::model::image::ImageRef;
use mastic::model::time::Span;
use mastic::sim::program::{Program, SimImage};

use super::world::{Fleet, site};

const ALL: &str = "{deadline: 20s, on_failure: rollback-all, waves: [[h1], [h2], [h3]]}";
const ONE: &str = "{deadline: 20s, waves: [[h1], [h2], [h3]]}";

#[tokio::test(start_paused = true)]
async fn a_failure_on_one_host_takes_the_change_back_everywhere_and_it_stays_so() {
    let mut fleet = Fleet::start(4, &site("app:1", ALL));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    // The image is another one on h3.
    fleet.host("h3").load_image(&ImageRef::new("app:2").unwrap(), SimImage::of(Program::ends(Span(40), 3)));
    let sampler = fleet.sample("web");
    fleet.write(&site("app:2", ALL));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    fleet.until("all are back", |fleet| fleet.images("web") == vec!["app:1"; 4]).await;
    assert_eq!(fleet.host("h4").starts()["web"].len(), 1, "it was never touched");
    tokio::time::sleep(Duration::from_secs(600)).await;
    fleet.kill();
    fleet.begin();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fleet.images("web"), vec!["app:1"; 4], "it is not tried again");
    assert_eq!(sampler.most_down(), 1, "going back keeps the budget");
    fleet.write(&site("slow:1", ALL));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Done, "{}", outcome.message);
    assert_eq!(fleet.images("web"), vec!["slow:1"; 4]);
}

#[tokio::test(start_paused = true)]
async fn without_it_the_ones_already_done_stay() {
    let fleet = Fleet::start(4, &site("app:1", ONE));
    fleet.apply().await;
    fleet.host("h3").load_image(&ImageRef::new("app:2").unwrap(), SimImage::of(Program::ends(Span(40), 3)));
    fleet.write(&site("app:2", ONE));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Failed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fleet.images("web"), ["app:2", "app:2", "app:1", "app:1"]);
}

//! All images are everywhere before the first stop, and a host that cannot get one keeps nobody from the change.

use std::time::Duration;

use mastic::control::command::OutcomeCode;
use mastic::model::image::ImageRef;
use mastic::model::time::Span;
use mastic::sim::program::{Program, SimImage};
use mastic::sim::world::Disk;

use super::world::{Fleet, site};

#[tokio::test(start_paused = true)]
async fn nothing_is_stopped_before_the_slowest_host_has_the_image() {
    let rollout = "{min_ready: 1s, max_unavailable: 3}";
    let fleet = Fleet::start(3, &site("app:1", rollout));
    fleet.apply().await;
    let sampler = fleet.sample("web");
    for host in ["h1", "h2"] {
        fleet.host(host).load_image(&ImageRef::new("late:1").unwrap(), SimImage::of(Program::healthy_after(Span(300))));
    }
    fleet.write(&site("late:1", rollout));
    fleet.edited().await;
    fleet
        .until("h1 and h2 are prepared", |fleet| {
            ["h1", "h2"].iter().all(|host| fleet.host(host).inspect("web.next").is_ok())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(sampler.most_down(), 0, "h3 still fetches");
    fleet.until("the rollout is done", |fleet| fleet.images("web") == vec!["late:1"; 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_get_the_image_keeps_nobody_from_it_and_catches_up() {
    let fleet = Fleet::start(3, &site("app:1", "{min_ready: 1s}"));
    fleet.apply().await;
    fleet.host("h1").set_disk(Disk { engine_full: true, ..Disk::default() });
    fleet.write(&site("app:2", "{min_ready: 1s}"));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    assert!(outcome.message.contains("h1: web: ImagePullFailed: "), "{}", outcome.message);
    fleet.until("the others have it", |fleet| fleet.images("web") == ["app:1", "app:2", "app:2"]).await;
    fleet.host("h1").set_disk(Disk::default());
    fleet.until("h1 has caught up", |fleet| fleet.images("web") == vec!["app:2"; 3]).await;
}

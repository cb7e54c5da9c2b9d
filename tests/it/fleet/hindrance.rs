//! A change that fails because a disk is full: it is put off there, the rollout waits, and a newer one goes past it.

use mastic::control::command::OutcomeCode;
use mastic::model::image::ImageRef;
use mastic::model::time::Span;
use mastic::sim::program::{Program, SimImage};
use mastic::sim::world::Disk;

use super::world::{Fleet, site};

const ROLLOUT: &str = "{min_ready: 1s, deadline: 20s}";

/// Three hosts, of which the first has a full disk, though the images are there.
fn with_a_full_disk(fleet: &Fleet) {
    for image in ["writes:1", "writes:2"] {
        let program = Program::healthy_after(Span(300)).writing();
        fleet.host("h1").load_image(&ImageRef::new(image).unwrap(), SimImage::of(program));
    }
    fleet.host("h1").set_disk(Disk { engine_full: true, ..Disk::default() });
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_puts_the_change_off_and_the_rollout_waits_and_goes_on_by_itself() {
    let fleet = Fleet::start(3, &site("app:1", ROLLOUT));
    fleet.apply().await;
    with_a_full_disk(&fleet);
    fleet.write(&site("writes:1", ROLLOUT));
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code, OutcomeCode::Failed);
    let reason = "h1: web: HostHindered: generation 2 could not be tried here: fatal: write /data/state: No space left on device";
    assert!(outcome.message.contains(reason), "{}", outcome.message);
    assert!(
        outcome.message.contains("h2, h3: web: it could not be tried on h1, and is tried there again"),
        "{}",
        outcome.message
    );
    assert_eq!(fleet.images("web"), vec!["app:1"; 3], "the old one is back");
    assert_eq!(fleet.quarantined(), Vec::<String>::new());
    fleet.host("h1").set_disk(Disk::default());
    fleet.until("the rollout is done", |fleet| fleet.images("web") == vec!["writes:1"; 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_change_goes_past_the_host_with_the_full_disk() {
    let fleet = Fleet::start(3, &site("app:1", ROLLOUT));
    fleet.apply().await;
    with_a_full_disk(&fleet);
    fleet.write(&site("writes:1", ROLLOUT));
    assert_eq!(fleet.apply().await.code, OutcomeCode::Failed);
    fleet.write(&site("writes:2", ROLLOUT));
    fleet.edited().await;
    fleet
        .until("the others have the newer one", |fleet| fleet.images("web") == ["app:1", "writes:2", "writes:2"])
        .await;
    assert_eq!(fleet.quarantined(), Vec::<String>::new());
    fleet.host("h1").set_disk(Disk::default());
    fleet.until("h1 has caught up", |fleet| fleet.images("web") == vec!["writes:2"; 3]).await;
}

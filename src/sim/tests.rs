//! The simulated world against what dockerd 20.10 was seen to do.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::sleep;

use super::faults::{Faults, Moment};
use super::files::Tampering;
use super::operator::Deed;
use super::program::{Program, SimImage};
use super::world::{SimHost, SimWorld};
use crate::model::image::ImageRef;
use crate::model::labels;
use crate::model::settings::{ContainerSettings, Healthcheck, Mount, RestartPolicy};
use crate::model::time::Span;
use crate::observe::observed::{Health, Status};
use crate::port::engine::{CreateContainer, Engine as _, EngineError, ObserveEngine as _};
use crate::port::files::{FileToWrite, Files as _, ObserveFiles as _};

fn world(program: Program) -> SimHost {
    let world = SimWorld::new(7);
    world.publish("app:1", 1, SimImage::of(program));
    let host = world.host("here");
    let image = ImageRef::new("app:1").unwrap();
    host.load_image(&image, world.host("here").published(&image).unwrap().image);
    host
}

fn request(name: &str, restart: RestartPolicy) -> CreateContainer {
    CreateContainer {
        name: name.to_owned(),
        image_id: "app:1".to_owned(),
        image: ImageRef::new("app:1").unwrap(),
        settings: ContainerSettings { restart: Some(restart), ..ContainerSettings::default() },
        networks: BTreeMap::new(),
        labels: [(labels::SITE, "demo"), (labels::HOST, "here"), (labels::SERVICE, "app")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        carried_volumes: BTreeMap::new(),
    }
}

async fn status(host: &SimHost, name: &str) -> Status {
    host.engine().inspect_container(name).await.unwrap().state.status
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once() {
    let host = world(Program::healthy_after(Span(10)));
    let engine = host.engine();
    let id = engine.create_container(&request("app", RestartPolicy::No)).await.unwrap();
    let again = engine.create_container(&request("app", RestartPolicy::No)).await;
    assert!(matches!(again, Err(EngineError::Conflict(_))));
    engine.rename_container(&id, "other").await.unwrap();
    assert!(matches!(engine.rename_container(&id, "other").await, Err(EngineError::Refused(_))));
    engine.create_container(&request("app", RestartPolicy::No)).await.unwrap();
    assert!(matches!(engine.rename_container(&id, "app").await, Err(EngineError::Conflict(_))));
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_started_again_ever_more_slowly() {
    let host = world(Program::ends(Span(50), 3));
    let engine = host.engine();
    let id = engine.create_container(&request("app", RestartPolicy::UnlessStopped)).await.unwrap();
    engine.start_container(&id).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    // 50 + 100, 50 + 200, 50 + 400, 50 + 800, ...
    assert_eq!(engine.inspect_container(&id).await.unwrap().state.restart_count, 4);
    engine.stop_container(&id, None).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(status(&host, "app").await, Status::Exited);
}

#[tokio::test(start_paused = true)]
async fn a_stop_by_hand_lasts_until_the_engine_restarts() {
    for (policy, expected) in [(RestartPolicy::Always, Status::Running), (RestartPolicy::UnlessStopped, Status::Exited)]
    {
        let host = world(Program::healthy_after(Span(10)));
        let engine = host.engine();
        let id = engine.create_container(&request("app", policy)).await.unwrap();
        engine.start_container(&id).await.unwrap();
        engine.stop_container(&id, Some(1)).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(status(&host, "app").await, Status::Exited);
        host.does(&Deed::RestartEngine(false, Span::seconds(3))).unwrap();
        assert!(matches!(engine.list_containers().await, Err(EngineError::Unreachable(_))));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(status(&host, "app").await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_ignores_the_signal_is_killed() {
    let host = world(Program::healthy_after(Span(10)).deaf());
    let engine = host.engine();
    let id = engine.create_container(&request("app", RestartPolicy::Always)).await.unwrap();
    engine.start_container(&id).await.unwrap();
    let before = host.clock().elapsed();
    engine.stop_container(&id, Some(2)).await.unwrap();
    let took = host.clock().elapsed() - before;
    assert!((2000..2100).contains(&took), "{took}");
    assert_eq!(engine.inspect_container(&id).await.unwrap().state.exit_code, 137);
}

#[tokio::test(start_paused = true)]
async fn health_turns_and_is_told() {
    let host = world(Program::healthy_after(Span(700)));
    let engine = host.engine();
    let mut events = engine.events().await.unwrap();
    let mut request = request("app", RestartPolicy::Always);
    request.settings.healthcheck =
        Some(Healthcheck { test: vec!["CMD".to_owned(), "check".to_owned()], ..Healthcheck::default() });
    let id = engine.create_container(&request).await.unwrap();
    engine.start_container(&id).await.unwrap();
    assert_eq!(engine.inspect_container(&id).await.unwrap().state.health, Health::Starting);
    let mut seen = Vec::new();
    while let Some(Ok(event)) = events.next().await {
        seen.push(event.action.clone());
        if event.action == "health_status" {
            assert_eq!(event.health, Health::Healthy);
            break;
        }
    }
    assert_eq!(seen, ["create", "start", "health_status"]);
    assert_eq!(engine.inspect_container(&id).await.unwrap().state.health, Health::Healthy);
}

fn file(path: &str, content: &str) -> FileToWrite {
    FileToWrite { path: path.to_owned(), content: content.as_bytes().to_vec(), mode: 0o644, uid: 0, gid: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_program_reads_what_is_mounted() {
    let host = world(Program::healthy_after(Span(10)).reading("/etc/app/app.conf"));
    let (engine, files) = (host.engine(), host.files());
    let mut request = request("app", RestartPolicy::No);
    let source = files.host_path("app/1:ab", "live/0");
    let bind = Mount::Bind { source, read_only: true, propagation: None, create_host_path: false };
    request.settings.volumes = Some([("/etc/app".to_owned(), bind)].into());
    // Without its files it is not even made.
    assert!(matches!(engine.create_container(&request).await, Err(EngineError::Refused(_))));
    files.write("app/1:ab", &[file("live/0/app.conf", "good")]).await.unwrap();
    let id = engine.create_container(&request).await.unwrap();
    let detail = engine.inspect_container(&id).await.unwrap().detail.unwrap();
    assert_eq!(detail.managed_hash.as_deref(), Some("1:ab"));
    assert_eq!(detail.settings.volumes.unwrap()["/etc/app"], Mount::Managed { path: "live/0".to_owned() });
    engine.start_container(&id).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&host, "app").await, Status::Running);
    let tamper = Tampering::Content(b"bad".to_vec());
    host.does(&Deed::Tamper("app/1:ab".to_owned(), "live/0/app.conf".to_owned(), tamper)).unwrap();
    engine.signal_container(&id, "SIGHUP").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.inspect_container(&id).await.unwrap().state.exit_code, 1);
    assert!(engine.log_tail(&id, 1).await.unwrap().contains("bad configuration"));
}

#[tokio::test(start_paused = true)]
async fn the_agent_dies_where_it_is_told_to() {
    for (moment, expected) in [(Moment::Before, 0), (Moment::After, 1)] {
        let host = world(Program::healthy_after(Span(10)));
        host.crash_at(1, moment);
        let engine = host.engine();
        tokio::select! {
            _ = async { engine.create_container(&request("app", RestartPolicy::No)).await } => panic!("it answered"),
            () = host.died() => {}
        }
        host.revive();
        assert_eq!(host.engine().list_containers().await.unwrap().len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn two_instances_of_one_service_are_noticed() {
    let host = world(Program::healthy_after(Span(10)));
    let engine = host.engine();
    for name in ["app", "app.next"] {
        let id = engine.create_container(&request(name, RestartPolicy::No)).await.unwrap();
        engine.start_container(&id).await.unwrap();
    }
    assert_eq!(host.violations().len(), 1, "{}", host.trace());
}

#[tokio::test(start_paused = true)]
async fn touching_others_and_removing_the_last_good_one_are_noticed() {
    let host = world(Program::healthy_after(Span(10)));
    let engine = host.engine();
    let mut foreign = request("foreign", RestartPolicy::No);
    foreign.labels.clear();
    let id = host.run_by_hand(&foreign).unwrap();
    engine.stop_container(&id, Some(0)).await.unwrap();
    assert_eq!(host.violations().len(), 1);
    let id = engine.create_container(&request("app", RestartPolicy::No)).await.unwrap();
    engine.start_container(&id).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    host.containers();
    sleep(Duration::from_secs(31)).await;
    engine.remove_container(&id, false).await.unwrap();
    assert_eq!(host.violations().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_hides_what_was_done() {
    let host = world(Program::healthy_after(Span(10)));
    host.set_faults(Faults { reply_lost: 1.0, ..Faults::default() });
    let created = host.engine().create_container(&request("app", RestartPolicy::No)).await;
    assert!(matches!(created, Err(EngineError::Timeout(_))));
    host.set_faults(Faults::default());
    assert_eq!(host.engine().list_containers().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn anonymous_volumes_stay_unless_asked() {
    let mut image = SimImage::of(Program::healthy_after(Span(10)));
    image.defaults.volumes.push("/data".to_owned());
    let host = SimWorld::new(1).host("here");
    host.load_image(&ImageRef::new("app:1").unwrap(), image);
    let engine = host.engine();
    let id = engine.create_container(&request("app", RestartPolicy::No)).await.unwrap();
    let volumes = engine.inspect_container(&id).await.unwrap().detail.unwrap().anonymous_volumes;
    engine.remove_container(&id, false).await.unwrap();
    let mut next = request("app", RestartPolicy::No);
    next.carried_volumes.clone_from(&volumes);
    let id = engine.create_container(&next).await.unwrap();
    assert_eq!(engine.inspect_container(&id).await.unwrap().detail.unwrap().anonymous_volumes, volumes);
    engine.remove_container(&id, true).await.unwrap();
    assert!(engine.list_volumes().await.unwrap().is_empty());
}

/// The same seed gives the same world, call by call.
#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let host = SimWorld::new(seed).host("here");
            host.load_image(&ImageRef::new("app:1").unwrap(), SimImage::of(Program::ends(Span(70), 1)));
            host.set_faults(Faults::some(0.3));
            host.set_latency(0, 50);
            for number in 0..30 {
                let name = format!("app{number}");
                let created = host.engine().create_container(&request(&name, RestartPolicy::Always)).await;
                if let Ok(id) = created {
                    let _ = host.engine().start_container(&id).await;
                }
            }
            host.trace()
        })
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

//! A machine that is not the one that it was, and data that is gone: nothing empty is put in its place.

use std::time::Duration;

use mastic::control::command::{Command, OutcomeCode};
use mastic::report::status::SiteStatus;
use mastic::sim::world::{SimHost, SimWorld};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::agent::{Agent, Source};
use super::case::real_planner;
use super::site;

/// The agent of a host on which all is as desired; and its site.
async fn converged() -> (SimWorld, SimHost, Source) {
    let world = SimWorld::new(7);
    site::publish(&world, &mut StdRng::seed_from_u64(7));
    let host = world.host(site::host_name().as_str());
    let source = Source::new(site::fixed_site());
    let agent = Agent::start(&host, &source, &real_planner());
    assert_eq!(agent.apply(5).await.unwrap().code, OutcomeCode::Done);
    // A second look at everything: who the engine is, is asked only when something is there.
    tokio::time::sleep(Duration::from_secs(400)).await;
    (world, host, source)
}

async fn seen(agent: &Agent, holds: impl Fn(&SiteStatus) -> bool) -> SiteStatus {
    let mut news = agent.published().watch();
    news.wait_for(|status| status.observed_at.is_some() && holds(status)).await.unwrap().as_ref().clone()
}

fn names(host: &SimHost) -> Vec<String> {
    let mut names: Vec<String> = host.containers().into_iter().map(|container| container.name).collect();
    names.sort();
    names
}

fn accept() -> Command {
    Command::AcceptHost { user: "tester".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn on_another_machine_of_the_same_name_nothing_is_made_before_a_person_says_so() {
    let (_world, host, source) = converged().await;
    host.replace_machine();
    let agent = Agent::start(&host, &source, &real_planner());
    let status = seen(&agent, |_| true).await;
    let why = status.hosts[0].engine.error.clone().unwrap();
    assert!(why.starts_with("this is another machine") && why.contains("`mastic host accept here`"), "{why}");
    assert!(!status.hosts[0].reachable);
    let refused = agent.apply(5).await.unwrap();
    assert_eq!(refused.code, OutcomeCode::Failed);
    assert!(refused.message.contains("this is another machine"), "{}", refused.message);
    assert_eq!((names(&host), host.named_volumes()), (vec![], vec![]));

    assert_eq!(agent.ask(accept()).await.unwrap().message, "here is accepted as it is");
    assert_eq!(agent.apply(5).await.unwrap().code, OutcomeCode::Done);
    assert_eq!(names(&host), ["alpha", "beta"]);
    assert_eq!(agent.ask(accept()).await.unwrap().message, "here is known, and nothing of it is missing");
}

#[tokio::test(start_paused = true)]
async fn without_its_volume_a_service_is_not_made_and_the_others_are() {
    let (_world, host, source) = converged().await;
    host.lose_disk();
    let agent = Agent::start(&host, &source, &real_planner());
    seen(&agent, |status| status.hosts[0].instances.iter().any(|instance| instance.ready)).await;
    let refused = agent.apply(5).await.unwrap();
    assert!(refused.message.contains("the volume `data-alpha` was here and is gone"), "{}", refused.message);
    assert_eq!((names(&host), host.named_volumes()), (vec!["beta".to_owned()], vec![]));

    assert_eq!(agent.ask(accept()).await.unwrap().message, "here is accepted as it is");
    assert_eq!(agent.apply(5).await.unwrap().code, OutcomeCode::Done);
    assert_eq!(
        (names(&host), host.named_volumes()),
        (vec!["alpha".into(), "beta".into()], vec!["data-alpha".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_made_by_hand_ends_the_wait_for_it() {
    let (_world, host, source) = converged().await;
    host.lose_disk();
    let agent = Agent::start(&host, &source, &real_planner());
    seen(&agent, |status| status.hosts[0].instances.iter().any(|instance| instance.ready)).await;
    let began = tokio::time::Instant::now();
    host.create_volume_by_hand("data-alpha");
    seen(&agent, |status| status.converged).await;
    assert!(began.elapsed() < Duration::from_secs(30), "seen by its event: {:?}", began.elapsed());
    assert_eq!(names(&host), ["alpha", "beta"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_machine_from_which_all_containers_went_is_healed() {
    let (_world, host, source) = converged().await;
    let agent = Agent::start(&host, &source, &real_planner());
    seen(&agent, |status| status.converged).await;
    for container in host.containers() {
        host.does(&mastic::sim::operator::Deed::Remove(container.name)).unwrap();
    }
    seen(&agent, |status| !status.converged).await;
    seen(&agent, |status| status.converged).await;
    assert_eq!(names(&host), ["alpha", "beta"]);
}

//! What a command that waits sees: a loop of its own ends with the answer, and long work tells how far it is.

use std::time::Duration;

use mastic::control::command::Reply;
use mastic::model::time::Span;
use mastic::report::status::SiteStatus;
use mastic::sim::program::Program;
use mastic::sim::world::SimWorld;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::agent::{Agent, Source, apply_once};
use super::case::real_planner;
use super::site;

#[tokio::test(start_paused = true)]
async fn who_asks_for_one_thing_waits_for_one_look() {
    let world = SimWorld::new(5);
    site::publish(&world, &mut StdRng::seed_from_u64(5));
    let host = world.host(site::host_name().as_str());
    let source = Source::new(site::fixed_site());
    let agent = Agent::start(&host, &source, &real_planner());
    agent.apply(5).await.unwrap();
    drop(agent);
    let planner = real_planner();
    let once = apply_once(&host, &source, &planner);
    let metrics = tokio::time::timeout(Duration::from_secs(60), once).await.expect("it ends by itself");
    let looks = metrics.lines().find(|line| line.starts_with("mastic_reconcile_total") && line.contains("success"));
    assert!(looks.is_some_and(|line| line.ends_with(" 1")), "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_long_pull_is_told_how_far_it_is() {
    let world = SimWorld::new(5);
    let mut image = site::image(Program::healthy_after(Span(100)));
    image.size = 240_000_000;
    world.publish_with("app:1", 1, image, None, Span::seconds(100));
    let host = world.host(site::host_name().as_str());
    let agent = Agent::start(&host, &Source::new(site::fixed_site()), &real_planner());
    let mut lines = agent.listen_to_apply();
    let mut seen = agent.published().watch();
    let step = |status: &SiteStatus| status.hosts.first()?.instances.first()?.next_step.clone();
    seen.wait_for(|status| step(status).is_some_and(|step| step.contains("120.0 of 240.0 MB"))).await.unwrap();
    let told = async {
        while let Some(line) = lines.recv().await {
            if let Reply::Progress(line) = line
                && line.message.contains("of 240.0 MB")
            {
                return format!("{} {} {}", line.subject, line.reason, line.message);
            }
        }
        panic!("nobody was told")
    };
    assert_eq!(told.await, "alpha Pulling 0 of 1 layers, 0.0 of 240.0 MB");
}

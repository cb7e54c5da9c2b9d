//! What random cases have found once, each told on its own: the seeds mean something else after any change.

use std::collections::BTreeMap;

use mastic::control::command::OutcomeCode;
use mastic::model::desired::HostDesired;
use mastic::model::file::Owner;
use mastic::model::image::ImageRef;
use mastic::model::time::Span;
use mastic::plan::files;
use mastic::report::status::{JobPhase, SiteStatus};
use mastic::sim::faults::Moment;
use mastic::sim::files::Tampering;
use mastic::sim::operator::Deed;
use mastic::sim::program::Program;
use mastic::sim::world::{SimHost, SimWorld};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::agent::{Agent, Source};
use super::case::real_planner;
use super::{oracle, site};

fn world() -> (SimWorld, SimHost) {
    let world = SimWorld::new(11);
    site::publish(&world, &mut StdRng::seed_from_u64(11));
    let host = world.host(site::host_name().as_str());
    (world, host)
}

async fn started(host: &SimHost, source: &Source) -> Agent {
    let agent = Agent::start(host, source, &real_planner());
    assert_eq!(agent.apply(5).await.unwrap().code, OutcomeCode::Done);
    agent
}

/// A hand at alpha's live file.
fn tamper(host: &SimHost, desired: &HostDesired, how: Tampering) {
    let alpha = &desired.services["alpha"];
    let key = files::key(alpha.container_name.as_str(), &alpha.create_hash);
    let path = alpha.files.iter().find(|file| file.on_change.is_live()).unwrap().path.clone();
    host.does(&Deed::Tamper(key, path, how)).unwrap();
}

/// The names of an image's users were only looked up to write files, and forgotten with the agent.
#[tokio::test(start_paused = true)]
async fn a_file_of_another_owner_is_seen_by_an_agent_that_has_just_begun() {
    for forgets in [false, true] {
        let (_world, host) = world();
        let mut desired = site::fixed_site();
        site::edit(&mut desired, "alpha", |alpha| {
            for file in &mut alpha.files {
                (file.owner, file.group) = (Owner::Name("app".to_owned()), Owner::Name("app".to_owned()));
            }
        });
        let source = Source::new(desired.clone());
        drop(started(&host, &source).await);
        if forgets {
            host.lose_store();
        }
        tamper(&host, &desired, Tampering::Owner(4711, 4711));
        let _agent = started(&host, &source).await;
        assert_eq!(oracle::wrong(&host, &desired, &BTreeMap::new()).await, None, "forgets: {forgets}");
    }
}

/// The engine had started the process again, with the wrong file, before the right one was written; and the agent that
/// wrote it died of it.
#[tokio::test(start_paused = true)]
async fn a_process_that_the_engine_started_with_a_wrong_file_is_told_of_the_right_one() {
    for latency in [20, 40, 60, 80, 120] {
        let (_world, host) = world();
        let desired = site::fixed_site();
        let source = Source::new(desired.clone());
        let agent = started(&host, &source).await;
        host.set_latency(latency, latency);
        tamper(&host, &desired, Tampering::Content(b"tampered".to_vec()));
        host.does(&Deed::KillProcess("alpha".to_owned())).unwrap();
        host.crash_at(1, Moment::After);
        agent.files_changed().await;
        host.died().await;
        drop(agent);
        host.revive();
        let _agent = started(&host, &source).await;
        assert_eq!(oracle::wrong(&host, &desired, &BTreeMap::new()).await, None, "latency {latency}");
    }
}

/// A frozen service was thawed; a frozen job was waited for until its time was over.
#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_froze_is_thawed() {
    let (world, host) = world();
    let mut image = site::image(Program::ends(Span::seconds(30), 0));
    image.size = 1;
    world.publish("slow:1", 1, image);
    let mut desired = site::fixed_site();
    site::change_job(&mut desired, |job| job.image = ImageRef::new("slow:1").unwrap());
    let source = Source::new(desired);
    let agent = Agent::start(&host, &source, &real_planner());
    let runs =
        |status: &SiteStatus| status.hosts.iter().flat_map(|host| &host.jobs).any(|job| job.state == JobPhase::Running);
    agent.published().watch().wait_for(|status| runs(status)).await.unwrap();
    host.does(&Deed::Freeze("migrate".to_owned())).unwrap();
    assert_eq!(agent.apply(5).await.unwrap().code, OutcomeCode::Done);
}

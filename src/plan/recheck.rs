//! A job that is done, and whether it still is: asked from time to time by a command of its own.
//!
//! What it did may have been undone by hand: a user of a database that somebody has dropped. The job stays done while it is
//! asked, and runs again where the answer is no.

use crate::model::desired::{DependencyTarget, HealMode};
use crate::model::job::{DoneWhen, JobRecord, JobState, Recheck};
use crate::model::time::{Span, Timestamp};

use super::files;
use super::job::JobInput;
use super::prepare::{self, Image};
use super::step::{FilesOf, Next, Step};

/// So long it is waited for what the job depends on before it is looked at again.
const LATER: Span = Span::seconds(60);

/// What is to be done about a job that is done. Whatever stands in the way is no reason to doubt it.
pub(super) fn next(input: &JobInput<'_>, record: Option<&JobRecord>) -> Next {
    let job = input.desired;
    let (Some(recheck), Some(JobRecord { state: JobState::Done { at }, .. })) = (&job.recheck, record) else {
        return Next::Nothing;
    };
    if input.heal == HealMode::Report {
        return Next::Nothing;
    }
    let due = due(recheck, *at, job.job.as_str());
    if input.now < due && *at <= input.now {
        return Next::Wait { until: Some(due) };
    }
    let later = Next::Wait { until: Some(input.now.plus(LATER)) };
    let is_there = |name: &String, on: DependencyTarget, need| match input.dependencies.get(name.as_str()) {
        None => false,
        Some(known) => {
            known.has(need, |state| if on == DependencyTarget::Started { state.started } else { state.ready })
        }
    };
    if !job.depends_on.iter().all(|(name, needed)| !needed.required || is_there(name, needed.on, needed.need)) {
        return later;
    }
    let Image::Known(image) = prepare::image(input.observed, &job.image, job.pull_policy, true) else { return later };
    let key = files::key(job.container_name.as_str(), &job.input_hash);
    let of = || FilesOf::Job(job.clone());
    match prepare::files_step(input.observed, &image, &job.files, &key, job.container_name.as_str(), of) {
        Ok(None) => {}
        Ok(Some(step)) => return Next::Step(step),
        Err(_) => return later,
    }
    Next::Step(Step::AskDone {
        question: DoneWhen::Container { command: recheck.command.clone() },
        container_id: None,
        job: job.clone(),
        image_id: image.id.clone(),
        again: true,
    })
}

/// A little later for some than for others: all were done at about the same time.
fn due(recheck: &Recheck, at: Timestamp, name: &str) -> Timestamp {
    let sixteenths = name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % 16;
    at.plus(Span(recheck.every.0 + recheck.every.0 / 64 * sixteenths))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::desired::{Dependency, JobDesired, Need};
    use crate::model::image::PullPolicy;
    use crate::model::job::JobRun;
    use crate::model::memory::HostMemory;
    use crate::model::names::{ContainerName, HostName, JobName, SiteName};
    use crate::observe::observed::{HostObserved, ObservedImage};
    use crate::plan::dependency::{DependencyState, KnownDependency};
    use crate::plan::testing::instance;

    const DONE: Timestamp = Timestamp(1_000_000);

    fn job() -> JobDesired {
        let like = instance("rows");
        let on = Dependency { on: DependencyTarget::Ready, need: Need::Any, required: true, restart: false };
        JobDesired {
            job: JobName::new("rows").unwrap(),
            role: None,
            container_name: ContainerName::new("rows").unwrap(),
            image: like.image,
            pull_policy: PullPolicy::Missing,
            settings: like.settings,
            networks: BTreeMap::new(),
            files: Vec::new(),
            filesets: Vec::new(),
            run: JobRun::One,
            depends_on: BTreeMap::from([("db".to_owned(), on)]),
            done_when: None,
            recheck: Some(Recheck { every: Span::seconds(64), command: vec!["check".to_owned()] }),
            timeout: Span::seconds(10),
            schedule: None,
            step: None,
            input_hash: "1:i".to_owned(),
        }
    }

    /// What is next so many seconds after it was done.
    fn after(seconds: u64, db_is_ready: bool, heal: HealMode) -> Next {
        let state = DependencyState { started: true, ready: db_is_ready, settled: true, updated: true, current: true };
        let dependencies =
            BTreeMap::from([("db".to_owned(), KnownDependency { here: Some(state), elsewhere: Vec::new() })]);
        let mut observed = HostObserved::default();
        observed.image_ids.insert("busybox:1".to_owned(), Some("sha256:1".to_owned()));
        let image = ObservedImage { id: "sha256:1".to_owned(), ..ObservedImage::default() };
        observed.images.insert("sha256:1".to_owned(), Arc::new(image));
        let record = JobRecord {
            input_hash: "1:i".to_owned(),
            state: JobState::Done { at: DONE },
            attempts: 1,
            scheduled: None,
        };
        let input = JobInput {
            site: &SiteName::new("s").unwrap(),
            host_name: &HostName::new("h").unwrap(),
            generation: 1,
            desired: &Arc::new(job()),
            observed: &observed,
            memory: &HostMemory::default(),
            changes: &[],
            dependencies: &dependencies,
            heal,
            now: DONE.plus(Span::seconds(seconds)),
        };
        next(&input, Some(&record))
    }

    #[test]
    fn it_is_asked_when_the_time_has_come_and_what_it_needs_is_there() {
        assert!(matches!(after(1, true, HealMode::Auto), Next::Wait { until: Some(until) } if until > DONE));
        let asked = after(80, true, HealMode::Auto);
        let is_check =
            |question: &DoneWhen| matches!(question, DoneWhen::Container { command } if command == &["check"]);
        assert!(
            matches!(&asked, Next::Step(Step::AskDone { question, again: true, .. }) if is_check(question)),
            "{asked:?}"
        );
        let later = DONE.plus(Span::seconds(80)).plus(LATER);
        assert_eq!(after(80, false, HealMode::Auto), Next::Wait { until: Some(later) }, "nothing is known of it now");
        assert_eq!(after(80, true, HealMode::Report), Next::Nothing);
    }
}

//! Statuses for tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use super::status::{
    BadSiteFile, DriftKind, EngineStatus, HoldStatus, HostStatus, InstanceState, InstanceStatus, JobPhase, JobStatus,
    Pending, PendingKind, QuarantineStatus, SiteStatus, SlotStatus, WaitingReason, Wanted,
};
use crate::model::condition::{Condition, ConditionType};
use crate::model::hold::HoldKind;
use crate::model::names::{HostName, JobName, ServiceName, SiteName};
use crate::model::time::Timestamp;

/// When the tests are.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn ago(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 - seconds * 1000)
}

fn condition(kind: ConditionType, is_so: bool, reason: &str, message: &str, seconds: i64) -> Condition {
    Condition { since: Some(ago(seconds)), ..Condition::new(kind, is_so, reason, message) }
}

/// An instance that is ready.
pub(crate) fn instance(name: &str, generation: u64) -> InstanceStatus {
    InstanceStatus {
        service: ServiceName::new(name).unwrap(),
        role: None,
        container: name.to_owned(),
        image: "busybox:1".to_owned(),
        wanted: Wanted::Running,
        ready: true,
        state: InstanceState::Running,
        spec_hash: "1:6b86b273ff34fce19d6b804eff5a3f57".to_owned(),
        generation,
        observed_generation: generation,
        restarts: 0,
        drift: BTreeSet::new(),
        waiting: None,
        next_step: None,
        last_error: None,
        quarantined: None,
        conditions: vec![condition(ConditionType::Ready, true, "Ready", "", 300)],
    }
}

fn job(name: &str, state: JobPhase, message: &str) -> JobStatus {
    JobStatus {
        job: JobName::new(name).unwrap(),
        role: None,
        state,
        attempts: 1,
        exit_code: (state == JobPhase::Failed).then_some(3),
        since: Some(ago(90)),
        next_run: (state == JobPhase::Failed).then_some(Timestamp(NOW.0 + 30_000)),
        message: message.to_owned(),
    }
}

fn host(name: &str, instances: Vec<InstanceStatus>, jobs: Vec<JobStatus>) -> HostStatus {
    HostStatus {
        name: HostName::new(name).unwrap(),
        reachable: true,
        engine: EngineStatus {
            engine: Some("docker".to_owned()),
            version: Some("20.10.24".to_owned()),
            api_version: Some("1.41".to_owned()),
            events_connected: true,
            error: None,
        },
        observed_at: Some(ago(2)),
        conditions: vec![],
        instances,
        jobs,
    }
}

/// All is well on one host.
pub(crate) fn converged() -> SiteStatus {
    let mut status = SiteStatus::new(SiteName::new("demo").unwrap());
    status.generation = 3;
    status.source_digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned();
    status.observed_at = Some(ago(2));
    status.hosts = vec![host(
        "here",
        vec![instance("hello", 3), instance("memcached", 1)],
        vec![job("migrate", JobPhase::Done, "")],
    )];
    status.settle();
    status
}

/// Much is wrong on two hosts.
pub(crate) fn troubled() -> SiteStatus {
    let mut status = converged();
    status.generation = 4;
    status.bad_site_file = Some(BadSiteFile {
        since: ago(3700),
        errors: 1,
        message: "error: unknown key `imgae`\n --> site.yaml:7:7\nhelp: did you mean `image`?".to_owned(),
    });
    status.pending = Some(Pending {
        kind: PendingKind::Removal,
        plan_id: None,
        generation: 5,
        changes: 4,
        message: "generation 5 removes 4 of 6 services".to_owned(),
        since: ago(50),
    });
    status.last_error = Some("the state directory cannot be written: No space left on device".to_owned());
    status.holds = vec![HoldStatus {
        kind: HoldKind::Stop,
        service: Some(ServiceName::new("memcached").unwrap()),
        user: "ann".to_owned(),
        reason: "moving the rack".to_owned(),
        since: ago(90_061),
        until: Some(Timestamp(NOW.0 + 7_260_000)),
    }];
    status.slots = vec![SlotStatus {
        service: ServiceName::new("hello").unwrap(),
        host: HostName::new("here").unwrap(),
        generation: 4,
        since: ago(20),
    }];

    let mut rolled_back = instance("hello", 3);
    rolled_back.restarts = 1;
    rolled_back.drift = BTreeSet::from([DriftKind::Image, DriftKind::Config]);
    rolled_back.quarantined = Some(QuarantineStatus {
        spec_hash: "1:d4735e3a265e16eee03f59718b9b5d03".to_owned(),
        generation: 4,
        reason: "exited with 3".to_owned(),
        at: ago(40),
    });
    let message = "generation 4 exited with 3 within 60s; generation 3 was put back";
    rolled_back.conditions.push(condition(ConditionType::RolledBack, true, "GateFailed", message, 40));
    let message = "not tried again until the spec changes or somebody says so";
    rolled_back.conditions.push(condition(ConditionType::Stalled, true, "Quarantined", message, 40));

    let mut held = instance("memcached", 1);
    (held.wanted, held.ready, held.state) = (Wanted::Stopped, false, InstanceState::Exited);
    held.conditions = vec![
        condition(ConditionType::Ready, false, "Stopped", "", 90_000),
        condition(ConditionType::Paused, true, "Stop", "stopped by ann: moving the rack", 90_000),
    ];

    let mut crashing = instance("web", 4);
    (crashing.ready, crashing.state, crashing.restarts) = (false, InstanceState::Restarting, 7);
    crashing.drift = BTreeSet::from([DriftKind::Stopped]);
    crashing.waiting = Some(WaitingReason::CrashLoopBackOff);
    crashing.last_error = Some("exited with 137".to_owned());
    crashing.next_step = Some("start".to_owned());
    crashing.conditions = vec![
        condition(ConditionType::Ready, false, "NotRunning", "restarting, last exit code 137", 700),
        condition(ConditionType::CrashLooping, true, "Died", "died 7 times within 10m", 700),
    ];

    let mut missing = instance("cache", 0);
    (missing.ready, missing.state, missing.spec_hash) = (false, InstanceState::Missing, String::new());
    missing.drift = BTreeSet::from([DriftKind::Missing]);
    missing.waiting = Some(WaitingReason::ImagePullBackOff);
    missing.conditions = vec![condition(ConditionType::Ready, false, "ImagePullFailed", "no such image", 60)];

    let mut unknown = instance("hello", 3);
    (unknown.ready, unknown.state) = (false, InstanceState::Unknown);
    unknown.drift = BTreeSet::from([DriftKind::Unknown]);
    unknown.conditions = vec![];

    let mut there = host("there", vec![unknown], vec![]);
    there.reachable = false;
    there.engine.events_connected = false;
    there.engine.error = Some("connection refused".to_owned());
    status.hosts = vec![
        host(
            "here",
            vec![rolled_back, held, crashing, missing],
            vec![job("migrate", JobPhase::Failed, "exited with 3")],
        ),
        there,
    ];
    status.settle();
    status
}

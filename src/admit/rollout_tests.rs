#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::desired::{HostBudget, OnFailure, Rollout};
use crate::model::peers::{Hindered, HostProgress, HostReport, Preparation, Standing};
use crate::model::time::Span;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn web() -> ServiceName {
    ServiceName::new("web").unwrap()
}

/// Hosts a, b, c: all ready, all waiting for generation 2.
struct Site {
    reports: Reports,
    taken: Taken,
}

impl Site {
    fn new() -> Self {
        let old = InstanceReport { started: true, ready: true, wanted_since: 2, ..InstanceReport::default() };
        let reports = ["a", "b", "c"].map(|name| {
            let report = HostReport {
                host: host(name),
                generation: 2,
                reachable: true,
                source_digest: String::new(),
                acts: true,
                holds_off: false,
                attempts: 0,
                services: BTreeMap::from([(web(), old.clone())]),
                filesets: BTreeMap::new(),
                drained: BTreeMap::new(),
                jobs: BTreeMap::new(),
                progress: HostProgress::default(),
            };
            (host(name), Arc::new(report))
        });
        Self { reports: reports.into(), taken: Taken::new() }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut InstanceReport)) {
        change(Arc::make_mut(self.reports.get_mut(&host(name)).unwrap()).services.get_mut(&web()).unwrap());
    }

    fn updated(&mut self, name: &str, at: i64) {
        self.change(name, |instance| {
            instance.updated = true;
            instance.updated_at = Some(Timestamp(at));
        });
    }

    fn cut_off(&mut self, name: &str) {
        Arc::make_mut(self.reports.get_mut(&host(name)).unwrap()).reachable = false;
    }

    /// One that is not ready, and what would be lost with it.
    fn not_ready(&mut self, name: &str, standing: Standing) {
        self.change(name, |instance| {
            instance.ready = false;
            instance.standing = standing;
        });
    }

    fn ask(&self, name: &str, rollout: &Rollout) -> Ask {
        let own = self.reports.get(&host(name)).and_then(|report| report.services.get(&web()));
        Ask {
            host: host(name),
            service: web(),
            generation: 2,
            wanted_since: 2,
            goes_back: false,
            standing: own.map(|own| own.standing).unwrap_or_default(),
            rollout: rollout.clone(),
            members: ["a", "b", "c"].map(host).into(),
            budgets: Vec::new(),
        }
    }

    fn may(&self, name: &str, rollout: &Rollout) -> Result<(), String> {
        may_begin(&self.ask(name, rollout), &self.reports, &self.taken, Timestamp(1000))
            .map_err(|refusal| refusal.to_string())
    }
}

fn two_at_once() -> Rollout {
    Rollout { max_unavailable: 2, ..Rollout::default() }
}

#[test]
fn the_first_in_order_goes_alone_until_it_is_ready() {
    let mut site = Site::new();
    assert_eq!(site.may("a", &two_at_once()), Ok(()));
    assert_eq!(site.may("b", &two_at_once()), Err("a goes first".to_owned()));
    assert_eq!(site.may("b", &Rollout { canary: false, ..two_at_once() }), Ok(()));
    site.updated("a", 900);
    assert_eq!(site.may("b", &two_at_once()), Ok(()));
    assert_eq!(site.may("c", &two_at_once()), Ok(()));
}

#[test]
fn a_host_that_is_cut_off_counts_as_down_and_does_not_go_first() {
    let mut site = Site::new();
    site.cut_off("a");
    assert_eq!(site.may("b", &two_at_once()), Ok(()));
    assert_eq!(site.may("b", &Rollout::default()), Err("1 of at most 1 may be down: a".to_owned()));
    assert_eq!(site.may("c", &two_at_once()), Err("b goes first".to_owned()));
}

#[test]
fn what_was_never_heard_of_counts_as_down() {
    let mut site = Site::new();
    site.reports.remove(&host("c"));
    assert_eq!(site.may("a", &Rollout::default()), Err("1 of at most 1 may be down: c".to_owned()));
}

#[test]
fn a_slot_that_is_held_counts_as_down_and_its_holder_goes_on() {
    let mut site = Site::new();
    site.taken.insert((host("a"), web()));
    assert_eq!(site.may("a", &Rollout::default()), Ok(()));
    assert_eq!(site.may("b", &Rollout::default()), Err("1 of at most 1 may be down: a".to_owned()));
}

#[test]
fn a_failure_halts_the_rollout_and_a_newer_one_goes_on() {
    let mut site = Site::new();
    site.change("a", |instance| instance.failed = true);
    assert_eq!(site.may("b", &two_at_once()), Err("the rollout is halted: it failed on a".to_owned()));
    // The failure is of an older spec than the one that is asked for now.
    site.change("a", |instance| instance.wanted_since = 1);
    assert_eq!(site.may("b", &two_at_once()), Ok(()));
}

#[test]
fn going_back_waits_for_the_budget_alone() {
    let mut site = Site::new();
    site.change("a", |instance| instance.failed = true);
    let mut ask = Ask {
        host: host("b"),
        service: web(),
        generation: 2,
        wanted_since: 2,
        goes_back: true,
        standing: Standing::Counts,
        rollout: Rollout::default(),
        members: ["a", "b", "c"].map(host).into(),
        budgets: Vec::new(),
    };
    assert_eq!(may_begin(&ask, &site.reports, &site.taken, Timestamp(1)), Ok(()));
    site.cut_off("c");
    assert!(may_begin(&ask, &site.reports, &site.taken, Timestamp(1)).is_err());
    ask.rollout.max_unavailable = 2;
    assert_eq!(may_begin(&ask, &site.reports, &site.taken, Timestamp(1)), Ok(()));
}

#[test]
fn so_many_stay_ready_as_the_quorum_asks_for() {
    let mut site = Site::new();
    let rollout = Rollout { quorum: Some(2), ..two_at_once() };
    assert_eq!(site.may("a", &rollout), Ok(()));
    site.not_ready("b", Standing::Counts);
    assert_eq!(site.may("a", &rollout), Err("only 1 others are ready, and 2 have to stay so".to_owned()));
}

#[test]
fn who_is_not_ready_for_a_moment_is_not_taken_while_another_one_is_down() {
    let mut site = Site::new();
    site.not_ready("a", Standing::Counts);
    let rollout = Rollout { quorum: Some(2), ..Rollout::default() };
    assert_eq!(site.may("a", &rollout), Ok(()), "nobody else is down");
    site.cut_off("c");
    assert_eq!(site.may("a", &rollout), Err("1 of at most 1 may be down: c".to_owned()));
    let quorum = Rollout { max_unavailable: 2, ..rollout.clone() };
    assert_eq!(site.may("a", &quorum), Err("only 1 others are ready, and 2 have to stay so".to_owned()));
}

#[test]
fn what_is_down_for_good_keeps_nobody_from_a_new_spec() {
    let mut site = Site::new();
    let rollout = Rollout { quorum: Some(2), canary: false, ..Rollout::default() };
    for name in ["a", "b", "c"] {
        site.not_ready(name, Standing::Down);
    }
    assert_eq!(site.may("a", &rollout), Ok(()));
    site.taken.insert((host("a"), web()));
    assert_eq!(site.may("b", &rollout), Ok(()), "nothing is lost with it");
}

#[test]
fn those_that_run_and_are_not_ready_for_long_go_one_at_a_time_and_with_a_quorum_of_what_runs() {
    let mut site = Site::new();
    let rollout = Rollout { quorum: Some(2), canary: false, ..Rollout::default() };
    for name in ["a", "b", "c"] {
        site.not_ready(name, Standing::Mute);
    }
    assert_eq!(site.may("a", &rollout), Ok(()), "they do not keep each other from it");
    site.taken.insert((host("a"), web()));
    assert_eq!(site.may("b", &rollout), Err("1 of at most 1 may be down: a".to_owned()));
    site.taken.clear();
    site.not_ready("c", Standing::Down);
    assert_eq!(site.may("a", &rollout), Err("only 1 others are ready, and 2 have to stay so".to_owned()));
    assert_eq!(site.may("c", &rollout), Ok(()));
    site.not_ready("c", Standing::Counts);
    let no_quorum = Rollout { quorum: None, ..rollout };
    assert_eq!(site.may("a", &no_quorum), Err("1 of at most 1 may be down: c".to_owned()), "c may be back at once");
}

#[test]
fn waves_follow_one_another() {
    let mut site = Site::new();
    let waves = vec![vec!["c".to_owned()], vec!["a".to_owned()]];
    let rollout = Rollout { waves, ..two_at_once() };
    assert_eq!(site.may("a", &rollout), Err("an earlier wave is not done: c".to_owned()));
    assert_eq!(site.may("c", &rollout), Ok(()));
    site.updated("c", 0);
    assert_eq!(site.may("a", &rollout), Ok(()));
    assert_eq!(site.may("b", &rollout), Err("an earlier wave is not done: a".to_owned()));
    // What nobody can reach is not waited for.
    site.cut_off("a");
    assert_eq!(site.may("b", &rollout), Ok(()));
}

#[test]
fn it_pauses_after_the_first_one() {
    let mut site = Site::new();
    site.updated("a", 900);
    let rollout = Rollout { pause_after: Span(500), ..two_at_once() };
    assert!(site.may("b", &rollout).unwrap_err().starts_with("it pauses after the first instance until "));
    site.change("a", |instance| instance.updated_at = Some(Timestamp(500)));
    assert_eq!(site.may("b", &rollout), Ok(()));
}

#[test]
fn hosts_of_a_group_have_a_budget_of_their_own() {
    let mut site = Site::new();
    let mut ask = Ask {
        host: host("a"),
        service: web(),
        generation: 2,
        wanted_since: 2,
        goes_back: false,
        standing: Standing::Counts,
        rollout: two_at_once(),
        members: ["a", "b", "c"].map(host).into(),
        budgets: vec![HostBudget {
            group: "control".to_owned(),
            hosts: ["a", "b"].map(host).into(),
            max_unavailable_hosts: 1,
        }],
    };
    assert_eq!(may_begin(&ask, &site.reports, &site.taken, Timestamp(1)), Ok(()));
    site.taken.insert((host("b"), ServiceName::new("db").unwrap()));
    let refusal = may_begin(&ask, &site.reports, &site.taken, Timestamp(1)).unwrap_err().to_string();
    assert_eq!(refusal, "1 of at most 1 hosts of `control` may be down: b");
    ask.budgets.clear();
    assert_eq!(may_begin(&ask, &site.reports, &site.taken, Timestamp(1)), Ok(()));
}

#[test]
fn who_has_not_heard_of_the_change_yet_still_goes_first_and_who_does_nothing_does_not() {
    let mut site = Site::new();
    let first = |site: &mut Site, change: &dyn Fn(&mut HostReport)| {
        change(Arc::make_mut(site.reports.get_mut(&host("a")).unwrap()));
        site.may("b", &two_at_once())
    };
    site.change("a", |instance| instance.wanted_since = 1);
    assert_eq!(first(&mut site, &|_| ()), Ok(()), "it has nothing to change");
    assert_eq!(first(&mut site, &|report| report.generation = 1), Err("the image is not everywhere yet: a".to_owned()));
    assert_eq!(first(&mut site, &|report| report.acts = false), Ok(()));
}

#[test]
fn nothing_is_stopped_before_the_image_is_everywhere() {
    let mut site = Site::new();
    let any = Rollout { canary: false, ..two_at_once() };
    site.change("c", |instance| instance.preparation = Preparation::Pending);
    assert_eq!(site.may("a", &any), Err("the image is not everywhere yet: c".to_owned()));
    site.updated("b", 0);
    assert_eq!(site.may("a", &any), Ok(()), "the rollout has begun: who comes back late fetches it then");
}

#[test]
fn who_cannot_get_the_image_or_cannot_be_reached_holds_nobody_up() {
    let mut site = Site::new();
    site.change("a", |instance| instance.preparation = Preparation::Pending);
    assert_eq!(site.may("b", &two_at_once()), Err("the image is not everywhere yet: a".to_owned()));
    site.change("a", |instance| instance.preparation = Preparation::Failed("no such image".to_owned()));
    assert_eq!(site.may("b", &two_at_once()), Ok(()), "nor does it go first");
    site.change("a", |instance| instance.preparation = Preparation::Pending);
    site.cut_off("a");
    assert_eq!(site.may("b", &two_at_once()), Ok(()));
    assert_eq!(site.may("b", &Rollout::default()), Err("1 of at most 1 may be down: a".to_owned()));
}

#[test]
fn who_has_not_heard_of_the_change_is_not_prepared_unless_it_holds_off() {
    let mut site = Site::new();
    let any = Rollout { canary: false, ..two_at_once() };
    let late = |site: &mut Site, change: &dyn Fn(&mut HostReport)| {
        change(Arc::make_mut(site.reports.get_mut(&host("c")).unwrap()));
        site.may("b", &any)
    };
    let expected = Err("the image is not everywhere yet: c".to_owned());
    assert_eq!(late(&mut site, &|report| report.generation = 1), expected);
    assert_eq!(late(&mut site, &|report| report.holds_off = true), Ok(()));
}

#[test]
fn going_back_waits_for_no_images() {
    let mut site = Site::new();
    site.change("c", |instance| instance.preparation = Preparation::Pending);
    let ask = Ask { goes_back: true, ..site.ask("a", &two_at_once()) };
    assert_eq!(may_begin(&ask, &site.reports, &site.taken, Timestamp(1)), Ok(()));
}

#[test]
fn a_failure_asks_those_back_that_were_changed_in_the_same_rollout() {
    let mut site = Site::new();
    let all = Rollout { on_failure: OnFailure::RollbackAll, ..two_at_once() };
    assert_eq!(failed_elsewhere(&site.ask("a", &all), &site.reports), None);
    site.change("b", |instance| instance.failed = true);
    assert_eq!(failed_elsewhere(&site.ask("a", &all), &site.reports), Some(&host("b")));
    assert_eq!(
        failed_elsewhere(&site.ask("a", &two_at_once()), &site.reports),
        None,
        "`rollback` is of the host alone"
    );
    assert_eq!(failed_elsewhere(&site.ask("b", &all), &site.reports), None, "its own failure it knows");
    site.change("b", |instance| instance.recalled = true);
    assert_eq!(failed_elsewhere(&site.ask("a", &all), &site.reports), None, "it did not fail there");
    assert_eq!(site.may("a", &all), Ok(()), "and that halts nothing: where it failed it may be tried again");
    site.change("b", |instance| (instance.recalled, instance.wanted_since) = (false, 1));
    assert_eq!(failed_elsewhere(&site.ask("a", &all), &site.reports), None, "that was another change");
}

#[test]
fn a_change_waits_for_the_machine_that_let_it_fail_and_a_newer_one_goes_past_it() {
    let mut site = Site::new();
    let hindered = |since: u64| Some(Hindered { since, reason: "the disk is full".to_owned() });
    site.change("a", |instance| instance.hindered = hindered(2));
    let waits = Err("it could not be tried on a, and is tried there again: the disk is full".to_owned());
    assert_eq!(site.may("b", &two_at_once()), waits);
    assert_eq!(site.may("a", &two_at_once()), Ok(()), "it tries again");
    site.change("a", |instance| instance.hindered = hindered(1));
    assert_eq!(site.may("b", &two_at_once()), Ok(()), "a does not go first");
    let last = Err("the last change could not be tried here, so that b goes first".to_owned());
    assert_eq!(site.may("a", &two_at_once()), last);
    site.updated("b", 0);
    site.updated("c", 0);
    assert_eq!(site.may("a", &two_at_once()), Ok(()));
}

#[test]
fn two_machines_that_let_it_fail_do_not_wait_for_each_other() {
    let mut site = Site::new();
    for name in ["a", "b"] {
        site.change(name, |instance| instance.hindered = Some(Hindered { since: 2, reason: String::new() }));
    }
    assert_eq!(site.may("a", &two_at_once()), Ok(()));
}

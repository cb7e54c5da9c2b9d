//! The decision about a procedure: single states, and whole recoveries in a small model of a Galera cluster.

use std::collections::BTreeSet;

use serde_json::json;

use super::procedure::*;
use crate::model::names::{HostName, RoleName, ServiceName};
use crate::model::peers::MemberReport;
use crate::model::procedure::{
    Auto, Instruction, OneOff, ProcedureDesired, ProcedureRecord, ProcedureStep, Rank, Refuse, Same, Whom,
};
use crate::model::time::{Span, Timestamp};
use std::sync::Arc;

fn host(number: usize) -> HostName {
    HostName::new(format!("h{number}")).unwrap()
}

fn one_off(command: &str) -> OneOff {
    OneOff { command: vec![command.to_owned()], network_mode: None, timeout: Span::seconds(60) }
}

/// `recover` as roles/mariadb has it.
fn recover() -> ProcedureDesired {
    let start = |at, variant: Option<&str>, parallel| ProcedureStep::Start {
        at,
        variant: variant.map(str::to_owned),
        parallel,
    };
    ProcedureDesired {
        role: RoleName::new("mariadb").unwrap(),
        name: "recover".to_owned(),
        service: ServiceName::new("mariadb").unwrap(),
        members: (1..=3).map(host).collect(),
        auto: Some(Auto {
            when: "peers.any('has_been_ready') and peers.none(\"running and wsrep.status == 'Primary'\")".to_owned(),
            lasts: Span::seconds(60),
        }),
        same: Some(Same { value: "datadir.uuid".to_owned(), among: Some("datadir.uuid".to_owned()) }),
        refuse: Refuse { reason: "GaleraMembersMissing".to_owned(), way_out: Some("mastic recover".to_owned()) },
        fence: BTreeSet::new(),
        steps: vec![
            ProcedureStep::Stop { at: Whom::All, grace: Some(Span::seconds(10)) },
            ProcedureStep::Probe { probe: "datadir".to_owned(), how: one_off("galera-position"), at: Whom::All },
            ProcedureStep::Choose {
                among: Some("datadir.uuid".to_owned()),
                by: vec![Rank { value: "datadir.seqno".to_owned(), largest: true }],
            },
            ProcedureStep::Run { how: one_off("galera-mark-safe"), at: Whom::Chosen },
            start(Whom::Chosen, Some("new-cluster"), None),
            start(Whom::Others, None, Some(1)),
            start(Whom::Chosen, None, None),
        ],
    }
}

fn rejoin() -> ProcedureDesired {
    ProcedureDesired {
        name: "rejoin".to_owned(),
        auto: None,
        same: None,
        steps: vec![
            ProcedureStep::Stop { at: Whom::Given, grace: None },
            ProcedureStep::Wipe {
                at: Whom::Given,
                volumes: vec!["mariadb".to_owned()],
                until: "datadir.empty".to_owned(),
                probe: "datadir".to_owned(),
                how: one_off("galera-position"),
            },
            ProcedureStep::Start { at: Whom::Given, variant: None, parallel: None },
        ],
        ..recover()
    }
}

fn stopped(seqno: Option<i64>, uuid: Option<&str>) -> MemberReport {
    let mut report = MemberReport { stopped: true, has_been_ready: true, ..MemberReport::default() };
    let value = json!({"empty": seqno.is_none(), "uuid": uuid, "seqno": seqno});
    report.values.insert("datadir".to_owned(), value);
    report
}

fn off() -> MemberReport {
    MemberReport { stopped: true, has_been_ready: true, ..MemberReport::default() }
}

fn running(status: Option<&str>) -> MemberReport {
    let mut report = MemberReport { running: true, has_been_ready: true, ..MemberReport::default() };
    if let Some(status) = status {
        report.answers = status == "Primary";
        report.values.insert("wsrep".to_owned(), json!({"status": status}));
    }
    report
}

fn members(reports: Vec<Option<MemberReport>>) -> Vec<Member> {
    let numbered = reports.into_iter().enumerate();
    numbered.map(|(index, report)| Member { host: host(index + 1), report: report.map(Arc::new) }).collect()
}

const NOW: Timestamp = Timestamp(1_000_000);

fn decided(reports: Vec<Option<MemberReport>>, record: Option<&ProcedureRecord>, since: Option<i64>) -> Decision {
    let (procedure, members) = (recover(), members(reports));
    decide(&Input { procedure: &procedure, members: &members, record, since: since.map(Timestamp), now: NOW })
}

fn begun() -> ProcedureRecord {
    ProcedureRecord { by: "auto".to_owned(), ..blank(Timestamp(0)) }
}

fn words(decision: &Decision) -> Vec<String> {
    let word = |host: &HostName| match decision.instructions.get(host).map(|instructed| &instructed.what) {
        None => "-".to_owned(),
        Some(Instruction::Leave) => "leave".to_owned(),
        Some(Instruction::Stop { .. }) => "stop".to_owned(),
        Some(Instruction::Ask { how, .. }) => how.command.join(" "),
        Some(Instruction::Start { variant }) => variant.clone().unwrap_or_else(|| "start".to_owned()),
        Some(Instruction::Wipe { .. }) => "wipe".to_owned(),
    };
    (1..=3).map(|number| word(&host(number))).collect()
}

fn refusal(decision: &Decision) -> String {
    match &decision.phase {
        Phase::Refused { reason, message } => format!("{reason}: {message}"),
        other => format!("not refused: {other:?}"),
    }
}

#[test]
fn begins_only_after_it_was_known_for_so_long_that_nobody_is_primary() {
    let down = || vec![Some(running(Some("Disconnected"))), Some(off()), Some(off())];
    let first = decided(down(), None, None);
    assert_eq!((first.phase, first.since, first.wake), (Phase::Waiting, Some(NOW), Some(NOW.plus(Span::seconds(60)))));
    assert_eq!(decided(down(), None, Some(NOW.0 - 59_999)).write, None);
    assert!(decided(down(), None, Some(NOW.0 - 60_000)).write.is_some());
    // One that does not say how it is may be Primary.
    let dumb = decided(vec![Some(running(None)), Some(off()), Some(off())], None, Some(0));
    assert_eq!((dumb.phase, dumb.write, dumb.since), (Phase::Idle, None, None));
    let healthy = decided(vec![Some(running(Some("Primary"))), Some(off()), Some(off())], None, Some(0));
    assert_eq!((healthy.phase, healthy.since), (Phase::Idle, None));
    // A cluster that never was is not recovered, but begun.
    let never = || Some(MemberReport { stopped: true, ..MemberReport::default() });
    assert_eq!(decided(vec![never(), never(), never()], None, Some(0)).phase, Phase::Idle);
}

#[test]
fn a_member_that_cannot_be_reached_is_refused_with_its_name_and_nothing_is_stopped() {
    let decision = decided(vec![Some(running(Some("Disconnected"))), Some(off()), None], None, Some(0));
    let expected = "GaleraMembersMissing: h3 cannot be reached, and may have come further than the others; \
                    to go on without: `mastic recover`";
    assert_eq!(refusal(&decision), expected);
    assert_eq!((decision.write, decision.instructions.len()), (None, 0));
    // It vanishes when it has begun: who runs is left, who is stopped stays so.
    let record = begun();
    let decision = decided(vec![Some(running(Some("Disconnected"))), Some(off()), None], Some(&record), None);
    assert_eq!(words(&decision), ["leave", "stop", "-"]);
    assert_eq!(refusal(&decision), expected);
}

#[test]
fn goes_through_its_steps_by_looking() {
    let record = begun();
    let decision = decided(vec![Some(running(Some("Disconnected"))), Some(off()), Some(off())], Some(&record), None);
    assert_eq!(words(&decision), ["stop", "stop", "stop"]);
    let decision = decided(vec![Some(off()), Some(off()), Some(stopped(Some(5), Some("u")))], Some(&record), None);
    assert_eq!(words(&decision), ["galera-position", "galera-position", "stop"]);
    let all = || {
        vec![Some(stopped(Some(7), Some("u"))), Some(stopped(Some(9), Some("u"))), Some(stopped(Some(9), Some("u")))]
    };
    let decision = decided(all(), Some(&record), None);
    let record = decision.write.unwrap();
    assert_eq!(record.chosen, Some(host(2)), "the one that came furthest, and of two the first");
    assert_eq!(words(&decided(all(), Some(&record), None)), ["stop", "galera-mark-safe", "stop"]);
    let mut safe = all();
    safe[1].as_mut().unwrap().done.insert("recover/3/0".to_owned());
    assert_eq!(words(&decided(safe, Some(&record), None)), ["stop", "new-cluster", "stop"]);
    let first = |answers: bool| {
        let status = answers.then_some("Primary");
        Some(MemberReport { variant: Some("new-cluster".to_owned()), ..running(status) })
    };
    let decision = decided(vec![Some(off()), first(false), Some(off())], Some(&record), None);
    assert_eq!(words(&decision), ["stop", "new-cluster", "stop"], "it comes up");
    let decision = decided(vec![Some(off()), first(true), Some(off())], Some(&record), None);
    assert_eq!(words(&decision), ["start", "new-cluster", "stop"], "one at a time");
    let decision = decided(vec![Some(running(None)), first(true), Some(off())], Some(&record), None);
    assert_eq!(words(&decision), ["start", "new-cluster", "stop"]);
    let up = || Some(running(Some("Primary")));
    let decision = decided(vec![up(), first(true), Some(off())], Some(&record), None);
    assert_eq!(words(&decision), ["start", "new-cluster", "start"]);
    let decision = decided(vec![up(), first(true), up()], Some(&record), None);
    assert_eq!(words(&decision), ["start", "start", "start"], "the first one becomes one of them");
    let decision = decided(vec![up(), Some(off()), up()], Some(&record), None);
    assert_eq!((words(&decision), decision.write), (vec!["start".to_owned(); 3], None));
    let decision = decided(vec![up(), up(), up()], Some(&record), None);
    let record = decision.write.unwrap();
    assert_eq!((record.ended, record.outcome.as_str()), (Some(NOW), "done"));
}

#[test]
fn a_power_cut_after_the_new_cluster_ran_voids_the_choice() {
    let record = ProcedureRecord { chosen: Some(host(2)), ..begun() };
    // Others may have come further since: what it was chosen by is not known any more.
    let decision = decided(vec![Some(off()), Some(off()), Some(off())], Some(&record), None);
    assert_eq!(words(&decision), ["stop", "stop", "stop"]);
    let record = decision.write.unwrap();
    assert_eq!((record.chosen, record.attempt, record.not_before), (None, 1, Some(NOW.plus(Span::seconds(5)))));
}

#[test]
fn data_that_does_not_belong_together_or_is_gone_is_refused() {
    let record = begun();
    let of = |uuids: [Option<&str>; 3]| uuids.map(|uuid| Some(stopped(uuid.map(|_| 5), uuid))).to_vec();
    let decision = decided(of([Some("u"), Some("v"), Some("u")]), Some(&record), None);
    let told = refusal(&decision);
    assert!(told.contains("`datadir.uuid` differs: u on h1, h3; v on h2"), "{told}");
    assert_eq!((words(&decision), decision.write), (vec!["stop".to_owned(); 3], None));
    let decision = decided(of([None, None, None]), Some(&record), None);
    let told = refusal(&decision);
    assert!(told.contains("no member has anything that could be gone on from"), "{told}");
    assert_eq!(decision.write, None, "never a new, empty cluster");
    // One that is empty takes a copy.
    let chosen = decided(of([None, Some("u"), None]), Some(&record), None).write.unwrap().chosen;
    assert_eq!(chosen, Some(host(2)));
    // Half a copy has a directory and no position.
    let mut half = of([Some("u"), Some("u"), None]);
    half[2] = Some(stopped(Some(-1), None));
    assert_eq!(decided(half, Some(&record), None).write.unwrap().chosen, Some(host(1)));
}

#[test]
fn a_person_goes_on_without_a_member_but_not_from_nothing() {
    let record = ProcedureRecord { forced: Some(host(1)), by: "ada".to_owned(), ..begun() };
    let decision = decided(vec![Some(stopped(Some(5), Some("u"))), Some(off()), None], Some(&record), None);
    assert_eq!(decision.write.unwrap().chosen, Some(host(1)));
    let decision = decided(vec![Some(stopped(None, None)), Some(off()), None], Some(&record), None);
    assert!(refusal(&decision).contains("h1 has nothing that could be gone on from"), "{}", refusal(&decision));
    let up = MemberReport { variant: Some("new-cluster".to_owned()), ..running(Some("Primary")) };
    let record = ProcedureRecord { chosen: Some(host(1)), ..record };
    let decision = decided(vec![Some(up.clone()), None, None], Some(&record), None);
    assert_eq!(words(&decision), ["new-cluster", "stop", "stop"], "alone it must not become a joiner of nobody");
    let decision = decided(vec![Some(up), Some(running(Some("Primary"))), None], Some(&record), None);
    assert_eq!(words(&decision), ["start", "start", "start"]);
}

#[test]
fn what_is_needed_no_longer_ends_and_what_is_not_known_stops_nobody() {
    let record = begun();
    let decision = decided(vec![Some(running(Some("Primary"))), Some(off()), Some(off())], Some(&record), None);
    assert_eq!(decision.write.unwrap().outcome, "it is no longer needed");
    assert!(decision.instructions.is_empty());
    let decision = decided(vec![Some(running(None)), Some(off()), Some(off())], Some(&record), None);
    assert_eq!(
        (words(&decision), decision.write),
        (vec!["leave".to_owned(), "stop".to_owned(), "stop".to_owned()], None)
    );
}

#[test]
fn one_that_rejoins_is_wiped_once_and_only_after_that_is_written_down() {
    let procedure = rejoin();
    let decided_of = |report: Option<MemberReport>, record: &ProcedureRecord| {
        let up = || Some(running(Some("Primary")));
        let members = members(vec![up(), up(), report]);
        decide(&Input { procedure: &procedure, members: &members, record: Some(record), since: None, now: NOW })
    };
    let decided = |report: MemberReport, record: &ProcedureRecord| decided_of(Some(report), record);
    let record = ProcedureRecord { given: Some(host(3)), by: "ada".to_owned(), ..begun() };
    assert_eq!(decided_of(None, &record).write, None, "that it is stopped is not known before it says so");
    assert_eq!(words(&decided(running(Some("Primary")), &record)), ["-", "-", "stop"]);
    let decision = decided(off(), &record);
    assert_eq!(words(&decision), ["-", "-", "stop"]);
    let record = decision.write.unwrap();
    assert!(record.wiped);
    assert_eq!(words(&decided(off(), &record)), ["-", "-", "wipe"], "what is beyond repair says nothing");
    assert_eq!(words(&decided(stopped(Some(5), Some("u")), &record)), ["-", "-", "wipe"]);
    let wiped = |mut report: MemberReport| {
        report.done.insert("rejoin/1/0".to_owned());
        report
    };
    assert_eq!(words(&decided(wiped(off()), &record)), ["-", "-", "galera-position"]);
    let full = wiped(stopped(Some(5), Some("u")));
    assert_eq!(words(&decided(full, &record)), ["-", "-", "stop"], "it is wiped no second time");
    assert_eq!(words(&decided(wiped(stopped(None, None)), &record)), ["-", "-", "start"]);
    assert_eq!(words(&decided(stopped(None, None), &record)), ["-", "-", "start"], "there is nothing to wipe");
    assert_eq!(words(&decided(running(None), &record)), ["-", "-", "start"], "it takes its copy");
    assert_eq!(decided(running(Some("Primary")), &record).write.unwrap().outcome, "done");
}

#[test]
fn nothing_is_wiped_while_nobody_is_there_to_take_a_copy_of() {
    let procedure = rejoin();
    for wiped in [false, true] {
        let record = ProcedureRecord { given: Some(host(3)), by: "ada".to_owned(), wiped, ..begun() };
        for other in [None, Some(off()), Some(running(None)), Some(stopped(Some(9), Some("u")))] {
            let members = members(vec![other.clone(), other.clone(), Some(stopped(Some(5), Some("u")))]);
            let decision = decide(&Input {
                procedure: &procedure,
                members: &members,
                record: Some(&record),
                since: None,
                now: NOW,
            });
            assert_eq!(words(&decision), ["-", "-", "stop"], "{other:?}");
            assert_eq!(decision.write, None, "{other:?}");
            assert!(matches!(decision.phase, Phase::Refused { .. }), "{other:?}: {:?}", decision.phase);
        }
    }
}

/// Numbers that look random: the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % most
    }
}

/// A cluster of three as far as a recovery has to do with it.
struct Model {
    random: Dice,
    nodes: Vec<Node>,
    record: Option<ProcedureRecord>,
    since: Option<Timestamp>,
    now: Timestamp,
    /// The highest committed write.
    committed: i64,
}

#[derive(Clone, Debug, Default)]
struct Node {
    reachable: bool,
    running: bool,
    primary: bool,
    variant: Option<String>,
    seqno: Option<i64>,
    /// Its host's word on its data, while that counts.
    known: bool,
    done: BTreeSet<String>,
    /// What its loop was told last: it may lag.
    told: Option<Instruction>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let node = Node { reachable: true, running: true, primary: true, seqno: Some(100), ..Node::default() };
        Self {
            random: Dice(seed.wrapping_mul(2).wrapping_add(1)),
            nodes: vec![node; 3],
            record: None,
            since: None,
            now: Timestamp(0),
            committed: 100,
        }
    }

    fn members(&self) -> Vec<Member> {
        let report = |node: &Node| {
            let mut report = MemberReport {
                running: node.running,
                stopped: !node.running,
                answers: node.primary,
                has_been_ready: true,
                variant: node.variant.clone(),
                done: node.done.clone(),
                ..MemberReport::default()
            };
            if node.running {
                let status = if node.primary { "Primary" } else { "Disconnected" };
                report.values.insert("wsrep".to_owned(), json!({"status": status}));
            } else if node.known {
                let uuid = node.seqno.map(|_| "u");
                let value = json!({"empty": node.seqno.is_none(), "uuid": uuid, "seqno": node.seqno});
                report.values.insert("datadir".to_owned(), value);
            }
            report
        };
        members(self.nodes.iter().map(|node| node.reachable.then(|| report(node))).collect())
    }

    /// Power is cut; some writes had been applied here, and not there.
    fn cut(&mut self) {
        for index in 0..3 {
            self.cut_one(index);
        }
    }

    fn cut_one(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        // The engine starts again what it was not told to stop, but for variants.
        let comes_back = node.running && node.variant.is_none();
        if node.running {
            node.known = false;
            node.done.clear();
        }
        (node.running, node.primary) = (comes_back, false);
    }

    fn write(&mut self) {
        if self.nodes.iter().any(|node| node.primary) {
            self.committed += 1;
            let committed = self.committed;
            let mut applied = false;
            let order = self.random.below(3);
            for offset in 0..3 {
                let lags = applied && (self.random.below(2) == 0);
                let node = &mut self.nodes[(order + offset) % 3];
                if node.primary && !lags {
                    node.seqno = Some(committed);
                    applied = true;
                }
            }
        }
    }

    /// One turn of all loops: the leader writes, each does what it is told, at its own pace.
    fn turn(&mut self) {
        let procedure = recover();
        self.now = self.now.plus(Span::seconds(5));
        let members = self.members();
        let decision = decide(&Input {
            procedure: &procedure,
            members: &members,
            record: self.record.as_ref(),
            since: self.since,
            now: self.now,
        });
        self.since = decision.since;
        if let Some(write) = decision.write
            && members.iter().any(|member| member.report.is_some())
        {
            self.record = Some(write);
        }
        for index in 0..3 {
            if self.nodes[index].reachable {
                self.nodes[index].told =
                    decision.instructions.get(&host(index + 1)).map(|instructed| instructed.what.clone());
                if self.random.below(10) < 7 {
                    self.act(index);
                }
            }
        }
        self.check();
    }

    fn act(&mut self, index: usize) {
        let cluster = self.nodes.iter().any(|node| node.primary);
        let furthest = self.nodes.iter().filter(|node| node.primary).filter_map(|node| node.seqno).max();
        let node = &mut self.nodes[index];
        let start = |node: &mut Node| {
            node.running = true;
            node.known = false;
            node.done.clear();
        };
        match node.told.clone() {
            Some(Instruction::Stop { .. }) => (node.running, node.primary) = (false, false),
            Some(Instruction::Ask { key, gives_value, .. }) if !node.running => {
                if gives_value {
                    node.known = true;
                } else {
                    node.done.insert(key);
                }
            }
            Some(Instruction::Start { variant: Some(variant) }) => {
                if node.variant.as_ref() != Some(&variant) {
                    assert!(!node.running, "what runs is stopped first");
                    node.variant = Some(variant);
                } else if !node.running {
                    assert!(!cluster, "a second cluster was begun beside one that is there");
                    assert_eq!(node.seqno, Some(self.committed), "committed writes are lost");
                    start(node);
                } else {
                    node.primary = true;
                }
            }
            Some(Instruction::Start { variant: None }) | None => {
                if node.variant.is_some() {
                    if cluster && node.running && self.nodes.iter().filter(|node| node.primary).count() < 3 {
                        return;
                    }
                    let node = &mut self.nodes[index];
                    (node.running, node.primary, node.variant) = (false, false, None);
                } else if !node.running {
                    // Without a procedure's word a dead one is not started where there is no cluster.
                    if cluster || node.told.is_some() {
                        start(node);
                    }
                } else if cluster {
                    node.primary = true;
                    node.seqno = furthest;
                }
            }
            _ => {}
        }
    }

    fn check(&self) {
        let founders =
            self.nodes.iter().filter(|node| node.running && node.variant.as_deref() == Some("new-cluster")).count();
        assert!(founders < 2, "two run as new-cluster at once");
    }

    fn is_well(&self) -> bool {
        self.nodes.iter().all(|node| node.primary && node.variant.is_none())
            && self.record.as_ref().is_none_or(|record| record.ended.is_some())
    }
}

#[test]
fn whatever_is_cut_off_at_whatever_moment_it_ends_with_all_writes_and_never_two_clusters() {
    for seed in 0..400 {
        let mut model = Model::new(seed);
        let mut wiped = false;
        for _ in 0..120 {
            match model.random.below(20) {
                0 => model.cut(),
                1 => {
                    let index = model.random.below(3);
                    model.cut_one(index);
                }
                2 => {
                    let index = model.random.below(3);
                    model.nodes[index].reachable ^= true;
                }
                3 => {
                    // The disk of one that is not needed is lost, once.
                    let index = model.random.below(3);
                    let last = model.nodes[index].seqno == Some(model.committed);
                    if !wiped && !model.nodes[index].running && !last {
                        wiped = true;
                        model.nodes[index].seqno = None;
                        model.nodes[index].known = false;
                    }
                }
                _ => {}
            }
            model.write();
            model.turn();
        }
        // The faults stop.
        for node in &mut model.nodes {
            node.reachable = true;
        }
        let mut turns = 0;
        while !model.is_well() {
            turns += 1;
            assert!(turns < 600, "seed {seed}: {:?} {:?}", model.nodes, model.record);
            model.turn();
        }
        assert!(model.nodes.iter().any(|node| node.seqno == Some(model.committed)), "seed {seed}");
    }
}

#[test]
fn what_is_not_known_leads_to_no_start_as_a_new_cluster_and_to_no_wipe() {
    let values = [None, Some(off()), Some(running(None)), Some(running(Some("Disconnected")))];
    let records = [None, Some(begun()), Some(ProcedureRecord { chosen: Some(host(1)), ..begun() })];
    for record in &records {
        for number in 0..64_usize {
            let reports = [number % 4, number / 4 % 4, number / 16].map(|index| values[index].clone());
            let decision = decided(reports.to_vec(), record.as_ref(), Some(0));
            let word = words(&decision);
            assert!(!word.iter().any(|word| word == "new-cluster" || word == "wipe"), "{reports:?}: {word:?}");
            let unknown = reports
                .iter()
                .any(|report| report.as_ref().is_none_or(|report| report.running && report.values.is_empty()));
            if unknown {
                let stops = reports
                    .iter()
                    .zip(&word)
                    .any(|(report, word)| word == "stop" && report.as_ref().is_some_and(|report| report.running));
                assert!(!stops, "{reports:?}: {word:?}");
            }
        }
    }
}

//! What a procedure does next: a pure function of what the members say, of the record, and of the time.
//!
//! There is no program counter. The current step is found by looking: behind the last start whose members are ready as it
//! wants them, or at it where its member comes up; and where there is none, at the first of the steps before the first
//! start that does not hold. So whatever dies at whatever moment, what comes after goes on from what is there. Only what
//! cannot be looked up is in the record: that it was begun, and who was chosen. A choice stands as long as what it was
//! made by; whoever goes back to finding that out chooses anew.
//!
//! What is not known triggers nothing, stops nothing, chooses nobody.

mod choice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::model::names::{HostName, ServiceName};
use crate::model::peers::{MemberReport, Reports};
use crate::model::procedure::{Instructed, Instruction, ProcedureDesired, ProcedureRecord, ProcedureStep, Whom};
use crate::model::time::{Span, Timestamp};
use crate::render::expression::{self, Answer, Facts};

/// The first wait before a choice is made again; it doubles.
const AGAIN: Span = Span::seconds(5);
/// The longest one.
const AGAIN_MOST: Span = Span::seconds(300);

/// One member as it is known.
#[derive(Clone, Debug)]
pub struct Member {
    /// Host.
    pub host: HostName,
    /// Its own word; none where it cannot be reached or has not said anything.
    pub report: Option<Arc<MemberReport>>,
}

/// Where a procedure is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing to do.
    Idle,
    /// It will begin if this stays so.
    Waiting,
    /// It cannot begin or go on without a person or a member that is missing.
    Refused {
        /// In CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
    /// A step is under way.
    Active {
        /// Which, from 0.
        step: usize,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where it is.
    pub phase: Phase,
    /// What each member is to do; who is not in it is planned as ever.
    pub instructions: BTreeMap<HostName, Instructed>,
    /// What is to be written before anything else is done.
    pub write: Option<ProcedureRecord>,
    /// Since when what triggers it is so.
    pub since: Option<Timestamp>,
    /// When to look again, if nothing happens.
    pub wake: Option<Timestamp>,
}

/// All that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The procedure.
    pub procedure: &'a ProcedureDesired,
    /// All members, in the order of the site.
    pub members: &'a [Member],
    /// What stands in the record, ended or not.
    pub record: Option<&'a ProcedureRecord>,
    /// Since when what triggers it has been so.
    pub since: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// The members of a procedure by the words of their hosts.
pub fn members(procedure: &ProcedureDesired, reports: &Reports) -> Vec<Member> {
    members_of(&procedure.service, &procedure.members, reports)
}

/// The members of a service by the words of their hosts.
pub fn members_of(service: &ServiceName, hosts: &[HostName], reports: &Reports) -> Vec<Member> {
    let known = |host: &HostName| {
        let report = reports.get(host).filter(|report| report.reachable)?;
        report.services.get(service)?.member.clone().map(Arc::new)
    };
    hosts.iter().map(|host| Member { host: host.clone(), report: known(host) }).collect()
}

/// What expressions see of a member. `ordinal` is its place in the site, from 1.
pub fn facts(member: &Member, ordinal: usize) -> Facts {
    let mut facts = Facts::new();
    facts.insert("name".to_owned(), json!(member.host.as_str()));
    facts.insert("ordinal".to_owned(), json!(ordinal));
    let Some(report) = &member.report else { return facts };
    facts.insert("running".to_owned(), json!(report.running));
    facts.insert("ready".to_owned(), json!(report.answers));
    facts.insert("has_been_ready".to_owned(), json!(report.has_been_ready));
    facts.insert("variant".to_owned(), json!(report.variant));
    facts.extend(report.values.iter().map(|(name, value)| (name.clone(), value.clone())));
    facts
}

/// The facts of all.
pub fn facts_of(members: &[Member]) -> Vec<Facts> {
    members.iter().enumerate().map(|(index, member)| facts(member, index + 1)).collect()
}

/// What the result of a command that a step runs is called.
fn key_of(procedure: &ProcedureDesired, step: usize, attempt: u32) -> String {
    format!("{}/{step}/{attempt}", procedure.name)
}

/// Decides.
pub fn decide(input: &Input<'_>) -> Decision {
    match input.record.filter(|record| record.ended.is_none()) {
        Some(record) => Deciding::new(input, record).decide(),
        None => begin(input),
    }
}

fn quiet(phase: Phase) -> Decision {
    Decision { phase, instructions: BTreeMap::new(), write: None, since: None, wake: None }
}

/// Whether what triggers it is so: for all, and for those alone that can be reached.
fn triggered(input: &Input<'_>) -> (Answer, Answer) {
    let Some(auto) = &input.procedure.auto else { return (Answer::Unknown, Answer::Unknown) };
    let all = facts_of(input.members);
    let own = Facts::new();
    let reached: Vec<Facts> = all
        .iter()
        .zip(input.members)
        .filter(|(_, member)| member.report.is_some())
        .map(|(facts, _)| facts.clone())
        .collect();
    let of_reached = if reached.is_empty() { Answer::Unknown } else { expression::ask(&auto.when, &own, &reached) };
    (expression::ask(&auto.when, &own, &all), of_reached)
}

/// One that does not go on: whether it begins.
fn begin(input: &Input<'_>) -> Decision {
    let Some(auto) = &input.procedure.auto else { return quiet(Phase::Idle) };
    let (of_all, of_reached) = triggered(input);
    if of_reached != Answer::True {
        return quiet(Phase::Idle);
    }
    let since = input.since.unwrap_or(input.now);
    let due = since.plus(auto.lasts);
    let waiting = Decision { since: Some(since), wake: Some(due), ..quiet(Phase::Waiting) };
    if input.now < due {
        return waiting;
    }
    let missing = missing(input.members);
    if missing.is_empty() && of_all == Answer::True {
        let record = ProcedureRecord { began: input.now, by: "auto".to_owned(), ..blank(input.now) };
        return Decision { write: Some(record), ..waiting };
    }
    if missing.is_empty() {
        return waiting;
    }
    Decision { wake: None, phase: refused(input.procedure, &cut_off(&missing)), ..waiting }
}

/// A record that says nothing yet.
pub fn blank(now: Timestamp) -> ProcedureRecord {
    ProcedureRecord {
        began: now,
        by: String::new(),
        chosen: None,
        forced: None,
        given: None,
        attempt: 0,
        not_before: None,
        wiped: false,
        ended: None,
        outcome: String::new(),
    }
}

fn missing(members: &[Member]) -> Vec<&str> {
    members.iter().filter(|member| member.report.is_none()).map(|member| member.host.as_str()).collect()
}

fn cut_off(missing: &[&str]) -> String {
    format!("{} cannot be reached, and may have come further than the others", missing.join(", "))
}

fn refused(procedure: &ProcedureDesired, why: &str) -> Phase {
    let way_out = procedure.refuse.way_out.as_ref().map(|way| format!("; to go on without: `{way}`"));
    let message = format!("{why}{}", way_out.unwrap_or_default());
    Phase::Refused { reason: procedure.refuse.reason.clone(), message }
}

struct Deciding<'a> {
    input: &'a Input<'a>,
    procedure: &'a ProcedureDesired,
    record: &'a ProcedureRecord,
    facts: Vec<Facts>,
}

impl<'a> Deciding<'a> {
    fn new(input: &'a Input<'a>, record: &'a ProcedureRecord) -> Self {
        Self { input, procedure: input.procedure, record, facts: facts_of(input.members) }
    }

    fn indices(&self, at: Whom) -> Vec<usize> {
        let members = self.input.members;
        let is = |index: usize, host: Option<&HostName>| Some(&members[index].host) == host;
        let chosen = self.record.chosen.as_ref();
        let given = self.record.given.as_ref();
        (0..members.len())
            .filter(|index| match at {
                Whom::All => true,
                Whom::Chosen => is(*index, chosen),
                Whom::Others => chosen.is_some() && !is(*index, chosen),
                Whom::Given => is(*index, given),
            })
            .collect()
    }

    fn report(&self, index: usize) -> Option<&'a MemberReport> {
        self.input.members[index].report.as_deref()
    }

    /// Whether a start has brought about what it is for.
    fn is_started(&self, at: Whom, variant: Option<&String>) -> bool {
        let known: Vec<&MemberReport> = self.indices(at).into_iter().filter_map(|index| self.report(index)).collect();
        // Who cannot be reached is not waited for; but if that is all of them, nothing has come up.
        !known.is_empty() && known.iter().all(|report| report.answers && report.variant.as_ref() == variant)
    }

    /// Whether a start of a variant comes up.
    fn is_coming_up(&self, at: Whom, variant: Option<&String>) -> bool {
        let is_up = |index: usize| {
            self.report(index).is_some_and(|report| report.running && report.variant.as_ref() == variant)
        };
        // A service as it is may run for any reason, unless it has just been wiped.
        let is_ours = variant.is_some() || at == Whom::Given && self.record.wiped;
        is_ours && self.indices(at).into_iter().any(is_up)
    }

    fn first_start(&self) -> usize {
        let is_start = |step: &ProcedureStep| matches!(step, ProcedureStep::Start { .. });
        self.procedure.steps.iter().position(is_start).unwrap_or(self.procedure.steps.len())
    }

    /// The step behind the last start that is done, or the one that comes up.
    fn behind_starts(&self) -> Option<usize> {
        let steps = self.procedure.steps.iter().enumerate().rev();
        steps
            .filter_map(|(index, step)| match step {
                ProcedureStep::Start { at, variant, .. } => Some((index, *at, variant.as_ref())),
                _ => None,
            })
            .find_map(|(index, at, variant)| {
                if self.is_started(at, variant) && !self.is_before_wipe() {
                    Some(index + 1)
                } else {
                    self.is_coming_up(at, variant).then_some(index)
                }
            })
    }

    /// Whether one that is not to be wiped is known to be ready.
    fn has_source(&self, at: Whom) -> bool {
        let wiped = self.indices(at);
        (0..self.input.members.len())
            .filter(|index| !wiped.contains(index))
            .any(|index| self.report(index).is_some_and(|report| report.answers))
    }

    /// One that is to be wiped may be ready all the while before.
    fn is_before_wipe(&self) -> bool {
        self.procedure.steps.iter().any(|step| matches!(step, ProcedureStep::Wipe { .. })) && !self.record.wiped
    }

    fn decide(&self) -> Decision {
        let steps = self.procedure.steps.len();
        if let Some(current) = self.behind_starts() {
            return if current >= steps { self.over("done") } else { self.active(current) };
        }
        // From here on something may be stopped: only while it is known that there is nothing to be lost.
        if self.procedure.auto.is_some() {
            let (of_all, of_reached) = triggered(self.input);
            let answer = if self.record.forced.is_some() { of_reached } else { of_all };
            match answer {
                Answer::True => {}
                Answer::False => return self.over("it is no longer needed"),
                Answer::Unknown => return self.not_known(of_reached),
            }
        }
        let first = self.first_start();
        let current = (0..first).find(|index| !self.holds(*index)).unwrap_or(first);
        self.at(current)
    }

    /// Nothing is stopped or chosen by what is not known; what was stopped stays so.
    fn not_known(&self, of_reached: Answer) -> Decision {
        let missing = missing(self.input.members);
        let (phase, told) = if missing.is_empty() || of_reached != Answer::True {
            (Phase::Active { step: 0 }, None)
        } else {
            let phase = refused(self.procedure, &cut_off(&missing));
            let told = told(&phase);
            (phase, told)
        };
        let why = format!("procedure {}: not all members are known", self.procedure.name);
        let instructions = self
            .for_known(|report| if report.running { Instruction::Leave } else { Instruction::Stop { grace: None } });
        Decision {
            phase,
            instructions: instructed(instructions, &why, told.as_ref()),
            write: None,
            since: None,
            wake: None,
        }
    }

    fn for_known(&self, what: impl Fn(&MemberReport) -> Instruction) -> BTreeMap<HostName, Instruction> {
        let members = self.input.members.iter();
        members.filter_map(|member| Some((member.host.clone(), what(member.report.as_ref()?)))).collect()
    }

    /// Whether a step before the first start holds.
    fn holds(&self, index: usize) -> bool {
        let known = |at: Whom| self.indices(at).into_iter().filter_map(|index| self.report(index)).collect::<Vec<_>>();
        // Of one that was named, nothing is true before it is known.
        let is_known = |at: Whom| !matches!(at, Whom::Given | Whom::Chosen) || !known(at).is_empty();
        match &self.procedure.steps[index] {
            ProcedureStep::Stop { at, .. } => is_known(*at) && known(*at).iter().all(|report| report.stopped),
            ProcedureStep::Probe { probe, at, .. } => match &self.record.forced {
                // What the others have does not matter any more.
                Some(forced) => {
                    let of = |member: &&Member| member.host == *forced;
                    let report = self.input.members.iter().find(of).and_then(|member| member.report.as_ref());
                    report.is_some_and(|report| report.values.contains_key(probe))
                }
                None => is_known(*at) && known(*at).iter().all(|report| report.values.contains_key(probe)),
            },
            ProcedureStep::Choose { .. } => self.record.chosen.is_some(),
            ProcedureStep::Run { at, .. } => {
                let key = key_of(self.procedure, index, self.record.attempt);
                let targets = known(*at);
                !targets.is_empty() && targets.iter().all(|report| report.done.contains(&key))
            }
            ProcedureStep::Wipe { at, until, probe, .. } => {
                self.record.wiped
                    && self.indices(*at).into_iter().all(|index| {
                        self.report(index).is_some_and(|report| report.values.contains_key(probe))
                            && expression::ask_of_member(until, &self.facts[index]) == Answer::True
                    })
            }
            ProcedureStep::Start { .. } => false,
        }
    }

    /// A step before or at the first start.
    fn at(&self, current: usize) -> Decision {
        let choose = self.procedure.steps.iter().position(|step| matches!(step, ProcedureStep::Choose { .. }));
        if choose.is_some_and(|choose| current <= choose) && self.record.chosen.is_some() {
            // What it was chosen by is not so any more.
            let attempt = self.record.attempt + 1;
            let record = ProcedureRecord {
                chosen: None,
                attempt,
                not_before: Some(self.input.now.plus(wait(attempt))),
                ..self.record.clone()
            };
            let mut decision = self.active(0);
            decision.instructions.retain(|_, instructed| matches!(instructed.what, Instruction::Stop { .. }));
            return Decision { write: Some(record), ..decision };
        }
        match self.procedure.steps.get(current) {
            Some(ProcedureStep::Choose { among, by }) => self.choose(current, among.as_deref(), by),
            Some(ProcedureStep::Wipe { at, .. }) if !self.has_source(*at) => {
                // What was stopped stays so.
                let decision = self.active(current.saturating_sub(1));
                let phase = refused(self.procedure, "no other member is ready, from which a copy could be taken");
                let told = told(&phase);
                let mut instructions = decision.instructions;
                for instructed in instructions.values_mut() {
                    instructed.refused.clone_from(&told);
                }
                Decision { phase, instructions, ..quiet(Phase::Idle) }
            }
            Some(ProcedureStep::Wipe { .. }) if !self.record.wiped => {
                // That it was begun is known before it is.
                let record = ProcedureRecord { wiped: true, ..self.record.clone() };
                Decision { write: Some(record), ..self.active(current.saturating_sub(1)) }
            }
            _ => self.active(current),
        }
    }

    /// What each member does while a step is under way: what the last step that is about it says.
    fn active(&self, current: usize) -> Decision {
        let mut instructions: BTreeMap<HostName, Instruction> = BTreeMap::new();
        for (index, step) in self.procedure.steps.iter().enumerate().take(current + 1) {
            let is_current = index == current;
            match step {
                ProcedureStep::Stop { at, grace } => {
                    self.tell(&mut instructions, *at, |_, _| Some(Instruction::Stop { grace: *grace }));
                }
                ProcedureStep::Probe { probe, how, at } => self.tell(&mut instructions, *at, |_, report| {
                    let asks = is_current && report.stopped && !report.values.contains_key(probe);
                    asks.then(|| Instruction::Ask { key: probe.clone(), how: how.clone(), gives_value: true })
                }),
                ProcedureStep::Choose { .. } => {}
                ProcedureStep::Run { how, at } => self.tell(&mut instructions, *at, |_, report| {
                    let key = key_of(self.procedure, index, self.record.attempt);
                    let runs = is_current && report.stopped && !report.done.contains(&key);
                    runs.then(|| Instruction::Ask { key, how: how.clone(), gives_value: false })
                }),
                ProcedureStep::Wipe { at, volumes, until, probe, how } => {
                    let key = key_of(self.procedure, index, self.record.attempt);
                    self.tell(&mut instructions, *at, |index, report| {
                        if !is_current || !self.record.wiped || !report.stopped {
                            return None;
                        }
                        let is_known = report.values.contains_key(probe);
                        if is_known && expression::ask_of_member(until, &self.facts[index]) == Answer::True {
                            return None;
                        }
                        // What is beyond repair gives no answer before it is gone, and it goes once.
                        if !report.done.contains(&key) {
                            return Some(Instruction::Wipe { key: key.clone(), volumes: volumes.clone() });
                        }
                        let ask = || Instruction::Ask { key: probe.clone(), how: how.clone(), gives_value: true };
                        (!is_known).then(ask)
                    });
                }
                ProcedureStep::Start { at, variant, parallel } => {
                    let may = if is_current {
                        self.starting(*at, *parallel)
                    } else {
                        self.indices(*at).into_iter().collect()
                    };
                    self.tell(&mut instructions, *at, |index, _| {
                        may.contains(&index).then(|| Instruction::Start { variant: variant.clone() })
                    });
                }
            }
        }
        let step = &self.procedure.steps[current.min(self.procedure.steps.len() - 1)];
        let why = format!(
            "procedure {}, step {} of {}: {}",
            self.procedure.name,
            current + 1,
            self.procedure.steps.len(),
            word(step)
        );
        let phase = Phase::Active { step: current };
        Decision { phase, instructions: instructed(instructions, &why, None), write: None, since: None, wake: None }
    }

    fn tell(
        &self,
        instructions: &mut BTreeMap<HostName, Instruction>,
        at: Whom,
        what: impl Fn(usize, &MemberReport) -> Option<Instruction>,
    ) {
        let unknown = MemberReport::default();
        for index in self.indices(at) {
            // One that cannot be reached is told all the same: it may hear it, and it may be back.
            let report = self.report(index).unwrap_or(&unknown);
            if let Some(what) = what(index, report) {
                instructions.insert(self.input.members[index].host.clone(), what);
            }
        }
    }

    /// Who may be starting: those that are ready, those that run, and of the rest as many as may come up at a time.
    fn starting(&self, at: Whom, parallel: Option<u32>) -> BTreeSet<usize> {
        let all = self.indices(at);
        let is = |index: &usize, what: fn(&MemberReport) -> bool| self.report(*index).is_some_and(what);
        let (mut may, rest): (BTreeSet<usize>, Vec<usize>) = {
            let (up, rest): (Vec<usize>, Vec<usize>) =
                all.into_iter().partition(|index| is(index, |report| report.running || report.answers));
            (up.into_iter().collect(), rest)
        };
        let coming = may.iter().filter(|index| !is(index, |report| report.answers)).count();
        let most = parallel.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let known = rest.into_iter().filter(|index| self.report(*index).is_some());
        may.extend(known.take(most.saturating_sub(coming)));
        may
    }

    fn over(&self, outcome: &str) -> Decision {
        let record =
            ProcedureRecord { ended: Some(self.input.now), outcome: outcome.to_owned(), ..self.record.clone() };
        Decision { write: Some(record), ..quiet(Phase::Idle) }
    }
}

/// How long to wait before the choice that follows so many that came to nothing.
fn wait(attempt: u32) -> Span {
    Span(AGAIN.0.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(AGAIN_MOST.0))
}

fn told(phase: &Phase) -> Option<(String, String)> {
    match phase {
        Phase::Refused { reason, message } => Some((reason.clone(), message.clone())),
        _ => None,
    }
}

fn instructed(
    instructions: BTreeMap<HostName, Instruction>,
    why: &str,
    refused: Option<&(String, String)>,
) -> BTreeMap<HostName, Instructed> {
    let with = |what| Instructed { what, why: why.to_owned(), refused: refused.cloned() };
    instructions.into_iter().map(|(host, what)| (host, with(what))).collect()
}

/// A step in a word.
pub const fn word(step: &ProcedureStep) -> &'static str {
    match step {
        ProcedureStep::Stop { .. } => "stop",
        ProcedureStep::Probe { .. } => "probe",
        ProcedureStep::Choose { .. } => "choose",
        ProcedureStep::Run { .. } => "run",
        ProcedureStep::Start { .. } => "start",
        ProcedureStep::Wipe { .. } => "wipe",
    }
}

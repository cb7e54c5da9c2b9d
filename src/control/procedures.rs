//! Procedures of a site, as one host sees them: decides with the words of all, takes what is said about its own instances,
//! and writes the record where it is the one to do so.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admit::procedure::{self, Decision, Input, Phase};
use crate::model::desired::HostDesired;
use crate::model::names::HostName;
use crate::model::peers::Reports;
use crate::model::procedure::{Instructed, Instruction, ProcedureDesired, ProcedureRecord, ProcedureStep};
use crate::model::time::Timestamp;
use crate::plan::host::Orders;
use crate::plan::step::Subject;
use crate::port::coordinator::Record;
use crate::render::expression::{self, Answer, Facts};
use crate::report::event::Severity;

use super::command::{Outcome, OutcomeCode, Recover};
use super::reconciler::Reconciler;

/// A decision that is written down leads to another; more than so many would be a mistake.
const ROUNDS: usize = 8;

/// What is known of procedures.
#[derive(Debug, Default)]
pub(super) struct Procedures {
    /// What they say about this host.
    pub(super) orders: Orders,
    /// When to look again.
    pub(super) wake: Option<Timestamp>,
    /// By the name of its record: since when what begins it has been so.
    since: BTreeMap<String, Timestamp>,
    /// Where each is.
    phases: BTreeMap<String, Phase>,
}

/// What stands in a record; what cannot be read stands for nothing that goes on.
fn read(record: Option<&Record>) -> Option<ProcedureRecord> {
    serde_json::from_value(record?.content.clone()).ok()
}

impl Reconciler {
    /// Decides anew, and has what this changes planned.
    pub(super) async fn decide_procedures(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        let before = std::mem::take(&mut self.procedures.orders);
        self.procedures.wake = None;
        let slotless = self.refused.keys().cloned().collect();
        if desired.procedures.is_empty() && desired.behaviours.is_empty() {
            self.procedures.orders = Orders { slotless, ..Orders::default() };
            return;
        }
        self.forget_values(&desired);
        let reports = self.all_reports(&desired);
        let mut orders = Orders { held: held(&desired, &reports), slotless, ..Orders::default() };
        for procedure in &desired.procedures {
            let is_busy = orders.instructions.contains_key(&procedure.service);
            match self.decide_one(&desired, procedure, &reports, is_busy).await {
                Some(decision) => self.take_decision(&desired, procedure, decision, &reports, &mut orders),
                // Nobody knows what was agreed on: what was said stands, and nothing begins.
                None => {
                    if let Some(instructed) = before.instructions.get(&procedure.service) {
                        orders.instructions.insert(procedure.service.clone(), instructed.clone());
                    }
                }
            }
        }
        for service in desired.services.keys() {
            let same = before.instructions.get(service) == orders.instructions.get(service)
                && before.held.get(service) == orders.held.get(service)
                && before.refused.get(service) == orders.refused.get(service);
            if !same {
                self.dirty.insert(Subject::Service(service.clone()));
            }
        }
        self.procedures.orders = orders;
    }

    /// The words of all, with the newest of this host.
    pub(super) fn all_reports(&self, desired: &HostDesired) -> Reports {
        let mut reports = self.reports.borrow().as_ref().clone();
        reports.insert(desired.host.clone(), Arc::new(self.build_report(desired)));
        reports
    }

    /// None where the record cannot be read.
    async fn decide_one(
        &mut self,
        desired: &HostDesired,
        procedure: &ProcedureDesired,
        reports: &Reports,
        is_busy: bool,
    ) -> Option<Decision> {
        let members = procedure::members(procedure, reports);
        let name = procedure.record_name();
        let leads = leader(procedure, reports) == Some(&desired.host) && self.mode.act;
        for _ in 0..ROUNDS {
            let found = self.ports.coordinator.record(&name).await.ok()?;
            let record = read(found.as_ref());
            let decision = procedure::decide(&Input {
                procedure,
                members: &members,
                record: record.as_ref(),
                since: self.procedures.since.get(&name).copied(),
                now: self.now(),
            });
            match decision.since {
                Some(since) => drop(self.procedures.since.insert(name.clone(), since)),
                None => drop(self.procedures.since.remove(&name)),
            }
            let Some(write) = decision.write.as_ref().filter(|_| leads) else { return Some(decision) };
            // One procedure at a time.
            if is_busy && record.as_ref().is_none_or(|record| record.ended.is_some()) {
                return Some(decision);
            }
            let over = found.as_ref().map_or(0, |found| found.revision);
            let content = serde_json::to_value(write).ok()?;
            if self.ports.coordinator.put_record(&name, over, content).await.ok()? {
                self.tell_of(procedure, record.as_ref(), write);
            }
        }
        None
    }

    fn tell_of(&mut self, procedure: &ProcedureDesired, before: Option<&ProcedureRecord>, after: &ProcedureRecord) {
        let (service, name) = (procedure.service.to_string(), &procedure.name);
        let was_active = before.is_some_and(|before| before.ended.is_none());
        let (severity, reason, message) = match (&after.ended, was_active, &after.chosen) {
            (Some(_), _, _) => (Severity::Normal, "ProcedureEnded", format!("procedure {name}: {}", after.outcome)),
            (None, false, _) => {
                (Severity::Warning, "ProcedureBegan", format!("procedure {name}, wanted by {}", after.by))
            }
            (None, true, Some(chosen)) => (Severity::Normal, "ProcedureChose", format!("procedure {name}: {chosen}")),
            (None, true, None) if after.attempt > before.map_or(0, |before| before.attempt) => {
                let message = format!("procedure {name}: what its choice was made by is not so any more");
                (Severity::Warning, "ProcedureGoesBack", message)
            }
            (None, true, None) => return,
        };
        self.tell(severity, reason, &service, &message);
    }

    fn take_decision(
        &mut self,
        desired: &HostDesired,
        procedure: &ProcedureDesired,
        decision: Decision,
        reports: &Reports,
        orders: &mut Orders,
    ) {
        let name = procedure.record_name();
        if let Phase::Refused { reason, message } = &decision.phase {
            orders.refused.insert(procedure.service.clone(), (reason.clone(), message.clone()));
        }
        let is_active = !decision.instructions.is_empty();
        if let Some(own) = decision.instructions.get(&desired.host) {
            orders.instructions.entry(procedure.service.clone()).or_insert_with(|| own.clone());
        }
        for service in procedure.fence.iter().filter(|_| is_active) {
            let why = format!("procedure {} of {}", procedure.name, procedure.service);
            let left = Instructed { what: Instruction::Leave, why, refused: None };
            orders.instructions.entry(service.clone()).or_insert(left);
        }
        if let Some(wake) = decision.wake {
            self.procedures.wake = Some(self.procedures.wake.map_or(wake, |before| before.min(wake)));
        }
        let before = self.procedures.phases.insert(name, decision.phase.clone());
        if before.as_ref() == Some(&decision.phase) {
            return;
        }
        // One of them tells it for all.
        let leads = leader(procedure, reports) == Some(&desired.host) && self.mode.act;
        if let (Phase::Refused { reason, message }, true) = (&decision.phase, leads) {
            let message = format!("procedure {}: {message}", procedure.name);
            self.tell(Severity::Warning, reason, procedure.service.as_str(), &message);
        }
    }
}

/// A person's word on a procedure.
impl Reconciler {
    /// Writes down that a procedure is to begin, or from where it is to go on.
    pub(super) async fn recover(&mut self, asked: &Recover) -> Outcome {
        let Some(desired) = self.desired.clone() else { return refused("there is no desired state yet") };
        let of_role: Vec<_> =
            desired.procedures.iter().filter(|procedure| procedure.role.as_str() == asked.role).collect();
        let Some(procedure) = of_role.iter().find(|procedure| procedure.name == asked.procedure) else {
            let names: Vec<&str> = of_role.iter().map(|procedure| procedure.name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let (role, name) = (&asked.role, &asked.procedure);
            return refused(format!("there is no procedure `{name}` of the role `{role}` here; there are: {known}"));
        };
        if let Err(why) = check(procedure, asked) {
            return refused(why);
        }
        self.forget_stopped(&procedure.service);
        // Another one about the same service would tell its instances something else.
        for other in desired.procedures.iter().filter(|other| other.service == procedure.service) {
            if other.name == procedure.name {
                continue;
            }
            let Ok(found) = self.ports.coordinator.record(&other.record_name()).await else {
                return unreadable();
            };
            if read(found.as_ref()).is_some_and(|record| record.ended.is_none()) {
                return refused(format!("the procedure {} is under way", other.name));
            }
        }
        let name = procedure.record_name();
        for _ in 0..ROUNDS {
            let Ok(found) = self.ports.coordinator.record(&name).await else { return unreadable() };
            let before = read(found.as_ref()).filter(|record| record.ended.is_none());
            let record = match &before {
                // What its members have is asked again.
                Some(record) if record.forced == asked.from && record.given == asked.host => {
                    return Outcome::done(format!("the procedure {} is on its way", procedure.name));
                }
                Some(record) if asked.from.is_some() => ProcedureRecord {
                    by: asked.user.clone(),
                    chosen: None,
                    forced: asked.from.clone(),
                    not_before: None,
                    ..record.clone()
                },
                Some(_) => return refused(format!("the procedure {} is under way already", procedure.name)),
                None => ProcedureRecord {
                    by: asked.user.clone(),
                    forced: asked.from.clone(),
                    given: asked.host.clone(),
                    ..procedure::blank(self.now())
                },
            };
            let over = found.as_ref().map_or(0, |found| found.revision);
            let Ok(content) = serde_json::to_value(&record) else { return unreadable() };
            match self.ports.coordinator.put_record(&name, over, content).await {
                Ok(true) => {
                    let from = asked.from.as_ref().map(|from| format!(", from {from} whatever is lost"));
                    let message =
                        format!("procedure {}, wanted by {}{}", procedure.name, asked.user, from.unwrap_or_default());
                    self.tell(Severity::Warning, "ProcedureBegan", procedure.service.as_str(), &message);
                    return Outcome::done(format!("the procedure {} begins", procedure.name));
                }
                Ok(false) => {}
                Err(_) => return unreadable(),
            }
        }
        unreadable()
    }
}

fn refused(message: impl Into<String>) -> Outcome {
    Outcome::not(OutcomeCode::Refused, message)
}

fn unreadable() -> Outcome {
    Outcome::not(OutcomeCode::Failed, "what hosts have agreed on cannot be read or written now")
}

/// Whether what a person says is what the procedure takes.
fn check(procedure: &ProcedureDesired, asked: &Recover) -> Result<(), String> {
    let steps = &procedure.steps;
    let chooses = steps.iter().any(|step| matches!(step, ProcedureStep::Choose { .. }));
    let wipes = steps.iter().any(|step| matches!(step, ProcedureStep::Wipe { .. }));
    let members: Vec<&str> = procedure.members.iter().map(HostName::as_str).collect();
    for host in asked.from.iter().chain(&asked.host) {
        if !procedure.members.contains(host) {
            return Err(format!("{host} has no {}; there are: {}", procedure.service, members.join(", ")));
        }
    }
    let (name, risky) = (&procedure.name, asked.from.is_some() || wipes);
    match (&asked.from, &asked.host) {
        (Some(_), _) if !chooses => Err(format!("the procedure {name} chooses nobody: leave `--from` out")),
        (_, None) if wipes => Err(format!("the procedure {name} is about one host: `--on HOST`")),
        (_, Some(_)) if !wipes => Err(format!("the procedure {name} is about all hosts: leave `--on` out")),
        _ if risky && !asked.accept_data_loss => {
            Err("data may be lost: say that it may with `--accept-data-loss`".to_owned())
        }
        _ => Ok(()),
    }
}

/// The first member that can be reached and does something.
fn leader<'a>(procedure: &'a ProcedureDesired, reports: &Reports) -> Option<&'a HostName> {
    procedure.members.iter().find(|host| reports.get(*host).is_some_and(|report| report.reachable && report.acts))
}

/// The services of this host that are not to be started when they are dead. A service on one host has nobody to wait for.
fn held(desired: &HostDesired, reports: &Reports) -> BTreeMap<crate::model::names::ServiceName, String> {
    let expressions = desired.behaviours.iter().filter_map(|(service, behaviour)| {
        let hosts = desired.placement.get(service.as_str()).filter(|hosts| hosts.len() > 1)?;
        Some((service, behaviour.hold_unless.as_ref()?, hosts))
    });
    let asked = expressions.filter_map(|(service, text, hosts)| {
        let members = procedure::members_of(service, hosts, reports);
        let facts = procedure::facts_of(&members);
        let nothing = Facts::new();
        let own = hosts.iter().position(|host| *host == desired.host).and_then(|index| facts.get(index));
        let word = match expression::ask(text, own.unwrap_or(&nothing), &facts) {
            Answer::True => return None,
            Answer::False => "is not so",
            Answer::Unknown => "is not known",
        };
        Some((service.clone(), format!("it is not started while this {word}: {text}")))
    });
    asked.collect()
}

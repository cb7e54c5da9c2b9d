//! Leading clients away before an instance is stopped for a change: what the instances of this host wish, and what its
//! load balancers do for those of all hosts.
//!
//! Nothing is remembered of what a load balancer was told. It is told again and again how each server is to be, and says
//! how each is; so what a crash has left is put right by whoever comes next. A wish is as good: it is there while an
//! instance is to be stopped, and until it is ready again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::admit::drain::{self, Stays};
use crate::execute::value;
use crate::model::desired::{Hook, HostDesired};
use crate::model::drain::{Drained, DrainedServers};
use crate::model::hold::HoldKind;
use crate::model::names::ServiceName;
use crate::model::time::{Span, Timestamp};
use crate::plan::host;
use crate::plan::step::{Step, Subject};
use crate::report::event::Severity;

use super::reconciler::Reconciler;

/// Between two commands while nobody is led away: somebody may have changed it by hand.
const STEADY: Duration = Duration::from_secs(30);

/// So long it is waited until clients are led to an instance again. A load balancer that does not do it keeps nobody waiting.
const BACK: Duration = Duration::from_secs(30);

/// What was asked of a load balancer: of which start of its container, and since when which servers are to be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    container: (String, String),
    wishes: BTreeMap<String, Timestamp>,
}

/// A question that was answered, or not.
pub(super) type Asked = (ServiceName, Question, Result<DrainedServers, String>);

/// An instance that wants its clients led away.
#[derive(Debug)]
struct Wish {
    since: Timestamp,
    began: Instant,
    /// It wants them back since then.
    ended: Option<Instant>,
}

/// A load balancer.
#[derive(Debug, Default)]
struct Balancer {
    in_flight: bool,
    due: Option<Instant>,
    tried: Option<Question>,
    why_not: Option<String>,
    said: DrainedServers,
}

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Drains {
    wishes: BTreeMap<ServiceName, Wish>,
    balancers: BTreeMap<ServiceName, Balancer>,
    /// Commands under way.
    pub(super) asking: JoinSet<Asked>,
}

impl Drains {
    /// Since when an instance wants its clients led away.
    pub(super) fn wish(&self, service: &ServiceName) -> Option<Timestamp> {
        self.wishes.get(service).filter(|wish| wish.ended.is_none()).map(|wish| wish.since)
    }

    /// Whether it is not over yet: clients are not led to it again.
    pub(super) fn is_open(&self, service: &ServiceName) -> bool {
        self.wishes.contains_key(service)
    }

    /// What load balancers say of servers that they were asked to leave.
    pub(super) fn said(&self) -> BTreeMap<ServiceName, DrainedServers> {
        let said = self.balancers.iter().filter(|(_, balancer)| !balancer.said.is_empty());
        said.map(|(service, balancer)| (service.clone(), balancer.said.clone())).collect()
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        let ends = self.wishes.values().filter_map(|wish| Some(wish.ended? + BACK));
        let asks = self.balancers.values().filter(|balancer| !balancer.in_flight).filter_map(|balancer| balancer.due);
        ends.chain(asks).min()
    }

    /// Services that clients are not led to yet, and load balancers that have something left to do.
    pub(super) fn open(&self) -> impl Iterator<Item = &ServiceName> {
        let back = self.wishes.iter().filter(|(_, wish)| wish.ended.is_some()).map(|(service, _)| service);
        back.chain(self.balancers.iter().filter(|(_, balancer)| balancer.tried.is_none()).map(|(service, _)| service))
    }

    /// What a load balancer said does not count any more.
    fn forget(&mut self, service: &ServiceName) {
        if let Some(balancer) = self.balancers.get_mut(service) {
            balancer.tried = None;
            balancer.said.clear();
        }
    }
}

/// How a server is, as the command of its load balancer prints it.
#[derive(Deserialize)]
struct Server {
    state: String,
    sessions: u64,
}

/// The servers that were to be left and get no new clients. One that the load balancer does not know gets none either.
fn read(output: &str, wishes: &BTreeMap<String, Timestamp>) -> Result<DrainedServers, String> {
    let printed = value(output).ok_or("it printed no JSON")?;
    let mut servers: BTreeMap<String, Server> =
        serde_json::from_value(printed).map_err(|error| format!("it printed something else: {error}"))?;
    let said = wishes.iter().filter_map(|(name, since)| match servers.remove(name) {
        Some(server) if server.state == "ready" => None,
        Some(server) => Some((name.clone(), Drained { since: *since, sessions: server.sessions })),
        None => Some((name.clone(), Drained { since: *since, sessions: 0 })),
    });
    Ok(said.collect())
}

/// As one whose clients are led away.
impl Reconciler {
    /// Services whose clients are not gone yet.
    pub(super) fn visited(&self) -> BTreeSet<ServiceName> {
        let Some(desired) = &self.desired else { return BTreeSet::new() };
        let is_asked = |service: &&ServiceName| self.granted.contains(*service);
        desired
            .drains
            .keys()
            .filter(is_asked)
            .filter(|service| self.stays(desired, service).is_err())
            .cloned()
            .collect()
    }

    /// Whether clients of a service are gone; none of the reasons where it has not begun to wish it.
    fn stays(&self, desired: &HostDesired, service: &ServiceName) -> Result<(), Option<Stays>> {
        let Some(drain) = desired.drains.get(service) else { return Ok(()) };
        let wish = self.drains.wishes.get(service).filter(|wish| wish.ended.is_none()).ok_or(None)?;
        let reports = self.all_reports(desired);
        drain::is_gone(drain, wish.since, Span::from(wish.began.elapsed()), &reports).map_err(Some)
    }

    /// Why an instance that is to be stopped is not stopped yet, for people.
    pub(super) fn draining(&self, desired: &HostDesired, service: &ServiceName) -> Option<String> {
        self.stays(desired, service).err().flatten().map(|stays| stays.to_string())
    }

    /// An instance is to be stopped, and has the slot for it.
    pub(super) fn wish(&mut self, service: &ServiceName) {
        if self.drains.wish(service).is_some() {
            return;
        }
        let wish = Wish { since: self.now(), began: Instant::now(), ended: None };
        self.drains.wishes.insert(service.clone(), wish);
        let timeout = self.desired.as_ref().and_then(|desired| desired.drains.get(service)).map(|drain| drain.timeout);
        let message = format!("its clients are led away, for at most {}", timeout.unwrap_or(Span::ZERO));
        self.tell(Severity::Normal, "Draining", service.as_str(), &message);
    }

    /// Ends wishes of those that are there again, and takes up those of a loop before this one.
    pub(super) fn note_wishes(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        if desired.drains.is_empty() || !self.mode.act {
            self.drains.wishes.clear();
            return;
        }
        self.drains.wishes.retain(|service, _| desired.drains.contains_key(service));
        let now = self.now();
        for (service, drain) in &desired.drains {
            let has_slot = self.granted.contains(service) || self.to_release.contains(service);
            let wishes = has_slot && self.is_away(&desired, service);
            let wish = self.drains.wishes.get(service);
            match (wishes, wish.map(|wish| wish.ended)) {
                (true, None | Some(Some(_))) if !self.is_ready_here(&desired, service) => {
                    let wish = Wish { since: now, began: Instant::now(), ended: None };
                    self.drains.wishes.insert(service.clone(), wish);
                }
                (false, Some(None)) => {
                    if let Some(wish) = self.drains.wishes.get_mut(service) {
                        wish.ended = Some(Instant::now());
                    }
                }
                (_, Some(Some(ended)))
                    if ended.elapsed() >= BACK || drain::is_put_back(drain, &self.all_reports(&desired)) =>
                {
                    self.drains.wishes.remove(service);
                }
                _ => {}
            }
        }
    }

    /// Whether an instance that has the slot is to be stopped, or is not there again.
    fn is_away(&self, desired: &HostDesired, service: &ServiceName) -> bool {
        let subject = Subject::Service(service.clone());
        let is_to_go = self.plans.get(&subject).is_some_and(|plan| plan.disrupts && plan.drains);
        is_to_go || self.in_flight.contains_key(&subject) || !self.is_ready_here(desired, service)
    }

    fn is_ready_here(&self, desired: &HostDesired, service: &ServiceName) -> bool {
        let nothing = crate::model::peers::Reports::new();
        let input = self.input(desired, &self.proven, &nothing);
        host::service_here(&input, service).is_some_and(|state| state.ready)
    }

    /// When the time of clients is over.
    pub(super) fn clients_until(&self) -> Option<Instant> {
        let desired = self.desired.as_ref()?;
        let wishes = self.drains.wishes.iter().filter(|(_, wish)| wish.ended.is_none());
        let ends =
            wishes.filter_map(|(service, wish)| Some(wish.began + desired.drains.get(service)?.timeout.duration()));
        // What has passed was seen by the turn before.
        ends.filter(|end| *end > Instant::now()).min()
    }
}

/// As one that leads clients.
impl Reconciler {
    /// Tells load balancers how their servers are to be, as far as that is due.
    pub(super) fn lead(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        let Some(commands) = self.ports.commands.clone().filter(|_| self.observer.is_connected()) else {
            self.drains.balancers.clear();
            return;
        };
        self.drains.balancers.retain(|service, _| desired.balancers.contains_key(service));
        let now = Instant::now();
        for (service, balancer) in &desired.balancers {
            let Some(question) = self.question(&desired, service) else {
                self.drains.balancers.remove(service);
                continue;
            };
            let known = self.drains.balancers.entry(service.clone()).or_default();
            let is_due = known.tried.as_ref() != Some(&question) || known.due.is_none_or(|due| due <= now);
            if known.in_flight || !is_due {
                continue;
            }
            known.in_flight = true;
            let words = balancer.servers.keys().map(|server| {
                let state = if question.wishes.contains_key(server) { "drain" } else { "ready" };
                format!("{server}={state}")
            });
            let hook = Hook { command: balancer.command.iter().cloned().chain(words).collect(), ..Hook::default() };
            let (service, timeout, commands) = (service.clone(), balancer.timeout, commands.clone());
            self.drains.asking.spawn(async move {
                let outcome = commands.command(&question.container.0, &hook, timeout).await;
                let said = match outcome {
                    Ok(outcome) if outcome.exit_code == 0 => read(&outcome.output, &question.wishes),
                    Ok(outcome) => {
                        let first = outcome.output.trim().lines().next().unwrap_or_default();
                        Err(format!("exit code {}: {first}", outcome.exit_code))
                    }
                    Err(error) => Err(error.to_string()),
                };
                (service, question, said)
            });
        }
    }

    /// What a load balancer is to be asked now; none where there is nobody to ask, or a person wants it left alone.
    fn question(&self, desired: &HostDesired, service: &ServiceName) -> Option<Question> {
        // What is said while it is told of other files, or stopped, is soon not so any more.
        if self.in_flight.contains_key(&Subject::Service(service.clone())) {
            return None;
        }
        let now = self.now();
        let is_left = |hold: &crate::model::hold::Hold| {
            hold.kind == HoldKind::Pause && hold.is_active(now) && hold.covers(service)
        };
        if self.memory.holds.iter().any(is_left) {
            return None;
        }
        let spec = desired.services.get(service)?;
        let container = self.observer.observed.containers.get(spec.container_name.as_str())?;
        let is_ours = container.is_labelled(desired.site.as_str(), desired.host.as_str());
        if !container.is_running() || !is_ours {
            return None;
        }
        let reports = self.reports.borrow();
        let wishes = desired.balancers.get(service)?.servers.iter().filter_map(|(server, (host, service))| {
            let since =
                if *host == desired.host { self.drains.wish(service) } else { drain::wish(&reports, host, service) };
            Some((server.clone(), since?))
        });
        Some(Question {
            container: (container.id.clone(), container.state.started_at.clone()),
            wishes: wishes.collect(),
        })
    }

    /// Takes an answer over.
    pub(super) fn take_led(&mut self, answer: Result<Asked, JoinError>) {
        let Ok((service, question, said)) = answer else {
            self.drains.balancers.clear();
            return;
        };
        let every = self.desired.as_ref().and_then(|desired| desired.balancers.get(&service));
        let every = every.map_or(STEADY, |balancer| balancer.every.duration());
        let Some(balancer) = self.drains.balancers.get_mut(&service) else { return };
        balancer.in_flight = false;
        let is_busy = !question.wishes.is_empty() || said.is_err();
        balancer.due = Some(Instant::now() + if is_busy { every } else { STEADY });
        balancer.tried = Some(question);
        let why_not = match said {
            Ok(said) => {
                balancer.said = said;
                None
            }
            Err(why) => {
                balancer.said.clear();
                Some(why)
            }
        };
        if balancer.why_not != why_not {
            balancer.why_not.clone_from(&why_not);
            if let Some(why) = why_not {
                let message = format!("it cannot be told whom to lead clients to: {why}");
                self.tell(Severity::Warning, "DrainFailed", service.as_str(), &message);
            }
        }
    }

    /// A step begins, or has ended, after which a load balancer may know nothing of what it was told.
    pub(super) fn note_untold(&mut self, subject: &Subject, step: &Step) {
        if let Subject::Service(service) = subject
            && matches!(step, Step::Reload { .. } | Step::Restart { .. } | Step::Stop { .. } | Step::Start { .. })
        {
            self.drains.forget(service);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_gets_no_new_clients_is_drained_and_what_is_not_known_there_as_well() {
        let wishes: BTreeMap<String, Timestamp> =
            ["web/a", "web/b", "web/c", "web/d"].map(|name| (name.to_owned(), Timestamp(5))).into();
        let output = r#"{"web/a": {"state": "drain", "sessions": 2}, "web/b": {"state": "ready", "sessions": 0},
            "web/c": {"state": "maint", "sessions": 0}, "web/x": {"state": "drain", "sessions": 0}}"#;
        let said = read(output, &wishes).unwrap();
        let drained = |sessions| Drained { since: Timestamp(5), sessions };
        let expected = [("web/a", 2), ("web/c", 0), ("web/d", 0)];
        assert_eq!(said, expected.map(|(name, sessions)| (name.to_owned(), drained(sessions))).into());
        assert!(read("not ready", &wishes).is_err() && read("{\"web/a\": 1}", &wishes).is_err());
    }
}

//! Whether a host may disrupt its instance of a service now, seen from the whole site. Pure.
//!
//! In: the rules of the service's rollout, what every host last said of itself, and who holds a slot. Out: yes, or the
//! first reason why not. What is not known counts as down.

use std::collections::BTreeSet;

use crate::model::desired::OnFailure;
use crate::model::names::{HostName, ServiceName};
use crate::model::peers::{Ask, InstanceReport, Preparation, Reports, Standing};
use crate::model::time::Timestamp;

/// Why it may not begin now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The spec has failed on a host.
    #[error("the rollout is halted: it failed on {0}")]
    Halted(HostName),
    /// As many as may be are down, or not known to be up.
    #[error("{} of at most {most} may be down: {}", down.len(), names(down))]
    Budget {
        /// Who is, or may soon be, down.
        down: Vec<HostName>,
        /// How many may be.
        most: u32,
    },
    /// Too few would stay ready.
    #[error("only {ready} others are ready, and {quorum} have to stay so")]
    Quorum {
        /// Others that are ready.
        ready: u32,
        /// How many must be.
        quorum: u32,
    },
    /// Somebody else has not got what it needs yet: nothing is stopped before all images are everywhere.
    #[error("the image is not everywhere yet: {}", names(.0))]
    Preparing(Vec<HostName>),
    /// The change could not be tried on a host, and nobody knows yet whether it is good.
    #[error("it could not be tried on {0}, and is tried there again: {1}")]
    Hindered(HostName, String),
    /// The host could not try the change before this one: those go first that can.
    #[error("the last change could not be tried here, so that {0} goes first")]
    Last(HostName),
    /// The first instance has to show that it is good.
    #[error("{0} goes first")]
    Canary(HostName),
    /// An earlier wave is not done.
    #[error("an earlier wave is not done: {0}")]
    Wave(HostName),
    /// The pause after the first one.
    #[error("it pauses after the first instance until {0}")]
    Pause(Timestamp),
    /// Too many hosts of a group are being worked on.
    #[error("{} of at most {most} hosts of `{group}` may be down: {}", down.len(), names(down))]
    Hosts {
        /// Group.
        group: String,
        /// Who is.
        down: Vec<HostName>,
        /// How many may be.
        most: u32,
    },
}

impl Refusal {
    /// Whether it ends without anybody doing anything.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Pause(_))
    }
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

/// A slot that is taken: by whom, and of which service.
pub type Taken = BTreeSet<(HostName, ServiceName)>;

/// Decides. `taken` may hold the slot of the one who asks: what has begun goes on.
pub fn may_begin(ask: &Ask, reports: &Reports, taken: &Taken, now: Timestamp) -> Result<(), Refusal> {
    if taken.contains(&(ask.host.clone(), ask.service.clone())) {
        return Ok(());
    }
    let view = View { ask, reports, taken };
    if !ask.goes_back {
        view.halt()?;
    }
    view.budget()?;
    view.quorum()?;
    if !ask.goes_back {
        view.hindrances()?;
        view.preparations()?;
        view.waves()?;
        view.canary(now)?;
    }
    view.hosts()
}

/// Whether the spec failed there, and not only elsewhere.
fn has_failed(instance: &InstanceReport) -> bool {
    instance.failed && !instance.recalled
}

/// The host on which the change has failed that an instance was part of: with `on_failure: rollback-all` the instance goes
/// back as well.
pub fn failed_elsewhere<'a>(ask: &'a Ask, reports: &Reports) -> Option<&'a HostName> {
    if ask.rollout.on_failure != OnFailure::RollbackAll {
        return None;
    }
    ask.members.iter().filter(|host| **host != ask.host).find(|host| {
        let instance = reports.get(*host).and_then(|report| report.services.get(&ask.service));
        instance.is_some_and(|instance| has_failed(instance) && instance.wanted_since == ask.wanted_since)
    })
}

struct View<'a> {
    ask: &'a Ask,
    reports: &'a Reports,
    taken: &'a Taken,
}

impl View<'_> {
    fn others(&self) -> impl Iterator<Item = &HostName> {
        self.ask.members.iter().filter(|host| **host != self.ask.host)
    }

    /// Whether something may still be expected of a host: it can be reached, acts, and has the change before it or has not
    /// heard of it yet. Of one that cannot get the image nothing is, until it can.
    fn may_come(&self, host: &HostName) -> bool {
        let acts = self.reports.get(host).is_some_and(|report| report.reachable && report.acts);
        let can = || !self.cannot_prepare(host) && !self.was_hindered_before(host);
        let has_it_before_it = || self.takes_part(host) && !self.is_updated(host) && can();
        acts && (self.is_late(host) || has_it_before_it())
    }

    fn is_late(&self, host: &HostName) -> bool {
        self.reports.get(host).is_some_and(|report| report.generation < self.ask.generation && !report.holds_off)
    }

    /// Whether the machine let an earlier change than this one fail: it is not to keep the others from what may be urgent.
    fn was_hindered_before(&self, host: &HostName) -> bool {
        let hindered = self.report(host).and_then(|instance| instance.hindered.as_ref());
        hindered.is_some_and(|hindered| hindered.since < self.ask.wanted_since)
    }

    fn cannot_prepare(&self, host: &HostName) -> bool {
        self.report(host).is_some_and(|instance| matches!(instance.preparation, Preparation::Failed(_)))
    }

    fn is_preparing(&self, host: &HostName) -> bool {
        self.report(host).is_some_and(|instance| instance.preparation == Preparation::Pending && !instance.failed)
    }

    fn is_reachable(&self, host: &HostName) -> bool {
        self.reports.get(host).is_some_and(|report| report.reachable)
    }

    fn report(&self, host: &HostName) -> Option<&InstanceReport> {
        self.reports.get(host)?.services.get(&self.ask.service)
    }

    fn is_up(&self, host: &HostName) -> bool {
        self.is_reachable(host)
            && self.report(host).is_some_and(|instance| instance.ready)
            && !self.taken.contains(&(host.clone(), self.ask.service.clone()))
    }

    /// Whether a host takes part in the rollout that the one who asks is part of.
    fn takes_part(&self, host: &HostName) -> bool {
        self.report(host).is_some_and(|instance| instance.wanted_since >= self.ask.wanted_since)
    }

    fn is_updated(&self, host: &HostName) -> bool {
        self.takes_part(host) && self.report(host).is_some_and(|instance| instance.updated)
    }

    fn halt(&self) -> Result<(), Refusal> {
        let failed = |host: &&HostName| self.takes_part(host) && self.report(host).is_some_and(has_failed);
        match self.others().find(failed) {
            Some(host) => Err(Refusal::Halted(host.clone())),
            None => Ok(()),
        }
    }

    /// Whether nobody is to expect that an instance will be ready again as it is.
    fn is_given_up(&self, host: &HostName) -> bool {
        self.is_reachable(host)
            && self.report(host).is_some_and(|instance| !instance.ready && instance.standing != Standing::Counts)
            && !self.taken.contains(&(host.clone(), self.ask.service.clone()))
    }

    /// What is down for good cannot be taken down: two that fail on their old spec must not keep each other from a new one.
    /// Who is not ready for a moment is none of these. One that runs and only says no goes one at a time.
    fn budget(&self) -> Result<(), Refusal> {
        let is_in_the_way = |host: &&HostName| match self.ask.standing {
            Standing::Counts => !self.is_up(host),
            Standing::Mute => !self.is_up(host) && !self.is_given_up(host),
            Standing::Down => false,
        };
        let down: Vec<HostName> = self.others().filter(is_in_the_way).cloned().collect();
        let most = self.ask.rollout.max_unavailable;
        if u32::try_from(down.len()).unwrap_or(u32::MAX) < most {
            return Ok(());
        }
        Err(Refusal::Budget { down, most })
    }

    fn quorum(&self) -> Result<(), Refusal> {
        if self.ask.standing == Standing::Down {
            return Ok(());
        }
        let Some(quorum) = self.ask.rollout.quorum else { return Ok(()) };
        let counts = |host: &&HostName| match self.ask.standing {
            Standing::Counts | Standing::Down => self.is_up(host),
            // Of those that run and say no nobody knows whether they count on each other.
            Standing::Mute => self.is_up(host) || self.is_mute(host),
        };
        let ready = u32::try_from(self.others().filter(counts).count()).unwrap_or(u32::MAX);
        if ready >= quorum { Ok(()) } else { Err(Refusal::Quorum { ready, quorum }) }
    }

    fn is_mute(&self, host: &HostName) -> bool {
        self.is_given_up(host) && self.report(host).is_some_and(|instance| instance.standing == Standing::Mute)
    }

    /// A change that a machine let fail waits for that machine, and is the first to be tried there; a newer one goes past it.
    fn hindrances(&self) -> Result<(), Refusal> {
        let hindered_in_this = |host: &HostName| {
            let hindered = self.report(host).and_then(|instance| instance.hindered.as_ref());
            hindered.filter(|hindered| hindered.since >= self.ask.wanted_since)
        };
        if self.was_hindered_before(&self.ask.host) {
            let open = self.others().find(|host| self.may_come(host));
            return open.map_or(Ok(()), |host| Err(Refusal::Last(host.clone())));
        }
        if hindered_in_this(&self.ask.host).is_some() {
            return Ok(());
        }
        let first =
            self.others().filter(|host| self.is_reachable(host)).find_map(|host| Some((host, hindered_in_this(host)?)));
        match first {
            Some((host, hindered)) => Err(Refusal::Hindered(host.clone(), hindered.reason.clone())),
            None => Ok(()),
        }
    }

    /// Before the first stop of a rollout all that take part have the image. Who comes back later fetches it then.
    fn preparations(&self) -> Result<(), Refusal> {
        if self.others().any(|host| self.is_updated(host)) {
            return Ok(());
        }
        let is_open = |host: &&HostName| self.may_come(host) && (self.is_late(host) || self.is_preparing(host));
        let open: Vec<HostName> = self.others().filter(is_open).cloned().collect();
        if open.is_empty() { Ok(()) } else { Err(Refusal::Preparing(open)) }
    }

    fn wave(&self, host: &HostName) -> usize {
        let waves = &self.ask.rollout.waves;
        waves.iter().position(|wave| wave.iter().any(|name| name == host.as_str())).unwrap_or(waves.len())
    }

    fn waves(&self) -> Result<(), Refusal> {
        let mine = self.wave(&self.ask.host);
        let open = |host: &&HostName| self.wave(host) < mine && self.may_come(host);
        match self.others().find(open) {
            Some(host) => Err(Refusal::Wave(host.clone())),
            None => Ok(()),
        }
    }

    fn canary(&self, now: Timestamp) -> Result<(), Refusal> {
        let rollout = &self.ask.rollout;
        let done: Vec<&HostName> = self.others().filter(|host| self.is_updated(host)).collect();
        if done.is_empty() {
            if !rollout.canary && rollout.pause_after.0 == 0 {
                return Ok(());
            }
            // A host that cannot be reached does not hold the others up: the next one goes first.
            let mut takers: Vec<&HostName> =
                self.ask.members.iter().filter(|host| **host == self.ask.host || self.may_come(host)).collect();
            takers.sort_by_key(|host| self.wave(host));
            return match takers.first() {
                Some(first) if **first != self.ask.host => Err(Refusal::Canary((*first).clone())),
                _ => Ok(()),
            };
        }
        let first = done.iter().filter_map(|host| self.report(host)?.updated_at).min();
        match first.map(|first| first.plus(rollout.pause_after)) {
            Some(until) if now < until => Err(Refusal::Pause(until)),
            _ => Ok(()),
        }
    }

    fn hosts(&self) -> Result<(), Refusal> {
        for budget in &self.ask.budgets {
            let is_down = |host: &&HostName| {
                **host != self.ask.host
                    && (!self.is_reachable(host) || self.taken.iter().any(|(holder, _)| holder == *host))
            };
            let down: Vec<HostName> = budget.hosts.iter().filter(is_down).cloned().collect();
            let most = budget.max_unavailable_hosts;
            if u32::try_from(down.len()).unwrap_or(u32::MAX) >= most {
                return Err(Refusal::Hosts { group: budget.group.clone(), down, most });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;

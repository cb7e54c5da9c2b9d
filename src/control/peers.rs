//! What a host tells the others of its site, and what it takes from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::admit::rollout::{self, Refusal};
use crate::model::condition::{ConditionType, holds};
use crate::model::desired::{HealMode, HostDesired};
use crate::model::hold::{Hold, HoldKind};
use crate::model::memory::Wanted;
use crate::model::names::ServiceName;
use crate::model::peers::{Ask, HostProgress, HostReport, InstanceReport, Reports};
use crate::observe::observed::EngineState;
use crate::plan::host;
use crate::plan::step::{Next, Subject, SubjectPlan};

use super::reconciler::Reconciler;
use super::site::AGENT;

impl Reconciler {
    /// What has to be agreed on before a service may be disrupted.
    pub(super) fn ask(&self, desired: &HostDesired, service: &ServiceName) -> Option<Ask> {
        let spec = desired.services.get(service)?;
        let wanted = self.memory.instances.get(service).and_then(|memory| memory.wanted.as_ref());
        let in_force = self.spec_in_force(service);
        Some(Ask {
            host: desired.host.clone(),
            service: service.clone(),
            generation: desired.generation,
            wanted_since: wanted.map_or(desired.generation, |wanted| wanted.since),
            goes_back: in_force.is_some_and(|in_force| in_force.input_hash != spec.input_hash),
            standing: self.standing(spec),
            rollout: spec.rollout.clone(),
            members: desired.placement.get(service.as_str()).cloned().unwrap_or_else(|| vec![desired.host.clone()]),
            budgets: desired.budgets.clone(),
        })
    }

    /// Notes which specs are asked for since when; those that stay keep their number.
    pub(super) fn note_wanted(&mut self, desired: &HostDesired) {
        for (service, spec) in &desired.services {
            let memory = self.memory.instances.entry(service.clone()).or_default();
            if memory.wanted.as_ref().is_none_or(|wanted| wanted.input_hash != spec.input_hash) {
                let wanted =
                    Wanted { input_hash: spec.input_hash.clone(), since: desired.generation, updated_at: None };
                memory.wanted = Some(wanted);
                self.memory_dirty.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Whether something here waits for what others do.
    pub(super) fn listens(&self) -> bool {
        let waits = |plan: &SubjectPlan| plan.next == Next::Blocked && holds(&plan.conditions, ConditionType::Waiting);
        !self.ports.coordinator.is_alone()
            && self.desired.as_ref().is_some_and(|desired| !desired.placement.is_empty())
            && (self.has_procedures()
                || self.may_be_recalled()
                || !self.refused.is_empty()
                || self.plans.values().any(waits))
    }

    fn has_procedures(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| {
            !desired.procedures.is_empty() || !desired.behaviours.is_empty() || !desired.filesets.is_empty()
        })
    }

    /// Others said something: what waits for them is planned anew.
    pub(super) fn hear(&mut self) {
        let waiting = self.plans.iter().filter(|(_, plan)| holds(&plan.conditions, ConditionType::Waiting));
        let waiting: Vec<Subject> = waiting.map(|(subject, _)| subject.clone()).collect();
        self.dirty.extend(waiting);
        self.dirty.extend(self.refused.keys().cloned().map(Subject::Service));
        self.filesets.stale = true;
    }

    /// Tells the others how this host is, if that has changed.
    pub(super) fn say(&mut self) {
        self.catch_up();
        let Some(desired) = self.desired.clone() else { return };
        self.note_updated(&desired);
        self.watch_lapses(&desired);
        // What is no longer to be disrupted waits for nothing.
        let plans = &self.plans;
        self.refused
            .retain(|service, _| plans.get(&Subject::Service(service.clone())).is_some_and(|plan| plan.disrupts));
        let report = self.build_report(&desired);
        if self.reported.as_ref() != Some(&report) {
            self.reported = Some(report.clone());
            self.ports.coordinator.report(report);
        }
    }

    /// Whether somebody wants the whole host left as it is.
    fn is_held(&self, desired: &HostDesired) -> bool {
        let now = self.now();
        let is_whole = |hold: &Hold| hold.service.is_none() && hold.is_active(now);
        let stops = |hold: &Hold| matches!(hold.kind, HoldKind::Pause | HoldKind::Cordon);
        desired.sync.heal == HealMode::Report || self.memory.holds.iter().any(|hold| is_whole(hold) && stops(hold))
    }

    fn is_pinned(&self) -> bool {
        let now = self.now();
        self.memory.holds.iter().any(|hold| hold.kind == HoldKind::Pin && hold.is_active(now))
    }

    /// Why a service may not be disrupted now, where that will not pass by itself. Who only looks works it out.
    pub(super) fn refusal(&self, desired: &HostDesired, service: &ServiceName) -> Option<String> {
        if let Some(why) = self.refused.get(service) {
            return Some(why.to_string());
        }
        if self.mode.act {
            return None;
        }
        let ask = self.ask(desired, service)?;
        match rollout::may_begin(&ask, &self.reports.borrow(), &rollout::Taken::new(), self.now()) {
            Err(refusal @ (Refusal::Halted(_) | Refusal::Budget { .. } | Refusal::Quorum { .. })) => {
                Some(refusal.to_string())
            }
            _ => None,
        }
    }

    /// Hosts number on from the labels of their own containers, so that after a lost state directory they may give the
    /// same source different numbers. The highest counts for all: order and halts compare them.
    fn catch_up(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        let is_ahead = |report: &&Arc<HostReport>| {
            report.generation > desired.generation && report.source_digest == desired.source_digest
        };
        let ahead = self.reports.borrow().values().filter(is_ahead).map(|report| report.generation).max();
        let Some(generation) = ahead else { return };
        for wanted in self.memory.instances.values_mut().filter_map(|memory| memory.wanted.as_mut()) {
            if wanted.since == desired.generation {
                wanted.since = generation;
            }
        }
        let same = HostDesired { generation, ..desired.as_ref().clone() };
        if let Err(error) = self.accept(same, AGENT, "as the other hosts count") {
            tracing::warn!(%error, "this host keeps a number of its own");
        }
    }

    /// What failed where nothing leads back is not quarantined, and stops others all the same.
    fn is_halted(&self, service: &ServiceName) -> bool {
        let plan = self.plans.get(&Subject::Service(service.clone()));
        plan.is_some_and(|plan| holds(&plan.conditions, ConditionType::Halted))
    }

    fn note_updated(&mut self, desired: &HostDesired) {
        let now = self.now();
        for (service, spec) in &desired.services {
            let Some(memory) = self.memory.instances.get_mut(service) else { continue };
            let updated = memory.proven.as_ref().is_some_and(|proven| proven.input_hash == spec.input_hash);
            if let Some(wanted) = &mut memory.wanted
                && updated
                && wanted.updated_at.is_none()
            {
                wanted.updated_at = Some(now);
                self.memory_dirty.get_or_insert_with(Instant::now);
            }
        }
    }

    pub(super) fn build_report(&self, desired: &HostDesired) -> HostReport {
        let reports = Reports::new();
        let input = self.input(desired, &self.proven, &reports);
        let services = desired.services.iter().filter_map(|(service, spec)| {
            let state = host::service_here(&input, service)?;
            let memory = self.memory.instances.get(service);
            let wanted = memory.and_then(|memory| memory.wanted.as_ref());
            let failed = memory.and_then(|memory| memory.quarantine.as_ref());
            let failed = failed.filter(|failed| failed.input_hash == spec.input_hash);
            let report = InstanceReport {
                standing: self.standing(spec),
                started: state.started,
                ready: state.ready,
                updated: state.updated,
                wanted_since: wanted.map_or(desired.generation, |wanted| wanted.since),
                failed: failed.is_some() || self.is_halted(service),
                recalled: failed.is_some_and(|failed| failed.elsewhere.is_some()),
                preparation: self.preparation(spec),
                updated_at: wanted.and_then(|wanted| wanted.updated_at),
                member: self.member_report(desired, service),
            };
            Some((service.clone(), report))
        });
        let services: BTreeMap<_, _> = services.collect();
        let summary = self.summary();
        HostReport {
            host: desired.host.clone(),
            generation: desired.generation,
            source_digest: desired.source_digest.clone(),
            reachable: matches!(self.observer.observed.engine, EngineState::Known(_)),
            acts: self.mode.act && !self.is_held(desired),
            holds_off: self.bad_site.is_some() || self.pending.is_some() || self.is_pinned(),
            attempts: self.engine_failures,
            services,
            jobs: desired.jobs.keys().map(|job| (job.clone(), host::job_here(&input, job))).collect(),
            filesets: self.fileset_reports(&input),
            progress: HostProgress {
                quiet: self.is_quiet(),
                there: summary.there,
                working: summary.working,
                waiting: summary.waiting,
                failed: summary.failed,
            },
        }
    }
}

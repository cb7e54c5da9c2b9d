//! Making the status, and telling it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::condition::{Condition, ConditionType, holds};
use crate::model::desired::HostDesired;
use crate::model::fileset::fill_all;
use crate::model::hold::HoldKind;
use crate::model::job::JobState;
use crate::model::labels;
use crate::model::names::{JobName, ServiceName};
use crate::observe::observed::{EngineState, Health, ObservedContainer};
use crate::plan::step::{Next, Subject, SubjectPlan};
use crate::report::change_view;
use crate::report::plan_view::{self, PlanView};
use crate::report::status::{
    DriftKind, EngineStatus, HostStatus, InstanceState, InstanceStatus, JobPhase, JobStatus, Pending, PendingKind,
    QuarantineStatus, SiteStatus, SlotStatus, WaitingReason, Wanted,
};

use super::pulling::Pulling;
use super::reconciler::Reconciler;

/// Between two statuses while the loop is busy.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);

impl Reconciler {
    /// Renews the status, if something looks at it or something changed.
    pub(super) async fn publish(&mut self) {
        self.ports.published.progressed();
        // What a slot was for is told before it is given back: who gets it next must not count on what was.
        self.say();
        self.release_slots().await;
        self.note_converged();
        if self.desired.is_none() && self.bad_site.is_none() {
            return;
        }
        // While much happens, not every turn is worth a status.
        if !self.is_quiet() && self.last_published.is_some_and(|last| last.elapsed() < PUBLISH_EVERY) {
            return;
        }
        self.last_published = Some(Instant::now());
        let status = self.build_status().await;
        if *self.ports.published.status() != status {
            self.ports.published.publish(status);
        }
    }

    async fn release_slots(&mut self) {
        // Slots outlive their holder: what a loop before this one took is given back once it is settled.
        if !self.slots_known
            && let Some(host) = self.desired.as_ref().map(|desired| desired.host.clone())
            && let Ok(slots) = self.ports.coordinator.slots().await
        {
            self.slots_known = true;
            let own = slots.into_iter().filter(|slot| slot.host == host).map(|slot| slot.service);
            self.to_release.extend(own);
        }
        let settled: Vec<ServiceName> = self
            .to_release
            .union(&self.granted)
            .filter(|service| {
                let subject = Subject::Service((*service).clone());
                let plan = self.plans.get(&subject);
                !self.in_flight.contains_key(&subject)
                    && plan.is_none_or(|plan| plan.change.is_none() && (plan.next == Next::Nothing || plan.ready))
            })
            .cloned()
            .collect();
        for service in settled {
            match self.ports.coordinator.release(&service).await {
                Ok(()) => {
                    self.to_release.remove(&service);
                    self.granted.remove(&service);
                }
                Err(error) => tracing::warn!(service = service.as_str(), %error, "the slot stays taken"),
            }
        }
    }

    pub(super) async fn build_status(&self) -> SiteStatus {
        let Some(desired) = self.status_of_desired() else {
            let mut status = SiteStatus::new(crate::model::names::SiteName::unknown());
            status.bad_site_file.clone_from(&self.bad_site);
            status.last_error.clone_from(&self.store_error);
            return status;
        };
        let mut status = SiteStatus::new(desired.site.clone());
        status.generation = desired.generation;
        status.source_digest.clone_from(&desired.source_digest);
        status.observed_at = self.observed_at;
        status.bad_site_file.clone_from(&self.bad_site);
        status.last_error.clone_from(&self.store_error);
        status.holds = self.memory.holds.iter().map(Into::into).collect();
        status.slots = match self.ports.coordinator.slots().await {
            Ok(slots) => slots
                .into_iter()
                .map(|slot| SlotStatus {
                    service: slot.service,
                    host: slot.host,
                    generation: slot.generation,
                    since: slot.since,
                })
                .collect(),
            Err(_) => Vec::new(),
        };
        status.pending = self.pending_status(&desired);
        status.hosts = vec![self.host_status(&desired)];
        status.settle();
        if status.converged && !self.summary().is_converged() {
            status.converged = false;
        }
        status
    }

    fn pending_status(&self, desired: &HostDesired) -> Option<Pending> {
        if let Some(pending) = &self.pending {
            return Some(Pending {
                kind: PendingKind::Edit,
                plan_id: Some(pending.plan_id.clone()),
                generation: pending.desired.generation,
                changes: pending.changes,
                message: format!("approve it with `mastic approve {}`", pending.plan_id),
                since: pending.since,
            });
        }
        let held: Vec<&Condition> = self
            .plans
            .values()
            .flat_map(|plan| &plan.conditions)
            .filter(|condition| condition.kind == ConditionType::RemovalHeld)
            .collect();
        let first = held.first()?;
        Some(Pending {
            kind: PendingKind::Removal,
            plan_id: None,
            generation: desired.generation,
            changes: held.len(),
            message: first.message.clone(),
            since: first.since.unwrap_or_else(|| self.now()),
        })
    }

    fn host_status(&self, desired: &HostDesired) -> HostStatus {
        let (engine, reachable) = match &self.observer.observed.engine {
            EngineState::Known(version) => {
                let api = format!("{}.{}", version.api.0, version.api.1);
                let engine = EngineStatus {
                    engine: Some(version.engine.clone()),
                    version: Some(version.version.clone()),
                    api_version: Some(api),
                    events_connected: self.events_connected,
                    error: None,
                };
                (engine, true)
            }
            EngineState::Unknown(why) | EngineState::Refused { why, .. } => {
                (EngineStatus { error: Some(why.clone()), ..EngineStatus::default() }, false)
            }
            EngineState::NotAsked => (EngineStatus::default(), false),
        };
        let mut instances: Vec<InstanceStatus> =
            desired.services.keys().filter_map(|service| self.instance_status(desired, service)).collect();
        instances.extend(desired.waits.services.keys().filter_map(|service| self.unknown_status(desired, service)));
        instances.extend(self.plans.values().filter_map(|plan| self.orphan_status(plan)));
        HostStatus {
            name: desired.host.clone(),
            reachable,
            engine,
            observed_at: self.observed_at,
            conditions: self.host_conditions(),
            instances,
            jobs: desired.jobs.keys().filter_map(|job| self.job_status(job)).collect(),
        }
    }

    /// Those of its networks and volumes, and why filesets do not get on.
    fn host_conditions(&self) -> Vec<Condition> {
        let own = self.plans.get(&Subject::Host).map(|plan| plan.conditions.clone()).unwrap_or_default();
        let filesets = self.plans.values().filter(|plan| matches!(plan.subject, Subject::Fileset(_)));
        let stuck = filesets.flat_map(|plan| &plan.conditions).filter(|condition| {
            condition.is_true() && matches!(condition.kind, ConditionType::Stalled | ConditionType::Progressing)
        });
        own.into_iter().chain(stuck.cloned()).collect()
    }

    fn instance_status(&self, desired: &HostDesired, service: &ServiceName) -> Option<InstanceStatus> {
        let wanted = desired.services.get(service)?;
        let spec = self.spec_in_force(service)?;
        let subject = Subject::Service(service.clone());
        let plan = self.plans.get(&subject);
        let container = self
            .observer
            .observed
            .containers
            .get(spec.container_name.as_str())
            .filter(|container| container.is_labelled(desired.site.as_str(), desired.host.as_str()));
        let memory = self.memory.instances.get(service);
        let mut conditions = plan.map(|plan| plan.conditions.clone()).unwrap_or_default();
        if plan.is_some_and(|plan| plan.disrupts)
            && !self.in_flight.contains_key(&subject)
            && !holds(&conditions, ConditionType::Waiting)
            && let Some(why) = self.refusal(desired, service)
        {
            conditions.push(Condition::new(ConditionType::Waiting, true, "RolloutWaits", why));
        }
        let stopped = self.memory.holds.iter().any(|hold| hold.kind == HoldKind::Stop && hold.covers(service));
        // One that is only looked at shows what there is.
        let known = self.observer.is_connected() || (self.observer.is_refused() && container.is_some());
        let state = match container {
            _ if !known => InstanceState::Unknown,
            Some(container) => container.state.status.into(),
            None => InstanceState::Missing,
        };
        let settled = memory
            .and_then(|memory| memory.proven.as_ref())
            .is_some_and(|proven| proven.input_hash == wanted.input_hash);
        let generation = |container: &ObservedContainer| container.label(labels::GENERATION)?.parse().ok();
        Some(InstanceStatus {
            service: service.clone(),
            role: spec.role.clone(),
            container: spec.container_name.to_string(),
            image: spec.image.to_string(),
            wanted: if stopped { Wanted::Stopped } else { Wanted::Running },
            ready: plan.is_some_and(|plan| plan.ready),
            state,
            spec_hash: spec.input_hash.clone(),
            generation: desired.generation,
            observed_generation: if settled {
                desired.generation
            } else {
                container.and_then(|container| generation(container)).unwrap_or(0)
            },
            restarts: container.map_or(0, |container| u64::try_from(container.state.restart_count).unwrap_or(0)),
            // What a person wants stopped is as desired.
            drift: plan
                .filter(|_| !stopped || !known)
                .map(|plan| self.drift(plan, container.map(AsRef::as_ref)))
                .unwrap_or_default(),
            waiting: waiting_reason(&conditions, memory.and_then(|memory| memory.last_error.as_ref())),
            next_step: self.next_step(&subject),
            last_error: memory
                .and_then(|memory| memory.last_error.as_ref())
                .map(|failure| format!("{}: {}", failure.reason, failure.message)),
            quarantined: memory.and_then(|memory| memory.quarantine.as_ref()).map(|failed| QuarantineStatus {
                spec_hash: failed.input_hash.clone(),
                generation: failed.generation,
                reason: failed.reason.clone(),
                at: failed.at,
            }),
            conditions,
        })
    }

    /// Of a service of which it is not known what it should be, and never was.
    fn unknown_status(&self, desired: &HostDesired, service: &ServiceName) -> Option<InstanceStatus> {
        let plan = self.plans.get(&Subject::Service(service.clone()))?;
        let is_of = |container: &&Arc<ObservedContainer>| {
            container.is_labelled(desired.site.as_str(), desired.host.as_str())
                && container.label(labels::SERVICE) == Some(service.as_str())
        };
        let container = self.observer.observed.containers.values().find(is_of);
        (!desired.services.contains_key(service)).then(|| InstanceStatus {
            service: service.clone(),
            role: None,
            container: container.map_or_else(|| service.to_string(), |container| container.name.clone()),
            image: container.map_or_else(String::new, |container| container.image.clone()),
            wanted: Wanted::Running,
            ready: false,
            state: container.map_or(InstanceState::Missing, |container| container.state.status.into()),
            spec_hash: String::new(),
            generation: desired.generation,
            observed_generation: 0,
            restarts: 0,
            drift: std::collections::BTreeSet::new(),
            waiting: Some(WaitingReason::Blocked),
            next_step: None,
            last_error: None,
            quarantined: None,
            conditions: plan.conditions.clone(),
        })
    }

    fn next_step(&self, subject: &Subject) -> Option<String> {
        if let Some(step) = self.in_flight.get(subject) {
            let far = step.pull.as_ref().and_then(Pulling::text).map(|text| format!(" {text}")).unwrap_or_default();
            return Some(format!("{}{far} (for {}s)", step.verb, step.since.elapsed().as_secs()));
        }
        match &self.plans.get(subject)?.next {
            Next::Step(step) => Some(step.verb().to_owned()),
            _ => None,
        }
    }

    /// Only what was proven can drift; an edit that goes on is no drift.
    fn drift(
        &self,
        plan: &SubjectPlan,
        container: Option<&ObservedContainer>,
    ) -> std::collections::BTreeSet<DriftKind> {
        let mut drift = std::collections::BTreeSet::new();
        if !self.observer.is_connected() {
            drift.insert(DriftKind::Unknown);
            return drift;
        }
        match container {
            None => {
                drift.insert(DriftKind::Missing);
            }
            Some(container) if !container.is_running() => {
                drift.insert(DriftKind::Stopped);
            }
            Some(container) if container.state.health == Health::Unhealthy => {
                drift.insert(DriftKind::Unhealthy);
            }
            Some(_) => {}
        }
        for cause in plan.change.iter().flat_map(|change| &change.causes) {
            let kind = match cause.field.split('.').next().unwrap_or_default() {
                "image" => DriftKind::Image,
                "files" => DriftKind::Config,
                "state" | "health" | "prev" | "failed" => continue,
                _ => DriftKind::Spec,
            };
            drift.insert(kind);
        }
        drift
    }

    fn orphan_status(&self, plan: &SubjectPlan) -> Option<InstanceStatus> {
        let Subject::Orphan(name) = &plan.subject else { return None };
        let container = self.observer.observed.containers.get(name)?;
        let service = ServiceName::new(container.label(labels::SERVICE)?).ok()?;
        let desired = self.desired.as_ref()?;
        Some(InstanceStatus {
            service,
            role: None,
            container: name.clone(),
            image: container.image.clone(),
            wanted: Wanted::Absent,
            ready: false,
            state: container.state.status.into(),
            spec_hash: container.label(labels::INPUT_HASH).unwrap_or_default().to_owned(),
            generation: desired.generation,
            observed_generation: container.label(labels::GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0),
            restarts: u64::try_from(container.state.restart_count).unwrap_or(0),
            drift: [DriftKind::Extra].into(),
            waiting: holds(&plan.conditions, ConditionType::RemovalHeld).then_some(WaitingReason::Blocked),
            next_step: self.next_step(&plan.subject),
            last_error: None,
            quarantined: None,
            conditions: plan.conditions.clone(),
        })
    }

    fn job_status(&self, job: &JobName) -> Option<JobStatus> {
        let plan = self.plans.get(&Subject::Job(job.clone()))?;
        let record = self.memory.jobs.get(job);
        let next_run = match plan.next {
            Next::Wait { until } => until,
            _ => None,
        };
        let scheduled = self.desired.as_ref()?.jobs.get(job)?.schedule.is_some();
        let (state, since, exit_code) = match record.map(|record| &record.state) {
            Some(JobState::Running { since }) => (JobPhase::Running, Some(*since), None),
            Some(JobState::Failed { at, exit_code, .. }) => {
                let is_halted = holds(&plan.conditions, ConditionType::Halted);
                (if is_halted { JobPhase::Halted } else { JobPhase::Failed }, Some(*at), *exit_code)
            }
            Some(JobState::Done { at }) if plan.ready => {
                (if scheduled { JobPhase::Scheduled } else { JobPhase::Done }, Some(*at), Some(0))
            }
            _ if holds(&plan.conditions, ConditionType::Waiting) => (JobPhase::Waiting, None, None),
            _ => (JobPhase::Pending, None, None),
        };
        let message = plan.conditions.iter().find(|condition| condition.kind != ConditionType::Ready);
        Some(JobStatus {
            job: job.clone(),
            state,
            attempts: record.map_or(0, |record| record.attempts),
            exit_code,
            since,
            next_run,
            message: message.map_or_else(String::new, |condition| condition.message.clone()),
        })
    }

    /// What would be done now, with the pending edit in force if there is one.
    pub(super) fn plan_view(&self) -> Option<PlanView> {
        let desired = self.desired.as_ref()?;
        let filled = self.pending.as_ref().map(|pending| {
            let mut filled = pending.desired.as_ref().clone();
            fill_all(&mut filled, &self.contents());
            filled
        });
        let target = filled.as_ref().unwrap_or(desired);
        let proven = self.proven_against(target);
        let reports = self.reports.borrow().clone();
        let input = self.input(target, &proven, &reports);
        let mut plans = crate::plan::host::plan_with(&input, self.ports.planner.as_ref());
        let id = crate::plan::id::plan_id(target, &plans);
        for plan in plans.iter_mut().filter(|plan| plan.disrupts) {
            if let Subject::Service(service) = &plan.subject
                && let Some(why) = self.refusal(target, service)
            {
                plan.conditions.push(Condition::new(ConditionType::Waiting, true, "RolloutWaits", why));
            }
        }
        let plans: Vec<&SubjectPlan> = plans.iter().collect();
        let ordered = change_view::views(target, &self.memory);
        Some(PlanView { ordered, ..plan_view::view(target, &proven, &plans, id) })
    }

    pub(super) fn plan_json(&self) -> serde_json::Value {
        self.plan_view().and_then(|view| serde_json::to_value(view).ok()).unwrap_or_default()
    }
}

fn waiting_reason(
    conditions: &[Condition],
    failure: Option<&crate::model::memory::StepFailure>,
) -> Option<WaitingReason> {
    if failure.is_some_and(|failure| failure.reason == "ImagePullFailed") {
        return Some(WaitingReason::ImagePullBackOff);
    }
    if holds(conditions, ConditionType::CrashLooping) {
        return Some(WaitingReason::CrashLoopBackOff);
    }
    let blocked = [ConditionType::NameTaken, ConditionType::PortHeldBy, ConditionType::Waiting];
    blocked.iter().any(|kind| holds(conditions, *kind)).then_some(WaitingReason::Blocked)
}

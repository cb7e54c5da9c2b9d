//! Gauges from a status. What did not change since the status before is not set again: an idle agent stays idle.

use std::collections::{BTreeMap, BTreeSet};

use super::definitions::{self, Gauge};
use super::{Metrics, RESULTS, ROLLOUT_CONDITIONS, RollbackReason, count, number, seconds, truth};
use crate::model::condition::{ConditionType, holds};
use crate::model::hold::HoldKind;
use crate::model::time::Timestamp;
use crate::report::status::{
    DriftKind, HoldStatus, HostStatus, InstanceStatus, JobPhase, JobStatus, PendingKind, SiteStatus, WaitingReason,
    Wanted,
};

/// What the series were last set from.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When each host was observed.
    pub(super) hosts: BTreeMap<String, Option<Timestamp>>,
    instances: BTreeMap<(String, String), InstanceStatus>,
    jobs: BTreeMap<(String, String), JobStatus>,
    services: BTreeSet<String>,
}

/// All kinds of holds.
pub(super) const HOLD_KINDS: [HoldKind; 5] =
    [HoldKind::Stop, HoldKind::Pause, HoldKind::Cordon, HoldKind::Freeze, HoldKind::Pin];

/// As in labels.
pub(super) const fn hold_word(kind: HoldKind) -> &'static str {
    match kind {
        HoldKind::Stop => "stop",
        HoldKind::Pause => "pause",
        HoldKind::Cordon => "cordon",
        HoldKind::Freeze => "freeze",
        HoldKind::Pin => "pin",
    }
}

/// The gauges that an instance alone decides.
fn instance_gauges(host: &str, instance: &InstanceStatus, tell: &mut dyn FnMut(&Gauge, &[&str], f64)) {
    let service = instance.service.as_str();
    tell(&definitions::OBSERVED_GENERATION, &[host, service], number(instance.observed_generation));
    tell(&definitions::QUARANTINED, &[host, service], truth(instance.quarantined.is_some()));
    for kind in DriftKind::ALL {
        tell(&definitions::DRIFT, &[host, service, kind.as_str()], truth(instance.drift.contains(&kind)));
    }
    for reason in WaitingReason::ALL {
        tell(&definitions::WAITING_REASON, &[host, service, reason.as_str()], truth(instance.waiting == Some(reason)));
    }
    for kind in ConditionType::ALL {
        let is_so = holds(&instance.conditions, kind);
        tell(&definitions::INSTANCE_CONDITION, &[host, service, kind.as_str()], truth(is_so));
    }
}

/// The gauges that a job alone decides.
fn job_gauges(host: &str, job: &JobStatus, tell: &mut dyn FnMut(&Gauge, &[&str], f64)) {
    for phase in JobPhase::ALL {
        tell(&definitions::JOB_STATE, &[host, job.job.as_str(), phase.as_str()], truth(job.state == phase));
    }
}

/// The gauges that an instance has because of what surrounds it.
const SURROUNDED: [Gauge; 3] = [definitions::METADATA_GENERATION, definitions::PAUSED, definitions::SLOT_SINCE];

/// The gauges of a service over all its instances.
const SERVICE_GAUGES: [Gauge; 5] = [
    definitions::SERVICE_DESIRED,
    definitions::SERVICE_READY,
    definitions::SERVICE_UPDATED,
    definitions::SERVICE_UNAVAILABLE,
    definitions::ROLLOUT_PROGRESS,
];

impl Metrics {
    pub(super) fn take_in(&self, known: &mut Known, status: &SiteStatus) {
        self.set(&definitions::READY, &[], truth(status.ready));
        self.set(&definitions::CONVERGED, &[], truth(status.converged));
        for (kind, word) in
            [(PendingKind::Edit, "edit"), (PendingKind::Window, "window"), (PendingKind::Removal, "removal")]
        {
            let waits = status.pending.as_ref().is_some_and(|pending| pending.kind == kind);
            self.set(&definitions::PENDING, &[word], truth(waits));
        }
        for kind in HOLD_KINDS {
            let mine = || status.holds.iter().filter(|hold| hold.kind == kind);
            let oldest = mine().map(|hold| hold.since).min().map_or(0.0, seconds);
            self.set(&definitions::HOLDS, &[hold_word(kind)], count(mine().count()));
            self.set(&definitions::HOLD_SINCE, &[hold_word(kind)], oldest);
        }
        self.take_in_hosts(known, status);
        self.take_in_instances(known, status);
        self.take_in_jobs(known, status);
        self.take_in_services(known, status);
    }

    fn take_in_hosts(&self, known: &mut Known, status: &SiteStatus) {
        let before = std::mem::take(&mut known.hosts);
        for host in &status.hosts {
            let name = host.name.as_str();
            if !before.contains_key(name) {
                self.start_host(name);
            }
            self.set(&definitions::HOST_UP, &[name], truth(host.reachable));
            self.set(&definitions::DOCKER_UP, &[name], truth(host.reachable && host.engine.error.is_none()));
            self.set(&definitions::EVENT_STREAM_UP, &[name], truth(host.engine.events_connected));
            known.hosts.insert(name.to_owned(), host.observed_at);
        }
        for gone in before.keys().filter(|name| !known.hosts.contains_key(*name)) {
            for gauge in [
                definitions::HOST_UP,
                definitions::DOCKER_UP,
                definitions::EVENT_STREAM_UP,
                definitions::SNAPSHOT_AGE,
                definitions::LAST_SUCCESS,
            ] {
                self.drop_gauge(&gauge, &[gone]);
            }
        }
    }

    fn take_in_instances(&self, known: &mut Known, status: &SiteStatus) {
        let mut before = std::mem::take(&mut known.instances);
        for (host, instance) in status.instances() {
            let key = (host.name.to_string(), instance.service.to_string());
            let (host, service) = (host.name.as_str(), instance.service.as_str());
            let old = before.remove(&key);
            if old.is_none() {
                for reason in RollbackReason::ALL {
                    self.add(&definitions::ROLLBACKS, &[service, reason.as_str()], 0.0);
                }
            }
            self.count_restarts(host, old.as_ref(), instance);
            if old.as_ref() != Some(instance) {
                instance_gauges(host, instance, &mut |gauge, labels, value| self.set(gauge, labels, value));
            }
            let slot = status.slots.iter().find(|slot| slot.host.as_str() == host && slot.service == instance.service);
            self.set(&definitions::METADATA_GENERATION, &[host, service], number(status.generation));
            self.set(&definitions::PAUSED, &[host, service], truth(is_paused(&status.holds, instance)));
            self.set(&definitions::SLOT_SINCE, &[host, service], slot.map_or(0.0, |slot| seconds(slot.since)));
            known.instances.insert(key, instance.clone());
        }
        for ((host, service), gone) in before {
            instance_gauges(&host, &gone, &mut |gauge, labels, _| self.drop_gauge(gauge, labels));
            for gauge in SURROUNDED {
                self.drop_gauge(&gauge, &[&host, &service]);
            }
            if let Some(family) = self.counters.get(definitions::CONTAINER_RESTARTS.0.name) {
                let _ = family.remove_label_values(&[&host, &service, &gone.container]);
            }
        }
    }

    /// The engine counts from 0 for each new container; the counter goes on.
    fn count_restarts(&self, host: &str, old: Option<&InstanceStatus>, new: &InstanceStatus) {
        let labels = [host, new.service.as_str(), new.container.as_str()];
        // What a container went through before the agent started is no news.
        let grown = old.map_or(0, |old| new.restarts.checked_sub(old.restarts).unwrap_or(new.restarts));
        self.add(&definitions::CONTAINER_RESTARTS, &labels, number(grown));
    }

    fn take_in_jobs(&self, known: &mut Known, status: &SiteStatus) {
        let mut before = std::mem::take(&mut known.jobs);
        let jobs = status.hosts.iter().flat_map(|host| host.jobs.iter().map(move |job| (host, job)));
        for (host, job) in jobs {
            let key = (host.name.to_string(), job.job.to_string());
            let labels = [host.name.as_str(), job.job.as_str()];
            let old = before.remove(&key);
            if old.is_none() {
                for result in RESULTS {
                    self.add(&definitions::JOB_RUNS, &[labels[0], labels[1], result], 0.0);
                }
                self.set(&definitions::JOB_LAST_SUCCESS, &labels, 0.0);
            }
            if old.as_ref() != Some(job) {
                job_gauges(labels[0], job, &mut |gauge, labels, value| self.set(gauge, labels, value));
                if let (JobPhase::Done, Some(since)) = (job.state, job.since) {
                    self.set(&definitions::JOB_LAST_SUCCESS, &labels, seconds(since));
                }
            }
            known.jobs.insert(key, job.clone());
        }
        for ((host, name), gone) in before {
            job_gauges(&host, &gone, &mut |gauge, labels, _| self.drop_gauge(gauge, labels));
            self.drop_gauge(&definitions::JOB_LAST_SUCCESS, &[&host, &name]);
            for result in RESULTS {
                self.drop_counter(&definitions::JOB_RUNS, &[&host, &name, result]);
            }
        }
    }

    fn take_in_services(&self, known: &mut Known, status: &SiteStatus) {
        let mut services: BTreeMap<&str, Vec<(&HostStatus, &InstanceStatus)>> = BTreeMap::new();
        for (host, instance) in status.instances() {
            services.entry(instance.service.as_str()).or_default().push((host, instance));
        }
        for (service, instances) in &services {
            let wanted: Vec<_> = instances.iter().filter(|(_, one)| one.wanted == Wanted::Running).collect();
            let ready = wanted.iter().filter(|(host, one)| one.ready && host.reachable).count();
            let updated = wanted.iter().filter(|(_, one)| one.observed_generation == status.generation).count();
            let progress = if wanted.is_empty() { 1.0 } else { count(updated) / count(wanted.len()) };
            self.set(&definitions::SERVICE_DESIRED, &[service], count(wanted.len()));
            self.set(&definitions::SERVICE_READY, &[service], count(ready));
            self.set(&definitions::SERVICE_UPDATED, &[service], count(updated));
            self.set(&definitions::SERVICE_UNAVAILABLE, &[service], count(wanted.len() - ready));
            self.set(&definitions::ROLLOUT_PROGRESS, &[service], progress);
            for kind in ROLLOUT_CONDITIONS {
                let is_so = instances.iter().any(|(_, instance)| holds(&instance.conditions, kind));
                self.set(&definitions::ROLLOUT_CONDITION, &[service, kind.as_str()], truth(is_so));
            }
        }
        let before = std::mem::take(&mut known.services);
        known.services = services.keys().map(|service| (*service).to_owned()).collect();
        for gone in before.difference(&known.services) {
            for gauge in SERVICE_GAUGES {
                self.drop_gauge(&gauge, &[gone]);
            }
            for kind in ROLLOUT_CONDITIONS {
                self.drop_gauge(&definitions::ROLLOUT_CONDITION, &[gone, kind.as_str()]);
            }
            for reason in RollbackReason::ALL {
                self.drop_counter(&definitions::ROLLBACKS, &[gone, reason.as_str()]);
            }
        }
    }

    fn drop_gauge(&self, gauge: &Gauge, labels: &[&str]) {
        if let Some(family) = self.gauges.get(gauge.0.name) {
            let _ = family.remove_label_values(labels);
        }
    }

    fn drop_counter(&self, counter: &definitions::Counter, labels: &[&str]) {
        if let Some(family) = self.counters.get(counter.0.name) {
            let _ = family.remove_label_values(labels);
        }
    }
}

fn is_paused(holds: &[HoldStatus], instance: &InstanceStatus) -> bool {
    holds.iter().any(|hold| {
        hold.kind == HoldKind::Pause && hold.service.as_ref().is_none_or(|service| *service == instance.service)
    })
}

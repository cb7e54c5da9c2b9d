//! Changes of memory, as values: planned by pure code, applied in one place.

use crate::model::file::OnChange;
use crate::model::job::{JobRecord, JobState};
use crate::model::memory::{HostMemory, Proven, Quarantine, Told};
use crate::model::names::{JobName, ServiceName};
use crate::model::time::{Span, Timestamp};

/// Something to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryChange {
    /// A spec has been ready.
    Proven {
        /// Of which instance.
        service: ServiceName,
        /// Which spec, in which revision.
        proven: Proven,
        /// The container, and what it has read of its live files.
        told: Told,
    },
    /// A spec failed and is not tried again.
    Quarantined {
        /// Of which instance.
        service: ServiceName,
        /// Which.
        quarantine: Quarantine,
    },
    /// Live files are about to change under a running process.
    FilesChanging {
        /// Of which instance.
        service: ServiceName,
        /// In which container.
        container_id: String,
        /// What the process has to be told for it.
        needs: OnChange,
    },
    /// A process has read its live files.
    Told {
        /// Of which instance.
        service: ServiceName,
        /// What it has read.
        told: Told,
    },
    /// An image was fetched.
    Pulled {
        /// For which instance.
        service: ServiceName,
        /// For which spec.
        input_hash: String,
    },
    /// A request to restart was carried out, or its container is gone.
    RestartDone {
        /// Of which instance.
        service: ServiceName,
    },
    /// A container of ours is about to be started because it did not run.
    Reviving {
        /// Of which instance.
        service: ServiceName,
        /// Which.
        container_id: String,
        /// When.
        at: Timestamp,
    },
    /// What is known of a job.
    Job {
        /// Which.
        job: JobName,
        /// What.
        record: JobRecord,
    },
    /// A job ended.
    JobEnded {
        /// Which.
        job: JobName,
        /// Of which inputs.
        input_hash: String,
        /// How.
        state: JobState,
    },
    /// A step of a change was done.
    StepDone {
        /// `ROLE/CHANGE`.
        change: String,
        /// Which job.
        job: JobName,
        /// With which version.
        version: String,
    },
    /// A step of a change is about to begin that cannot be taken back.
    NoReturn {
        /// `ROLE/CHANGE`.
        change: String,
        /// The version that it leads to.
        version: String,
        /// The version that it leaves, where that is known.
        left: Option<String>,
    },
    /// A person wants these volumes empty: that they are gone for a moment is no loss.
    Wiping {
        /// Engine names.
        volumes: Vec<String>,
    },
}

impl MemoryChange {
    /// Whether it has to be on disk before anything is done about it.
    pub fn is_intent(&self) -> bool {
        !matches!(self, Self::Proven { .. } | Self::Told { .. } | Self::Pulled { .. } | Self::Reviving { .. })
    }

    /// Writes it down.
    pub fn apply(&self, memory: &mut HostMemory) {
        match self {
            Self::Proven { service, proven, told } => {
                let instance = memory.instances.entry(service.clone()).or_default();
                if instance.proven.as_ref().is_some_and(|old| old.input_hash != proven.input_hash) {
                    instance.before = instance.proven.take();
                }
                instance.proven = Some(proven.clone());
                instance.told = Some(told.clone());
                instance.gate = None;
                instance.failures = 0;
                instance.retry_at = None;
                instance.last_error = None;
                if instance.quarantine.as_ref().is_some_and(|old| old.input_hash == proven.input_hash) {
                    instance.quarantine = None;
                }
            }
            Self::Quarantined { service, quarantine } => {
                let instance = memory.instances.entry(service.clone()).or_default();
                instance.quarantine = Some(quarantine.clone());
                // It was good here: what was good before it is what there is to go back to.
                if instance.proven.as_ref().is_some_and(|proven| proven.input_hash == quarantine.input_hash) {
                    instance.proven = instance.before.take();
                }
                instance.gate = None;
                instance.failures = 0;
                instance.retry_at = None;
                memory.retries.remove(service);
            }
            Self::FilesChanging { service, container_id, needs } => {
                let told = memory.instances.entry(service.clone()).or_default().told.get_or_insert_default();
                if told.container_id != *container_id {
                    *told = Told { container_id: container_id.clone(), ..Told::default() };
                }
                told.needs = told.needs.max(Some(*needs));
                if *needs == OnChange::Replace {
                    // A file that was mounted alone was tampered with: only a restart shows the new one.
                    told.needs = Some(OnChange::Restart);
                    told.unread = false;
                }
            }
            Self::Told { service, told } => {
                memory.instances.entry(service.clone()).or_default().told = Some(told.clone());
            }
            Self::Pulled { service, input_hash } => {
                memory.instances.entry(service.clone()).or_default().pulled = Some(input_hash.clone());
            }
            Self::RestartDone { service } => {
                memory.restart_requests.remove(service);
            }
            Self::Reviving { service, container_id, at } => {
                let restarts = &mut memory.instances.entry(service.clone()).or_default().restarts;
                // A container that stayed up for ten minutes starts with a clean slate (kubelet's rule).
                if restarts.container_id != *container_id || at.since(restarts.last) > Span::seconds(600) {
                    restarts.revived = 0;
                    restarts.container_id.clone_from(container_id);
                }
                restarts.revived = restarts.revived.saturating_add(1);
                restarts.last = *at;
            }
            Self::Job { job, record } => {
                memory.jobs.insert(job.clone(), record.clone());
            }
            Self::JobEnded { job, input_hash, state } => {
                if let Some(record) = memory.jobs.get_mut(job)
                    && record.input_hash == *input_hash
                {
                    record.state = state.clone();
                }
            }
            Self::StepDone { change, job, version } => {
                memory.changes.entry(change.clone()).or_default().note_done(job, version);
            }
            Self::NoReturn { change, version, left } => {
                memory.changes.entry(change.clone()).or_default().pass(version, left.as_deref());
            }
            Self::Wiping { volumes } => memory.volumes.retain(|name| !volumes.contains(name)),
        }
    }
}

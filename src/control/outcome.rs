//! What a finished step means for memory, events and the next look. Pure.

use crate::execute::{Done, Failure};
use crate::model::job::JobState;
use crate::model::memory::{HostMemory, Quarantine, StepFailure, Told};
use crate::model::names::ServiceName;
use crate::model::time::Timestamp;
use crate::observe::observed::{ObservedContainer, Status};
use crate::plan::backoff;
use crate::plan::hindrance;
use crate::plan::remember::MemoryChange;
use crate::plan::step::{Step, Subject};
use crate::report::event::Severity;

/// Where to look after a step, before planning on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// At one container.
    Container(String),
    /// At the files of one directory.
    Files(String),
    /// At networks.
    Networks,
    /// At volumes.
    Volumes,
    /// At images.
    Images,
    /// At the lists.
    Light,
    /// At everything.
    Deep,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// How bad.
    pub severity: Severity,
    /// In CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What follows from a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// To write down.
    pub changes: Vec<MemoryChange>,
    /// To look at.
    pub looks: Vec<Look>,
    /// To tell.
    pub news: Vec<News>,
}

fn news(severity: Severity, reason: &'static str, message: impl Into<String>) -> News {
    News { severity, reason, message: message.into() }
}

/// What follows from a step that was done. `container` is how the step's container looked before.
pub fn succeeded(
    subject: &Subject,
    step: &Step,
    done: &Done,
    container: Option<&ObservedContainer>,
    generation: u64,
    now: Timestamp,
) -> Aftermath {
    let mut after = Aftermath::default();
    let service = match subject {
        Subject::Service(service) => Some(service.clone()),
        _ => None,
    };
    let name = container.map_or("", |container| container.name.as_str());
    let mut tell = |reason, message: String| after.news.push(news(Severity::Normal, reason, message));
    match step {
        Step::Pull { image, input_hash } => {
            tell("Pulled", image.to_string());
            after.looks.push(Look::Images);
            if let Some(service) = service {
                after.changes.push(MemoryChange::Pulled { service, input_hash: input_hash.clone() });
            }
        }
        Step::WriteFiles { key, instance, .. } => {
            tell("FilesWritten", format!("{} files", instance.files().len()));
            after.looks.push(Look::Files(key.clone()));
        }
        Step::Create(create) => {
            tell("Created", create.name.clone());
            if let Done::Created { id } = done {
                after.looks.push(Look::Container(id.clone()));
            }
        }
        Step::Start { id, digest, .. } => {
            tell("Started", name.to_owned());
            after.looks.push(Look::Container(id.clone()));
            if let Some(service) = service {
                after.changes.push(MemoryChange::Told { service: service.clone(), told: read(id, digest) });
                if container.is_some_and(|container| matches!(container.state.status, Status::Exited | Status::Dead)) {
                    after.changes.push(MemoryChange::Reviving { service, container_id: id.clone(), at: now });
                }
            }
        }
        Step::Restart { id, digest, .. } => {
            tell("Restarted", name.to_owned());
            after.looks.push(Look::Container(id.clone()));
            if let Some(service) = service {
                after.changes.push(MemoryChange::Told { service: service.clone(), told: read(id, digest) });
                after.changes.push(MemoryChange::RestartDone { service });
            }
        }
        Step::Reload { id, digest, .. } => {
            tell("Reloaded", name.to_owned());
            after.looks.push(Look::Container(id.clone()));
            if let Some(service) = service {
                after.changes.push(MemoryChange::Told { service, told: read(id, digest) });
            }
        }
        Step::Unpause { id }
        | Step::Stop { id, .. }
        | Step::MoveAside { id, .. }
        | Step::Rename { id, .. }
        | Step::Remove { id }
        | Step::Update { id, .. }
        | Step::Connect { id, .. }
        | Step::Disconnect { id, .. } => {
            let (reason, message) = match step {
                Step::Unpause { .. } => ("Unpaused", name.to_owned()),
                Step::Stop { .. } => ("Stopped", name.to_owned()),
                Step::MoveAside { to, .. } | Step::Rename { to, .. } => ("Renamed", format!("{name} to {to}")),
                Step::Remove { .. } => ("Removed", name.to_owned()),
                Step::Update { .. } => ("Updated", name.to_owned()),
                Step::Connect { network, .. } => ("Attached", format!("{name} to {network}")),
                Step::Disconnect { network, .. } => ("Detached", format!("{name} from {network}")),
                _ => ("Done", String::new()),
            };
            tell(reason, message);
            after.looks.push(Look::Container(id.clone()));
        }
        Step::Quarantine { reason, input_hash, .. } => {
            let log = match done {
                Done::Log(log) => log.clone(),
                _ => String::new(),
            };
            let last = log.lines().next_back().map(|line| format!("; it last said: {line}")).unwrap_or_default();
            after.news.push(news(Severity::Warning, "GateFailed", format!("{reason}{last}")));
            let error = container.map_or("", |container| container.state.error.as_str());
            if let (Some(service), Some(lack)) = (&service, hindrance::cause(error).or_else(|| hindrance::cause(&log)))
            {
                let message = format!("{lack}; it is no fault of the change, which is tried again");
                after.news.push(news(Severity::Warning, "HostHindered", message));
                after.changes.push(MemoryChange::Hindered { service: service.clone(), reason: lack, at: now });
            } else if let Some(service) = service {
                let quarantine = Quarantine {
                    input_hash: input_hash.clone(),
                    generation,
                    reason: reason.clone(),
                    elsewhere: None,
                    log,
                    at: now,
                };
                after.changes.push(MemoryChange::Quarantined { service, quarantine });
            }
        }
        Step::CreateNetwork { name, .. } => {
            tell("NetworkCreated", name.clone());
            after.looks.push(Look::Networks);
        }
        Step::RemoveNetwork { name } => {
            tell("NetworkRemoved", name.clone());
            after.looks.push(Look::Networks);
        }
        Step::CreateVolume { name, .. } => {
            tell("VolumeCreated", name.clone());
            after.looks.push(Look::Volumes);
        }
        // What it holds is told of once it counts.
        Step::TakeFileset { .. } => {}
        // The container that served it may have been seen, and is gone.
        Step::LookUpAccounts { .. } | Step::MakeFileset { .. } => after.looks.push(Look::Light),
        // Values are kept by the loop itself.
        Step::AskStopped { create, .. } => {
            after.news.push(news(Severity::Normal, "Asked", command_of(create)));
            after.looks.push(Look::Light);
        }
        Step::Wipe { volumes, .. } => {
            let names: Vec<&str> = volumes.keys().map(String::as_str).collect();
            tell("Wiped", names.join(", "));
            after.looks.push(Look::Volumes);
        }
        Step::AskDone { job, again, .. } => {
            let (is_done, said) = match done {
                Done::Answered(is_done, said) => (*is_done, said.as_str()),
                _ => (false, ""),
            };
            let state = if is_done { JobState::Done { at: now } } else { JobState::Running { since: now } };
            if *again && !is_done {
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                after.news.push(news(
                    Severity::Warning,
                    "JobUndone",
                    format!("what it did is no longer so, and it runs again{said}"),
                ));
            }
            let record = crate::model::job::JobRecord {
                input_hash: job.input_hash.clone(),
                state,
                attempts: u32::from(!is_done),
                scheduled: None,
            };
            after.changes.push(MemoryChange::Job { job: job.job.clone(), record });
            after.looks.push(Look::Light);
        }
        Step::Collect { input_hash, id, .. } => {
            if let (Subject::Job(job), Done::Ended { exit_code, log }) = (subject, done) {
                let state = match exit_code {
                    Some(0) => JobState::Done { at: now },
                    code => JobState::Failed { at: now, exit_code: *code, log: log.clone() },
                };
                after.news.push(match exit_code {
                    Some(0) => news(Severity::Normal, "JobDone", String::new()),
                    Some(code) => {
                        let last = log.lines().next_back().unwrap_or_default();
                        news(Severity::Warning, "JobFailed", format!("exit code {code}; it last said: {last}"))
                    }
                    None => news(Severity::Warning, "JobFailed", "it took longer than its `timeout`"),
                });
                after.changes.push(MemoryChange::JobEnded { job: job.clone(), input_hash: input_hash.clone(), state });
                after.looks.push(Look::Container(id.clone()));
            }
        }
    }
    after
}

fn command_of(create: &crate::plan::step::CreateStep) -> String {
    create.settings.command.as_ref().map(|words| words.join(" ")).unwrap_or_default()
}

fn read(id: &str, digest: &str) -> Told {
    Told { container_id: id.to_owned(), digest: digest.to_owned(), needs: None, unread: false }
}

/// What follows from a step that failed. The lists are looked at: what was asked for may have been done all the same.
pub fn failed(step: &Step, failure: &Failure) -> Aftermath {
    let message = format!("{}: {}", step.verb(), failure.message);
    let mut looks = vec![Look::Light];
    if let Step::WriteFiles { key, .. } = step {
        looks.push(Look::Files(key.clone()));
    }
    Aftermath { changes: Vec::new(), looks, news: vec![news(Severity::Warning, failure.reason, message)] }
}

/// Counts a failure against an instance.
pub fn count_failure(
    memory: &mut HostMemory,
    service: &ServiceName,
    input_hash: &str,
    failure: &Failure,
    now: Timestamp,
    chance: f64,
) {
    let instance = memory.instances.entry(service.clone()).or_default();
    instance.failures = instance.failures.saturating_add(1);
    instance.retry_at = Some(now.plus(backoff::wait(instance.failures, chance)));
    instance.last_error = Some(StepFailure {
        reason: failure.reason.to_owned(),
        message: failure.message.clone(),
        at: now,
        input_hash: input_hash.to_owned(),
        spec_at_fault: failure.spec_at_fault,
    });
    if failure.unread
        && let Some(told) = &mut instance.told
    {
        told.unread = true;
    }
}

/// A step worked: the next failure is the first one again.
pub fn count_success(memory: &mut HostMemory, service: &ServiceName) {
    if let Some(instance) = memory.instances.get_mut(service) {
        instance.failures = 0;
        instance.retry_at = None;
        instance.last_error = None;
    }
}

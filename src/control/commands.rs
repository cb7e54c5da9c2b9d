//! Answering what people ask for.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::desired::HostDesired;
use crate::model::facts::Waits;
use crate::model::hold::{Hold, HoldKind};
use crate::model::names::{HostName, JobName, ServiceName};
use crate::model::settings::Mount;
use crate::plan::step::Subject;
use crate::report::event::Severity;

use super::accept;
use super::command::{Command, Outcome, OutcomeCode, Progress, Reconcile, Replies, Request, Wait};
use super::outcome::Look;
use super::reconciler::Reconciler;
use super::waiters::Goal;

/// A site that is taken off this host.
pub(super) struct Destroying {
    volumes: BTreeSet<String>,
    replies: Replies,
}

pub(super) fn refused(message: impl Into<String>) -> Outcome {
    Outcome::not(OutcomeCode::Refused, message)
}

impl Reconciler {
    pub(super) async fn answer(&mut self, request: Request) {
        let Request { command, replies } = request;
        let name = command.name();
        if !command.is_read_only() {
            tracing::info!(command = name, "asked");
        }
        self.ports.metrics.commanded(name, true);
        match command {
            Command::Status => {
                self.look_once().await;
                replies.finish(Outcome::told(serde_json::to_value(self.build_status().await).unwrap_or_default()));
            }
            Command::Plan => {
                self.look_once().await;
                // Where nothing is known, an empty plan would say that nothing is to be done.
                let outcome = match self.observer.obstacle() {
                    Some(why) if self.desired.is_some() => {
                        Outcome::not(OutcomeCode::Failed, format!("nothing can be planned: {why}"))
                    }
                    _ => Outcome::told(self.plan_json()),
                };
                replies.finish(outcome);
            }
            Command::Events { most, follow } => self.tell_events(most, follow, replies),
            Command::Reconcile(reconcile) => self.reconcile(reconcile, replies).await,
            Command::Hold { kind, service, user, reason, lasts } => {
                let outcome = self.hold(kind, service, user, reason, lasts.map(|lasts| self.now().plus(lasts)));
                replies.finish(outcome);
            }
            Command::Pause { service, user, reason, lasts } => {
                let until = lasts.map(|lasts| self.now().plus(lasts));
                let outcome = self.hold(HoldKind::Pause, service, user, reason, until);
                replies.finish(outcome);
            }
            Command::ReleaseHold { kind, service, user } => {
                let outcome = self.release(kind, service.as_ref(), &user);
                replies.finish(outcome);
            }
            Command::Resume { service, user } => {
                let outcome = self.release(HoldKind::Pause, service.as_ref(), &user);
                replies.finish(outcome);
            }
            Command::Stop { service, user, reason, lasts, wait } => {
                let until = lasts.map(|lasts| self.now().plus(lasts));
                let outcome = self.hold(HoldKind::Stop, Some(service.clone()), user, reason, until);
                self.finish_or_wait(outcome, Goal::Stopped(service), wait, replies);
            }
            Command::Start { service, user, wait } => {
                let outcome = self.release(HoldKind::Stop, Some(&service), &user);
                self.finish_or_wait(outcome, Goal::Ready(service), wait, replies);
            }
            Command::Restart { service, user, wait } => {
                self.look_once().await;
                let outcome = self.restart(&service, &user);
                self.finish_or_wait(outcome, Goal::Ready(service), wait, replies);
            }
            Command::Retry { service, user } => {
                let outcome = self.retry(&service, &user);
                replies.finish(outcome);
            }
            Command::RunJob { job, user, wait } => {
                let outcome = self.run_job(&job, &user);
                self.finish_or_wait(outcome, Goal::JobEnded(job), wait, replies);
            }
            Command::Rollback { generation, user, reason, past_no_return, wait } => {
                let outcome = self.roll_back(generation, &user, &reason, past_no_return);
                self.finish_or_wait(outcome, Goal::Converged, wait, replies);
            }
            Command::MayRollBack { generation } => {
                let outcome = self.may_roll_back(generation);
                replies.finish(outcome);
            }
            Command::Approve { plan_id, user } => {
                let outcome = self.approve(&plan_id, &user);
                replies.finish(outcome);
            }
            Command::AllowPrune { generation, user } => {
                let outcome = self.allow_prune(generation, &user);
                replies.finish(outcome);
            }
            Command::AcceptHost { user } => {
                self.look_once().await;
                let outcome = self.accept_host(&user);
                replies.finish(outcome);
            }
            Command::Recover(recover) => {
                self.look_once().await;
                let outcome = self.recover(&recover).await;
                self.finish_or_wait(outcome, Goal::Converged, recover.wait, replies);
            }
            Command::Destroy { volumes, user } => self.destroy(volumes, &user, replies),
            Command::At { hosts, command } => {
                // One loop is one host: what is meant for others is not for it.
                let own = self.desired.as_ref().map(|desired| desired.host.clone());
                if own.is_none_or(|own| hosts.contains(&own)) {
                    Box::pin(self.answer(Request { command: *command, replies })).await;
                } else {
                    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
                    replies.finish(refused(format!("this agent does not look after {}", names.join(", "))));
                }
            }
            Command::Shutdown => {
                replies.finish(Outcome::done("the agent ends; the containers stay"));
                self.finished = true;
            }
        }
    }

    fn finish_or_wait(&mut self, outcome: Outcome, goal: Goal, wait: Option<Wait>, replies: Replies) {
        match wait {
            Some(wait) if outcome.code == OutcomeCode::Done => self.wait_for(goal, wait, replies),
            _ => replies.finish(outcome),
        }
    }

    fn tell_events(&mut self, most: usize, follow: bool, replies: Replies) {
        let skip = self.events.len().saturating_sub(most);
        for event in self.events.iter().skip(skip) {
            replies.progress(Progress {
                at: event.at,
                severity: event.severity,
                reason: event.reason.clone(),
                subject: event.subject.clone(),
                message: event.message.clone(),
            });
        }
        if follow {
            self.followers.push(replies);
        } else {
            replies.finish(Outcome::done(""));
        }
    }

    /// Says no. A loop that runs for this one command does nothing else then.
    fn decline(&mut self, outcome: Outcome, replies: Replies) {
        self.finished |= self.mode.on_request;
        replies.finish(outcome);
    }

    async fn reconcile(&mut self, reconcile: Reconcile, replies: Replies) {
        if let Some(bad) = self.other_source(&reconcile) {
            self.decline(refused(bad), replies);
            return;
        }
        if let Some(plan_id) = &reconcile.plan_id
            && let Err(outcome) = self.check_plan(plan_id).await
        {
            self.decline(outcome, replies);
            return;
        }
        if self.mode.follow_source
            && let Err(code) = self.read_site_as(&reconcile.user, reconcile.plan_id.is_some(), false)
        {
            let message = self.bad_site.as_ref().map_or_else(String::new, |bad| bad.message.clone());
            self.decline(Outcome::not(code, message), replies);
            return;
        }
        if reconcile.allow_prune {
            self.allow_prune(None, &reconcile.user);
        }
        if reconcile.retry {
            let failed: Vec<ServiceName> = self
                .memory
                .instances
                .iter()
                .filter(|(_, instance)| instance.quarantine.is_some())
                .map(|(service, _)| service.clone())
                .collect();
            for service in failed {
                self.retry(&service, &reconcile.user);
            }
        }
        // Backoff is for nobody who watches.
        for instance in self.memory.instances.values_mut() {
            instance.retry_at = None;
            instance.failures = 0;
        }
        self.other_failures.clear();
        self.looks.insert(Look::Light);
        self.all_dirty = true;
        if let Some(pending) = &self.pending {
            let message = format!("{} changes wait for `mastic approve {}`", pending.changes, pending.plan_id);
            replies.finish(Outcome::not(OutcomeCode::Failed, message));
            return;
        }
        match reconcile.wait {
            Some(wait) => self.wait_for(Goal::Converged, wait, replies),
            None => replies.finish(Outcome::done("it is on its way")),
        }
    }

    /// An agent follows its own files; being told of others is a mistake to be told.
    fn other_source(&self, reconcile: &Reconcile) -> Option<String> {
        let other = reconcile.files.iter().find(|file| !self.source_paths.contains(*file))?;
        if self.source_paths.is_empty() {
            return None;
        }
        let own: Vec<String> = self.source_paths.iter().take(3).map(|path| path.display().to_string()).collect();
        let own = own.join(", ");
        Some(format!(
            "the agent that runs here follows {own}, not {}; edit those files, or stop the agent first",
            other.display()
        ))
    }

    /// A saved plan is taken only while planning anew gives the same; nothing is accepted before that is known.
    async fn check_plan(&mut self, plan_id: &str) -> Result<(), Outcome> {
        let candidate = self.candidate().map_err(|message| Outcome::not(OutcomeCode::InvalidSite, message))?;
        if let Err(error) = self.look_for(&candidate).await {
            return Err(Outcome::not(OutcomeCode::Failed, error.to_string()));
        }
        let (current, _) = self.preview(&candidate);
        if current == plan_id {
            return Ok(());
        }
        // Planning alone makes no key of the site: the plan of a host that never had a state was made without.
        if self.desired.is_none()
            && let Ok(keyless) = self.candidate_with(&[])
            && self.preview(&keyless).0 == plan_id
        {
            return Ok(());
        }
        let message =
            format!("the plan has changed since: it is {current} now, not {plan_id}; look at `mastic plan` again");
        Err(Outcome::not(OutcomeCode::Failed, message))
    }

    fn known(&self, service: &ServiceName) -> Result<(), Outcome> {
        let Some(desired) = &self.desired else { return Err(refused("there is no desired state yet")) };
        if desired.services.contains_key(service) {
            return Ok(());
        }
        let names: Vec<&str> = desired.services.keys().map(ServiceName::as_str).collect();
        Err(refused(format!("there is no service `{service}` on this host; there are: {}", names.join(", "))))
    }

    fn touched(&mut self, service: Option<&ServiceName>) {
        self.save_memory();
        match service {
            Some(service) => {
                self.dirty.insert(Subject::Service(service.clone()));
            }
            None => self.all_dirty = true,
        }
    }

    fn hold(
        &mut self,
        kind: HoldKind,
        service: Option<ServiceName>,
        user: String,
        reason: String,
        until: Option<crate::model::time::Timestamp>,
    ) -> Outcome {
        if let Some(service) = &service
            && let Err(outcome) = self.known(service)
        {
            return outcome;
        }
        let since = self.now();
        self.memory.holds.retain(|hold| !(hold.kind == kind && hold.service == service));
        let message = format!("{kind:?} by {user}: {reason}");
        self.memory.holds.push(Hold { kind, service: service.clone(), user, reason, since, until });
        self.touched(service.as_ref());
        let subject = service.as_ref().map_or("", ServiceName::as_str).to_owned();
        self.tell(Severity::Normal, "Held", &subject, &message);
        Outcome::done(if subject.is_empty() {
            "the whole host is held".to_owned()
        } else {
            format!("{subject} is held")
        })
    }

    fn release(&mut self, kind: HoldKind, service: Option<&ServiceName>, user: &str) -> Outcome {
        let before = self.memory.holds.len();
        self.memory.holds.retain(|hold| !(hold.kind == kind && hold.service.as_ref() == service));
        let subject = service.map_or_else(|| "the host".to_owned(), ToString::to_string);
        if self.memory.holds.len() == before {
            if let Some(service) = service
                && let Err(outcome) = self.known(service)
            {
                return outcome;
            }
            let word = format!("{kind:?}").to_lowercase();
            return refused(format!("there is no `{word}` hold on {subject}"));
        }
        self.touched(service);
        self.tell(
            Severity::Normal,
            "Released",
            service.map_or("", ServiceName::as_str),
            &format!("{kind:?} by {user}"),
        );
        Outcome::done(format!("{subject} is released"))
    }

    fn restart(&mut self, service: &ServiceName, user: &str) -> Outcome {
        if let Err(outcome) = self.known(service) {
            return outcome;
        }
        let name = self
            .desired
            .as_ref()
            .and_then(|desired| desired.services.get(service))
            .map(|spec| spec.container_name.to_string());
        let container = name.and_then(|name| self.observer.observed.containers.get(&name));
        let Some(container) = container else {
            return refused(format!("{service} has no container to restart"));
        };
        let id = container.id.clone();
        self.memory.restart_requests.insert(service.clone(), id);
        self.touched(Some(service));
        self.tell(Severity::Normal, "RestartRequested", service.as_str(), &format!("by {user}"));
        Outcome::done(format!("{service} is to be restarted"))
    }

    fn retry(&mut self, service: &ServiceName, user: &str) -> Outcome {
        if let Err(outcome) = self.known(service) {
            return outcome;
        }
        let Some(instance) = self.memory.instances.get_mut(service) else { return Outcome::done("nothing to retry") };
        if instance.quarantine.take().is_none() && instance.last_error.is_none() {
            return refused(format!("{service} has not failed"));
        }
        instance.last_error = None;
        instance.failures = 0;
        instance.retry_at = None;
        instance.gate = None;
        self.refresh_proven();
        self.touched(Some(service));
        self.tell(Severity::Normal, "Retried", service.as_str(), &format!("by {user}"));
        Outcome::done(format!("{service} is tried again"))
    }

    fn run_job(&mut self, job: &JobName, user: &str) -> Outcome {
        if !self.desired.as_ref().is_some_and(|desired| desired.jobs.contains_key(job)) {
            return refused(format!("there is no job `{job}` on this host"));
        }
        self.memory.jobs.remove(job);
        for record in self.memory.changes.values_mut() {
            record.done.remove(job);
        }
        self.save_memory();
        self.dirty.insert(Subject::Job(job.clone()));
        self.tell(Severity::Normal, "JobRequested", job.as_str(), &format!("by {user}"));
        Outcome::done(format!("{job} is to run"))
    }

    fn approve(&mut self, plan_id: &str, user: &str) -> Outcome {
        let Some(pending) = self.pending.clone() else { return refused("no edit waits for approval") };
        let (current, _) = self.preview(&pending.desired);
        if current != plan_id {
            return refused(format!("the plan that waits is {current}, not {plan_id}; look at it again"));
        }
        if let Err(error) = self.accept(pending.desired.as_ref().clone(), user, "approved edit") {
            return Outcome::not(OutcomeCode::Failed, error);
        }
        self.pending = None;
        self.end_pins();
        Outcome::done(format!("generation {} is in force", pending.desired.generation))
    }

    fn allow_prune(&mut self, generation: Option<u64>, user: &str) -> Outcome {
        let Some(desired) = self.desired.clone() else { return refused("there is no desired state yet") };
        let generation = generation.unwrap_or(desired.generation);
        if generation != desired.generation {
            return refused(format!("generation {} is in force, not {generation}", desired.generation));
        }
        self.memory.prune_allowed = Some(generation);
        self.touched(None);
        self.tell(Severity::Normal, "PruneAllowed", "", &format!("generation {generation}, by {user}"));
        Outcome::done(format!("the removals of generation {generation} are allowed"))
    }

    fn destroy(&mut self, volumes: bool, user: &str, replies: Replies) {
        let Some(desired) = self.desired.clone() else {
            replies.finish(refused("there is nothing to destroy: no state was ever accepted here"));
            return;
        };
        let mut named: BTreeSet<String> = BTreeSet::new();
        if volumes {
            named.extend(desired.volumes.iter().filter(|(_, spec)| !spec.external).map(|(name, _)| name.to_string()));
            let mounts = desired.services.values().flat_map(|spec| spec.settings.volumes.iter().flatten());
            named.extend(mounts.filter_map(|(_, mount)| match mount {
                Mount::Volume { source: Some(name), .. }
                    if desired.volumes.get(name.as_str()).is_none_or(|spec| !spec.external) =>
                {
                    Some(name.clone())
                }
                _ => None,
            }));
        }
        let generation = accept::next_generation(Some(&desired), &self.memory, 0);
        let empty = HostDesired {
            generation,
            services: indexmap::IndexMap::default(),
            jobs: indexmap::IndexMap::default(),
            networks: std::collections::BTreeMap::default(),
            volumes: std::collections::BTreeMap::default(),
            behaviours: std::collections::BTreeMap::default(),
            procedures: Vec::new(),
            filesets: Vec::new(),
            waits: Waits::default(),
            ..desired.as_ref().clone()
        };
        // An end that is not written down would be undone by a restart, half way through.
        if let Err(error) = self.accept(empty, user, "destroy") {
            self.decline(Outcome::not(OutcomeCode::Failed, error), replies);
            return;
        }
        self.mode.follow_source = false;
        self.pending = None;
        self.tell(
            Severity::Warning,
            "Destroying",
            "",
            &format!("by {user}, volumes: {}", if volumes { "too" } else { "stay" }),
        );
        self.memory.prune_allowed = Some(generation);
        self.memory.holds.clear();
        self.save_memory();
        self.destroying = Some(Destroying { volumes: named, replies });
    }

    /// The end of a destroy: once no container and no network is left, files and volumes go.
    pub(super) async fn finish_destroy(&mut self) {
        if self.destroying.is_none() || !self.is_quiet() || !self.observer.is_connected() {
            return;
        }
        let summary = self.summary();
        if summary.is_stuck() {
            if let Some(destroying) = self.destroying.take() {
                destroying.replies.finish(Outcome::not(OutcomeCode::Failed, summary.complaint()));
                self.finished = true;
            }
            return;
        }
        if !summary.is_converged() {
            return;
        }
        let Some(destroying) = self.destroying.take() else { return };
        let mut complaints = Vec::new();
        match self.ports.files.keys().await {
            Ok(keys) => {
                for key in keys {
                    if let Err(error) = self.ports.files.remove(&key).await {
                        complaints.push(error.to_string());
                    }
                }
            }
            Err(error) => complaints.push(error.to_string()),
        }
        for volume in &destroying.volumes {
            if let Err(error) = self.ports.engine.remove_volume(volume).await {
                complaints.push(format!("{volume}: {error}"));
            }
        }
        let outcome = if complaints.is_empty() {
            Outcome::done("nothing of the site is left on this host")
        } else {
            Outcome::not(OutcomeCode::Failed, complaints.join("\n"))
        };
        self.tell(Severity::Normal, "Destroyed", "", &outcome.message);
        destroying.replies.finish(outcome);
        self.finished = true;
    }

    /// For those who ask before the first turn has looked.
    async fn look_once(&mut self) {
        if !self.observer.is_connected() && self.engine_failures == 0 {
            self.turn_without_steps().await;
        }
    }

    pub(super) fn note_converged(&mut self) {
        let converged = self.is_quiet() && self.summary().is_converged() && self.observer.is_connected();
        match (converged, self.converged_since, self.changed_at.take()) {
            (true, None, changed) => {
                self.converged_since = Some(Instant::now());
                self.repeated.clear();
                self.garbage_due = true;
                if let Some(changed) = changed {
                    self.ports.metrics.converged_after(crate::report::metrics::Trigger::Resync, changed.elapsed());
                }
            }
            (true, Some(_), _) => {}
            (false, _, changed) => {
                self.converged_since = None;
                self.changed_at = changed.or_else(|| Some(Instant::now()));
            }
        }
    }

    pub(super) fn status_of_desired(&self) -> Option<Arc<HostDesired>> {
        self.desired.clone()
    }
}

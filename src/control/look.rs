//! The first part of a turn: looking where something may have changed, and marking what has to be planned anew.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::model::desired::HostDesired;
use crate::model::image::ImageRef;
use crate::model::labels;
use crate::model::names::ServiceName;
use crate::observe::observed::EngineState;
use crate::plan::step::Subject;
use crate::port::engine::EngineError;
use crate::report::event::Severity;
use crate::report::metrics::ReconcileError;

use super::outcome::Look;
use super::reconciler::Reconciler;

/// Milliseconds that the clock may be off against the passing of time between two turns.
const CLOCK_STEP: u64 = 2000;

impl Reconciler {
    /// Looks at everything that a state which is not in force would be planned with.
    pub(super) async fn look_for(&mut self, desired: &HostDesired) -> Result<(), EngineError> {
        self.observer.look_for(desired, &self.memory, self.image_references(desired));
        self.observer.deep(desired).await?;
        self.observer.recall_accounts(&self.memory);
        self.recognise(desired).await
    }

    /// In familiar form: of what is to run, of what is gone back to, and of what is in force meanwhile.
    fn image_references(&self, desired: &HostDesired) -> BTreeSet<String> {
        let states = std::iter::once(desired).chain(self.desired.as_deref());
        let of_states = states.flat_map(|state| {
            let variants = state.behaviours.values().flat_map(|behaviour| behaviour.variants.values());
            let services = state.services.values().chain(variants).map(|spec| &spec.image);
            services.chain(state.jobs.values().map(|job| &job.image))
        });
        of_states.chain(self.proven.values().map(|spec| &spec.image)).map(ImageRef::familiar).collect()
    }

    /// After what may be needed has changed: nothing is planned with an image that the engine was not asked for.
    pub(super) fn look_for_new_images(&mut self) {
        let Some(desired) = &self.desired else { return };
        let known = &self.observer.observed.image_ids;
        if self.image_references(desired).iter().any(|reference| !known.contains_key(reference)) {
            self.looks.insert(Look::Images);
        }
    }

    /// Where no state was ever accepted, or it was lost, the containers that are there tell how far the numbers went: an
    /// older generation never comes after a newer one. An engine that does not answer tells nothing.
    pub(super) async fn look_before(&mut self) {
        if self.desired.is_some() {
            return;
        }
        let Ok(containers) = self.ports.engine.list_containers().await else { return };
        let left = containers.into_iter().filter_map(|container| {
            let label = |name: &str| container.labels.get(name).cloned();
            Some((label(labels::SITE)?, label(labels::HOST)?, label(labels::GENERATION)?.parse().ok()?))
        });
        self.left = left.collect();
    }

    /// Waits are told by the clock: after a step of it all of them are moved with it, and reckoned anew.
    pub(super) fn notice_clock_step(&mut self) {
        let (now, clock) = (Instant::now(), self.now());
        let (then, clock_then) = self.clock_seen;
        let passed = i64::try_from(now.duration_since(then).as_millis()).unwrap_or(i64::MAX);
        let shown = clock.0.saturating_sub(clock_then.0);
        if passed.abs_diff(shown) > CLOCK_STEP {
            let step = shown.saturating_sub(passed);
            tracing::warn!(milliseconds = step, "the clock was stepped");
            self.memory.clock_stepped(step);
            self.memory_dirty.get_or_insert(now);
            for (_, until, _) in self.other_failures.values_mut() {
                *until = until.stepped(step);
            }
            self.all_dirty = true;
        }
        self.clock_seen = (now, clock);
    }

    /// Looks where something may have changed.
    pub(super) async fn look(&mut self) {
        let now = Instant::now();
        if now >= self.next_deep {
            self.looks.insert(Look::Deep);
        } else if now >= self.next_light {
            self.looks.insert(Look::Light);
        }
        let Some(desired) = self.desired.clone() else {
            self.looks.clear();
            self.schedule_passes(true);
            return;
        };
        if self.looks.is_empty() {
            return;
        }
        let lost = !self.observer.is_connected();
        if lost && now < self.next_light && !self.looks.contains(&Look::Deep) {
            return;
        }
        let looks = std::mem::take(&mut self.looks);
        self.observer.look_for(&desired, &self.memory, self.image_references(&desired));
        let result = if lost || looks.contains(&Look::Deep) {
            self.all_dirty = true;
            let mut result = self.observer.deep(&desired).await;
            if result.is_ok() {
                result = self.recognise(&desired).await;
            }
            if result.is_ok() {
                self.schedule_passes(true);
                self.garbage_due = true;
                self.facts_due = true;
                self.engine_seen();
            }
            result
        } else {
            self.look_at(&looks).await
        };
        self.observer.recall_accounts(&self.memory);
        match result {
            Ok(()) => {
                self.engine_failures = 0;
                self.observed_at = Some(self.now());
                self.ports.metrics.reconciled(desired.host.as_str(), self.now());
            }
            Err(error) => {
                self.ports.metrics.reconcile_failed(desired.host.as_str(), ReconcileError::Observe);
                self.engine_lost(&error);
            }
        }
    }

    pub(super) fn engine_lost(&mut self, error: &EngineError) {
        if self.observer.is_connected() || matches!(self.observer.observed.engine, EngineState::NotAsked) {
            self.tell(Severity::Warning, "EngineDown", "", &error.to_string());
        }
        self.observer.lost(error);
        self.all_dirty = true;
        self.looks.clear();
        self.schedule_retry();
    }

    pub(super) fn engine_seen(&mut self) {
        let EngineState::Known(version) = &self.observer.observed.engine else { return };
        let text = format!("{} {} (API {}.{})", version.engine, version.version, version.api.0, version.api.1);
        let before = self.memory.engine_version.replace(text.clone());
        if before.as_ref().is_some_and(|before| *before != text) {
            self.observe_only = true;
            self.memory_dirty.get_or_insert_with(Instant::now);
            let message = format!("{} became {text}; this pass only observes", before.unwrap_or_default());
            self.tell(Severity::Normal, "EngineUpgraded", "", &message);
        }
        if self.engine_failures > 0 {
            self.tell(Severity::Normal, "EngineUp", "", &text);
        }
    }

    pub(super) async fn look_at(&mut self, looks: &BTreeSet<Look>) -> Result<(), EngineError> {
        let Some(desired) = self.desired.clone() else { return Ok(()) };
        if looks.contains(&Look::Light) {
            self.observer.light(&desired).await?;
            self.all_dirty = true;
            self.schedule_passes(false);
        }
        for look in looks {
            match look {
                Look::Container(id) => {
                    let before = self.subject_of(id);
                    self.observer.container(id).await?;
                    let after = self.subject_of(id);
                    for subject in before.into_iter().chain(after) {
                        self.mark(&subject);
                    }
                }
                Look::Files(key) => {
                    self.observer.files(key).await;
                    self.all_dirty |= self.mark_files(key);
                }
                Look::Networks => {
                    self.observer.networks().await?;
                    self.all_dirty = true;
                }
                Look::Volumes => {
                    self.observer.volumes(&desired).await?;
                    self.note_volumes(&desired);
                    self.all_dirty = true;
                }
                Look::Images => {
                    self.observer.images().await?;
                    self.all_dirty = true;
                }
                Look::Light | Look::Deep => {}
            }
        }
        Ok(())
    }

    pub(super) fn mark_files(&mut self, key: &str) -> bool {
        let Some(desired) = &self.desired else { return false };
        let instance = key.split('/').next().unwrap_or_default();
        let found = desired.services.iter().find(|(_, spec)| spec.container_name.as_str() == instance);
        match found {
            Some((service, _)) => {
                self.dirty.insert(Subject::Service(service.clone()));
                false
            }
            None => true,
        }
    }

    pub(super) fn subject_of(&self, id: &str) -> Option<Subject> {
        use crate::model::labels::{JOB, SERVICE};
        let container = self.observer.observed.containers.values().find(|container| container.id == id)?;
        let service = container.label(SERVICE).and_then(|name| ServiceName::new(name).ok()).map(Subject::Service);
        let job =
            || container.label(JOB).and_then(|name| crate::model::names::JobName::new(name).ok()).map(Subject::Job);
        service.or_else(job)
    }

    /// Something about a subject changed: it is planned anew, and so is what waits for it. Strangers may touch anything.
    pub(super) fn mark(&mut self, subject: &Subject) {
        let known = self.plans.contains_key(subject);
        if !known {
            self.all_dirty = true;
            return;
        }
        self.dirty.insert(subject.clone());
        self.mark_dependents(subject);
    }

    pub(super) fn mark_dependents(&mut self, subject: &Subject) {
        let Some(desired) = self.desired.clone() else { return };
        let name = subject.to_string();
        for (service, spec) in &desired.services {
            if spec.depends_on.contains_key(&name) {
                self.dirty.insert(Subject::Service(service.clone()));
            }
        }
        for (job, spec) in &desired.jobs {
            if spec.depends_on.contains_key(&name) || spec.done_when.is_some() {
                self.dirty.insert(Subject::Job(job.clone()));
            }
        }
    }
}

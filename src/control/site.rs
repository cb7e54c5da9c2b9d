//! Reading the site, taking it as the desired state, and knowing the specs that were ready before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admit::window::Closed;
use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::fileset::fill_all;
use crate::model::labels;
use crate::model::memory::Proven;
use crate::model::names::ServiceName;
use crate::model::time::Timestamp;
use crate::plan::host;
use crate::plan::id::plan_id;
use crate::port::store::Revision;
use crate::report::event::Severity;
use crate::report::metrics::Phase;
use crate::report::status::BadSiteFile;

use super::accept::{self, Acceptance, Consent};
use super::command::OutcomeCode;
use super::outcome::Look;
use super::reconciler::{PendingEdit, Reconciler};

/// What failed for the disk's sake is tried again after this: no edit will tell that there is room again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Who accepts what nobody asked for.
pub(super) const AGENT: &str = "agent";

impl Reconciler {
    /// Reads the site. What cannot be read leaves in force what was accepted; [`Self::bad_site`] knows why.
    pub(super) fn read_site(&mut self, asked: bool) {
        let _known = self.read_site_as(AGENT, Consent::default(), asked);
    }

    /// The same on behalf of somebody, who is to hear whether it was taken.
    pub(super) fn read_site_as(&mut self, user: &str, consent: Consent<'_>, asked: bool) -> Result<(), OutcomeCode> {
        self.read_again = None;
        let key = match self.ports.store.site_key() {
            Ok(key) => key,
            Err(error) => {
                self.bad_site(1, format!("the key of the site cannot be read: {error}"));
                self.read_again = Some(Instant::now() + READ_AGAIN);
                return Err(OutcomeCode::Failed);
            }
        };
        let began = Instant::now();
        let facts = self.facts.borrow_and_update().clone();
        let loaded = self.ports.source.load(&key, &facts);
        self.ports.metrics.phase_took(Phase::Render, began.elapsed());
        match loaded {
            Ok(loaded) => {
                self.set_paths(loaded.paths);
                // What was not asked for so far is asked for now.
                self.facts_due |= self.asks_facts.is_none();
                self.asks_facts = loaded.asks_facts;
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                if let Err(error) = self.consider(&loaded.desired, user, consent) {
                    self.bad_site(1, error);
                    self.read_again = Some(Instant::now() + READ_AGAIN);
                    return Err(OutcomeCode::Failed);
                }
                if self.bad_site.take().is_some() || asked {
                    self.tell(Severity::Normal, "SiteRead", "", "the site can be read");
                }
                let now = self.now();
                self.ports.metrics.site_accepted(now);
                Ok(())
            }
            Err(bad) => {
                self.set_paths(bad.paths);
                self.bad_site(bad.errors, bad.message);
                Err(OutcomeCode::InvalidSite)
            }
        }
    }

    /// Reads the site once more where only the disk was in the way.
    pub(super) fn read_site_again(&mut self) {
        if self.mode.follow_source && self.read_again.is_some_and(|due| due <= Instant::now()) {
            self.read_site(false);
        }
    }

    fn set_paths(&mut self, paths: std::collections::BTreeSet<std::path::PathBuf>) {
        self.source_paths.clone_from(&paths);
        self.paths.send_if_modified(|old| {
            let changed = *old != paths;
            *old = paths;
            changed
        });
    }

    fn bad_site(&mut self, errors: usize, message: String) {
        self.ports.metrics.site_rejected(errors);
        let known = self.bad_site.as_ref().is_some_and(|bad| bad.message == message);
        if known {
            return;
        }
        let first = message.lines().next().unwrap_or_default().to_owned();
        let in_force = match &self.desired {
            Some(desired) => format!("generation {} stays in force", desired.generation),
            None => "nothing is in force yet".to_owned(),
        };
        self.tell(Severity::Warning, "BadSiteFile", "", &format!("{first} ({errors} errors); {in_force}"));
        self.bad_site = Some(BadSiteFile { since: self.now(), errors, message });
    }

    fn consider(&mut self, read: &HostDesired, user: &str, consent: Consent<'_>) -> Result<(), String> {
        let now = self.now();
        let live = self.live_generation(read);
        match accept::consider(self.desired.as_deref(), read, &self.memory, live, consent, now) {
            Acceptance::Unchanged => self.pending = None,
            Acceptance::Pinned => {}
            Acceptance::Accept(desired) => {
                let cause = consent.now.map_or_else(|| "edit".to_owned(), |reason| format!("edit, at once: {reason}"));
                self.accept(*desired, user, &cause)?;
                self.pending = None;
                // A new source ends the pin of a rollback.
                self.end_pins();
            }
            Acceptance::AwaitApproval(desired) => self.put_off(*desired, None, now),
            Acceptance::AwaitWindow(desired, closed) => self.put_off(*desired, Some(closed), now),
        }
        Ok(())
    }

    /// Keeps an edit until a person, or the time, lets it in.
    fn put_off(&mut self, desired: HostDesired, closed: Option<Closed>, now: Timestamp) {
        let (plan_id, changes) = self.preview(&desired);
        let before = self.pending.as_ref().filter(|pending| pending.plan_id == plan_id);
        if before.is_some_and(|pending| pending.closed == closed) {
            return;
        }
        let since = before.map_or(now, |pending| pending.since);
        let reason = if closed.is_some() { "EditWaits" } else { "EditAwaitsApproval" };
        let pending = PendingEdit { desired: Arc::new(desired), plan_id, changes, since, closed };
        self.tell(Severity::Normal, reason, "", &pending.waits_for());
        self.pending = Some(pending);
    }

    pub(super) fn end_pins(&mut self) {
        let before = self.memory.holds.len();
        self.memory.holds.retain(|hold| hold.kind != crate::model::hold::HoldKind::Pin);
        if self.memory.holds.len() != before {
            self.save_memory();
        }
    }

    /// What the next generation would be, without taking it. An error where the site cannot be read.
    pub(super) fn candidate(&self) -> Result<HostDesired, String> {
        let key = self.ports.store.site_key().map_err(|error| error.to_string())?;
        self.candidate_with(&key)
    }

    /// The same with another key of the site.
    pub(super) fn candidate_with(&self, key: &[u8]) -> Result<HostDesired, String> {
        let loaded = self.ports.source.load(key, &self.facts_now()).map_err(|bad| bad.message)?;
        let live = self.live_generation(&loaded.desired);
        let consent = Consent { approved: true, now: Some("") };
        let next = accept::consider(self.desired.as_deref(), &loaded.desired, &self.memory, live, consent, self.now());
        Ok(match (next, &self.desired) {
            (Acceptance::Accept(next) | Acceptance::AwaitApproval(next) | Acceptance::AwaitWindow(next, _), _) => *next,
            (_, Some(desired)) => desired.as_ref().clone(),
            (_, None) => loaded.desired,
        })
    }

    /// The plan's name and number of changes, if this state were in force.
    pub(super) fn preview(&self, desired: &HostDesired) -> (String, usize) {
        let mut desired = desired.clone();
        fill_all(&mut desired, &self.contents());
        let desired = &desired;
        let proven = self.proven_against(desired);
        let reports = self.reports.borrow().clone();
        let input = self.input(desired, &proven, &reports);
        let plans = host::plan_with(&input, self.ports.planner.as_ref());
        (plan_id(desired, &plans), plans.iter().filter(|plan| plan.change.is_some()).count())
    }

    /// Takes a state as the next generation: first on disk, then in force. What is not on disk would be forgotten by a
    /// reboot, so where it cannot be kept the old state stays in force.
    pub(super) fn accept(&mut self, mut desired: HostDesired, user: &str, cause: &str) -> Result<(), String> {
        // What is born at run time is no part of it.
        fill_all(&mut desired, &BTreeMap::new());
        let revision = Revision {
            generation: desired.generation,
            accepted_at: self.now(),
            user: user.to_owned(),
            source_digest: desired.source_digest.clone(),
            cause: cause.to_owned(),
        };
        let keep = accept::revisions_in_use(&self.memory);
        if let Err(error) = self.ports.store.save_accepted(&desired, &revision, &keep) {
            self.store_error = Some(error.to_string());
            self.memory_dirty.get_or_insert_with(Instant::now);
            return Err(format!("the new generation cannot be kept: {error}"));
        }
        accept::forget_old_failures(&mut self.memory, &desired);
        self.other_failures.clear();
        let generation = desired.generation;
        let services = desired.services.len();
        self.put_in_force(Arc::new(desired));
        self.save_memory();
        self.tell(
            Severity::Normal,
            "Accepted",
            "",
            &format!("generation {generation} ({cause}, by {user}): {services} services"),
        );
        Ok(())
    }

    pub(super) fn put_in_force(&mut self, desired: Arc<HostDesired>) {
        self.note_wanted(&desired);
        self.refused.clear();
        let desired = self.with_filesets(desired);
        let proven = self.proven_against(&desired);
        let first = self.desired.is_none();
        self.desired = Some(desired);
        self.proven = proven;
        self.fill_proven();
        self.renew_redactor();
        self.all_dirty = true;
        self.repeated.clear();
        self.changed_at = Some(Instant::now());
        self.converged_since = None;
        // New references may mean images that have not been looked at; new files may lie there already.
        if first {
            self.looks.insert(Look::Deep);
        } else {
            self.looks.insert(Look::Images);
            if let Some(desired) = &self.desired {
                let has_files = |spec: &&Arc<InstanceDesired>| !spec.files.is_empty() || !spec.filesets.is_empty();
                for spec in desired.services.values().filter(has_files) {
                    let key = crate::plan::files::key(spec.container_name.as_str(), &spec.create_hash);
                    if !self.observer.observed.files.contains_key(&key) {
                        self.looks.insert(Look::Files(key));
                    }
                }
                if !desired.volumes.is_empty() {
                    self.looks.insert(Look::Volumes);
                }
            }
        }
    }

    /// The specs to go back to: those that were ready and are not what is asked for.
    pub(super) fn proven_against(&self, desired: &HostDesired) -> BTreeMap<ServiceName, Arc<InstanceDesired>> {
        let mut revisions: BTreeMap<u64, Option<HostDesired>> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for (service, memory) in &self.memory.instances {
            let Some(proven) = &memory.proven else { continue };
            let is = |spec: &Arc<InstanceDesired>| spec.input_hash == proven.input_hash;
            if desired.services.get(service).is_none_or(is) {
                continue;
            }
            let in_force = self.desired.as_ref().and_then(|old| old.services.get(service)).filter(|spec| is(spec));
            let known = in_force.or_else(|| self.proven.get(service).filter(|spec| is(spec))).cloned();
            let spec = known.or_else(|| {
                let revision = revisions
                    .entry(proven.generation)
                    .or_insert_with(|| self.ports.store.load_revision(proven.generation).unwrap_or(None));
                revision.as_ref()?.services.get(service).filter(|spec| is(spec)).cloned()
            });
            if let Some(spec) = spec {
                found.insert(service.clone(), spec);
            }
        }
        found
    }

    pub(super) fn refresh_proven(&mut self) {
        if let Some(desired) = self.desired.clone() {
            self.proven = self.proven_against(&desired);
            self.look_for_new_images();
            self.fill_proven();
        }
    }

    pub(super) fn proven_now(&mut self, service: &ServiceName, proven: &Proven) {
        // The revision in force holds the same spec, and is the one that stays the longest.
        if let Some(desired) = &self.desired
            && desired.services.get(service).is_some_and(|spec| spec.input_hash == proven.input_hash)
            && let Some(memory) = self.memory.instances.get_mut(service)
            && let Some(known) = &mut memory.proven
        {
            known.generation = desired.generation;
        }
        self.granted.remove(service);
        self.to_release.insert(service.clone());
        self.memory.retries.remove(service);
        self.tell(Severity::Normal, "Ready", service.as_str(), "");
    }

    /// The spec that is being brought about for a service.
    pub(super) fn spec_in_force(&self, service: &ServiceName) -> Option<&Arc<InstanceDesired>> {
        let wanted = self.desired.as_ref()?.services.get(service)?;
        let failed = self.memory.instances.get(service).and_then(|memory| memory.quarantine.as_ref());
        let is_failed = failed.is_some_and(|failed| failed.input_hash == wanted.input_hash)
            && !self.memory.retries.contains(service);
        let memory = self.memory.instances.get(service);
        let is_hindered = memory.is_some_and(|memory| memory.hindered(&wanted.input_hash, self.now()).is_some());
        Some(if is_failed || is_hindered { self.proven.get(service).unwrap_or(wanted) } else { wanted })
    }

    /// The highest generation on labels of containers of ours.
    fn live_generation(&self, desired: &HostDesired) -> u64 {
        let (site, host) = (desired.site.as_str(), desired.host.as_str());
        let seen = self.observer.observed.containers.values();
        let seen = seen
            .filter(|container| container.is_labelled(site, host))
            .filter_map(|container| container.label(labels::GENERATION)?.parse().ok());
        let left =
            self.left.iter().filter(|(of, on, _)| of == site && on == host).map(|(_, _, generation)| *generation);
        seen.chain(left).max().unwrap_or(0)
    }
}

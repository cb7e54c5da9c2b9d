//! Filesets of a site, as one host sees them: opens what hosts agree on, puts it into the specs, has made what is not there
//! yet, and writes down what was made.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::admit::fileset::{self, Decision, Input};
use crate::execute::Done;
use crate::model::desired::HostDesired;
use crate::model::fileset::{Contents, FilesetDesired, FilesetRecord, FilesetReport, fill, fill_all};
use crate::model::names::FilesetName;
use crate::model::peers::Reports;
use crate::model::secret::Sensitive;
use crate::model::time::Timestamp;
use crate::plan::fileset::{FilesetOrder, copy, is_current};
use crate::plan::host::HostInput;
use crate::plan::step::{Step, Subject};
use crate::port::coordinator::Record;
use crate::render::seal::keyed;
use crate::report::event::Severity;
use crate::report::redact::Redactor;

use super::reconciler::Reconciler;

/// What is written is read again; more than so many times would be a mistake.
const ROUNDS: usize = 4;

/// What is known of filesets.
#[derive(Debug, Default)]
pub(super) struct Filesets {
    /// Contents, and their revision.
    known: BTreeMap<FilesetName, (u64, Contents)>,
    /// What stands with the coordinator, as it was last read.
    records: BTreeMap<FilesetName, Standing>,
    /// Whether what stands there may have changed since.
    pub(super) stale: bool,
    /// Made here, and not yet written down: from which revision, and what.
    made: BTreeMap<FilesetName, (u64, Contents)>,
    /// What is to be done.
    orders: BTreeMap<FilesetName, FilesetOrder>,
    /// Since when not all have been heard.
    since: BTreeMap<FilesetName, Timestamp>,
    /// How it was here: revision, and whether all had it.
    seen: BTreeMap<FilesetName, (u64, bool)>,
    /// When to look again.
    pub(super) wake: Option<Timestamp>,
}

/// A record, or that there is none.
#[derive(Debug)]
struct Standing {
    /// What to write over.
    over: u64,
    /// None where there is none, or one that nobody can read.
    record: Option<FilesetRecord>,
}

impl Standing {
    fn of(found: Option<Record>) -> Self {
        let over = found.as_ref().map_or(0, |found| found.revision);
        Self { over, record: found.and_then(|found| serde_json::from_value(found.content).ok()) }
    }

    fn revision(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.revision)
    }
}

fn about(desired: &HostDesired, name: &FilesetName, revision: u64) -> String {
    format!("{} fileset {name} {revision}", desired.site)
}

fn key(fileset: &FilesetDesired) -> [u8; 32] {
    keyed(fileset.key.expose(), b"mastic fileset")
}

impl Reconciler {
    /// Contents by name.
    pub(super) fn contents(&self) -> BTreeMap<FilesetName, Contents> {
        self.filesets.known.iter().map(|(name, (_, contents))| (name.clone(), contents.clone())).collect()
    }

    fn open(&self, desired: &HostDesired, fileset: &FilesetDesired, record: &FilesetRecord) -> Option<Contents> {
        let about = about(desired, &fileset.fileset, record.revision);
        let plain = self.ports.vault.open(&key(fileset), &about, &record.sealed)?;
        serde_json::from_slice(plain.expose()).ok()
    }

    fn seal(
        &self,
        desired: &HostDesired,
        fileset: &FilesetDesired,
        revision: u64,
        contents: &Contents,
    ) -> Option<String> {
        let plain = Sensitive::new(serde_json::to_vec(contents).ok()?);
        self.ports.vault.seal(&key(fileset), &about(desired, &fileset.fileset, revision), &plain)
    }

    /// A state as it comes into force: with the files of all filesets that are remembered.
    pub(super) fn with_filesets(&mut self, mut desired: Arc<HostDesired>) -> Arc<HostDesired> {
        self.filesets.stale = true;
        if desired.filesets.is_empty() {
            return desired;
        }
        for fileset in &desired.filesets {
            let known = self.filesets.known.get(&fileset.fileset).map_or(0, |(revision, _)| *revision);
            let Some(record) = self.memory.filesets.get(&fileset.fileset) else { continue };
            if record.revision > known
                && let Some(contents) = self.open(&desired, fileset, record)
            {
                self.filesets.known.insert(fileset.fileset.clone(), (record.revision, contents));
            }
        }
        fill_all(Arc::make_mut(&mut desired), &self.contents());
        desired
    }

    /// The same for a spec to go back to.
    pub(super) fn fill_proven(&mut self) {
        let contents = self.contents();
        for spec in self.proven.values_mut() {
            *spec = fill(spec, &contents);
        }
    }

    /// What containers and engines say is cleared of all secrets, and of these.
    pub(super) fn renew_redactor(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        let contents = self.filesets.known.values().flat_map(|(_, contents)| contents.values());
        let all = desired.secrets.iter().chain(contents).map(Sensitive::expose);
        self.redactor = Redactor::new(all);
    }

    /// Contents that were not known before: specs get them, and what they are for is planned anew.
    fn refill(&mut self) {
        let Some(mut desired) = self.desired.clone() else { return };
        fill_all(Arc::make_mut(&mut desired), &self.contents());
        self.desired = Some(desired);
        self.fill_proven();
        self.renew_redactor();
        self.all_dirty = true;
        self.changed_at = Some(Instant::now());
        self.repeated.clear();
    }

    /// Reads what stands with the coordinator, writes down what was made, and decides what is to be done.
    pub(super) async fn decide_filesets(&mut self) {
        self.filesets.wake = None;
        let Some(desired) = self.desired.clone() else { return };
        if desired.filesets.is_empty() {
            self.filesets.orders.clear();
            return;
        }
        let mut orders = BTreeMap::new();
        for _ in 0..ROUNDS {
            self.write_made(&desired).await;
            self.read_records().await;
            let Some(desired) = self.desired.clone() else { return };
            let reports = self.all_reports(&desired);
            orders.clear();
            let mut wrote = false;
            for fileset in &desired.filesets {
                wrote |= self.decide_fileset(&desired, fileset, &reports, &mut orders).await;
            }
            if !wrote {
                break;
            }
            self.filesets.stale = true;
        }
        for fileset in &desired.filesets {
            let name = &fileset.fileset;
            if self.filesets.orders.get(name) != orders.get(name) {
                self.dirty.insert(Subject::Fileset(name.clone()));
            }
        }
        self.filesets.orders.clone_from(&orders);
        self.procedures.orders.filesets = orders;
    }

    /// Whether it wrote something.
    async fn decide_fileset(
        &mut self,
        desired: &HostDesired,
        fileset: &FilesetDesired,
        reports: &Reports,
        orders: &mut BTreeMap<FilesetName, FilesetOrder>,
    ) -> bool {
        let name = &fileset.fileset;
        if self.filesets.made.contains_key(name) {
            return false;
        }
        let Some(standing) = self.filesets.records.get(name) else {
            if !self.filesets.known.contains_key(name) {
                let why = format!("what is agreed on about the fileset `{name}` cannot be read");
                let order = FilesetOrder::Wait { reason: "CoordinatorUnreachable", why, until: None };
                orders.insert(name.clone(), order);
            }
            return false;
        };
        let known = self.filesets.known.get(name).map_or(0, |(revision, _)| *revision);
        let Decision { order, puts_back, wake, since } = fileset::decide(&Input {
            fileset,
            host: &desired.host,
            record: standing.record.as_ref(),
            opens: known > 0 && known == standing.revision(),
            reports,
            since: self.filesets.since.get(name).copied(),
            acts: self.mode.act,
            now: self.now(),
        });
        let over = standing.over;
        match since {
            Some(since) => drop(self.filesets.since.insert(name.clone(), since)),
            None => drop(self.filesets.since.remove(name)),
        }
        if let Some(wake) = wake {
            self.filesets.wake = Some(self.filesets.wake.map_or(wake, |before| before.min(wake)));
        }
        self.note_differing(desired, fileset, reports);
        if let Some(order) = order {
            orders.insert(name.clone(), order);
        }
        let Some(record) = self.memory.filesets.get(name).filter(|_| puts_back).cloned() else { return false };
        let Ok(content) = serde_json::to_value(&record) else { return false };
        if self.ports.coordinator.put_record(&fileset.record_name(), over, content).await == Ok(true) {
            let message = format!("revision {}, which was not agreed on any more", record.revision);
            self.tell(Severity::Warning, "FilesetPutBack", &Subject::Fileset(name.clone()).to_string(), &message);
            return true;
        }
        false
    }

    /// Tells of files that were right, and are not any more.
    fn note_differing(&mut self, desired: &HostDesired, fileset: &FilesetDesired, reports: &Reports) {
        let name = &fileset.fileset;
        let Some(own) = reports.get(&desired.host).and_then(|report| report.filesets.get(name)) else { return };
        let now = (own.revision, own.current);
        let before = self.filesets.seen.insert(name.clone(), now);
        if before == Some((own.revision, true)) && !own.current && self.observer.is_connected() {
            let message = format!("what sees it here has not the files of revision {}", own.revision);
            self.tell(Severity::Warning, "FilesetDiffers", &Subject::Fileset(name.clone()).to_string(), &message);
        }
    }

    async fn read_records(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        if !self.filesets.stale && self.filesets.records.len() == desired.filesets.len() {
            return;
        }
        self.filesets.stale = false;
        let mut changed = false;
        for fileset in &desired.filesets {
            let name = &fileset.fileset;
            let Ok(found) = self.ports.coordinator.record(&fileset.record_name()).await else {
                // What was read stands, and it is read again as soon as that can be.
                self.filesets.stale = true;
                continue;
            };
            let standing = Standing::of(found);
            if let Some(record) = &standing.record {
                changed |= self.take_record(&desired, fileset, record);
            }
            self.filesets.records.insert(name.clone(), standing);
        }
        let is_declared = |name: &FilesetName| desired.filesets.iter().any(|fileset| fileset.fileset == *name);
        self.filesets.records.retain(|name, _| is_declared(name));
        if changed {
            self.refill();
        }
    }

    /// Whether something became known.
    fn take_record(&mut self, desired: &HostDesired, fileset: &FilesetDesired, record: &FilesetRecord) -> bool {
        let name = &fileset.fileset;
        if self.memory.filesets.get(name) == Some(record) && self.filesets.known.contains_key(name) {
            return false;
        }
        let Some(contents) = self.open(desired, fileset, record) else { return false };
        // An older one was put back from an old copy: what is remembered here takes its place again.
        if self.filesets.known.get(name).is_some_and(|(revision, _)| *revision > record.revision) {
            return false;
        }
        self.memory.filesets.insert(name.clone(), record.clone());
        // It may have to be put back, by whoever remembers it.
        self.save_memory();
        self.filesets.known.insert(name.clone(), (record.revision, contents));
        true
    }

    /// Takes what a step has made or found.
    pub(super) fn note_fileset(&mut self, step: &Step, done: &Done) {
        let Done::Fileset(contents) = done else { return };
        let (fileset, base) = match step {
            Step::MakeFileset { fileset, base, .. } => (fileset, *base),
            Step::TakeFileset { fileset, .. } => (fileset, 0),
            _ => return,
        };
        self.filesets.made.insert(fileset.clone(), (base, contents.clone()));
    }

    /// What was made counts from when it is written down; where somebody else was quicker, it never does.
    async fn write_made(&mut self, desired: &HostDesired) {
        for (name, (base, contents)) in std::mem::take(&mut self.filesets.made) {
            let Some(fileset) = desired.filesets.iter().find(|fileset| fileset.fileset == name) else { continue };
            self.filesets.stale = true;
            let Ok(found) = self.ports.coordinator.record(&fileset.record_name()).await else {
                self.filesets.made.insert(name, (base, contents));
                continue;
            };
            let standing = Standing::of(found);
            if standing.revision() != base {
                continue;
            }
            let Some(sealed) = self.seal(desired, fileset, base + 1, &contents) else { continue };
            let record = FilesetRecord { revision: base + 1, since: self.now(), by: desired.host.clone(), sealed };
            let Ok(content) = serde_json::to_value(&record) else { continue };
            match self.ports.coordinator.put_record(&fileset.record_name(), standing.over, content).await {
                Ok(true) => {
                    let reason = if base == 0 { "FilesetCreated" } else { "FilesetUpdated" };
                    let message = format!("revision {}, {} files", record.revision, contents.len());
                    self.tell(Severity::Normal, reason, &Subject::Fileset(name).to_string(), &message);
                }
                Ok(false) => {}
                Err(_) => drop(self.filesets.made.insert(name, (base, contents))),
            }
        }
    }

    /// What others have to know of the filesets here.
    pub(super) fn fileset_reports(&self, input: &HostInput<'_>) -> BTreeMap<FilesetName, FilesetReport> {
        let all = input.desired.filesets.iter().map(|fileset| {
            let revision = self.filesets.known.get(&fileset.fileset).map_or(0, |(revision, _)| *revision);
            let report = FilesetReport {
                revision,
                current: revision > 0 && is_current(input, fileset),
                copy: revision == 0 && copy(input, fileset).is_some(),
            };
            (fileset.fileset.clone(), report)
        });
        all.collect()
    }
}

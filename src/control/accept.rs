//! Taking a site that was read as the desired state: numbering it, waiting for a person where the site says so. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::{HostDesired, SyncMode};
use crate::model::fileset::fill_all;
use crate::model::hold::HoldKind;
use crate::model::memory::HostMemory;
use crate::model::time::Timestamp;

/// What becomes of a site that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It says what is in force already.
    Unchanged,
    /// It is the next generation.
    Accept(Box<HostDesired>),
    /// It waits for `mastic approve`.
    AwaitApproval(Box<HostDesired>),
    /// A rollback pinned the state, and the source is still the one that was rolled back from.
    Pinned,
}

/// Whether two states ask for the same.
pub fn is_same(old: &HostDesired, new: &HostDesired) -> bool {
    let mut new = new.clone();
    new.generation = old.generation;
    new.source_digest.clone_from(&old.source_digest);
    fill_all(&mut new, &BTreeMap::new());
    if old.filesets.is_empty() {
        return *old == new;
    }
    let mut old = old.clone();
    fill_all(&mut old, &BTreeMap::new());
    old == new
}

/// What waits for facts stays as it was in force, with all that it needs; what never was is left out.
fn with_what_stays(accepted: Option<&HostDesired>, read: &HostDesired) -> HostDesired {
    let mut read = read.clone();
    let Some(old) = accepted.filter(|_| !read.waits.is_empty()) else { return read };
    for (name, spec) in old.services.iter().filter(|(name, _)| read.waits.services.contains_key(*name)) {
        read.services.entry(name.clone()).or_insert_with(|| spec.clone());
        if let Some(behaviour) = old.behaviours.get(name) {
            read.behaviours.entry(name.clone()).or_insert_with(|| behaviour.clone());
        }
    }
    for (name, job) in old.jobs.iter().filter(|(name, _)| read.waits.jobs.contains_key(*name)) {
        read.jobs.entry(name.clone()).or_insert_with(|| job.clone());
    }
    for (name, network) in &old.networks {
        read.networks.entry(name.clone()).or_insert_with(|| network.clone());
    }
    for (name, volume) in &old.volumes {
        read.volumes.entry(name.clone()).or_insert_with(|| volume.clone());
    }
    for (name, hosts) in &old.placement {
        read.placement.entry(name.clone()).or_insert_with(|| hosts.clone());
    }
    read
}

/// Decides. `live_generation` is the highest one on labels of live containers.
pub fn consider(
    accepted: Option<&HostDesired>,
    read: &HostDesired,
    memory: &HostMemory,
    live_generation: u64,
    approved: bool,
    now: Timestamp,
) -> Acceptance {
    let read = &with_what_stays(accepted, read);
    let pinned = memory.holds.iter().any(|hold| {
        hold.kind == HoldKind::Pin && hold.is_active(now) && hold.reason.ends_with(&pin_mark(&read.source_digest))
    });
    if pinned && !approved {
        return Acceptance::Pinned;
    }
    // Where the source counts for the whole site, all hosts follow its number, those too that have nothing to change.
    // Facts of machines make generations as well, so that the number alone does not tell which source was taken.
    let is_taken = |accepted: &HostDesired| {
        read.generation == 0 || (read.generation <= accepted.generation && read.source_digest == accepted.source_digest)
    };
    if accepted.is_some_and(|accepted| is_taken(accepted) && is_same(accepted, read)) {
        return Acceptance::Unchanged;
    }
    let mut next = read.clone();
    next.generation = next_generation(accepted, memory, live_generation).max(read.generation);
    // The first state of a host has nothing to be compared with, and nothing to disturb.
    let waits = read.sync.edits == SyncMode::Approve && accepted.is_some() && !approved;
    if waits { Acceptance::AwaitApproval(Box::new(next)) } else { Acceptance::Accept(Box::new(next)) }
}

/// The end of a pin's reason, by which the source is known that it holds off.
pub fn pin_mark(source_digest: &str) -> String {
    format!("[source {}]", source_digest.get(..12).unwrap_or(source_digest))
}

/// One more than everything that was ever seen.
pub fn next_generation(accepted: Option<&HostDesired>, memory: &HostMemory, live_generation: u64) -> u64 {
    accepted.map_or(0, |accepted| accepted.generation).max(memory.generation).max(live_generation) + 1
}

/// What of the memory is about specs that are no longer asked for: backoff starts afresh with a new spec.
pub fn forget_old_failures(memory: &mut HostMemory, desired: &HostDesired) {
    memory.generation = desired.generation;
    for (service, instance) in &mut memory.instances {
        let Some(spec) = desired.services.get(service) else { continue };
        let stale = instance.last_error.as_ref().is_some_and(|failure| failure.input_hash != spec.input_hash);
        if stale {
            instance.last_error = None;
            instance.failures = 0;
            instance.retry_at = None;
        }
        // A newer spec ends the quarantine of an older one.
        if instance.quarantine.as_ref().is_some_and(|failed| failed.input_hash != spec.input_hash) {
            instance.quarantine = None;
        }
    }
    let waits = &desired.waits;
    memory
        .instances
        .retain(|service, _| desired.services.contains_key(service) || waits.services.contains_key(service));
    memory.jobs.retain(|job, _| desired.jobs.contains_key(job) || waits.jobs.contains_key(job));
    let is_complete = waits.services.is_empty() && waits.jobs.is_empty();
    memory.changes.retain(|name, _| !is_complete || desired.changes.iter().any(|change| change.change == *name));
    memory.restart_requests.retain(|service, _| desired.services.contains_key(service));
    memory.retries.retain(|service| desired.services.contains_key(service));
}

/// The revisions that must be kept, since something may have to go back to them.
pub fn revisions_in_use(memory: &HostMemory) -> BTreeSet<u64> {
    let good = memory.instances.values().flat_map(|instance| instance.proven.iter().chain(&instance.before));
    good.map(|proven| proven.generation).collect()
}

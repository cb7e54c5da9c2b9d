//! Going back to an older state: all of it, or one set of it in the place of the same set of the newer one.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::model::desired::HostDesired;
use crate::model::hold::{Hold, HoldKind};
use crate::model::names::RoleName;
use crate::model::role_set::with_parts;
use crate::port::store::StoreError;
use crate::report::event::Severity;

use super::command::{Outcome, OutcomeCode};
use super::commands::refused;
use super::reconciler::Reconciler;
use super::{accept, changes};

/// What is gone back to.
struct Target {
    generation: u64,
    desired: HostDesired,
    /// In a few words.
    what: String,
}

/// What a person is told who would go back where nothing leads back.
fn no_way_back(reasons: &[String]) -> String {
    format!(
        "{}; nothing was changed: restore what it left behind (a backup), then `mastic rollback --past-no-return`",
        reasons.join("; ")
    )
}

impl Reconciler {
    /// Only what cannot be taken back is said no to: anything else, the rollback itself finds.
    pub(super) fn may_roll_back(&self, generation: Option<u64>, role: Option<&RoleName>) -> Outcome {
        let target = self.desired.as_ref().and_then(|current| self.target(current, generation, role).ok());
        let reasons = target.map(|target| changes::in_the_way(&target.desired, &self.memory)).unwrap_or_default();
        if reasons.is_empty() { Outcome::done("") } else { refused(no_way_back(&reasons)) }
    }

    fn target(
        &self,
        current: &HostDesired,
        generation: Option<u64>,
        role: Option<&RoleName>,
    ) -> Result<Target, Outcome> {
        match role {
            Some(role) => self.older_set(current, generation, role),
            None => self.older(current, generation),
        }
    }

    pub(super) fn roll_back(
        &mut self,
        generation: Option<u64>,
        role: Option<&RoleName>,
        user: &str,
        reason: &str,
        past_no_return: bool,
    ) -> Outcome {
        let Some(current) = self.desired.clone() else { return refused("there is nothing to roll back") };
        let target = match self.target(&current, generation, role) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let reasons = changes::in_the_way(&target.desired, &self.memory);
        if !reasons.is_empty() && !past_no_return {
            return refused(no_way_back(&reasons));
        }
        if !reasons.is_empty() {
            changes::put_back(&target.desired, &mut self.memory);
            let message = format!("{}; {user} goes back all the same", reasons.join("; "));
            self.tell(Severity::Warning, "PastNoReturn", "", &message);
        }
        let next = accept::next_generation(Some(&current), &self.memory, 0);
        let (wanted, what) = (target.generation, target.what);
        let cause = format!("rollback{what} to {wanted}");
        if let Err(error) = self.accept(HostDesired { generation: next, ..target.desired }, user, &cause) {
            return Outcome::not(OutcomeCode::Failed, error);
        }
        // The source that is rolled back from must not be taken up again by the next look at the files: of several
        // rollbacks, the one that the first of them has pinned.
        let pinned = self.memory.holds.iter().find(|hold| hold.kind == HoldKind::Pin);
        let mark = pinned.and_then(|hold| accept::mark_of(&hold.reason)).map(str::to_owned);
        let mark = mark.unwrap_or_else(|| accept::pin_mark(&current.source_digest));
        self.memory.holds.retain(|hold| hold.kind != HoldKind::Pin);
        let since = self.now();
        let reason = format!("{reason} {mark}").trim().to_owned();
        self.memory.holds.push(Hold {
            kind: HoldKind::Pin,
            service: None,
            user: user.to_owned(),
            reason,
            since,
            until: None,
        });
        self.save_memory();
        let message = format!("to generation {wanted}{what} by {user}, until the source changes");
        self.tell(Severity::Normal, "RolledBackByUser", "", &message);
        Outcome::done(format!("generation {next} has the content of {wanted}{what}, until the source changes"))
    }

    fn older(&self, current: &HostDesired, generation: Option<u64>) -> Result<Target, Outcome> {
        let known = self.generations()?;
        let before = known.iter().rev().copied().find(|known| *known < current.generation);
        let wanted = generation.or(before).ok_or_else(|| refused("there is no revision before this one"))?;
        Ok(Target { generation: wanted, desired: self.revision(wanted, &known)?, what: String::new() })
    }

    /// A set with its parts. Without a number it is the last revision in which it was another.
    fn older_set(&self, current: &HostDesired, generation: Option<u64>, role: &RoleName) -> Result<Target, Outcome> {
        if !current.roles.contains_key(role) {
            let names: Vec<&str> = current.roles.keys().map(RoleName::as_str).collect();
            return Err(refused(format!("there is no role `{role}`; there are: {}", names.join(", "))));
        }
        let known = self.generations()?;
        let set = with_parts(&current.roles, role);
        let what = format!(" of {role}");
        let earlier = known
            .iter()
            .rev()
            .copied()
            .filter(|known| generation.map_or(*known < current.generation, |wanted| wanted == *known));
        for wanted in earlier {
            let old = self.revision(wanted, &known)?;
            let desired = with_roles_of(current, &old, &set);
            if generation.is_some() || !is_same(current, &old, &set) {
                return Ok(Target { generation: wanted, desired, what });
            }
        }
        Err(match generation {
            Some(wanted) => not_kept(wanted, &known),
            None => refused(format!("`{role}` is the same in all revisions that are kept on this host")),
        })
    }

    fn generations(&self) -> Result<Vec<u64>, Outcome> {
        let revisions = self.ports.store.revisions().map_err(|error| failed(&error))?;
        Ok(revisions.iter().map(|revision| revision.generation).collect())
    }

    fn revision(&self, wanted: u64, known: &[u64]) -> Result<HostDesired, Outcome> {
        self.ports.store.load_revision(wanted).map_err(|error| failed(&error))?.ok_or_else(|| not_kept(wanted, known))
    }
}

fn failed(error: &StoreError) -> Outcome {
    Outcome::not(OutcomeCode::Failed, error.to_string())
}

fn not_kept(wanted: u64, known: &[u64]) -> Outcome {
    let known: Vec<String> = known.iter().map(u64::to_string).collect();
    refused(format!("revision {wanted} is not kept; there are: {}", known.join(", ")))
}

/// The current state with the services and jobs of these roles as they were in the old one, and what these need.
pub fn with_roles_of(current: &HostDesired, old: &HostDesired, roles: &BTreeSet<RoleName>) -> HostDesired {
    let mut next = current.clone();
    let of = |role: &Option<RoleName>| role.as_ref().is_some_and(|role| roles.contains(role));
    next.services = merged(&current.services, &old.services, |service| of(&service.role));
    next.jobs = merged(&current.jobs, &old.jobs, |job| of(&job.role));
    let is_old = |service: &str| old.services.get(service).is_some_and(|service| of(&service.role));
    next.behaviours.retain(|service, _| next.services.contains_key(service) && !is_old(service.as_str()));
    next.behaviours.extend(
        old.behaviours.iter().filter(|(service, _)| is_old(service.as_str())).map(|(k, v)| (k.clone(), v.clone())),
    );
    next.procedures.retain(|procedure| !roles.contains(&procedure.role));
    next.procedures.extend(old.procedures.iter().filter(|procedure| roles.contains(&procedure.role)).cloned());
    next.changes.retain(|change| !roles.contains(&change.role));
    next.changes.extend(old.changes.iter().filter(|change| roles.contains(&change.role)).cloned());
    let known: Vec<_> = next.filesets.iter().map(|fileset| fileset.fileset.clone()).collect();
    next.filesets.extend(old.filesets.iter().filter(|fileset| !known.contains(&fileset.fileset)).cloned());
    // What others use stays as it is; what only the old ones need comes back.
    for (name, network) in &old.networks {
        next.networks.entry(name.clone()).or_insert_with(|| network.clone());
    }
    for (name, volume) in &old.volumes {
        next.volumes.entry(name.clone()).or_insert_with(|| volume.clone());
    }
    for (registry, login) in &old.registries {
        next.registries.entry(registry.clone()).or_insert_with(|| login.clone());
    }
    for (name, hosts) in &old.placement {
        next.placement.entry(name.clone()).or_insert_with(|| hosts.clone());
    }
    for (name, role) in old.roles.iter().filter(|(name, _)| roles.contains(*name)) {
        next.roles.insert(name.clone(), role.clone());
    }
    for secret in &old.secrets {
        if !next.secrets.contains(secret) {
            next.secrets.push(secret.clone());
        }
    }
    next
}

/// Whether the set is the same in both.
pub fn is_same(one: &HostDesired, other: &HostDesired, roles: &BTreeSet<RoleName>) -> bool {
    let same = with_roles_of(one, other, roles);
    same.services == one.services
        && same.jobs == one.jobs
        && same.behaviours == one.behaviours
        && same.procedures == one.procedures
}

/// Those that are not of the set stay, in their order; those of the set are as they were.
fn merged<K: std::hash::Hash + Eq + Clone, V>(
    current: &IndexMap<K, Arc<V>>,
    old: &IndexMap<K, Arc<V>>,
    of_set: impl Fn(&V) -> bool,
) -> IndexMap<K, Arc<V>> {
    let mut outcome = IndexMap::new();
    for (name, entry) in current {
        let before = old.get(name).filter(|before| of_set(before));
        if let Some(entry) = before.or_else(|| Some(entry).filter(|entry| !of_set(entry))) {
            outcome.insert(name.clone(), Arc::clone(entry));
        }
    }
    for (name, entry) in old.iter().filter(|(_, entry)| of_set(entry)) {
        outcome.entry(name.clone()).or_insert_with(|| Arc::clone(entry));
    }
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::resolve::testing::{Memory, request};

    fn desired(size: &str, image: &str, extra: &str) -> HostDesired {
        let role = format!(
            "apiVersion: mastic/v1\nkind: Role\nmetadata: {{name: cache, version: '{size}'}}\nspec:\n  volumes: {{cache{size}: {{}}}}\n  \
             services:\n    cache: {{image: 'c:{size}', volumes: ['cache{size}:/data']}}\n{extra}  jobs: {{fill: {{like: cache, command: [fill, '{size}']}}}}\n"
        );
        let site = format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: s}}\nspec:\n  hosts: {{here: {{}}}}\n  roles: [{{role: cache}}]\n  \
             services: {{web: {{image: '{image}'}}}}\n"
        );
        let files = Memory::new(&[("site.yaml", site.as_str()), ("roles/cache/role.yaml", role.as_str())]);
        crate::resolve::compile::compile(&request(&["site.yaml"]), &files).unwrap().desired
    }

    fn images(desired: &HostDesired) -> Vec<String> {
        desired.services.iter().map(|(name, service)| format!("{name} {}", service.image)).collect()
    }

    #[test]
    fn a_set_goes_back_with_what_it_needs_and_all_else_stays() {
        let set = BTreeSet::from([RoleName::new("cache").unwrap()]);
        let old = desired("1", "web:1", "    gone: {image: 'g:1'}\n");
        let new = desired("2", "web:2", "    added: {image: 'a:1'}\n");
        let back = with_roles_of(&new, &old, &set);
        assert_eq!(images(&back), ["web web:2", "cache c:1", "gone g:1"]);
        assert_eq!(back.jobs.values().next().unwrap().image.as_str(), "c:1");
        let volumes: Vec<&str> = back.volumes.keys().map(crate::model::names::VolumeName::as_str).collect();
        assert_eq!(volumes, ["cache1", "cache2"], "no volume is taken away");
        assert_eq!(back.roles.values().next().unwrap().version.as_deref(), Some("1"));
        assert!(!is_same(&new, &old, &set) && is_same(&back, &old, &set));
        let only_web = desired("2", "web:1", "    added: {image: 'a:1'}\n");
        assert!(is_same(&new, &only_web, &set), "what is not of the set makes no difference");
    }
}

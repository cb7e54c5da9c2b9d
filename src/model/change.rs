//! What a change of a role means: its steps in their order, and the point from which there is no way back.
//!
//! There is no counter of steps: a job knows with which version it was done, an instance with which it was ready, and each
//! step waits for the one before it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::{JobName, RoleName, ServiceName};

/// The reason of `Waiting` of a step that cannot be taken back, as long as what comes before it is not done everywhere.
pub const CONTRACT_PENDING: &str = "ContractPending";

/// The reason of `Stalled` where a version is asked for that was left behind for good.
pub const PAST_NO_RETURN: &str = "PastNoReturn";

/// The reason of `Halted` and `Stalled` where something failed from which nothing leads back.
pub const CHANGE_HALTED: &str = "ChangeHalted";

/// A change of a role, as far as one host is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeDesired {
    /// `ROLE/CHANGE`, with the name that the role has in the site.
    pub change: String,
    /// The role.
    pub role: RoleName,
    /// Digest of what it is about (an image, variables), as this host sees it. Jobs of the change have it as their inputs.
    pub version: String,
    /// The steps, in order.
    pub steps: Vec<ChangeStep>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeStep {
    /// What is done.
    pub what: StepKind,
    /// Whether there is no way back from its begin on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A job is done.
    Job(JobName),
    /// A service is as it is to be, on each of its hosts.
    Roll(ServiceName),
}

impl StepKind {
    /// Name of the job or service.
    pub fn name(&self) -> &str {
        match self {
            Self::Job(job) => job.as_str(),
            Self::Roll(service) => service.as_str(),
        }
    }
}

/// What a job or an instance has to know of a change that it is a step of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOf {
    /// `ROLE/CHANGE`.
    pub change: String,
    /// The version that it leads to.
    pub version: String,
    /// Whether there is no way back once it has begun: because of itself, or of a step before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
}

/// What a host remembers of a change beyond the records of its jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeRecord {
    /// Versions with which a job has been done since the last step that cannot be taken back: going back to one of them
    /// asks for none of its jobs again.
    pub done: BTreeMap<JobName, BTreeSet<String>>,
    /// Versions that were left behind by a step that cannot be taken back.
    pub behind: BTreeSet<String>,
}

impl ChangeRecord {
    /// Whether a job was done with a version, and nothing has happened since that makes it worth nothing.
    pub fn is_done(&self, job: &JobName, version: &str) -> bool {
        self.done.get(job).is_some_and(|versions| versions.contains(version))
    }

    /// A job was done.
    pub fn note_done(&mut self, job: &JobName, version: &str) {
        self.done.entry(job.clone()).or_default().insert(version.to_owned());
    }

    /// A step that cannot be taken back is about to begin: all other versions that are known lie behind.
    pub fn pass(&mut self, version: &str, left: Option<&str>) {
        let known = std::mem::take(&mut self.done);
        self.behind.extend(known.values().flatten().cloned());
        self.behind.extend(left.map(str::to_owned));
        self.behind.remove(version);
        for (job, versions) in known {
            if versions.contains(version) {
                self.note_done(&job, version);
            }
        }
    }

    /// Whether passing the point with this version would change nothing.
    pub fn has_passed(&self, version: &str, left: Option<&str>) -> bool {
        let mut after = self.clone();
        after.pass(version, left);
        after == *self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_before_the_point_lies_behind_it() {
        let (expand, contract) = (JobName::new("expand").unwrap(), JobName::new("contract").unwrap());
        let mut record = ChangeRecord::default();
        for version in ["a", "b"] {
            record.note_done(&expand, version);
        }
        record.note_done(&contract, "a");
        assert!(record.is_done(&expand, "a") && record.is_done(&contract, "a"), "b was not contracted");
        record.pass("b", None);
        assert!(record.has_passed("b", None));
        assert_eq!(record.behind, ["a".to_owned()].into());
        assert!(record.is_done(&expand, "b") && !record.is_done(&expand, "a") && !record.is_done(&contract, "a"));
        record.pass("c", Some("b"));
        assert_eq!(record.behind, ["a".to_owned(), "b".to_owned()].into());
        record.pass("a", None);
        assert!(!record.behind.contains("a"), "who went there all the same is there");
    }
}

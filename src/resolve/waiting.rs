//! What cannot be compiled for want of a fact waits; everything else is as if nothing were missing.

use std::collections::BTreeSet;

use crate::model::desired::{InstanceDesired, JobDesired};
use crate::model::facts::MissingFact;

use super::compile::HostCompiler;
use super::instance::Built;

type Instances = Vec<Built<InstanceDesired>>;
type Jobs = Vec<Built<JobDesired>>;

impl HostCompiler<'_> {
    /// The facts that were missed since there were so many errors; those are none.
    pub(super) fn take_missing(&mut self, before: usize) -> BTreeSet<MissingFact> {
        let since = self.errors.split_off(before.min(self.errors.len()));
        let (waits, wrong): (Vec<_>, Vec<_>) = since.into_iter().partition(|error| error.waits.is_some());
        self.errors.extend(wrong);
        waits.into_iter().filter_map(|error| error.waits).collect()
    }

    /// What is not about one service or job is about all of the host.
    pub(super) fn hold_back_all(&mut self, services: Instances, jobs: Jobs) -> (Instances, Jobs) {
        let missing = self.take_missing(0);
        if missing.is_empty() {
            return (services, jobs);
        }
        for built in services {
            self.behaviours.remove(&built.desired.service);
            self.waits.services.insert(built.desired.service, missing.clone());
        }
        for built in jobs {
            self.waits.jobs.insert(built.desired.job, missing.clone());
        }
        (Instances::new(), Jobs::new())
    }
}

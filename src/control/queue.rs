//! What has to be planned anew: each subject once, however often something about it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::plan::step::Subject;
use crate::report::metrics::Metrics;

/// Subjects with since when they have been waiting.
pub(super) struct Queue {
    since: BTreeMap<Subject, Instant>,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// Nothing is waiting.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { since: BTreeMap::new(), metrics }
    }

    /// Something about a subject changed.
    pub(super) fn insert(&mut self, subject: Subject) {
        self.put(subject, false);
    }

    /// A step of a subject failed, and it is to be tried again.
    pub(super) fn insert_again(&mut self, subject: Subject) {
        self.put(subject, true);
    }

    fn put(&mut self, subject: Subject, again: bool) {
        let depth = self.since.len() + 1;
        if let std::collections::btree_map::Entry::Vacant(place) = self.since.entry(subject) {
            place.insert(Instant::now());
            self.metrics.queued(again, depth);
        }
    }

    /// The same for several.
    pub(super) fn extend(&mut self, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            self.insert(subject);
        }
    }

    /// Whether nothing is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// Takes all off, in a fixed order.
    pub(super) fn take(&mut self) -> Vec<Subject> {
        let taken = std::mem::take(&mut self.since);
        let mut left = taken.len();
        for since in taken.values() {
            left -= 1;
            self.metrics.dequeued(since.elapsed(), left);
        }
        taken.into_keys().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::names::ServiceName;
    use crate::model::time::Timestamp;

    #[tokio::test(start_paused = true)]
    async fn each_subject_waits_once_and_what_waits_is_measured() {
        let metrics = Arc::new(Metrics::new("0", "0").unwrap());
        let says = |line: &str| {
            let text = metrics.text(Timestamp(0));
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        };
        let mut queue = Queue::new(metrics.clone());
        let [a, b] = ["a", "b"].map(|name| Subject::Service(ServiceName::new(name).unwrap()));
        queue.insert(a.clone());
        tokio::time::advance(Duration::from_secs(2)).await;
        queue.extend([a.clone(), b.clone()]);
        says("workqueue_depth{name=\"reconcile\"} 2");
        says("workqueue_adds_total{name=\"reconcile\"} 2");
        assert_eq!(queue.take(), [a.clone(), b]);
        assert!(queue.is_empty());
        says("workqueue_depth{name=\"reconcile\"} 0");
        says("workqueue_queue_duration_seconds_sum{name=\"reconcile\"} 2");
        says("workqueue_queue_duration_seconds_count{name=\"reconcile\"} 2");
        says("workqueue_retries_total{name=\"reconcile\"} 0");
        queue.insert_again(a);
        says("workqueue_retries_total{name=\"reconcile\"} 1");
    }
}

//! What the loop shows to those who watch it: its status, its metrics, and that it is alive.
//!
//! In: the loop calls [`Published::publish`] after each pass and [`Published::progressed`] at least every [`HEARTBEAT`].
//! Out: HTTP, the agent's socket and systemd's notifications read it, and never wait for the loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::names::SiteName;
use crate::report::metrics::Metrics;
use crate::report::status::SiteStatus;

/// How often an idle loop shows that it is alive. A third of the shortest watchdog that systemd is likely to be given.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// After so long without progress the loop counts as stuck. Six heartbeats: a busy machine may swallow some.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What the loop shows.
#[derive(Debug)]
pub struct Published {
    status: watch::Sender<Arc<SiteStatus>>,
    progress: watch::Sender<Instant>,
    metrics: Arc<Metrics>,
}

impl Published {
    /// Nothing is known yet.
    pub fn new(site: SiteName, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            status: watch::Sender::new(Arc::new(SiteStatus::new(site))),
            progress: watch::Sender::new(Instant::now()),
            metrics,
        })
    }

    /// The loop knows more.
    pub fn publish(&self, status: SiteStatus) {
        self.status.send_replace(Arc::new(status));
        self.progressed();
    }

    /// The loop is alive: it took something off its queue, ended a step, or looked and found nothing to do.
    pub fn progressed(&self) {
        self.progress.send_replace(Instant::now());
    }

    /// What is known.
    pub fn status(&self) -> Arc<SiteStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// What is known, whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<SiteStatus>> {
        self.status.subscribe()
    }

    /// The metrics, up to date with the status. Gauges are set when somebody asks for them: a command that ends after
    /// one pass has nobody who would.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.metrics.observe_status(&self.status());
        &self.metrics
    }

    /// How long ago the loop last showed that it is alive.
    pub fn quiet_for(&self) -> Duration {
        self.progress.borrow().elapsed()
    }

    /// Whether the loop is stuck.
    pub fn is_stuck(&self) -> bool {
        self.quiet_for() > STUCK_AFTER
    }

    /// Whether the first full observation is done.
    pub fn is_observed(&self) -> bool {
        self.status.borrow().observed_at.is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::samples;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_shows_nothing_is_stuck() {
        let metrics = Arc::new(Metrics::new("0", "0").unwrap());
        let published = Published::new(SiteName::new("demo").unwrap(), metrics);
        assert!(!published.is_observed() && !published.is_stuck());
        tokio::time::advance(STUCK_AFTER + HEARTBEAT).await;
        assert!(published.is_stuck());
        published.publish(samples::converged());
        assert!(published.is_observed() && !published.is_stuck());
        assert_eq!(published.status().line(), "converged 2/2, generation 3");
    }
}

//! Telling systemd how the agent fares: `Type=notify` with a watchdog.
//!
//! In: what the loop has published. Out: READY after the first full observation, a STATUS line, RELOADING, STOPPING, and
//! WATCHDOG only while the loop moves. Where no service manager asked for it, nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::control::published::{HEARTBEAT, Published};

/// A loop that has shown nothing for so long is not defended against the watchdog any more. An idle one shows that it is
/// alive every [`HEARTBEAT`]; the rest is for a busy machine.
const QUIET: Duration = Duration::from_secs(HEARTBEAT.as_secs() * 3);

/// Keeps the service manager informed until it is told to stop; then says so.
pub async fn accompany(published: Arc<Published>, stop: CancellationToken) {
    let mut news = published.watch();
    // Fed twice in each period, as systemd recommends. A period of an hour stands for none.
    let period = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |period| period / 2);
    let mut feeding = tokio::time::interval(period.max(Duration::from_millis(10)));
    feeding.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_ready = false;
    let mut line = String::new();
    news.mark_changed();
    loop {
        tokio::select! {
            // What is new comes before the sign of life that goes with it; news are rare enough to leave it room.
            biased;
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                let status = Arc::clone(&news.borrow_and_update());
                let new_line = status.line();
                if new_line != line {
                    send(&[NotifyState::Status(&new_line)]);
                    line = new_line;
                }
                if !is_ready && status.observed_at.is_some() {
                    is_ready = true;
                    send(&[NotifyState::Ready]);
                }
            }
            _ = feeding.tick() => {
                if published.quiet_for() <= QUIET.max(period) {
                    send(&[NotifyState::Watchdog]);
                }
            }
            () = stop.cancelled() => {
                send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
                return;
            }
        }
    }
}

/// The site is being read anew, because systemd asked for it. Follow it with [`reloaded`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the monotonic clock cannot be read"),
    }
}

/// The site was read anew, whatever came of it.
pub fn reloaded() {
    send(&[NotifyState::Ready]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

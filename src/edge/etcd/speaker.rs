//! What a host says of itself: its newest word, under a lease that is kept alive as long as the loop that speaks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::claim;
use super::client::Lease;
use super::coordinator::{Shared, lock};
use super::error::EtcdError;
use super::mirror::pause;

/// Between two signs of life.
pub const HEARTBEAT: Duration = Duration::from_secs(4);

/// Who is silent for three of them is not known to be up.
pub const LEASE: Duration = Duration::from_secs(12);

/// Many words in a row are one.
const GATHER: Duration = Duration::from_millis(20);

/// Speaks until it is dropped.
pub(super) async fn speak(shared: Arc<Shared>) {
    let mut own = shared.own.subscribe();
    let mut failures = 0;
    loop {
        // A lease without a word would keep nothing alive.
        if own.wait_for(|(_, own)| own.is_some()).await.is_err() {
            return;
        }
        let error = match shared.client.grant(LEASE).await {
            Ok(lease) => {
                failures = 0;
                match is_alone(&shared, lease).await {
                    Ok(true) => {
                        *lock(&shared.lease) = Some(lease);
                        let ended = under_lease(&shared, &mut own).await;
                        *lock(&shared.lease) = None;
                        ended
                    }
                    Ok(false) => {
                        let _gone = shared.client.revoke(lease).await;
                        tokio::time::sleep(HEARTBEAT).await;
                        None
                    }
                    Err(error) => Some(error),
                }
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let _denied = shared.failed(&error);
            pause(failures).await;
            failures = failures.saturating_add(1);
        }
    }
}

/// Whether no other agent looks after this host.
async fn is_alone(shared: &Shared, lease: Lease) -> Result<bool, EtcdError> {
    let host = shared.own.borrow().1.as_ref().map(|own| own.host.clone());
    let (Some(identity), Some(host)) = (&shared.identity, host) else { return Ok(true) };
    let rival = claim(&shared.client, &shared.keys.agent(&host), identity, lease).await?;
    let rival = rival.map(|rival| format!("another agent looks after `{host}`, on {}", rival.machine));
    let known = std::mem::replace(&mut *lock(&shared.rival), rival.clone());
    if known != rival {
        if let Some(why) = &rival {
            tracing::error!("{why}; nothing that disrupts begins here until that one has ended");
        }
        shared.reports.send_modify(|_| {});
    }
    Ok(rival.is_none())
}

/// Tells each word, until the lease has ended or etcd is gone.
async fn under_lease(
    shared: &Shared,
    own: &mut tokio::sync::watch::Receiver<(u64, Option<crate::model::peers::HostReport>)>,
) -> Option<EtcdError> {
    let lease = (*lock(&shared.lease))?;
    let mut told = 0;
    let mut next = Instant::now() + HEARTBEAT;
    loop {
        let (number, report) = own.borrow_and_update().clone();
        if let Some(report) = report
            && number != told
        {
            let Ok(value) = serde_json::to_vec(&report) else { return None };
            match shared.client.put(shared.keys.report(&report.host), value, Some(lease)).await {
                Ok(()) => told = number,
                Err(error) if is_no_lease(&error) => return None,
                Err(error) => return Some(error),
            }
        }
        tokio::select! {
            changed = own.changed() => {
                changed.ok()?;
                tokio::time::sleep(GATHER).await;
            }
            () = tokio::time::sleep_until(next) => {
                next = Instant::now() + HEARTBEAT;
                match shared.client.keep_alive(lease).await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) if is_no_lease(&error) => return None,
                    Err(error) => return Some(error),
                }
            }
        }
    }
}

/// The lease has ended while nobody kept it alive: a new one is granted.
pub(super) fn is_no_lease(error: &EtcdError) -> bool {
    matches!(error, EtcdError::Refused { message, .. } if message.contains("lease not found"))
}

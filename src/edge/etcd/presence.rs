//! What others may see of an agent: its status, under a lease that ends with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::client::Client;
use super::error::EtcdError;
use super::mirror::pause;
use super::speaker::{HEARTBEAT, LEASE, is_no_lease};
use crate::report::status::SiteStatus;

/// Between two statuses while much happens.
const GATHER: Duration = Duration::from_millis(250);

/// Shows the status under a key until it is dropped.
pub async fn show(client: Client, key: String, mut status: watch::Receiver<Arc<SiteStatus>>) {
    let mut failures = 0;
    loop {
        match under_lease(&client, &key, &mut status).await {
            Ok(()) => failures = 0,
            Err(error) => {
                tracing::debug!(%error, "the status is not shown");
                pause(failures).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// Until the lease has ended.
async fn under_lease(
    client: &Client,
    key: &str,
    status: &mut watch::Receiver<Arc<SiteStatus>>,
) -> Result<(), EtcdError> {
    let lease = client.grant(LEASE).await?;
    let mut next = Instant::now() + HEARTBEAT;
    status.mark_changed();
    loop {
        tokio::select! {
            changed = status.changed() => {
                if changed.is_err() {
                    // The loop has ended: nothing it said is so any more.
                    let _gone = client.revoke(lease).await;
                    return std::future::pending().await;
                }
                let value = serde_json::to_vec(&*status.borrow_and_update().clone());
                let value = value.map_err(|error| EtcdError::Unreachable(error.to_string()))?;
                match client.put(key.to_owned(), value, Some(lease)).await {
                    Err(error) if is_no_lease(&error) => return Ok(()),
                    other => other?,
                }
                tokio::time::sleep(GATHER).await;
            }
            () = tokio::time::sleep_until(next) => {
                next = Instant::now() + HEARTBEAT;
                match client.keep_alive(lease).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) if is_no_lease(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

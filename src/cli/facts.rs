//! Machines of which nothing is known are asked what they are before the loops begin: what needs to know it does not wait
//! then, and a plan shows what will be.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::control::ports::Ports;
use crate::model::names::HostName;

/// Who does not answer within this time is asked again by his loop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks all of them at once. `keep` says whether what they say is kept when this program ends.
pub async fn ask<'a>(hosts: impl Iterator<Item = (&'a HostName, &'a Ports)>, moving: &BTreeSet<IpAddr>, keep: bool) {
    let unknown = hosts.filter(|(host, ports)| !ports.coordinator.facts().borrow().contains_key(*host));
    join_all(unknown.map(|(host, ports)| async move {
        let error = match tokio::time::timeout(PATIENCE, ports.facts.facts(moving)).await {
            Ok(Ok(found)) => match ports.coordinator.tell_facts(found, keep).await {
                Ok(()) => return,
                Err(denied) => denied.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!(host = host.as_str(), error, "it is not known what this machine is");
    }))
    .await;
}

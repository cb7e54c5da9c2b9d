//! Asking a machine what it is.

use core::net::IpAddr;
use std::collections::BTreeSet;

use async_trait::async_trait;

use super::engine::Answer;
use crate::model::facts::HostFacts;

/// Asks a machine what it is. Nothing is changed or left there.
#[async_trait]
pub trait Facts: Send + Sync {
    /// What it is now. `moving` are addresses that are no machine's own: VIPs of the site.
    async fn facts(&self, moving: &BTreeSet<IpAddr>) -> Answer<HostFacts>;
}

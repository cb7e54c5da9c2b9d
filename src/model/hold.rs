//! A person's durable word to leave something alone.

use serde::{Deserialize, Serialize};

use super::names::ServiceName;
use super::time::Timestamp;

/// What a hold means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// Keep it stopped.
    Stop,
    /// Change nothing, heal nothing.
    Pause,
    /// Keep what runs, begin no disruption on this host.
    Cordon,
    /// Take no edit; what was taken goes on, and is healed.
    Freeze,
    /// Stay at the accepted content until the source changes (after a rollback).
    Pin,
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What it means.
    pub kind: HoldKind,
    /// On which service; none is the whole host.
    pub service: Option<ServiceName>,
    /// Who placed it.
    pub user: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether it is in force.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it is about this service.
    pub fn covers(&self, service: &ServiceName) -> bool {
        self.service.as_ref().is_none_or(|held| held == service)
    }
}

//! Where hosts agree who may disrupt what. In-process with a file for one host.

use async_trait::async_trait;

use crate::model::names::{HostName, ServiceName};
use crate::model::time::Timestamp;

/// The right to disrupt one instance. Only a coordinator makes it; steps that disrupt take it by reference.
#[derive(Debug)]
pub struct Grant {
    service: ServiceName,
    generation: u64,
}

impl Grant {
    /// For coordinators only: a grant stands for a recorded slot.
    pub fn recorded(service: ServiceName, generation: u64) -> Self {
        Self { service, generation }
    }

    /// What may be disrupted.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// For which generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// A taken slot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Slot {
    /// Of which service.
    pub service: ServiceName,
    /// By whom.
    pub host: HostName,
    /// For which generation.
    pub generation: u64,
    /// Since when.
    pub since: Timestamp,
}

/// Why there is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Others hold all slots.
    #[error("{0} holds the slot")]
    Taken(HostName),
    /// The record cannot be read or written: nothing disruptive begins.
    #[error("the coordinator cannot be reached: {0}")]
    Unreachable(String),
}

/// Slots by service.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// Takes a slot, or the one that is held already (reentrant).
    async fn acquire(
        &self,
        service: &ServiceName,
        generation: u64,
        max_unavailable: u32,
        now: Timestamp,
    ) -> Result<Grant, Denied>;
    /// Gives it back; done if it is not held.
    async fn release(&self, service: &ServiceName) -> Result<(), Denied>;
    /// What is taken.
    async fn slots(&self) -> Result<Vec<Slot>, Denied>;
}

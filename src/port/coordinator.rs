//! Where hosts agree who may disrupt what, and tell each other how they are. In-process with a file for one program.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::facts::{HostFacts, SiteFacts};
use crate::model::names::{HostName, ServiceName};
use crate::model::peers::{Ask, HostReport, Reports};
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

/// What hosts agree on beyond slots, as it was read: how far a procedure is, what it chose.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Counts what was written under this name, from 1.
    pub revision: u64,
    /// What was written.
    pub content: serde_json::Value,
}

/// Why there is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The rules of the rollout do not let it begin now.
    #[error("{0}")]
    Refused(String),
    /// The same, and all that has to pass is time.
    #[error("{0}")]
    NotYet(String),
    /// The record cannot be read or written: nothing disruptive begins.
    #[error("the coordinator cannot be reached: {0}")]
    Unreachable(String),
}

impl Denied {
    /// What the rules of a rollout say, as an answer.
    pub fn by_rules(message: String, passes: bool) -> Self {
        if passes { Self::NotYet(message) } else { Self::Refused(message) }
    }
}

/// Slots by service, and the words of the hosts that share them.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// Takes a slot, or the one that is held already (reentrant). Never more than the rules of the rollout allow, by the
    /// newest words of all hosts.
    async fn acquire(&self, ask: &Ask, now: Timestamp) -> Result<Grant, Denied>;
    /// Gives it back; done if it is not held.
    async fn release(&self, service: &ServiceName) -> Result<(), Denied>;
    /// What is taken.
    async fn slots(&self) -> Result<Vec<Slot>, Denied>;
    /// What stands under a name; none where nothing does.
    async fn record(&self, name: &str) -> Result<Option<Record>, Denied>;
    /// Writes over what was read: `over` is the revision of that, 0 for nothing. False where somebody else was quicker.
    /// All who listen to [`Coordinator::reports`] are woken.
    async fn put_record(&self, name: &str, over: u64, content: serde_json::Value) -> Result<bool, Denied>;
    /// Tells the others how this host is. Never waits.
    fn report(&self, report: HostReport);
    /// Whether this host has nobody to hear from, and never will.
    fn is_alone(&self) -> bool {
        false
    }
    /// Tells the others what this host's machine is. It stays known while the host cannot be reached, and where it is to be
    /// kept, after all programs have ended.
    async fn tell_facts(&self, facts: HostFacts, keep: bool) -> Result<(), Denied>;
    /// What is known of the machines of the site.
    fn facts(&self) -> watch::Receiver<Arc<SiteFacts>>;
    /// How all hosts are, by their own words.
    fn reports(&self) -> watch::Receiver<Arc<Reports>>;
}

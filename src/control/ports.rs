//! All that the loop reaches the world through.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::desired::HostDesired;
use crate::model::facts::SiteFacts;
use crate::plan::host::PlanInstance;
use crate::port::clock::Clock;
use crate::port::coordinator::Coordinator;
use crate::port::engine::{Commands, Engine};
use crate::port::facts::Facts;
use crate::port::files::Files;
use crate::port::prober::Prober;
use crate::port::store::Store;
use crate::port::vault::Vault;
use crate::report::metrics::Metrics;

use super::published::Published;

/// The world, by its small doors.
#[derive(Clone)]
pub struct Ports {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// What load balancers are told by, also on a host where nothing else is done; none where nothing is done anywhere.
    pub commands: Option<Arc<dyn Commands>>,
    /// Files that are mounted into containers.
    pub files: Arc<dyn Files>,
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Slots.
    pub coordinator: Arc<dyn Coordinator>,
    /// Encryption of what hosts agree on.
    pub vault: Arc<dyn Vault>,
    /// Probes over the network.
    pub prober: Arc<dyn Prober>,
    /// What the machine is.
    pub facts: Arc<dyn Facts>,
    /// Where the site comes from.
    pub source: Arc<dyn SiteSource>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is shown.
    pub published: Arc<Published>,
    /// How an instance is planned.
    pub planner: Arc<PlanInstance>,
}

/// A site that was read, resolved and rendered for this host.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The desired state: generation 0, or where the source counts for the whole site, its number.
    pub desired: HostDesired,
    /// The files and directories that it was read from, to be watched.
    pub paths: BTreeSet<PathBuf>,
    /// Warnings, rendered.
    pub warnings: Vec<String>,
    /// Whether machines have to be asked what they are; then with the addresses that are no machine's own.
    pub asks_facts: Option<BTreeSet<IpAddr>>,
}

/// A site that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSite {
    /// How many errors.
    pub errors: usize,
    /// All of them, rendered with place, cause and fix.
    pub message: String,
    /// What was read all the same, to be watched for the repair.
    pub paths: BTreeSet<PathBuf>,
}

/// Where the site comes from.
pub trait SiteSource: Send + Sync {
    /// Reads it anew, with what is known of the machines.
    fn load(&self, site_key: &[u8], facts: &Arc<SiteFacts>) -> Result<Loaded, BadSite>;
}

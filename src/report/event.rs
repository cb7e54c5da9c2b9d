//! What happened, for the log of events.

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// One entry. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Generation in force.
    pub generation: u64,
    /// `Normal` or `Warning`.
    pub severity: Severity,
    /// In CamelCase: `Started`, `GateFailed`, `RolledBack`, `BadSiteFile`.
    pub reason: String,
    /// Service, job, or empty for the host.
    pub subject: String,
    /// For people.
    pub message: String,
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum Severity {
    Normal,
    Warning,
}

//! Questions to a running instance.

use serde::{Deserialize, Serialize};

use super::time::{Span, Timestamp};

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A command in the container; 0 is yes.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// A GET request; 200 to 399 is yes unless `status` says otherwise.
    Http {
        /// Host name or address; none is the container itself (its address, or loopback with host networking).
        host: Option<String>,
        /// Port inside the container.
        port: u16,
        /// Starting with `/`.
        path: String,
        /// The one status that is a yes.
        status: Option<u16>,
    },
    /// A connection that is accepted.
    Tcp {
        /// As in `Http`.
        host: Option<String>,
        /// Port inside the container.
        port: u16,
    },
}

/// When a changed instance counts as ready, beyond running and healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// What is asked.
    pub probe: Probe,
    /// How often while a gate is open.
    pub every: Span,
    /// For one answer.
    pub timeout: Span,
}

/// The newest answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// Of which container.
    pub container_id: String,
    /// When it came.
    pub at: Timestamp,
    /// Yes or no; a probe that could not be asked leaves no answer.
    pub ready: bool,
    /// For people, without secrets.
    pub message: String,
}

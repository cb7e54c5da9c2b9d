//! Leading the clients of an instance away before it is stopped: what instances and load balancers know of each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::{HostName, ServiceName};
use super::time::{Span, Timestamp};

/// How the clients of a service of this host are led away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainDesired {
    /// How long its clients have at most.
    pub timeout: Span,
    /// Hosts with a load balancer before it, and which service that is.
    pub balancers: Vec<(HostName, ServiceName)>,
    /// What the instance is called there, as `BACKEND/SERVER`.
    pub servers: Vec<String>,
}

/// A service of this host that leads clients to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerDesired {
    /// Program and arguments. `BACKEND/SERVER=drain` or `BACKEND/SERVER=ready` is added for each server.
    pub command: Vec<String>,
    /// How often it is run while somebody is led away.
    pub every: Span,
    /// How long it may take.
    pub timeout: Span,
    /// The instances that want their clients led away, by what they are called there.
    pub servers: BTreeMap<String, (HostName, ServiceName)>,
}

/// A server that gets no new clients, as its load balancer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The wish that this is the answer to: when the instance began to want it.
    pub since: Timestamp,
    /// Clients that it still has there.
    pub sessions: u64,
}

/// What a load balancer says of its servers.
pub type DrainedServers = BTreeMap<String, Drained>;

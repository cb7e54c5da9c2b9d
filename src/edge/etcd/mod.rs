//! etcd, by the JSON gateway that every member serves beside gRPC: HTTP and JSON need no generated code to be built.
//!
//! | module | what it knows |
//! |---|---|
//! | `options` | where etcd is, whom it trusts, who we are |
//! | `transport` | one question to one of several members; the token of a user |
//! | `wire` | the gateway's words: keys in base64, numbers as texts |
//! | `client` | ranges, transactions and leases, typed |
//! | `watch` | what happened below a prefix, without a gap |
//! | `keys` | where what lies |
//! | `publish`, `follow` | a signed revision, from a workstation to the agents |
//! | `requests` | what people ask of agents, and the answers |
//! | `presence` | the status of an agent |
//! | `coordinator` | slots, records and words of the hosts of a site |
//! | `claim` | which agent looks after a host |
//! | `mirror` | what is below `peers/`, kept by a watch |
//! | `speaker` | what a host says of itself, under a lease |

mod claim;
mod client;
mod coordinator;
mod error;
mod follow;
mod keys;
mod mirror;
mod options;
mod presence;
mod publish;
mod requests;
mod speaker;
mod transport;
mod watch;
mod wire;

pub use claim::Identity;
pub use client::{Check, Client, KeyValue, Lease, Operation, Outcome, Range, Transaction};
pub use coordinator::EtcdCoordinator;
pub use error::EtcdError;
pub use follow::follow;
pub use keys::Keys;
pub use mirror::machines;
pub use options::{EtcdOptions, Login, OptionsError};
pub use presence::show;
pub use publish::{Head, blobs, head, publish, sites};
pub use requests::{Asker, Server};
pub use watch::{Happening, Watch};

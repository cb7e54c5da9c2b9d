//! The Docker Engine API behind the engine port.
//!
//! In: a socket or an address with certificates. Out: [`DockerObserver`], which can only ask, and [`DockerEngine`],
//! which can change as well. The types of the API end here: what leaves is in the words of the model.
//!
//! Requests go through one pool of connections. A reply that streams (events, logs, a pull, the output of a
//! command) keeps a connection of its own, so it never holds up a question.

mod ahead;
mod archive;
mod archives;
mod build;
mod connect;
mod convert;
mod convert_image;
mod create;
mod engine;
mod errors;
mod events;
mod exec;
mod image;
mod limits;
mod logs;
mod mounts;
mod network;
mod normal;
mod observer;
mod session;
mod transport;
mod version;
mod wire;

pub use build::{BuildRequest, DockerBuilder};
pub(super) use connect::tls_config;
pub use connect::{Certificates, ConnectError, ConnectOptions, DEFAULT_SOCKET, Endpoint};
pub use engine::DockerEngine;
pub use observer::{DockerObserver, ManagedPath};
pub use session::{Resizer, Session, Size};

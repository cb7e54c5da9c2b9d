//! Hosts over SSH: nothing is needed there but sshd and an engine that the user may speak to.
//!
//! In: what the site says of the connection ([`SshTarget::resolve`] adds OpenSSH's configuration). Out: [`SshLink`], by
//! which the Docker client of [`super::docker`] reaches the engine's socket, and probes the host's ports. russh is used here and nowhere else.
//!
//! `target` works out where a host is and how it is entered; `host_key` decides whether it is who it says; `login` tries
//! the keys; `session` is one connection, by way of others where there are any, over a `stream`; `link` keeps connections and makes them anew;
//! `channel` takes in what comes, so that nothing stands still; `trouble` finds out why a socket cannot be opened.

mod channel;
mod connector;
mod error;
mod host_key;
mod link;
mod login;
mod session;
mod stream;
mod target;
mod trouble;

pub(crate) use connector::SshConnector;
pub use error::{SshError, Stage};
pub use link::SshLink;
pub use target::{HopTarget, KeyFile, SshTarget};

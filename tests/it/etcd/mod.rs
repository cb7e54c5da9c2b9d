//! etcd as it is: the client, and what agents agree on through it.

mod agents;
mod client;
mod coordinators;
mod revisions;

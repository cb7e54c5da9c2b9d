//! Text becomes a typed site.
//!
//! In: the bytes of the site's files. Out: a tree of nodes that know where they were written ([`node`]), checked against
//! the tables of the format ([`keys`]), and typed values; or everything that is wrong with it at once ([`diagnostic`]).

pub mod container;
pub mod diagnostic;
pub mod image_lock;
pub mod keys;
pub mod known_hosts;
#[cfg(test)]
mod known_hosts_tests;
pub mod kolla;
pub mod layering;
pub mod leaves;
pub mod mounts;
pub mod node;
pub mod ports;
pub mod range;
pub mod read;
pub mod role;
pub mod scalars;
pub mod schema;
pub mod secret_store;
pub mod service;
pub mod shape;
pub mod site;
pub mod source;
pub mod ssh;
pub mod ssh_config;
pub mod starter;
pub mod suggest;
pub mod volume_mount;
pub mod yaml;

//! Where the world begins: Docker, files, sockets, the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is where the world begins")]

pub mod agent_client;
pub mod agent_socket;
#[cfg(test)]
mod agent_socket_tests;
pub mod docker;
pub mod http;
pub mod process;
pub mod serve;

//! Where the world begins: Docker, files, sockets, the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is where the world begins")]

pub mod docker;

//! Plain data that every room shares: no I/O, no async, no clock.

pub mod certificate;
pub mod change;
pub mod condition;
pub mod desired;
pub mod facts;
pub mod file;
pub mod fileset;
pub mod hold;
pub mod image;
pub mod job;
pub mod kolla;
pub mod labels;
pub mod memory;
pub mod names;
pub mod network;
pub mod peers;
pub mod probe;
pub mod procedure;
pub mod recipe;
pub mod secret;
pub mod settings;
pub mod time;

//! What people and programs read: pure text and JSON.

pub mod event;
pub mod metrics;
#[cfg(test)]
pub(crate) mod samples;
pub mod status;
pub mod status_text;

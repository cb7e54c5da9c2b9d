//! What people and programs read: pure text and JSON.

pub mod change_view;
pub mod describe_text;
pub mod diff_view;
pub mod event;
pub mod merge;
pub mod metrics;
pub mod plan_view;
pub mod redact;
#[cfg(test)]
pub(crate) mod samples;
pub mod status;
#[cfg(test)]
mod status_tests;
pub mod status_text;
pub mod why_text;

//! The loop: observe, plan, admit, execute; woken by edits, events, finished steps and timers.

pub mod command;
pub mod published;

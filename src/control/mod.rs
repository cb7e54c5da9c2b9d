//! The loop: observe, plan, admit, execute; woken by edits, events, finished steps and timers.
//!
//! | task | in | out |
//! |---|---|---|
//! | [`reconciler`] | inputs, ended steps, answers of probes, timers | steps, memory, events, status (watch), paths (watch) |
//! | [`events`] | the engine's stream | inputs |
//! | steps | one step each | what it brought to light |
//! | probes | one question each | an answer, or none |

pub mod accept;
pub mod command;
mod commands;
pub mod events;
mod garbage;
pub mod goal;
pub mod input;
mod look;
mod observer;
mod outcome;
pub mod ports;
mod probes;
mod publish;
pub mod published;
pub mod reconciler;
mod site;
mod turn;
mod waiters;

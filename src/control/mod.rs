//! The loop: observe, plan, admit, execute; woken by edits, events, finished steps and timers.
//!
//! | task | in | out |
//! |---|---|---|
//! | [`reconciler`] | inputs, ended steps, answers of probes, timers | steps, memory, events, status (watch), paths (watch) |
//! | [`events`] | the engine's stream | inputs |
//! | steps | one step each | what it brought to light |
//! | probes | one question each | an answer, or none |

pub mod accept;
pub mod answers;
pub mod changes;
pub mod command;
mod commands;
mod dependents;
pub mod events;
mod facts;
mod filesets;
pub mod fleet;
mod garbage;
pub mod goal;
mod identity;
pub mod input;
mod look;
mod observer;
mod outcome;
mod peers;
pub mod ports;
mod probes;
mod procedures;
mod publish;
pub mod published;
mod pulling;
mod queue;
mod recall;
pub mod reconciler;
mod rollback;
mod site;
mod standing;
mod turn;
mod values;
mod waiters;

//! A simulated world: hosts with an engine, files, a store and a network, under one clock and one seed.
//!
//! In: a seed, images with the programs that they run, faults. Out: the same ports that the real edges implement, so that
//! the whole agent runs in it, in milliseconds and repeatably.
//!
//! Time is Tokio's; with a paused clock a day passes in no time. Each host has one task, its daemon, which sleeps until the
//! next thing is due (a process ends, a health check turns, the engine restarts something) and then makes it happen.
//! All state of a host is behind one lock, which is never held across an await.

pub mod clock;
pub mod coordinator;
mod daemon;
pub mod engine;
pub mod faults;
pub mod files;
pub mod invariants;
pub mod operator;
pub mod planted;
pub mod prober;
pub mod program;
mod state;
pub mod store;
#[cfg(test)]
mod tests;
pub mod world;

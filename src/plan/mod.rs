//! What differs, why, and the one next step of each instance.
//!
//! In: desired state, observed state, memory, policy and the time, all by reference. Out: plans. Nothing here does
//! I/O, reads a clock or rolls dice, so that the same input gives byte-equal plans.

pub mod backoff;
pub mod change;
pub mod dependency;
pub mod diff;
pub mod expected;
pub mod files;
pub mod fileset;
pub mod gate;
pub mod host;
pub mod id;
pub mod instance;
mod instructed;
pub mod job;
mod job_step;
pub mod lapse;
mod namespaces;
pub mod networks;
pub mod orphans;
pub mod prepare;
pub mod remember;
mod replace;
pub mod schedule;
pub mod slots;
mod steady;
pub mod step;
#[cfg(test)]
pub(crate) mod testing;
mod volumes;

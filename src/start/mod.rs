//! The start program of our images, as far as it decides: Kolla's image contract.
//!
//! In: the text of `config.json`, the users of the image, what earlier starts have written down. Out: what is copied
//! where, with which owner and permissions ([`plan`]), what is restored ([`defaults`]), where the program keeps its
//! records ([`places`]). [`crate::edge::start`] does it, and then runs the command.

pub mod accounts;
pub mod contract;
pub mod defaults;
pub mod permissions;
pub mod places;
pub mod plan;
pub mod problem;

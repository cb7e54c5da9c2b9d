//! Mastic keeps containerised services on plain Docker hosts in the state that a YAML file declares.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "checked without tests; these may look around"
    )
)]

pub mod admit;
pub mod build;
pub mod cli;
pub mod control;
pub mod edge;
pub mod execute;
pub mod model;
pub mod observe;
pub mod parse;
pub mod plan;
pub mod port;
pub mod render;
pub mod report;
pub mod resolve;
pub mod sim;
pub mod start;

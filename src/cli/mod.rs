//! One file a verb.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads the environment and what the user names"
)]

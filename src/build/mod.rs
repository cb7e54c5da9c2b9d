//! Images: from the folders of roles to what has to be built, in which order.
//!
//! In: folders with a `Dockerfile.j2` each, what the site and the command line set, and what the engine has already.
//! Out: rendered Dockerfiles with their contexts ([`recipe`]), the graph of parents ([`graph`]), what has to be built and
//! why ([`plan`]), and, while builds end one after another, which may start ([`schedule`]). The format is described in
//! docs/images.md.

pub mod catalogue;
pub mod context;
pub mod customise;
pub mod definition;
pub mod dockerfile;
pub mod graph;
pub mod hash;
pub mod keys;
pub mod naming;
pub mod plan;
pub mod recipe;
pub mod schedule;
pub mod select;
pub mod summary;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

//! Templates become bytes, twice: really and with placeholders for secrets.
//!
//! In: source texts, a [`variables::Context`] of variables, facts and secrets. Out: what is written, and what people
//! see of it ([`template::Rendered`], [`template::Evaluated`]); the hashes of a spec ([`seal`]). Pure: sources come
//! through a closure over what has been read already.

pub mod environment;
pub mod expression;
pub mod filters;
pub mod kolla;
pub mod layers;
pub mod missing;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod properties;
pub mod safe_error;
pub mod scope;
pub mod seal;
pub mod template;
pub mod variables;

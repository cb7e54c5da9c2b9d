//! The keys of the format, as tables: what the parser takes, what the schema offers and what the reference lists.

pub mod container;
pub mod ours;
pub mod site;

//! A site becomes what one host should have.
//!
//! In: the parsed site, the host, variables, and the files that it names. Out: [`crate::model::desired::HostDesired`],
//! or everything that is wrong with it. Pure but for the reading of files through [`crate::port::site_files::SiteFiles`].

pub mod addresses;
pub mod certificates;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod change_tests;
pub mod changes;
pub mod check;
pub mod compile;
#[cfg(test)]
mod connection_tests;
#[cfg(test)]
mod error_tests;
pub mod expand;
pub mod explain;
pub mod explain_config;
#[cfg(test)]
mod fact_tests;
pub mod files;
#[cfg(test)]
mod fileset_tests;
pub mod filesets;
pub mod hosts;
pub mod image_settings;
pub mod instance;
#[cfg(test)]
mod key_tests;
pub mod kolla;
#[cfg(test)]
mod kolla_tests;
pub mod layered;
pub mod load;
pub mod namespaces;
pub mod networks;
mod procedure_steps;
mod procedures;
pub mod reader;
pub mod roles;
pub mod scope;
pub mod secrets;
pub mod survey;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod variables;
mod waiting;

//! The world behind small traits, owned by those who call them.

pub mod clock;
pub mod coordinator;
pub mod engine;
pub mod facts;
pub mod files;
pub mod prober;
pub mod read_only;
pub mod site_files;
pub mod store;
pub mod vault;

//! What is seen on a host, in the words of the model.

pub mod accounts;
pub mod addresses;
pub mod observed;

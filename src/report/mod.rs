//! What people and programs read: pure text and JSON.

pub mod event;

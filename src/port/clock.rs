//! Time and chance, so that tests decide both.

use crate::model::time::Timestamp;

/// A clock that may step, and a source of jitter.
pub trait Clock: Send + Sync {
    /// Now. It may step backwards.
    fn now(&self) -> Timestamp;
    /// A number from 0 (included) to 1 (excluded), for jitter.
    fn chance(&self) -> f64;
}

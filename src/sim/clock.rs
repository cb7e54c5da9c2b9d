//! The clock of the simulated world: Tokio's time from a fixed beginning, with a skew that tests set.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::model::time::Timestamp;
use crate::port::clock::Clock;

/// Where simulated time begins: 2026-01-01T00:00:00Z.
pub const BEGINNING: i64 = 1_767_225_600_000;

/// One clock; copies show the same time.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    skew: i64,
    random: StdRng,
}

impl SimClock {
    /// Begins now.
    pub fn new(seed: u64) -> Self {
        let inner = Inner { skew: 0, random: StdRng::seed_from_u64(seed ^ 0xc10c) };
        Self { start: Instant::now(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Milliseconds that really passed: no skew.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When so many milliseconds will have passed.
    pub fn instant(&self, elapsed: u64) -> Instant {
        self.start + std::time::Duration::from_millis(elapsed)
    }

    /// Makes the clock show another time than it should; negative steps backwards.
    pub fn set_skew(&self, milliseconds: i64) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).skew = milliseconds;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let skew = self.inner.lock().unwrap_or_else(PoisonError::into_inner).skew;
        Timestamp(BEGINNING + i64::try_from(self.elapsed()).unwrap_or(i64::MAX / 2) + skew)
    }

    fn chance(&self) -> f64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).random.random()
    }
}

//! The system's clock and chance.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::time::Timestamp;
use crate::port::clock::Clock;

/// The time of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let milliseconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Timestamp(milliseconds)
    }

    fn chance(&self) -> f64 {
        rand::random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_time_of_this_century_and_chances_below_one() {
        assert!(SystemClock.now() > Timestamp(1_700_000_000_000));
        assert!((0..1000).map(|_| SystemClock.chance()).all(|chance| (0.0..1.0).contains(&chance)));
    }
}

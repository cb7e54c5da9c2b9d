//! How long to wait after failures: full jitter over a doubling ceiling.

use crate::model::time::Span;

/// Ceiling of the first wait for an instance: restarting a container sooner helps nobody.
const FIRST: u64 = 1000;
/// Ceiling of all waits for an instance. A wait that is longer comes from a clock that stepped back, and does not hold.
pub const LONGEST: Span = Span::seconds(60);

/// The wait after so many failures in a row. The first failure is retried at once; `chance` is from 0 to 1.
pub fn wait(failures: u32, chance: f64) -> Span {
    if failures <= 1 {
        return Span::ZERO;
    }
    let doubling = failures.saturating_sub(2).min(16);
    let ceiling = (FIRST << doubling).min(LONGEST.0);
    // Never quite zero from the second failure on: two thirds of the ceiling are jitter.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers"
    )]
    let jitter = (ceiling as f64 * chance * 2.0 / 3.0) as u64;
    Span(ceiling / 3 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_the_second_failure_to_a_minute() {
        assert_eq!(wait(0, 0.9), Span::ZERO);
        assert_eq!(wait(1, 0.9), Span::ZERO);
        assert!(wait(2, 0.0) >= Span(333) && wait(2, 1.0) <= Span(1000));
        assert!(wait(40, 1.0) <= Span(60_000) && wait(40, 0.0) >= Span(20_000));
    }
}

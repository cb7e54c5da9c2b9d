//! How long an instance has not been ready: whether it is out for a moment or for good. Pure.
//!
//! In: what was seen of it, look by look. Out: what would be lost if it were taken down. Only time in which it was watched
//! counts, so that an agent that was down gives nobody up.

use crate::model::peers::Standing;
use crate::model::time::{Span, Timestamp};

/// The longest stretch that one look accounts for; a longer one means that nobody watched.
const LONGEST_LOOK: Span = Span::seconds(30);
/// Who has been ready for so long is back: an engine counts a container that ran for as long as started well.
const STEADY: Span = Span::seconds(10);
/// So many starts without having been back in between are a crash loop.
const CRASHES: u64 = 5;

/// What was seen of an instance at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its container; none if there is none.
    pub container_id: Option<String>,
    /// How often that was started again, by the engine or by us.
    pub starts: u64,
    /// Its process is there.
    pub running: bool,
    /// It is ready.
    pub ready: bool,
    /// Nothing of it has ever been ready here, and that is known.
    pub never_ready: bool,
}

/// What is known of the time in which it was not ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lapse {
    seen: Seen,
    seen_at: Timestamp,
    lasted: Span,
    ready_for: Span,
    crashes: u64,
}

/// One more look.
pub fn watch(before: Option<&Lapse>, seen: Seen, now: Timestamp) -> Lapse {
    let Some(before) = before else { return Lapse { seen, seen_at: now, ..Lapse::default() } };
    let passed = Span(now.since(before.seen_at).0.min(LONGEST_LOOK.0));
    let same = before.seen.container_id == seen.container_id;
    let crashed = if same { seen.starts.saturating_sub(before.seen.starts) } else { 0 };
    let unbroken = seen.ready && before.seen.ready && crashed == 0;
    let ready_for = if unbroken { Span(before.ready_for.0 + passed.0) } else { Span::ZERO };
    let is_back = ready_for >= STEADY;
    Lapse {
        seen,
        seen_at: now,
        ready_for,
        lasted: if is_back { Span::ZERO } else { Span(before.lasted.0 + passed.0) },
        crashes: if is_back { 0 } else { before.crashes + crashed },
    }
}

impl Lapse {
    /// What would be lost with it. `deadline` is within which a change has to be ready: who has not been for as long will
    /// not be soon.
    pub fn standing(&self, deadline: Span) -> Standing {
        if self.seen.never_ready || self.crashes >= CRASHES {
            Standing::Down
        } else if self.seen.ready || self.lasted < deadline {
            Standing::Counts
        } else if self.seen.running {
            Standing::Mute
        } else {
            Standing::Down
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Span = Span::seconds(60);

    fn seen(ready: bool) -> Seen {
        Seen { container_id: Some("1".to_owned()), running: true, ready, ..Seen::default() }
    }

    fn looks(looks: &[(i64, Seen)]) -> Standing {
        let mut lapse = None;
        for (second, seen) in looks {
            lapse = Some(watch(lapse.as_ref(), seen.clone(), Timestamp(second * 1000)));
        }
        lapse.unwrap_or_default().standing(DEADLINE)
    }

    #[test]
    fn who_is_not_ready_for_a_moment_still_counts() {
        assert_eq!(looks(&[(0, seen(false))]), Standing::Counts, "it was only just looked at");
        assert_eq!(looks(&[(0, seen(true)), (20, seen(true)), (25, seen(false)), (54, seen(false))]), Standing::Counts);
        let gone = Seen { running: false, ..seen(false) };
        assert_eq!(looks(&[(0, seen(true)), (20, gone)]), Standing::Counts, "it died, and comes back");
    }

    #[test]
    fn who_has_not_been_ready_for_its_deadline_is_given_up() {
        let mute: Vec<(i64, Seen)> = (0..=6).map(|look| (look * 10, seen(false))).collect();
        assert_eq!(looks(&mute), Standing::Mute, "it runs: others may count on it");
        let gone: Vec<(i64, Seen)> = mute.iter().map(|(at, _)| (*at, Seen { running: false, ..seen(false) })).collect();
        assert_eq!(looks(&gone), Standing::Down);
        let short = [(0, seen(false)), (20, seen(false)), (40, seen(true)), (45, seen(true)), (65, seen(false))];
        assert_eq!(looks(&short), Standing::Mute, "five seconds are not back");
        let back = [(0, seen(false)), (20, seen(false)), (40, seen(true)), (55, seen(true)), (65, seen(false))];
        assert_eq!(looks(&back), Standing::Counts);
        assert_eq!(
            looks(&[(0, seen(false)), (30, seen(false)), (60, seen(true))]),
            Standing::Counts,
            "it is ready now"
        );
    }

    #[test]
    fn time_in_which_nobody_watched_gives_nobody_up() {
        assert_eq!(looks(&[(0, seen(false)), (100_000, seen(false))]), Standing::Counts);
        assert_eq!(looks(&[(100_000, seen(false)), (0, seen(false)), (20, seen(false))]), Standing::Counts);
    }

    #[test]
    fn who_crashes_again_and_again_is_down_even_while_it_runs() {
        let start = |starts: u64, ready: bool| Seen { starts, ..seen(ready) };
        let crashing: Vec<(i64, Seen)> = (0..=5_u32).map(|look| (look.into(), start(look.into(), true))).collect();
        assert_eq!(looks(&crashing), Standing::Down);
        let mut back = crashing.clone();
        back.extend([(6, start(5, true)), (17, start(5, true))]);
        assert_eq!(looks(&back), Standing::Counts, "it has stayed up since");
        let other =
            crashing.iter().map(|(at, seen)| (*at, Seen { container_id: Some(at.to_string()), ..seen.clone() }));
        assert_eq!(looks(&other.collect::<Vec<_>>()), Standing::Counts, "other containers have counts of their own");
    }

    #[test]
    fn who_never_was_ready_is_no_loss() {
        assert_eq!(looks(&[(0, Seen { never_ready: true, ..seen(false) })]), Standing::Down);
    }
}

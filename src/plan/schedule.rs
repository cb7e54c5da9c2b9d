//! When a scheduled job is due.

use std::str::FromStr as _;

use croner::Cron;
use jiff::tz::TimeZone;

use crate::model::job::Schedule;
use crate::model::time::{Span, Timestamp};

/// A time that passed so long ago was missed: nobody was there to start it.
const MISSED_AFTER: Span = Span::seconds(60);

/// What the clock says about a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A run for this time.
    Now(Timestamp),
    /// Times up to this one were missed and are not made up for.
    Missed(Timestamp),
    /// Not before then.
    Later(Timestamp),
    /// Never: the expression names no time, or cannot be read.
    Never,
}

/// Why a schedule cannot be read.
pub fn check(schedule: &Schedule) -> Result<(), String> {
    Cron::from_str(&schedule.cron).map_err(|error| format!("`{}` is no cron expression: {error}", schedule.cron))?;
    TimeZone::get(&schedule.timezone).map_err(|_| format!("`{}` is no time zone", schedule.timezone))?;
    Ok(())
}

/// Looks for the newest time after `handled` that is not in the future.
pub fn due(schedule: &Schedule, handled: Timestamp, now: Timestamp) -> Due {
    let (Ok(cron), Ok(zone)) = (Cron::from_str(&schedule.cron), TimeZone::get(&schedule.timezone)) else {
        return Due::Never;
    };
    let next_after = |time: Timestamp| {
        let zoned = jiff::Timestamp::from_millisecond(time.0).ok()?.to_zoned(zone.clone());
        let next = cron.find_next_occurrence(&zoned, false).ok()?;
        Some(Timestamp(next.timestamp().as_millisecond()))
    };
    let Some(first) = next_after(handled) else { return Due::Never };
    if first > now {
        return Due::Later(first);
    }
    // Of several that passed only the newest counts. A look a minute back finds it without walking through months.
    let recent = next_after(Timestamp(now.0.saturating_sub(i64::try_from(MISSED_AFTER.0).unwrap_or(0))))
        .filter(|time| *time <= now);
    let newest = recent.map_or(first, |recent| recent.max(first));
    if now.since(newest) > MISSED_AFTER && !schedule.run_missed { Due::Missed(now) } else { Due::Now(newest) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn nightly(run_missed: bool) -> Schedule {
        Schedule { cron: "17 2 * * *".to_owned(), timezone: "Europe/Berlin".to_owned(), run_missed }
    }

    #[test]
    fn is_due_in_its_own_time_zone() {
        let handled = at("2026-06-01T00:00:00Z");
        assert_eq!(due(&nightly(false), handled, at("2026-06-01T00:16:59Z")), Due::Later(at("2026-06-01T00:17:00Z")));
        assert_eq!(due(&nightly(false), handled, at("2026-06-01T00:17:05Z")), Due::Now(at("2026-06-01T00:17:00Z")));
    }

    #[test]
    fn a_missed_time_is_made_up_for_only_on_request() {
        let (handled, now) = (at("2026-06-01T00:00:00Z"), at("2026-06-01T12:00:00Z"));
        assert_eq!(due(&nightly(false), handled, now), Due::Missed(now));
        assert_eq!(due(&nightly(true), handled, now), Due::Now(at("2026-06-01T00:17:00Z")));
    }

    #[test]
    fn bad_expressions_are_told() {
        let mut schedule = nightly(false);
        schedule.cron = "every day".to_owned();
        assert!(check(&schedule).is_err());
        schedule.cron = "0 0 * * *".to_owned();
        schedule.timezone = "Mars/Olympus".to_owned();
        assert_eq!(check(&schedule).unwrap_err(), "`Mars/Olympus` is no time zone");
    }
}

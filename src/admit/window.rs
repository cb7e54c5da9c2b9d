//! Whether an edit may be taken now: windows of the site, and a freeze that a person has placed. Pure.
//!
//! Only edits ask. What was taken before goes on, what drifts or dies is healed, and what a person says is done.

use crate::model::hold::{Hold, HoldKind};
use crate::model::time::Timestamp;
use crate::model::window::{Window, WindowKind};

/// Turns of windows that are looked through for the next time at which all of them let an edit in: years of a week's.
const TURNS: usize = 2000;

/// Why an edit is not taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// For people.
    pub why: String,
    /// When it would be taken; none where nobody can tell.
    pub until: Option<Timestamp>,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.until {
            Some(until) => write!(formatter, "waits until {until}: {}", self.why),
            None => write!(formatter, "waits: {}", self.why),
        }
    }
}

/// Decides.
pub fn may_take(windows: &[Window], holds: &[Hold], now: Timestamp) -> Result<(), Closed> {
    let Some(why) = refusal(windows, holds, now) else { return Ok(()) };
    let mut time = now;
    for _ in 0..TURNS {
        let freezes = freezes(holds, time).filter_map(|hold| hold.until);
        let Some(next) = windows.iter().filter_map(|window| window.next_turn(time)).chain(freezes).min() else { break };
        time = next;
        if refusal(windows, holds, time).is_none() {
            return Err(Closed { why, until: Some(time) });
        }
    }
    Err(Closed { why, until: None })
}

fn freezes(holds: &[Hold], now: Timestamp) -> impl Iterator<Item = &Hold> {
    holds.iter().filter(move |hold| hold.kind == HoldKind::Freeze && hold.is_active(now))
}

fn refusal(windows: &[Window], holds: &[Hold], now: Timestamp) -> Option<String> {
    if let Some(hold) = freezes(holds, now).next() {
        return Some(format!("edits are frozen by {}: {}", hold.user, hold.reason));
    }
    let of = |kind: WindowKind| windows.iter().filter(move |window| window.kind == kind);
    // A zone that is not known here lets nothing in.
    if let Some(window) = of(WindowKind::Deny).find(|window| window.is_open(now) != Some(false)) {
        return Some(format!("`sync.windows` denies edits ({window})"));
    }
    let is_allowed = of(WindowKind::Allow).any(|window| window.is_open(now) == Some(true));
    if is_allowed || of(WindowKind::Allow).next().is_none() {
        return None;
    }
    let allowed: Vec<String> = of(WindowKind::Allow).map(ToString::to_string).collect();
    Some(format!("`sync.windows` allows edits only {}", allowed.join("; ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn windows(written: &[(WindowKind, &str)]) -> Vec<Window> {
        written.iter().map(|(kind, text)| Window::parse(*kind, text).unwrap()).collect()
    }

    fn freeze(until: Option<&str>) -> Hold {
        Hold {
            kind: HoldKind::Freeze,
            service: None,
            user: "ann".to_owned(),
            reason: "sale".to_owned(),
            since: Timestamp(0),
            until: until.map(at),
        }
    }

    fn said(windows: &[Window], holds: &[Hold], now: &str) -> Result<(), String> {
        may_take(windows, holds, at(now)).map_err(|closed| closed.to_string())
    }

    #[test]
    fn without_windows_edits_are_always_taken() {
        assert_eq!(said(&[], &[], "2026-11-30T12:00:00Z"), Ok(()));
    }

    #[test]
    fn outside_of_all_windows_it_waits_for_the_next_one() {
        let office = windows(&[(WindowKind::Allow, "Mon-Thu 09:00-16:00"), (WindowKind::Allow, "Sat 10:00-11:00")]);
        assert_eq!(said(&office, &[], "2026-11-30T12:00:00Z"), Ok(()));
        let expected = "waits until 2026-12-05T10:00:00Z: `sync.windows` allows edits only Mon,Tue,Wed,Thu 09:00-16:00 UTC; \
                        Sat 10:00-11:00 UTC";
        assert_eq!(said(&office, &[], "2026-12-03T16:00:00Z"), Err(expected.to_owned()));
    }

    #[test]
    fn what_denies_wins_and_the_next_time_is_one_that_all_allow() {
        let all = windows(&[
            (WindowKind::Allow, "Mon-Thu 09:00-16:00"),
            (WindowKind::Deny, "2026-12-20T18:00/2027-01-06T08:00"),
            (WindowKind::Deny, "Wed 00:00-24:00"),
        ]);
        let expected = "waits until 2027-01-07T09:00:00Z: `sync.windows` denies edits (2026-12-20T18:00:00/2027-01-06T08:00:00 UTC)";
        assert_eq!(said(&all, &[], "2026-12-22T12:00:00Z"), Err(expected.to_owned()));
    }

    #[test]
    fn a_freeze_holds_until_it_ends_and_then_the_windows_count() {
        let office = windows(&[(WindowKind::Allow, "Mon-Thu 09:00-16:00")]);
        let now = "2026-11-30T12:00:00Z";
        assert_eq!(said(&[], &[freeze(None)], now), Err("waits: edits are frozen by ann: sale".to_owned()));
        let until = "waits until 2026-12-01T09:00:00Z: edits are frozen by ann: sale";
        assert_eq!(said(&office, &[freeze(Some("2026-11-30T20:00:00Z"))], now), Err(until.to_owned()));
        assert_eq!(said(&office, &[freeze(Some("2026-11-30T11:00:00Z"))], now), Ok(()));
    }

    #[test]
    fn windows_that_never_open_are_told_as_such() {
        let never = windows(&[(WindowKind::Deny, "daily 00:00-24:00")]);
        let closed = may_take(&never, &[], at("2026-11-30T12:00:00Z")).unwrap_err();
        assert_eq!(closed.until, None);
    }
}

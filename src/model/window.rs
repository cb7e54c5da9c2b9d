//! Windows of time in which edits may be taken, or may not.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Days as they are written, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// One window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What it is for.
    pub kind: WindowKind,
    /// When it is open.
    pub when: When,
    /// Of which place the clock is meant: a name of the IANA's, as `Europe/Berlin`.
    pub zone: String,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// Edits are taken in it, and outside of all such windows they are not.
    Allow,
    /// Edits are not taken in it, whatever else allows them.
    Deny,
}

/// When a window is open, by a clock on the wall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// On some days of each week.
    Weekly {
        /// 0 is Monday.
        days: BTreeSet<u8>,
        /// Minutes after midnight.
        from: u16,
        /// The same; up to `from` it is of the next day.
        until: u16,
    },
    /// Once.
    Once {
        /// From then on.
        from: DateTime,
        /// Up to then.
        until: DateTime,
    },
}

impl Window {
    /// `Mon-Thu 09:00-16:00 Europe/Berlin`, `daily 22:00-06:00`, `2026-12-20T18:00/2027-01-06T08:00 Europe/Berlin`; without a
    /// zone it is UTC. An error says what is expected.
    pub fn parse(kind: WindowKind, text: &str) -> Result<Self, String> {
        let expected = || {
            format!("`{text}` is neither `Mon-Thu 09:00-16:00 Europe/Berlin` nor `2026-12-20T18:00/2027-01-06T08:00`")
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (when, rest) = match words.as_slice() {
            [once, rest @ ..] if once.contains('/') && once.starts_with(|first: char| first.is_ascii_digit()) => {
                (parse_once(once).ok_or_else(expected)?, rest)
            }
            [days, times, rest @ ..] => {
                let days = parse_days(days).ok_or_else(expected)?;
                let (from, until) = parse_times(times).ok_or_else(expected)?;
                (When::Weekly { days, from, until }, rest)
            }
            _ => return Err(expected()),
        };
        let zone = match rest {
            [] => "UTC",
            [zone] => *zone,
            _ => return Err(expected()),
        };
        TimeZone::get(zone).map_err(|_| format!("`{zone}` is no time zone"))?;
        Ok(Self { kind, when, zone: zone.to_owned() })
    }

    /// Whether it is open; none where its zone is not known on this machine.
    pub fn is_open(&self, now: Timestamp) -> Option<bool> {
        Some(self.spans(now)?.iter().any(|(from, until)| *from <= now && now < *until))
    }

    /// When it opens or closes next; none if never again.
    pub fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        self.spans(now)?.into_iter().flat_map(|(from, until)| [from, until]).filter(|time| *time > now).min()
    }

    /// The times at which it is open around a moment: from the day before to more than a week later.
    fn spans(&self, now: Timestamp) -> Option<Vec<(Timestamp, Timestamp)>> {
        let zone = TimeZone::get(&self.zone).ok()?;
        let at = |time: DateTime| Some(Timestamp(time.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()));
        match &self.when {
            When::Once { from, until } => Some(vec![(at(*from)?, at(*until)?)]),
            When::Weekly { days, from, until } => {
                let today = jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned(zone.clone()).date();
                let length = if until > from { until - from } else { DAY + until - from };
                let day_of = |offset: i64| today.checked_add(Span::new().days(offset)).ok();
                let is_meant = |day: &Date| {
                    u8::try_from(day.weekday().to_monday_zero_offset()).is_ok_and(|day| days.contains(&day))
                };
                let open = (-1..=8).filter_map(day_of).filter(is_meant).filter_map(|day| {
                    let begins = day.at(0, 0, 0, 0).checked_add(i64::from(*from).minutes()).ok()?;
                    Some((at(begins)?, at(begins.checked_add(i64::from(length).minutes()).ok()?)?))
                });
                Some(open.collect())
            }
        }
    }
}

fn parse_days(text: &str) -> Option<BTreeSet<u8>> {
    if text == "daily" {
        return Some((0..7).collect());
    }
    let day = |name: &str| DAYS.iter().position(|day| *day == name).and_then(|day| u8::try_from(day).ok());
    let mut days = BTreeSet::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => drop(days.insert(day(part)?)),
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                let count = (last + 7 - first) % 7;
                days.extend((0..=count).map(|offset| (first + offset) % 7));
            }
        }
    }
    Some(days)
}

fn parse_times(text: &str) -> Option<(u16, u16)> {
    let time = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let (hours, minutes) =
            (Some(hours).filter(|text| is_number(text))?, Some(minutes).filter(|text| is_number(text))?);
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        Some(hours * 60 + minutes).filter(|time| minutes < 60 && *time <= DAY)
    };
    let (from, until) = text.split_once('-')?;
    let (from, until) = (time(from)?, time(until)?);
    (from < DAY).then_some((from, until))
}

fn parse_once(text: &str) -> Option<When> {
    let (from, until) = text.split_once('/')?;
    let (from, until): (DateTime, DateTime) = (from.parse().ok()?, until.parse().ok()?);
    (from < until).then_some(When::Once { from, until })
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Weekly { days, from, until } => {
                let names: Vec<&str> = days.iter().filter_map(|day| DAYS.get(usize::from(*day)).copied()).collect();
                let days = if days.len() == 7 { "daily".to_owned() } else { names.join(",") };
                let (from, until) = ((from / 60, from % 60), (until / 60, until % 60));
                write!(formatter, "{days} {:02}:{:02}-{:02}:{:02}", from.0, from.1, until.0, until.1)?;
            }
            When::Once { from, until } => write!(formatter, "{from}/{until}")?,
        }
        write!(formatter, " {}", self.zone)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        Window::parse(WindowKind::Allow, text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn what_is_written_is_understood_and_shown() {
        for (written, shown) in [
            ("Mon-Thu 09:00-16:00 Europe/Berlin", "Mon,Tue,Wed,Thu 09:00-16:00 Europe/Berlin"),
            ("Sat-Mon,Wed 22:00-06:00", "Mon,Wed,Sat,Sun 22:00-06:00 UTC"),
            ("daily 00:00-24:00 UTC", "daily 00:00-24:00 UTC"),
            (
                "2026-12-20T18:00/2027-01-06T08:00 Europe/Berlin",
                "2026-12-20T18:00:00/2027-01-06T08:00:00 Europe/Berlin",
            ),
        ] {
            assert_eq!(window(written).to_string(), shown);
        }
        for wrong in [
            "",
            "daily",
            "Mon",
            "Monday 09:00-16:00",
            "Mon 9:00-16:00",
            "Mon 09:60-16:00",
            "Mon 24:00-25:00",
            "Mon 09:00-16:00 Europe/Berlin x",
            "2027-01-06T08:00/2026-12-20T18:00",
            "2026-13-01T00:00/2027-01-01T00:00",
        ] {
            assert!(Window::parse(WindowKind::Deny, wrong).unwrap_err().contains("is neither"), "{wrong}");
        }
        let zone = Window::parse(WindowKind::Deny, "daily 09:00-16:00 Europe/Bärlin").unwrap_err();
        assert_eq!(zone, "`Europe/Bärlin` is no time zone");
    }

    #[test]
    fn it_is_open_by_the_clock_of_its_place() {
        let office = window("Mon-Thu 09:00-16:00 Europe/Berlin");
        // A Monday in winter, and one in summer.
        for (time, open) in [
            ("2026-11-30T07:59:59Z", false),
            ("2026-11-30T08:00:00Z", true),
            ("2026-11-30T14:59:59Z", true),
            ("2026-11-30T15:00:00Z", false),
            ("2026-06-01T07:00:00Z", true),
            ("2026-06-01T14:00:00Z", false),
            ("2026-12-04T10:00:00Z", false),
        ] {
            assert_eq!(office.is_open(at(time)), Some(open), "{time}");
        }
        assert_eq!(office.next_turn(at("2026-11-30T10:00:00Z")), Some(at("2026-11-30T15:00:00Z")));
        assert_eq!(office.next_turn(at("2026-12-03T15:00:00Z")), Some(at("2026-12-07T08:00:00Z")), "over the weekend");
    }

    #[test]
    fn it_may_go_on_after_midnight_and_be_a_whole_day() {
        let night = window("Fri 22:00-06:00");
        assert_eq!(night.is_open(at("2026-12-04T23:00:00Z")), Some(true));
        assert_eq!(night.is_open(at("2026-12-05T05:59:00Z")), Some(true));
        assert_eq!(night.is_open(at("2026-12-05T23:00:00Z")), Some(false));
        let all = window("daily 00:00-24:00");
        assert_eq!(all.is_open(at("2026-12-05T23:59:59Z")), Some(true));
    }

    #[test]
    fn once_is_once() {
        let break_ = window("2026-12-20T18:00/2027-01-06T08:00 Europe/Berlin");
        assert_eq!(break_.is_open(at("2026-12-31T12:00:00Z")), Some(true));
        assert_eq!(break_.next_turn(at("2026-12-31T12:00:00Z")), Some(at("2027-01-06T07:00:00Z")));
        assert_eq!(break_.next_turn(at("2027-01-06T07:00:00Z")), None);
    }
}

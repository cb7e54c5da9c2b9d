//! The status for people: the summary first, then what needs somebody, then a table.
//!
//! In: a [`SiteStatus`], the time, the width of the terminal. Out: text.

use std::fmt::Write;

use super::status::{InstanceState, InstanceStatus, JobPhase, PendingKind, SiteStatus, Wanted};
use crate::model::condition::{Condition, ConditionStatus, ConditionType};
use crate::model::hold::HoldKind;
use crate::model::time::{Span, Timestamp};

/// How to show it.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether to use colour.
    pub colour: bool,
}

/// A table gets the columns for image and spec only from this width on.
const WIDE: usize = 120;

/// The conditions that people want to see first; the others are in `mastic describe`.
const NOTABLE: [(ConditionType, ConditionStatus); 15] = [
    (ConditionType::NameTaken, ConditionStatus::True),
    (ConditionType::PortHeldBy, ConditionStatus::True),
    (ConditionType::Halted, ConditionStatus::True),
    (ConditionType::CrashLooping, ConditionStatus::True),
    (ConditionType::RolledBack, ConditionStatus::True),
    (ConditionType::Quarantined, ConditionStatus::True),
    (ConditionType::Stalled, ConditionStatus::True),
    (ConditionType::Progressing, ConditionStatus::False),
    (ConditionType::Paused, ConditionStatus::True),
    (ConditionType::RemovalHeld, ConditionStatus::True),
    (ConditionType::Waiting, ConditionStatus::True),
    (ConditionType::Drifted, ConditionStatus::True),
    (ConditionType::Drifted, ConditionStatus::Unknown),
    (ConditionType::Reconciling, ConditionStatus::True),
    (ConditionType::Unknown, ConditionStatus::True),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Busy,
    Bad,
}

impl Tone {
    fn paint(self, text: &str, look: Look) -> String {
        match (self, look.colour) {
            (Self::Plain, _) | (_, false) => text.to_owned(),
            (Self::Good, true) => format!("\u{1b}[32m{text}\u{1b}[0m"),
            (Self::Busy, true) => format!("\u{1b}[33m{text}\u{1b}[0m"),
            (Self::Bad, true) => format!("\u{1b}[31m{text}\u{1b}[0m"),
        }
    }
}

/// The whole text, ending in a newline.
pub fn render(status: &SiteStatus, now: Timestamp, look: Look) -> String {
    let mut text = String::new();
    summary(&mut text, status, look);
    attention(&mut text, status, now, look);
    instances(&mut text, status, now, look);
    jobs(&mut text, status, now, look);
    text
}

fn summary(text: &mut String, status: &SiteStatus, look: Look) {
    let tone = if status.converged {
        Tone::Good
    } else if status.ready {
        Tone::Busy
    } else {
        Tone::Bad
    };
    let word = match (status.observed_at, status.ready, status.converged) {
        (None, ..) => "not yet observed",
        (_, true, true) => "ready",
        (_, true, false) => "ready, still converging",
        (_, false, _) => "not ready",
    };
    let mut line = status.line();
    for prefix in ["converged ", "observing, "] {
        if let Some(rest) = line.strip_prefix(prefix) {
            line = rest.to_owned();
        }
    }
    let mut line = format!("{}: {word}, {line}", status.site);
    if !status.source_digest.is_empty() {
        let _ = write!(line, " (source {})", short(&status.source_digest));
    }
    // Colour comes last: its codes have no width.
    for (number, line) in wrap(&line, look.width).iter().enumerate() {
        let line = if number == 0 { line.replacen(word, &tone.paint(word, look), 1) } else { line.clone() };
        let _ = writeln!(text, "{line}");
    }
}

fn attention(text: &mut String, status: &SiteStatus, now: Timestamp, look: Look) {
    let mut say = |tone: Tone, message: &str| {
        let mut lines = message.lines();
        for (number, line) in wrap(lines.next().unwrap_or(""), look.width.saturating_sub(2)).iter().enumerate() {
            let mark = if number == 0 { tone.paint("!", look) } else { " ".to_owned() };
            let _ = writeln!(text, "{mark} {line}");
        }
        // Diagnostics point at columns: their lines stay as they are.
        for line in lines {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        }
    };
    for host in status.hosts.iter().filter(|host| !host.reachable) {
        let why = host.engine.error.as_deref().unwrap_or("nothing is known of it");
        say(Tone::Bad, &format!("{}: the engine cannot be asked: {why}", host.name));
    }
    if let Some(bad) = &status.bad_site_file {
        let age = age(now, bad.since);
        let generation = status.generation;
        say(Tone::Bad, &format!("bad site file since {age}; generation {generation} stays in force\n{}", bad.message));
    }
    if let Some(pending) = &status.pending {
        let how = match (pending.kind, &pending.plan_id) {
            (PendingKind::Edit, Some(plan)) => format!("an edit waits: mastic approve {plan}"),
            (PendingKind::Edit, None) => "an edit waits for approval".to_owned(),
            (PendingKind::Removal, _) => "removals wait: mastic apply --allow-prune".to_owned(),
        };
        say(Tone::Busy, &format!("{how} ({}, since {})", pending.message, age(now, pending.since)));
    }
    for hold in &status.holds {
        let what = match hold.kind {
            HoldKind::Stop => "stopped",
            HoldKind::Pause => "paused",
            HoldKind::Cordon => "cordoned",
            HoldKind::Pin => "pinned",
        };
        let on = hold.service.as_ref().map_or("everything", |service| service.as_str());
        let end = match hold.until {
            Some(until) => format!(", for another {}", rough(until.since(now))),
            None => String::new(),
        };
        let why = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
        say(Tone::Busy, &format!("{on} is {what} by {} since {}{end}{why}", hold.user, age(now, hold.since)));
    }
    if let Some(error) = &status.last_error {
        say(Tone::Bad, error);
    }
    for host in &status.hosts {
        for condition in host.conditions.iter().filter(|condition| is_notable(condition)) {
            say(Tone::Busy, &format!("{}: {}", host.name, told(condition)));
        }
    }
}

fn instances(text: &mut String, status: &SiteStatus, now: Timestamp, look: Look) {
    if status.instances().next().is_none() {
        return;
    }
    let many_hosts = status.hosts.len() > 1;
    let wide = look.width >= WIDE;
    let mut header = Vec::new();
    if many_hosts {
        header.push("HOST");
    }
    header.extend(["SERVICE", "STATE", "READY", "GEN", "AGE"]);
    if wide {
        header.extend(["SPEC", "IMAGE"]);
    }
    header.push("NOTE");
    let mut table = Table::new(&header);
    for (host, instance) in status.instances() {
        let mut row = Vec::new();
        if many_hosts {
            row.push((host.name.to_string(), Tone::Plain));
        }
        let (ready, tone) = readiness(instance, host.reachable);
        row.push((instance.service.to_string(), Tone::Plain));
        row.push((instance.state.as_str().to_owned(), Tone::Plain));
        row.push((ready.to_owned(), tone));
        row.push((dash(instance.generation), Tone::Plain));
        let since = instance.conditions.iter().find(|condition| condition.kind == ConditionType::Ready);
        row.push((since.and_then(|ready| ready.since).map_or("-".to_owned(), |time| age(now, time)), Tone::Plain));
        if wide {
            row.push((short(&instance.spec_hash), Tone::Plain));
            row.push((instance.image.clone(), Tone::Plain));
        }
        row.push((note(instance), Tone::Plain));
        table.rows.push(row);
    }
    text.push('\n');
    table.write(text, look);
}

fn jobs(text: &mut String, status: &SiteStatus, now: Timestamp, look: Look) {
    let many_hosts = status.hosts.len() > 1;
    let mut header = if many_hosts { vec!["HOST"] } else { vec![] };
    header.extend(["JOB", "STATE", "RUNS", "AGE", "NOTE"]);
    let mut table = Table::new(&header);
    for host in &status.hosts {
        for job in &host.jobs {
            let tone = match job.state {
                JobPhase::Done | JobPhase::Scheduled => Tone::Good,
                JobPhase::Failed | JobPhase::Halted => Tone::Bad,
                JobPhase::Pending | JobPhase::Waiting | JobPhase::Running => Tone::Busy,
            };
            let mut row = if many_hosts { vec![(host.name.to_string(), Tone::Plain)] } else { vec![] };
            row.push((job.job.to_string(), Tone::Plain));
            row.push((job.state.as_str().to_owned(), tone));
            row.push((job.attempts.to_string(), Tone::Plain));
            row.push((job.since.map_or("-".to_owned(), |time| age(now, time)), Tone::Plain));
            let next = job.next_run.map(|next| format!("next in {}", rough(next.since(now))));
            let parts: Vec<String> =
                next.into_iter().chain((!job.message.is_empty()).then(|| job.message.clone())).collect();
            row.push((parts.join("; "), Tone::Plain));
            table.rows.push(row);
        }
    }
    // The first row is the header.
    if table.rows.len() > 1 {
        text.push('\n');
        table.write(text, look);
    }
}

fn readiness(instance: &InstanceStatus, reachable: bool) -> (&'static str, Tone) {
    match instance.wanted {
        _ if !reachable || instance.state == InstanceState::Unknown => ("?", Tone::Bad),
        Wanted::Running if instance.ready => ("yes", Tone::Good),
        Wanted::Running => ("no", Tone::Bad),
        Wanted::Stopped => ("held", Tone::Busy),
        Wanted::Absent => ("-", Tone::Busy),
    }
}

fn note(instance: &InstanceStatus) -> String {
    let mut notable: Vec<(usize, &Condition)> =
        instance.conditions.iter().filter_map(|condition| Some((rank(condition)?, condition))).collect();
    notable.sort_by_key(|(rank, _)| *rank);
    let mut parts = Vec::new();
    if instance.wanted == Wanted::Absent {
        parts.push("no longer in the site".to_owned());
    }
    if let Some((_, condition)) = notable.first() {
        parts.push(told(condition));
        if notable.len() > 1 {
            parts.push(format!("and {} more", notable.len() - 1));
        }
    } else if !instance.ready
        && let Some(condition) = instance.conditions.iter().find(|condition| condition.kind == ConditionType::Ready)
    {
        parts.push(said(condition));
    }
    if let Some(error) = &instance.last_error {
        parts.push(format!("last error: {error}"));
    }
    if let Some(step) = &instance.next_step {
        parts.push(format!("next: {step}"));
    }
    if instance.restarts > 0 {
        let times = if instance.restarts == 1 { "time" } else { "times" };
        parts.push(format!("restarted {} {times}", instance.restarts));
    }
    parts.join("; ")
}

fn rank(condition: &Condition) -> Option<usize> {
    NOTABLE.iter().position(|(kind, status)| *kind == condition.kind && *status == condition.status)
}

fn is_notable(condition: &Condition) -> bool {
    rank(condition).is_some()
}

fn told(condition: &Condition) -> String {
    let kind = match (condition.kind, condition.status) {
        (ConditionType::Progressing, ConditionStatus::False) => "NotProgressing",
        (kind, _) => kind.as_str(),
    };
    format!("{kind}: {}", said(condition))
}

/// The message, or at least the reason. Why an engine cannot be asked stands above, once for its host.
fn said(condition: &Condition) -> String {
    if condition.reason == "EngineUnreachable" {
        return "the engine cannot be asked".to_owned();
    }
    if condition.message.is_empty() { condition.reason.clone() } else { condition.message.clone() }
}

/// The first twelve digits of a hash, without its version.
fn short(hash: &str) -> String {
    let digits = hash.rsplit(':').next().unwrap_or(hash);
    if digits.is_empty() { "-".to_owned() } else { digits.chars().take(12).collect() }
}

fn dash(number: u64) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}

fn age(now: Timestamp, then: Timestamp) -> String {
    rough(now.since(then))
}

/// A span as people say it: its two largest units at most.
pub(super) fn rough(span: Span) -> String {
    let seconds = span.0 / 1000;
    let step = match seconds {
        0..600 => 1,
        600..86_400 => 60,
        _ => 3600,
    };
    Span::seconds(seconds - seconds % step).to_string()
}

/// Breaks text into lines of at most `width` characters, at spaces where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while length == 0 && word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if length > 0 || (!line.is_empty()) {
            line.push(' ');
            length += 1;
        }
        length += word.len();
        line.extend(word);
    }
    lines.push(line);
    lines
}

/// A table whose last column takes what room is left, and wraps.
struct Table {
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|word| ((*word).to_owned(), Tone::Plain)).collect()] }
    }

    fn write(&self, text: &mut String, look: Look) {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| row[column].0.chars().count()).max().unwrap_or(0))
            .collect();
        let indent: usize = widths.iter().take(columns.saturating_sub(1)).map(|width| width + 2).sum();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, tone), width) in row.iter().zip(&widths).take(columns.saturating_sub(1)) {
                line.push_str(&tone.paint(cell, look));
                line.push_str(&" ".repeat(width + 2 - cell.chars().count()));
            }
            let last = row.last().map_or("", |(cell, _)| cell.as_str());
            for (number, part) in wrap(last, look.width.saturating_sub(indent)).iter().enumerate() {
                if number > 0 {
                    line = " ".repeat(indent);
                }
                let _ = writeln!(text, "{}", format!("{line}{part}").trim_end());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::samples;

    const NARROW: Look = Look { width: 80, colour: false };
    const BROAD: Look = Look { width: 160, colour: false };

    #[test]
    fn a_converged_site_is_short() {
        insta::assert_snapshot!(render(&samples::converged(), samples::NOW, NARROW), @r"
        demo: ready, 2/2, generation 3 (source 9f86d081884c)

        SERVICE    STATE    READY  GEN  AGE  NOTE
        hello      running  yes    3    5m
        memcached  running  yes    1    5m

        JOB      STATE  RUNS  AGE    NOTE
        migrate  done   1     1m30s
        ");
    }

    #[test]
    fn a_troubled_site_leads_with_its_troubles() {
        insta::assert_snapshot!(render(&samples::troubled(), samples::NOW, NARROW), @r"
        demo: not ready, 1/4 ready, generation 4, 1 unknown, 1 held stopped, 1
        quarantined, bad site file, removals wait for --allow-prune (source
        9f86d081884c)
        ! there: the engine cannot be asked: connection refused
        ! bad site file since 1h1m; generation 4 stays in force
          error: unknown key `imgae`
           --> site.yaml:7:7
          help: did you mean `image`?
        ! removals wait: mastic apply --allow-prune (generation 5 removes 4 of 6
          services, since 50s)
        ! memcached is stopped by ann since 1d1h, for another 2h1m: moving the rack
        ! the state directory cannot be written: No space left on device

        HOST   SERVICE    STATE       READY  GEN  AGE   NOTE
        here   hello      running     yes    3    5m    RolledBack: generation 4 exited
                                                        with 3 within 60s; generation 3
                                                        was put back; and 1 more;
                                                        restarted 1 time
        here   memcached  exited      held   1    1d1h  Paused: stopped by ann: moving
                                                        the rack
        here   web        restarting  no     4    11m   CrashLooping: died 7 times
                                                        within 10m; last error: exited
                                                        with 137; next: start; restarted
                                                        7 times
        here   cache      missing     no     -    1m    no such image
        there  hello      unknown     ?      3    -

        HOST  JOB      STATE   RUNS  AGE    NOTE
        here  migrate  failed  1     1m30s  next in 30s; exited with 3
        ");
    }

    #[test]
    fn a_broad_terminal_gets_more_columns() {
        insta::assert_snapshot!(render(&samples::troubled(), samples::NOW, BROAD), @r"
        demo: not ready, 1/4 ready, generation 4, 1 unknown, 1 held stopped, 1 quarantined, bad site file, removals wait for --allow-prune (source 9f86d081884c)
        ! there: the engine cannot be asked: connection refused
        ! bad site file since 1h1m; generation 4 stays in force
          error: unknown key `imgae`
           --> site.yaml:7:7
          help: did you mean `image`?
        ! removals wait: mastic apply --allow-prune (generation 5 removes 4 of 6 services, since 50s)
        ! memcached is stopped by ann since 1d1h, for another 2h1m: moving the rack
        ! the state directory cannot be written: No space left on device

        HOST   SERVICE    STATE       READY  GEN  AGE   SPEC          IMAGE      NOTE
        here   hello      running     yes    3    5m    6b86b273ff34  busybox:1  RolledBack: generation 4 exited with 3 within 60s; generation 3 was put back; and 1
                                                                                 more; restarted 1 time
        here   memcached  exited      held   1    1d1h  6b86b273ff34  busybox:1  Paused: stopped by ann: moving the rack
        here   web        restarting  no     4    11m   6b86b273ff34  busybox:1  CrashLooping: died 7 times within 10m; last error: exited with 137; next: start;
                                                                                 restarted 7 times
        here   cache      missing     no     -    1m    -             busybox:1  no such image
        there  hello      unknown     ?      3    -     6b86b273ff34  busybox:1

        HOST  JOB      STATE   RUNS  AGE    NOTE
        here  migrate  failed  1     1m30s  next in 30s; exited with 3
        ");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let colour = render(&samples::troubled(), samples::NOW, Look { width: 80, colour: true });
        let mut plain = colour.clone();
        for code in ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"] {
            assert!(colour.contains(code));
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, render(&samples::troubled(), samples::NOW, NARROW));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [80, 119, 120, 160] {
            for line in render(&samples::troubled(), samples::NOW, Look { width, colour: false }).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn spans_are_rough() {
        let told: Vec<String> =
            [0, 59, 61, 599, 600, 3599, 3661, 86_399, 90_061].map(|seconds| rough(Span::seconds(seconds))).to_vec();
        assert_eq!(told, ["0s", "59s", "1m1s", "9m59s", "10m", "59m", "1h1m", "23h59m", "1d1h"]);
    }
}

//! What happens while a command waits: on a terminal a live view below the lines, elsewhere the lines alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::control::command::Progress;
use crate::model::condition::{ConditionType, find};
use crate::report::event::Severity;
use crate::report::status::{InstanceStatus, JobPhase, SiteStatus, Wanted};

use super::args::{Global, Output};
use super::door::View;
use super::output;

/// Between two pictures: often enough to look alive.
const PICTURE: Duration = Duration::from_millis(150);
/// More lines than this push the rest out of a small terminal.
const LINES: usize = 12;

/// Writes progress to standard error.
pub struct Reporter {
    colour: bool,
    quiet: bool,
    live: Option<Arc<Live>>,
}

/// The lines below.
struct Live {
    area: MultiProgress,
    summary: ProgressBar,
    lines: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Reporter {
    /// By the options and by what standard error is: only what warns where the user asked for silence or for data.
    pub fn new(global: &Global) -> Self {
        let terminal = output::stderr(global);
        let quiet = global.quiet > 0 || global.output != Output::Text;
        let live = (terminal.is_terminal && !quiet).then(|| Arc::new(Live::new()));
        Self { colour: terminal.color, quiet, live }
    }

    /// Shows the status there while the command goes on.
    pub fn follow(&self, view: View) {
        let Some(live) = self.live.clone() else { return };
        tokio::spawn(async move {
            while !live.summary.is_finished() {
                if let Some(status) = view.status().await {
                    live.show(&status);
                }
                tokio::time::sleep(PICTURE).await;
            }
        });
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        self.write(line);
    }

    /// One thing that happened.
    pub fn tell(&self, progress: &Progress) {
        if self.quiet && progress.severity == Severity::Normal {
            return;
        }
        let line = line(progress);
        match (progress.severity, self.colour) {
            (Severity::Warning, true) => self.write(&format!("\u{1b}[33m{line}\u{1b}[0m")),
            _ => self.write(&line),
        }
    }

    /// Takes the live view away.
    pub fn end(&self) {
        if let Some(live) = &self.live {
            // Under the same lock as a picture, so that none follows.
            let mut lines = live.lines.lock().unwrap_or_else(PoisonError::into_inner);
            for bar in lines.values() {
                bar.finish_and_clear();
                live.area.remove(bar);
            }
            lines.clear();
            live.summary.finish_and_clear();
            let _ = live.area.clear();
        }
    }

    fn write(&self, line: &str) {
        match &self.live {
            Some(live) if live.area.println(line).is_ok() => {}
            _ => output::note(line),
        }
    }
}

/// An event as a line.
pub fn line(progress: &Progress) -> String {
    let subject = if progress.subject.is_empty() { "site" } else { &progress.subject };
    format!("{subject:<20} {:<16} {}", progress.reason, progress.message).trim_end().to_owned()
}

impl Live {
    fn new() -> Self {
        let area = MultiProgress::new();
        let summary = area.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg} ({elapsed})")));
        summary.set_message("looking");
        Self { area, summary, lines: Mutex::default() }
    }

    fn show(&self, status: &SiteStatus) {
        let under_way = under_way(status);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if self.summary.is_finished() {
            return;
        }
        lines.retain(|subject, bar| {
            let stays = under_way.iter().any(|(name, _)| name == subject);
            if !stays {
                bar.finish_and_clear();
                self.area.remove(bar);
            }
            stays
        });
        for (subject, what) in &under_way {
            if !lines.contains_key(subject) && lines.len() >= LINES {
                continue;
            }
            let bar = lines.entry(subject.clone()).or_insert_with(|| {
                let bar = ProgressBar::new_spinner().with_style(style("{spinner} {prefix:20} {msg} ({elapsed})"));
                let bar = self.area.insert_before(&self.summary, bar);
                bar.set_prefix(subject.clone());
                bar
            });
            bar.set_message(what.clone());
            bar.tick();
        }
        let more = under_way.len().saturating_sub(lines.len());
        let more = if more > 0 { format!(", {more} more under way") } else { String::new() };
        self.summary.set_message(format!("{}{more}", status.line()));
        self.summary.tick();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// What something is being done about, with a word on what.
fn under_way(status: &SiteStatus) -> Vec<(String, String)> {
    let instances = status.instances().filter_map(|(_, instance)| {
        let what = doing(instance)?;
        Some((instance.service.to_string(), what))
    });
    let jobs = status.hosts.iter().flat_map(|host| &host.jobs);
    let jobs = jobs
        .filter(|job| matches!(job.state, JobPhase::Running | JobPhase::Pending | JobPhase::Waiting))
        .map(|job| (job.job.to_string(), format!("{} {}", job.state.as_str(), job.message).trim_end().to_owned()));
    instances.chain(jobs).collect()
}

fn doing(instance: &InstanceStatus) -> Option<String> {
    if let Some(step) = &instance.next_step {
        // The line has a clock of its own.
        return Some(step.split(" (for ").next().unwrap_or(step).to_owned());
    }
    if instance.ready || instance.wanted == Wanted::Stopped {
        return None;
    }
    if let Some(waiting) = instance.waiting {
        return Some(waiting.as_str().to_owned());
    }
    let ready = find(&instance.conditions, ConditionType::Ready);
    Some(ready.map_or_else(|| instance.state.as_str().to_owned(), |ready| ready.message.clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;
    use crate::report::samples;

    #[test]
    fn an_event_is_a_line() {
        let mut progress = Progress {
            at: Timestamp(0),
            severity: Severity::Normal,
            reason: "Accepted".to_owned(),
            subject: String::new(),
            message: "generation 1".to_owned(),
        };
        assert_eq!(line(&progress), "site                 Accepted         generation 1");
        progress.message.clear();
        assert_eq!(line(&progress), "site                 Accepted");
    }

    #[test]
    fn nothing_is_under_way_where_all_is_as_desired() {
        assert_eq!(under_way(&samples::converged()), []);
    }
}

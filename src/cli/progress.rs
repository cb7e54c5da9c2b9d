//! What happens while a command waits, line by line.

use std::io::IsTerminal as _;

use crate::control::command::Progress;
use crate::report::event::Severity;

/// Writes progress to standard error.
pub struct Reporter {
    colour: bool,
    quiet: bool,
}

impl Reporter {
    /// `quiet` says nothing but warnings.
    pub fn new(colour: bool, quiet: bool) -> Self {
        Self { colour: colour && std::io::stderr().is_terminal(), quiet }
    }

    /// One thing that happened.
    pub fn tell(&self, progress: &Progress) {
        if self.quiet && progress.severity == Severity::Normal {
            return;
        }
        let subject = if progress.subject.is_empty() { "site" } else { &progress.subject };
        let line = format!("{subject:<20} {:<16} {}", progress.reason, progress.message);
        let line = line.trim_end();
        match (progress.severity, self.colour) {
            (Severity::Warning, true) => eprintln!("\u{1b}[33m{line}\u{1b}[0m"),
            _ => eprintln!("{line}"),
        }
    }
}

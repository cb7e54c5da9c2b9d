//! What ends a command without success: a message for people, and an exit code for scripts.

use std::process::ExitCode;

use crate::control::command::{Outcome, OutcomeCode};
use crate::parse::diagnostic::Diagnostics;

/// The exit codes that scripts may rely on. clap's own 2 would read as "differences".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or no difference.
    Done,
    /// Failed.
    Failed,
    /// There are differences.
    Differences,
    /// The command line makes no sense.
    Usage,
    /// The site is not valid.
    InvalidSite,
    /// Somebody else works on the state directory.
    Locked,
    /// It was not there in time.
    TimedOut,
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// What a program that was run for the user ended with.
    Of(u8),
}

impl Exit {
    /// As the shell sees it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Differences => 2,
            Self::Usage => 64,
            Self::InvalidSite => 65,
            Self::Locked => 75,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Of(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed.
#[derive(Clone, Debug)]
pub struct CommandError {
    /// For scripts.
    pub exit: Exit,
    /// For people; empty where everything has been said.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What is wrong with the site, if that is what failed.
    pub diagnostics: Option<Box<Diagnostics>>,
}

impl CommandError {
    /// An error with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, diagnostics: None }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// It failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Somebody pressed Ctrl-C.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, message)
    }

    /// A site that cannot be used.
    pub fn invalid_site(diagnostics: Diagnostics) -> Self {
        let message = "the site is not valid".to_owned();
        Self { exit: Exit::InvalidSite, message, hint: None, diagnostics: Some(Box::new(diagnostics)) }
    }

    /// With a word on what to do.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// From an answer of the loop that is no success.
    pub fn from_outcome(outcome: &Outcome) -> Self {
        let exit = match outcome.code {
            OutcomeCode::Done => Exit::Done,
            OutcomeCode::Failed => Exit::Failed,
            OutcomeCode::Refused => Exit::Usage,
            OutcomeCode::InvalidSite => Exit::InvalidSite,
            OutcomeCode::TimedOut => Exit::TimedOut,
            OutcomeCode::Interrupted => Exit::Interrupted,
        };
        Self::new(exit, outcome.message.clone())
    }
}

impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self::new(Exit::Failed, message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_that_the_loop_means() {
        for code in [
            OutcomeCode::Done,
            OutcomeCode::Failed,
            OutcomeCode::Refused,
            OutcomeCode::InvalidSite,
            OutcomeCode::TimedOut,
            OutcomeCode::Interrupted,
        ] {
            assert_eq!(CommandError::from_outcome(&Outcome::not(code, "")).exit.code(), code.exit_code());
        }
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot ask")]
        struct Outer(#[source] std::io::Error);
        let error = CommandError::from(Outer(std::io::Error::other("no route")));
        assert_eq!(error.message, "cannot ask: no route");
    }
}

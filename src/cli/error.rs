//! What ends a command without success: a message for people, and an exit code for scripts.

use std::process::ExitCode;

use crate::control::command::{Outcome, OutcomeCode};

/// The exit codes of DESIGN: clap's own 2 would read as "differences".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or no difference.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// There are differences.
    Differences = 2,
    /// The command line makes no sense.
    Usage = 64,
    /// The site is not valid.
    InvalidSite = 65,
    /// Somebody else works on the state directory.
    Locked = 75,
    /// It was not there in time.
    TimedOut = 124,
    /// Somebody pressed Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// For scripts.
    pub exit: Exit,
    /// For people; empty where everything has been said.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl CommandError {
    /// An error with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
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

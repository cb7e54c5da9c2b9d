//! Containers that run to completion.

use serde::{Deserialize, Serialize};

use super::names::ServiceName;
use super::probe::Probe;
use super::time::{Span, Timestamp};

/// Where and how often a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobRun {
    /// On one of its hosts, again when its inputs change.
    #[default]
    One,
    /// On each of its hosts, again when its inputs change.
    Each,
    /// On one of its hosts, never again.
    Once,
}

/// The honest answer to "has it been done?", asked when there is no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoneWhen {
    /// Asked of a running service.
    Service {
        /// Which.
        service: ServiceName,
        /// What.
        probe: Probe,
    },
    /// A one-off container like the job's, with this command; exit code 0 is done.
    Container {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// What a job that is done is asked from time to time: whether it still is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recheck {
    /// How long after the last answer, or the end of the job.
    pub every: Span,
    /// Run in a container like the job's. 0: it is; [`CANNOT_TELL`]: nothing is known; anything else: it runs again.
    pub command: Vec<String>,
}

/// How often a job that is done is asked, unless it says otherwise: every 15 minutes.
pub const RECHECK_EVERY: Span = Span::seconds(900);

/// By this exit code a command says that it could not find out: `EX_TEMPFAIL`.
pub const CANNOT_TELL: i64 = 75;

/// When a job runs by the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields of cron.
    pub cron: String,
    /// IANA name; UTC unless set.
    pub timezone: String,
    /// Whether a time that passed while nobody watched is made up for.
    pub run_missed: bool,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Of which inputs.
    pub input_hash: String,
    /// What is known.
    pub state: JobState,
    /// Runs of these inputs so far.
    pub attempts: u32,
    /// For a scheduled job: the time up to which runs have been started or skipped.
    pub scheduled: Option<Timestamp>,
}

/// Intent before, result after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It may have been started.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It ended with 0, or `done_when` says that it is done.
    Done {
        /// When.
        at: Timestamp,
    },
    /// It ended otherwise.
    Failed {
        /// When.
        at: Timestamp,
        /// Exit code; none where it was stopped by its time-out.
        exit_code: Option<i64>,
        /// Last lines.
        log: String,
    },
}

/// How long a job may take unless it says otherwise: an hour.
pub const DEFAULT_TIMEOUT: Span = Span::seconds(3600);

//! What people ask of a running agent, and what it answers.
//!
//! In: a [`Request`] through a channel, from the agent's socket or from the command line that runs the loop itself.
//! Out: any number of [`Reply::Progress`], then exactly one [`Reply::Result`]. A closed reply channel means that nobody
//! listens any more; what was asked for goes on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::model::hold::HoldKind;
use crate::model::names::{HostName, JobName, ServiceName};
use crate::model::time::{Span, Timestamp};
use crate::report::event::Severity;

/// Something to do, or to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Reads the site anew, accepts what it says and brings the host there.
    Reconcile(Reconcile),
    /// Places a hold.
    Hold {
        /// What it means.
        kind: HoldKind,
        /// On which service; none is the whole host.
        service: Option<ServiceName>,
        /// By whom.
        user: String,
        /// Why.
        reason: String,
        /// For how long; none is until it is released.
        lasts: Option<Span>,
    },
    /// Takes a hold away. The answer is an error where there is none.
    ReleaseHold {
        /// Which.
        kind: HoldKind,
        /// On which service; none is the whole host.
        service: Option<ServiceName>,
        /// By whom.
        user: String,
    },
    /// Restarts an instance, within the budget.
    Restart {
        /// Which.
        service: ServiceName,
        /// By whom.
        user: String,
        /// Whether to answer only when it is ready again.
        wait: Option<Wait>,
    },
    /// Stops an instance and keeps it so: places a hold of the kind `stop`.
    Stop {
        /// Which.
        service: ServiceName,
        /// By whom.
        user: String,
        /// Why.
        reason: String,
        /// For how long.
        lasts: Option<Span>,
        /// Whether to answer only when it is stopped.
        wait: Option<Wait>,
    },
    /// Ends a stop.
    Start {
        /// Which.
        service: ServiceName,
        /// By whom.
        user: String,
        /// Whether to answer only when it is ready.
        wait: Option<Wait>,
    },
    /// Lets a service, or all of the host, be as it is: places a hold of the kind `pause`.
    Pause {
        /// Which; none is the whole host.
        service: Option<ServiceName>,
        /// By whom.
        user: String,
        /// Why.
        reason: String,
        /// For how long.
        lasts: Option<Span>,
    },
    /// Ends a pause.
    Resume {
        /// Which; none is the whole host.
        service: Option<ServiceName>,
        /// By whom.
        user: String,
    },
    /// Accepts the content of an older revision as a new generation, and stays there until the source changes.
    Rollback {
        /// Which; none is the one before.
        generation: Option<u64>,
        /// By whom.
        user: String,
        /// Why.
        reason: String,
        /// Whether to go back where a change of a role has left nothing to go back to: somebody has restored it.
        #[serde(default)]
        past_no_return: bool,
        /// Whether to answer only when it is converged.
        wait: Option<Wait>,
    },
    /// Whether `Rollback` would be refused because of what cannot be taken back. It changes nothing.
    MayRollBack {
        /// Which; none is the one before.
        generation: Option<u64>,
    },
    /// Lets a plan that waits for a person go on.
    Approve {
        /// Which: planning anew must still give it.
        plan_id: String,
        /// By whom.
        user: String,
    },
    /// Lets the removals of a generation that the removal guard holds back go on.
    AllowPrune {
        /// Which; none is the one in force.
        generation: Option<u64>,
        /// By whom.
        user: String,
    },
    /// Tries a quarantined spec once more.
    Retry {
        /// Which.
        service: ServiceName,
        /// By whom.
        user: String,
    },
    /// Runs a job once more, whatever its record says.
    RunJob {
        /// Which.
        job: JobName,
        /// By whom.
        user: String,
        /// Whether to answer only when it has ended.
        wait: Option<Wait>,
    },
    /// Begins a procedure of a role, or chooses for one that has begun.
    Recover(Recover),
    /// Removes all containers, networks and files of the site from this host, and then ends the agent.
    Destroy {
        /// Named volumes too.
        volumes: bool,
        /// By whom.
        user: String,
    },
    /// Takes the machine as it is, although it is not the one that was known, or volumes of it are gone.
    AcceptHost {
        /// By whom.
        user: String,
    },
    /// Tells the status; the result's `data` is that of `mastic status -o json`.
    Status,
    /// Tells what would be done now; the result's `data` is that of `mastic plan -o json`.
    Plan,
    /// Tells events as progress, oldest first.
    Events {
        /// At most so many of the past.
        most: usize,
        /// Whether to go on with new ones until nobody listens.
        follow: bool,
    },
    /// The same at these hosts alone, where several are looked after.
    At {
        /// Which.
        hosts: Vec<HostName>,
        /// What.
        command: Box<Command>,
    },
    /// Ends the agent; the containers stay.
    Shutdown,
}

/// What `apply` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconcile {
    /// The site files that the caller means, as absolute paths; empty: those that the agent watches. Others are refused.
    pub files: Vec<PathBuf>,
    /// Only this plan: refused where planning anew gives another one.
    pub plan_id: Option<String>,
    /// Removals that the removal guard would hold back are allowed for this generation.
    pub allow_prune: bool,
    /// Quarantined specs are tried once more.
    pub retry: bool,
    /// By whom.
    pub user: String,
    /// Whether to answer only when it is converged.
    pub wait: Option<Wait>,
}

/// What `recover` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// Role, as it is called in the site.
    pub role: String,
    /// Which of its procedures.
    pub procedure: String,
    /// The host to go on from, whatever others have.
    pub from: Option<HostName>,
    /// The host that the procedure is about.
    pub host: Option<HostName>,
    /// Whether it is said that data may be lost.
    pub accept_data_loss: bool,
    /// By whom.
    pub user: String,
    /// Whether to answer only when all is as desired.
    pub wait: Option<Wait>,
}

/// How long to wait for the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wait {
    /// None is for ever.
    pub timeout: Option<Span>,
}

impl Command {
    /// Whether it only tells something.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::At { command, .. } => command.is_read_only(),
            other => matches!(other, Self::Status | Self::Plan | Self::Events { .. } | Self::MayRollBack { .. }),
        }
    }

    /// Whether the answer comes only once what was asked for is there.
    pub fn waits(&self) -> bool {
        match self {
            Self::Reconcile(reconcile) => reconcile.wait.is_some(),
            Self::Recover(recover) => recover.wait.is_some(),
            Self::Restart { wait, .. }
            | Self::Stop { wait, .. }
            | Self::Start { wait, .. }
            | Self::Rollback { wait, .. }
            | Self::RunJob { wait, .. } => wait.is_some(),
            Self::At { command, .. } => command.waits(),
            _ => false,
        }
    }

    /// Its name, for logs and for the label of a metric.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reconcile(_) => "reconcile",
            Self::Hold { .. } => "hold",
            Self::ReleaseHold { .. } => "release_hold",
            Self::Restart { .. } => "restart",
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Rollback { .. } => "rollback",
            Self::MayRollBack { .. } => "may_roll_back",
            Self::Approve { .. } => "approve",
            Self::AllowPrune { .. } => "allow_prune",
            Self::Retry { .. } => "retry",
            Self::RunJob { .. } => "run_job",
            Self::Recover(_) => "recover",
            Self::Destroy { .. } => "destroy",
            Self::AcceptHost { .. } => "accept_host",
            Self::Status => "status",
            Self::Plan => "plan",
            Self::Events { .. } => "events",
            Self::At { command, .. } => command.name(),
            Self::Shutdown => "shutdown",
        }
    }
}

/// One line of the answer: `{"progress":{...}}` or `{"result":{...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Something happened on the way.
    Progress(Progress),
    /// The end.
    Result(Outcome),
}

/// Something happened. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When.
    pub at: Timestamp,
    /// How bad.
    pub severity: Severity,
    /// In CamelCase, as in events: `Pulling`, `Started`, `GateFailed`.
    pub reason: String,
    /// Service, job, or empty for the host.
    pub subject: String,
    /// For people.
    pub message: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In one word; decides the exit code of the command line.
    pub code: OutcomeCode,
    /// For people.
    pub message: String,
    /// What was asked for, where that is more than a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// How it ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeCode {
    /// It is as asked for.
    Done,
    /// It was not possible, or it failed on the way.
    Failed,
    /// The command makes no sense here: no such service, other site files, nothing to release.
    Refused,
    /// The site cannot be read; the message has the diagnostics. What was in force stays.
    InvalidSite,
    /// It was not there in time; it goes on.
    TimedOut,
    /// The agent ends before it is done.
    Interrupted,
}

impl Outcome {
    /// It is as asked for.
    pub fn done(message: impl Into<String>) -> Self {
        Self { code: OutcomeCode::Done, message: message.into(), data: None }
    }

    /// It is told.
    pub fn told(data: serde_json::Value) -> Self {
        Self { code: OutcomeCode::Done, message: String::new(), data: Some(data) }
    }

    /// It did not come to that.
    pub fn not(code: OutcomeCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl OutcomeCode {
    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Refused => 64,
            Self::InvalidSite => 65,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
        }
    }
}

/// A command on its way to the loop.
#[derive(Debug)]
pub struct Request {
    /// What.
    pub command: Command,
    /// Where the answers go.
    pub replies: Replies,
}

/// Where the answers to one command go. Sending never blocks the loop and never fails: who is too slow or gone misses progress.
#[derive(Clone, Debug)]
pub struct Replies {
    progress: mpsc::Sender<Reply>,
}

/// So much progress waits for a slow reader before the newest is dropped.
const WAITING_REPLIES: usize = 1024;

impl Replies {
    /// Both ends.
    pub fn channel() -> (Self, mpsc::Receiver<Reply>) {
        // One place is kept for the result: see `progress`.
        let (progress, receiver) = mpsc::channel(WAITING_REPLIES + 1);
        (Self { progress }, receiver)
    }

    /// Says that something happened; dropped where the reader is far behind.
    pub fn progress(&self, progress: Progress) {
        // The last place is kept, so that the result always fits.
        if self.progress.capacity() > 1 {
            let _ = self.progress.try_send(Reply::Progress(progress));
        }
    }

    /// Ends the answer.
    pub fn finish(self, outcome: Outcome) {
        let _ = self.progress.try_send(Reply::Result(outcome));
    }

    /// Whether nobody listens any more.
    pub fn is_abandoned(&self) -> bool {
        self.progress.is_closed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn commands_have_a_stable_form() {
        let stop = Command::Stop {
            service: ServiceName::new("web").unwrap(),
            user: "ann".to_owned(),
            reason: "disk".to_owned(),
            lasts: Some(Span::seconds(60)),
            wait: None,
        };
        insta::assert_snapshot!(serde_json::to_string(&stop).unwrap(), @r#"{"stop":{"service":"web","user":"ann","reason":"disk","lasts":60000,"wait":null}}"#);
        insta::assert_snapshot!(serde_json::to_string(&Command::Status).unwrap(), @r#""status""#);
        let short: Command = serde_json::from_str(r#"{"reconcile":{"wait":{}}}"#).unwrap();
        assert_eq!(short, Command::Reconcile(Reconcile { wait: Some(Wait::default()), ..Reconcile::default() }));
        assert!(serde_json::from_str::<Command>(r#"{"reconcile":{"wiat":{}}}"#).is_err());
    }

    #[test]
    fn answers_have_a_stable_form() {
        let reply = Reply::Result(Outcome::not(OutcomeCode::TimedOut, "web is not ready"));
        insta::assert_snapshot!(serde_json::to_string(&reply).unwrap(), @r#"{"result":{"code":"timed_out","message":"web is not ready"}}"#);
    }

    #[tokio::test]
    async fn the_result_arrives_even_at_a_slow_reader() {
        let (replies, mut receiver) = Replies::channel();
        for number in 0..WAITING_REPLIES * 2 {
            replies.progress(Progress {
                at: Timestamp(0),
                severity: Severity::Normal,
                reason: "Started".to_owned(),
                subject: String::new(),
                message: number.to_string(),
            });
        }
        replies.finish(Outcome::done("converged"));
        let mut last = None;
        while let Some(reply) = receiver.recv().await {
            last = Some(reply);
        }
        assert_eq!(last, Some(Reply::Result(Outcome::done("converged"))));
    }
}

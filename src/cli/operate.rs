//! Verbs that change something now: one command of the loop each.

use clap::Args;

use crate::control::command::{Command, Reconcile, Wait};
use crate::edge::agent_client::AgentClient;
use crate::model::hold::HoldKind;
use crate::model::names::JobName;
use crate::model::time::Span;

use super::args::{Global, span};
use super::ask::{Follow, ask_and_tell};
use super::error::{CommandError, Exit};
use super::target::{Order, Target, TargetOrHost, each, each_or_host};
use super::validate::no_site;

fn job(text: &str) -> Result<JobName, String> {
    JobName::new(text).map_err(|error| error.to_string())
}

/// Whether and how long to wait for the end.
#[derive(Clone, Debug, Args)]
pub struct Waiting {
    /// Return at once, not when it is done
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// Give up waiting after so long (90s, 10m)
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub timeout: Option<Span>,
}

impl Waiting {
    pub(super) fn wait(&self) -> Option<Wait> {
        (!self.no_wait).then_some(Wait { timeout: self.timeout })
    }
}

/// Why something is held, and for how long.
#[derive(Clone, Debug, Args)]
pub struct Holding {
    /// Why, for those who look at the status
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// For how long (30m, 1h); without it until it is ended
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub lasts: Option<Span>,
}

/// Options of `approve`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic status            # names the plan that waits\n  mastic approve 3f9c2a81d04e"
)]
pub struct Approve {
    /// The plan, as `mastic plan` and `mastic status` name it
    #[arg(value_name = "PLAN-ID")]
    pub plan_id: String,
}

/// Approves the edit that the agent holds, or applies the plan of that name.
pub async fn approve(global: &Global, options: Approve) -> Result<Exit, CommandError> {
    let place = global.place();
    let (user, plan_id) = (Global::user(), options.plan_id);
    if place.etcd.is_some() || AgentClient::find(&place.state).await?.is_some() {
        return ask_and_tell(global, "approve", Follow::Accepted, Command::Approve { plan_id, user }).await;
    }
    let Some(request) = &place.request else { return Err(no_site()) };
    let command = Command::Reconcile(Reconcile {
        files: request.paths.clone(),
        plan_id: Some(plan_id),
        user,
        wait: Some(Wait::default()),
        ..Reconcile::default()
    });
    ask_and_tell(global, "approve", Follow::Site, command).await
}

/// Options of `rollback`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic rollback --reason 'errors since 14:00'\n  mastic history && mastic rollback 12"
)]
pub struct Rollback {
    /// The generation to go back to; without it the one before
    #[arg(value_name = "REV")]
    pub generation: Option<u64>,
    /// Why, for those who look at the status
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Go back although a change of a role cannot be taken back, because what it left behind was restored
    #[arg(long)]
    pub past_no_return: bool,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Goes back.
pub async fn rollback(global: &Global, options: Rollback) -> Result<Exit, CommandError> {
    let command = Command::Rollback {
        generation: options.generation,
        user: Global::user(),
        reason: options.reason,
        past_no_return: options.past_no_return,
        wait: options.waiting.wait(),
    };
    ask_and_tell(global, "rollback", Follow::Accepted, command).await
}

/// Options of `restart`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic restart web\n  mastic restart web --no-wait\n  mastic restart --role keystone"
)]
pub struct Restart {
    /// Which.
    #[command(flatten)]
    pub target: Target,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Restarts.
pub async fn restart(global: &Global, options: Restart) -> Result<Exit, CommandError> {
    each(global, "restart", &options.target, Order::Start, |service| Command::Restart {
        service,
        user: Global::user(),
        wait: options.waiting.wait(),
    })
    .await
}

/// Options of `stop`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic stop web --reason 'new disk' --for 1h\n  mastic stop web && mastic start web\n  mastic stop --role nova --reason upgrade"
)]
pub struct Stop {
    /// Which.
    #[command(flatten)]
    pub target: Target,
    /// Why and for how long.
    #[command(flatten)]
    pub holding: Holding,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Stops.
pub async fn stop(global: &Global, options: Stop) -> Result<Exit, CommandError> {
    each(global, "stop", &options.target, Order::Stop, |service| Command::Stop {
        service,
        user: Global::user(),
        reason: options.holding.reason.clone(),
        lasts: options.holding.lasts,
        wait: options.waiting.wait(),
    })
    .await
}

/// Options of `start`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic start web\n  mastic start web --timeout 2m")]
pub struct Start {
    /// Which.
    #[command(flatten)]
    pub target: Target,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Starts what was stopped.
pub async fn start(global: &Global, options: Start) -> Result<Exit, CommandError> {
    each(global, "start", &options.target, Order::Start, |service| Command::Start {
        service,
        user: Global::user(),
        wait: options.waiting.wait(),
    })
    .await
}

/// Options of `pause`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic pause --reason 'moving racks' --for 1h   # the whole host\n  mastic pause web --reason debugging"
)]
pub struct Pause {
    /// Which.
    #[command(flatten)]
    pub target: TargetOrHost,
    /// Why and for how long.
    #[command(flatten)]
    pub holding: Holding,
}

/// Pauses.
pub async fn pause(global: &Global, options: Pause) -> Result<Exit, CommandError> {
    each_or_host(global, "pause", &options.target, |service| Command::Pause {
        service,
        user: Global::user(),
        reason: options.holding.reason.clone(),
        lasts: options.holding.lasts,
    })
    .await
}

/// Options of `resume`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic resume\n  mastic resume web")]
pub struct Resume {
    /// Which.
    #[command(flatten)]
    pub target: TargetOrHost,
}

/// Ends a pause.
pub async fn resume(global: &Global, options: Resume) -> Result<Exit, CommandError> {
    each_or_host(global, "resume", &options.target, |service| Command::Resume { service, user: Global::user() }).await
}

/// Options of `cordon`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic --host ctl2 cordon --reason 'disk is noisy' --for 8h\n  mastic --host ctl2 uncordon"
)]
pub struct Cordon {
    /// Why and for how long.
    #[command(flatten)]
    pub holding: Holding,
}

/// Begins nothing on a host that takes down what runs there; what dies is still brought back.
pub async fn cordon(global: &Global, options: Cordon) -> Result<Exit, CommandError> {
    let Holding { reason, lasts } = options.holding;
    let (kind, user) = (HoldKind::Cordon, Global::user());
    ask_and_tell(global, "cordon", Follow::Accepted, Command::Hold { kind, service: None, user, reason, lasts }).await
}

/// Options of `uncordon`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic --host ctl2 uncordon")]
pub struct Uncordon {}

/// Ends a cordon.
pub async fn uncordon(global: &Global) -> Result<Exit, CommandError> {
    let command = Command::ReleaseHold { kind: HoldKind::Cordon, service: None, user: Global::user() };
    ask_and_tell(global, "uncordon", Follow::Accepted, command).await
}

/// Options of `retry`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic retry web\n  mastic apply --retry        # all that failed")]
pub struct Retry {
    /// Which.
    #[command(flatten)]
    pub target: Target,
}

/// Tries once more.
pub async fn retry(global: &Global, options: Retry) -> Result<Exit, CommandError> {
    each(global, "retry", &options.target, Order::Start, |service| Command::Retry { service, user: Global::user() })
        .await
}

/// Options of `run-job`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic run-job backup\n  mastic run-job backup --timeout 30m")]
pub struct RunJob {
    /// Which
    #[arg(value_name = "JOB", value_parser = job)]
    pub job: JobName,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Runs a job, whatever its record says.
pub async fn run_job(global: &Global, options: RunJob) -> Result<Exit, CommandError> {
    let command = Command::RunJob { job: options.job, user: Global::user(), wait: options.waiting.wait() };
    ask_and_tell(global, "run-job", Follow::Accepted, command).await
}

//! `mastic wait`: until a service, or all, is as asked for.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::model::time::Span;
use crate::report::status::{InstanceState, JobPhase, SiteStatus, Wanted};

use super::args::{Global, Output, span};
use super::error::{CommandError, Exit};
use super::interrupted::interrupted;
use super::{output, status};

/// Between two looks.
const POLL: Duration = Duration::from_millis(250);

/// Options of `wait`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic wait --timeout 5m\n  mastic wait web --for ready\n  mastic stop web --no-wait && mastic wait web --for stopped"
)]
pub struct Options {
    /// Which service or job; without it all
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// What to wait for; without it `ready` for one and `converged` for all
    #[arg(long = "for", value_enum, value_name = "GOAL")]
    pub goal: Option<Goal>,
    /// Give up after so long (90s, 10m)
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub timeout: Option<Span>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// Running, healthy and past its gate; a job: done
    Ready,
    /// Ready, and nothing left to do
    Converged,
    /// Not running
    Stopped,
}

/// Looks again and again. It goes on while an agent is restarted.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let usual = if options.service.is_some() { Goal::Ready } else { Goal::Converged };
    let goal = options.goal.unwrap_or(usual);
    let deadline = options.timeout.map(|timeout| tokio::time::Instant::now() + timeout.duration());
    let mut answered = false;
    loop {
        let line = match status::look(global).await {
            Ok(seen) if is_there(&seen, options.service.as_deref(), goal)? => {
                if global.output != Output::Text || global.quiet == 0 {
                    output::show(global, &seen, || format!("{}\n", seen.line()))?;
                }
                return Ok(Exit::Done);
            }
            Ok(seen) => {
                answered = true;
                seen.line()
            }
            // An etcd that changes its leader, or is restarted, ends no waiting.
            Err(error) if answered && global.etcd.is_meant() && error.exit == Exit::Failed => error.message,
            Err(error) => return Err(error),
        };
        if deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
            return Err(CommandError::new(Exit::TimedOut, format!("not there in time: {line}")));
        }
        tokio::select! {
            () = interrupted() => return Err(CommandError::interrupted("")),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn is_there(status: &SiteStatus, subject: Option<&str>, goal: Goal) -> Result<bool, CommandError> {
    let Some(subject) = subject else {
        return Ok(match goal {
            Goal::Ready => status.ready,
            Goal::Converged => status.converged,
            Goal::Stopped => status.instances().all(|(_, instance)| is_stopped(instance.state)),
        });
    };
    let mut found = false;
    let mut there = true;
    for (host, instance) in status.instances().filter(|(_, instance)| instance.service.as_str() == subject) {
        found = true;
        there &= match goal {
            Goal::Ready => host.reachable && instance.ready && instance.wanted == Wanted::Running,
            Goal::Converged => {
                host.reachable && instance.ready && instance.drift.is_empty() && instance.next_step.is_none()
            }
            Goal::Stopped => host.reachable && is_stopped(instance.state),
        };
    }
    for job in status.hosts.iter().flat_map(|host| &host.jobs).filter(|job| job.job.as_str() == subject) {
        found = true;
        there &= match goal {
            Goal::Ready | Goal::Converged => matches!(job.state, JobPhase::Done | JobPhase::Scheduled),
            Goal::Stopped => job.state != JobPhase::Running,
        };
    }
    if !found && status.observed_at.is_some() {
        return Err(unknown(status, subject));
    }
    Ok(found && there)
}

const fn is_stopped(state: InstanceState) -> bool {
    matches!(state, InstanceState::Exited | InstanceState::Created | InstanceState::Dead | InstanceState::Missing)
}

/// There is nothing of that name.
pub(super) fn unknown(status: &SiteStatus, subject: &str) -> CommandError {
    let mut names: Vec<&str> = status.instances().map(|(_, instance)| instance.service.as_str()).collect();
    names.extend(status.hosts.iter().flat_map(|host| &host.jobs).map(|job| job.job.as_str()));
    let there_are =
        if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) };
    CommandError::usage(format!("there is no service or job `{subject}` on this host; {there_are}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn goals_are_told_apart() {
        let status = samples::converged();
        let name = status.instances().next().unwrap().1.service.to_string();
        for (goal, expected) in [(Goal::Ready, true), (Goal::Converged, true), (Goal::Stopped, false)] {
            assert_eq!(is_there(&status, None, goal).unwrap(), expected, "{goal:?}");
            assert_eq!(is_there(&status, Some(&name), goal).unwrap(), expected, "{goal:?}");
        }
        let error = is_there(&status, Some("nonsense"), Goal::Ready).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains(&name), "{}", error.message);
    }
}

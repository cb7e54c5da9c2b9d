//! Commands in containers: a small table of simulated ones.

use super::containers::gone;
use crate::model::settings::Mount;
use crate::model::time::Span;
use crate::observe::observed::Status;
use crate::port::engine::{Answer, EngineError, ExecOutcome};
use crate::sim::daemon::is_bad;
use crate::sim::program::{Command, Program};
use crate::sim::state::{HostState, Process};

impl HostState {
    /// Whether a command only asks the program whether it is ready.
    pub(in crate::sim) fn is_question(&self, id: &str, words: &[String]) -> bool {
        let container = self.find(id).ok().and_then(|id| self.containers.get(&id));
        container.is_some_and(|container| command(&container.program, words) == Some(Command::Checks))
    }

    /// What a command in a container will answer, after so many milliseconds.
    pub(in crate::sim) fn exec(&mut self, id: &str, words: &[String]) -> Answer<(u64, ExecOutcome)> {
        let now = self.now;
        let Some(container) = self.containers.get(id) else { return Err(gone(id)) };
        match container.status {
            Status::Running => {}
            Status::Paused => {
                return Err(EngineError::Conflict(format!(
                    "Container {id} is paused, unpause the container before exec"
                )));
            }
            _ => return Err(EngineError::Conflict(format!("Container {id} is not running"))),
        }
        let command = command(&container.program, words);
        let checks = container.is_ready(now) || container.answers(now);
        let outcome = |exit_code, output: &str| ExecOutcome { exit_code, output: output.to_owned() };
        Ok(match command {
            Some(Command::Answers { after, code, output }) => (after.0, outcome(code, &output)),
            Some(Command::Hangs) => (u64::MAX, outcome(0, "")),
            Some(Command::Checks) => (1, outcome(i64::from(!checks), if checks { "ok\n" } else { "not ready\n" })),
            Some(Command::Validates) => {
                let mounts = container.settings.volumes.iter().flat_map(|volumes| volumes.values());
                let bad = mounts.into_iter().any(|mount| match mount {
                    Mount::Bind { source, .. } => self.files.all(&self.name, source).into_iter().any(is_bad),
                    _ => false,
                });
                (5, if bad { outcome(1, "bad configuration\n") } else { outcome(0, "") })
            }
            Some(Command::Reloads) => {
                self.reread(id);
                (5, outcome(0, ""))
            }
            Some(Command::Balances { stay }) => (2, outcome(0, &self.balance(id, words, stay))),
            None => {
                let program = words.first().map(String::as_str).unwrap_or_default();
                (1, outcome(126, &format!("OCI runtime exec failed: exec: \"{program}\": executable file not found\n")))
            }
        })
    }
}

impl HostState {
    /// Brings servers to the states that were asked for, and prints how they are.
    fn balance(&mut self, id: &str, words: &[String], stay: Span) -> String {
        let now = self.now;
        let container = self.containers.get_mut(id);
        let Some(process) = container.and_then(|container| container.process.as_mut()) else { return String::new() };
        let mut servers = serde_json::Map::new();
        for (name, state) in words.iter().filter_map(|word| word.split_once('=')) {
            if state == "drain" {
                process.drained.entry(name.to_owned()).or_insert(now);
            } else {
                process.drained.remove(name);
            }
            let sessions = process.sessions(name, now, stay);
            servers.insert(name.to_owned(), serde_json::json!({"state": state, "sessions": sessions}));
        }
        serde_json::Value::Object(servers).to_string()
    }
}

impl Process {
    /// As a load balancer: how many clients a server has.
    fn sessions(&self, server: &str, now: u64, stay: Span) -> u64 {
        u64::from(self.drained.get(server).is_none_or(|since| now < since.saturating_add(stay.0)))
    }
}

fn command(program: &Program, words: &[String]) -> Option<Command> {
    let name = words.first()?.rsplit('/').next()?;
    if let Some(known) = program.commands.get(&words.join(" ")).or_else(|| program.commands.get(name)) {
        return Some(known.clone());
    }
    let answers = |milliseconds, code| Command::Answers { after: Span(milliseconds), code, output: String::new() };
    Some(match name {
        "validate" => Command::Validates,
        "check" => Command::Checks,
        "reload" => Command::Reloads,
        "true" => answers(1, 0),
        "false" => answers(1, 1),
        "sleep" => answers(words.get(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1000, 0),
        _ => return None,
    })
}

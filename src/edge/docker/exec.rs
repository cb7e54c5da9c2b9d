//! Commands in a container.
//!
//! In: a command. Out: its exit code and what it wrote. The engine has no call to end a command: after a time-out it
//! runs on until it ends by itself or with its container.

use http::Method;
use serde_json::json;

use super::transport::Transport;
use super::{logs, wire};
use crate::model::desired::Hook;
use crate::model::time::Span;
use crate::port::engine::{Answer, EngineError, ExecOutcome};

/// What is kept of a command's output.
const OUTPUT: usize = 64 * 1024;
/// The engine notes the exit code a moment after it closed the output; so often it is asked,
const ASK: u32 = 100;
/// in these steps.
const STEP: std::time::Duration = std::time::Duration::from_millis(10);

/// Runs it and waits for its end.
pub(super) async fn run(transport: &Transport, id: &str, hook: &Hook, timeout: Span) -> Answer<ExecOutcome> {
    transport.within(timeout, go(transport, id, hook)).await
}

async fn go(transport: &Transport, id: &str, hook: &Hook) -> Answer<ExecOutcome> {
    let exec = create(transport, id, hook, false, false).await?;
    let start = json!({"Detach": false, "Tty": false});
    let response = transport.open(Method::POST, &format!("/exec/{exec}/start"), Some(&start)).await?;
    let output = logs::text(logs::chunks(transport.address(), response, false), OUTPUT, false).await?;
    Ok(ExecOutcome { exit_code: exit_code(transport, &exec).await?, output })
}

/// Prepares a command, and gives the id of it.
pub(super) async fn create(
    transport: &Transport,
    id: &str,
    hook: &Hook,
    input: bool,
    terminal: bool,
) -> Answer<String> {
    let environment: Vec<String> = hook.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let body = json!({
        "AttachStdin": input,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": terminal,
        "Cmd": hook.command,
        "User": hook.user,
        "Privileged": hook.privileged,
        "WorkingDir": hook.working_dir,
        "Env": environment,
    });
    let created: wire::Created = transport.post(&format!("/containers/{id}/exec"), &body, transport.answer).await?;
    Ok(created.id)
}

/// The exit code of a command that has closed its output.
pub(super) async fn exit_code(transport: &Transport, exec: &str) -> Answer<i64> {
    for _ in 0..ASK {
        let state: wire::Exec = transport.get(&format!("/exec/{exec}/json")).await?;
        match state.exit_code {
            Some(exit_code) if !state.running => return Ok(exit_code),
            _ => tokio::time::sleep(STEP).await,
        }
    }
    Err(EngineError::Failed("the command closed its output, and the engine does not say how it ended".to_owned()))
}

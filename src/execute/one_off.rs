//! A container of which one command is wanted: run to its end, within a time.

use super::{Failure, because, last_line};
use crate::model::time::Span;
use crate::plan::step::CreateStep;
use crate::port::engine::Engine;

/// Lines of a failed command that are told.
const LINES: usize = 20;

/// A failure that is no spec's fault.
pub(super) fn failed(reason: &'static str, message: String) -> Failure {
    Failure { reason, message, spec_at_fault: false, engine_lost: false, unread: false }
}

/// As people write it.
pub(super) fn command(create: &CreateStep) -> String {
    create.settings.command.as_ref().map(|words| words.join(" ")).unwrap_or_default()
}

/// Starts it and waits until it has ended with 0; `reason` is that of a failure.
pub(super) async fn run(
    engine: &dyn Engine,
    id: &str,
    create: &CreateStep,
    timeout: Span,
    reason: &'static str,
) -> Result<(), Failure> {
    engine.start_container(id).await.map_err(because(reason))?;
    let code = match tokio::time::timeout(timeout.duration(), engine.wait_container(id)).await {
        Ok(code) => code.map_err(because(reason))?,
        Err(_) => return Err(failed(reason, format!("`{}` took longer than {timeout}", command(create)))),
    };
    if code != 0 {
        let log = engine.log_tail(id, LINES).await.unwrap_or_default();
        return Err(failed(reason, format!("`{}` ended with {code}: {}", command(create), last_line(&log))));
    }
    Ok(())
}

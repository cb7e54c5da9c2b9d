//! Why an instance or a job is as it is, and what will be done about it, for people.
//!
//! In: its status, the plan's actions about it, the time. Out: text.

use std::fmt::Write as _;

use super::describe_text::conditions;
use super::plan_view::ActionView;
use super::status::{InstanceStatus, JobStatus, Wanted};
use super::status_text::rough;
use crate::model::condition::{ConditionType, find};
use crate::model::time::Timestamp;

/// An instance: a sentence, and the conditions that led to it.
pub fn instance(instance: &InstanceStatus, now: Timestamp) -> String {
    let service = &instance.service;
    let ready = find(&instance.conditions, ConditionType::Ready);
    let since = ready
        .and_then(|ready| ready.since)
        .map_or_else(String::new, |since| format!(" for {}", rough(now.since(since))));
    let state = instance.state.as_str();
    let mut text = match (instance.wanted, instance.ready) {
        (Wanted::Running, true) => format!("{service} is {state} and ready{since}.\n"),
        (Wanted::Running, false) => format!("{service} is {state} and not ready{since}.\n"),
        (Wanted::Stopped, _) => format!("{service} is {state}; a hold keeps it stopped.\n"),
        (Wanted::Absent, _) => format!("{service} is {state}, and the site does not ask for it any more.\n"),
    };
    if let Some(failed) = &instance.quarantined {
        let _ = writeln!(
            text,
            "A spec of generation {} failed here {} ago and is not tried again: {}. `mastic retry {service}` does.",
            failed.generation,
            rough(now.since(failed.at)),
            failed.reason
        );
    }
    if let Some(error) = &instance.last_error {
        let _ = writeln!(text, "What failed last: {error}.");
    }
    if let Some(step) = &instance.next_step {
        let _ = writeln!(text, "What is done now or next: {step}.");
    }
    text.push_str(&conditions(&instance.conditions, now));
    text
}

/// A job.
pub fn job(job: &JobStatus, now: Timestamp) -> String {
    let since = job.since.map_or_else(String::new, |since| format!(" for {}", rough(now.since(since))));
    let why = if job.message.is_empty() { String::new() } else { format!(": {}", job.message) };
    let code = job.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
    format!("{} is {}{code}{since}{why}.\n", job.job, job.state.as_str())
}

/// What the plan says of it.
pub fn actions(actions: &[ActionView]) -> String {
    if actions.is_empty() {
        return "\nNothing is to be changed.\n".to_owned();
    }
    let mut text = String::new();
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    for action in actions {
        let disruption = word(serde_json::to_value(action.disruption));
        let _ = writeln!(
            text,
            "\nTo be done: {} (disruption: {disruption}), because",
            word(serde_json::to_value(action.kind))
        );
        for cause in &action.causes {
            let _ = writeln!(text, "  {cause}");
        }
        if let Some(blocked) = &action.blocked {
            let _ = writeln!(text, "Not now: {blocked}");
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::plan::step::{ActionKind, Cause, Disruption};
    use crate::report::samples;

    #[test]
    fn the_reasons_are_told() {
        let status = samples::converged();
        let (_, known) = status.instances().next().unwrap();
        let mut text = instance(known, samples::NOW);
        text.push_str(&actions(&[ActionView {
            host: "here".to_owned(),
            service: "hello".to_owned(),
            kind: ActionKind::Replace,
            disruption: Disruption::Replace,
            causes: vec![Cause { field: "image".to_owned(), from: "\"a\"".to_owned(), to: "\"b\"".to_owned() }],
            blocked: Some("Paused: by ann".to_owned()),
            diffs: vec![],
        }]));
        text.push_str(&actions(&[]));
        insta::assert_snapshot!(text, @r#"
        hello is running and ready for 5m.

        Conditions:
          Ready         True    5m       Ready

        To be done: replace (disruption: replace), because
          image: "a" -> "b"
        Not now: Paused: by ann

        Nothing is to be changed.
        "#);
    }
}

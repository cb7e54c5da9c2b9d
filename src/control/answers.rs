//! The answers of several hosts as one. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::names::HostName;
use crate::model::peers::Reports;
use crate::report::merge;

use super::command::{Command, Outcome, OutcomeCode};

/// What one host answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Host.
    pub host: HostName,
    /// What it said.
    pub outcome: Outcome,
}

/// One answer for all.
pub fn merge(command: &Command, answers: Vec<Answer>) -> Outcome {
    match command {
        Command::Status => return told(merge::status(&values(&answers))),
        Command::Plan => return plan(answers),
        _ => {}
    }
    let (good, mut bad): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.outcome.code == OutcomeCode::Done);
    if !good.is_empty() {
        // What a host has nothing of is no failure as long as another one has it.
        bad.retain(|answer| answer.outcome.code != OutcomeCode::Refused);
    }
    if bad.is_empty() {
        return Outcome::done(lines(&good));
    }
    let code = bad.iter().map(|answer| answer.outcome.code).max_by_key(|code| severity(*code));
    Outcome::not(code.unwrap_or(OutcomeCode::Failed), lines(&bad))
}

fn values<T: serde::de::DeserializeOwned>(answers: &[Answer]) -> Vec<T> {
    let data = answers.iter().filter_map(|answer| answer.outcome.data.clone());
    data.filter_map(|data| serde_json::from_value(data).ok()).collect()
}

fn told<T: serde::Serialize>(value: Option<T>) -> Outcome {
    Outcome::told(value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default())
}

/// A host that cannot be planned for is a note in the plan of the others; if that is all of them, nothing is planned.
fn plan(answers: Vec<Answer>) -> Outcome {
    let (good, bad): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.outcome.code == OutcomeCode::Done);
    let Some(mut site) = merge::plan(values(&good)) else {
        let code = bad.first().map_or(OutcomeCode::Failed, |answer| answer.outcome.code);
        return Outcome::not(code, lines(&bad));
    };
    site.notes.extend(bad.iter().map(|answer| format!("{}: {}", answer.host, answer.outcome.message)));
    told(Some(site))
}

const fn severity(code: OutcomeCode) -> u8 {
    match code {
        OutcomeCode::Done => 0,
        OutcomeCode::Refused => 1,
        OutcomeCode::Interrupted => 2,
        OutcomeCode::TimedOut => 3,
        OutcomeCode::Failed => 4,
        OutcomeCode::InvalidSite => 5,
    }
}

/// What they said, those together that said the same.
fn lines(answers: &[Answer]) -> String {
    let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for answer in answers {
        let message = answer.outcome.message.as_str();
        if !hosts.contains_key(message) {
            order.push(message);
        }
        hosts.entry(message).or_default().push(answer.host.as_str());
    }
    let line = |message: &&str| {
        let names = hosts.get(message).map(|names| names.join(", ")).unwrap_or_default();
        message.lines().map(|line| format!("{names}: {line}")).collect::<Vec<_>>().join("\n")
    };
    order.iter().filter(|message| !message.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}

/// Whether those who have not answered yet wait for each other, or for somebody of whom nothing is to be expected: then
/// what they wait for, as lines.
pub fn in_vain(open: &BTreeSet<&HostName>, reports: &Reports) -> Option<Vec<Answer>> {
    let mut complaints = Vec::new();
    for host in open {
        let progress = &reports.get(*host)?.progress;
        let is_there = progress.waiting.is_empty() && progress.failed.is_empty();
        if !progress.quiet || !progress.working.is_empty() || is_there {
            return None;
        }
        let lines = progress.failed.iter().chain(&progress.waiting).map(|(subject, why)| format!("{subject}: {why}"));
        let outcome = Outcome::not(OutcomeCode::Failed, lines.collect::<Vec<_>>().join("\n"));
        complaints.push(Answer { host: HostName::clone(host), outcome });
    }
    // Who has answered with success may still be at work for others, as long as it is not quiet.
    let is_quiet = |host: &HostName| reports.get(host).is_none_or(|report| report.progress.quiet || !report.reachable);
    let all_quiet = reports.keys().filter(|host| !open.contains(host)).all(is_quiet);
    (all_quiet && !complaints.is_empty()).then_some(complaints)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::peers::{HostProgress, HostReport};

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn answer(name: &str, code: OutcomeCode, message: &str) -> Answer {
        Answer { host: host(name), outcome: Outcome { code, message: message.to_owned(), data: None } }
    }

    #[test]
    fn hosts_that_say_the_same_are_told_together() {
        let command = Command::AllowPrune { generation: None, user: "ann".to_owned() };
        let all = merge(
            &command,
            vec![
                answer("a", OutcomeCode::Done, "converged"),
                answer("b", OutcomeCode::Done, "converged"),
                answer("c", OutcomeCode::Refused, "there is no service `web` on this host"),
            ],
        );
        assert_eq!(all, Outcome::done("a, b: converged"));
        let mixed = merge(
            &command,
            vec![
                answer("a", OutcomeCode::Done, "converged"),
                answer("b", OutcomeCode::Failed, "web: failed\ndb: failed"),
                answer("c", OutcomeCode::TimedOut, "not there in time"),
            ],
        );
        let expected = "b: web: failed\nb: db: failed\nc: not there in time";
        assert_eq!(mixed, Outcome::not(OutcomeCode::Failed, expected));
        let nowhere = merge(&command, vec![answer("a", OutcomeCode::Refused, "no such service")]);
        assert_eq!(nowhere, Outcome::not(OutcomeCode::Refused, "a: no such service"));
    }

    fn reports(waiting: &[(&str, &str)], quiet: bool) -> Reports {
        let progress = |name: &str| HostProgress {
            quiet: quiet || name == "a",
            waiting: waiting
                .iter()
                .filter(|(host, _)| *host == name)
                .map(|(_, why)| ("web".to_owned(), (*why).to_owned()))
                .collect(),
            ..HostProgress::default()
        };
        let report = |name: &str| HostReport {
            host: host(name),
            generation: 1,
            reachable: true,
            source_digest: String::new(),
            acts: true,
            holds_off: false,
            attempts: 0,
            services: BTreeMap::new(),
            filesets: BTreeMap::new(),
            drained: BTreeMap::new(),
            jobs: BTreeMap::new(),
            progress: progress(name),
        };
        ["a", "b"].map(|name| (host(name), Arc::new(report(name)))).into()
    }

    #[test]
    fn who_waits_for_somebody_at_work_does_not_wait_in_vain() {
        let a = host("a");
        let open = BTreeSet::from([&a]);
        assert_eq!(in_vain(&open, &reports(&[("a", "b goes first")], false)), None);
        let stuck = in_vain(&open, &reports(&[("a", "it failed on b")], true));
        assert_eq!(stuck, Some(vec![answer("a", OutcomeCode::Failed, "web: it failed on b")]));
        assert_eq!(in_vain(&open, &reports(&[], true)), None, "it waits for nothing");
        // It was rolled back, and goes on listening for others who lead clients away.
        let mut failed = reports(&[], true);
        let report = Arc::make_mut(failed.get_mut(&a).unwrap());
        report.progress.failed.push(("web".to_owned(), "it crashed".to_owned()));
        let stuck = in_vain(&open, &failed);
        assert_eq!(stuck, Some(vec![answer("a", OutcomeCode::Failed, "web: it crashed")]));
        assert_eq!(in_vain(&open, &Reports::new()), None, "nothing is known of it yet");
    }
}

//! One instance or job in full, for people.
//!
//! In: its status, what of its spec is of interest, the time. Out: text.

use std::fmt::Write as _;

use serde::Serialize;

use super::status::{HoldStatus, InstanceStatus, JobStatus, RoleStatus};
use super::status_text::{rough, set};
use crate::model::condition::Condition;
use crate::model::file::OnChange;
use crate::model::names::HostName;
use crate::model::time::Timestamp;

/// What of a spec is of interest and never a secret. The names in its JSON are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// Image as written.
    pub image: String,
    /// Of all of it.
    pub input_hash: String,
    /// Engine networks.
    pub networks: Vec<String>,
    /// What it waits for before its first start.
    pub depends_on: Vec<String>,
    /// Files that are mounted.
    pub files: Vec<SpecFile>,
}

/// A file of a spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecFile {
    /// Path in the container.
    pub target: String,
    /// Path in the site.
    pub source: Option<String>,
    /// Permissions, as `0644`.
    pub mode: String,
    /// What a change of it needs.
    pub on_change: OnChange,
}

/// An instance, and the set that it belongs to.
pub fn instance(host: &HostName, instance: &InstanceStatus, role: Option<&RoleStatus>, now: Timestamp) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<12} {value}");
        }
    };
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    field("Service", instance.service.as_str());
    let role = role.map(set).or_else(|| instance.role.as_ref().map(ToString::to_string));
    field("Role", &role.unwrap_or_default());
    field("Host", host.as_str());
    field("Container", &instance.container);
    field("Image", &instance.image);
    field("Wanted", &word(serde_json::to_value(instance.wanted)));
    field("State", instance.state.as_str());
    field("Ready", if instance.ready { "yes" } else { "no" });
    let generation = match (instance.generation, instance.observed_generation) {
        (wanted, observed) if wanted == observed => wanted.to_string(),
        (wanted, 0) => format!("{wanted} (nothing is there)"),
        (wanted, observed) => format!("{wanted} (now as in {observed})"),
    };
    field("Generation", &generation);
    field("Spec", &instance.spec_hash);
    field("Restarts", &instance.restarts.to_string());
    let drift: Vec<&str> = instance.drift.iter().map(|kind| kind.as_str()).collect();
    field("Drift", &drift.join(", "));
    field("Waiting", instance.waiting.map_or("", |waiting| waiting.as_str()));
    field("Next", instance.next_step.as_deref().unwrap_or(""));
    field("Last error", instance.last_error.as_deref().unwrap_or(""));
    if let Some(failed) = &instance.quarantined {
        let ago = rough(now.since(failed.at));
        field("Quarantined", &format!("{} in generation {}, {ago} ago", failed.reason, failed.generation));
    }
    text
}

/// A job.
pub fn job(host: &HostName, job: &JobStatus, now: Timestamp) -> String {
    let mut text =
        format!("{:<12} {}\n{:<12} {host}\n{:<12} {}\n", "Job", job.job, "Host", "State", job.state.as_str());
    let _ = writeln!(text, "{:<12} {}", "Attempts", job.attempts);
    if let Some(code) = job.exit_code {
        let _ = writeln!(text, "{:<12} {code}", "Exit code");
    }
    if let Some(since) = job.since {
        let _ = writeln!(text, "{:<12} {since} ({} ago)", "Since", rough(now.since(since)));
    }
    if let Some(next) = job.next_run {
        let _ = writeln!(text, "{:<12} {next} (in {})", "Next run", rough(next.since(now)));
    }
    if !job.message.is_empty() {
        let _ = writeln!(text, "{:<12} {}", "Message", job.message);
    }
    text
}

/// What of the spec is of interest.
pub fn spec(spec: &Spec) -> String {
    let mut text = String::new();
    for (name, list) in [("Networks", &spec.networks), ("Depends on", &spec.depends_on)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{name:<12} {}", list.join(", "));
        }
    }
    if !spec.files.is_empty() {
        text.push_str("\nFiles:\n");
        let width = spec.files.iter().map(|file| file.target.chars().count()).max().unwrap_or(0);
        for file in &spec.files {
            let change = match file.on_change {
                OnChange::Nothing => "read by itself",
                OnChange::Reload => "reload",
                OnChange::Restart => "restart",
                OnChange::Replace => "replace",
            };
            let source = file.source.as_deref().map_or_else(String::new, |source| format!("  from {source}"));
            let _ = writeln!(text, "  {:<width$}  {}  {change}{source}", file.target, file.mode);
        }
    }
    text
}

/// Holds that are about it.
pub fn holds(holds: &[HoldStatus], now: Timestamp) -> String {
    if holds.is_empty() {
        return String::new();
    }
    let mut text = "\nHolds:\n".to_owned();
    for hold in holds {
        let kind = format!("{:?}", hold.kind).to_lowercase();
        let until = hold.until.map_or_else(String::new, |until| format!(", for another {}", rough(until.since(now))));
        let why = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
        let _ = writeln!(text, "  {kind} by {} since {}{until}{why}", hold.user, rough(now.since(hold.since)));
    }
    text
}

/// Conditions as a table.
pub fn conditions(conditions: &[Condition], now: Timestamp) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    let mut text = "\nConditions:\n".to_owned();
    for condition in conditions {
        let since = condition.since.map_or_else(|| "-".to_owned(), |since| rough(now.since(since)));
        let line = format!(
            "  {:<13} {:<7} {since:<8} {:<20} {}",
            condition.kind.as_str(),
            format!("{:?}", condition.status),
            condition.reason,
            condition.message
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn all_that_is_known_of_an_instance_is_told() {
        let status = samples::converged();
        let (host, known) = status.instances().next().unwrap();
        let mut known = known.clone();
        known.observed_generation = 2;
        known.last_error = Some("ImagePullFailed: no such image".to_owned());
        let mut text = instance(&host.name, &known, None, samples::NOW);
        text.push_str(&spec(&Spec {
            image: "busybox:1".to_owned(),
            input_hash: "1:abc".to_owned(),
            networks: vec!["front".to_owned()],
            depends_on: vec![],
            files: vec![SpecFile {
                target: "/etc/app.conf".to_owned(),
                source: Some("app.conf.j2".to_owned()),
                mode: "0644".to_owned(),
                on_change: OnChange::Reload,
            }],
        }));
        text.push_str(&conditions(&known.conditions, samples::NOW));
        insta::assert_snapshot!(text, @r"
        Service      hello
        Host         here
        Container    hello
        Image        busybox:1
        Wanted       running
        State        running
        Ready        yes
        Generation   3 (now as in 2)
        Spec         1:6b86b273ff34fce19d6b804eff5a3f57
        Restarts     0
        Last error   ImagePullFailed: no such image
        Networks     front

        Files:
          /etc/app.conf  0644  reload  from app.conf.j2

        Conditions:
          Ready         True    5m       Ready
        ");
    }

    #[test]
    fn a_job_is_told() {
        let status = samples::converged();
        let known = &status.hosts[0].jobs[0];
        insta::assert_snapshot!(job(&status.hosts[0].name, known, samples::NOW), @r"
        Job          migrate
        Host         here
        State        done
        Attempts     1
        Since        2023-11-14T22:11:50Z (1m30s ago)
        ");
    }
}

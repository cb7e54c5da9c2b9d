//! Plans as people and programs read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::model::condition::{Condition, ConditionStatus, ConditionType};
use crate::model::desired::{HostDesired, InstanceDesired};
use crate::model::names::ServiceName;
use crate::plan::step::{ActionKind, Cause, Disruption, Subject, SubjectPlan};

use super::change_view::{self, ChangeView};
use super::diff_view;

/// A plan. The names in its JSON are stable; fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Site.
    pub site: String,
    /// Generation that it leads to.
    pub generation: u64,
    /// Its name: the same changes from the same state to the same specs have the same one.
    pub id: String,
    /// How many changes.
    pub changes: usize,
    /// The changes.
    pub actions: Vec<ActionView>,
    /// What is to be known besides.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Changes of roles that some of the actions are steps of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ordered: Vec<ChangeView>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionView {
    /// Host.
    pub host: String,
    /// Service, job or container.
    pub service: String,
    /// What kind.
    pub kind: ActionKind,
    /// What it does to the process.
    pub disruption: Disruption,
    /// Why.
    pub causes: Vec<Cause>,
    /// Why it does not begin, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Unified diffs of files, from the rendering with placeholders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diffs: Vec<String>,
}

/// Makes the view of plans. `proven` are the specs before, for the diffs of files.
pub fn view(
    desired: &HostDesired,
    proven: &BTreeMap<ServiceName, std::sync::Arc<InstanceDesired>>,
    plans: &[&SubjectPlan],
    id: String,
) -> PlanView {
    let mut actions = Vec::new();
    let mut notes = Vec::new();
    for plan in plans {
        let complaint = plan
            .conditions
            .iter()
            .find(|condition| condition.is_true() && is_obstacle(condition.kind) || is_unknown_drift(condition))
            .map(|condition| format!("{}: {}", condition.reason, condition.message));
        let Some(change) = &plan.change else {
            if let Some(complaint) = complaint {
                notes.push(format!("{}: {complaint}", plan.subject));
            }
            continue;
        };
        let diffs = match &plan.subject {
            Subject::Service(service) => match (proven.get(service), desired.services.get(service)) {
                (Some(old), Some(new)) => {
                    diff_view::file_diffs(&old.files, &new.files).into_iter().map(|diff| diff.text).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        actions.push(ActionView {
            host: desired.host.to_string(),
            service: plan.subject.to_string(),
            kind: change.kind,
            disruption: change.disruption,
            causes: change.causes.clone(),
            blocked: complaint,
            diffs,
        });
    }
    PlanView {
        site: desired.site.to_string(),
        generation: desired.generation,
        id,
        changes: actions.len(),
        actions,
        notes,
        ordered: Vec::new(),
    }
}

/// That there is nothing to do is not known.
fn is_unknown_drift(condition: &Condition) -> bool {
    condition.kind == ConditionType::Drifted && condition.status == ConditionStatus::Unknown
}

fn is_obstacle(kind: ConditionType) -> bool {
    use ConditionType as Kind;
    matches!(
        kind,
        Kind::NameTaken
            | Kind::PortHeldBy
            | Kind::RemovalHeld
            | Kind::Paused
            | Kind::Quarantined
            | Kind::Stalled
            | Kind::Unknown
            | Kind::Waiting
    )
}

/// The plan as text: a summary, each change with its causes and diffs, and the summary of what comes next.
pub fn render(plan: &PlanView, colour: bool) -> String {
    let mut text = String::new();
    let paint = |code: &str, words: &str| {
        if colour { format!("\u{1b}[{code}m{words}\u{1b}[0m") } else { words.to_owned() }
    };
    if plan.actions.is_empty() {
        let _ = writeln!(text, "Nothing to do: {} is as desired (generation {}).", plan.site, plan.generation);
    } else {
        let disruptive = plan.actions.iter().filter(|action| action.disruption >= Disruption::Restart).count();
        let _ = writeln!(
            text,
            "Plan {} for {} (generation {}): {} change{}, {disruptive} disruptive.",
            plan.id,
            plan.site,
            plan.generation,
            plan.changes,
            if plan.changes == 1 { "" } else { "s" },
        );
    }
    for action in &plan.actions {
        let word = serde_json::to_value(action.kind)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default();
        let (sign, code) = match action.kind {
            ActionKind::Create
            | ActionKind::CreateNetwork
            | ActionKind::CreateVolume
            | ActionKind::CreateFileset
            | ActionKind::Start => ("+", "32"),
            ActionKind::Remove | ActionKind::RemoveNetwork | ActionKind::Stop => ("-", "31"),
            ActionKind::Replace | ActionKind::Restart | ActionKind::Rollback => ("!", "33"),
            _ => ("~", "36"),
        };
        let disruption =
            serde_json::to_value(action.disruption).ok().and_then(|value| value.as_str().map(str::to_owned));
        let disruption = disruption.filter(|word| word != "none").map(|word| format!("  [{word}]")).unwrap_or_default();
        let title = format!("{sign} {word} {} on {}", action.service, action.host);
        let _ = writeln!(text, "\n{}{disruption}", paint(code, &title));
        for cause in &action.causes {
            let _ = writeln!(text, "    {cause}");
        }
        if let Some(blocked) = &action.blocked {
            let _ = writeln!(text, "    {}", paint("33", &format!("not now: {blocked}")));
        }
        for diff in &action.diffs {
            for line in diff.lines() {
                let code = match line.chars().next() {
                    Some('+') => "32",
                    Some('-') => "31",
                    _ => "0",
                };
                let line = if colour && code != "0" { paint(code, line) } else { line.to_owned() };
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text.push_str(&change_view::render(&plan.ordered));
    for note in &plan.notes {
        let _ = writeln!(text, "\n{}", paint("33", &format!("note: {note}")));
    }
    text
}

/// The plan in the form of `diff -u`: first the fields of each change, then its files.
pub fn render_diff(plan: &PlanView, colour: bool) -> String {
    let mut text = String::new();
    let mut say = |line: &str| {
        let code = match line.chars().next() {
            Some('+') => "32",
            Some('-') => "31",
            _ => "0",
        };
        if colour && code != "0" {
            let _ = writeln!(text, "\u{1b}[{code}m{line}\u{1b}[0m");
        } else {
            let _ = writeln!(text, "{line}");
        }
    };
    for action in &plan.actions {
        say(&format!("--- {}/{} (as it is)", action.host, action.service));
        say(&format!("+++ {}/{} (generation {})", action.host, action.service, plan.generation));
        for cause in &action.causes {
            if cause.from != "null" {
                say(&format!("-{}: {}", cause.field, cause.from));
            }
            if cause.to != "null" {
                say(&format!("+{}: {}", cause.field, cause.to));
            }
        }
        for line in action.diffs.iter().flat_map(|diff| diff.lines()) {
            say(line);
        }
    }
    text
}

//! The alert rules: promtool's own tests, tests of those tests, and that rules, metrics and runbooks belong together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mastic::model::names::SiteName;
use mastic::model::time::Timestamp;
use mastic::report::metrics::Metrics;
use mastic::report::status::SiteStatus;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifests() -> PathBuf {
    root().join("manifests/prometheus")
}

fn rules() -> Vec<Value> {
    let text = fs::read_to_string(manifests().join("mastic.rules.yaml")).unwrap();
    let all: Value = serde_yaml::from_str(&text).unwrap();
    all["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Runs promtool in a directory: whether it is content, and what it says.
fn promtool(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new("promtool").args(arguments).current_dir(directory).output().expect("promtool is installed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let (good, said) = promtool(&manifests(), &["check", "rules", "mastic.rules.yaml"]);
    assert!(good, "{said}");
    let (good, said) = promtool(&manifests(), &["test", "rules", "mastic.rules.test.yaml"]);
    assert!(good, "{said}");
}

/// Rules that never fire and rules that always fire must be noticed, each of them.
#[test]
fn the_tests_of_the_rules_can_fail() {
    let text = fs::read_to_string(manifests().join("mastic.rules.yaml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::copy(manifests().join("mastic.rules.test.yaml"), directory.path().join("mastic.rules.test.yaml")).unwrap();
    for wrong in ["vector(0) == 1", "vector(1)"] {
        let mut planted = text.clone();
        for rule in rules() {
            let line = format!("        expr: {}\n", rule["expr"].as_str().unwrap());
            assert_eq!(planted.matches(&line).count(), 1, "{line}");
            planted = planted.replace(&line, &format!("        expr: {wrong}\n"));
        }
        fs::write(directory.path().join("mastic.rules.yaml"), planted).unwrap();
        let (good, said) = promtool(directory.path(), &["test", "rules", "mastic.rules.test.yaml"]);
        assert!(!good);
        for rule in rules() {
            let failed = format!("alertname: {}, time:", rule["alert"].as_str().unwrap());
            assert!(said.contains(&failed), "`{wrong}` passes: {failed}\n{said}");
        }
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let mut named = BTreeSet::new();
    for rule in rules() {
        let alert = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["warning", "critical"].contains(&severity), "{alert}: {severity}");
        for annotation in ["summary", "description"] {
            assert!(
                rule["annotations"][annotation].as_str().is_some_and(|text| !text.is_empty()),
                "{alert}: {annotation}"
            );
        }
        let runbook = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(runbook, format!("docs/runbooks/{alert}.md"));
        let page = fs::read_to_string(root().join(runbook)).unwrap_or_else(|error| panic!("{runbook}: {error}"));
        for part in [&format!("# {alert}\n"), "## What it means\n", "## Where to look\n", "## What to do\n"] {
            assert!(page.contains(part), "{runbook} has no `{part}`");
        }
        named.insert(format!("{alert}.md"));
    }
    assert!(named.len() >= 10);
    let pages: BTreeSet<String> = fs::read_dir(root().join("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(pages, named, "each runbook belongs to an alert");
}

/// A status with one instance and one job is all that the metrics need to have every series.
fn scrape() -> String {
    let mut status = serde_json::to_value(SiteStatus::new(SiteName::new("demo").unwrap())).unwrap();
    status["hosts"] = json!([{
        "name": "here", "reachable": true, "engine": {"events_connected": true}, "conditions": [],
        "instances": [{
            "service": "web", "container": "web", "image": "busybox:1", "wanted": "running", "ready": true,
            "state": "running", "spec_hash": "", "generation": 1, "observed_generation": 1, "restarts": 0, "drift": [],
            "conditions": [],
        }],
        "jobs": [{"job": "migrate", "state": "done", "attempts": 1, "message": ""}],
    }]);
    let metrics = Metrics::new("0", "0").unwrap();
    metrics.observe_status(&serde_json::from_value(status).unwrap());
    metrics.text(Timestamp(0))
}

/// What an expression names: each metric with the labels that it is selected by, and values that they must have.
fn selectors(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (start, _) in expression.match_indices("mastic_") {
        if expression[..start].ends_with(is_name) {
            continue;
        }
        let name: String = expression[start..].chars().take_while(|c| is_name(*c)).collect();
        let rest = &expression[start + name.len()..];
        let labels = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((inside, _)) => inside
                .split(',')
                .map(|label| {
                    let (label, value) = label.split_once('=').unwrap();
                    (label.trim().trim_end_matches('!').to_owned(), value.trim_matches('"').to_owned())
                })
                .collect(),
            None => Vec::new(),
        };
        found.push((name, labels));
    }
    found
}

#[test]
fn every_metric_that_a_rule_names_is_scraped() {
    let scrape = scrape();
    let series: Vec<&str> = scrape.lines().filter(|line| !line.starts_with('#')).collect();
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let named = selectors(expression);
        assert!(!named.is_empty() || expression.contains("up{job=\"mastic\"}"), "{expression}");
        for (metric, labels) in named {
            let fits = |line: &&&str| {
                line.starts_with(&format!("{metric}{{"))
                    && labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
                    || (labels.is_empty() && line.starts_with(&format!("{metric} ")))
            };
            assert!(series.iter().any(|line| fits(&line)), "no series for {metric} {labels:?} of `{expression}`");
        }
    }
}

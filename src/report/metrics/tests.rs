#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, one of which writes the reference page")]

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::report::samples;

fn metrics() -> Metrics {
    Metrics::new("0.1.0", "abc").unwrap()
}

/// The lines of a scrape that contain all of these.
fn lines(metrics: &Metrics, parts: &[&str]) -> String {
    let text = metrics.text(samples::NOW);
    let found: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part))).collect();
    found.join("\n")
}

#[test]
fn every_metric_has_a_series_once_a_status_is_known() {
    let metrics = metrics();
    metrics.observe_status(&samples::converged());
    let text = metrics.text(samples::NOW);
    for definition in ALL {
        assert!(
            text.contains(&format!("# TYPE {} {}\n", definition.name, definition.kind.to_lowercase())),
            "{}",
            definition.name
        );
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for definition in ALL {
        let name = definition.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(["mastic_", "workqueue_", "process_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert_eq!(definition.kind == "Counter", name.ends_with("_total"), "{name}");
        if definition.kind == "Histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(definition.help.ends_with('.'), "{name}");
    }
}

#[test]
fn a_converged_site_is_told() {
    let metrics = metrics();
    metrics.observe_status(&samples::converged());
    insta::assert_snapshot!(lines(&metrics, &["hello", "} 1"]), @r#"
    mastic_instance_condition{condition="Ready",host="here",service="hello"} 1
    mastic_rollout_progress_ratio{service="hello"} 1
    mastic_service_desired{service="hello"} 1
    mastic_service_ready{service="hello"} 1
    mastic_service_updated{service="hello"} 1
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_service_", "hello"]), @r#"
    mastic_service_desired{service="hello"} 1
    mastic_service_ready{service="hello"} 1
    mastic_service_unavailable{service="hello"} 0
    mastic_service_updated{service="hello"} 1
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_job_", "migrate"]), @r#"
    mastic_job_last_success_timestamp_seconds{host="here",job="migrate"} 1699999910
    mastic_job_runs_total{host="here",job="migrate",result="error"} 0
    mastic_job_runs_total{host="here",job="migrate",result="success"} 0
    mastic_job_state{host="here",job="migrate",state="done"} 1
    mastic_job_state{host="here",job="migrate",state="failed"} 0
    mastic_job_state{host="here",job="migrate",state="halted"} 0
    mastic_job_state{host="here",job="migrate",state="pending"} 0
    mastic_job_state{host="here",job="migrate",state="running"} 0
    mastic_job_state{host="here",job="migrate",state="scheduled"} 0
    mastic_job_state{host="here",job="migrate",state="waiting"} 0
    "#);
}

#[test]
fn trouble_is_told() {
    let metrics = metrics();
    metrics.observe_status(&samples::troubled());
    insta::assert_snapshot!(lines(&metrics, &["mastic_drift", "} 1"]), @r#"
    mastic_drift{host="here",kind="config",service="hello"} 1
    mastic_drift{host="here",kind="image",service="hello"} 1
    mastic_drift{host="here",kind="missing",service="cache"} 1
    mastic_drift{host="here",kind="stopped",service="web"} 1
    mastic_drift{host="there",kind="unknown",service="hello"} 1
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_instance_condition", "} 1"]), @r#"
    mastic_instance_condition{condition="CrashLooping",host="here",service="web"} 1
    mastic_instance_condition{condition="Paused",host="here",service="memcached"} 1
    mastic_instance_condition{condition="Ready",host="here",service="hello"} 1
    mastic_instance_condition{condition="RolledBack",host="here",service="hello"} 1
    mastic_instance_condition{condition="Stalled",host="here",service="hello"} 1
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_container_waiting_reason", "} 1"]), @r#"
    mastic_container_waiting_reason{host="here",reason="CrashLoopBackOff",service="web"} 1
    mastic_container_waiting_reason{host="here",reason="ImagePullBackOff",service="cache"} 1
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_h", "s"]), @r#"
    mastic_hold_since_timestamp_seconds{kind="cordon"} 0
    mastic_hold_since_timestamp_seconds{kind="freeze"} 0
    mastic_hold_since_timestamp_seconds{kind="pause"} 0
    mastic_hold_since_timestamp_seconds{kind="pin"} 0
    mastic_hold_since_timestamp_seconds{kind="stop"} 1699909939
    mastic_holds{kind="cordon"} 0
    mastic_holds{kind="freeze"} 0
    mastic_holds{kind="pause"} 0
    mastic_holds{kind="pin"} 0
    mastic_holds{kind="stop"} 1
    mastic_host_up{host="here"} 1
    mastic_host_up{host="there"} 0
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_slot"]), @r#"
    mastic_slot_held_since_timestamp_seconds{host="here",service="cache"} 0
    mastic_slot_held_since_timestamp_seconds{host="here",service="hello"} 1699999980
    mastic_slot_held_since_timestamp_seconds{host="here",service="memcached"} 0
    mastic_slot_held_since_timestamp_seconds{host="here",service="web"} 0
    mastic_slot_held_since_timestamp_seconds{host="there",service="hello"} 0
    "#);
    insta::assert_snapshot!(lines(&metrics, &["mastic_quarantined"]), @r#"
    mastic_quarantined{host="here",service="cache"} 0
    mastic_quarantined{host="here",service="hello"} 1
    mastic_quarantined{host="here",service="memcached"} 0
    mastic_quarantined{host="here",service="web"} 0
    mastic_quarantined{host="there",service="hello"} 0
    "#);
}

#[test]
fn what_is_gone_leaves_no_series() {
    let metrics = metrics();
    metrics.observe_status(&samples::troubled());
    assert!(!lines(&metrics, &["\"web\""]).is_empty());
    metrics.observe_status(&samples::converged());
    for gone in ["\"web\"", "\"cache\"", "\"there\",service"] {
        assert_eq!(lines(&metrics, &[gone]), "", "{gone}");
    }
    assert_eq!(lines(&metrics, &["mastic_host_up"]), "mastic_host_up{host=\"here\"} 1");
}

#[test]
fn restarts_go_on_counting_over_a_replaced_container() {
    let metrics = metrics();
    let mut status = samples::converged();
    for (restarts, counted) in [(3, 0), (5, 2), (5, 2), (1, 3), (2, 4)] {
        status.hosts[0].instances[0].restarts = restarts;
        metrics.observe_status(&status);
        let line = lines(&metrics, &["mastic_container_restarts_total", "hello"]);
        assert!(line.ends_with(&format!("}} {counted}")), "{restarts}: {line}");
    }
}

#[test]
fn a_snapshot_ages_between_passes() {
    let metrics = metrics();
    let mut status = samples::converged();
    metrics.observe_status(&status);
    assert_eq!(lines(&metrics, &["snapshot_age"]), "mastic_snapshot_age_seconds{host=\"here\"} 2");
    status.hosts[0].observed_at = None;
    metrics.observe_status(&status);
    assert_eq!(lines(&metrics, &["snapshot_age"]), "mastic_snapshot_age_seconds{host=\"here\"} NaN");
}

#[test]
fn what_happened_is_counted() {
    let metrics = metrics();
    metrics.observe_status(&samples::converged());
    metrics.reconciled("here", samples::NOW);
    metrics.reconcile_failed("here", ReconcileError::Store);
    metrics.step_ended("here", "replace", false);
    metrics.rolled_back("hello", RollbackReason::Exited);
    metrics.engine_asked("here", "create_container", "conflict", Duration::from_millis(3));
    metrics.pull_failed("here", PullFailure::Registry);
    metrics.job_ended("here", "migrate", true);
    metrics.commanded("rollback", true);
    metrics.site_rejected(2);
    metrics.queued(true, 3);
    metrics.working_for(&[Duration::from_secs(2), Duration::from_secs(5)]);
    // Another status changes nothing about what was counted.
    metrics.observe_status(&samples::converged());
    let text = metrics.text(samples::NOW);
    for line in [
        "mastic_reconcile_total{host=\"here\",result=\"success\"} 1",
        "mastic_reconcile_total{host=\"here\",result=\"error\"} 1",
        "mastic_reconcile_errors_total{host=\"here\",reason=\"store\"} 1",
        "mastic_reconcile_errors_total{host=\"here\",reason=\"observe\"} 0",
        "mastic_last_successful_reconcile_timestamp_seconds{host=\"here\"} 1700000000",
        "mastic_actions_total{action=\"replace\",host=\"here\",result=\"error\"} 1",
        "mastic_actions_total{action=\"replace\",host=\"here\",result=\"success\"} 0",
        "mastic_rollbacks_total{reason=\"Exited\",service=\"hello\"} 1",
        "mastic_docker_requests_total{code=\"conflict\",host=\"here\",op=\"create_container\"} 1",
        "mastic_docker_request_duration_seconds_bucket{op=\"create_container\",le=\"0.005\"} 1",
        "mastic_image_pull_failures_total{host=\"here\",reason=\"registry\"} 1",
        "mastic_job_runs_total{host=\"here\",job=\"migrate\",result=\"success\"} 1",
        "mastic_commands_total{command=\"rollback\",result=\"success\"} 1",
        "mastic_config_last_reload_successful 0",
        "mastic_config_errors 2",
        "workqueue_depth{name=\"reconcile\"} 3",
        "workqueue_retries_total{name=\"reconcile\"} 1",
        "workqueue_unfinished_work_seconds{name=\"reconcile\"} 7",
        "workqueue_longest_running_processor_seconds{name=\"reconcile\"} 5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_process_is_told() {
    let metrics = metrics();
    for cpu in [Duration::from_millis(1500), Duration::from_millis(2500)] {
        metrics.observe_process(&ProcessStatistics { resident_bytes: 4096, cpu, ..ProcessStatistics::default() });
    }
    assert_eq!(lines(&metrics, &["process_cpu"]), "process_cpu_seconds_total 2.5");
    assert_eq!(lines(&metrics, &["process_resident"]), "process_resident_memory_bytes 4096");
}

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("MASTIC_UPDATE").is_some() {
        std::fs::write(path, reference_page()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page == reference_page(), "docs/metrics.md is old: MASTIC_UPDATE=1 cargo test --lib reference_page");
}

//! What is counted and measured, for Prometheus.
//!
//! In: the loop tells what happened, through methods named after it, and what is so, as one [`SiteStatus`]. Out: text.
//! No clock: spans and times are arguments. Nothing here fails: a metric that cannot be kept is no reason to stop healing.

mod definitions;
mod from_status;
mod words;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

pub use definitions::{ALL, Definition, reference_page};
use definitions::{BUCKETS, Counter, Gauge, Histogram};
use from_status::Known;
pub use words::{Phase, PullFailure, ReconcileError, RollbackReason, Trigger};

use super::status::SiteStatus;
use crate::model::condition::ConditionType;
use crate::model::time::Timestamp;

/// The kinds of steps that a plan has; each has a series from the first scrape on.
pub const ACTIONS: [&str; 16] = [
    "pull",
    "create",
    "start",
    "replace",
    "restart",
    "reload",
    "update",
    "attach",
    "detach",
    "stop",
    "remove",
    "rename",
    "write-file",
    "run-job",
    "rollback",
    "adopt",
];

/// How a step, a run or a command ended.
const RESULTS: [&str; 2] = ["success", "error"];

/// Name of the loop's queue in the labels of `workqueue_*`.
const QUEUE: &str = "reconcile";

/// What a process is like, read at the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStatistics {
    /// Resident memory.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// User and system time.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_files: u64,
    /// Most file descriptors.
    pub max_files: u64,
    /// Threads.
    pub threads: u64,
    /// Start, in seconds since 1970.
    pub started_at: f64,
}

/// All metrics of one program.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, CounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
    histograms: BTreeMap<&'static str, HistogramVec>,
    /// Held while a status is taken in and while a scrape is written, so that a scrape shows one status and not two halves.
    known: Mutex<Known>,
}

impl Metrics {
    /// All of them at 0.
    pub fn new(version: &str, revision: &str) -> Result<Self, prometheus::Error> {
        let mut metrics = Self {
            registry: Registry::new(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            histograms: BTreeMap::new(),
            known: Mutex::default(),
        };
        for definition in ALL {
            metrics.register(definition)?;
        }
        metrics.set(&definitions::BUILD_INFO, &[version, revision], 1.0);
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn register(&mut self, definition: &'static Definition) -> Result<(), prometheus::Error> {
        let Definition { name, kind, labels, help } = definition;
        match *kind {
            "Counter" => {
                let family = CounterVec::new(Opts::new(*name, *help), labels)?;
                self.registry.register(Box::new(family.clone()))?;
                self.counters.insert(name, family);
            }
            "Gauge" => {
                let family = GaugeVec::new(Opts::new(*name, *help), labels)?;
                self.registry.register(Box::new(family.clone()))?;
                self.gauges.insert(name, family);
            }
            _ => {
                let family = HistogramVec::new(HistogramOpts::new(*name, *help).buckets(BUCKETS.to_vec()), labels)?;
                self.registry.register(Box::new(family.clone()))?;
                self.histograms.insert(name, family);
            }
        }
        Ok(())
    }

    /// The series whose labels do not depend on the site.
    fn start_at_zero(&self) {
        for gauge in ALL.iter().filter(|definition| definition.kind == "Gauge" && definition.labels.is_empty()) {
            self.set(&Gauge(gauge), &[], 0.0);
        }
        self.add(&definitions::PROCESS_CPU, &[], 0.0);
        for phase in Phase::ALL {
            self.touch(&definitions::RECONCILE_DURATION, &[phase.as_str()]);
        }
        for trigger in Trigger::ALL {
            self.touch(&definitions::CONVERGENCE, &[trigger.as_str()]);
        }
        for kind in ["edit", "removal"] {
            self.set(&definitions::PENDING, &[kind], 0.0);
        }
        for kind in from_status::HOLD_KINDS {
            self.set(&definitions::HOLDS, &[from_status::hold_word(kind)], 0.0);
            self.set(&definitions::HOLD_SINCE, &[from_status::hold_word(kind)], 0.0);
        }
        for command in ["reconcile", "hold", "release_hold", "rollback", "approve", "status", "plan"] {
            for result in RESULTS {
                self.add(&definitions::COMMANDS, &[command, result], 0.0);
            }
        }
        for gauge in [definitions::QUEUE_DEPTH, definitions::QUEUE_UNFINISHED, definitions::QUEUE_LONGEST] {
            self.set(&gauge, &[QUEUE], 0.0);
        }
        self.add(&definitions::QUEUE_ADDS, &[QUEUE], 0.0);
        self.add(&definitions::QUEUE_RETRIES, &[QUEUE], 0.0);
        self.touch(&definitions::QUEUE_DURATION, &[QUEUE]);
        self.touch(&definitions::QUEUE_WORK_DURATION, &[QUEUE]);
        self.touch(&definitions::DOCKER_DURATION, &["list_containers"]);
    }

    /// The series of a host, at 0.
    fn start_host(&self, host: &str) {
        for result in RESULTS {
            self.add(&definitions::RECONCILES, &[host, result], 0.0);
            for action in ACTIONS {
                self.add(&definitions::ACTIONS, &[host, action, result], 0.0);
            }
        }
        for reason in ReconcileError::ALL {
            self.add(&definitions::RECONCILE_ERRORS, &[host, reason.as_str()], 0.0);
        }
        for reason in PullFailure::ALL {
            self.add(&definitions::PULL_FAILURES, &[host, reason.as_str()], 0.0);
        }
        self.touch(&definitions::PULL_DURATION, &[host]);
        self.add(&definitions::DOCKER_REQUESTS, &[host, "list_containers", "ok"], 0.0);
        if let Some(gauge) = self.gauges.get(definitions::LAST_SUCCESS.0.name) {
            // Looking at a series makes it, at 0, and leaves the value of one that is there.
            let _ = gauge.get_metric_with_label_values(&[host]);
        }
    }

    fn set(&self, gauge: &Gauge, labels: &[&str], value: f64) {
        if let Some(Ok(series)) =
            self.gauges.get(gauge.0.name).map(|family| family.get_metric_with_label_values(labels))
        {
            series.set(value);
        }
    }

    fn add(&self, counter: &Counter, labels: &[&str], value: f64) {
        let family = self.counters.get(counter.0.name);
        if let Some(Ok(series)) = family.map(|family| family.get_metric_with_label_values(labels)) {
            series.inc_by(value);
        }
    }

    fn measure(&self, histogram: &Histogram, labels: &[&str], took: Duration) {
        let family = self.histograms.get(histogram.0.name);
        if let Some(Ok(series)) = family.map(|family| family.get_metric_with_label_values(labels)) {
            series.observe(took.as_secs_f64());
        }
    }

    /// Makes a series without measuring anything.
    fn touch(&self, histogram: &Histogram, labels: &[&str]) {
        if let Some(family) = self.histograms.get(histogram.0.name) {
            let _ = family.get_metric_with_label_values(labels);
        }
    }

    // What happened.

    /// A pass ended well.
    pub fn reconciled(&self, host: &str, now: Timestamp) {
        self.add(&definitions::RECONCILES, &[host, "success"], 1.0);
        self.set(&definitions::LAST_SUCCESS, &[host], seconds(now));
    }

    /// A pass failed.
    pub fn reconcile_failed(&self, host: &str, reason: ReconcileError) {
        self.add(&definitions::RECONCILES, &[host, "error"], 1.0);
        self.add(&definitions::RECONCILE_ERRORS, &[host, reason.as_str()], 1.0);
    }

    /// A phase of a pass ended.
    pub fn phase_took(&self, phase: Phase, took: Duration) {
        self.measure(&definitions::RECONCILE_DURATION, &[phase.as_str()], took);
    }

    /// All is ready again after a change.
    pub fn converged_after(&self, trigger: Trigger, took: Duration) {
        self.measure(&definitions::CONVERGENCE, &[trigger.as_str()], took);
    }

    /// The site's files were read and accepted.
    pub fn site_accepted(&self, now: Timestamp) {
        self.set(&definitions::CONFIG_SUCCESSFUL, &[], 1.0);
        self.set(&definitions::CONFIG_SUCCESS_TIME, &[], seconds(now));
        self.set(&definitions::CONFIG_ERRORS, &[], 0.0);
    }

    /// The site's files were read and have errors.
    pub fn site_rejected(&self, errors: usize) {
        self.set(&definitions::CONFIG_SUCCESSFUL, &[], 0.0);
        self.set(&definitions::CONFIG_ERRORS, &[], count(errors));
    }

    /// A step was carried out. `action` is one of [`ACTIONS`].
    pub fn step_ended(&self, host: &str, action: &'static str, success: bool) {
        self.add(&definitions::ACTIONS, &[host, action, result(success)], 1.0);
    }

    /// A change was taken back.
    pub fn rolled_back(&self, service: &str, reason: RollbackReason) {
        self.add(&definitions::ROLLBACKS, &[service, reason.as_str()], 1.0);
    }

    /// A job ended.
    pub fn job_ended(&self, host: &str, job: &str, success: bool) {
        self.add(&definitions::JOB_RUNS, &[host, job, result(success)], 1.0);
    }

    /// The engine was asked for something. `operation` and `code` are words of the program.
    pub fn engine_asked(&self, host: &str, operation: &'static str, code: &'static str, took: Duration) {
        self.add(&definitions::DOCKER_REQUESTS, &[host, operation, code], 1.0);
        self.measure(&definitions::DOCKER_DURATION, &[operation], took);
    }

    /// An image was fetched.
    pub fn pulled(&self, host: &str, took: Duration) {
        self.measure(&definitions::PULL_DURATION, &[host], took);
    }

    /// An image could not be fetched.
    pub fn pull_failed(&self, host: &str, reason: PullFailure) {
        self.add(&definitions::PULL_FAILURES, &[host, reason.as_str()], 1.0);
    }

    /// A person's command ended. `command` is its name.
    pub fn commanded(&self, command: &'static str, success: bool) {
        self.add(&definitions::COMMANDS, &[command, result(success)], 1.0);
    }

    /// A key was put on the queue; `again` after a failure. `depth` is how many wait now.
    pub fn queued(&self, again: bool, depth: usize) {
        self.add(&definitions::QUEUE_ADDS, &[QUEUE], 1.0);
        if again {
            self.add(&definitions::QUEUE_RETRIES, &[QUEUE], 1.0);
        }
        self.set(&definitions::QUEUE_DEPTH, &[QUEUE], count(depth));
    }

    /// A key was taken off the queue after it had waited.
    pub fn dequeued(&self, waited: Duration, depth: usize) {
        self.measure(&definitions::QUEUE_DURATION, &[QUEUE], waited);
        self.set(&definitions::QUEUE_DEPTH, &[QUEUE], count(depth));
    }

    /// A key was worked on.
    pub fn worked(&self, took: Duration) {
        self.measure(&definitions::QUEUE_WORK_DURATION, &[QUEUE], took);
    }

    /// For how long each work that goes on has gone on.
    pub fn working_for(&self, spans: &[Duration]) {
        let sum: Duration = spans.iter().sum();
        let longest = spans.iter().max().copied().unwrap_or_default();
        self.set(&definitions::QUEUE_UNFINISHED, &[QUEUE], sum.as_secs_f64());
        self.set(&definitions::QUEUE_LONGEST, &[QUEUE], longest.as_secs_f64());
    }

    // What is so.

    /// Sets every gauge about the site from one status, makes the series of what is new and drops those of what is gone.
    pub fn observe_status(&self, status: &SiteStatus) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_in(&mut known, status);
    }

    /// Sets what is known of this process.
    pub fn observe_process(&self, process: &ProcessStatistics) {
        self.set(&definitions::PROCESS_RESIDENT, &[], number(process.resident_bytes));
        self.set(&definitions::PROCESS_VIRTUAL, &[], number(process.virtual_bytes));
        self.set(&definitions::PROCESS_OPEN_FILES, &[], number(process.open_files));
        self.set(&definitions::PROCESS_MAX_FILES, &[], number(process.max_files));
        self.set(&definitions::PROCESS_THREADS, &[], number(process.threads));
        self.set(&definitions::PROCESS_START, &[], process.started_at);
        let family = self.counters.get(definitions::PROCESS_CPU.0.name);
        if let Some(Ok(series)) = family.map(|family| family.get_metric_with_label_values::<&str>(&[])) {
            series.inc_by((process.cpu.as_secs_f64() - series.get()).max(0.0));
        }
    }

    /// What a scrape gets.
    pub fn text(&self, now: Timestamp) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (host, observed_at) in &known.hosts {
            let age = observed_at.map_or(f64::NAN, |time| now.since(time).duration().as_secs_f64());
            self.set(&definitions::SNAPSHOT_AGE, &[host], age);
        }
        let mut bytes = Vec::new();
        // Writing to memory does not fail; a family without a series would, and is left out by `gather`.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// The conditions of a rollout that are told for a service as a whole.
const ROLLOUT_CONDITIONS: [ConditionType; 6] = [
    ConditionType::Progressing,
    ConditionType::Stalled,
    ConditionType::Halted,
    ConditionType::RolledBack,
    ConditionType::Quarantined,
    ConditionType::Paused,
];

fn result(success: bool) -> &'static str {
    if success { "success" } else { "error" }
}

fn seconds(time: Timestamp) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay exact for another 285,000 years")]
    let milliseconds = time.0 as f64;
    milliseconds / 1000.0
}

fn number(value: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
    let number = value as f64;
    number
}

fn count(value: usize) -> f64 {
    number(value as u64)
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[cfg(test)]
mod tests;

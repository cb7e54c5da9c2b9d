//! Every metric, in one place: name, kind, labels, meaning. The reference page is made from this table.

use std::fmt::Write;

/// What is known of a metric before it has a value.
#[derive(Debug)]
pub struct Definition {
    /// As it is scraped.
    pub name: &'static str,
    /// `Counter`, `Gauge` or `Histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// A number that only grows.
pub(super) struct Counter(pub(super) &'static Definition);

/// A number as it is now.
pub(super) struct Gauge(pub(super) &'static Definition);

/// How often something took how long.
pub(super) struct Histogram(pub(super) &'static Definition);

/// Upper bounds in seconds: from an answer of a local socket to a big image. One set for all, so that they can be compared.
pub(super) const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

macro_rules! definitions {
    ($($kind:ident $constant:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: $kind =
            $kind(&Definition { name: $name, kind: stringify!($kind), labels: &[$($label),*], help: $help });)*
        /// All of them, in the order of the reference page.
        pub const ALL: &[&Definition] = &[$($constant.0),*];
    };
}

definitions! {
    Gauge BUILD_INFO = "mastic_build_info" ["version", "revision"] "Always 1; the labels tell what runs.";
    Gauge READY = "mastic_ready" [] "Whether all that should run is ready.";
    Gauge CONVERGED = "mastic_converged" [] "Whether, beyond that, nothing is left to do.";

    Counter RECONCILES = "mastic_reconcile_total" ["host", "result"] "Passes of the loop, by how they ended.";
    Counter RECONCILE_ERRORS = "mastic_reconcile_errors_total" ["host", "reason"] "Passes of the loop that failed, by where.";
    Histogram RECONCILE_DURATION = "mastic_reconcile_duration_seconds" ["phase"] "How long each phase of a pass took.";
    Gauge LAST_SUCCESS = "mastic_last_successful_reconcile_timestamp_seconds" ["host"] "When a pass last succeeded; 0 before the first.";
    Histogram CONVERGENCE = "mastic_convergence_seconds" ["trigger"] "From a change to convergence, by what changed.";

    Gauge CONFIG_SUCCESSFUL = "mastic_config_last_reload_successful" [] "Whether the site's files were accepted when last read.";
    Gauge CONFIG_SUCCESS_TIME = "mastic_config_last_reload_success_timestamp_seconds" [] "When the site's files were last accepted; 0 before the first time.";
    Gauge CONFIG_ERRORS = "mastic_config_errors" [] "Errors in the site's files when last read.";
    Gauge PENDING = "mastic_pending" ["kind"] "Whether an edit or a removal waits for a person, or for its time.";

    Gauge METADATA_GENERATION = "mastic_metadata_generation" ["host", "service"] "The accepted generation in force.";
    Gauge OBSERVED_GENERATION = "mastic_observed_generation" ["host", "service"] "The generation that the instance is like.";
    Gauge SERVICE_DESIRED = "mastic_service_desired" ["service"] "Instances that should run.";
    Gauge SERVICE_READY = "mastic_service_ready" ["service"] "Instances that are ready.";
    Gauge SERVICE_UPDATED = "mastic_service_updated" ["service"] "Instances that are like the generation in force.";
    Gauge SERVICE_UNAVAILABLE = "mastic_service_unavailable" ["service"] "Instances that should run and are not ready, or of which nothing is known.";
    Gauge INSTANCE_CONDITION = "mastic_instance_condition" ["host", "service", "condition"] "Whether a condition of an instance is true.";
    Gauge ROLLOUT_CONDITION = "mastic_rollout_condition" ["service", "condition"] "Whether a condition is true of any instance of a service.";
    Gauge ROLLOUT_PROGRESS = "mastic_rollout_progress_ratio" ["service"] "Share of the instances that are like the generation in force.";
    Counter ROLLBACKS = "mastic_rollbacks_total" ["service", "reason"] "Changes that failed and were taken back, by why.";
    Gauge QUARANTINED = "mastic_quarantined" ["host", "service"] "Whether a spec failed here and is not tried again.";

    Gauge DRIFT = "mastic_drift" ["host", "service", "kind"] "Whether what lives differs from what is desired, by how.";
    Gauge HOST_UP = "mastic_host_up" ["host"] "Whether the host can be asked.";
    Gauge DOCKER_UP = "mastic_docker_up" ["host"] "Whether the engine answers.";
    Gauge EVENT_STREAM_UP = "mastic_docker_event_stream_up" ["host"] "Whether the engine's events arrive.";
    Gauge SNAPSHOT_AGE = "mastic_snapshot_age_seconds" ["host"] "How old what is known of the host is; NaN before the first look.";
    Counter CONTAINER_RESTARTS = "mastic_container_restarts_total" ["host", "service", "name"] "Restarts by the engine; `name` is the container's, as in cAdvisor's series.";
    Gauge WAITING_REASON = "mastic_container_waiting_reason" ["host", "service", "reason"] "What keeps an instance from starting.";

    Counter ACTIONS = "mastic_actions_total" ["host", "action", "result"] "Steps that were carried out, by kind and by how they ended.";
    Counter DOCKER_REQUESTS = "mastic_docker_requests_total" ["host", "op", "code"] "Calls to the engine, by operation and by how they ended.";
    Histogram DOCKER_DURATION = "mastic_docker_request_duration_seconds" ["op"] "How long calls to the engine took.";
    Histogram PULL_DURATION = "mastic_image_pull_duration_seconds" ["host"] "How long pulls took that succeeded.";
    Counter PULL_FAILURES = "mastic_image_pull_failures_total" ["host", "reason"] "Pulls that failed, by why.";

    Gauge JOB_STATE = "mastic_job_state" ["host", "job", "state"] "1 for the state that the job is in.";
    Gauge JOB_LAST_SUCCESS = "mastic_job_last_success_timestamp_seconds" ["host", "job"] "When the job was last done; 0 where that is not known.";
    Counter JOB_RUNS = "mastic_job_runs_total" ["host", "job", "result"] "Runs of the job, by how they ended.";

    Gauge PAUSED = "mastic_paused" ["host", "service"] "Whether a person's pause covers the instance.";
    Gauge HOLDS = "mastic_holds" ["kind"] "People's holds in force.";
    Gauge HOLD_SINCE = "mastic_hold_since_timestamp_seconds" ["kind"] "Since when the oldest hold has been in force; 0 where there is none.";
    Gauge SLOT_SINCE = "mastic_slot_held_since_timestamp_seconds" ["host", "service"] "Since when the host has held the right to disrupt the service; 0 where it has not.";
    Counter COMMANDS = "mastic_commands_total" ["command", "result"] "What people asked of the agent, by how it ended.";

    Gauge QUEUE_DEPTH = "workqueue_depth" ["name"] "Keys that wait to be worked on.";
    Counter QUEUE_ADDS = "workqueue_adds_total" ["name"] "Keys that were added.";
    Counter QUEUE_RETRIES = "workqueue_retries_total" ["name"] "Keys that were added again after a failure.";
    Histogram QUEUE_DURATION = "workqueue_queue_duration_seconds" ["name"] "How long keys waited.";
    Histogram QUEUE_WORK_DURATION = "workqueue_work_duration_seconds" ["name"] "How long keys were worked on.";
    Gauge QUEUE_UNFINISHED = "workqueue_unfinished_work_seconds" ["name"] "For how long the work that goes on has gone on, summed up.";
    Gauge QUEUE_LONGEST = "workqueue_longest_running_processor_seconds" ["name"] "For how long the oldest work that goes on has gone on.";

    Gauge PROCESS_RESIDENT = "process_resident_memory_bytes" [] "Resident memory of this process.";
    Gauge PROCESS_VIRTUAL = "process_virtual_memory_bytes" [] "Virtual memory of this process.";
    Counter PROCESS_CPU = "process_cpu_seconds_total" [] "User and system time of this process.";
    Gauge PROCESS_OPEN_FILES = "process_open_fds" [] "Open file descriptors of this process.";
    Gauge PROCESS_MAX_FILES = "process_max_fds" [] "Most file descriptors that this process may open.";
    Gauge PROCESS_THREADS = "process_threads" [] "Threads of this process.";
    Gauge PROCESS_START = "process_start_time_seconds" [] "When this process started.";
}

/// The reference page, in Markdown.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         What `mastic agent --listen` serves at `/metrics`. This page is made from the table in\n\
         `src/report/metrics/definitions.rs`; a test keeps it so\n\
         (`MASTIC_UPDATE=1 cargo test --lib reference_page` writes it anew).\n\n\
         Every series is there from the first scrape on, with the value 0, for each service that is known. All values of labels\n\
         come from closed sets, or are names from the site.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for definition in ALL {
        let labels: Vec<String> = definition.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            definition.name,
            definition.kind.to_lowercase(),
            labels.join(", "),
            definition.help
        );
    }
    let bounds: Vec<String> = BUCKETS.iter().map(f64::to_string).collect();
    let _ = write!(page, "\nAll histograms have the same upper bounds, in seconds: {}.\n", bounds.join(", "));
    page.push_str(
        "\nCPU and memory of containers are left to cAdvisor: join on the label `name`, which is the container's name in both.\n",
    );
    page
}

//! Jobs on a real engine: how often they run, by which word, by the clock; and what is told of those that fail.

use serde_json::{Value, json};

use crate::support::{Inside, Sandbox, docker, try_docker};

fn write(sandbox: &Sandbox, image: &str, jobs: &str) {
    sandbox.site(&format!(
        "  volumes: {{@-data: {{}}}}
  services:
    @-app: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['@-data:/data']}}
  jobs:
{}",
        jobs.replace("IMAGE", image)
    ));
}

/// What the jobs have written, a line a run.
fn runs(sandbox: &Sandbox) -> String {
    try_docker(&["exec", &sandbox.name("app"), "sh", "-c", "sort /data/runs"]).unwrap_or_default()
}

fn job(sandbox: &Sandbox, name: &str) -> Value {
    let status = sandbox.status();
    let jobs = status["hosts"][0]["jobs"].as_array().cloned().unwrap_or_default();
    jobs.into_iter().find(|job| job["job"] == sandbox.name(name).as_str()).unwrap_or(Value::Null)
}

const EACH_AND_ONCE: &str = "
    @-each: {image: IMAGE, run: each, command: [sh, -c, 'echo each ONE >> /data/runs'], volumes: ['@-data:/data']}
    @-once: {image: IMAGE, run: once, command: [sh, -c, 'echo once ONE >> /data/runs'], volumes: ['@-data:/data']}
";

#[test]
fn a_job_runs_again_when_its_inputs_change_or_when_asked_and_one_that_runs_once_never_by_itself() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("jobs", "");
    write(&sandbox, &image, &EACH_AND_ONCE.replace("ONE", "1"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(&sandbox), "each 1\nonce 1\n");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(&sandbox), "each 1\nonce 1\n", "an apply alone is no reason");

    write(&sandbox, &image, &EACH_AND_ONCE.replace("ONE", "2"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(&sandbox), "each 1\neach 2\nonce 1\n");
    assert_eq!(job(&sandbox, "once")["state"], "done");
    assert!(sandbox.is_settled());

    // Asked for by name each runs, without an agent and through one.
    sandbox.mastic(&["run-job", &sandbox.name("once"), "--timeout", "30s"]).ok();
    assert_eq!(runs(&sandbox), "each 1\neach 2\nonce 1\nonce 2\n");
    let agent = sandbox.agent(&[]);
    sandbox.mastic(&["run-job", &sandbox.name("each"), "--timeout", "30s"]).ok();
    assert_eq!(runs(&sandbox), "each 1\neach 2\neach 2\nonce 1\nonce 2\n");
    let unknown = sandbox.mastic(&["run-job", "nonsense"]);
    assert!(unknown.code == 64 && unknown.stderr.contains("there is no job `nonsense`"), "{unknown}");
    let names = docker(&["ps", "-a", "--format", "{{.Names}}"]);
    assert!(!names.contains(&sandbox.name("each")) && !names.contains(&sandbox.name("once")), "{names}");
    agent.stop(20);
}

#[test]
fn a_job_that_fails_is_told_with_its_words_and_runs_again_once_it_is_mended() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("jobs", "");
    let with = |command: &str| {
        let jobs =
            format!("    @-migrate: {{image: IMAGE, command: [sh, -c, '{command}'], volumes: ['@-data:/data']}}\n");
        write(&sandbox, &image, &jobs);
    };
    with("echo no such table; exit 3");
    let apply = sandbox.mastic(&["apply", "--timeout", "30"]);
    assert_ne!(apply.code, 0, "{apply}");
    assert!(apply.stderr.contains("exit code 3") && apply.stderr.contains(&sandbox.name("migrate")), "{apply}");
    let failed = job(&sandbox, "migrate");
    assert_eq!(
        (&failed["state"], &failed["exit_code"]),
        (&json!("failed"), &json!(3)),
        "{failed} {} {apply}",
        sandbox.status()
    );
    let described = sandbox.mastic(&["describe", &sandbox.name("migrate")]).ok();
    let events = sandbox.mastic(&["events"]).ok();
    assert!(described.contains("no such table") || events.contains("no such table"), "{described}\n{events}");

    // Who asks for it does not wait for the end of a backoff.
    with("echo tried >> /data/runs; exit 3");
    sandbox.mastic(&["apply", "--timeout", "30"]);
    let before = runs(&sandbox);
    assert_ne!(sandbox.mastic(&["apply", "--timeout", "30"]).code, 0);
    assert!(runs(&sandbox).len() > before.len(), "an apply did not try again");
    docker(&["exec", &sandbox.name("app"), "rm", "/data/runs"]);

    let agent = sandbox.agent(&[]);
    with("echo migrated >> /data/runs");
    sandbox.wait_for("the mended job", 30, || job(&sandbox, "migrate")["state"] == "done");
    assert_eq!(runs(&sandbox), "migrated\n");
    // One that runs too long is ended.
    let jobs = "    @-migrate: {image: IMAGE, command: [sleep, '1000'], stop_signal: SIGKILL, timeout: 1s}\n";
    write(&sandbox, &image, jobs);
    sandbox.wait_for("the end of one that takes too long", 30, || job(&sandbox, "migrate")["state"] == "failed");
    agent.stop(20);
}

#[tokio::test]
async fn a_scheduled_job_runs_at_its_times() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("jobs", "");
    let jobs = "    @-tick: {image: IMAGE, run: each, schedule: {cron: '*/10 * * * *', tz: UTC}, command: [sh, -c, 'echo tick >> /data/runs'], volumes: ['@-data:/data']}\n";
    write(&sandbox, &image, jobs);
    let agent = Inside::start(&sandbox).await;
    agent.until("the site", |status| status.converged).await;
    assert_eq!(runs(&sandbox), "", "nothing is due before the job was known");
    for round in 1..=2 {
        let before = agent.status().hosts[0].jobs[0].next_run.expect("it is known when it runs next");
        agent.skip(before.since(agent.now()).0 / 1000 + 1).await;
        agent
            .until("the run", |status| {
                status.hosts[0].jobs[0].next_run.is_some_and(|next| next > before) && status.converged
            })
            .await;
        assert_eq!(runs(&sandbox), "tick\n".repeat(round));
    }
    agent.end().await;
}

/// What follows an upgrade, such as removing the old parts of a schema, must not meet the old version.
#[test]
fn a_job_that_waits_for_a_service_waits_for_its_change_too() {
    let sandbox = Sandbox::new();
    let good = sandbox.image("good", "");
    let unready = sandbox.image("unready", "RUN touch /unready");
    let apply = |image: &str, word: &str| {
        sandbox.site(&format!(
            "  volumes: {{@-data: {{}}}}
  services:
    @-app:
      image: '{image}'
      command: [sleep, '1000']
      stop_signal: SIGKILL
      volumes: ['@-data:/data']
      ready: {{exec: [test, '!', -e, /unready]}}
      rollout: {{deadline: 3s}}
  jobs:
    @-after:
      image: '{good}'
      command: [sh, -c, 'echo {word} >> /data/runs']
      volumes: ['@-data:/data']
      depends_on: {{@-app: {{}}}}
"
        ));
        sandbox.mastic(&["apply", "--timeout", "40"])
    };
    apply(&good, "one").ok();
    assert_eq!(runs(&sandbox), "one\n");
    let failed = apply(&unready, "two");
    assert_ne!(failed.code, 0, "{failed}");
    assert_eq!(runs(&sandbox), "one\n", "the old version runs again, and is no version to follow");
    apply(&good, "three").ok();
    assert_eq!(runs(&sandbox), "one\nthree\n");
}

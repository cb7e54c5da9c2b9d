//! What is as desired is left alone: for each key, after an upgrade, and after the program has lost its memory.

use serde_json::{Value, json};

use crate::every_key::{self, SERVICES};
use crate::support::{Proxy, Run, Sandbox, causes, docker, inspect, life, recreate};

/// Everything of ours as the engine shows it, and the events since a time.
fn picture(sandbox: &Sandbox) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for name in sandbox.containers() {
        let mut value = inspect(&name);
        // A health check's log grows by itself, and mounts come in any order.
        value["State"].as_object_mut().unwrap().remove("Health");
        value.as_object_mut().unwrap().remove("ExecIDs");
        value["Mounts"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        all.push((name, value));
    }
    for network in ["front", "back"] {
        all.push((network.to_owned(), json!(docker(&["network", "inspect", &sandbox.name(network)]))));
    }
    all.push(("data".to_owned(), json!(docker(&["volume", "inspect", &sandbox.name("data")]))));
    all
}

/// What the engine did to things of ours within a time, but for health checks.
fn events(sandbox: &Sandbox, since: &str, until: &str) -> Vec<String> {
    let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
    let text = docker(&["events", "--since", since, "--until", until, "--format", format]);
    let ours =
        |line: &&str| line.contains(sandbox.prefix()) && !line.contains("exec_") && !line.contains("health_status");
    text.lines().filter(ours).map(str::to_owned).collect()
}

/// The engine's clock, in the form that `docker events` takes.
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[test]
fn a_second_apply_of_every_key_changes_nothing() {
    let sandbox = Sandbox::new();
    every_key::write(&sandbox);
    sandbox.mastic(&["apply", "--timeout", "120"]).ok();

    let (before, began) = (picture(&sandbox), now());
    assert_eq!(before.len(), SERVICES.len() + 3, "{:?}", sandbox.containers());
    let plan = sandbox.mastic(&["plan", "-o", "json", "--detailed-exitcode"]);
    assert_eq!(plan.json()["changes"], json!(0), "{plan}");
    assert_eq!(plan.code, 0, "{plan}");
    let proxy = Proxy::new(sandbox.path());
    let mut apply = sandbox.command(&["apply", "--timeout", "60"]);
    apply.env("DOCKER_HOST", proxy.host());
    Run::of(apply).ok();
    let calls = proxy.take_calls();
    assert!(calls.iter().any(|call| call == "GET /containers/json"), "{calls:#?}");
    // Besides questions there are the readiness probes that run in a container.
    assert!(calls.iter().all(|call| call.starts_with("GET ") || call.contains("/exec")), "{calls:#?}");
    let mut agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));
    assert!(agent.runs());
    agent.stop(20);

    let done = events(&sandbox, &began, &now());
    assert!(done.is_empty(), "{done:#?}");
    for (one, other) in before.iter().zip(&picture(&sandbox)) {
        assert_eq!(one, other);
    }
    every_key::remove_groups(&sandbox);
}

#[test]
fn labels_of_an_earlier_version_of_the_hash_are_no_reason_to_act() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("old", "");
    sandbox.site(&format!(
            "  \
             services:\n    @-a: {{image: '{image}', command: [sleep, '1000'], init: true, environment: {{A: '1'}}, mem_limit: 32m}}\n    \
             @-b: {{image: '{image}', command: [sleep, '1000'], init: true, files: [{{content: x, target: /etc/x}}]}}\n"
        ),
    );
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    for name in ["a", "b"] {
        let labels =
            [("/Labels/mastic.create-hash", json!("0:0123456789abcdef")), ("/Labels/mastic.input-hash", json!("0:1"))];
        recreate(&sandbox.name(name), &labels);
    }
    let before = sandbox.lives();
    assert_eq!(causes(&sandbox, &[]), [].into());
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(sandbox.lives(), before);
}

#[test]
fn what_the_engine_refuses_is_told_by_service_and_leaves_the_others_alone() {
    let refused = [
        ("privileged", "privileged: true", "operation not permitted"),
        ("nofile", "ulimits: {nofile: 1048576}", "rlimit"),
        ("runtime", "runtime: no-such-runtime", "no-such-runtime"),
        ("sysctl", "sysctls: {kernel.pid_max: '1'}", "kernel.pid_max"),
        ("source", "volumes: [{type: bind, source: /no/such/source, target: /x}]", "/no/such/source"),
        ("program", "command: [no-such-program]", "no-such-program"),
        ("annotations", "annotations: {a: b}", "annotations"),
        ("gpus", "gpus: all", "gpu"),
        ("storage", "storage_opt: {size: 10G}", "storage-opt"),
    ];
    let sandbox = Sandbox::new();
    let image = sandbox.image("refused", "");
    let mut site = format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: @}}\nspec:\n  hosts: {{here: {{connection: {{local: {{}}}}}}}}\n  \
         defaults: {{container: {{command: [sleep, '1000'], stop_signal: SIGKILL}}}}\n  services:\n    @-good: {{image: '{image}'}}\n"
    );
    for (name, key, _) in refused {
        site.push_str(&format!("    @-{name}: {{image: '{image}', {key}}}\n"));
    }
    sandbox.write("site.yaml", &site);
    let run = sandbox.mastic(&["apply", "--timeout", "90"]);
    assert!(run.code == 1 || run.code == 124, "{run}");
    assert_eq!(crate::support::look(&sandbox.name("good"), "{{.State.Status}}"), "running", "{run}");
    let status = sandbox.status();
    let mut wrong = Vec::new();
    for (name, _, word) in refused {
        let service = sandbox.name(name);
        let instances = status["hosts"][0]["instances"].as_array().unwrap();
        let instance = instances.iter().find(|instance| instance["service"] == service.as_str()).unwrap();
        if !instance["last_error"].as_str().is_some_and(|error| error.contains(word)) {
            wrong.push(format!("{name}: no `{word}` in last_error {}", instance["last_error"]));
        }
        if instance["ready"] != json!(false) {
            wrong.push(format!("{name}: it is said to be ready"));
        }
        if !run.stderr.lines().any(|line| line.contains(&service) && line.contains(word)) {
            wrong.push(format!("{name}: apply does not name it with `{word}`"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{run}", wrong.join("\n"));
}

#[test]
fn a_dry_run_changes_nothing_even_where_much_is_to_do() {
    let sandbox = Sandbox::new();
    every_key::write(&sandbox);
    let began = now();
    let plan = sandbox.mastic(&["plan", "-o", "json"]);
    assert!(plan.json()["changes"].as_u64().unwrap() >= 8, "{plan}");
    assert_eq!(plan.stdout, sandbox.mastic(&["plan", "-o", "json"]).stdout, "the same state gives the same plan");
    assert!(sandbox.containers().is_empty());
    let done: Vec<String> =
        events(&sandbox, &began, &now()).into_iter().filter(|line| !line.starts_with("image")).collect();
    assert!(done.is_empty(), "{done:?}");
}

#[test]
fn a_host_that_lost_its_memory_adopts_by_labels() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("lost", "");
    let service = |name: &str, more: &str| {
        format!("    @-{name}: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL{more}}}\n")
    };
    let site = format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: @}}\nspec:\n  hosts: {{here: {{connection: {{local: {{}}}}}}}}\n  services:\n{}{}",
        service("a", ", mem_limit: 32m"),
        service("b", ", environment: {A: b}, volumes: [/data]")
    );
    sandbox.write("site.yaml", &site);
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let (before, generation) = (sandbox.lives(), sandbox.status()["generation"].as_u64().unwrap());
    std::fs::remove_dir_all(sandbox.state()).unwrap();
    assert_eq!(causes(&sandbox, &[]), [].into());
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(sandbox.lives(), before);
    assert!(sandbox.status()["generation"].as_u64().unwrap() >= generation, "no generation is used twice");
    assert!(!life(&sandbox.name("a")).is_empty());
}

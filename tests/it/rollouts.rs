//! A change goes through as a whole or not at all, in the order of dependencies, and jobs run when they should.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Sandbox, differences, docker, inspect, life, look, made_with, try_docker};

/// A site of these services, jobs and volumes.
fn site(services: &str, jobs: &str) -> String {
    let jobs = if jobs.is_empty() { String::new() } else { format!("  jobs:\n{jobs}") };
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: @}}\nspec:\n  hosts: {{here: {{connection: {{local: {{}}}}}}}}\n  \
         volumes: {{@-data: {{}}}}\n  services:\n{services}{jobs}"
    )
}

/// Lasts until it is told to end, and writes down each SIGHUP.
const COMMAND: &str = "trap 'echo hup' HUP; trap 'exit 0' TERM; echo began; while true; do sleep 0.1; done";

/// All five: image, environment, limit, reload file, replace file.
fn five(image: &str, word: &str, memory: &str) -> String {
    site(
        &format!(
            "    @-app:
      image: {image}
      command: [sh, -c, \"{COMMAND}\"]
      environment: {{WORD: {word}}}
      mem_limit: {memory}
      stop_grace_period: 2s
      files:
        - {{content: 'live {word}', target: /etc/live/, name: live, on_change: {{signal: HUP}}}}
        - {{content: 'fixed {word}', target: /etc/fixed}}
      ready: {{exec: [test, '!', -e, /unready]}}
      rollout: {{deadline: 5s, min_ready: 0s}}
"
        ),
        "",
    )
}

fn files_of(sandbox: &Sandbox) -> String {
    let command = ["exec", &sandbox.name("app"), "sh", "-c", "cat /etc/live/live; echo; cat /etc/fixed"];
    // Between two containers there is none to ask.
    try_docker(&command).unwrap_or_else(|error| error)
}

#[test]
fn a_change_of_five_things_to_a_bad_image_leaves_all_five_as_before() {
    let sandbox = Sandbox::new();
    let good = sandbox.image("good", "");
    let better = sandbox.image("better", "ENV BETTER=1");
    let exits = sandbox.image("exits", "ENTRYPOINT [\"/bin/sh\", \"-c\", \"exit 3\", \"--\"]");
    let unready = sandbox.image("unready", "RUN touch /unready");
    let unhealthy = sandbox.image("unhealthy", "HEALTHCHECK --interval=1s --retries=1 CMD false");
    let missing = format!("{}:1", sandbox.name("no-such-image"));
    sandbox.write("site.yaml", &five(&good, "one", "32m"));
    let began = Instant::now();
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let start = began.elapsed();
    let (before, files) = (made_with(&sandbox.name("app")), files_of(&sandbox));
    assert_eq!(files, "live one\nfixed one");

    let agent = sandbox.agent(&[]);
    // It answers before it has looked for the first time.
    sandbox.wait_for("the agent to know what is in force", 20, || sandbox.status()["generation"] == json!(1));
    for (what, image) in [("exits", &exits), ("unready", &unready), ("unhealthy", &unhealthy), ("missing", &missing)] {
        let first = life(&sandbox.name("app"));
        let generation = sandbox.status()["generation"].as_u64().unwrap() + 1;
        let began = Instant::now();
        sandbox.write("site.yaml", &five(image, "two", "48m"));
        // In the words of this generation: those of the one before are still there for a moment.
        let is_told = || {
            let instance = sandbox.instance(&sandbox.name("app"));
            let conditions = instance["conditions"].as_array().cloned().unwrap_or_default();
            let is_quarantined = |condition: &Value| {
                condition["type"] == "Quarantined"
                    && condition["message"].as_str().unwrap().contains(&format!("generation {generation} "))
            };
            conditions.iter().any(is_quarantined) || instance["last_error"].to_string().contains("no-such-image")
        };
        sandbox.wait_for(&format!("{what} to fail"), 30, is_told);
        let is_back =
            || files_of(&sandbox) == files && differences(&before, &made_with(&sandbox.name("app"))).is_empty();
        sandbox.wait_for(&format!("all to be as before {what}"), 30, is_back);
        // Deadline, time to stop, the old one's own start (measured with the program's), and 2 s.
        let bound = Duration::from_secs(5 + 2) + start + Duration::from_secs(2);
        assert!(began.elapsed() < bound, "{what}: {:?} of {bound:?}", began.elapsed());
        if what == "missing" {
            assert_eq!(life(&sandbox.name("app")), first, "the old one never stopped");
        } else {
            sandbox.wait_for("the old one to be ready", 20, || {
                sandbox.instance(&sandbox.name("app"))["ready"] == json!(true)
            });
        }
        // No loop: whatever the agent is asked to do next, containers stay. A reload makes it look again.
        let settled = sandbox.lives();
        agent.signal("HUP");
        let apply = sandbox.mastic(&["apply", "--timeout", "20"]);
        assert_ne!(apply.code, 0, "{what}: a failed change is no success: {apply}");
        assert_eq!(sandbox.lives(), settled, "{what}");
    }

    sandbox.write("site.yaml", &five(&better, "three", "48m"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(files_of(&sandbox), "live three\nfixed three");
    let now = inspect(&sandbox.name("app"));
    assert_eq!(now["HostConfig"]["Memory"], json!(48 << 20));
    assert!(now["Config"]["Env"].as_array().unwrap().contains(&json!("BETTER=1")));
    assert_eq!(sandbox.containers(), [sandbox.name("app")].into(), "nothing is left over");
    agent.stop(20);
}

#[test]
fn a_bad_reload_file_is_never_signalled_and_the_next_good_one_is() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("reload", "");
    let app = |workers: &str, memory: &str| {
        site(
            &format!(
                "    @-app:
      image: {image}
      command: [sh, -c, \"{COMMAND}\"]
      stop_grace_period: 2s
      mem_limit: {memory}
      files:
        - source: app.conf
          target: /etc/live/
          validate: [grep, -q, '^workers=[0-9]*$', /etc/live/app.conf]
          on_change: {{signal: HUP}}
        - {{content: 'workers {workers}', target: /etc/plain/, name: plain, on_change: nothing}}
"
            ),
            "",
        )
    };
    let write = |workers: &str, memory: &str| {
        sandbox.write("app.conf", &format!("workers={workers}\n"));
        sandbox.write("site.yaml", &app(workers, memory));
    };
    let name = sandbox.name("app");
    let read = || docker(&["exec", &name, "sh", "-c", "cat /etc/live/app.conf /etc/plain/plain"]);
    write("1", "32m");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    sandbox.wait_for("the trap", 10, || docker(&["logs", &name]).contains("began"));
    let before = life(&name);

    write("many", "48m");
    let apply = sandbox.mastic(&["apply", "--timeout", "60"]);
    assert_eq!(apply.code, 1, "{apply}");
    assert_eq!(read(), "workers=1\nworkers 1");
    assert_eq!(life(&name), before);
    assert_eq!(look(&name, "{{.HostConfig.Memory}}"), (32 << 20).to_string(), "the limit went back as well");
    assert!(!docker(&["logs", &name]).contains("hup"));
    // Once more changes nothing either.
    assert_eq!(sandbox.mastic(&["apply", "--timeout", "60"]).code, 1);
    assert!(!docker(&["logs", &name]).contains("hup"));

    write("2", "32m");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(read(), "workers=2\nworkers 2");
    sandbox.wait_for("the signal", 10, || docker(&["logs", &name]).matches("hup").count() == 1);
    assert_eq!(life(&name), before);
    assert!(sandbox.is_settled());
}

#[test]
fn what_was_kept_in_anonymous_volumes_survives_a_replace_and_a_rollback() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("volume", "VOLUME /of-image");
    let app = |word: &str, ready: &str| {
        site(
            &format!(
                "    @-app: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, environment: {{WORD: {word}}}, \
                 volumes: [/of-site, '@-data:/named'], ready: {{exec: [{ready}]}}, rollout: {{deadline: 8s}}}}\n"
            ),
            "",
        )
    };
    let name = sandbox.name("app");
    let volumes = || {
        let mut list: Vec<String> =
            look(&name, "{{range .Mounts}}{{.Destination}}={{.Name}} {{end}}").split(' ').map(str::to_owned).collect();
        list.sort();
        list
    };
    let read = || docker(&["exec", &name, "sh", "-c", "cat /of-image/f /of-site/f /named/f"]);
    sandbox.write("site.yaml", &app("one", "'true'"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    docker(&["exec", &name, "sh", "-c", "for d in of-image of-site named; do echo $d > /$d/f; done"]);
    let (first, id) = (volumes(), look(&name, "{{.Id}}"));
    sandbox.write("site.yaml", &app("two", "'true'"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_ne!(look(&name, "{{.Id}}"), id);
    assert_eq!((volumes(), read().as_str()), (first.clone(), "of-image\nof-site\nnamed\n"));
    sandbox.write("site.yaml", &app("three", "'false'"));
    assert_eq!(sandbox.mastic(&["apply", "--timeout", "60"]).code, 1);
    assert_eq!((volumes(), read().as_str()), (first.clone(), "of-image\nof-site\nnamed\n"));
    // And a third time, when what was carried over is carried over again.
    sandbox.write("site.yaml", &app("four", "'true'"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!((volumes(), read().as_str()), (first, "of-image\nof-site\nnamed\n"));
    assert!(sandbox.is_settled());
}

#[test]
fn dependencies_order_the_first_start_and_never_gate_healing() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("order", "");
    let service = |name: &str, more: &str| {
        format!("    @-{name}: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL{more}}}\n")
    };
    let services = format!(
        "{}{}{}",
        service("third", ", depends_on: [@-second]"),
        service(
            "second",
            ", depends_on: {@-first: {condition: service_healthy}, @-setup: {condition: service_completed_successfully}}"
        ),
        service(
            "first",
            ", ready: {exec: [test, -e, /tmp/ready]}, post_start: [{command: [sh, -c, 'sleep 1; touch /tmp/ready']}]"
        ),
    );
    let job = format!("    @-setup: {{image: '{image}', command: [sleep, '1'], depends_on: [@-first]}}\n");
    sandbox.write("site.yaml", &site(&services, &job));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let began = |name: &str| look(&sandbox.name(name), "{{.State.StartedAt}}");
    assert!(began("first") < began("second") && began("second") < began("third"));

    // What has been ready comes back although what it depends on is away.
    let agent = sandbox.agent(&[]);
    agent.signal("STOP");
    docker(&["rm", "-f", &sandbox.name("first")]);
    docker(&["create", "--name", &sandbox.name("first"), &image, "sleep", "1"]);
    docker(&["kill", &sandbox.name("second")]);
    docker(&["rm", "-f", &sandbox.name("third")]);
    agent.signal("CONT");
    for name in ["second", "third"] {
        sandbox.wait_for(name, 30, || look(&sandbox.name(name), "{{.State.Status}}") == "running");
    }
    assert!(sandbox.has_condition(&sandbox.name("first"), "NameTaken"));
    agent.stop(20);
}

#[test]
fn jobs_run_when_their_inputs_change_and_block_what_needs_them_while_they_fail() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("jobs", "");
    let write = |version: &str, command: &str, more: &str| {
        let services = format!(
            "    @-app: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['@-data:/data'], \
             depends_on: {{@-migrate: {{condition: service_completed_successfully}}}}, environment: {{VERSION: '{version}'}}}}\n"
        );
        let job = format!(
            "    @-migrate: {{like: @-app, depends_on: {{}}, command: [sh, -c, 'echo {version} >> /data/runs; {command}'], \
             inputs: {{version: '{version}'}}{more}}}\n"
        );
        sandbox.write("site.yaml", &site(&services, &job));
    };
    let runs = || docker(&["exec", &sandbox.name("app"), "cat", "/data/runs"]);
    write("1", "true", "");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(), "1\n");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(), "1\n", "applied again, not run again");
    write("2", "true", "");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(), "1\n2\n");

    let before = life(&sandbox.name("app"));
    write("3", "echo because >&2; exit 3", "");
    let apply = sandbox.mastic(&["apply", "--timeout", "30"]);
    assert_ne!(apply.code, 0, "{apply}");
    assert!(apply.stderr.contains(&sandbox.name("migrate")), "{apply}");
    assert_eq!(life(&sandbox.name("app")), before, "the service waits for its job");
    let jobs = sandbox.status()["hosts"][0]["jobs"].to_string();
    assert!(jobs.contains('3'), "{jobs}");

    write("4", "sleep 100", ", timeout: 1s");
    let apply = sandbox.mastic(&["apply", "--timeout", "30"]);
    assert_ne!(apply.code, 0, "{apply}");
    assert_eq!(life(&sandbox.name("app")), before, "a job that takes too long has failed");

    write("5", "true", "");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert!(runs().ends_with("5\n"), "{}", runs());
    assert_ne!(life(&sandbox.name("app")), before);
    assert!(sandbox.is_settled());
}

#[test]
fn a_job_without_a_record_asks_whether_it_has_been_done() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("done", "");
    let services = format!(
        "    @-app: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['@-data:/data'], \
         depends_on: {{@-migrate: {{condition: service_completed_successfully}}}}}}\n"
    );
    let job = "    @-migrate: {like: @-app, depends_on: {}, command: [sh, -c, 'echo run >> /data/runs'], \
               done_when: {command: [test, -f, /data/runs]}}\n";
    sandbox.write("site.yaml", &site(&services, job));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let runs = || docker(&["exec", &sandbox.name("app"), "cat", "/data/runs"]);
    assert_eq!(runs(), "run\n");
    let before = life(&sandbox.name("app"));
    std::fs::remove_dir_all(sandbox.state()).unwrap();
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(runs(), "run\n");
    assert_eq!(life(&sandbox.name("app")), before);
}

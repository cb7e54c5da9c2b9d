//! The verbs on a real engine: a small site applied, operated with and without an agent, and taken away again.

use crate::support::{Background, Sandbox, docker, try_docker};

/// Two services that say what they are, and end at once when asked to.
const SITE: &str = r#"apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts: {here: {connection: {local: {}}, groups: [web]}}
  vars: {greeting: hello}
  services:
    @-web:
      hosts: [web]
      image: @-run:1
      pull_policy: never
      command: [sh, -c, "echo started; echo trouble >&2; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
      files: [{source: web.conf.j2, target: /etc/web.conf, mode: "0644"}]
      volumes: ["@-data:/data"]
    @-db:
      hosts: [web]
      image: @-run:1
      pull_policy: never
      init: true
      command: [sleep, "1000"]
  volumes: {@-data: {}}
"#;

fn with_site() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.image("run", "");
    sandbox.write("site.yaml", SITE);
    sandbox.write("web.conf.j2", "{{ greeting }}\n");
    sandbox
}

#[track_caller]
fn agent(sandbox: &Sandbox) -> Background {
    let agent = sandbox.start(&["agent"]);
    sandbox.wait_for("the agent's socket", 30, || sandbox.state().join("agent.sock").exists());
    agent
}

#[track_caller]
fn fails(sandbox: &Sandbox, arguments: &[&str], code: i32, words: &str) {
    let run = sandbox.mastic(arguments);
    assert_eq!(run.code, code, "{run}");
    assert!(run.stderr.contains(words), "{run}");
}

fn running(name: &str) -> String {
    try_docker(&["inspect", "-f", "{{.State.Running}}", name]).unwrap_or_default().trim().to_owned()
}

fn id(name: &str) -> String {
    docker(&["inspect", "-f", "{{.Id}}", name])
}

#[test]
fn a_site_is_applied_looked_at_and_destroyed_without_an_agent() {
    let sandbox = with_site();
    let (web, db) = (sandbox.name("web"), sandbox.name("db"));
    let applied = sandbox.mastic(&["apply", "--timeout", "2m"]);
    assert_eq!(applied.code, 0, "{applied}");
    assert!(applied.stderr.starts_with("Applying "), "{applied}");
    assert!(applied.stdout.starts_with("converged: 2 as desired in "), "{applied}");
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    assert_eq!(sandbox.mastic(&["diff"]).code, 0);
    assert_eq!(sandbox.mastic(&["status", "-o", "json"]).json()["ready"], true);
    let before = id(&web);
    sandbox.mastic(&["apply"]).ok();
    assert_eq!(id(&web), before);

    let logs = sandbox.mastic(&["logs", &web]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("started\n", "trouble\n"));
    let lines = sandbox.mastic(&["logs", &web, "-o", "json"]).ok();
    assert!(lines.contains(r#""stream":"stderr","line":"trouble""#), "{lines}");
    let exec = sandbox.mastic(&["exec", &web, "--", "sh", "-c", "cat /etc/web.conf; exit 3"]);
    assert_eq!((exec.code, exec.stdout.as_str()), (3, "hello\n"), "{exec}");
    fails(&sandbox, &["exec", "nonsense", "--", "true"], 64, "there is no service or job");
    let history = sandbox.mastic(&["history", "-o", "json"]).json();
    assert_eq!((&history[0]["generation"], &history[0]["in_force"]), (&1.into(), &true.into()), "{history}");
    assert!(sandbox.mastic(&["events", "--service", &web]).ok().contains("Started"));
    assert!(sandbox.mastic(&["why", &web]).ok().contains("running and ready"));
    assert!(sandbox.mastic(&["describe", &web]).ok().contains("/etc/web.conf"));

    // Alone, each verb does its one thing.
    sandbox.mastic(&["stop", &db, "--reason", "a new disk", "--for", "1h"]).ok();
    assert_eq!(running(&db), "false");
    assert!(sandbox.mastic(&["status"]).ok().contains("a new disk"));
    sandbox.mastic(&["wait", &db, "--for", "stopped", "--timeout", "10s"]).ok();
    sandbox.mastic(&["start", &db]).ok();
    assert_eq!(running(&db), "true");
    fails(&sandbox, &["start", &db], 64, "no `stop` hold");
    sandbox.mastic(&["restart", &web]).ok();
    assert_eq!(id(&web), before);

    fails(&sandbox, &["destroy"], 64, "--yes");
    assert_eq!(running(&web), "true");
    sandbox.mastic(&["destroy", "--yes"]).ok();
    let filter = format!("name={}", sandbox.prefix());
    assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "");
    assert!(docker(&["volume", "ls", "-q"]).contains(&sandbox.name("data")));
}

#[test]
fn what_is_in_force_can_be_looked_at_while_the_site_is_broken() {
    let sandbox = with_site();
    let web = sandbox.name("web");
    sandbox.mastic(&["apply", "--timeout", "2m"]).ok();
    sandbox.write("site.yaml", &SITE.replace("volumes: [", "volums: ["));

    let status = sandbox.mastic(&["status", "-o", "json"]).json();
    assert_eq!((&status["ready"], &status["bad_site_file"]["errors"]), (&true.into(), &1.into()), "{status}");
    let told = sandbox.mastic(&["status"]).ok();
    assert!(told.contains("volums"), "{told}");
    let why = sandbox.mastic(&["why", &web]);
    assert!(why.code == 0 && why.stdout.contains("running and ready"), "{why}");
    assert!(why.stderr.contains("The site is not valid now"), "{why}");
    assert_eq!(sandbox.mastic(&["logs", &web]).stdout, "started\n");
    // What is about the site itself says what is wrong with it.
    fails(&sandbox, &["plan"], 65, "did you mean `volumes`?");
    fails(&sandbox, &["apply"], 65, "did you mean `volumes`?");
    sandbox.mastic(&["destroy", "--yes"]).ok();
}

#[test]
fn a_saved_plan_is_applied_only_while_it_is_true() {
    let sandbox = with_site();
    let web = sandbox.name("web");
    sandbox.mastic(&["plan", "-O", "first.plan"]).ok();
    assert!(!sandbox.state().exists());
    sandbox.mastic(&["apply", "first.plan"]).ok();
    let before = id(&web);

    sandbox.write("web.conf.j2", "{{ greeting }} again\n");
    let diff = sandbox.mastic(&["diff"]);
    assert_eq!(diff.code, 1, "{diff}");
    assert!(diff.stdout.contains("-hello\n+hello again\n"), "{diff}");
    sandbox.mastic(&["plan", "-O", "second.plan"]).ok();
    docker(&["rm", "-f", &sandbox.name("db")]);
    fails(&sandbox, &["apply", "second.plan"], 1, "the plan has changed since");
    // Refused means untouched: neither the edit nor the lost container.
    assert_eq!(id(&web), before);
    assert_eq!(running(&sandbox.name("db")), "");
    assert_eq!(sandbox.mastic(&["history", "-o", "json"]).json().as_array().unwrap().len(), 1);

    sandbox.mastic(&["plan", "-O", "third.plan"]).ok();
    sandbox.mastic(&["apply", "third.plan"]).ok();
    assert_ne!(id(&web), before);
    fails(&sandbox, &["apply", "third.plan"], 1, "the plan has changed since");
    sandbox.mastic(&["destroy", "--yes", "--volumes"]).ok();
    assert!(!docker(&["volume", "ls", "-q"]).contains(&sandbox.name("data")));
}

#[test]
fn an_agent_is_operated_through_its_socket() {
    let sandbox = with_site();
    let (web, db) = (sandbox.name("web"), sandbox.name("db"));
    let mut agent = agent(&sandbox);
    sandbox.mastic(&["wait", "--timeout", "2m"]).ok();
    fails(&sandbox, &["agent"], 75, &format!("agent (process {})", agent.id()));
    let applied = sandbox.mastic(&["apply"]);
    assert!(applied.stderr.contains("through the agent"), "{applied}");

    // What is stopped stays stopped, what is paused is left alone.
    sandbox.mastic(&["stop", &db, "--no-wait"]).ok();
    sandbox.mastic(&["wait", &db, "--for", "stopped", "--timeout", "1m"]).ok();
    sandbox.mastic(&["start", &db, "--timeout", "1m"]).ok();
    sandbox.mastic(&["pause", &db, "--reason", "looking at it"]).ok();
    docker(&["kill", &db]);
    let status = sandbox.mastic(&["status"]);
    assert!(status.stdout.contains("looking at it"), "{status}");
    assert_eq!(running(&db), "false");
    sandbox.mastic(&["resume", &db]).ok();
    sandbox.mastic(&["wait", &db, "--timeout", "1m"]).ok();
    let before = docker(&["inspect", "-f", "{{.State.StartedAt}}", &web]);
    sandbox.mastic(&["restart", &web, "--timeout", "1m"]).ok();
    assert_ne!(docker(&["inspect", "-f", "{{.State.StartedAt}}", &web]), before);

    // An edit is seen, and a rollback takes it back until the next one.
    let conf = || try_docker(&["exec", &web, "cat", "/etc/web.conf"]).unwrap_or_default();
    sandbox.write("web.conf.j2", "{{ greeting }} again\n");
    sandbox.wait_for("the edit", 60, || conf() == "hello again\n");
    sandbox.mastic(&["wait", "--timeout", "1m"]).ok();
    sandbox.mastic(&["rollback", "--reason", "worse", "--timeout", "1m"]).ok();
    assert_eq!(conf(), "hello\n");
    let history = sandbox.mastic(&["history", "-o", "json"]).json();
    assert_eq!(history[2]["cause"], "rollback to 1", "{history}");
    assert!(sandbox.mastic(&["status"]).stdout.contains("worse"));

    // What cannot be read leaves all as it is, and says so.
    let good = std::fs::read_to_string(sandbox.path().join("site.yaml")).unwrap();
    sandbox.write("site.yaml", &format!("{good}\nnonsense: ["));
    sandbox.wait_for("the bad site file", 30, || {
        !sandbox.mastic(&["status", "-o", "json"]).json()["bad_site_file"].is_null()
    });
    fails(&sandbox, &["apply"], 65, "site.yaml");
    sandbox.write("site.yaml", &good);
    sandbox
        .wait_for("the good one", 30, || sandbox.mastic(&["status", "-o", "json"]).json()["bad_site_file"].is_null());
    sandbox.write("other.yaml", &good);
    fails(&sandbox, &["-f", "other.yaml", "apply"], 64, "the agent that runs here follows");
    assert!(agent.runs());

    sandbox.mastic(&["destroy", "--yes"]).ok();
    sandbox.wait_for("the agent to end", 30, || !agent.runs());
    assert_eq!(running(&web), "");
}

#[test]
fn an_agent_ends_softly_and_begins_without_a_site() {
    let sandbox = with_site();
    let first = agent(&sandbox);
    sandbox.mastic(&["wait", "--timeout", "2m"]).ok();
    let status = first.stop(20);
    assert_eq!(status.code(), Some(0));
    assert!(!sandbox.state().join("agent.sock").exists());
    assert_eq!(running(&sandbox.name("web")), "true");

    // What was accepted heals, whatever became of the site.
    std::fs::remove_file(sandbox.path().join("site.yaml")).unwrap();
    docker(&["rm", "-f", &sandbox.name("db")]);
    let second = sandbox.start(&["-f", "site.yaml", "agent"]);
    sandbox.wait_for("the lost container", 60, || running(&sandbox.name("db")) == "true");
    let status = sandbox.mastic(&["status", "-o", "json"]).json();
    assert!(status["bad_site_file"]["message"].as_str().unwrap().contains("site.yaml"), "{status}");
    sandbox.write("site.yaml", SITE);
    sandbox.wait_for("the site to be read", 30, || {
        sandbox.mastic(&["status", "-o", "json"]).json()["bad_site_file"].is_null()
    });
    assert_eq!(second.stop(20).code(), Some(0));
    sandbox.mastic(&["destroy", "--yes"]).ok();
}

#[test]
fn an_edit_waits_for_its_approval() {
    let sandbox = with_site();
    let web = sandbox.name("web");
    sandbox.write("site.yaml", &format!("{SITE}  sync: {{edits: approve}}\n"));
    sandbox.mastic(&["apply"]).ok();
    let before = id(&web);
    sandbox.write("web.conf.j2", "{{ greeting }} again\n");
    fails(&sandbox, &["apply"], 1, "wait for `mastic approve");
    assert_eq!(id(&web), before);
    let plan = sandbox.mastic(&["plan", "-o", "json"]).json()["id"].as_str().unwrap().to_owned();
    fails(&sandbox, &["approve", "000000000000"], 1, "the plan has changed since");
    sandbox.mastic(&["approve", &plan]).ok();
    assert_ne!(id(&web), before);

    let agent = agent(&sandbox);
    sandbox.write("web.conf.j2", "{{ greeting }} once more\n");
    let pending = || sandbox.mastic(&["status", "-o", "json"]).json()["pending"]["plan_id"].as_str().map(str::to_owned);
    sandbox.wait_for("the edit to wait", 30, || pending().is_some());
    sandbox.mastic(&["approve", &pending().unwrap()]).ok();
    sandbox.mastic(&["wait", "--timeout", "1m"]).ok();
    assert_eq!(docker(&["exec", &web, "cat", "/etc/web.conf"]), "hello once more\n");
    agent.stop(20);
    sandbox.mastic(&["destroy", "--yes"]).ok();
}

#[test]
fn a_status_without_an_agent_runs_no_commands_and_counts_what_was_proven() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("run", "");
    let ready = "ready: {exec: [sh, -c, 'echo x >> /asked; test -e /good'], every: 100ms}";
    let service = |word: &str| {
        sandbox.site(&format!(
            "  services:\n    @-a: {{image: '{image}', command: [sh, -c, 'touch /good; exec sleep {word}'], stop_signal: SIGKILL, {ready}}}\n"
        ))
    };
    service("1000");
    sandbox.mastic(&["apply", "--timeout", "1m"]).ok();
    let a = sandbox.name("a");
    let asked = || docker(&["exec", &a, "cat", "/asked"]);
    let before = asked();
    let status = || sandbox.mastic(&["status", "-o", "json"]).json();
    assert_eq!(status()["ready"], true, "{}", status());
    assert_eq!(asked(), before, "who only looks asks nothing in the container");

    // By the probe's word it is not ready; who only looks goes by what was proven, until the container is another.
    crate::support::recreate(&a, &[]);
    docker(&["start", &a]);
    assert_eq!(status()["ready"], false, "{}", status());
    assert!(try_docker(&["exec", &a, "cat", "/asked"]).is_err(), "nor does it in one that was never proven");
    sandbox.mastic(&["apply", "--timeout", "1m"]).ok();
    assert_eq!(status()["ready"], true, "{}", status());
}

#[test]
fn who_presses_ctrl_c_gets_130_and_the_next_run_goes_on() {
    let sandbox = with_site();
    // Never ready: the probe asks a port that nobody listens on.
    let text = SITE.replace("      init: true\n", "      init: true\n      ready: {exec: [\"false\"]}\n");
    sandbox.write("site.yaml", &text);
    let mut child = sandbox.command(&["apply"]).spawn().unwrap();
    sandbox.wait_for("the containers", 60, || running(&sandbox.name("db")) == "true");
    crate::support::command("kill", &["-s", "INT", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    fails(&sandbox, &["apply", "--timeout", "500ms"], 124, "not there in time");
    sandbox.write("site.yaml", SITE);
    sandbox.mastic(&["apply", "--timeout", "1m"]).ok();
    sandbox.mastic(&["destroy", "--yes"]).ok();
}

//! The command line as scripts and people meet it: help, exit codes, errors, the shape of JSON. No engine is needed.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Run, Sandbox};

/// A site that is valid, of two services of which one has a file with a secret.
const SITE: &str = r#"apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts: {here: {connection: {local: {}}, groups: [web]}}
  vars: {greeting: hello}
  secrets: {token: {environment: CLI_TEST_TOKEN}}
  services:
    @-web:
      hosts: [web]
      image: @-none:1
      command: [sleep, "1000"]
      pull_policy: never
      files: [{source: web.conf.j2, target: /etc/web.conf, mode: "0640"}]
    @-db:
      hosts: [web]
      image: @-none:1
      pull_policy: never
"#;

const VERBS: [&str; 29] = [
    "init",
    "validate",
    "schema",
    "explain",
    "render",
    "plan",
    "diff",
    "apply",
    "approve",
    "agent",
    "status",
    "describe",
    "why",
    "events",
    "history",
    "wait",
    "logs",
    "exec",
    "rollback",
    "restart",
    "stop",
    "start",
    "pause",
    "resume",
    "retry",
    "run-job",
    "destroy",
    "completions",
    "man",
];

fn with_site() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", SITE);
    sandbox.write("web.conf.j2", "{{ greeting }} {{ secrets.token }}\n");
    sandbox
}

/// Runs with the secret of the site at hand.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let mut command = sandbox.command(arguments);
    command.env("CLI_TEST_TOKEN", "hunter22hunter22");
    Run::of(command)
}

#[track_caller]
fn fails(sandbox: &Sandbox, arguments: &[&str], code: i32, words: &str) -> Run {
    let run = run(sandbox, arguments);
    assert_eq!(run.code, code, "{run}");
    assert!(run.stderr.contains(words), "{run}");
    assert!(!run.stderr.contains("panicked") && !run.stdout.contains("panicked"), "{run}");
    run
}

#[test]
fn each_verb_has_help_with_examples() {
    let sandbox = Sandbox::new();
    let top = sandbox.mastic(&["--help"]).ok();
    for verb in VERBS {
        assert!(top.contains(&format!("\n  {verb} ")), "{verb} is missing in\n{top}");
        let help = sandbox.mastic(&[verb, "--help"]).ok();
        assert!(help.contains("\nExamples:\n"), "{help}");
    }
}

#[test]
fn the_help_says_what_there_is() {
    let sandbox = Sandbox::new();
    let help = sandbox.mastic(&["--help"]).ok();
    let verbs = help.split("Commands:\n").nth(1).unwrap().split("\n\nOptions:").next().unwrap();
    insta::assert_snapshot!(verbs, @r"
    init         Start a site: writes a small one with comments that runs as it is
    validate     Check the site, and tell all that is wrong with it
    schema       Print the JSON Schema of a site, for editors
    roles        List the roles that there are, describe one, or check it
    secrets      Make, list, edit and change the site's secrets
    certs        Make, list and renew the certificates of the site's own authority
    explain      Tell where a value of the site comes from
    render       Show the files that are mounted into containers, as rendered
    build        Build the images of roles
    images       Find out what the tags of images mean, and keep it in the lock of images
    push         Publish the site for agents that meet in etcd
    plan         Show what would change, and why
    diff         Show what would change as unified diffs
    apply        Bring the host to its desired state, and wait until it is there
    approve      Let an edit go on that waits for a person
    agent        Keep this host in its desired state
    controller   Keep all hosts that can be reached from here in their desired state
    status       Show how things are
    describe     Show all that is known of a service or job
    why          Tell why a service is, was or will be changed
    events       Show what happened
    history      Show the desired states that were accepted
    wait         Wait until a service, or all, is as asked for
    logs         Show what a service writes
    exec         Run a command in the container of a service
    rollback     Go back to an older desired state, until the source changes
    restart      Restart a service
    recover      Begin a procedure of a role, as the recovery of a cluster
    stop         Stop a service and keep it stopped
    start        End a stop
    pause        Leave a service, or the whole host, as it is
    resume       End a pause
    cordon       Begin nothing on a host that takes down what runs there
    uncordon     End a cordon
    freeze       Take no edit; what was taken goes on and is healed
    unfreeze     End a freeze
    host         Take a machine that was set up anew, or forget one
    retry        Try a spec once more that has failed
    run-job      Run a job once more
    destroy      Remove all of the site from this host
    completions  Print completions for a shell
    man          Write the manual pages into a directory
    help         Print this message or the help of the given subcommand(s)
    ");
    insta::assert_snapshot!(sandbox.mastic(&["stop", "-h"]).ok().split("Options:\n").next().unwrap(), @r"
    Stop a service and keep it stopped

    Usage: mastic stop [OPTIONS] [SERVICE]

    Arguments:
      [SERVICE]  Which
    ");
}

#[test]
fn what_makes_no_sense_is_64() {
    let sandbox = Sandbox::new();
    fails(&sandbox, &[], 64, "Usage:");
    fails(&sandbox, &["plna"], 64, "plan");
    fails(&sandbox, &["plan", "-o", "xml"], 64, "xml");
    fails(&sandbox, &["plan", "-e", "novalue"], 64, "NAME=VALUE");
    fails(&sandbox, &["stop", "../x"], 64, "a name takes letters");
    fails(&sandbox, &["stop", "web", "--for", "soon"], 64, "no length of time");
    fails(&sandbox, &["exec", "web"], 64, "COMMAND");
    fails(&sandbox, &["validate"], 64, "no site was named");
    fails(&sandbox, &["apply"], 64, "hint: give one with `-f PATH`");
    assert!(!sandbox.state().exists());
}

#[test]
fn an_invalid_site_is_65_with_its_place_as_text_and_json() {
    let sandbox = Sandbox::new();
    let text = SITE.replace("image: @-none:1\n      command", "imgae: @-none:1\n      command");
    sandbox.write("site.yaml", &text);
    sandbox.write("web.conf.j2", "");
    for verb in ["validate", "plan", "apply", "diff", "render"] {
        let run = fails(&sandbox, &[verb], 65, "site.yaml:11:7");
        assert!(run.stderr.contains("did you mean `image`?"), "{run}");
        assert!(run.stdout.is_empty(), "{run}");
        let json = fails(&sandbox, &[verb, "-o", "json"], 65, "").json();
        assert_eq!(json["valid"], false);
        assert_eq!(json["diagnostics"][0]["place"]["line"], 11, "{json}");
    }
    let colour = run(&sandbox, &["validate", "--color", "always"]);
    assert!(colour.stderr.contains("\u{1b}["), "{colour}");
    assert!(!sandbox.state().join("accepted.json").exists());
}

#[test]
fn verbs_that_read_create_nothing() {
    let sandbox = with_site();
    assert_eq!(run(&sandbox, &["validate"]).code, 0);
    assert_eq!(run(&sandbox, &["plan"]).code, 0);
    assert_eq!(run(&sandbox, &["plan", "--detailed-exitcode"]).code, 2);
    assert_eq!(run(&sandbox, &["diff"]).code, 1);
    assert_eq!(run(&sandbox, &["status"]).code, 1);
    assert_eq!(run(&sandbox, &["explain", "vars.greeting"]).code, 0);
    assert_eq!(run(&sandbox, &["render"]).code, 0);
    assert_eq!(run(&sandbox, &["why", &sandbox.name("web")]).code, 0);
    assert_eq!(run(&sandbox, &["describe", &sandbox.name("web")]).code, 0);
    assert_eq!(run(&sandbox, &["events"]).code, 0);
    fails(&sandbox, &["wait", "--timeout", "300ms"], 124, "not there in time");
    fails(&sandbox, &["describe", "nonsense"], 64, "there is no service or job `nonsense`");
    assert!(!sandbox.state().exists());
}

#[test]
fn what_was_never_applied_is_told_in_words() {
    let sandbox = Sandbox::new();
    for verb in [
        &["status"][..],
        &["plan"],
        &["history"],
        &["stop", "web"],
        &["restart", "web"],
        &["rollback"],
        &["destroy", "--yes"],
        &["logs", "web"],
        &["describe", "web"],
        &["why", "web"],
    ] {
        fails(&sandbox, verb, 1, "nothing was ever applied");
    }
    fails(&sandbox, &["diff"], 2, "nothing was ever applied");
    assert!(!sandbox.state().exists());
}

#[test]
fn an_engine_that_is_not_there_is_an_error_in_words() {
    let sandbox = with_site();
    // An empty plan would say that nothing is to be done, where nothing is known.
    for arguments in [&["plan"][..], &["plan", "--detailed-exitcode"], &["plan", "-O", "first.plan"], &["diff"]] {
        let mut command = sandbox.command(arguments);
        command.env("CLI_TEST_TOKEN", "x".repeat(16)).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let run = Run::of(command);
        // As with diff(1), 1 would be a difference.
        assert_eq!(run.code, if arguments[0] == "diff" { 2 } else { 1 }, "{run}");
        assert!(run.stderr.contains("nothing can be planned: the engine cannot be reached"), "{run}");
    }
    assert!(!sandbox.path().join("first.plan").exists());
}

#[test]
fn who_finds_the_state_locked_gets_75_and_hears_by_whom() {
    let sandbox = with_site();
    std::fs::create_dir(sandbox.state()).unwrap();
    let lock = std::fs::File::create(sandbox.state().join("lock")).unwrap();
    lock.try_lock().unwrap();
    std::fs::write(sandbox.state().join("lock"), "4711 agent\n").unwrap();
    fails(&sandbox, &["apply"], 75, "locked by agent (process 4711)");
    fails(&sandbox, &["agent"], 75, "locked by agent (process 4711)");
    assert_eq!(run(&sandbox, &["plan"]).code, 0);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
    assert_eq!(errors, "");
}

#[test]
fn init_writes_a_site_that_is_valid_and_overwrites_nothing() {
    let sandbox = Sandbox::new();
    sandbox.mastic(&["init", "new/site"]).ok();
    let validated = sandbox.mastic(&["validate", "-f", "new/site/site.yaml", "-o", "json"]);
    assert_eq!(validated.json()["valid"], true);
    std::fs::write(sandbox.path().join("new/site/site.yaml"), "mine").unwrap();
    fails(&sandbox, &["init", "new/site"], 1, "exists already");
    assert_eq!(std::fs::read_to_string(sandbox.path().join("new/site/site.yaml")).unwrap(), "mine");
}

#[test]
fn rendered_files_have_placeholders_unless_they_are_to_be_revealed() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = with_site();
    let web = sandbox.name("web");
    assert_eq!(run(&sandbox, &["render", "--out", "shown"]).code, 0);
    let shown = std::fs::read_to_string(sandbox.path().join("shown").join(&web).join("etc/web.conf")).unwrap();
    assert_eq!(shown, "hello «secret:token»\n");
    fails(&sandbox, &["render", "--out", "shown"], 1, "is not empty");
    fails(&sandbox, &["render", "--reveal"], 64, "--out");
    assert_eq!(run(&sandbox, &["render", "--out", "real", "--reveal"]).code, 0);
    let real = sandbox.path().join("real").join(&web).join("etc/web.conf");
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "hello hunter22hunter22\n");
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(sandbox.path().join("real").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let list = run(&sandbox, &["render", "-o", "json"]).json();
    assert_eq!(list[0]["target"], "/etc/web.conf");
    assert_eq!(list[0]["mode"], "0640");
}

#[test]
fn explain_names_the_place() {
    let sandbox = with_site();
    let told = run(&sandbox, &["explain", "vars.greeting", "-o", "json"]).json();
    assert_eq!(told["value"], "hello");
    assert!(told["source"]["place"].as_str().unwrap().ends_with("site.yaml:6:10"), "{told}");
    let over = run(&sandbox, &["explain", "vars.greeting", "-e", "greeting=bye", "-o", "json"]).json();
    assert_eq!(over["value"], "bye");
    assert_eq!(over["source"]["layer"], "-e");
    fails(&sandbox, &["explain", "services.nonsense"], 64, "nonsense");
}

#[test]
fn the_json_of_plan_and_status_has_its_stable_names() {
    let sandbox = with_site();
    let plan = run(&sandbox, &["plan", "-o", "json"]);
    let value = plan.json();
    assert_eq!(value["site"], sandbox.prefix());
    assert_eq!(value["generation"], 1);
    assert_eq!(value["changes"], 2);
    assert!(value["id"].is_string());
    let action = &value["actions"][0];
    assert_eq!(action["host"], "here");
    assert_eq!(action["service"], sandbox.name("web"));
    assert!(action["kind"].is_string() && action["disruption"].is_string(), "{action}");
    for cause in action["causes"].as_array().unwrap() {
        let names: Vec<&String> = cause.as_object().unwrap().keys().collect();
        assert_eq!(names, ["field", "from", "to"]);
    }
    let yaml = run(&sandbox, &["plan", "-o", "yaml"]).ok();
    let same: Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(same["actions"], value["actions"]);
    let one = run(&sandbox, &["plan", "-o", "json", "--service", &sandbox.name("db")]).json();
    assert_eq!(one["changes"], 1);

    let status = run(&sandbox, &["status", "-o", "json"]).json();
    assert_eq!(status["site"], sandbox.prefix());
    assert_eq!(status["ready"], false);
    let host = &status["hosts"][0];
    assert_eq!((host["name"].as_str(), host["reachable"].as_bool()), (Some("here"), Some(true)));
    let instance = &host["instances"][0];
    for name in ["service", "ready", "state", "spec_hash", "generation"] {
        assert!(!instance[name].is_null(), "{name} is missing in {instance}");
    }
    for condition in instance["conditions"].as_array().unwrap() {
        for name in ["type", "status", "reason", "message"] {
            assert!(condition[name].is_string(), "{condition}");
        }
    }
}

#[test]
fn a_plan_that_is_none_is_refused() {
    let sandbox = with_site();
    sandbox.write("no.plan", "{}");
    fails(&sandbox, &["apply", "no.plan"], 64, "this is no saved plan");
    fails(&sandbox, &["apply", "missing.plan"], 64, "missing.plan: No such file or directory");
}

#[test]
fn nothing_is_destroyed_where_nobody_can_be_asked() {
    let sandbox = with_site();
    std::fs::create_dir(sandbox.state()).unwrap();
    // Never read: the question comes first.
    let run_plan = run(&sandbox, &["plan", "-O", "one.plan"]);
    assert_eq!(run_plan.code, 0, "{run_plan}");
    fails(&sandbox, &["destroy"], 1, "nothing was ever applied");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.mastic(&["completions", shell]).ok();
        assert!(script.contains("rollback"), "{shell}");
    }
    sandbox.mastic(&["man", "pages"]).ok();
    for verb in VERBS {
        let page = std::fs::read_to_string(sandbox.path().join(format!("pages/mastic-{verb}.1"))).unwrap();
        assert!(page.contains(".TH"), "{verb}");
    }
    assert!(std::fs::read_to_string(sandbox.path().join("pages/mastic.1")).unwrap().contains("mastic\\-plan"));
}

#[test]
fn a_machine_that_left_the_site_is_forgotten_with_its_slots() {
    let sandbox = Sandbox::new();
    sandbox.write("fleet.yaml", "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: @}\nspec: {hosts: {here: {connection: {local: {}}}, there: {address: 192.0.2.1, connection: {ssh: {}}}}, services: {}}\n");
    sandbox.write("state/hosts/gone/memory.json", "{}");
    let slot = |host: &str| format!(r#"{{"service": "web", "host": "{host}", "generation": 1, "since": 0}}"#);
    sandbox.write("state/slots.json", &format!("[{}, {}]", slot("gone"), slot("here")));
    let blind = sandbox.mastic(&["host", "forget", "gone"]);
    assert!(blind.code != 0 && blind.stderr.contains("no site"), "who is in the site is not known: {blind}");
    let site = sandbox.path().join("fleet.yaml").display().to_string();
    let forget = |host: &str| sandbox.mastic(&["-f", &site, "host", "forget", host]);
    let member = forget("here");
    assert!(member.code == 1 && member.stderr.contains("here is in the site"), "{member}");
    let unknown = forget("never");
    assert!(unknown.code == 1 && unknown.stderr.contains("nothing is known of a host `never`"), "{unknown}");
    assert_eq!(forget("gone").code, 0);
    assert!(!sandbox.state().join("hosts/gone").exists());
    let slots = std::fs::read_to_string(sandbox.state().join("slots.json")).unwrap();
    assert!(slots.contains("here") && !slots.contains("gone"), "{slots}");
}

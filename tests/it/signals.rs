//! What the agent does on signals, and how a person is asked at a terminal.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::{Run, Sandbox, docker, look};

fn write(sandbox: &Sandbox, image: &str, word: &str) {
    sandbox.site(
        &format!(
            "  services:
    @-deaf:
      image: '{image}'
      command: [sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"]
      stop_grace_period: GRACE
    @-plain: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, environment: {{WORD: {word}}}}}
"
        )
        .replace("GRACE", if word == "short" { "2s" } else { "1h" }),
    );
}

fn state(sandbox: &Sandbox, name: &str) -> String {
    look(&sandbox.name(name), "{{.State.Status}}")
}

#[test]
fn sighup_reads_the_site_anew() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("signals", "");
    write(&sandbox, &image, "one");
    let mut agent = sandbox.agent(&[]);
    sandbox.mastic(&["wait", "--timeout", "60s"]).ok();
    let read = || sandbox.mastic(&["events", "-o", "json"]).ok().matches("SiteRead").count();
    let before = read();
    // Through another name of the same file, of which no watcher tells.
    let link = sandbox.path().join("elsewhere");
    fs::hard_link(sandbox.path().join("site.yaml"), &link).unwrap();
    let text = fs::read_to_string(&link).unwrap();
    fs::write(&link, text.replace("WORD: one", "WORD: two")).unwrap();
    agent.signal("HUP");
    let word = || look(&sandbox.name("plain"), "{{range .Config.Env}}{{println .}}{{end}}");
    sandbox.wait_for("the edit", 30, || word().contains("WORD=two"));
    assert!(read() > before);
    // A bad site is no reason to end.
    fs::write(&link, "nonsense: [").unwrap();
    agent.signal("HUP");
    sandbox.wait_for("the bad site", 30, || !sandbox.status()["bad_site_file"].is_null());
    assert!(agent.runs());
    agent.stop(20);
    docker(&["kill", &sandbox.name("deaf")]);
}

#[test]
fn a_signal_lets_the_step_under_way_end_and_a_second_one_does_not_wait() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("signals", "");
    write(&sandbox, &image, "short");
    let stop = || sandbox.mastic(&["stop", &sandbox.name("deaf"), "--no-wait"]).ok();
    let stopping =
        || sandbox.instance(&sandbox.name("deaf"))["next_step"].as_str().is_some_and(|step| step.starts_with("stop"));
    let agent = sandbox.agent(&[]);
    sandbox.mastic(&["wait", "--timeout", "60s"]).ok();
    stop();
    sandbox.wait_for("the stop to begin", 20, stopping);
    assert_eq!(agent.stop(20).code(), Some(0));
    assert_eq!(state(&sandbox, "deaf"), "exited", "it was seen to its end");

    sandbox.mastic(&["start", &sandbox.name("deaf"), "--timeout", "30s"]).ok();
    write(&sandbox, &image, "long");
    sandbox.mastic(&["apply", "--timeout", "60s"]).ok();
    let mut agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == true);
    stop();
    sandbox.wait_for("the stop to begin", 20, stopping);
    agent.signal("TERM");
    sandbox.wait_for("the end to begin", 20, || agent.log().matches("ending; the containers stay").count() == 2);
    assert!(agent.runs() && state(&sandbox, "deaf") == "running", "it waits for the step");
    agent.signal("TERM");
    assert_eq!(agent.wait(5).code(), Some(130), "{}", agent.log());
    // The socket of one that ended so is in nobody's way, and the next goes on with the same.
    docker(&["kill", &sandbox.name("deaf")]);
    let agent = sandbox.agent(&[]);
    sandbox.mastic(&["wait", &sandbox.name("deaf"), "--for", "stopped", "--timeout", "30s"]).ok();
    agent.stop(20);
}

/// Runs `mastic destroy` at a terminal, as far as it can tell.
fn destroy(sandbox: &Sandbox, answer: &str) -> Run {
    let mastic = sandbox.command(&["destroy"]);
    let line = format!("'{}' destroy", mastic.get_program().to_string_lossy());
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(sandbox.path()).env("MASTIC_STATE_DIR", sandbox.state());
    command.env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It stays open: the end of it would be an answer, too.
    let mut input = child.stdin.take().unwrap();
    input.write_all(answer.as_bytes()).unwrap();
    Run::ended(child, input)
}

#[test]
fn destroy_asks_and_only_yes_is_a_yes() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("signals", "");
    write(&sandbox, &image, "short");
    sandbox.mastic(&["apply", "--timeout", "60s"]).ok();
    let before = sandbox.lives();
    for no in ["n\n", "\n", "nonsense\n", "\u{4}"] {
        let run = destroy(&sandbox, no);
        assert!(run.code == 1 && run.stdout.contains("nothing was destroyed"), "{no:?}: {run}");
        assert!(run.stdout.contains("Do it? [y/N]") && run.stdout.contains(&sandbox.name("plain")), "{run}");
        assert!(run.stdout.contains("named volumes stay"), "{run}");
    }
    assert_eq!(sandbox.lives(), before);
    let run = destroy(&sandbox, "Y\n");
    assert_eq!(run.code, 0, "{run}");
    assert!(sandbox.containers().is_empty());
}

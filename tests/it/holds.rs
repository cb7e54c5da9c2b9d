//! A person's word: stop, pause, restart, rollback, retry, destroy; with an agent and without one.

use serde_json::json;

use crate::support::{Sandbox, docker, life, look, try_docker};

/// Two services, the first with an environment, a file and volumes.
fn write(sandbox: &Sandbox, image: &str, word: &str) {
    sandbox.site(&format!(
        "  volumes: {{@-data: {{}}}}
  networks: {{@-net: {{}}}}
  defaults: {{container: {{command: [sleep, '1000'], stop_signal: SIGKILL}}}}
  services:
    @-a:
      image: '{image}'
      environment: {{WORD: {word}}}
      volumes: ['@-data:/data', /scratch]
      networks: [@-net]
      files: [{{content: 'file {word}', target: /etc/file}}]
      rollout: {{deadline: 10s}}
    @-b: {{image: '{image}'}}
"
    ));
}

fn start(word: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let image = sandbox.image("held", "");
    write(&sandbox, &image, word);
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    (sandbox, image)
}

fn state(sandbox: &Sandbox, name: &str) -> String {
    look(&sandbox.name(name), "{{.State.Status}}")
}

/// What the process of `a` sees of the edit; an error while its container is being replaced.
fn word(sandbox: &Sandbox) -> String {
    try_docker(&["exec", &sandbox.name("a"), "sh", "-c", "echo $WORD; cat /etc/file"]).unwrap_or_else(|error| error)
}

/// What an agent does is done after a while: it looks again, and again does nothing.
#[track_caller]
fn nothing_happens(sandbox: &Sandbox, agent: &crate::support::Background) {
    let before = sandbox.lives();
    agent.signal("HUP");
    // Something that it does heal shows that it has been awake.
    docker(&["rm", "-f", &sandbox.name("b")]);
    sandbox.wait_for("the agent to be awake", 30, || state(sandbox, "b") == "running");
    for (name, life) in sandbox.lives().into_iter().filter(|(name, _)| *name != sandbox.name("b")) {
        assert_eq!(Some(&life), before.get(&name), "{name}");
    }
}

#[test]
fn what_was_stopped_stays_stopped_until_it_is_started() {
    let (sandbox, _) = start("one");
    let a = sandbox.name("a");
    let agent = sandbox.agent(&[]);
    sandbox.mastic(&["stop", &a, "--reason", "new disk", "--timeout", "20s"]).ok();
    assert_eq!(state(&sandbox, "a"), "exited");
    nothing_happens(&sandbox, &agent);
    let status = sandbox.status();
    assert_eq!(status["holds"][0]["reason"], json!("new disk"), "{status}");
    // Somebody who starts it past the hold is not followed.
    docker(&["start", &a]);
    sandbox.wait_for("the hold to be kept", 30, || state(&sandbox, "a") == "exited");
    // It outlives the agent, and an apply.
    agent.stop(20);
    sandbox.mastic(&["apply", "--timeout", "30"]).ok();
    assert_eq!(state(&sandbox, "a"), "exited");
    let agent = sandbox.agent(&[]);
    nothing_happens(&sandbox, &agent);
    sandbox.mastic(&["start", &a, "--timeout", "30s"]).ok();
    assert_eq!(state(&sandbox, "a"), "running");
    agent.stop(20);
    // And all that without an agent.
    sandbox.mastic(&["stop", &a, "--timeout", "20s"]).ok();
    assert_eq!(state(&sandbox, "a"), "exited");
    sandbox.mastic(&["start", &a, "--timeout", "30s"]).ok();
    assert_eq!(state(&sandbox, "a"), "running");
    assert_eq!(sandbox.status()["holds"], json!([]));
}

#[test]
fn what_is_paused_is_neither_healed_nor_changed_until_it_goes_on() {
    let (sandbox, image) = start("one");
    let a = sandbox.name("a");
    let agent = sandbox.agent(&[]);
    sandbox.mastic(&["pause", &a, "--reason", "debugging"]).ok();
    docker(&["kill", &a]);
    write(&sandbox, &image, "two");
    nothing_happens(&sandbox, &agent);
    assert_eq!(state(&sandbox, "a"), "exited");
    sandbox.mastic(&["resume", &a]).ok();
    sandbox.wait_for("the edit", 30, || word(&sandbox) == "two\nfile two");

    // One that ends by itself.
    sandbox.mastic(&["pause", "--for", "2s", "--reason", "moving racks"]).ok();
    docker(&["kill", &a]);
    sandbox.wait_for("the end of the pause", 30, || state(&sandbox, "a") == "running");
    agent.stop(20);
}

#[test]
fn a_restart_is_one_restart_of_the_same_container() {
    let (sandbox, _) = start("one");
    let agent = sandbox.agent(&[]);
    for agent in [Some(agent), None] {
        let (id, before) = (look(&sandbox.name("a"), "{{.Id}}"), life(&sandbox.name("a")));
        let other = life(&sandbox.name("b"));
        sandbox.mastic(&["restart", &sandbox.name("a"), "--timeout", "30s"]).ok();
        let after = life(&sandbox.name("a"));
        assert_ne!(after, before);
        assert_eq!(look(&sandbox.name("a"), "{{.Id}}"), id);
        sandbox.mastic(&["apply", "--timeout", "30"]).ok();
        assert_eq!((life(&sandbox.name("a")), life(&sandbox.name("b"))), (after, other), "once");
        if let Some(agent) = agent {
            agent.stop(20);
        }
    }
}

#[test]
fn a_rollback_goes_back_and_stays_there_until_the_next_edit() {
    let (sandbox, image) = start("one");
    let agent = sandbox.agent(&[]);
    write(&sandbox, &image, "two");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(word(&sandbox), "two\nfile two");
    docker(&["exec", &sandbox.name("a"), "sh", "-c", "echo kept > /data/f; echo kept > /scratch/f"]);
    let other = life(&sandbox.name("b"));
    let generation = sandbox.status()["generation"].as_u64().unwrap();

    sandbox.mastic(&["rollback", "--reason", "errors", "--timeout", "60s"]).ok();
    assert_eq!(word(&sandbox), "one\nfile one");
    assert_eq!(docker(&["exec", &sandbox.name("a"), "cat", "/data/f", "/scratch/f"]), "kept\nkept\n");
    assert_eq!(sandbox.status()["generation"].as_u64().unwrap(), generation + 1, "the old content as a new generation");
    let back = life(&sandbox.name("a"));
    assert_eq!(life(&sandbox.name("b")), other);
    nothing_happens(&sandbox, &agent);
    assert_eq!(life(&sandbox.name("a")), back, "the source of the newer one is still there, and does not come back");
    agent.stop(20);
    let agent = sandbox.agent(&[]);
    nothing_happens(&sandbox, &agent);

    write(&sandbox, &image, "three");
    sandbox.wait_for("the next edit", 60, || word(&sandbox) == "three\nfile three");
    agent.stop(20);
}

#[test]
fn what_failed_is_tried_once_more_when_asked() {
    let (sandbox, image) = start("one");
    let bad = sandbox.image("later", "ENTRYPOINT [\"/bin/sh\", \"-c\", \"exit 3\", \"--\"]");
    let agent = sandbox.agent(&[]);
    write(&sandbox, &bad, "two");
    let apply = sandbox.mastic(&["apply", "--timeout", "60"]);
    assert_eq!(apply.code, 1, "{apply}");
    assert_eq!(word(&sandbox), "one\nfile one");
    // The fault was the image's, and the image has been mended.
    docker(&["tag", &image, &bad]);
    nothing_happens(&sandbox, &agent);
    sandbox.mastic(&["apply", "--retry", "--timeout", "60"]).ok();
    assert_eq!(word(&sandbox), "two\nfile two");
    assert_eq!(sandbox.containers(), [sandbox.name("a"), sandbox.name("b")].into(), "nothing is left over");
    agent.stop(20);
}

#[test]
fn destroy_leaves_nothing_but_volumes_and_those_only_until_it_is_told() {
    for with_agent in [true, false] {
        let (sandbox, image) = start("one");
        docker(&["exec", &sandbox.name("a"), "sh", "-c", "echo kept > /data/f"]);
        let mut agent = with_agent.then(|| sandbox.agent(&[]));
        docker(&["run", "-d", "--name", &sandbox.name("foreign"), &image, "sleep", "1000"]);
        assert_ne!(sandbox.mastic(&["destroy"]).code, 0, "nobody was asked");
        sandbox.mastic(&["destroy", "--yes"]).ok();
        assert_eq!(sandbox.containers(), [sandbox.name("foreign")].into());
        assert!(try_docker(&["network", "inspect", &sandbox.name("net")]).is_err());
        assert!(try_docker(&["volume", "inspect", &sandbox.name("data")]).is_ok());
        if let Some(agent) = &mut agent {
            sandbox.wait_for("the agent to end", 20, || !agent.runs());
        }
        sandbox.mastic(&["apply", "--timeout", "60"]).ok();
        assert_eq!(docker(&["exec", &sandbox.name("a"), "cat", "/data/f"]), "kept\n");
        sandbox.mastic(&["destroy", "--volumes", "--yes"]).ok();
        assert!(try_docker(&["volume", "inspect", &sandbox.name("data")]).is_err());
    }
}

#[test]
fn a_spec_that_failed_is_tried_again_when_asked_by_name() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("retried", "");
    std::fs::create_dir(sandbox.path().join("flags")).unwrap();
    let flags = sandbox.path().join("flags").to_string_lossy().into_owned();
    let write = |command: &str| {
        sandbox.site(&format!(
                "  services:\n    \
                 @-a: {{image: '{image}', command: [sh, -c, '{command}'], stop_signal: SIGKILL, volumes: ['{flags}:/flags'], \
                 rollout: {{deadline: 5s}}}}\n    @-b: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL}}\n"
            ),
        );
    };
    write("sleep 1000");
    let agent = sandbox.agent(&[]);
    sandbox.mastic(&["wait", "--timeout", "60s"]).ok();
    let a = sandbox.name("a");
    let command = || look(&a, "{{index .Config.Cmd 2}} {{.State.Status}}");
    write("cat /flags/there && sleep 1001");
    sandbox.wait_for("the rollback", 60, || {
        !sandbox.instance(&a)["quarantined"].is_null() && command() == "sleep 1000 running"
    });
    let other = sandbox.mastic(&["retry", &sandbox.name("b")]);
    assert!(other.code == 64 && other.stderr.contains("has not failed"), "{other}");
    // What it missed is there now; the spec is the same, so only a word makes it be tried again.
    std::fs::write(sandbox.path().join("flags/there"), "").unwrap();
    nothing_happens(&sandbox, &agent);
    assert_eq!(command(), "sleep 1000 running");
    sandbox.mastic(&["retry", &a]).ok();
    sandbox.wait_for("the spec that failed before", 60, || command() == "cat /flags/there && sleep 1001 running");
    sandbox.mastic(&["wait", "--timeout", "60s"]).ok();
    assert!(sandbox.instance(&a)["quarantined"].is_null());
    agent.stop(20);
}

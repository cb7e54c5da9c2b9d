//! The agent's disk is full or read-only: that is told, what runs goes on, what dies is healed, and once the disk is well
//! again everything comes right by itself.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Disk, Sandbox, docker, life, look, try_docker};

fn write(sandbox: &Sandbox, image: &str, word: &str) {
    sandbox.site(&format!(
        "  defaults: {{container: {{command: [sleep, '1000'], stop_signal: SIGKILL}}}}
  services:
    @-a: {{image: '{image}', files: [{{content: 'it is {word}', target: /etc/word}}]}}
    @-b: {{image: '{image}'}}
"
    ));
}

/// A converged site whose state directory is a disk of its own.
fn applied() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let image = sandbox.image("disk", "");
    write(&sandbox, &image, "one");
    (sandbox, image)
}

fn word(sandbox: &Sandbox) -> String {
    try_docker(&["exec", &sandbox.name("a"), "cat", "/etc/word"]).unwrap_or_default()
}

/// Something dies and is brought back, while the other service is left alone.
#[track_caller]
fn heals(sandbox: &Sandbox, when: &str) {
    let (a, b) = (sandbox.name("a"), sandbox.name("b"));
    let other = life(&a);
    let before = look(&b, "{{.Id}}");
    docker(&["rm", "-f", &b]);
    sandbox.wait_for(&format!("healing {when}"), 30, || {
        let id = look(&b, "{{.Id}}");
        id != before && look(&b, "{{.State.Status}}") == "running"
    });
    assert_eq!(life(&a), other, "{when}");
}

/// Whether the status says that the edit could not be kept, and why.
fn refused(sandbox: &Sandbox, why: &str) -> bool {
    let status = sandbox.status();
    let message = status["bad_site_file"]["message"].as_str().unwrap_or_default();
    message.contains("the new generation cannot be kept") && message.contains(why)
}

fn complaint(status: &Value) -> String {
    format!("{} {}", status["last_error"], status["bad_site_file"]["message"])
}

#[test]
fn a_full_disk_holds_up_edits_and_nothing_else() {
    let (sandbox, image) = applied();
    let disk = Disk::at(&sandbox.state());
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let mut agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));

    let filling = disk.fill();
    heals(&sandbox, "on a full disk");
    let before = sandbox.lives();
    write(&sandbox, &image, "two");
    let message = "No space left on device";
    sandbox.wait_for("the edit to be refused", 30, || refused(&sandbox, message));
    assert!(sandbox.mastic(&["status"]).stdout.contains(message));
    let apply = sandbox.mastic(&["apply", "--timeout", "10s"]);
    assert!(apply.code != 0 && apply.stderr.contains(message), "{apply}");
    // Neither is an end begun that could not be kept.
    let destroy = sandbox.mastic(&["destroy", "--yes"]);
    assert!(destroy.code != 0 && destroy.stderr.contains(message), "{destroy}");
    assert_eq!(sandbox.lives(), before);
    assert_eq!(word(&sandbox), "it is one");
    heals(&sandbox, "after a refused edit");
    assert!(agent.runs());

    fs::remove_file(filling).unwrap();
    sandbox.wait_for("the edit once there is room", 30, || word(&sandbox) == "it is two");
    sandbox.wait_for("the complaint to end", 30, || complaint(&sandbox.status()) == "null null");
    assert_eq!(sandbox.mastic(&["history", "-o", "json"]).json().as_array().unwrap().len(), 2);
    agent.stop(20);
    drop(disk);
}

#[test]
fn files_that_do_not_fit_are_told_of_and_tried_again() {
    let (sandbox, image) = applied();
    // Room for the state, none for files.
    let disk = Disk::at(&sandbox.state().join("files"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));
    let filling = disk.fill();
    let before = life(&sandbox.name("a"));
    write(&sandbox, &image, "two");
    sandbox.wait_for("the failure to be told", 30, || {
        sandbox.instance(&sandbox.name("a"))["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("No space left on device"))
    });
    heals(&sandbox, "while files do not fit");
    assert_eq!(life(&sandbox.name("a")), before);
    assert!(sandbox.instance(&sandbox.name("a"))["quarantined"].is_null(), "the spec is not at fault");
    fs::remove_file(filling).unwrap();
    sandbox.wait_for("the edit once there is room", 60, || word(&sandbox) == "it is two");
    agent.stop(20);
    drop(disk);
}

#[test]
fn a_read_only_state_directory_holds_up_edits_and_nothing_else() {
    let (sandbox, image) = applied();
    let disk = Disk::at(&sandbox.state());
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));

    disk.make_read_only();
    heals(&sandbox, "on a read-only disk");
    let message = "Read-only file system";
    write(&sandbox, &image, "two");
    sandbox.wait_for("the edit to be refused", 30, || refused(&sandbox, message));
    heals(&sandbox, "after a refused edit");
    agent.kill();

    // An agent that begins on such a disk has no socket; it heals all the same.
    let begun = sandbox.start(&["agent"]);
    heals(&sandbox, "by an agent that began on a read-only disk");
    assert_eq!(word(&sandbox), "it is one");
    disk.make_writable();
    sandbox.wait_for("the edit once it can be written", 30, || word(&sandbox) == "it is two");
    let asked = || sandbox.mastic(&["apply", "--timeout", "10s"]).stderr.contains("through the agent");
    sandbox.wait_for("the agent to be asked", 30, asked);
    begun.stop(20);
    drop(disk);
}

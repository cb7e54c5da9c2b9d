//! A site on a host that only sshd and an engine run on: files reach it through the engine, with nothing else there.

use serde_json::json;

use super::support::{Lab, Sandbox};

/// A site of one service on h1, with a file that is mounted alone and one in a directory.
fn write(lab: &Lab, sandbox: &Sandbox, image: &str, word: &str) {
    let (user, password) = lab.registry_login();
    let secret = sandbox.write("password", password);
    std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    sandbox.write(
        "site.yaml",
        &format!(
            "apiVersion: mastic/v1
kind: Site
metadata: {{name: @}}
spec:
  hosts:
    h1:
      address: {address}
      connection: {{ssh: {{user: deploy, identity_file: {key}, known_hosts: {hosts}, config: false, agent: false}}}}
  secrets: {{password: {{file: password}}}}
  images: {{auth: {{'{registry}': {{username: {user}, password: {{secret: password}}}}}}}}
  services:
    @-a:
      hosts: [h1]
      image: '{image}'
      command: [sleep, '100000']
      stop_signal: SIGKILL
      files:
        - {{content: 'alone', target: /etc/alone, mode: '0600', owner: 7, group: 8}}
        - {{content: 'it is {word}', target: /etc/words/, name: word, on_change: nothing}}
",
            address = lab.address("h1"),
            key = lab.ssh_key().display(),
            hosts = lab.known_hosts().display(),
            registry = lab.registry(),
        ),
    );
}

#[test]
fn files_reach_a_host_over_ssh_and_stay_as_declared() {
    let lab = Lab::up(1);
    let sandbox = Sandbox::new();
    let image = lab.push(&sandbox.image("remote", ""));
    let name = sandbox.name("a");
    let apply = || sandbox.mastic(&["-f", "site.yaml", "apply", "--yes", "--timeout", "60"]);
    let inside = |command: &[&str]| lab.on("h1", &[&["docker", "exec", &name], command].concat());
    let no_difference = || sandbox.mastic(&["-f", "site.yaml", "plan", "--detailed-exitcode"]).code == 0;

    write(&lab, &sandbox, &image, "one");
    apply().ok();
    assert_eq!(inside(&["cat", "/etc/words/word"]), "it is one");
    assert_eq!(inside(&["stat", "-c", "%a %u:%g", "/etc/alone"]), "600 7:8\n");
    assert!(no_difference());

    // Another content: taken in by the running container. Tampered with on the host: found and healed.
    let life = || lab.on("h1", &["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &name]);
    let before = life();
    write(&lab, &sandbox, &image, "two");
    apply().ok();
    assert_eq!(inside(&["cat", "/etc/words/word"]), "it is two");
    let directory = format!("/var/lib/mastic/remote/{}/h1", sandbox.prefix());
    lab.on(
        "h1",
        &[
            "sh",
            "-c",
            &format!(
                "echo edited >$(find {directory} -name word); chmod 644 $(find {directory}/{name} -path '*/fixed/*')"
            ),
        ],
    );
    assert!(!no_difference());
    apply().ok();
    assert_eq!(inside(&["cat", "/etc/words/word"]), "it is two");
    assert_eq!(inside(&["stat", "-c", "%a", "/etc/alone"]), "600\n");
    assert_eq!(life(), before);

    // Who only looks makes nothing to look with, and says what it could not see.
    lab.on("h1", &["docker", "rm", "-f", &format!("{}.h1.files", sandbox.prefix())]);
    let blind = sandbox.mastic(&["-f", "site.yaml", "plan"]);
    assert!(blind.stdout.contains("whether its files are as they should be is not known"), "{blind}");
    apply().ok();
    let seeing = sandbox.mastic(&["-f", "site.yaml", "plan"]);
    assert!(!seeing.stdout.contains("not known"), "{seeing}");

    // A full disk is a fault of the surroundings: told, tried again, no spec is given up for it.
    lab.on("h1", &["mount", "-t", "tmpfs", "-o", "size=64k", "full", &directory]);
    lab.on("h1", &["sh", "-c", &format!("head -c 64k /dev/zero >{directory}/filling || true")]);
    write(&lab, &sandbox, &image, "three");
    let full = sandbox.mastic(&["-f", "site.yaml", "apply", "--yes", "--timeout", "10"]);
    assert!(full.code != 0 && full.stderr.contains("No space left on device"), "{full}");
    lab.on("h1", &["umount", "-l", &directory]);
    apply().ok();
    assert_eq!(inside(&["cat", "/etc/words/word"]), "it is three");
    let status = sandbox.mastic(&["-f", "site.yaml", "status", "-o", "json"]).json();
    assert_eq!(status["ready"], json!(true), "{status}");

    // The machine is set up anew under its old name: nothing is made there before somebody says so.
    apply().ok();
    lab.on("h1", &["sh", "-c", "systemctl stop docker.socket docker; rm -rf /var/lib/docker/* /etc/docker/key.json; systemctl start docker"]);
    let strange = apply();
    assert!(strange.code == 1 && strange.stderr.contains("this is another machine"), "{strange}");
    let there = || lab.on("h1", &["docker", "ps", "-a", "--format", "{{.Names}}"]);
    assert!(!there().lines().any(|other| other == name), "{}", there());
    let accepted = sandbox.mastic(&["-f", "site.yaml", "host", "accept", "h1"]);
    assert!(accepted.stdout.contains("h1 is accepted as it is"), "{accepted}");
    apply().ok();
    assert_eq!(inside(&["cat", "/etc/words/word"]), "it is three");

    // Nothing is left in the end, and nothing was ever needed but the engine.
    sandbox.mastic(&["-f", "site.yaml", "destroy", "--yes"]).ok();
    assert_eq!(lab.on("h1", &["docker", "ps", "-aq"]), "");
    assert_eq!(lab.on("h1", &["find", &directory, "-mindepth", "1"]), "");
    assert_eq!(lab.on("h1", &["docker", "images", "-q", "mastic-files"]), "");
}

//! Files that are born at run time and are the same on hosts over SSH: three machines of the lab, with engines of their own.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::support::{Lab, Sandbox};

/// Makes a key that nobody can guess.
const MAKE: &str = "mkdir -p /keys; head -c 64 /dev/urandom | md5sum | cut -c1-32 >/keys/0";
/// Refuses to run without it, and says nothing of it.
const RUN: &str = "[ -s /keys/0 ] || exit 3; echo it is there; exec sleep 100000";

fn write(lab: &Lab, sandbox: &Sandbox, image: &str, hosts: &str, update: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let (user, password) = lab.registry_login();
    for (name, content) in [("password", password), ("key", "what filesets are encrypted with\n")] {
        let path = sandbox.write(name, content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let address = |name| format!("{{address: {}}}", lab.address(name));
    sandbox.write(
        "site.yaml",
        &format!(
            "apiVersion: mastic/v1
kind: Site
metadata: {{name: @}}
spec:
  defaults:
    connection: {{ssh: {{user: deploy, identity_file: {key}, known_hosts: {known}, config: false, agent: false}}}}
  hosts: {{h1: {h1}, h2: {h2}, h3: {h3}}}
  secrets: {{password: {{file: password}}, fileset_key: {{file: key}}}}
  images: {{auth: {{'{registry}': {{username: {user}, password: {{secret: password}}}}}}}}
  services:
    @-a: {{hosts: {hosts}, image: '{image}', command: [sh, -c, '{RUN}'], stop_signal: SIGKILL}}
  filesets:
    keys:
      path: /keys
      services: '@-a'
      create: {{command: [sh, -c, '{MAKE}']}}
      owner: 7
      group: 8
      {update}
",
            key = lab.ssh_key().display(),
            known = lab.known_hosts().display(),
            registry = lab.registry(),
            h1 = address("h1"),
            h2 = address("h2"),
            h3 = address("h3"),
        ),
    );
}

/// The files below a directory that hold one of these.
fn files_with(directory: &Path, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, words));
        } else if let Ok(content) = fs::read(&path) {
            let text = String::from_utf8_lossy(&content);
            found.extend(words.iter().any(|word| text.contains(word)).then(|| path.display().to_string()));
        }
    }
    found
}

#[test]
fn a_key_is_made_once_and_is_the_same_on_all_hosts() {
    let lab = Lab::up(3);
    let sandbox = Sandbox::new();
    let image = lab.push(&sandbox.image("keys", ""));
    let name = sandbox.name("a");
    let apply = || sandbox.mastic(&["-f", "site.yaml", "apply", "--yes", "--timeout", "90"]).ok();
    let plan = || sandbox.mastic(&["-f", "site.yaml", "plan", "--detailed-exitcode"]);
    let inside = |host: &str, command: &[&str]| lab.on(host, &[&["docker", "exec", &name], command].concat());
    let key = |host: &str| inside(host, &["cat", "/keys/0"]);
    let life = |host: &str| lab.on(host, &["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &name]);

    // Planned in words, made once, the same on both.
    write(&lab, &sandbox, &image, "[h1, h2]", "");
    let planned = plan().to_string();
    assert!(planned.contains("+ create-fileset fileset/keys on h1"), "{planned}");
    assert!(planned.contains("copies: \"none on any host\" -> \"made once, for all\""), "{planned}");
    assert!(!planned.contains("create-fileset fileset/keys on h2"), "{planned}");
    apply();
    let first = key("h1");
    assert_eq!(first.trim().len(), 32, "{first}");
    assert_eq!(key("h2"), first);
    assert_eq!(inside("h2", &["stat", "-c", "%a %u:%g", "/keys/0"]), "600 7:8\n");
    assert_eq!(plan().code, 0);

    // A new host has its copy before its first start.
    write(&lab, &sandbox, &image, "[h1, h2, h3]", "");
    apply();
    assert_eq!(key("h3"), first);
    assert_eq!(lab.on("h3", &["docker", "logs", &name]), "it is there\n", "it never ran without");

    // Changed by hand: found, and put right under the running process.
    let before = life("h2");
    let root = format!("/var/lib/mastic/remote/{}/h2/{name}", sandbox.prefix());
    let edit = format!("f=$(find {root} -path '*/live/*' -type f -name 0); echo mine >$f; chmod 644 $f");
    lab.on("h2", &["sh", "-c", &edit]);
    let planned = plan();
    assert_eq!(planned.code, 2, "{planned}");
    assert!(planned.to_string().contains("as in fileset keys"), "{planned}");
    apply();
    assert_eq!(key("h2"), first);
    assert_eq!(inside("h2", &["stat", "-c", "%a %u:%g", "/keys/0"]), "600 7:8\n");
    assert_eq!(life("h2"), before);

    // What was agreed on is lost: it is put back by who remembers it.
    fs::remove_file(sandbox.state().join("records.json")).unwrap();
    apply();
    assert_eq!(key("h3"), first);
    assert!(sandbox.state().join("records.json").exists());

    // An update keeps what it finds, and reaches all.
    let update = "update: {command: [sh, -c, 'cp /keys/0 /keys/1; echo new >/keys/0'], every: 1s}";
    write(&lab, &sandbox, &image, "[h1, h2, h3]", update);
    let controller = sandbox.start(&["-f", "site.yaml", "controller"]);
    sandbox.wait_for("an update", 90, || key("h1") == "new\n");
    write(&lab, &sandbox, &image, "[h1, h2, h3]", "");
    apply();
    controller.stop(30);
    for host in ["h1", "h2", "h3"] {
        assert_eq!(inside(host, &["cat", "/keys/0"]), "new\n", "{host}");
        assert_eq!(life("h2"), before);
    }
    assert_eq!(plan().code, 0);

    // Nothing of it anywhere but in the files that are mounted, and nothing of its making is left.
    let secret = first.trim().to_owned();
    let words = [secret.clone(), BASE64_STANDARD.encode(&first), BASE64_STANDARD.encode(&secret)];
    assert_eq!(files_with(&sandbox.state(), &words), Vec::<String>::new());
    for host in ["h1", "h2", "h3"] {
        let seen = lab.on(host, &["docker", "inspect", &name]) + &lab.on(host, &["docker", "logs", &name]);
        assert!(words.iter().all(|word| !seen.contains(word)), "{host}: {seen}");
        let containers = lab.on(host, &["docker", "ps", "-a", "--format", "{{.Names}}"]);
        assert!(!containers.contains(".fileset"), "{host}: {containers}");
    }
    let made = files_with(&sandbox.state(), &["FilesetCreated".to_owned()]);
    assert_eq!(made.len(), 1, "one host made it: {made:?}");
    sandbox.mastic(&["-f", "site.yaml", "destroy", "--yes"]).ok();
}

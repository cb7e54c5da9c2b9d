//! `mastic secrets`: a store that is encrypted, filled, edited and rotated, and shows nothing to those who should not see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Sandbox, docker};

const SITE: &str = r#"
apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts: {here: {connection: {local: {}}}}
  secret_store: {file: secrets.age, identity: secrets.key}
  secrets:
    admin: {generate: password, help: Password of the admin}
    ring: {generate: fernet-key}
    deploy: {generate: ssh-key}
    lone: {file: lone}
  services:
    @-web:
      image: none:1
      files:
        - {content: "{{ secrets.admin }} {{ secrets.more | default('none') }}", target: /etc/secret, mode: "0400"}
"#;

fn site(sandbox: &Sandbox) {
    sandbox.write("site.yaml", SITE);
    let lone = sandbox.write("lone", "in a file");
    fs::set_permissions(lone, fs::Permissions::from_mode(0o600)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Runs the verb with an editor that replaces the file by what the shell command does with `$1`.
fn edit(sandbox: &Sandbox, editor: &str) -> (bool, String) {
    let script = sandbox.write("editor", &format!("#!/bin/sh\n{editor}\n"));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let output = sandbox.command(&["secrets", "edit"]).env("VISUAL", &script).env_remove("EDITOR").output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_missing_is_made_once_and_nothing_else_changes() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    // Without the store the site says what to do.
    let invalid = sandbox.mastic(&["validate"]);
    assert!(invalid.stderr.contains("`mastic secrets generate` makes it"), "{}", invalid.stderr);

    let made = sandbox.mastic(&["secrets", "generate"]);
    assert_eq!(made.code, 0, "{made}");
    assert!(
        made.stdout.contains("made 4 in") && made.stdout.contains("admin, ring, deploy, deploy_public"),
        "{}",
        made.stdout
    );
    assert_eq!(mode(&sandbox.path().join("secrets.key")), 0o600);
    assert_eq!(mode(&sandbox.path().join("secrets.age")), 0o600);
    let store = fs::read_to_string(sandbox.path().join("secrets.age")).unwrap();
    assert!(store.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    sandbox.mastic(&["validate"]).ok();

    let admin = sandbox.mastic(&["secrets", "show", "admin"]).ok();
    assert_eq!(admin.len(), 40);
    assert!(!made.stdout.contains(&admin) && !made.stderr.contains(&admin));
    let again = sandbox.mastic(&["secrets", "generate"]).ok();
    assert!(again.starts_with("nothing is missing in "), "{again}");
    assert_eq!(fs::read_to_string(sandbox.path().join("secrets.age")).unwrap(), store);

    let listed = sandbox.mastic(&["secrets", "list"]).ok();
    insta::assert_snapshot!(listed, @r"
    admin                            store       there    password
    deploy                           store       there    ssh-key
    deploy_public                    store       there
    lone                             file
    ring                             store       there    fernet-key
    ");
    for name in ["admin", "ring", "deploy", "deploy_public"] {
        for line in sandbox.mastic(&["secrets", "show", name]).ok().lines() {
            assert!(!listed.contains(line) && !made.to_string().contains(line), "{name}");
        }
    }

    // Only the one that is asked for becomes another.
    let ring = sandbox.mastic(&["secrets", "show", "ring"]).ok();
    sandbox.mastic(&["secrets", "rotate", "admin"]).ok();
    assert_ne!(sandbox.mastic(&["secrets", "show", "admin"]).ok(), admin);
    assert_eq!(sandbox.mastic(&["secrets", "show", "ring"]).ok(), ring);
    let unknown = sandbox.mastic(&["secrets", "rotate", "admni"]);
    assert!(unknown.stderr.contains("did you mean `admin`?"), "{}", unknown.stderr);
    assert!(sandbox.mastic(&["secrets", "rotate", "lone"]).stderr.contains("it comes from its file"));
}

#[test]
fn the_store_is_edited_in_memory_and_nothing_is_left_behind() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    sandbox.mastic(&["secrets", "generate"]).ok();
    let before = fs::read(sandbox.path().join("secrets.age")).unwrap();
    let seen = sandbox.path().join("seen");
    let look = format!("stat -c '%a %n' \"$1\" > {0}; stat -c %a \"$(dirname \"$1\")\" >> {0}", seen.display());
    let (done, words) = edit(&sandbox, &look);
    assert!(done && words.contains("nothing was changed"), "{words}");
    assert_eq!(fs::read(sandbox.path().join("secrets.age")).unwrap(), before);
    let seen = fs::read_to_string(seen).unwrap();
    let (file, directory) = seen.trim().split_once('\n').unwrap();
    assert!(file.starts_with("600 /dev/shm/mastic-") && directory == "700", "{seen}");
    let path = Path::new(file.split_once(' ').unwrap().1);
    assert!(!path.parent().unwrap().exists());

    let (done, words) = edit(&sandbox, "echo 'more: HUNTER2 # mine' >> \"$1\"; cp \"$1\" \"$1~\"");
    assert!(done && words.contains("encrypted") && !words.contains("HUNTER2"), "{words}");
    assert_eq!(sandbox.mastic(&["secrets", "show", "more"]).ok(), "HUNTER2");
    // What people wrote around a value stays.
    sandbox.mastic(&["secrets", "rotate", "admin"]).ok();
    assert!(sandbox.mastic(&["secrets", "decrypt"]).ok().contains("more: HUNTER2 # mine\n"));

    let good = fs::read(sandbox.path().join("secrets.age")).unwrap();
    let (done, words) = edit(&sandbox, "echo 'more: [HUNTER3]' > \"$1\"");
    assert!(
        !done && words.contains("secrets.yaml: line 1: a value has to be one text") && !words.contains("HUNTER3"),
        "{words}"
    );
    let (done, words) = edit(&sandbox, "echo 'x: 1' > \"$1\"; exit 3");
    assert!(!done && words.contains("the editor failed"), "{words}");
    assert_eq!(fs::read(sandbox.path().join("secrets.age")).unwrap(), good);
}

#[test]
fn a_store_that_cannot_be_opened_is_told_with_the_reason() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    sandbox.mastic(&["secrets", "generate"]).ok();
    let (store, identity) = (sandbox.path().join("secrets.age"), sandbox.path().join("secrets.key"));
    let (good, key) = (fs::read(&store).unwrap(), fs::read(&identity).unwrap());
    let fails = |what: &str| {
        for arguments in [&["validate"][..], &["secrets", "generate"], &["secrets", "list"]] {
            let run = sandbox.mastic(arguments);
            assert!(!run.stdout.contains("made") && run.stderr.contains(what), "{arguments:?}: {}", run.stderr);
        }
        let words = sandbox.mastic(&["secrets", "show", "admin"]).stderr;
        assert!(!words.contains("HUNTER2") && !words.contains("NONSENSE"), "{words}");
    };

    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] = if damaged[middle] == b'A' { b'B' } else { b'A' };
    fs::write(&store, &damaged).unwrap();
    fails("it is no age file, or it is damaged");
    fs::write(&store, "admin: HUNTER2\n").unwrap();
    fails("it is no age file, or it is damaged");
    fs::write(&store, &good[..good.len() / 2]).unwrap();
    fails("it is no age file, or it is damaged");

    fs::write(&store, &good).unwrap();
    fs::write(&identity, "AGE-SECRET-KEY-1NONSENSE\n").unwrap();
    fails("holds no age identity");
    let other = Sandbox::new();
    site(&other);
    other.mastic(&["secrets", "generate"]).ok();
    fs::copy(other.path().join("secrets.key"), &identity).unwrap();
    fails("does not open it: it was encrypted for others");

    // A new identity would hide that the store is lost.
    fs::remove_file(&identity).unwrap();
    let run = sandbox.mastic(&["secrets", "generate"]);
    assert!(run.stderr.contains("there is no identity") && !identity.exists(), "{}", run.stderr);

    fs::write(&identity, &key).unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(sandbox.mastic(&["validate"]).stderr.contains("everybody on this machine can read the identity"));
    assert!(sandbox.mastic(&["secrets", "show", "amdin"]).stderr.contains("did you mean `admin`?"));
}

#[test]
fn names_have_one_home_and_an_identity_may_be_a_credential() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    sandbox.mastic(&["secrets", "generate"]).ok();
    let (done, _) = edit(&sandbox, "echo 'lone: HUNTER2' >> \"$1\"");
    assert!(done);
    let run = sandbox.mastic(&["validate"]);
    assert!(
        run.stderr.contains("the secret `lone` is in the store as well") && !run.stderr.contains("HUNTER2"),
        "{}",
        run.stderr
    );
    edit(&sandbox, "grep -v ^lone: \"$1\" > \"$1.new\" && mv \"$1.new\" \"$1\"");
    sandbox.mastic(&["validate"]).ok();

    fs::create_dir(sandbox.path().join("credentials")).unwrap();
    fs::rename(sandbox.path().join("secrets.key"), sandbox.path().join("credentials/store")).unwrap();
    sandbox.write("site.yaml", &SITE.replace("identity: secrets.key", "identity: {credential: store}"));
    let run = sandbox.mastic(&["validate"]);
    assert!(run.stderr.contains("there is no $CREDENTIALS_DIRECTORY"), "{}", run.stderr);
    let mut command = sandbox.command(&["validate"]);
    assert!(
        command.env("CREDENTIALS_DIRECTORY", sandbox.path().join("credentials")).output().unwrap().status.success()
    );
}

#[test]
fn a_store_is_made_of_what_people_have_and_read_by_others_too() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    let other = Sandbox::new();
    site(&other);
    other.mastic(&["secrets", "generate"]).ok();
    let key = fs::read_to_string(other.path().join("secrets.key")).unwrap();
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let with_recipient = format!("identity: secrets.key, recipients: [{recipient}]");
    sandbox.write("site.yaml", &SITE.replace("identity: secrets.key", &with_recipient));
    let plain = sandbox.write("passwords.yaml", "# ours\nadmin: HUNTER2\nnumber: 0123\n");
    sandbox.mastic(&["secrets", "encrypt", &plain.to_string_lossy()]).ok();
    assert_eq!(sandbox.mastic(&["secrets", "decrypt"]).ok(), "# ours\nadmin: HUNTER2\nnumber: 0123\n");
    let twice = sandbox.mastic(&["secrets", "encrypt", &plain.to_string_lossy()]);
    assert!(twice.stderr.contains("there is a store of secrets at"), "{}", twice.stderr);

    fs::copy(sandbox.path().join("secrets.age"), other.path().join("secrets.age")).unwrap();
    assert_eq!(other.mastic(&["secrets", "show", "number"]).ok(), "0123");
}

#[test]
fn openssh_reads_the_keys_that_are_made() {
    let sandbox = Sandbox::new();
    site(&sandbox);
    sandbox.mastic(&["secrets", "generate"]).ok();
    let key = sandbox.write("deploy", &sandbox.mastic(&["secrets", "show", "deploy"]).ok());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let public = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&key).output().unwrap();
    let stored = sandbox.mastic(&["secrets", "show", "deploy_public"]).ok();
    let words = |text: &str| text.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&String::from_utf8(public.stdout).unwrap()), words(&stored));
}

#[test]
fn a_running_agent_rolls_a_rotated_secret_out() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("app", "CMD [\"sleep\", \"100000\"]");
    site(&sandbox);
    let text = fs::read_to_string(sandbox.path().join("site.yaml")).unwrap();
    sandbox.write("site.yaml", &text.replace("none:1", &image).replace("image:", "stop_signal: SIGKILL\n      image:"));
    sandbox.mastic(&["secrets", "generate"]).ok();
    let agent = sandbox.start(&["agent"]);
    let name = sandbox.name("web");
    let read = || docker_exec(&name);
    let admin = || sandbox.mastic(&["secrets", "show", "admin"]).ok();
    let first = admin();
    sandbox.wait_for("the first password", 30, || read().contains(&first));
    sandbox.mastic(&["secrets", "rotate", "admin"]).ok();
    let second = admin();
    sandbox.wait_for("the new password", 30, || read().contains(&second));
    for words in [sandbox.mastic(&["status"]).stdout, sandbox.mastic(&["events"]).stdout, docker(&["inspect", &name])] {
        assert!(!words.contains(&first) && !words.contains(&second), "{words}");
    }
    let log = fs::read_to_string(sandbox.path().join("background.log")).unwrap_or_default();
    assert!(!log.contains(&first) && !log.contains(&second), "{log}");
    drop(agent);
}

fn docker_exec(name: &str) -> String {
    crate::support::try_docker(&["exec", name, "cat", "/etc/secret"]).unwrap_or_default()
}

//! Secrets are found nowhere but where the site puts them: not raw, not encoded, not as a plain digest.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use md5::Digest as _;
use serde_json::json;

use crate::support::{Sandbox, command, docker, free_port, inspect};

/// With characters that each encoding changes.
const SECRETS: [&str; 3] = ["Pa/ss+w?rd&one=7", "tw\u{f6} words\"of'glue", "exposed-T0ken/3+"];

const SITE: &str = r#"
apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts: {here: {connection: {local: {}}}}
  secrets:
    one: {file: one}
    two: {environment: SECRET_TWO}
    three: {file: three}
  vars: {derived: "user:{{ secrets.one }}"}
  configs:
    motd: {content: "{{ secrets.two }}\n"}
  services:
    @-files:
      image: IMAGE
      command: [sleep, "1000"]
      stop_signal: SIGKILL
      environment: {PLAIN: MARK}
      configs: [motd]
      secrets: [one, {source: two, target: second}]
      files:
        - {source: app.conf.j2, target: /etc/app/, mode: "0400", on_change: {exec: ["true"]}, validate: [grep, -q, password, /etc/app/app.conf]}
        - {content: "{{ derived | b64encode }} MARK", target: /etc/derived, mode: "0400"}
    @-exposed:
      image: IMAGE
      expose_secrets: true
      command: [sh, -c, "sleep 1000 # {{ secrets.three }}"]
      stop_signal: SIGKILL
      environment: {TOKEN: "{{ secrets.three }}", PLAIN: MARK}
      ready: {exec: [READY]}
      rollout: {deadline: 2s}
"#;

/// Everything as which a secret could be recognised, with what it is.
fn forms(secret: &str) -> Vec<(String, String)> {
    let bytes = secret.as_bytes();
    let mut url = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
            url.push(char::from(*byte));
        } else {
            write!(url, "%{byte:02X}").unwrap();
        }
    }
    let mut all = vec![
        ("raw".to_owned(), secret.to_owned()),
        ("url".to_owned(), url.clone()),
        ("url with plus".to_owned(), url.replace("%20", "+")),
        ("hex".to_owned(), hex::encode(bytes)),
        ("base64 for URLs".to_owned(), BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        ("debug".to_owned(), format!("{secret:?}").trim_matches('"').to_owned()),
    ];
    // In the middle of a longer text base64 looks otherwise; what does not depend on the neighbours is the same.
    for shift in 0..3 {
        let text = BASE64_STANDARD.encode([&b"xx"[..shift], bytes].concat());
        let (from, to) = ((shift * 8).div_ceil(6), (shift + bytes.len()) * 8 / 6);
        all.push((format!("base64 shifted by {shift}"), text[from..to].to_owned()));
    }
    let with_newline = format!("{secret}\n");
    for text in [secret, &with_newline] {
        all.push(("md5".to_owned(), hex::encode(md5::Md5::digest(text.as_bytes()))));
        all.push(("sha1".to_owned(), hex::encode(sha1::Sha1::digest(text.as_bytes()))));
        all.push(("sha256".to_owned(), hex::encode(sha2::Sha256::digest(text.as_bytes()))));
    }
    all
}

/// Where a secret is found.
struct Search {
    forms: Vec<(String, String)>,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, place: &str, text: &str) {
        let lower = text.to_lowercase();
        for (what, form) in &self.forms {
            if text.contains(form) || (what != "raw" && lower.contains(&form.to_lowercase())) {
                let line = text.lines().find(|line| line.to_lowercase().contains(&form.to_lowercase()));
                let line: String = line.unwrap_or_default().chars().take(300).collect();
                self.found.push(format!("{place}: {what}: {line}"));
            }
        }
    }

    /// Names only: what lies in the files is theirs to keep.
    fn names_below(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            self.look("a name in the state directory", &entry.path().to_string_lossy());
            self.names_below(&entry.path());
        }
    }
}

/// The arguments and environment of all processes of the program that was started as `id`, and of others.
fn command_lines() -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        // The container whose site asked for it, and this test's own engine calls are not ours.
        if !text.starts_with("sh -c sleep 1000") {
            all.push_str(&text);
            all.push('\n');
        }
    }
    all
}

#[test]
fn secrets_are_found_nowhere() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("secrets", "");
    for (name, secret) in [("one", SECRETS[0]), ("three", SECRETS[2])] {
        sandbox.write(name, secret);
        fs::set_permissions(sandbox.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let template =
        |mark: &str| format!("[db]\npassword = {{{{ secrets.one }}}}\nother = {{{{ secrets.two }}}}\n{mark}\n");
    let write = |mark: &str, ready: &str| {
        sandbox.write("app.conf.j2", &template(mark));
        let site = SITE.replace("IMAGE", &image).replace("MARK", mark).replace("READY", ready);
        sandbox.write("site.yaml", &site);
    };
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("SECRET_TWO", SECRETS[1]);
        let run = crate::support::Run::of(command);
        format!("{}\n{}", run.stdout, run.stderr)
    };
    let mut search = Search { forms: SECRETS.iter().flat_map(|secret| forms(secret)).collect(), found: Vec::new() };

    write("first", "'true'");
    for arguments in [&["-v", "-v", "plan"][..], &["plan", "-o", "json", "-O", "saved"], &["validate"]] {
        search.look(&arguments.join(" "), &run(arguments));
    }
    search.look("the saved plan", &fs::read_to_string(sandbox.path().join("saved")).unwrap());
    search.look("apply", &run(&["-v", "-v", "apply", "--timeout", "60"]));
    let inside = docker(&[
        "exec",
        &sandbox.name("files"),
        "cat",
        "/etc/app/app.conf",
        "/run/secrets/one",
        "/run/secrets/second",
    ]);
    assert!(inside.contains(SECRETS[0]) && inside.contains(SECRETS[1]), "{inside}");

    let address = format!("127.0.0.1:{}", free_port());
    let mut command_line = sandbox.command(&["-v", "-v", "agent", "--listen", &address]);
    command_line.env("SECRET_TWO", SECRETS[1]);
    let log = fs::File::create(sandbox.path().join("background.log")).unwrap();
    let mut agent = command_line.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    sandbox.wait_for("the agent", 30, || sandbox.state().join("agent.sock").exists());
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));

    let look_around = |search: &mut Search, when: &str| {
        for arguments in [
            &["plan"][..],
            &["plan", "-o", "json"],
            &["diff"],
            &["status"],
            &["status", "-o", "json"],
            &["events"],
            &["events", "-o", "json"],
            &["history"],
            &["history", "-o", "json"],
            &["describe", &sandbox.name("files")],
            &["describe", &sandbox.name("exposed")],
            &["why", &sandbox.name("exposed")],
        ] {
            search.look(&format!("{when}: {}", arguments.join(" ")), &run(arguments));
        }
        for path in ["metrics", "api/v1/status", "healthz", "readyz", ""] {
            let said = command("curl", &["-sS", &format!("http://{address}/{path}")]);
            search.look(&format!("{when}: /{path}"), &said);
        }
        search.look(&format!("{when}: command lines"), &command_lines());
        for container in sandbox.containers() {
            let mut seen = inspect(&container);
            search.look(&format!("{when}: labels of {container}"), &seen["Config"]["Labels"].to_string());
            if container == sandbox.name("exposed") || container == sandbox.name("exposed.failed") {
                // The site asked for it in these.
                for (part, key) in [("Config", "Env"), ("Config", "Cmd")] {
                    seen[part].as_object_mut().unwrap().remove(key);
                }
                seen.as_object_mut().unwrap().remove("Args");
            }
            search.look(&format!("{when}: inspect of {container}"), &seen.to_string());
        }
        let state = sandbox.state();
        search.names_below(&state);
    };
    look_around(&mut search, "steady");

    // Something to be seen in diffs and events: an edit of everything, and drift.
    write("second", "'true'");
    search.look("plan of an edit", &run(&["plan"]));
    sandbox.wait_for("the edit", 60, || {
        let settled = sandbox.status()["converged"] == json!(true);
        settled && docker(&["exec", &sandbox.name("files"), "cat", "/etc/app/app.conf"]).contains("second")
    });
    look_around(&mut search, "edited");

    // A failure and a rollback, of a secret that changes as well.
    sandbox.write("three", "exposed-T0ken/4+");
    search.forms.extend(forms("exposed-T0ken/4+"));
    write("third", "'false'");
    sandbox.wait_for("the rollback", 60, || sandbox.has_condition(&sandbox.name("exposed"), "Quarantined"));
    look_around(&mut search, "failed");

    // A mistake next to a secret.
    sandbox.write("app.conf.j2", "{{ secrets.one }} {{ secrets.one | int + nonsense }} {% broken");
    search.look("plan of a mistake", &run(&["plan"]));
    search.look("validate of a mistake", &run(&["validate"]));
    sandbox.wait_for("the mistake to be told", 30, || !sandbox.status()["bad_site_file"].is_null());
    look_around(&mut search, "mistaken");

    command("kill", &[&agent.id().to_string()]);
    agent.wait().unwrap();
    search.look("the agent's log", &fs::read_to_string(sandbox.path().join("background.log")).unwrap());
    search.found.sort();
    search.found.dedup();
    assert!(search.found.is_empty(), "{}", search.found.join("\n"));
}

//! Services with Kolla's image contract on images whose first process is our start program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::{Sandbox, docker, life};

/// Says what its configuration is, at its start and when it is told to look.
const APP: &str = "#!/bin/sh
trap 'echo \"told: $(cat /etc/app/app.conf)\"' HUP
trap 'exit 0' TERM
echo \"began: $(cat /etc/app/app.conf) as $(id -u), $*\"
while true; do sleep 0.1; done
";

/// What an image does before its command, when it is asked to.
const EXTEND_START: &str = "#!/bin/sh
export FROM_SCRIPT=yes
if [ -n \"${KOLLA_BOOTSTRAP+x}\" ]; then echo bootstrapped; exit 0; fi
";

/// An image with busybox, the start program under its three names, a user `app`, and `lines`.
fn image(sandbox: &Sandbox, tag: &str, lines: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8], mode: u32| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let program = env!("CARGO_BIN_EXE_mastic-start");
    put("bin/busybox", &fs::read("/bin/busybox").expect("busybox-static is installed (tests/run does it)"), 0o755);
    put("usr/local/bin/mastic-start", &fs::read(program).unwrap(), 0o755);
    put("usr/local/bin/app", APP.as_bytes(), 0o755);
    // The program of a test is not the static one of a release.
    let listed = crate::support::command("ldd", &[program]);
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        put(library.trim_start_matches('/'), &fs::read(library).unwrap(), 0o755);
    }
    put("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1001:1001::/:/bin/sh\n", 0o644);
    put("etc/group", b"root:x:0:\napp:x:1001:\nkolla:x:1003:app\n", 0o644);
    let text = format!(
        "FROM scratch\nCOPY . /\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
         RUN rm /Dockerfile && mkdir -p -m 1777 /tmp && ln -s mastic-start /usr/local/bin/kolla_start && \
         ln -s mastic-start /usr/local/bin/kolla_set_configs && mkdir -p /etc/app /var/log/app /var/lib/kolla/state && \
         chown app:app /etc/app /var/log/app /var/lib/kolla/state\n\
         LABEL mastic.test={}-{tag}\nENV PATH=/usr/local/bin:/bin\nENTRYPOINT [\"mastic-start\"]\nCMD [\"kolla_start\"]\n{lines}\n",
        sandbox.prefix()
    );
    put("Dockerfile", text.as_bytes(), 0o644);
    let name = format!("{}-{tag}:1", sandbox.prefix());
    docker(&["build", "-q", "-t", &name, &directory.path().to_string_lossy()]);
    name
}

/// How a container ended, and what it said.
struct Ended {
    code: i32,
    said: String,
}

/// Runs a container to its end, with these files in `/var/lib/kolla/config_files`.
fn run(sandbox: &Sandbox, image: &str, files: &[(&str, &str)], options: &[&str], command: &[&str]) -> Ended {
    let mount = mounted(sandbox, files);
    let output = Command::new("docker")
        .args(["run", "--rm", "-v", &mount])
        .args(options)
        .arg(image)
        .args(command)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ended { code: output.status.code().unwrap_or(-1), said }
}

/// Lays files out on the host; the option that mounts them.
fn mounted(sandbox: &Sandbox, files: &[(&str, &str)]) -> String {
    let directory: PathBuf = sandbox.path().join("config_files");
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    format!("{}:/var/lib/kolla/config_files:ro", directory.display())
}

fn contract(command: &str, owner: &str) -> String {
    let source = "/var/lib/kolla/config_files/app.conf";
    json!({"command": command, "config_files": [{"source": source, "dest": "/etc/app/app.conf", "owner": owner, "perm": "0640"}]})
        .to_string()
}

/// A site with one service; `inside` are lines of it and of its `kolla`.
fn site(image: &str, word: &str, inside: &str) -> String {
    format!(
        "apiVersion: mastic/v1
kind: Site
metadata: {{name: @}}
spec:
  hosts: {{here: {{connection: {{local: {{}}}}}}}}
  services:
    @-app:
      image: {image}
      stop_grace_period: 2s
      ready: {{exec: [grep, {word}, /etc/app/app.conf]}}
{inside}
      kolla:
        command: app --serve
        config_files:
          - {{content: 'word {word}', dest: /etc/app/app.conf, owner: 'app:kolla', perm: '0640'}}
        directories: [{{path: /var/log/app/deep, owner: app, perm: '0750'}}]
        on_change: {{exec: [kolla_set_configs], signal: HUP}}
"
    )
}

fn inside(container: &str, command: &str) -> String {
    docker(&["exec", container, "sh", "-c", command]).trim().to_owned()
}

#[test]
fn a_reload_reaches_the_copies_of_a_service_without_root() {
    let sandbox = Sandbox::new();
    let image = image(&sandbox, "plain", "USER app");
    let app = sandbox.name("app");
    sandbox.write("site.yaml", &site(&image, "one", "").replace("app:kolla", "app"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(
        inside(&app, "cat /etc/app/app.conf; stat -c ' %a %U:%G' /etc/app/app.conf /var/log/app/deep"),
        "word one 640 app:app\n 750 app:app"
    );
    assert!(docker(&["logs", &app]).contains("began: word one as 1001, --serve"));
    assert_eq!(inside(&app, "cat /proc/1/comm"), "mastic-start");
    inside(&app, "kolla_set_configs --check");

    let before = life(&app);
    sandbox.write("site.yaml", &site(&image, "two", "").replace("app:kolla", "app"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(life(&app), before, "it was told, and nothing else");
    assert_eq!(inside(&app, "cat /etc/app/app.conf"), "word two");
    sandbox.wait_for("the signal to be taken", 10, || docker(&["logs", &app]).contains("told: word two"));

    // Another command is another container, although files are reloaded.
    sandbox.write("site.yaml", &site(&image, "two", "").replace("app:kolla", "app").replace("--serve", "--other"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_ne!(life(&app), before);
    assert!(docker(&["logs", &app]).contains("began: word two as 1001, --other"));
    assert!(sandbox.is_settled());
}

#[test]
fn as_root_files_are_given_away_and_the_command_runs_as_somebody_else() {
    let sandbox = Sandbox::new();
    let image = image(&sandbox, "root", "");
    let app = sandbox.name("app");
    sandbox.write("site.yaml", &site(&image, "one", "      environment: {MASTIC_START_USER: '1001:1001'}"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(inside(&app, "stat -c '%a %U:%G' /etc/app/app.conf; cat /run_command"), "640 app:kolla\napp --serve");
    assert!(docker(&["logs", &app]).contains("as 1001"));
    assert_eq!(inside(&app, "stat -c %U /proc/1"), "root");
}

#[test]
fn once_means_once_for_each_container() {
    let sandbox = Sandbox::new();
    let image = image(&sandbox, "once", "USER app");
    let app = sandbox.name("once");
    let mount = mounted(&sandbox, &[("config.json", &contract("app", "app")), ("app.conf", "first")]);
    docker(&["run", "-d", "--name", &app, "-e", "KOLLA_CONFIG_STRATEGY=COPY_ONCE", "-v", &mount, &image]);
    sandbox.wait_for("its start", 10, || docker(&["logs", &app]).contains("began: first"));
    mounted(&sandbox, &[("app.conf", "second"), ("config.json", &contract("app --later", "app"))]);
    docker(&["restart", "-t", "2", &app]);
    sandbox.wait_for("its second start", 10, || docker(&["logs", &app]).matches("began: first").count() == 2);
    let log = docker(&["logs", &app]);
    assert!(!log.contains("--later"), "the command is that of the first start, too: {log}");
}

#[test]
fn what_is_wrong_ends_in_one_line_and_a_code() {
    let sandbox = Sandbox::new();
    let image = image(&sandbox, "wrong", "USER app");
    let always = ["-e", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"];
    let tell = |config: &str, options: &[&str]| {
        let ended = run(&sandbox, &image, &[("config.json", config), ("app.conf", "x")], options, &[]);
        format!("{} ({})", ended.said.trim(), ended.code)
    };
    let all = [
        tell("{\"command\": ", &always),
        tell("{\"comand\": \"x\"}", &always),
        tell(&contract("app", "app"), &[]),
        tell(&contract("app", "root"), &always),
        tell(&contract("app", "nova"), &always),
        tell(&contract("no-such-program", "app"), &always),
        tell(&contract("/etc/passwd", "app"), &always),
        tell(&contract("app", "app"), &[&always[..], &["-e", "MASTIC_START_USER=app"]].concat()),
        tell(&contract("app", "app").replace("/etc/app/app.conf", "/etc/new/app.conf"), &always),
    ];
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    mastic-start: error: /var/lib/kolla/config_files/config.json: this is no JSON: EOF while parsing a value at line 1 column 12 (1)

    mastic-start: error: /var/lib/kolla/config_files/config.json: the key `command` is missing (1)

    mastic-start: error: KOLLA_CONFIG_STRATEGY is not set; set it to COPY_ALWAYS or COPY_ONCE (1)

    mastic-start: copying /var/lib/kolla/config_files/app.conf to /etc/app/app.conf
    mastic-start: error: cannot give /etc/app/app.conf to 0:0 as user 1001: Operation not permitted; an image that runs as a plain user has files of that user only (2)

    mastic-start: error: /var/lib/kolla/config_files/config.json: config_files[0].owner: the image has no user `nova` (2)

    mastic-start: copying /var/lib/kolla/config_files/app.conf to /etc/app/app.conf
    mastic-start: running no-such-program
    mastic-start: error: cannot run no-such-program: No such file or directory (127)

    mastic-start: copying /var/lib/kolla/config_files/app.conf to /etc/app/app.conf
    mastic-start: running /etc/passwd
    mastic-start: error: cannot run /etc/passwd: Permission denied (126)

    mastic-start: copying /var/lib/kolla/config_files/app.conf to /etc/app/app.conf
    mastic-start: running app
    mastic-start: error: MASTIC_START_USER is `app`, and must be `UID:GID` in numbers (2)

    mastic-start: copying /var/lib/kolla/config_files/app.conf to /etc/new/app.conf
    mastic-start: error: cannot make the directory /etc/new as user 1001: Permission denied (2)
    "#);
}

#[test]
fn the_first_process_hands_on_and_reaps() {
    let sandbox = Sandbox::new();
    let image = image(&sandbox, "first", "USER app");
    let always = ["-e", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"];
    let files = [("config.json", contract("sh /etc/app/app.conf", "app")), ("app.conf", String::new())];
    let code =
        |script: &str| run(&sandbox, &image, &[("config.json", &files[0].1), ("app.conf", script)], &always, &[]).code;
    assert_eq!(code("exit 7"), 7);
    assert_eq!(code("kill -9 $$"), 128 + 9);
    assert_eq!(
        code("trap 'exit 4' TERM; kill -TERM 1; while true; do sleep 0.1; done"),
        4,
        "its own signals come back"
    );
    // An orphan that ends is nobody's zombie: the second look finds one process less.
    let orphan = "sh -c 'sh -c \"exit 0\" & exit 0'; sleep 0.5; ps -o stat,comm | grep -c '^Z'; exit 0";
    let ended = run(&sandbox, &image, &[("config.json", &files[0].1), ("app.conf", orphan)], &always, &[]);
    assert!(ended.said.starts_with("0\n"), "{}", ended.said);
    // Arguments are the command instead, with their blanks; with no contract at all they need none.
    let ended = run(
        &sandbox,
        &image,
        &[("app.conf", "copied")],
        &always,
        &["sh", "-c", "cat /etc/app/app.conf; echo $0 \"$1\"", "a", "b  c"],
    );
    assert!(ended.said.starts_with("copieda b  c\n"), "{}", ended.said);
    assert_eq!(docker(&["run", "--rm", &image, "kolla_start", "echo", "plain"]).trim(), "plain");
}

#[test]
fn a_script_of_the_image_comes_first_and_may_end_it() {
    let sandbox = Sandbox::new();
    let script = EXTEND_START.replace('\n', "\\n").replace('\'', "");
    let image = image(
        &sandbox,
        "script",
        &format!("RUN printf '%b' '{}' > /usr/local/bin/kolla_extend_start\nUSER app", script.replace('%', "%%")),
    );
    let always = ["-e", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"];
    let files = [("config.json", contract("env", "app")), ("app.conf", String::new())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let said = |options: &[&str], command: &[&str]| {
        let ended = run(&sandbox, &image, &files, &[&always[..], options].concat(), command);
        assert_eq!(ended.code, 0, "{}", ended.said);
        ended.said
    };
    assert!(said(&[], &[]).contains("FROM_SCRIPT=yes"));
    assert!(said(&[], &["kolla_start", "sh", "-c", "echo \"$0: $FROM_SCRIPT\"", "a b"]).contains("a b: yes"));
    let bootstrapped = said(&["-e", "KOLLA_BOOTSTRAP="], &[]);
    assert!(bootstrapped.contains("bootstrapped") && !bootstrapped.contains("FROM_SCRIPT"));
    assert!(!said(&["-e", "KOLLA_SKIP_EXTEND_START="], &[]).contains("FROM_SCRIPT"));
}

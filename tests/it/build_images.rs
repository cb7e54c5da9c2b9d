//! `mastic build` on a real engine, with images so small that they take no time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Authority, Registry, Run, Sandbox, Trust, command, docker, free_port, try_docker};

const BUSYBOX: &str =
    "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

/// A folder of the role `tiny`.
fn image(sandbox: &Sandbox, name: &str, definition: &str, dockerfile: &str) {
    let folder = format!("roles/tiny/images/{name}");
    sandbox.write(&format!("{folder}/image.yaml"), definition);
    sandbox.write(&format!("{folder}/Dockerfile.j2"), dockerfile);
}

/// `root` of nothing, `left` and `right` from it, `leaf` from `left`.
fn family() -> Sandbox {
    let sandbox = Sandbox::new();
    image(&sandbox, "root", "profiles: [low]\n", BUSYBOX);
    std::fs::copy("/bin/busybox", sandbox.path().join("roles/tiny/images/root/busybox")).unwrap();
    image(
        &sandbox,
        "left",
        "parent: root\n",
        "FROM {{ parent }}\nCOPY word /word\nLABEL mastic.test={{ namespace }}\n",
    );
    sandbox.write("roles/tiny/images/left/word", "one\n");
    image(&sandbox, "right", "parent: root\nprofiles: [low]\n", "FROM {{ parent }}\nRUN echo right >/right\n");
    image(&sandbox, "leaf", "parent: left\n", "FROM {{ parent }}\nRUN cp /word /leaf\n");
    sandbox
}

fn build(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let namespace = sandbox.name("ns");
    sandbox.mastic(&[&["build", "--namespace", &namespace, "-o", "json"], arguments].concat())
}

#[track_caller]
fn built(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let run = build(sandbox, arguments);
    assert_eq!(run.code, 0, "{run}");
    run.json()
}

fn names(summary: &Value, part: &str) -> Vec<String> {
    let mut names: Vec<String> =
        summary[part].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn ids(sandbox: &Sandbox) -> BTreeMap<&'static str, String> {
    ["root", "left", "right", "leaf"]
        .into_iter()
        .map(|name| (name, docker(&["inspect", "-f", "{{.Id}}", &format!("{}/{name}", sandbox.name("ns"))])))
        .collect()
}

#[test]
fn what_has_not_changed_is_not_built_again_and_a_change_builds_what_is_made_of_it() {
    let sandbox = family();
    let first = built(&sandbox, &["tiny"]);
    assert_eq!(names(&first, "built"), ["leaf", "left", "right", "root"]);
    let before = ids(&sandbox);
    let leaf = format!("{}/leaf:latest", sandbox.name("ns"));
    assert_eq!(docker(&["run", "--rm", &leaf, "cat", "/leaf"]), "one\n");
    let label = docker(&["inspect", "-f", "{{index .Config.Labels \"mastic.build-hash\"}}", &leaf]);
    assert!(label.starts_with("1:"), "{label}");

    let second = built(&sandbox, &["tiny"]);
    assert_eq!(names(&second, "built"), [""; 0]);
    assert_eq!(names(&second, "skipped"), ["leaf", "left", "right", "root"]);
    assert_eq!(ids(&sandbox), before);

    sandbox.write("roles/tiny/images/left/word", "two\n");
    let plan = built(&sandbox, &["tiny", "--dry-run"]);
    assert_eq!(plan["builds"], 2, "{plan}");
    assert_eq!(ids(&sandbox), before);
    let third = built(&sandbox, &["leaf"]);
    assert_eq!(names(&third, "built"), ["leaf", "left"]);
    let after = ids(&sandbox);
    assert_eq!((&after["root"], &after["right"]), (&before["root"], &before["right"]));
    assert_eq!(docker(&["run", "--rm", &leaf, "cat", "/leaf"]), "two\n");

    // One that is built anew takes its children along, now or later.
    assert_eq!(names(&built(&sandbox, &["root", "--force"]), "built"), ["root"]);
    let follow = built(&sandbox, &["tiny", "--dry-run"]);
    assert_eq!(follow["builds"], 3, "{follow}");
    assert!(follow["images"].to_string().contains("parent_replaced"), "{follow}");
}

#[test]
fn images_are_listed_selected_and_drawn() {
    let sandbox = family();
    let list = built(&sandbox, &["tiny", "--list"]);
    let listed: Vec<&str> =
        list["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["leaf", "left", "right", "root"]);
    assert_eq!(list["images"][0]["parents"], serde_json::json!(["left"]));
    let graph = sandbox.mastic(&["build", "tiny", "--graph"]).ok();
    insta::assert_snapshot!(graph, @r#"
    digraph images {
        rankdir=LR
        node [shape=box]
        "leaf"
        "left" -> "leaf"
        "left"
        "root" -> "left"
        "right"
        "root" -> "right"
        "root"
    }
    "#);
    let plan = sandbox.mastic(&["build", "--profile", "low", "--dry-run", "--namespace", &sandbox.name("ns")]).ok();
    insta::assert_snapshot!(plan, @r"
    root   build: it is not there
    right  build: it is not there
    2 images to build
    ");
    let run = build(&sandbox, &["lfet"]);
    assert_eq!(run.code, 64, "{run}");
    assert!(run.stderr.contains("did you mean `left`?"), "{run}");
}

#[test]
fn folders_that_cannot_be_used_are_told_with_file_and_line() {
    let sandbox = family();
    sandbox.write("roles/tiny/images/leaf/Dockerfile.j2", "FROM {{ parent }}\nRUN echo {{ wrod }}\n");
    let run = sandbox.mastic(&["build", "tiny", "--dry-run"]);
    assert_eq!(run.code, 65, "{run}");
    assert!(run.stderr.contains("roles/tiny/images/leaf/Dockerfile.j2:2:13"), "{run}");
    // What does not need it can be built.
    assert_eq!(names(&built(&sandbox, &["right"]), "built"), ["right", "root"]);

    sandbox.write("roles/tiny/images/root/Dockerfile.j2", "FROM {{ image('leaf') }}\n");
    sandbox.write("roles/tiny/images/leaf/Dockerfile.j2", "FROM {{ parent }}\n");
    let run = sandbox.mastic(&["build", "leaf"]);
    assert_eq!(run.code, 65, "{run}");
    assert!(run.stderr.contains("images are built from each other: leaf <- left <- root <- leaf"), "{run}");
}

#[test]
fn so_many_are_built_at_a_time() {
    let sandbox = family();
    built(&sandbox, &["root"]);
    for name in ["a", "b", "c", "d"] {
        let times = "RUN cut -d' ' -f1 /proc/uptime && sleep 3 && cut -d' ' -f1 /proc/uptime";
        let dockerfile =
            format!("FROM {{{{ image('root') }}}}\nLABEL mastic.test={{{{ namespace }}}}-{name}\n{times}\n");
        image(&sandbox, name, "profiles: [slow]\n", &dockerfile);
    }
    for (threads, expected) in [("2", 2), ("1", 1)] {
        let summary = built(&sandbox, &["--profile", "slow", "--threads", threads, "--force"]);
        assert_eq!(names(&summary, "built"), ["a", "b", "c", "d"]);
        let mut ends = Vec::new();
        for image in summary["built"].as_array().unwrap() {
            let log = std::fs::read_to_string(image["log"].as_str().unwrap()).unwrap();
            let times: Vec<f64> = log.lines().filter_map(|line| line.parse().ok()).collect();
            assert_eq!(times.len(), 2, "{log}");
            ends.extend([(times[0], 1), (times[1], -1)]);
        }
        ends.sort_by(|left, right| left.0.total_cmp(&right.0));
        let mut at_once = 0;
        let most = ends.iter().map(|(_, step)| {
            at_once += step;
            at_once
        });
        assert_eq!(most.max(), Some(expected), "{ends:?}");
    }
}

#[test]
fn what_fails_is_tried_again_and_told_with_its_log() {
    let sandbox = family();
    image(&sandbox, "left", "parent: root\n", "FROM {{ parent }}\nRUN echo so far so good && cat /no/such/file\n");
    let run = build(&sandbox, &["tiny", "--retries", "2", "--threads", "1", "--logs", "logs"]);
    assert_eq!(run.code, 1, "{run}");
    let summary = run.json();
    assert_eq!(names(&summary, "built"), ["right", "root"]);
    assert_eq!(names(&summary, "failed"), ["left"]);
    assert_eq!(summary["failed"][0]["attempts"], 3);
    assert_eq!(summary["failed"][0]["log"], "logs/left.log");
    assert_eq!(summary["not_built"][0]["reason"], "`left`, which it is built from, failed");
    for words in [
        "build failed (attempt 1 of 3, trying again)",
        "build failed (attempt 3 of 3)",
        "the last lines of logs/left.log:",
        "cat: can't open '/no/such/file'",
    ] {
        assert!(run.stderr.contains(words), "no `{words}` in {run}");
    }
    let log = std::fs::read_to_string(sandbox.path().join("logs/left.log")).unwrap();
    assert!(log.starts_with("--- Dockerfile of ") && log.contains("--- attempt 3\n"), "{log}");
    assert_eq!(log.matches("so far so good").count() % 2, 0, "{log}");

    // A Dockerfile that no engine takes is not tried again.
    image(&sandbox, "left", "parent: root\n", "FROM {{ parent }}\nNONSENSE\n");
    let run = build(&sandbox, &["left"]);
    assert_eq!((run.code, &run.json()["failed"][0]["attempts"]), (1, &Value::from(1)), "{run}");
}

#[test]
fn who_presses_ctrl_c_ends_the_build() {
    let sandbox = family();
    image(&sandbox, "left", "parent: root\n", "FROM {{ parent }}\nLABEL mastic.test={{ namespace }}\nRUN sleep 1000\n");
    built(&sandbox, &["root"]);
    let namespace = sandbox.name("ns");
    let mut running = sandbox.command(&["build", "leaf", "--namespace", &namespace, "--logs", "logs", "-o", "json"]);
    let child = running.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let log = sandbox.path().join("logs/left.log");
    let container = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().rev().find_map(|line| line.trim().strip_prefix("---> Running in ").map(str::to_owned))
    };
    let sleeps =
        || container().is_some_and(|id| try_docker(&["top", &id]).is_ok_and(|text| text.contains("sleep 1000")));
    sandbox.wait_for("the build to be at work", 60, sleeps);
    let id = container().unwrap();
    command("kill", &["-s", "INT", &child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (summary["interrupted"].as_bool(), names(&summary, "not_built")),
        (Some(true), vec!["leaf".into(), "left".into()])
    );
    sandbox.wait_for("the engine to end its container", 30, || try_docker(&["inspect", &id]).is_err());
}

#[test]
fn inputs_come_from_elsewhere_and_changing_them_builds() {
    let sandbox = Sandbox::new();
    image(
        &sandbox,
        "bare",
        "inputs:\n  mastic-start: {program: mastic-start}\n  rootfs.tar: {debootstrap: {suite: sid, mirror: 'http://mirror', include: [less]}}\n",
        "FROM scratch\nADD rootfs.tar /\nCOPY mastic-start /start\n",
    );
    // A debootstrap that knows no mirror.
    let fake = sandbox.write(
        "bin/debootstrap",
        "#!/bin/sh\necho \"bootstrapping $*\"\nwhile [ $# -gt 2 ]; do shift; done\n\
         mkdir -p $1/bin $1/dev $1/var/log $1/usr/share/doc/x\ncp /bin/busybox $1/bin/\nln $1/bin/busybox $1/bin/cat\n\
         touch $1/dev/null $1/var/log/x.log $1/usr/share/doc/x/copyright $1/etc-hostname\nchmod 4755 $1/bin/busybox\n",
    );
    command("chmod", &["755", &fake.to_string_lossy()]);
    sandbox.write("start", "one");
    let path = format!("{}:{}", sandbox.path().join("bin").display(), std::env::var("PATH").unwrap());
    let namespace = sandbox.name("ns");
    let run = |arguments: &[&str]| {
        let all = [&["build", "bare", "--namespace", &namespace, "-o", "json", "--logs", "logs"], arguments].concat();
        let mut command = sandbox.command(&all);
        command.env("PATH", &path);
        Run::of(command)
    };
    let missing = run(&[]);
    // Beside the program under test there may be one or none.
    assert!(missing.code == 0 || missing.stderr.contains("--start-program"), "{missing}");
    assert_eq!(names(&run(&["--start-program", "start"]).json(), "built"), ["bare"]);
    let log = std::fs::read_to_string(sandbox.path().join("logs/bare.log")).unwrap();
    assert!(log.contains("bootstrapping --variant=minbase --components=main --include=less sid "), "{log}");
    let image = format!("{namespace}/bare");
    assert_eq!(docker(&["run", "--rm", &image, "/bin/cat", "/start"]), "one");
    let listed = docker(&["run", "--rm", &image, "/bin/busybox", "find", "/var", "/usr", "-type", "f"]);
    assert_eq!(listed, "/usr/share/doc/x/copyright\n");
    let busybox = docker(&["run", "--rm", &image, "/bin/busybox", "stat", "-c", "%a %u %Y %h", "/bin/busybox"]);
    assert_eq!(busybox, "4755 0 0 2\n");

    assert_eq!(names(&run(&["--start-program", "start"]).json(), "skipped"), ["bare"]);
    sandbox.write("start", "two");
    assert_eq!(names(&run(&["--start-program", "start"]).json(), "built"), ["bare"]);
    assert_eq!(docker(&["run", "--rm", &image, "/bin/cat", "/start"]), "two");
}

/// Images that are named after a registry, which a sandbox does not know.
struct Pushed(String);

impl Drop for Pushed {
    fn drop(&mut self) {
        let images =
            try_docker(&["images", "-q", "--filter", &format!("reference={}/*/*", self.0)]).unwrap_or_default();
        for id in images.lines() {
            let _removed = try_docker(&["rmi", "-f", id]);
        }
    }
}

#[test]
fn images_are_pushed_with_tls_and_a_login_and_their_digests_are_kept() {
    let sandbox = family();
    let authority = Authority::new();
    let registry = Registry::with_tls(&authority, "pusher", "open-sesame-2");
    let trust = Trust::new(&registry);
    trust.give(&authority);
    let address = registry.address();
    let _pushed = Pushed(address.to_owned());
    let mut site =
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: @}\nspec:\n  hosts: {here: {connection: {local: {}}}}\n"
            .to_owned();
    write!(
        site,
        "  secrets: {{push: {{file: password}}}}\n  images:\n    registry: {address}\n    namespace: '@-ns'\n    tag: '1'\n    \
         auth: {{'{address}': {{username: pusher, password: {{secret: push}}}}}}\n    build: {{right_packages_append: [x]}}\n"
    )
    .unwrap();
    sandbox.write("site.yaml", &site);
    sandbox.write("password", "wrong-word-7\n");
    command("chmod", &["600", &sandbox.path().join("password").to_string_lossy()]);
    let wrong = sandbox.mastic(&["build", "leaf", "--push", "--retries", "0", "-o", "json"]);
    assert_eq!(wrong.code, 1, "{wrong}");
    assert_eq!(wrong.json()["failed"][0]["during"], "push");
    assert!(!wrong.stderr.contains("wrong-word-7") && !wrong.stdout.contains("wrong-word-7"), "{wrong}");
    assert!(!sandbox.path().join("images.lock").exists());

    let digest = format!("sha256:{}", "0".repeat(64));
    sandbox.write("images.lock", &format!("apiVersion: mastic/v1\nkind: ImageLock\nimages:\n  other/x:1: {digest}\n"));
    sandbox.write("password", "open-sesame-2\n");
    let run = sandbox.mastic(&["build", "leaf", "--push", "-o", "json"]);
    assert_eq!(run.code, 0, "{run}");
    let summary = run.json();
    assert_eq!(
        (names(&summary, "skipped"), names(&summary, "pushed")),
        (vec!["leaf".to_owned()], vec!["leaf".to_owned()])
    );
    let reference = format!("{address}/{}/leaf:1", sandbox.name("ns"));
    let digest = summary["pushed"][0]["digest"].as_str().unwrap();
    let lock = std::fs::read_to_string(sandbox.path().join("images.lock")).unwrap();
    assert!(
        lock.contains(&format!("\n  {reference}: {digest}\n")) && lock.contains("\n  other/x:1: sha256:000"),
        "{lock}"
    );
    for file in ["leaf.log", "left.log", "root.log"] {
        let log = std::fs::read_to_string(sandbox.state().join("build-logs").join(file)).unwrap_or_default();
        assert!(!log.contains("open-sesame"), "{log}");
    }

    // It is what the registry has, and pushing the same again changes nothing.
    assert_eq!(registry.digest(&format!("{}/leaf:1", sandbox.name("ns"))), digest);
    let again = sandbox.mastic(&["build", "leaf", "--push"]).ok();
    assert!(again.starts_with("1 up to date, 1 pushed in "), "{again}");
    assert_eq!(std::fs::read_to_string(sandbox.path().join("images.lock")).unwrap(), lock);
}

#[test]
fn a_push_needs_somewhere_to_go_and_a_lock_that_can_be_read() {
    let sandbox = family();
    let run = build(&sandbox, &["root", "--push"]);
    assert_eq!(run.code, 64, "{run}");
    assert!(run.stderr.contains("there is no registry to push to"), "{run}");
    sandbox.write("images.lock", "[");
    let registry = format!("127.0.0.1:{}", free_port());
    let run = build(&sandbox, &["root", "--push", "--registry", &registry]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("images.lock: it is no lock of images"), "{run}");
    assert!(try_docker(&["inspect", &format!("{registry}/{}/root", sandbox.name("ns"))]).is_err());
}

//! That the tests' own helpers keep their word, and what `--version` says.

use crate::support::{Registry, Sandbox, command, docker, try_docker};

#[test]
fn a_sandbox_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("left");
    docker(&["network", "create", &name]);
    docker(&["volume", "create", &name]);
    let image = sandbox.image("sleeper", "CMD [\"sleep\", \"1000\"]");
    docker(&["run", "-d", "--init", "--name", &name, "--network", &name, "-v", &format!("{name}:/data"), &image]);
    sandbox.wait_for("the container to run", 30, || {
        docker(&["inspect", "-f", "{{.State.Running}}", &name]).trim() == "true"
    });
    let prefix = sandbox.prefix().to_owned();
    drop(sandbox);
    for list in [
        docker(&["ps", "-a", "--format", "{{.Names}}"]),
        docker(&["network", "ls", "--format", "{{.Name}}"]),
        docker(&["volume", "ls", "-q"]),
        docker(&["images", "--format", "{{.Repository}}"]),
    ] {
        assert!(!list.contains(&prefix), "{list}");
    }
}

#[test]
fn a_registry_gives_images_to_those_who_may() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("pushed", "CMD [\"true\"]");
    let open = Registry::open();
    docker(&["pull", "-q", &open.push(&image, "some/thing:1")]);
    docker(&["rmi", &format!("{}/some/thing:1", open.address())]);

    let closed = Registry::with_login("reader", "s3cret");
    let error = try_docker(&["pull", "-q", &closed.push(&image, "some/thing:1")]).unwrap_err();
    assert!(error.contains("no basic auth credentials"), "{error}");
}

/// What `tests/run` prints at its end is summed up from the logs of either runner.
#[test]
fn the_counts_of_both_runners_are_understood() {
    let sandbox = Sandbox::new();
    let count = |log: &str| {
        let path = sandbox.write("runner.log", log);
        let script = format!("source '{}/tests/lib.sh'; test_counts '{}'", env!("CARGO_MANIFEST_DIR"), path.display());
        command("bash", &["-c", &script]).trim().to_owned()
    };
    let cargo = "running 2 tests\ntest result: ok. 12 passed; 0 failed; 0 ignored\n\n\
                 test result: FAILED. 3 passed; 2 failed; 0 ignored\n";
    assert_eq!(count(cargo), "15 2");
    let nextest = "\u{1b}[32;1m     Summary\u{1b}[0m [  1.747s] 10 tests run: 7 passed (1 slow), 2 failed, 1 timed out, 4 skipped\n";
    assert_eq!(count(nextest), "7 3");
    assert_eq!(count("     Summary [   0.003s] 1 test run: 1 passed, 0 skipped\n"), "1 0");
    assert_eq!(count("error: could not compile\n"), "0 0");
}
#[test]
fn the_version_names_the_commit() {
    let run = Sandbox::new().mastic(&["--version"]);
    assert_eq!(run.code, 0, "{run}");
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    assert_eq!(words[..2], ["mastic", env!("CARGO_PKG_VERSION")], "{run}");
    let commit = words[2].trim_matches(['(', ')']).trim_end_matches("-dirty");
    assert!(commit == "unknown" || commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{run}");
}

//! That the tests' own helpers keep their word, and what `--version` says.

use crate::support::{Registry, Sandbox, docker, try_docker};

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

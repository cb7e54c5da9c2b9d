//! Services that hang on another one on a real engine: by its namespaces, and by `depends_on: {x: {restart: true}}`.

use crate::support::{Sandbox, docker, look};

fn started(container: &str) -> String {
    look(container, "{{.State.StartedAt}}")
}

fn id(container: &str) -> String {
    look(container, "{{.Id}}")
}

#[track_caller]
fn is_unchanged(sandbox: &Sandbox) {
    let plan = sandbox.mastic(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{plan}");
}

/// A service with what others may share, and one that shares it.
fn shared(sandbox: &Sandbox, image: &str, word: &str) {
    sandbox.site(&format!(
        "  defaults: {{container: {{command: [sleep, '1000'], stop_signal: SIGKILL}}}}
  services:
    @-app: {{image: '{image}', network_mode: 'service:@-net', pid: 'service:@-net', ipc: 'service:@-net'}}
    @-net: {{image: '{image}', network_mode: bridge, ipc: shareable, environment: {{WORD: {word}}}}}
"
    ));
}

#[test]
fn what_shares_namespaces_follows_the_container_that_has_them() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("run", "");
    let (net, app) = (sandbox.name("net"), sandbox.name("app"));
    let apply = || sandbox.mastic(&["apply", "--timeout", "1m"]).ok();
    let together = || {
        let wanted = format!("container:{}", id(&net));
        let modes = "{{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}} {{.HostConfig.IpcMode}}";
        assert_eq!(look(&app, modes), format!("{wanted} {wanted} {wanted}"));
        for kind in ["net", "pid", "ipc"] {
            let of = |container: &str| docker(&["exec", container, "readlink", &format!("/proc/self/ns/{kind}")]);
            assert_eq!(of(&app), of(&net), "{kind}");
        }
        is_unchanged(&sandbox);
    };
    shared(&sandbox, &image, "one");
    apply();
    together();

    let before = (id(&net), id(&app));
    shared(&sandbox, &image, "two");
    apply();
    assert!(id(&net) != before.0 && id(&app) != before.1, "a new container is shared by a new container");
    together();

    let before = (id(&net), id(&app));
    docker(&["restart", "-t", "0", &net]);
    apply();
    assert_eq!((id(&net), id(&app)), before, "a start needs a start");
    assert!(started(&app) > started(&net));
    together();

    docker(&["rm", "-f", &net]);
    let agent = sandbox.agent(&[]);
    sandbox.wait_for("both to be back", 60, || {
        sandbox.mastic(&["status", "-o", "json"]).json()["converged"] == true && id(&app) != before.1
    });
    agent.stop(20);
    together();
    sandbox.mastic(&["destroy", "--yes"]).ok();
}

#[test]
fn sharing_with_nobody_or_in_a_circle_is_an_error() {
    let sandbox = Sandbox::new();
    let wrong = |services: &str, words: &[&str]| {
        let services = services.replace('{', "{image: 'x:1', ");
        sandbox.site(&format!("  services: {{{services}}}\n"));
        let run = sandbox.mastic(&["validate"]);
        assert_eq!(run.code, 65, "{run}");
        for word in words {
            assert!(run.stderr.contains(word), "`{word}` is missing: {run}");
        }
    };
    wrong(
        "database: {}, app: {network_mode: 'service:databse'}",
        &["no service of this host", "did you mean `database`"],
    );
    wrong("a: {network_mode: 'service:b'}, b: {pid: 'service:a'}", &["wait for each other: a -> b -> a"]);
    wrong("a: {ipc: 'service:b'}, b: {}", &["does not share its memory", "ipc: shareable"]);
    wrong("a: {network_mode: 'container:b'}, b: {}", &["write `service:b`"]);
    wrong("a: {network_mode: 'service:b', ports: ['80:80']}, b: {}", &["no port is published"]);
}

#[test]
fn dependents_are_restarted_after_an_update_and_never_after_healing() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("run", "");
    let (db, app, other) = (sandbox.name("db"), sandbox.name("app"), sandbox.name("other"));
    let write = |word: &str| {
        sandbox.site(&format!(
            "  defaults: {{container: {{command: [sleep, '1000'], stop_signal: SIGKILL}}}}
  services:
    @-db: {{image: '{image}', environment: {{WORD: {word}}}}}
    @-app: {{image: '{image}', depends_on: {{@-db: {{condition: service_started, restart: true}}}}}}
    @-other: {{image: '{image}', depends_on: [@-db]}}
"
        ));
    };
    let apply = || sandbox.mastic(&["apply", "--timeout", "1m"]).ok();
    let seen = || (id(&app), started(&app), started(&other));
    write("one");
    apply();
    let before = seen();
    docker(&["kill", &db]);
    apply();
    docker(&["rm", "-f", &db]);
    apply();
    assert_eq!(seen(), before, "what is healed is no update");

    write("two");
    apply();
    let after = seen();
    assert_eq!((&after.0, &after.2), (&before.0, &before.2), "the same container, and the other one is left alone");
    assert!(after.1 > before.1 && after.1 > started(&db), "it was started again after the update");
    apply();
    assert_eq!(seen(), after, "once");

    sandbox.mastic(&["restart", &db]).ok();
    let restarted = seen();
    assert!(restarted.1 > after.1 && restarted.0 == after.0 && restarted.2 == after.2);
    apply();
    assert_eq!(seen(), restarted, "once");
    sandbox.mastic(&["destroy", "--yes"]).ok();
}

//! Images from a private registry, with TLS by an authority of its own and a login, through a whole site.

use std::fs;

use serde_json::json;

use crate::support::{Authority, Registry, Sandbox, Trust, docker, life, look};

#[test]
fn an_image_comes_from_a_registry_with_tls_and_a_login_and_what_is_wrong_with_either_is_told() {
    let sandbox = Sandbox::new();
    let (ours, foreign) = (Authority::new(), Authority::new());
    let registry = Registry::with_tls(&ours, "puller", "open-sesame-1");
    let trust = Trust::new(&registry);
    let first = sandbox.image("first", "");
    let reference =
        registry.push(&sandbox.image("second", "ENV FROM=registry"), &format!("{}-team/app:1", sandbox.prefix()));
    let write = |image: &str, password: &str| {
        fs::write(sandbox.path().join("password"), password).unwrap();
        fs::set_permissions(sandbox.path().join("password"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        sandbox.site(&format!(
            "  \
                 secrets: {{password: {{file: password}}}}\n  \
                 images: {{auth: {{'{}': {{username: puller, password: {{secret: password}}}}}}}}\n  \
                 services:\n    @-a: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL}}\n",
            registry.address()
        ));
    };
    write(&first, "wrong-2");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let a = sandbox.name("a");
    let before = life(&a);

    // Nobody knows its authority, then a wrong one, then the right one with a wrong password.
    write(&reference, "wrong-2");
    let agent = sandbox.agent(&[]);
    let told = |what: &str| {
        sandbox.wait_for(what, 30, || {
            let instance = sandbox.instance(&a);
            let error = instance["last_error"].as_str().unwrap_or_default();
            instance["waiting"] == json!("ImagePullBackOff")
                && error.starts_with("ImagePullFailed: ")
                && error.contains(what)
        });
        assert_eq!(life(&a), before, "the old one never stopped");
    };
    let again = || drop(sandbox.mastic(&["apply", "--timeout", "2s"]));
    told("certificate signed by unknown authority");
    trust.give(&foreign);
    again();
    told("x509: certificate signed by unknown authority");
    trust.give(&ours);
    again();
    told("unauthorized");
    let apply = sandbox.mastic(&["apply", "--timeout", "3s"]);
    assert!(apply.code != 0 && apply.stderr.contains("ImagePullFailed"), "{apply}");

    write(&reference, "open-sesame-1");
    sandbox
        .wait_for("the image", 30, || look(&a, "{{range .Config.Env}}{{println .}}{{end}}").contains("FROM=registry"));
    sandbox.mastic(&["wait", "--timeout", "30s"]).ok();
    assert!(sandbox.instance(&a)["waiting"].is_null());
    for secret in ["wrong-2", "open-sesame-1"] {
        let status = sandbox.status().to_string();
        assert!(!agent.log().contains(secret) && !status.contains(secret) && !apply.stderr.contains(secret));
    }
    agent.stop(20);
    docker(&["rm", "-f", &a]);
    docker(&["rmi", &reference]);
}

const ROLE: &str = "apiVersion: mastic/v1\nkind: Role\nmetadata: {name: '@-cache'}\nspec:\n  services:\n    \
                    '@-cache': {image: app, command: [sleep, '1000'], stop_signal: SIGKILL}\n    \
                    '@-side': {image: 'OTHER', command: [sleep, '1000'], stop_signal: SIGKILL}\n";

#[test]
fn a_moved_tag_means_nothing_until_the_lock_is_written_anew_and_then_only_what_has_it_is_replaced() {
    let sandbox = Sandbox::new();
    let registry = Registry::open();
    let name = sandbox.name("ns/app:1");
    let reference = registry.push(&sandbox.image("first", "ENV FROM=first"), &name);
    let role = format!("roles/{}/role.yaml", sandbox.name("cache"));
    sandbox.write(&role, &ROLE.replace("OTHER", &sandbox.image("other", "")));
    sandbox.site(&format!(
        "  images: {{registry: '{}', namespace: '@-ns', tag: '1', lock: images.lock}}\n  roles: [{{role: '@-cache'}}]\n",
        registry.address()
    ));
    let without = sandbox.mastic(&["validate"]);
    assert!(without.code == 65 && without.stderr.contains("`images.lock`: it is not there"), "{without}");
    let file = sandbox.path().join("images.lock");
    let lock = |arguments: &[&str]| sandbox.mastic(&[&["images", "lock", &reference], arguments].concat());
    assert_eq!((lock(&["--check"]).code, file.exists()), (2, false));
    assert!(lock(&[]).ok().contains(&format!("{reference}  new: {}", registry.digest(&name))));
    // What no registry has is told, and the rest stays.
    let all = sandbox.mastic(&["images", "lock", "-o", "json"]);
    assert!(all.code == 1 && all.json()["failed"].as_array().is_some_and(|failed| failed.len() == 1), "{all}");
    assert_eq!(all.json()["images"][0]["to"], json!(registry.digest(&name)));

    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let (cache, side) = (sandbox.name("cache"), sandbox.name("side"));
    let first = (look(&cache, "{{.Config.Image}}"), registry.digest(&name));
    assert_eq!(first.0, format!("{reference}@{}", first.1));
    let before = (life(&cache), life(&side));

    registry.push(&sandbox.image("second", "ENV FROM=second"), &name);
    assert_ne!(registry.digest(&name), first.1, "the tag means another image now");
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    let check = lock(&["--check", "-o", "json"]);
    assert_eq!((check.code, &check.json()["images"][0]["from"]), (2, &json!(first.1)), "{check}");
    lock(&[]).ok();
    assert_eq!(lock(&["--check"]).code, 0);
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert!(look(&cache, "{{range .Config.Env}}{{println .}}{{end}}").contains("FROM=second"));
    assert_ne!(life(&cache), before.0);
    assert_eq!(life(&side), before.1, "what the lock does not change is not touched");
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    docker(&["rm", "-f", &cache, &side]);
    for digest in [first.1, registry.digest(&name)] {
        docker(&["rmi", &format!("{}@{digest}", reference.trim_end_matches(":1"))]);
    }
}

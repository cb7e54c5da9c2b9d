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

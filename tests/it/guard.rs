//! What is lost costs nothing that runs: a site that lost most of its text, its file, a template, the key, all state.

use std::fs;

use serde_json::json;

use crate::support::{Sandbox, docker, life, look, try_docker};

/// What is lost, how, and how it comes back.
type Loss<'a> = (&'a str, &'a dyn Fn(), &'a dyn Fn());

/// A site of services `a`, `b`, ... of this sandbox, each with what `more` gives it.
fn site(sandbox: &Sandbox, image: &str, services: &[(&str, &str)]) -> String {
    let mut text =
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: @}\nspec:\n  hosts: {here: {connection: {local: {}}}}\n  \
         volumes: {@-data: {}, @-kept: {}}\n  services:\n"
            .to_owned();
    for (name, more) in services {
        text.push_str(&format!(
            "    @-{name}: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL{more}}}\n"
        ));
    }
    text.replace('@', sandbox.prefix())
}

fn runs(sandbox: &Sandbox, name: &str) -> bool {
    look(&sandbox.name(name), "{{.State.Status}}") == "running"
}

/// Removes a container and waits until the agent has brought it back.
#[track_caller]
fn heals(sandbox: &Sandbox, name: &str) {
    let before = look(&sandbox.name(name), "{{.Id}}");
    docker(&["rm", "-f", &sandbox.name(name)]);
    sandbox.wait_for(&format!("{name} to be healed"), 30, || {
        runs(sandbox, name) && look(&sandbox.name(name), "{{.Id}}") != before
    });
}

#[test]
fn a_site_that_lost_most_of_its_text_removes_nothing_until_it_is_allowed() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("guard", "");
    let all = [("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "")];
    sandbox.write("site.yaml", &site(&sandbox, &image, &all));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let before = sandbox.lives();
    assert_eq!(before.len(), 6);
    let agent = sandbox.agent(&[]);

    sandbox.write("site.yaml", &site(&sandbox, &image, &all[..2]));
    sandbox.wait_for("the guard", 30, || sandbox.status()["pending"]["kind"] == json!("removal"));
    assert_eq!(sandbox.lives(), before);
    let plan = sandbox.mastic(&["plan"]);
    assert!(plan.stdout.contains("--allow-prune") || plan.stdout.contains("would remove 4 of 6"), "{plan}");
    heals(&sandbox, "a");
    assert_eq!(sandbox.containers().len(), 6);
    // An apply without the word says what to do, and does not do it.
    let apply = sandbox.mastic(&["apply", "--timeout", "20"]);
    assert_ne!(apply.code, 0, "{apply}");
    assert!(apply.stderr.contains("4 of 6"), "{apply}");
    assert_eq!(sandbox.containers().len(), 6);

    // With its text back everything is as it was, and nothing was made anew.
    sandbox.write("site.yaml", &site(&sandbox, &image, &all));
    sandbox.wait_for("the guard to end", 30, || {
        let status = sandbox.status();
        status["pending"].is_null() && status["converged"] == json!(true)
    });
    for name in ["b", "c", "d", "e", "f"] {
        assert_eq!(life(&sandbox.name(name)), before[&sandbox.name(name)], "{name}");
    }
    sandbox.write("site.yaml", &site(&sandbox, &image, &all[..2]));
    sandbox.mastic(&["apply", "--allow-prune", "--timeout", "30"]).ok();
    assert_eq!(sandbox.containers(), [sandbox.name("a"), sandbox.name("b")].into());
    agent.stop(20);
}

#[test]
fn a_service_with_a_volume_goes_only_when_allowed_and_its_volume_stays() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("guard", "");
    let volume = ", volumes: ['@-data:/data', /scratch]".replace('@', sandbox.prefix());
    let all = [("a", ""), ("b", ""), ("c", ""), ("db", volume.as_str())];
    sandbox.write("site.yaml", &site(&sandbox, &image, &all));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    docker(&["exec", &sandbox.name("db"), "sh", "-c", "echo precious > /data/file"]);
    let db = life(&sandbox.name("db"));

    sandbox.write("site.yaml", &site(&sandbox, &image, &all[..3]));
    let apply = sandbox.mastic(&["apply", "--timeout", "20"]);
    assert_ne!(apply.code, 0, "{apply}");
    assert!(apply.stderr.contains(&sandbox.name("data")), "{apply}");
    assert_eq!(life(&sandbox.name("db")), db);
    sandbox.mastic(&["apply", "--allow-prune", "--timeout", "30"]).ok();
    assert!(!sandbox.containers().contains(&sandbox.name("db")));

    // Its data are there when it comes back.
    sandbox.write("site.yaml", &site(&sandbox, &image, &all));
    sandbox.mastic(&["apply", "--timeout", "30"]).ok();
    assert_eq!(docker(&["exec", &sandbox.name("db"), "cat", "/data/file"]), "precious\n");
    // One that stays is not held up: a service without a volume goes at once.
    sandbox.write("site.yaml", &site(&sandbox, &image, &all[1..]));
    sandbox.mastic(&["apply", "--timeout", "30"]).ok();
    assert!(!sandbox.containers().contains(&sandbox.name("a")));
    assert!(try_docker(&["volume", "inspect", &sandbox.name("data")]).is_ok());
}

#[test]
fn a_lost_site_or_template_leaves_the_last_good_state_in_force() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("guard", "");
    let files = ", files: [{source: t.j2, target: /etc/t}]";
    let text = site(&sandbox, &image, &[("a", files), ("b", "")]);
    sandbox.write("t.j2", "here is {{ host.name }}\n");
    sandbox.write("site.yaml", &text);
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let before = sandbox.lives();
    let agent = sandbox.agent(&[]);
    let is_bad = || !sandbox.status()["bad_site_file"].is_null();
    let is_good = || sandbox.status()["bad_site_file"].is_null() && sandbox.status()["converged"] == json!(true);

    let path = |name: &str| sandbox.path().join(name);
    let losses: [Loss<'_>; 5] = [
        ("no site", &|| fs::remove_file(path("site.yaml")).unwrap(), &|| drop(sandbox.write("site.yaml", &text))),
        ("an empty site", &|| drop(sandbox.write("site.yaml", "")), &|| drop(sandbox.write("site.yaml", &text))),
        ("half a site", &|| drop(sandbox.write("site.yaml", &text[..text.len() / 2])), &|| {
            drop(sandbox.write("site.yaml", &text));
        }),
        ("no template", &|| fs::remove_file(path("t.j2")).unwrap(), &|| {
            drop(sandbox.write("t.j2", "here is {{ host.name }}\n"));
        }),
        (
            "a template that is a directory",
            &|| {
                fs::remove_file(path("t.j2")).unwrap();
                fs::create_dir(path("t.j2")).unwrap();
            },
            &|| {
                fs::remove_dir(path("t.j2")).unwrap();
                sandbox.write("t.j2", "here is {{ host.name }}\n");
            },
        ),
    ];
    for (what, lose, find) in losses {
        lose();
        sandbox.wait_for(&format!("{what} to be told"), 30, is_bad);
        assert_eq!(life(&sandbox.name("a")), before[&sandbox.name("a")], "{what}");
        heals(&sandbox, "b");
        find();
        sandbox.wait_for(&format!("recovery from {what}"), 30, is_good);
        assert_eq!(life(&sandbox.name("a")), before[&sandbox.name("a")], "{what}");
    }
    // Started without a site, an agent heals what was accepted last; the file of `a` is written from memory.
    agent.stop(20);
    fs::remove_file(path("site.yaml")).unwrap();
    docker(&["rm", "-f", &sandbox.name("a")]);
    let agent = sandbox.agent(&["-f", "site.yaml"]);
    sandbox.wait_for("healing without a site", 30, || runs(&sandbox, "a"));
    assert_eq!(docker(&["exec", &sandbox.name("a"), "cat", "/etc/t"]), "here is here\n");
    agent.stop(20);
}

#[test]
fn a_lost_key_replaces_nothing() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("guard", "");
    sandbox.write("word", "hunter2");
    fs::set_permissions(sandbox.path().join("word"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let files = ", files: [{content: '{{ secrets.word }}', target: /etc/word}], secrets: [word]";
    let text = site(&sandbox, &image, &[("a", files), ("b", "")])
        .replace("  services:", "  secrets: {word: {file: word}}\n  services:");
    sandbox.write("site.yaml", &text);
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let before = sandbox.lives();
    let key = sandbox.state().join("site.key");

    fs::remove_file(&key).unwrap();
    assert_eq!(crate::support::causes(&sandbox, &[]), [].into());
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(sandbox.lives(), before, "after an apply");
    fs::remove_file(&key).unwrap();
    let agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));
    assert_eq!(sandbox.lives(), before, "with an agent");
    heals(&sandbox, "a");
    assert_eq!(docker(&["exec", &sandbox.name("a"), "cat", "/etc/word"]), "hunter2");
    // Lost under a running agent, too.
    let before = sandbox.lives();
    let _removed = fs::remove_file(&key);
    sandbox.write("site.yaml", &format!("{text}    # touched\n"));
    agent.signal("HUP");
    let number = sandbox.status()["generation"].as_u64().unwrap();
    sandbox.wait_for("the edit", 30, || {
        let status = sandbox.status();
        status["converged"] == json!(true) && status["generation"].as_u64().unwrap() >= number
    });
    assert_eq!(sandbox.lives(), before, "under a running agent");
    agent.stop(20);
}

#[test]
fn a_state_directory_lost_with_its_files_ends_with_the_same_content() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("guard", "");
    let files = ", files: [{content: fixed, target: /etc/fixed}, {content: live, target: /etc/live/, name: l, on_change: nothing}]";
    // Told by a signal, `c` would go on to look into the directory that was removed.
    let live = ", files: [{content: live, target: /etc/live/, name: l, on_change: {signal: WINCH}}]";
    sandbox.write("site.yaml", &site(&sandbox, &image, &[("a", files), ("b", ""), ("c", live)]));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let b = life(&sandbox.name("b"));
    fs::remove_dir_all(sandbox.state()).unwrap();
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(docker(&["exec", &sandbox.name("c"), "cat", "/etc/live/l"]), "live");
    let said = docker(&["exec", &sandbox.name("a"), "sh", "-c", "cat /etc/fixed /etc/live/l"]);
    assert_eq!(said, "fixedlive");
    assert_eq!(life(&sandbox.name("b")), b);
    assert!(sandbox.is_settled());
}

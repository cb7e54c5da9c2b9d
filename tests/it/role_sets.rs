//! Roles on a real engine: two of them as a set each, one keeping objects for the other, configured by the site.

use std::collections::BTreeMap;

use crate::support::{Sandbox, docker, try_docker};

/// Keeps rows of a file in a volume: `PROGRAM KIND apply` reads before it writes, `check` says whether all are there.
const PROGRAM: &str = r#"#!/bin/sh
document=$(tr -d ' ')
if [ "$2" = check ]; then
    [ -e /data/broken ] && exit 75
    for name in $(printf '%s' "$document" | sed 's/.*"items"://' | grep -o '"name":"[a-z]*"' | cut -d'"' -f4); do
        grep -qx "$name" /data/rows || { echo "$name: missing" >&2; exit 1; }
    done
    exit 0
fi
case "$document" in *'"key":"k3y"'*) ;; *) echo 'no way in' >&2; exit 1 ;; esac
for name in $(printf '%s' "$document" | sed 's/.*"items"://' | grep -o '"name":"[a-z]*"' | cut -d'"' -f4); do
    grep -qx "$name" /data/rows 2>/dev/null || echo "$name" >>/data/rows
done
echo "run" >>/data/runs
"#;

const STORE: &str = "apiVersion: mastic/v1
kind: Role
metadata: {name: '@-store', version: 1.0.0}
spec:
  secrets: {store_key: {}}
  volumes: {'@-data': {}}
  services:
    '@-store': {image: 'IMAGE', command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['@-data:/data']}
    '@-clients': {image: 'IMAGE', command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['@-data:/data']}
  providers:
    row: {in: '@-clients', command: [/usr/lib/keep-rows, row], connection: {key: '{{ secrets.store_key }}'}, depends_on: ['@-store']}
";

const APPLICATION: &str = "apiVersion: mastic/v1
kind: Role
metadata: {name: '@-app', version: 1.0.0}
spec:
  vars:
    rows: {type: list, default: [one]}
    greeting: {type: string, default: hello}
    memory: {type: size, default: 32m}
  services:
    '@-app':
      image: 'IMAGE'
      command: [sh, -c, 'trap \"echo told >> /tmp/told\" HUP; while :; do sleep 0.1; done']
      stop_signal: SIGKILL
      files: [{source: app.conf.j2, target: /etc/app/, format: ini, on_change: {signal: HUP}}]
      depends_on: {'@-rows': {}}
    '@-side': {image: 'IMAGE', command: [sleep, '1000'], stop_signal: SIGKILL, mem_limit: '{{ memory }}', depends_on: {'@-app': {}}}
  objects:
    '@-rows': {provider: '@-store/row', items: [{name: one}]}
";

fn set_up(sandbox: &Sandbox, vars: &str) {
    let image = sandbox.image("roles", "");
    let put = |path: &str, text: &str| drop(sandbox.write(path, &text.replace("IMAGE", &image)));
    let store = format!("roles/{}", sandbox.name("store"));
    let app = format!("roles/{}", sandbox.name("app"));
    put(&format!("{store}/role.yaml"), STORE);
    put(&format!("{store}/objects/keep-rows"), PROGRAM);
    put(&format!("{app}/role.yaml"), APPLICATION);
    put(&format!("{app}/templates/app.conf.j2"), "[app]\ngreeting = {{ greeting }}\nplace = {{ host.name }}\n");
    put("key", "k3y\n");
    std::fs::set_permissions(sandbox.path().join("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    put(
        "site.yaml",
        &format!(
            "apiVersion: mastic/v1
kind: Site
metadata: {{name: '@'}}
spec:
  hosts: {{here: {{}}}}
  secrets: {{store_key: {{file: key}}}}
  roles:
    - {{role: '@-store'}}
    - {{role: '@-app', vars: {{{vars}}}}}
"
        ),
    );
}

fn starts(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let services = ["store", "clients", "app", "side"];
    services
        .map(|service| {
            (service.to_owned(), docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &sandbox.name(service)]))
        })
        .into()
}

fn in_store(sandbox: &Sandbox, file: &str) -> String {
    docker(&["exec", &sandbox.name("store"), "cat", &format!("/data/{file}")])
}

#[test]
fn roles_are_placed_kept_changed_and_operated_as_sets() {
    let sandbox = Sandbox::new();
    set_up(&sandbox, "");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(in_store(&sandbox, "rows").trim(), "one", "the object is there before what needs it");
    assert!(sandbox.is_settled());
    assert_eq!(sandbox.instance(&sandbox.name("app"))["role"], sandbox.name("app").as_str());

    // An option of the site's own reaches the process by a signal, and nothing else is touched.
    let before = starts(&sandbox);
    sandbox.write(&format!("config/{}.conf", sandbox.name("app")), "");
    sandbox.write("config/app.conf", "[app]\ngreeting = good evening\n[extra]\na = 1\n");
    std::fs::remove_file(sandbox.path().join(format!("config/{}.conf", sandbox.name("app")))).unwrap();
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let file = docker(&["exec", &sandbox.name("app"), "cat", "/etc/app/app.conf"]);
    assert_eq!(file.trim(), "[app]\ngreeting = good evening\nplace = here\n\n[extra]\na = 1");
    assert!(try_docker(&["exec", &sandbox.name("app"), "cat", "/tmp/told"]).is_ok(), "the process was told");
    assert_eq!(starts(&sandbox), before);
    let explained = sandbox.mastic(&["explain", &format!("config/{}/app.conf/app/greeting", sandbox.name("app"))]).ok();
    assert!(explained.contains("config/app.conf:2") && explained.contains("over hello"), "{explained}");
    let told = |text: &str| {
        text.contains("[app] greeting = good evening\n  from ")
            && text.contains("config/app.conf:2\n  over hello from ")
    };
    let out = sandbox.path().join("out");
    let written = sandbox.mastic(&["render", "--provenance", "--out", &out.to_string_lossy()]).ok();
    let file = out.join(sandbox.name("app")).join("app.conf.provenance");
    assert!(written.contains(&format!("{}\n", file.display())), "{written}");
    let table = std::fs::read_to_string(&file).unwrap();
    assert!(told(&table), "{table}");
    let listed = sandbox.mastic(&["render", "--provenance", "--role", &sandbox.name("app")]).ok();
    assert!(told(&listed) && !listed.contains(&sandbox.name("store")), "{listed}");

    // A variable that one service reads is an update of that one, in place.
    set_up(&sandbox, "memory: 48m");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(starts(&sandbox), before, "a limit is changed in place");
    assert_eq!(docker(&["inspect", "-f", "{{.HostConfig.Memory}}", &sandbox.name("side")]).trim(), "50331648");
    assert_eq!(in_store(&sandbox, "runs").trim(), "run", "objects that did not change are not applied again");

    // The role as a unit.
    sandbox.mastic(&["stop", "--role", &sandbox.name("app"), "--reason", "night"]).ok();
    let running = docker(&["ps", "--format", "{{.Names}}", "--filter", &format!("name={}", sandbox.prefix())]);
    assert!(!running.contains(&sandbox.name("app")) && !running.contains(&sandbox.name("side")), "{running}");
    assert!(running.contains(&sandbox.name("store")), "{running}");
    sandbox.mastic(&["start", "--role", &sandbox.name("app"), "--timeout", "60"]).ok();
    assert!(sandbox.is_settled());
    let unknown = sandbox.mastic(&["restart", "--role", "nothing"]);
    assert!(unknown.code == 64 && unknown.stderr.contains("no service here belongs to a role `nothing`"), "{unknown}");
}

#[test]
fn what_a_provider_says_of_a_failure_is_told_and_its_secrets_are_not() {
    let sandbox = Sandbox::new();
    set_up(&sandbox, "");
    sandbox.write("key", "wr0ngkey\n");
    let run = sandbox.mastic(&["apply", "--timeout", "20"]);
    assert!(run.code != 0, "{run}");
    assert!(format!("{run}").contains("no way in"), "{run}");
    assert!(!format!("{run}").contains("wr0ngkey"), "{run}");
    // The right key is a changed input: what failed is tried again at once, and what waited goes on.
    sandbox.write("key", "k3y\n");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(in_store(&sandbox, "rows").trim(), "one");
}

#[test]
fn a_set_is_operated_and_rolled_back_down_to_its_parts_and_nothing_else_is_touched() {
    let sandbox = Sandbox::new();
    set_up(&sandbox, "");
    let (app, store, other) = (sandbox.name("app"), sandbox.name("store"), sandbox.name("other"));
    // The store comes along because of the application.
    let role = sandbox.path().join(format!("roles/{app}/role.yaml"));
    let text =
        std::fs::read_to_string(&role).unwrap().replace("spec:\n  vars:", "spec:\n  includes: ['@-store']\n  vars:");
    sandbox.write(&format!("roles/{app}/role.yaml"), &text);
    let image = sandbox.image("roles", "");
    let site = |greeting: &str, letter: &str| {
        sandbox.site(&format!(
            "  secrets: {{store_key: {{file: key}}}}\n  roles: [{{role: '@-app', vars: {{greeting: {greeting}}}}}]\n  services:\n    \
             '@-other': {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, environment: {{A: {letter}}}}}\n"
        ));
        sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    };
    let greeting = || docker(&["exec", &app, "cat", "/etc/app/app.conf"]).lines().nth(1).unwrap().to_owned();
    site("hello", "one");
    let told = sandbox.mastic(&["status", "--role", &app]).ok();
    assert!(told.starts_with(&format!("{app} 1.0.0, with {store}\n")), "{told}");
    assert!(
        told.contains(&sandbox.name("clients")) && told.contains(&sandbox.name("rows")) && !told.contains(&other),
        "{told}"
    );
    let json = sandbox.mastic(&["status", "-o", "json"]).json();
    let of_app = json["roles"].as_array().unwrap().iter().find(|role| role["name"] == app.as_str()).unwrap().clone();
    assert_eq!((&of_app["version"], of_app["parts"].as_array().unwrap().len()), (&"1.0.0".into(), 2));
    assert!(sandbox.mastic(&["describe", &app]).ok().contains(&format!("Role         {app} 1.0.0, with {store}")));
    let unknown = sandbox.mastic(&["status", "--role", "nothing"]);
    assert!(unknown.code == 64 && unknown.stderr.contains("there is no role `nothing`"), "{unknown}");

    sandbox.mastic(&["stop", "--role", &app, "--reason", "night"]).ok();
    let running = docker(&["ps", "--format", "{{.Names}}", "--filter", &format!("name={}", sandbox.prefix())]);
    assert_eq!(running.trim(), other, "the parts stopped with it");
    sandbox.mastic(&["start", "--role", &app, "--timeout", "60"]).ok();
    assert!(sandbox.is_settled());

    // Two edits of others lie between the set as it was and as it is.
    site("good-day", "one");
    site("good-day", "two");
    let before = docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &other]);
    sandbox.mastic(&["rollback", "--role", &app, "--timeout", "60"]).ok();
    let back = sandbox.mastic(&["history"]).ok();
    assert!(back.contains(&format!("rollback of {app} to 1")), "{back}");
    assert_eq!(greeting(), "greeting = hello");
    assert_eq!(docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &other]), before);
    // Back and forth: what the first rollback pinned stays pinned.
    sandbox.mastic(&["rollback", "--role", &app, "2", "--timeout", "60"]).ok();
    assert_eq!(greeting(), "greeting = good-day");
    sandbox.mastic(&["rollback", "--role", &app, "1", "--timeout", "60"]).ok();
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(greeting(), "greeting = hello", "the source is still the one that was rolled back from");
    site("good-day", "three");
    assert_eq!(greeting(), "greeting = good-day");
}

#[test]
fn objects_that_somebody_takes_away_are_noticed_named_and_put_back() {
    let sandbox = Sandbox::new();
    set_up(&sandbox, "");
    let role = format!("roles/{}/role.yaml", sandbox.name("app"));
    let text = std::fs::read_to_string(sandbox.path().join(&role)).unwrap();
    sandbox.write(&role, &text.replace("items: [{name: one}]", "items: [{name: one}], check_every: 1s"));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let lives = starts(&sandbox);
    let agent = sandbox.agent(&[]);
    let in_data = |command: &str| docker(&["exec", &sandbox.name("store"), "sh", "-c", command]);
    let told = |words: &str| sandbox.mastic(&["events"]).stdout.contains(words);
    in_data("echo other > /data/rows");
    sandbox.wait_for("the row", 60, || in_store(&sandbox, "rows") == "other\none\n");
    assert!(told("what it did is no longer so, and it runs again: one: missing"), "{}", sandbox.mastic(&["events"]));
    sandbox.wait_for("the end of the job", 30, || sandbox.is_settled());

    // A program that cannot tell is no reason to do anything.
    in_data("touch /data/broken; echo other > /data/rows");
    sandbox.wait_for("the failure", 60, || told("it cannot be told now"));
    assert_eq!(in_store(&sandbox, "rows"), "other\n");
    in_data("rm /data/broken");
    sandbox.wait_for("the row", 60, || in_store(&sandbox, "rows") == "other\none\n");
    assert_eq!(starts(&sandbox), lives, "no service was touched");
    agent.stop(20);
}

#[test]
fn a_process_is_told_of_an_edit_only_when_the_objects_that_it_needs_are_there() {
    let sandbox = Sandbox::new();
    set_up(&sandbox, "");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let greeting =
        || docker(&["exec", &sandbox.name("app"), "cat", "/etc/app/app.conf"]).lines().nth(1).unwrap().to_owned();
    set_up(&sandbox, "greeting: good-day");
    sandbox.write("key", "wr0ngkey\n");
    assert_ne!(sandbox.mastic(&["apply", "--timeout", "15"]).code, 0);
    assert_eq!(greeting(), "greeting = hello");
    sandbox.write("key", "k3y\n");
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    assert_eq!(greeting(), "greeting = good-day");
    assert!(try_docker(&["exec", &sandbox.name("app"), "cat", "/tmp/told"]).is_ok(), "the process was told");
}

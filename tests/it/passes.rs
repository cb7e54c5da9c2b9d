//! What the agent asks the engine when nobody calls it: light passes, deep passes, and what only the latter find.

use std::collections::BTreeMap;

use mastic::report::status::SiteStatus;
use serde_json::Value;

use crate::support::{Daemon, Inside, Proxy, Run, Sandbox, differences, docker, made_with};

/// Longer than from one light pass to the next, and shorter than to the deep one.
const LIGHT: u64 = 67;
/// Longer than from one deep pass to the next.
const DEEP: u64 = 335;

/// Three services behind a proxy, applied; with everything that is listed by a call of its own.
fn applied(daemon: Option<&Daemon>) -> (Sandbox, Proxy) {
    let sandbox = Sandbox::new();
    let image = sandbox.image("passes", "");
    let proxy = match daemon {
        Some(daemon) => {
            daemon.load(&image);
            Proxy::to(sandbox.path(), &daemon.socket())
        }
        None => Proxy::new(sandbox.path()),
    };
    sandbox.write(
        "site.yaml",
        &format!(
            "apiVersion: mastic/v1
kind: Site
metadata: {{name: @}}
spec:
  hosts: {{here: {{connection: {{docker: {{host: '{}'}}}}}}}}
  networks: {{@-back: {{}}}}
  volumes: {{@-data: {{}}}}
  x-same: &same
    image: '{image}'
    command: [sleep, '1000']
    stop_signal: SIGKILL
    mem_limit: 32m
    networks: [@-back]
    volumes: ['@-data:/data']
    files: [{{content: here, target: /etc/here}}]
  services: {{@-a: *same, @-b: *same, @-c: *same}}
",
            proxy.host()
        ),
    );
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    (sandbox, proxy)
}

fn converged(status: &SiteStatus) -> bool {
    status.converged && status.hosts[0].engine.events_connected
}

#[tokio::test]
async fn a_light_pass_that_finds_nothing_new_asks_two_questions_and_a_deep_one_few() {
    // On an engine of its own: events of other tests lead to more questions.
    let daemon = Daemon::start(&[]);
    let (sandbox, proxy) = applied(Some(&daemon));
    let agent = Inside::start(&sandbox).await;
    agent.until("the agent to follow", converged).await;
    // The first may still be part of the beginning.
    agent.skip(LIGHT).await;
    agent.looked().await;
    proxy.take_calls();
    agent.skip(LIGHT).await;
    agent.looked().await;
    let mut calls = proxy.take_calls();
    calls.sort();
    assert_eq!(calls, ["GET /containers/json", "GET /networks"]);

    agent.skip(DEEP).await;
    agent.looked().await;
    let calls = proxy.take_calls();
    assert!(calls.iter().all(|call| call.starts_with("GET ")), "{calls:#?}");
    let inspects = calls.iter().filter(|call| call.starts_with("GET /containers/") && call.ends_with("/json"));
    assert_eq!(inspects.count(), 4, "a list, and one look at each: {calls:#?}");
    assert!(calls.len() <= 9, "{calls:#?}");
    agent.end().await;
}

#[test]
fn an_apply_that_asks_while_it_reads_the_site_asks_nothing_twice_and_sees_what_is() {
    let daemon = Daemon::start(&[]);
    let sandbox = Sandbox::new();
    let image = sandbox.image("early", "");
    daemon.load(&image);
    let proxy = Proxy::to(sandbox.path(), &daemon.socket());
    let service = format!("{{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL}}");
    sandbox.site(&format!("  services: {{one: {service}, two: {service}, six: {service}}}\n"));
    let apply = || {
        let mut command = sandbox.command(&["apply", "--timeout", "60"]);
        command.env("DOCKER_HOST", proxy.host());
        proxy.take_calls();
        Run::of(command).ok();
        proxy.take_calls()
    };
    apply();
    daemon.docker(&["run", "-d", "--label", "mastic.site=other", "--label", "mastic.host=here", &image, "true"]);
    let ids = ["one", "two", "six"].map(|name| daemon.docker(&["inspect", "-f", "{{.Id}}", name]).trim().to_owned());
    let calls = apply();
    let inspects = |id: &str| calls.iter().filter(|call| **call == format!("GET /containers/{id}/json")).count();
    assert_eq!(ids.each_ref().map(|id| inspects(id)), [1, 1, 1], "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("GET /containers/")).count(), 4, "{calls:#?}");
    daemon.docker(&["rm", "-f", &ids[1]]);
    assert!(apply().iter().any(|call| call == "POST /containers/create"));
}

#[tokio::test]
async fn what_is_changed_by_hand_while_no_events_come_is_found_by_the_deep_pass() {
    let (sandbox, proxy) = applied(None);
    let names = ["a", "b", "c"].map(|name| sandbox.name(name));
    let before: BTreeMap<String, Value> = names.iter().map(|name| (name.clone(), made_with(name))).collect();
    let lives = sandbox.lives();
    let wrong =
        || -> Vec<String> { before.iter().flat_map(|(name, value)| differences(value, &made_with(name))).collect() };
    let agent = Inside::start(&sandbox).await;
    agent.until("the agent to follow", converged).await;
    proxy.cut_events();
    agent.until("the loss of events", |status| !status.hosts[0].engine.events_connected).await;
    assert!(agent.status().hosts[0].reachable && agent.status().converged);

    docker(&["update", "--memory", "48m", "--memory-swap", "96m", &names[0]]);
    docker(&["network", "disconnect", &sandbox.name("back"), &names[1]]);
    assert_eq!(wrong().len(), 3, "{:#?}", wrong());
    // Lists do not show it.
    proxy.take_calls();
    agent.skip(LIGHT).await;
    agent.looked().await;
    assert_eq!(proxy.take_changes(), [""; 0]);
    assert!(agent.status().converged);

    agent.skip(DEEP).await;
    // What lasted for less than a moment is in no status: only the end of it is sure to be told.
    let healed = |status: &SiteStatus| status.converged && wrong().is_empty();
    agent.until("what was done by hand to be found and healed", healed).await;
    assert_eq!(sandbox.lives(), lives, "no container was made anew, none restarted");
    assert!(!agent.status().hosts[0].engine.events_connected);

    // Events go on by themselves, and what happens then is seen at once.
    proxy.mend();
    agent.until("events again", converged).await;
    docker(&["rm", "-f", &names[2]]);
    agent.until("its return", |status| status.converged && !made_with(&names[2]).is_null()).await;
    agent.end().await;
}

//! What is made of facts of machines, and of their absence.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::facts::{HostFacts, InterfaceAddress, SiteFacts, missing_in_words};
use crate::model::names::HostName;
use crate::model::settings::ContainerSettings;

use super::compile::{CompileRequest, Compiled, compile, compile_all};
use super::testing::{Memory, request, spec};

const SITE: &str = r#"
  networks: {api: {cidr: 10.0.0.0/24}}
  endpoints: {internal: {vip: 10.0.0.250}}
  hosts:
    one: {address: 10.0.0.1}
    two: {}
    three: {}
  vars: {all: "{{ hosts.values() | map(attribute='address.api') | join(',') }}"}
  services:
    own: {image: "a:1", hosts: [all], environment: {NAME: "{{ host.name }}"}}
    self: {image: "a:1", hosts: [all], environment: {AT: "{{ host.address.api }}"}}
    peers: {image: "a:1", hosts: [all], environment: {PEERS: "{{ all }}"}}
    sized: {image: "a:1", hosts: [all], files: [{source: size.j2, target: /size}]}
  jobs:
    init: {image: "a:1", hosts: [all], run: each, command: ["{{ hosts.three.address.api }}"]}
"#;

fn machine(addresses: &[&str]) -> Arc<HostFacts> {
    let address = |text: &&str| InterfaceAddress { address: text.parse().unwrap(), prefix: 24 };
    let interfaces = BTreeMap::from([("eth0".to_owned(), addresses.iter().map(address).collect())]);
    Arc::new(HostFacts { cpus: 8, memory: 1 << 30, interfaces: Some(interfaces), ..HostFacts::default() })
}

fn known(facts: &[(&str, Arc<HostFacts>)]) -> CompileRequest {
    let facts: SiteFacts = facts.iter().map(|(host, facts)| (HostName::new(*host).unwrap(), facts.clone())).collect();
    CompileRequest { facts: Arc::new(facts), ..request(&["site.yaml"]) }
}

fn on(host: &str, asked: &CompileRequest) -> Compiled {
    let asked = CompileRequest { host: Some(host.to_owned()), ..asked.clone() };
    let text = spec(SITE);
    let files = Memory::new(&[("site.yaml", &text), ("size.j2", "{{ host.facts.cpus * 2 }}\n")]);
    compile(&asked, &files).map_err(|why| why.render(false)).unwrap()
}

fn variable(compiled: &Compiled, service: &str, name: &str) -> Option<String> {
    let settings: &ContainerSettings = &compiled.desired.services.get(service)?.settings;
    settings.environment.as_ref()?.get(name).cloned()
}

/// What is compiled, and what waits for what.
fn shown(compiled: &Compiled) -> String {
    let desired = &compiled.desired;
    let ready = desired.services.keys().map(ToString::to_string).chain(desired.jobs.keys().map(ToString::to_string));
    let services = desired.waits.services.iter().map(|(name, missing)| (name.to_string(), missing));
    let waits = services.chain(desired.waits.jobs.iter().map(|(name, missing)| (name.to_string(), missing)));
    let waits = waits.map(|(name, missing)| format!("\n{name}: {}", missing_in_words(missing)));
    format!("{}{}", ready.collect::<Vec<_>>().join(" "), waits.collect::<String>())
}

#[test]
fn an_address_that_is_not_declared_is_that_of_the_machine() {
    let all = known(&[
        ("one", machine(&["10.0.0.99"])),
        ("two", machine(&["10.0.0.2", "192.0.2.2"])),
        ("three", machine(&["10.0.0.3"])),
    ]);
    let compiled = on("two", &all);
    assert_eq!(shown(&compiled), "own self peers sized init");
    assert_eq!(variable(&compiled, "self", "AT").as_deref(), Some("10.0.0.2"));
    let peers = variable(&compiled, "peers", "PEERS");
    assert_eq!(peers.as_deref(), Some("10.0.0.1,10.0.0.2,10.0.0.3"), "what is declared counts for more");
    let file = &compiled.desired.services["sized"].files[0];
    assert_eq!(file.content.expose(), b"16\n");
    assert!(compiled.needs_facts);
    assert_eq!(compiled.moving.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.250"]);
}

#[test]
fn what_needs_a_fact_that_is_not_known_waits_and_nothing_else_does() {
    let some = known(&[("two", machine(&["10.0.0.2"]))]);
    insta::assert_snapshot!(shown(&on("two", &some)), @r"
    own self sized
    peers: the address of `three` in `api` is not known yet
    init: the address of `three` in `api` is not known yet
    ");
    insta::assert_snapshot!(shown(&on("one", &some)), @r"
    own self
    peers: the address of `three` in `api` is not known yet
    sized: the facts of `one` are not known yet
    init: the address of `three` in `api` is not known yet
    ");
    let none = on("three", &known(&[]));
    insta::assert_snapshot!(shown(&none), @r"
    own
    peers: the address of `two` in `api` is not known yet
    self: the address of `three` in `api` is not known yet
    sized: the facts of `three` are not known yet
    init: the address of `three` in `api` is not known yet
    ");
}

#[test]
fn why_an_address_cannot_be_told_is_said_with_what_to_do() {
    let untold = Arc::new(HostFacts { cpus: 1, ..HostFacts::default() });
    let odd =
        known(&[("two", machine(&["10.0.0.2", "10.0.0.22"])), ("three", machine(&["192.0.2.3"])), ("one", untold)]);
    insta::assert_snapshot!(shown(&on("two", &odd)), @r"
    own sized
    peers: `two` has 2 addresses in `api`, 10.0.0.2 and 10.0.0.22; declare it: `hosts.two.addresses.api`
    self: `two` has 2 addresses in `api`, 10.0.0.2 and 10.0.0.22; declare it: `hosts.two.addresses.api`
    init: `three` has no address in `api` (10.0.0.0/24); declare it: `hosts.three.addresses.api`
    ");
}

#[test]
fn whoever_only_checks_a_site_needs_no_facts() {
    let text = spec(SITE);
    let files = Memory::new(&[("site.yaml", &text), ("size.j2", "{{ host.facts.nothing }}\n")]);
    let asked = CompileRequest { assume_facts: true, ..request(&["site.yaml"]) };
    let wrong = compile_all(&asked, &files).unwrap_err().render(false);
    assert!(wrong.contains("`host.facts.nothing` is undefined"), "{wrong}");
    let right = Memory::new(&[("site.yaml", &text), ("size.j2", "{{ host.facts.memory }}\n")]);
    assert!(compile_all(&asked, &right).unwrap().iter().all(|one| one.desired.waits.is_empty()));
}

//! What a site and its roles say of filesets.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::compile::{CompileRequest, compile};
use super::testing::{Memory, errors, request};
use crate::model::desired::HostDesired;
use crate::model::fileset::{Contents, fill_all, missing};
use crate::model::secret::Sensitive;
use crate::model::settings::Mount;
use crate::render::seal::seal_instance;

const ROLE: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: id}
spec:
  vars:
    id_days: {type: integer, default: 2}
  services:
    id: {image: id, files: [{content: a, target: /etc/id/, name: conf, on_change: nothing}]}
    other: {image: id}
  jobs:
    id-check: {like: id, command: [check]}
  filesets:
    keys:
      path: /etc/keys/
      services: [id, id-check]
      create: {command: [make, --now]}
      update: {command: [rotate], every: "{{ id_days }}d", timeout: 1m}
      owner: id
      mode: "0400"
      on_change: restart
"#;

const SITE: &str = r"
apiVersion: mastic/v1
kind: Site
metadata: {name: demo}
spec:
  hosts: {one: {address: 10.0.0.1}, two: {address: 10.0.0.2}, three: {address: 10.0.0.3}}
  secrets: {fileset_key: {file: key}}
  roles:
    - {role: id, hosts: [one, two], place: {other: [three]}}
    - {role: id, name: second, hosts: [three]}
";

fn desired(host: &str) -> HostDesired {
    let files = Memory::new(&[("site.yaml", SITE), ("roles/id/role.yaml", ROLE), ("key", "a key\n")]);
    let request = CompileRequest { host: Some(host.to_owned()), ..request(&["site.yaml"]) };
    compile(&request, &files).map_err(|errors| errors.render(false)).unwrap().desired
}

#[test]
fn a_role_says_what_makes_them_and_who_sees_them() {
    let one = desired("one");
    assert_eq!(one.filesets.len(), 1);
    let keys = &one.filesets[0];
    let mut shown = serde_json::to_value(keys.as_ref()).unwrap();
    shown["key"] = serde_json::Value::Null;
    insta::assert_snapshot!(shown.to_string(), @r#"{"fileset":"keys","role":"id","path":"/etc/keys","like":"id","create":{"command":["make","--now"],"timeout":300000},"update":{"make":{"command":["rotate"],"timeout":60000},"every":172800000},"members":["one","two"],"makers":["one","two"],"key":null}"#);
    assert_eq!(keys.key.expose(), b"a key\n");
    let id = &one.services["id"];
    insta::assert_snapshot!(serde_json::to_string(&id.filesets).unwrap(), @r#"[{"fileset":"keys","target":"/etc/keys","directory":"live/1","owner":"id","group":0,"mode":256,"on_change":"restart"}]"#);
    let mount = &id.settings.volumes.as_ref().unwrap()["/etc/keys"];
    assert_eq!(*mount, Mount::Managed { path: "live/1".to_owned() });
    assert_eq!(one.jobs["id-check"].filesets.len(), 1);
    assert_eq!(
        desired("three").filesets.iter().map(|found| found.fileset.as_str()).collect::<Vec<_>>(),
        ["second-keys"]
    );
    let second = desired("three");
    assert_eq!(second.filesets[0].like.as_str(), "second", "names of the role are those of this use of it");
    assert_eq!(second.services["second"].filesets[0].fileset.as_str(), "second-keys");
}

#[test]
fn what_they_hold_is_in_no_hash_and_goes_away_again() {
    let accepted = desired("one");
    let mut filled = accepted.clone();
    let contents: Contents = [("0".to_owned(), Sensitive::new("opensesame"))].into();
    let known = [("keys".to_owned().try_into().unwrap(), contents)].into();
    fill_all(&mut filled, &known);
    let id = &filled.services["id"];
    let paths: Vec<&str> = id.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["live/0/conf", "live/1/0"]);
    assert!(missing(&id.filesets, &id.files).is_none());
    assert_eq!(missing(&accepted.services["id"].filesets, &accepted.services["id"].files).unwrap().as_str(), "keys");
    assert_eq!(id.input_hash, accepted.services["id"].input_hash);
    assert!(!format!("{filled:?}").contains("opensesame"));
    let mut again = filled.clone();
    fill_all(&mut again, &known);
    assert_eq!(again, filled);
    fill_all(&mut again, &std::collections::BTreeMap::new());
    assert_eq!(again, accepted);
    // The mount is part of the spec: whoever gets a fileset gets a new container.
    let mut without = accepted.services["id"].as_ref().clone();
    without.filesets.clear();
    without.settings.volumes.as_mut().unwrap().remove("/etc/keys");
    seal_instance(&mut without, b"key");
    assert_ne!(without.create_hash, accepted.services["id"].create_hash);
}

#[test]
fn what_is_wrong_is_said_where_it_is_written() {
    let wrong = |fileset: &str| {
        let text = format!(
            "  hosts: {{here: {{}}}}\n  secrets: {{fileset_key: {{file: key}}}}\n  services:\n    web: {{image: app:1, files: [{{content: a, target: /etc/a/, name: b, on_change: nothing}}]}}\n  jobs: {{check: {{image: app:1, command: [x]}}}}\n  filesets:\n    keys: {fileset}\n"
        );
        errors(&text).lines().next().unwrap_or_default().to_owned()
    };
    let cases = [
        "{path: /k, services: web, create: {command: [a]}}",
        "{path: k, services: web, create: {command: [a]}}",
        "{path: /k, services: wep, create: {command: [a]}}",
        "{path: /k, services: check, create: {command: [a]}}",
        "{path: /k, services: web, like: wep, create: {command: [a]}}",
        "{path: /etc/a, services: web, create: {command: [a]}}",
        "{path: /k, services: web, create: {command: [a]}, update: {command: [b], every: 0s}}",
        "{path: /k, services: web, create: {command: [a]}, on_change: reload}",
        "{path: /k, services: web}",
    ];
    let said: Vec<String> = cases.iter().map(|case| format!("{case}\n    {}", wrong(case))).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    {path: /k, services: web, create: {command: [a]}}
        it compiles
    {path: k, services: web, create: {command: [a]}}
        error[V002]: `k` is no path in the container: it must start with `/`
    {path: /k, services: wep, create: {command: [a]}}
        error[R001]: `wep` is neither a service nor a job
    {path: /k, services: check, create: {command: [a]}}
        error[R001]: `check` is a job, and a fileset is made in a container like that of a service
    {path: /k, services: web, like: wep, create: {command: [a]}}
        error[R001]: `wep` is no service
    {path: /etc/a, services: web, create: {command: [a]}}
        error[R005]: the fileset `keys` is put where `web` has files
    {path: /k, services: web, create: {command: [a]}, update: {command: [b], every: 0s}}
        error[V002]: `every` must be more than nothing
    {path: /k, services: web, create: {command: [a]}, on_change: reload}
        error[F002]: the fileset `keys` is to be reloaded, and nothing says how
    {path: /k, services: web}
        error[K003]: a fileset needs the key `create`
    ");
}

#[test]
fn the_key_is_a_secret_that_the_site_has_to_have() {
    let text = "  hosts: {here: {}}\n  services: {web: {image: app:1}}\n  filesets: {keys: {path: /k, services: web, create: {command: [a]}}}\n";
    assert!(errors(text).contains("a secret is missing: `fileset_key`"), "{}", errors(text));
}

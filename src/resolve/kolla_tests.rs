//! What `kolla` asks for, and what is said when it cannot be had.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use serde_json::Value;

use super::compile::Compiled;
use super::testing::{errors, site, spec};
use crate::model::file::{FileSpec, Shown};

fn service(inside: &str) -> String {
    format!("  hosts: {{here: {{}}}}\n  services:\n    a:\n      image: app:1\n{inside}")
}

fn compiled(inside: &str) -> Compiled {
    site(&spec(&service(inside)), &[("a.conf.j2", "port = {{ 8000 + 80 }}\n"), ("b/a.conf", "b\n")])
        .map_err(|why| why.render(false))
        .unwrap()
}

fn shown(files: &[FileSpec]) -> String {
    let mut out = String::new();
    for file in files {
        let Shown::Text(text) = &file.shown else { continue };
        let text = text.trim_end();
        let owner = serde_json::to_value([&file.owner, &file.group]).unwrap();
        writeln!(out, "{} {:04o} {owner} {:?} {}\n{text}", file.target, file.mode, file.on_change, file.path).unwrap();
    }
    out
}

const TWO_FILES: &str = "      kolla:
        command: app --config /etc/app/a.conf
        config_files:
          - {source: a.conf.j2, dest: /etc/app/a.conf, owner: 'app:adm', perm: '0640', format: ini}
          - {source: b/a.conf, dest: /etc/app/b/, owner: root, perm: '0600'}
";

#[test]
fn files_of_the_contract_lie_beside_config_json_and_a_change_replaces() {
    let compiled = compiled(TWO_FILES);
    let app = &compiled.desired.services["a"];
    assert_eq!(app.settings.command.as_ref().unwrap(), &["kolla_start", "app", "--config", "/etc/app/a.conf"]);
    insta::assert_debug_snapshot!(app.settings.environment.as_ref().unwrap(), @r#"
    {
        "KOLLA_CONFIG_STRATEGY": "COPY_ALWAYS",
        "KOLLA_SERVICE_NAME": "a",
    }
    "#);
    insta::assert_snapshot!(shown(&app.files), @r#"
    /var/lib/kolla/config_files/config.json 0644 [0,0] Replace fixed/0
    {
      "command": "app --config /etc/app/a.conf",
      "config_files": [
        {
          "source": "/var/lib/kolla/config_files/a.conf",
          "dest": "/etc/app/a.conf",
          "owner": "app:adm",
          "perm": "0640"
        },
        {
          "source": "/var/lib/kolla/config_files/a.conf.2",
          "dest": "/etc/app/b/a.conf",
          "owner": "root",
          "perm": "0600"
        }
      ]
    }
    /var/lib/kolla/config_files/a.conf 0440 ["app","adm"] Replace fixed/1
    port = 8080
    /var/lib/kolla/config_files/a.conf.2 0400 [0,0] Replace fixed/2
    b
    "#);
}

#[test]
fn with_a_reload_the_directory_is_a_live_one() {
    let compiled = compiled(&format!("{TWO_FILES}        on_change: {{exec: kolla_set_configs, signal: HUP}}\n"));
    let app = &compiled.desired.services["a"];
    let mounts: Vec<&String> = app.settings.volumes.as_ref().unwrap().keys().collect();
    assert_eq!(mounts, ["/var/lib/kolla/config_files"]);
    let paths: Vec<&str> = app.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["live/0/config.json", "live/0/a.conf", "live/0/a.conf.2"]);
    assert_eq!(
        serde_json::to_value(&app.reload).unwrap(),
        serde_json::json!({"validate": null, "exec": ["kolla_set_configs"], "signal": "SIGHUP"})
    );
}

#[test]
fn what_is_set_stays_and_the_name_of_the_container_is_told() {
    let text = "      container_name: a_b
      entrypoint: [init]
      command: [app, 'a b']
      environment: {KOLLA_CONFIG_STRATEGY: COPY_ONCE}
      kolla: {permissions: [{path: /srv, owner: app}]}\n";
    let compiled = compiled(text);
    let app = &compiled.desired.services["a"];
    assert_eq!(app.settings.command.as_ref().unwrap(), &["app", "a b"], "an entry point of one's own gets what it got");
    let environment = app.settings.environment.as_ref().unwrap();
    assert_eq!(environment["KOLLA_CONFIG_STRATEGY"], "COPY_ONCE");
    assert_eq!(environment["KOLLA_SERVICE_NAME"], "a-b");
}

#[test]
fn a_job_like_a_service_has_its_files_and_a_command_of_its_own() {
    let jobs = "  jobs:
    sync: {like: a, command: [app-manage, db_sync]}
    bootstrap: {like: a, environment: {KOLLA_BOOTSTRAP: ''}}\n";
    let reload = "        on_change: {signal: HUP}\n";
    let compiled = compiled(&format!("{TWO_FILES}{reload}{jobs}"));
    let command = |job: &str| compiled.desired.jobs[job].settings.command.clone().unwrap();
    assert_eq!(command("sync"), ["kolla_start", "app-manage", "db_sync"]);
    assert_eq!(command("bootstrap"), ["kolla_start", "app", "--config", "/etc/app/a.conf"]);
    let job = &compiled.desired.jobs["sync"];
    assert_eq!(job.files[1].path, "fixed/1", "a job never changes while it runs");
    let config: Value = serde_json::from_slice(job.files[0].content.expose()).unwrap();
    assert_eq!(config["command"], "app-manage db_sync");
}

#[test]
fn a_default_command_is_no_command_of_the_service() {
    let text = format!("  defaults: {{container: {{command: [sleep, '1']}}}}\n{}", service(TWO_FILES));
    let beside = [("a.conf.j2", ""), ("b/a.conf", "")];
    let compiled = site(&spec(&text), &beside).map_err(|why| why.render(false)).unwrap();
    assert_eq!(compiled.desired.services["a"].settings.command.as_ref().unwrap()[1], "app");
}

#[test]
fn errors_of_kolla_are_at_their_places() {
    let text = "      kolla:
        command: sh -c 'a b'
        strategy: COPY_ONCE
        config_files:
          - {source: a.txt, dest: /etc/a}
          - {dest: /etc/a, owner: '0', perm: '0644'}
          - {content: x, dest: /etc/, owner: 'a:7', perm: '0644'}
          - {source: /opt/x, dest: /etc/x, preserve_properties: true, format: ini}
        permissions: [{path: /srv, owner: a, exclude: ['(']}]
        directories: [{path: '/srv/*', owner: a, perm: '0755'}]
        on_change: {validate: [x]}\n";
    insta::assert_snapshot!(errors(&service(text)), @r#"
    error[V002]: a word of this command is empty or has a blank in it
      --> site.yaml:10:18
       |
    10 |         command: sh -c 'a b'
       |                  ^^^^^^^^^^^ Kolla's start program splits it at blanks, and knows no quotes
       |
       = help: put the line into a script of the image, or into a file of `config_files`

    error[K003]: a file of `config_files` needs the key `owner`
      --> site.yaml:13:13
       |
    13 |           - {source: a.txt, dest: /etc/a}
       |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: or `preserve_properties: true`, which takes those of the source

    error[K003]: a file of `config_files` needs the key `perm`
      --> site.yaml:13:13
       |
    13 |           - {source: a.txt, dest: /etc/a}
       |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: or `preserve_properties: true`, which takes those of the source

    error[K003]: a file needs a `source` or a `content`
      --> site.yaml:14:13
       |
    14 |           - {dest: /etc/a, owner: '0', perm: '0644'}
       |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    error[F002]: a file with `content` has no name of its own in this directory
      --> site.yaml:15:32
       |
    15 |           - {content: x, dest: /etc/, owner: 'a:7', perm: '0644'}
       |                                ^^^^^
       |
       = help: write the whole path as `dest`

    error[V002]: `a:7` is no owner: write `user` or `user:group`, by their names in the image
      --> site.yaml:15:46
       |
    15 |           - {content: x, dest: /etc/, owner: 'a:7', perm: '0644'}
       |                                              ^^^^^

    error[V002]: `format` is for files of the site, and this source lies in the container
      --> site.yaml:16:79
       |
    16 |           - {source: /opt/x, dest: /etc/x, preserve_properties: true, format: ini}
       |                                                                               ^^^

    error[V002]: `(` is no regular expression: unclosed group
      --> site.yaml:17:56
       |
    17 |         permissions: [{path: /srv, owner: a, exclude: ['(']}]
       |                                                        ^^^

    error[V002]: `/srv/*` is a pattern, and a directory that is made has one name
      --> site.yaml:18:30
       |
    18 |         directories: [{path: '/srv/*', owner: a, perm: '0755'}]
       |                              ^^^^^^^^

    error[K003]: on_change needs `signal` or `exec`, or is one word
      --> site.yaml:19:20
       |
    19 |         on_change: {validate: [x]}
       |                    ^^^^^^^^^^^^^^^

    error[V002]: with `strategy: COPY_ONCE` a change reaches new containers only
      --> site.yaml:19:20
       |
    19 |         on_change: {validate: [x]}
       |                    ^^^^^^^^^^^^^^^
       |
       = help: remove `on_change`, so that a change replaces the container, or set `strategy: COPY_ALWAYS`
    "#);
    insta::assert_snapshot!(
        errors(&service("      kolla: {config_files: [{source: a.txt, dest: etc, owner: root, perm: 644}]}\n")), @r#"
    error[V002]: `etc` is no path in the container: it must start with `/`
     --> site.yaml:9:52
      |
    9 |       kolla: {config_files: [{source: a.txt, dest: etc, owner: root, perm: 644}]}
      |                                                    ^^^

    error[V002]: `644` is a decimal number here; write permissions in octal and quoted: `"0644"`
     --> site.yaml:9:76
      |
    9 |       kolla: {config_files: [{source: a.txt, dest: etc, owner: root, perm: 644}]}
      |                                                                            ^^^
    "#
    );
    insta::assert_snapshot!(errors(&service("      kolla: {comand: x, config_files: []}\n")), @r#"
    error[K001]: kolla has no key `comand`
     --> site.yaml:9:15
      |
    9 |       kolla: {comand: x, config_files: []}
      |               ^^^^^^
      |
      = help: did you mean `command`?
    "#);
    insta::assert_snapshot!(errors(&service("      kolla: {config_files: []}\n")), @r#"
    error[K003]: kolla needs a command
     --> site.yaml:9:7
      |
    9 |       kolla: {config_files: []}
      |       ^^^^^
      |
      = help: add `command`, here or to the service: what is run in the end
    "#);
    insta::assert_snapshot!(
        errors(&service("      kolla: {command: x, config_files: [{source: no, dest: /x, owner: a, perm: '0600'}]}\n")), @r#"
    error[F001]: cannot read `no`: no such file
     --> site.yaml:9:51
      |
    9 |       kolla: {command: x, config_files: [{source: no, dest: /x, owner: a, perm: '0600'}]}
      |                                                   ^^
    "#
    );
    insta::assert_snapshot!(
        errors(&service("      kolla: {command: x}\n      files: [{source: a.txt, target: /var/lib/kolla/config_files/config.json}]\n")), @r#"
    error[R005]: two files are put at `/var/lib/kolla/config_files/config.json`
      --> site.yaml:9:7
       |
     9 |       kolla: {command: x}
       |       ^^^^^
    10 |       files: [{source: a.txt, target: /var/lib/kolla/config_files/config.json}]
       |                                       --------------------------------------- here first
    "#
    );
}

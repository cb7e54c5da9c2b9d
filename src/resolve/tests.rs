//! The room as a whole: sites in, desired states or errors out.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use super::compile::{compile, compile_all};
use super::testing::{Memory, request, site, spec};
use crate::parse::starter;

/// As JSON; what the hashes are is another room's matter.
fn without_hashes(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap();
    let lines = text.lines().map(|line| match line.split_once("_hash\": ") {
        Some((before, _)) => format!("{before}_hash\": ..."),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_starter_runs_as_it_is() {
    let files = Memory::new(&starter::FILES);
    let compiled = compile(&request(&["site.yaml"]), &files).map_err(|why| why.render(false)).unwrap();
    insta::assert_snapshot!(without_hashes(&compiled.desired), @r#"
    {
      "site": "demo",
      "host": "here",
      "generation": 0,
      "source_digest": "fb4fc32959ee01bbc32938efab5dcdc13c164f9ad575396b8fc0c9fe2963524a",
      "services": {
        "hello": {
          "service": "hello",
          "role": null,
          "container_name": "hello",
          "image": "busybox:1",
          "pull_policy": "missing",
          "settings": {
            "command": [
              "httpd",
              "-f",
              "-p",
              "8080",
              "-h",
              "/www"
            ],
            "mem_limit": 67108864,
            "network_mode": "host",
            "volumes": {
              "/www/index.html": {
                "type": "managed",
                "path": "fixed/0"
              }
            },
            "restart": "unless_stopped",
            "logging": {
              "driver": "json-file",
              "options": {
                "max-file": "3",
                "max-size": "50m"
              }
            }
          },
          "networks": {},
          "files": [
            {
              "target": "/www/index.html",
              "source": "index.html.j2",
              "content": "PCFkb2N0eXBlIGh0bWw+Cjx0aXRsZT5IZWxsbyBmcm9tIE1hc3RpYzwvdGl0bGU+CjxoMT5IZWxsbyBmcm9tIE1hc3RpYzwvaDE+CjxwPlRoaXMgcGFnZSBvZiBkZW1vIGlzIHNlcnZlZCBieSBoZXJlLiBDaGFuZ2UgYGdyZWV0aW5nYCBpbiBzaXRlLnlhbWwsIGFuZCBzZWUgaXQgY2hhbmdlLjwvcD4K",
              "shown": {
                "text": "<!doctype html>\n<title>Hello from Mastic</title>\n<h1>Hello from Mastic</h1>\n<p>This page of demo is served by here. Change `greeting` in site.yaml, and see it change.</p>\n"
              },
              "mode": 420,
              "owner": 0,
              "group": 0,
              "on_change": "replace",
              "path": "fixed/0"
            }
          ],
          "reload": {
            "validate": null,
            "exec": null,
            "signal": null
          },
          "ready": {
            "probe": {
              "http": {
                "host": null,
                "port": 8080,
                "path": "/",
                "status": null
              }
            },
            "every": 1000,
            "timeout": 3000
          },
          "rollout": {
            "max_unavailable": 1,
            "min_ready": 5000,
            "deadline": 60000,
            "on_failure": "rollback"
          },
          "depends_on": {},
          "unhealthy": "report",
          "drift_ignore": [],
          "hooks": {
            "post_start": [],
            "pre_stop": []
          },
          "sensitive": [],
          "create_hash": ...
          "input_hash": ...
        }
      },
      "jobs": {},
      "networks": {},
      "volumes": {},
      "registries": {},
      "sync": {
        "edits": "auto",
        "heal": "auto",
        "max_removals": 3,
        "max_removal_percent": 50,
        "protect_volumes": true
      },
      "secrets": []
    }
    "#);
}

#[test]
fn a_secret_may_be_exposed_on_purpose() {
    let compiled = site(
        &spec(
            "
  hosts: {here: {}}
  secrets: {db: {file: key}}
  services:
    a:
      image: busybox:1
      expose_secrets: true
      environment: [\"A=b\", \"PASSWORD={{ secrets.db }}\"]
      secrets: [db]
",
        ),
        &[("key", "hunter2\n")],
    )
    .unwrap();
    let a = &compiled.desired.services["a"];
    assert_eq!(a.sensitive.iter().collect::<Vec<_>>(), ["environment.PASSWORD"]);
    assert_eq!(a.settings.environment.as_ref().unwrap()["PASSWORD"], "hunter2");
    assert_eq!(a.files[0].target, "/run/secrets/db");
    assert_eq!(a.files[0].content.expose(), b"hunter2\n");
    assert_eq!(a.files[0].mode, 0o400);
}

#[test]
fn a_directory_is_one_site_and_overlays_win() {
    let files = Memory::new(&[
        (
            "dir/a.yaml",
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: t}\nspec:\n  hosts: {here: {}}\n  services: {web: {image: \"busybox:1\"}}\n",
        ),
        ("dir/b.yml", "spec:\n  services: {api: {image: \"busybox:2\", environment: {A: 1, B: 2}}}\n"),
        ("dir/.hidden.yaml", "nonsense"),
        ("over.yaml", "spec: {services: {api: {environment: {B: 3}, mem_limit: 64m}, web: {image: \"busybox:9\"}}}\n"),
    ]);
    let compiled = compile(&request(&["dir", "over.yaml"]), &files).map_err(|why| why.render(false)).unwrap();
    let api = &compiled.desired.services["api"];
    assert_eq!(serde_json::to_value(&api.settings.environment).unwrap(), serde_json::json!({"A": "1", "B": "3"}));
    assert_eq!(api.settings.mem_limit, Some(64 << 20));
    assert_eq!(compiled.desired.services["web"].image.as_str(), "busybox:9");
    assert_eq!(compiled.files, ["dir/a.yaml", "dir/b.yml", "over.yaml"].map(PathBuf::from));

    let mut files = files;
    files.0.insert("dir/c.yaml".into(), b"spec: {services: {web: {image: \"busybox:3\"}}, vars: {x: 1}}\n".to_vec());
    insta::assert_snapshot!(compile(&request(&["dir"]), &files).unwrap_err().render(false), @r#"
    error[R003]: the service `web` is declared twice in this directory
     --> dir/c.yaml:1:19
      |
    1 | spec: {services: {web: {image: "busybox:3"}}, vars: {x: 1}}
      |                   ^^^ and here again
      |
     ::: dir/a.yaml:6:14
      |
    6 |   services: {web: {image: "busybox:1"}}
      |              --- here first
      |
      = help: one of them can become an overlay: name the files with several -f, and the later one wins
    "#);
}

#[test]
fn variables_go_from_the_general_to_the_specific() {
    let text = spec("
  hosts:
    ctl[1:2]: {address: \"10.0.0.1[1:2]\", groups: [red]}
  groups:
    blue: {vars: {who: blue, deep: \"{{ who }}!\"}, groups: [red]}
    red: {vars: {who: red, size: 64}}
  networks: {api: {cidr: 10.0.0.0/24}}
  vars: {who: site, only: site, list: [1, 2]}
  services:
    a:
      hosts: [blue]
      image: busybox:1
      command: \"{{ list }}\"
      environment: {WHO: \"{{ who }} {{ deep }} {{ only }}\", ADDRESS: \"{{ host.address.api }}\", PEERS: \"{{ groups.blue | join(',') }}\"}
      mem_limit: \"{{ size }}m\"
      hostname: \"{{ hosts.ctl1.name }}\"
");
    let files = Memory::new(&[("site.yaml", &text)]);
    let all = compile_all(&request(&["site.yaml"]), &files).map_err(|why| why.render(false)).unwrap();
    let show = |index: usize| serde_json::to_string(&all[index].desired.services["a"].settings).unwrap();
    insta::assert_snapshot!(show(0), @r#"{"command":["1","2"],"environment":{"ADDRESS":"10.0.0.11","PEERS":"ctl1,ctl2","WHO":"red red! site"},"hostname":"ctl1","mem_limit":67108864,"restart":"unless_stopped","logging":{"driver":"json-file","options":{"max-file":"3","max-size":"50m"}}}"#);
    insta::assert_snapshot!(show(1), @r#"{"command":["1","2"],"environment":{"ADDRESS":"10.0.0.12","PEERS":"ctl1,ctl2","WHO":"red red! site"},"hostname":"ctl1","mem_limit":67108864,"restart":"unless_stopped","logging":{"driver":"json-file","options":{"max-file":"3","max-size":"50m"}}}"#);
    let mut with_extra = request(&["site.yaml"]);
    with_extra.host = Some("ctl2".to_owned());
    with_extra.extra_vars = vec![("who".to_owned(), "me".to_owned()), ("size".to_owned(), "8".to_owned())];
    let compiled = compile(&with_extra, &files).unwrap();
    assert_eq!(compiled.desired.services["a"].settings.environment.as_ref().unwrap()["WHO"], "me me! site");
    assert_eq!(compiled.desired.services["a"].settings.mem_limit, Some(8 << 20));
}

#[test]
fn jobs_may_be_like_services() {
    let compiled = site(&spec("
  hosts: {here: {}}
  defaults: {container: {environment: [TZ=UTC], restart: always, volumes: [\"/etc/localtime:/etc/localtime:ro\"]}}
  services:
    web: {image: \"busybox:1\", environment: {A: 1}, volumes: [\"/data\"], ports: [\"80:80\"], restart: \"no\"}
  jobs:
    migrate: {like: web, command: migrate --all, depends_on: {web: {}}, done_when: {service: web, exec: [test, -f, /done]}}
    nightly: {image: \"busybox:1\", schedule: {cron: \"17 2 * * *\", tz: Europe/Berlin}, timeout: 5m, run: each}
"), &[]).map_err(|why| why.render(false)).unwrap();
    insta::assert_snapshot!(without_hashes(&compiled.desired.jobs), @r#"
    {
      "migrate": {
        "job": "migrate",
        "role": null,
        "container_name": "migrate",
        "image": "busybox:1",
        "pull_policy": "missing",
        "settings": {
          "command": [
            "migrate",
            "--all"
          ],
          "environment": {
            "A": "1",
            "TZ": "UTC"
          },
          "volumes": {
            "/data": {
              "type": "volume",
              "read_only": false,
              "nocopy": false
            },
            "/etc/localtime": {
              "type": "bind",
              "source": "/etc/localtime",
              "read_only": true,
              "create_host_path": true
            }
          },
          "restart": "no",
          "logging": {
            "driver": "json-file",
            "options": {
              "max-file": "3",
              "max-size": "50m"
            }
          }
        },
        "networks": {},
        "files": [],
        "run": "one",
        "depends_on": {
          "web": {
            "on": "ready",
            "need": "any",
            "required": true,
            "restart": false
          }
        },
        "done_when": {
          "service": {
            "service": "web",
            "probe": {
              "exec": {
                "command": [
                  "test",
                  "-f",
                  "/done"
                ]
              }
            }
          }
        },
        "timeout": 3600000,
        "schedule": null,
        "input_hash": ...
      },
      "nightly": {
        "job": "nightly",
        "role": null,
        "container_name": "nightly",
        "image": "busybox:1",
        "pull_policy": "missing",
        "settings": {
          "environment": {
            "TZ": "UTC"
          },
          "volumes": {
            "/etc/localtime": {
              "type": "bind",
              "source": "/etc/localtime",
              "read_only": true,
              "create_host_path": true
            }
          },
          "restart": "no",
          "logging": {
            "driver": "json-file",
            "options": {
              "max-file": "3",
              "max-size": "50m"
            }
          }
        },
        "networks": {},
        "files": [],
        "run": "each",
        "depends_on": {},
        "done_when": null,
        "timeout": 300000,
        "schedule": {
          "cron": "17 2 * * *",
          "timezone": "Europe/Berlin",
          "run_missed": false
        },
        "input_hash": ...
      }
    }
    "#);
}

//! The room as a whole: sites in, desired states or errors out.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use super::compile::{compile, compile_all};
use super::testing::{Memory, errors, request, site, spec};
use crate::parse::starter;

#[test]
fn the_starter_runs_as_it_is() {
    let files = Memory::new(&starter::FILES);
    let compiled = compile(&request(&["site.yaml"]), &files).map_err(|why| why.render(false)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&compiled.desired).unwrap(), @r#"
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
          "create_hash": "1:74f2557e05e41916bcb28de02d5da699",
          "input_hash": "1:c0ac974652d8b08409e5b24237d49bb2"
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
      }
    }
    "#);
}

#[test]
fn all_errors_of_a_file_come_at_once() {
    insta::assert_snapshot!(errors("
  hosts: {here: {groups: [web]}}
  services:
    web:
      hosts: [wbe]
      imgae: busybox:1
      ports: [\"80:80:80:80\", 99999]
      mem_limit: 64x
      environment: {A: [1]}
      build: .
      privileged: yes
      files:
        - {source: a.txt, target: etc/a, mode: 644}
        - {source: a.txt, target: /etc/a, mode: \"0644\", on_change: reloda}
    api:
      image: Busybox
      depends_on: [wbe]
      restart: sometimes
"), @r#"
    error[R001]: `wbe` is neither a host nor a group
     --> site.yaml:8:15
      |
    8 |       hosts: [wbe]
      |               ^^^
      |
      = help: did you mean `web`?

    error[K001]: a service has no key `imgae`
     --> site.yaml:9:7
      |
    9 |       imgae: busybox:1
      |       ^^^^^
      |
      = help: did you mean `image`?

    error[V002]: `80:80:80:80` has too many colons; put an IPv6 address in brackets
      --> site.yaml:10:15
       |
    10 |       ports: ["80:80:80:80", 99999]
       |               ^^^^^^^^^^^^^

    error[V002]: `99999` is no port from 1 to 65535
      --> site.yaml:10:30
       |
    10 |       ports: ["80:80:80:80", 99999]
       |                              ^^^^^

    error[V002]: `64x` is no size; write `64m`, `1g` or a number of bytes
      --> site.yaml:11:18
       |
    11 |       mem_limit: 64x
       |                  ^^^

    error[V001]: expected a text, found a list
      --> site.yaml:12:21
       |
    12 |       environment: {A: [1]}
       |                     ^

    error[K002]: `build` is not taken in a service
      --> site.yaml:13:7
       |
    13 |       build: .
       |       ^^^^^
       |
       = help: a host runs images and builds none; build it beforehand and name it as `image`

    error[V002]: `yes` is a text in YAML 1.2; write `true`
      --> site.yaml:14:19
       |
    14 |       privileged: yes
       |                   ^^^

    error[V002]: `etc/a` is no path in the container: it must start with `/`
      --> site.yaml:16:35
       |
    16 |         - {source: a.txt, target: etc/a, mode: 644}
       |                                   ^^^^^

    error[V002]: `644` is a decimal number here; write permissions in octal and quoted: `"0644"`
      --> site.yaml:16:48
       |
    16 |         - {source: a.txt, target: etc/a, mode: 644}
       |                                                ^^^

    error[V002]: `reloda` is none of `replace`, `restart`, `reload`, `nothing`
      --> site.yaml:17:68
       |
    17 |         - {source: a.txt, target: /etc/a, mode: "0644", on_change: reloda}
       |                                                                    ^^^^^^
       |
       = help: did you mean `reload`?

    error[V002]: `Busybox` is no image reference: a repository is written in lower case
      --> site.yaml:19:14
       |
    19 |       image: Busybox
       |              ^^^^^^^

    error[R001]: `wbe` is neither a service nor a job
      --> site.yaml:20:20
       |
    20 |       depends_on: [wbe]
       |                    ^^^
       |
       = help: did you mean `web`?

    error[V002]: `sometimes` is none of `no`, `always`, `unless-stopped`, `on-failure[:N]`
      --> site.yaml:21:16
       |
    21 |       restart: sometimes
       |                ^^^^^^^^^
    "#);
}

#[test]
fn what_only_shows_between_services_is_found() {
    insta::assert_snapshot!(errors("
  hosts: {here: {}}
  services:
    a:
      image: busybox:1
      container_name: x
      ports: [\"8000-8002:80-82\", \"127.0.0.1:53:53/udp\"]
      depends_on: {b: {condition: service_healthy}}
      networks: [net]
      volumes: [\"data:/data\", \"/srv:/data/\"]
    b:
      image: busybox:1
      container_name: x
      ports: [\"8001:1\"]
      depends_on: [c]
    c:
      image: busybox:1
      depends_on: [a]
      network_mode: host
      ports: [\"1:1\"]
      cpus: 1
      cpu_quota: 5000
"), @r#"
    error[R001]: no network is called `net`
      --> site.yaml:12:18
       |
    12 |       networks: [net]
       |                  ^^^
       |
       = help: declare it under `spec.networks`

    error[R001]: no volume is called `data`
      --> site.yaml:13:17
       |
    13 |       volumes: ["data:/data", "/srv:/data/"]
       |                 ^^^^^^^^^^^^
       |
       = help: declare it under `spec.volumes`

    error[R005]: two things are mounted at `/data`
      --> site.yaml:13:31
       |
    13 |       volumes: ["data:/data", "/srv:/data/"]
       |                 ------------  ^^^^^^^^^^^^^
       |                 |
       |                 here first

    error[R003]: two containers of this host would be called `x`
      --> site.yaml:16:23
       |
     9 |       container_name: x
       |                       - the other
    ...
    16 |       container_name: x
       |                       ^

    error[R004]: port 8001/tcp of the host is published twice: by `a` and by `b`
      --> site.yaml:17:15
       |
    10 |       ports: ["8000-8002:80-82", "127.0.0.1:53:53/udp"]
       |               ----------------- here first
    ...
    17 |       ports: ["8001:1"]
       |               ^^^^^^^^

    error[R002]: services wait for each other: a -> b -> c -> a
      --> site.yaml:21:20
       |
    11 |       depends_on: {b: {condition: service_healthy}}
       |                    - and this
    ...
    18 |       depends_on: [c]
       |                    - and this
    ...
    21 |       depends_on: [a]
       |                    ^ because of this

    error[V003]: with `network_mode: host` no port is published: the process listens on the host itself
      --> site.yaml:23:7
       |
    22 |       network_mode: host
       |                     ---- set here
    23 |       ports: ["1:1"]
       |       ^^^^^
       |
       = help: leave out `ports`

    error[V003]: `cpu_quota` and `cpus` say the same thing in two ways
      --> site.yaml:25:7
       |
    24 |       cpus: 1
       |       ---- the other
    25 |       cpu_quota: 5000
       |       ^^^^^^^^^
       |
       = help: keep `cpus`
    "#);
}

#[test]
fn secrets_are_kept_from_where_they_would_be_seen() {
    insta::assert_snapshot!(errors("
  hosts: {here: {}}
  vars: {password: \"{{ secrets.db }}\"}
  secrets: {db: {file: key}}
  services:
    a:
      image: busybox:1
      environment: {PASSWORD: \"{{ password }}\"}
      command: [sh, -c, \"echo {{ secrets.db }}\"]
"), @r#"
    error[S001]: a secret would be seen in `environment` by everybody who may ask the engine
      --> site.yaml:11:31
       |
    11 |       environment: {PASSWORD: "{{ password }}"}
       |                               ^^^^^^^^^^^^^^^^ it holds a secret
       |
       = help: let the process read it from a file: `secrets: [NAME]` puts it at /run/secrets/NAME, and many images take NAME_FILE=/run/secrets/NAME; or write a file with `files`
       = help: `expose_secrets: true` allows it for this service, where an image knows no other way

    error[S001]: a secret would be seen in `command` by everybody who may ask the engine
      --> site.yaml:12:25
       |
    12 |       command: [sh, -c, "echo {{ secrets.db }}"]
       |                         ^^^^^^^^^^^^^^^^^^^^^^^ it holds a secret
       |
       = help: let the process read it from a file: `secrets: [NAME]` puts it at /run/secrets/NAME, and many images take NAME_FILE=/run/secrets/NAME; or write a file with `files`
       = help: `expose_secrets: true` allows it for this service, where an image knows no other way
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
fn files_that_cannot_be_placed_say_why() {
    insta::assert_snapshot!(errors("
  hosts: {here: {}}
  services:
    a:
      image: busybox:1
      files:
        - {source: a.txt, target: /etc/a.conf, on_change: {signal: HUP}}
        - {source: a.txt, target: /etc/app/, on_change: reload}
        - {source: gone.txt, target: /etc/gone}
        - {source: b.j2, target: /etc/b}
        - {content: x, target: /etc/app/x}
        - {content: x, target: /etc/x}
        - {content: y, target: /etc/x}
"), @"
    error[F002]: a file with `on_change: reload` needs a directory as its target
      --> site.yaml:10:35
       |
    10 |         - {source: a.txt, target: /etc/a.conf, on_change: {signal: HUP}}
       |                                   ^^^^^^^^^^^             ------------- changed under a running container because of this
       |                                   |
       |                                   this is a lone file
       |
       = help: a file mounted alone goes on showing its old content after it was replaced; write `target: /etc/`, which mounts the directory

    error[F001]: cannot read `gone.txt`: no such file
      --> site.yaml:12:20
       |
    12 |         - {source: gone.txt, target: /etc/gone}
       |                    ^^^^^^^^

    error[R005]: `/etc/app/x` lies inside of `/etc/app`, which Mastic mounts as a whole
      --> site.yaml:14:32
       |
    11 |         - {source: a.txt, target: /etc/app/, on_change: reload}
       |                                   --------- because of this file
    ...
    14 |         - {content: x, target: /etc/app/x}
       |                                ^^^^^^^^^^
       |
       = help: give all files of the directory the same class of `on_change`, or put them into directories of their own

    error[R005]: two files are put at `/etc/x`
      --> site.yaml:16:32
       |
    15 |         - {content: x, target: /etc/x}
       |                                ------ here first
    16 |         - {content: y, target: /etc/x}
       |                                ^^^^^^

    error[T001]: `nothing` is undefined
      --> b.j2:1:4
       |
     1 | {{ nothing }}
       |    ^^^^^^^
       |
      ::: site.yaml:13:20
       |
    13 |         - {source: b.j2, target: /etc/b}
       |                    ---- rendered because of this
    ");
}

#[test]
fn yaml_itself_can_be_wrong() {
    insta::assert_snapshot!(errors("  hosts: {here: {}}\n  services:\n\ta: {}\n"), @"
    error[Y001]: this is not YAML: tabs disallowed within this context (block indentation)
     --> site.yaml:7:2
      |
    7 |     a: {}
      |     ^
      |
      = help: indent with spaces: YAML takes no tabs for it
    ");
    insta::assert_snapshot!(errors("  hosts: {here: {}}\n  hosts: {there: {}}\n  vars: !secret x\n"), @"
    error[Y002]: the key `hosts` is given twice
     --> site.yaml:6:3
      |
    5 |   hosts: {here: {}}
      |   ----- here first
    6 |   hosts: {there: {}}
      |   ^^^^^ and here again

    error[Y004]: the tag `!secret` means nothing here
     --> site.yaml:7:9
      |
    7 |   vars: !secret x
      |         ^^^^^^^^^
    ");
    insta::assert_snapshot!(errors("  hosts: {here: {}}\n---\nkind: Site\n"), @"
    error[Y004]: a site file holds one document, and here a second begins
     --> site.yaml:6:1
      |
    6 | ---
      | ^^^
      |
      = help: put it into a file of its own and name both with -f, or name their directory
    ");
    insta::assert_snapshot!(errors("  hosts: {here: {}}\n  vars: {a: {{ b }}}\n"), @"
    error[Y004]: a key is a text, and this is a mapping
     --> site.yaml:6:14
      |
    6 |   vars: {a: {{ b }}}
      |              ^^^^^
      |
      = help: put quotes around a key or value that starts with `{{`
    ");
}

#[test]
fn a_billion_laughs_are_not_laughed() {
    let mut text = "  x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("  x-{level}: &a{level} [{aliases}]\n"));
    }
    assert!(errors(&text).contains("aliases written out"), "{}", errors(&text));
    assert!(errors(&format!("  x-deep: {}{}\n", "[".repeat(200), "]".repeat(200))).contains("deep"));
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
fn variables_that_are_not_there_or_need_each_other() {
    insta::assert_snapshot!(errors("
  hosts: {here: {}}
  vars: {a: \"{{ b }}\", b: \"{{ c }}\", c: \"{{ a }}\", size: big, 9x: 1, host: 2}
  services:
    web:
      image: \"busybox:{{ a }}\"
      command: [echo, \"{{ grreting }}\"]
      mem_limit: \"{{ size }}\"
"), @r#"
    error[N001]: `9x` is no name of a variable: it takes letters, digits and `_`, and starts with no digit
     --> site.yaml:6:63
      |
    6 |   vars: {a: "{{ b }}", b: "{{ c }}", c: "{{ a }}", size: big, 9x: 1, host: 2}
      |                                                               ^^

    error[N001]: `host` means something in templates already; choose another name for the variable
     --> site.yaml:6:70
      |
    6 |   vars: {a: "{{ b }}", b: "{{ c }}", c: "{{ a }}", size: big, 9x: 1, host: 2}
      |                                                                      ^^^^

    error[T001]: variables need each other: a -> b -> c -> a
     --> site.yaml:9:14
      |
    9 |       image: "busybox:{{ a }}"
      |              ^^^^^^^^^^^^^^^^^
      |
      = help: used in vars.c, line 1
      = help: used in vars.b, line 1
      = help: used in vars.a, line 1
      = help: used in services.web.image
      = help: in vars.a (site.yaml:6:10)

    error[T001]: `grreting` is undefined
      --> site.yaml:10:27
       |
    10 |       command: [echo, "{{ grreting }}"]
       |                           ^^^^^^^^

    error[V002]: `big` is no size; write `64m`, `1g` or a number of bytes
      --> site.yaml:11:18
       |
    11 |       mem_limit: "{{ size }}"
       |                  ^^^^^^^^^^^^
    "#);
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
    insta::assert_snapshot!(serde_json::to_string_pretty(&compiled.desired.jobs).unwrap(), @r#"
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
        "input_hash": "1:df6d258741678dba882bae64a10ec317"
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
        "input_hash": "1:625159186559464021ffa5a37672f867"
      }
    }
    "#);
}

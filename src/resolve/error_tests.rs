//! What people read when something is wrong with their site.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use super::testing::errors;

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
        writeln!(text, "  x-{level}: &a{level} [{aliases}]").unwrap();
    }
    assert!(errors(&text).contains("aliases written out"), "{}", errors(&text));
    assert!(errors(&format!("  x-deep: {}{}\n", "[".repeat(200), "]".repeat(200))).contains("deep"));
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
fn a_password_in_the_site_is_not_shown_again() {
    let shown = errors(
        "
  hosts: {here: {}}
  images: {auth: {reg.example: {username: me, password: hunter2}}}
",
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!(shown, @"
    error[S004]: a password does not stand in the site; write `{secret: NAME}` and declare NAME under `spec.secrets`
    --> site.yaml:6:57
    ");
}

#[test]
fn networks_groups_and_hosts_that_do_not_fit() {
    insta::assert_snapshot!(errors("
  hosts:
    \"n[1:2]\": {address: \"10.0.0.[1:3]\", groups: [a], addresses: {api: 10.9.9.9, nope: 10.0.0.1}}
    here: {connection: {ssh: {}}, groups: [n1]}
  groups:
    a: {groups: [b], hosts: [nobody]}
    b: {groups: [a]}
    n1: {}
  networks:
    api: {cidr: 10.0.0.0/24, driver: bridge}
    host: {}
    seen: {external: true, driver: bridge}
  services:
    web: {image: 'busybox:1', networks: [api, host, seen]}
    db: {image: 'busybox:1', hosts: [here], networks: [seen], network_mode: host}
"), @r#"
    error[V002]: `10.0.0.[1:3]` has 3 values for 2 hosts
     --> site.yaml:6:25
      |
    6 |     "n[1:2]": {address: "10.0.0.[1:3]", groups: [a], addresses: {api: 10.9.9.9, nope: 10.0.0.1}}
      |                         ^^^^^^^^^^^^^^

    error[V002]: `10.9.9.9` of `n1` does not lie in `api`, 10.0.0.0/24
     --> site.yaml:6:66
      |
    6 |     "n[1:2]": {address: "10.0.0.[1:3]", groups: [a], addresses: {api: 10.9.9.9, nope: 10.0.0.1}}
      |                                                                  ^^^

    error[V002]: `10.9.9.9` of `n2` does not lie in `api`, 10.0.0.0/24
     --> site.yaml:6:66
      |
    6 |     "n[1:2]": {address: "10.0.0.[1:3]", groups: [a], addresses: {api: 10.9.9.9, nope: 10.0.0.1}}
      |                                                                  ^^^

    error[R001]: `nope` is no network of addresses
     --> site.yaml:6:81
      |
    6 |     "n[1:2]": {address: "10.0.0.[1:3]", groups: [a], addresses: {api: 10.9.9.9, nope: 10.0.0.1}}
      |                                                                                 ^^^^
      |
      = help: declare it under `spec.networks` with a `cidr`

    error[R003]: `n1`, a group of `here`, is the name of a host
     --> site.yaml:7:44
      |
    7 |     here: {connection: {ssh: {}}, groups: [n1]}
      |                                            ^^

    error[R002]: groups contain each other: a -> b -> a
     --> site.yaml:9:5
      |
    9 |     a: {groups: [b], hosts: [nobody]}
      |     ^

    error[R001]: no host is called `nobody`
     --> site.yaml:9:30
      |
    9 |     a: {groups: [b], hosts: [nobody]}
      |                              ^^^^^^

    error[R003]: `n1` is a host already; with a group of the same name, `hosts: [n1]` would be ambiguous
      --> site.yaml:11:5
       |
     6 |     "n[1:2]": {address: "10.0.0.[1:3]", groups: [a], addresses: {api: 10.9.9.9, nope: 10.0.0.1}}
       |     -------- the host
    ...
    11 |     n1: {}
       |     ^^

    error[V002]: `driver` is for networks of the engine, and `cidr` makes this one a network of addresses
      --> site.yaml:13:30
       |
    13 |     api: {cidr: 10.0.0.0/24, driver: bridge}
       |                              ^^^^^^
       |
       = help: a subnet of the engine goes under `ipam`

    error[K003]: the service `web` does not say on which hosts it runs
      --> site.yaml:17:5
       |
    17 |     web: {image: 'busybox:1', networks: [api, host, seen]}
       |     ^^^
       |
       = help: add `hosts:` with names of hosts or groups; `all` stands for every host

    error[R003]: with `network_mode: host` there are no networks to join
      --> site.yaml:18:77
       |
    18 |     db: {image: 'busybox:1', hosts: [here], networks: [seen], network_mode: host}
       |                                                        ---- joined here     ^^^^
    "#);
}

#[test]
fn what_is_missing_altogether() {
    let run =
        |text: &str| super::testing::site(text, &[]).map_or_else(|why| why.render(false), |_| "it compiles".to_owned());
    insta::assert_snapshot!(run(""), @"
    error[V001]: `site.yaml` is empty
     --> site.yaml:1:1
      |
    1 |
      | ^
      |
      = help: `mastic init` writes a site to start from
    ");
    insta::assert_snapshot!(run("[]"), @"
    error[V001]: a site is a mapping, and this is a list
     --> site.yaml:1:1
      |
    1 | []
      | ^^
      |
      = help: `mastic init` writes a site to start from
    ");
    insta::assert_snapshot!(run("apiVersion: mastic/v1\nkind: Site\nmetadata: {name: x}\nspec: {services: {a:, b: {image: \"busybox:1\"}}}\n"), @"
    error[H001]: the site declares no host
     |
     = help: add `hosts: {here: {connection: {local: {}}}}` to `spec`
    ");
    insta::assert_snapshot!(run("apiVersion: mastic/v2\nkind: Rolle\nmetadata: {name: x.prev}\nspec: {hosts: {here: {}}, services: {a.next: {image: x}}}\n"), @"
    error[V002]: `mastic/v2` is none of `mastic/v1`
     --> site.yaml:1:13
      |
    1 | apiVersion: mastic/v2
      |             ^^^^^^^^^
      |
      = help: did you mean `mastic/v1`?

    error[V002]: `Rolle` is none of `Site`
     --> site.yaml:2:7
      |
    2 | kind: Rolle
      |       ^^^^^

    error[V002]: `x.prev`: a name must not end in `.prev`, which marks a container in a replacement
     --> site.yaml:3:18
      |
    3 | metadata: {name: x.prev}
      |                  ^^^^^^

    error[N001]: `a.next`: a name must not end in `.next`, which marks a container in a replacement
     --> site.yaml:4:38
      |
    4 | spec: {hosts: {here: {}}, services: {a.next: {image: x}}}
      |                                      ^^^^^^
    ");
}

//! Roles as an author and an operator meet them.

use crate::model::desired::HostDesired;
use crate::resolve::compile::compile;
use crate::resolve::testing::{Memory, request};

const CACHE: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: cache, version: 1.2.0}
spec:
  vars:
    cache_port: {type: port, default: 11211, help: Port that it listens on}
    cache_size: {type: integer, default: 64, minimum: 1, maximum: 1024}
  volumes: {cache: {}}
  services:
    cache:
      image: cache
      command: [cached, -l, "{{ host.ip }}", -p, "{{ cache_port }}", -m, "{{ cache_size }}"]
      volumes: ["cache:/data"]
      files: [{source: cache.conf.j2, target: /etc/cache.conf}]
      depends_on: {install: {}}
  jobs:
    install: {like: cache, command: [install]}
  provides:
    cache: {service: cache, port: "{{ cache_port }}", scheme: cache, frontend: {mode: tcp}}
"#;

const WEB: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: web}
spec:
  includes: [cache]
  services:
    web:
      image: web
      environment:
        CACHE: "{{ endpoints.cache.url }}"
        SERVERS: "{{ endpoints.cache.backends | map(attribute='address') | join(',') }}"
"#;

const TEMPLATE: &str = "role={{ role.name }} {{ role.version }}\n{% for member in members %}member={{ member.name }} {{ member.ip }}\n{% endfor %}size={{ cache_size }}\n";

fn compiled(site: &str, host: &str, roles: &[(&str, &str)]) -> Result<HostDesired, String> {
    let mut files = vec![
        ("site.yaml", site),
        ("roles/cache/role.yaml", CACHE),
        ("roles/cache/templates/cache.conf.j2", TEMPLATE),
        ("roles/web/role.yaml", WEB),
    ];
    files.extend(roles);
    let request = crate::resolve::compile::CompileRequest { host: Some(host.to_owned()), ..request(&["site.yaml"]) };
    compile(&request, &Memory::new(&files)).map(|compiled| compiled.desired).map_err(|errors| errors.render(false))
}

fn site(spec: &str) -> String {
    format!("apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n{spec}")
}

const HOSTS: &str = "
  hosts:
    one: {address: 10.0.0.1, groups: [control]}
    two: {address: 10.0.0.2, groups: [control]}
    three: {address: 10.0.0.3}
";

/// The parts of a desired state that the tests look at.
fn show(desired: &HostDesired) -> String {
    let mut text = String::new();
    for (name, service) in &desired.services {
        let role = service.role.as_ref().map_or("-", |role| role.as_str());
        text.push_str(&format!("service {name} (role {role}) image {}\n", service.image.familiar()));
        for word in service.settings.command.iter().flatten() {
            text.push_str(&format!("  {word}\n"));
        }
        for (key, value) in service.settings.environment.iter().flatten() {
            text.push_str(&format!("  {key}={value}\n"));
        }
        for (target, mount) in service.settings.volumes.iter().flatten() {
            if let crate::model::settings::Mount::Volume { source, .. } = mount {
                text.push_str(&format!("  volume {} at {target}\n", source.as_deref().unwrap_or("")));
            }
        }
        for dependency in service.depends_on.keys() {
            text.push_str(&format!("  after {dependency}\n"));
        }
        for file in &service.files {
            let content = String::from_utf8_lossy(file.content.expose()).into_owned();
            text.push_str(&format!("  {}:\n", file.target));
            for line in content.lines() {
                text.push_str(&format!("    {line}\n"));
            }
        }
    }
    for (name, job) in &desired.jobs {
        text.push_str(&format!("job {name} image {}\n", job.image.familiar()));
    }
    text
}

#[test]
fn a_role_brings_its_services_and_those_of_what_it_includes() {
    let site = site(&format!(
        "{HOSTS}  images: {{registry: 'reg:5000', namespace: kolla, tag: '1'}}\n  roles: [{{role: web, hosts: [control]}}]\n"
    ));
    let desired = compiled(&site, "two", &[]).unwrap();
    insta::assert_snapshot!(show(&desired), @r"
    service cache (role cache) image reg:5000/kolla/cache:1
      cached
      -l
      10.0.0.2
      -p
      11211
      -m
      64
      volume cache at /data
      after install
      /etc/cache.conf:
        role=cache 1.2.0
        member=one 10.0.0.1
        member=two 10.0.0.2
        size=64
    service web (role web) image reg:5000/kolla/web:1
      CACHE=cache://10.0.0.1:11211
      SERVERS=10.0.0.1,10.0.0.2
    ");
}

#[test]
fn a_site_changes_a_role_and_uses_it_twice() {
    let site = site(&format!(
        "{HOSTS}  vars: {{cache_size: 100}}
  roles:
    - {{role: cache, hosts: [control]}}
    - role: cache
      name: cache-big
      hosts: [one]
      vars: {{cache_size: 200, cache_port: 11212}}
      services: {{cache: {{image: 'hot/fix:1', volumes: ['/srv:/srv'], environment: {{A: b}}}}}}
"
    ));
    let desired = compiled(&site, "one", &[]).unwrap();
    insta::assert_snapshot!(show(&desired), @r"
    service cache (role cache) image mastic/cache:latest
      cached
      -l
      10.0.0.1
      -p
      11211
      -m
      100
      volume cache at /data
      after install
      /etc/cache.conf:
        role=cache 1.2.0
        member=one 10.0.0.1
        member=two 10.0.0.2
        size=100
    service cache-big (role cache-big) image hot/fix:1
      cached
      -l
      10.0.0.1
      -p
      11212
      -m
      200
      A=b
      volume cache-big at /data
      after cache-big-install
      /etc/cache.conf:
        role=cache-big 1.2.0
        member=one 10.0.0.1
        size=200
    job install image mastic/cache:latest
    job cache-big-install image hot/fix:1
    ");
    assert!(compiled(&site, "three", &[]).unwrap().services.is_empty());
}

#[test]
fn what_is_wrong_with_a_role_is_told_where_it_stands() {
    let wrong = |roles: &str| {
        compiled(&site(&format!("{HOSTS}  roles:\n{roles}")), "one", &[
        ("roles/loop/role.yaml", "apiVersion: mastic/v1\nkind: Role\nmetadata: {name: loop}\nspec: {includes: [loop]}\n"),
        ("roles/odd/role.yaml", "apiVersion: mastic/v1\nkind: Role\nmetadata: {name: even}\nspec:\n  services: {a: {image: a, hosts: [one], comand: x}}\n  objects: {db: {provider: sql/database, items: []}}\n"),
        ("roles/strict/role.yaml", "apiVersion: mastic/v1\nkind: Role\nmetadata: {name: strict}\nspec:\n  vars: {region: {type: string, required: true, help: Where it is}}\n  services: {strict: {image: a, command: ['{{ region }}']}}\n"),
    ]).unwrap_err()
    };
    insta::assert_snapshot!(wrong("    - {role: cahce, hosts: [one]}\n"), @r"
    error[R001]: no role is called `cahce`
      --> site.yaml:11:14
       |
    11 |     - {role: cahce, hosts: [one]}
       |              ^^^^^
       |
       = help: did you mean `cache`?
       = help: roles are looked for in roles and in the program; `--roles DIR` adds a directory
    ");
    insta::assert_snapshot!(wrong("    - {role: cache, hosts: [one], vars: {cache_prot: 1, cache_port: 70000, cache_size: 5000}, services: {cach: {}}, without: [instal]}\n"), @r"
    error[R001]: the role `cache` has no variable `cache_prot`
      --> site.yaml:11:42
       |
    11 |     - {role: cache, hosts: [one], vars: {cache_prot: 1, cache_port: 70000, cache_size: 5000}, services: {cach: {}}, without: [instal]}
       |                                          ^^^^^^^^^^
       |
       = help: did you mean `cache_port`?

    error[V002]: the variable `cache_port` of the role `cache` is no port (it is 70000)
      --> site.yaml:11:57
       |
    11 |     - {role: cache, hosts: [one], vars: {cache_prot: 1, cache_port: 70000, cache_size: 5000}, services: {cach: {}}, without: [instal]}
       |                                                         ^^^^^^^^^^
       |
      ::: roles/cache/role.yaml:7:5
       |
     7 |     cache_port: {type: port, default: 11211, help: Port that it listens on}
       |     ---------- declared here

    error[V002]: the variable `cache_size` of the role `cache` is more than 1024 (it is 5000)
      --> site.yaml:11:76
       |
    11 |     - {role: cache, hosts: [one], vars: {cache_prot: 1, cache_port: 70000, cache_size: 5000}, services: {cach: {}}, without: [instal]}
       |                                                                            ^^^^^^^^^^
       |
      ::: roles/cache/role.yaml:8:5
       |
     8 |     cache_size: {type: integer, default: 64, minimum: 1, maximum: 1024}
       |     ---------- declared here

    error[R001]: the role `cache` has no `cach`
      --> site.yaml:11:106
       |
    11 |     - {role: cache, hosts: [one], vars: {cache_prot: 1, cache_port: 70000, cache_size: 5000}, services: {cach: {}}, without: [instal]}
       |                                                                                                          ^^^^
       |
       = help: did you mean `cache`?

    error[R001]: the role `cache` has no `instal`
      --> site.yaml:11:127
       |
    11 |     - {role: cache, hosts: [one], vars: {cache_prot: 1, cache_port: 70000, cache_size: 5000}, services: {cach: {}}, without: [instal]}
       |                                                                                                                               ^^^^^^
       |
       = help: did you mean `install`?
    ");
    insta::assert_snapshot!(wrong("    - {role: loop, hosts: [one]}\n    - {role: odd, hosts: [one]}\n"), @r"
    error[R002]: roles include each other: loop -> loop
     --> roles/loop/role.yaml:4:19
      |
    4 | spec: {includes: [loop]}
      |                   ^^^^

    error[N001]: the role `even` lies in the folder `odd`
     --> roles/odd/role.yaml:3:18
      |
    3 | metadata: {name: even}
      |                  ^^^^
      |
      = help: a role is found by its folder: name both alike

    error[K002]: `a` names hosts, and a role knows none
     --> roles/odd/role.yaml:5:35
      |
    5 |   services: {a: {image: a, hosts: [one], comand: x}}
      |                                   ^^^^^
      |
      = help: the site places it: `roles: [{role: NAME, hosts: [...], place: {SERVICE: [...]}}]`

    error[K001]: a service has no key `comand`
     --> roles/odd/role.yaml:5:42
      |
    5 |   services: {a: {image: a, hosts: [one], comand: x}}
      |                                          ^^^^^^
      |
      = help: did you mean `command`?
    ");
    insta::assert_snapshot!(wrong("    - {role: strict, hosts: [one]}\n"), @r"
    error[K003]: the role `strict` needs the variable `region`, and nobody sets it
      --> site.yaml:11:14
       |
    11 |     - {role: strict, hosts: [one]}
       |              ^^^^^^
       |
      ::: roles/strict/role.yaml:5:10
       |
     5 |   vars: {region: {type: string, required: true, help: Where it is}}
       |          ------ declared here
       |
       = help: add `vars: {region: ...}`
       = help: region: Where it is

    error[T001]: `region` is undefined
     --> roles/strict/role.yaml:6:47
      |
    6 |   services: {strict: {image: a, command: ['{{ region }}']}}
      |                                               ^^^^^^
    ");
}

#[test]
fn behind_a_load_balancer_an_endpoint_has_its_address() {
    let site = site(&format!(
        "{HOSTS}  endpoints: {{internal: {{vip: 10.0.0.250, fqdn: api.example}}}}\n  roles: [{{role: web, hosts: [control]}}]\n"
    ));
    let desired = compiled(&site, "two", &[]).unwrap();
    let environment = desired.services["web"].settings.environment.clone().unwrap();
    assert_eq!(environment["CACHE"], "cache://api.example:11211");
    assert_eq!(environment["SERVERS"], "10.0.0.1,10.0.0.2");
}

const SERVER: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: sql}
spec:
  vars: {sql_port: {type: port, default: 3306}}
  secrets: {sql_root: {}}
  services:
    sql: {image: sql}
    clients: {image: clients, command: [sleep]}
  providers:
    user:
      in: clients
      command: [/usr/lib/objects, user]
      connection:
        port: "{{ sql_port }}"
        password: "{{ secrets.sql_root }}"
        urls: "{% for member in members %}http://{{ member.ip }} {% endfor %}"
      depends_on: [sql]
"#;

const APPLICATION: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: app}
spec:
  vars: {app_name: {type: string, default: app}}
  secrets: {app_sql: {}}
  services:
    app: {image: app, depends_on: {app-user: {}}}
  objects:
    app-user:
      provider: sql/user
      items: [{name: "{{ app_name }}", password: "{{ secrets.app_sql }}", hosts: ["%"], grants: {"{{ app_name }}.*": [ALL]}}]
"#;

#[test]
fn objects_are_a_job_in_the_image_of_those_who_keep_them() {
    let site = site(
        "  hosts: {one: {}}\n  secrets: {sql_root: {file: root}, app_sql: {file: app}}\n  roles: [{role: sql}, {role: app, vars: {app_name: 'a\"b'}}]\n",
    );
    let roles = [
        ("roles/sql/role.yaml", SERVER),
        ("roles/app/role.yaml", APPLICATION),
        ("roles/sql/objects/objects", "#!/bin/sh\n"),
        ("root", "r00t\n"),
        ("app", "s3<ret"),
    ];
    let desired = compiled(&site, "one", &roles).unwrap();
    let job = &desired.jobs["app-user"];
    assert_eq!(job.image.familiar(), "mastic/clients:latest");
    assert_eq!(job.depends_on.keys().collect::<Vec<_>>(), ["sql"]);
    let entrypoint = job.settings.entrypoint.clone().unwrap();
    assert_eq!(entrypoint[4..], ["/usr/lib/objects", "user"]);
    assert_eq!(job.settings.command.clone().unwrap(), ["apply"]);
    let json = |index: usize| {
        let text = String::from_utf8(job.files[index].content.expose().to_vec()).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(
        json(0),
        serde_json::json!([{"name": "a\"b", "password": "s3<ret", "hosts": ["%"], "grants": {"a\"b.*": ["ALL"]}}])
    );
    assert_eq!(json(1), serde_json::json!({"port": 3306, "password": "r00t", "urls": "http://127.0.0.1 "}));
    assert_eq!((job.files[2].target.as_str(), job.files[2].mode), ("/usr/lib/objects", 0o555));
    assert!(!format!("{:?}", job.files[0].shown).contains("s3"), "people see a placeholder");
}

#[test]
fn words_of_objects_mean_nothing_in_the_source_of_a_file() {
    for source in ["provider:sql/user", "program-of-provider:sql/user", "provider:nobody"] {
        let site = site(&format!(
            "  hosts: {{one: {{}}}}\n  secrets: {{sql_root: {{file: root}}}}\n  roles: [{{role: sql}}]\n  services:\n    a: {{image: a, hosts: [one], files: [{{source: '{source}', target: /x}}]}}\n"
        ));
        let errors = compiled(&site, "one", &[("roles/sql/role.yaml", SERVER), ("root", "x")]).unwrap_err();
        assert!(errors.contains(&format!("cannot read `{source}`")), "{errors}");
        assert!(errors.contains("site.yaml:"), "{errors}");
    }
}

#[test]
fn objects_of_nobody_are_an_error() {
    let site = site("  hosts: {one: {}}\n  secrets: {app_sql: {file: app}}\n  roles: [{role: app}]\n");
    let errors = compiled(&site, "one", &[("roles/app/role.yaml", APPLICATION), ("app", "x")]).unwrap_err();
    insta::assert_snapshot!(errors, @r"
    error[R001]: `app-user` is neither a service nor a job
     --> roles/app/role.yaml:9:36
      |
    9 |     app: {image: app, depends_on: {app-user: {}}}
      |                                    ^^^^^^^^
      |
      = help: did you mean `app`?

    error[R001]: `sql/user` is no provider of a role of this site
      --> roles/app/role.yaml:12:17
       |
    12 |       provider: sql/user
       |                 ^^^^^^^^
       |
      ::: site.yaml:7:18
       |
     7 |   roles: [{role: app}]
       |                  --- wanted because of this role
       |
       = help: add the role that has it to `spec.roles`
    ");
}

const CONFIGURED: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: api}
spec:
  services:
    api:
      image: api
      kolla:
        command: api-server
        config_files:
          - {source: api.conf.j2, dest: /etc/api/api.conf, owner: root, perm: "0640", format: ini}
          - {source: policy.yaml, dest: /etc/api/policy.yaml, owner: root, perm: "0640", optional: true}
"#;

fn configured(overrides: &[(&str, &str)]) -> Result<HostDesired, String> {
    let site = site(&format!("{HOSTS}  roles: [{{role: api, hosts: [control]}}]\n"));
    let mut files = vec![
        ("roles/api/role.yaml", CONFIGURED),
        ("roles/api/templates/api.conf.j2", "[DEFAULT]\ndebug = false\nhost = {{ host.ip }}\nlog_dir = /var/log\n"),
    ];
    files.extend(overrides);
    compiled(&site, "one", &files)
}

#[test]
fn configuration_of_the_site_is_laid_over_that_of_a_role() {
    let desired = configured(&[
        ("config/global.conf", "[DEFAULT]\ndebug = true\n[oslo]\nretries = 3\n"),
        ("config/api.conf", "[DEFAULT]\nlog_dir !delete\n"),
        ("config/api/one/api.conf", "[DEFAULT]\nname = {{ site.name }}\n"),
        ("config/api/two/api.conf", "[DEFAULT]\nname = other\n"),
        ("config/policy.yaml", "rule: yes\n"),
    ])
    .unwrap();
    let content = |name: &str| {
        let file = desired.services["api"].files.iter().find(|file| file.target.ends_with(name)).unwrap();
        String::from_utf8_lossy(file.content.expose()).into_owned()
    };
    insta::assert_snapshot!(content("api.conf"), @r"
    [DEFAULT]
    debug = true
    host = 10.0.0.1
    name = demo

    [oslo]
    retries = 3
    ");
    assert_eq!(content("policy.yaml"), "rule: yes\n", "a file that the role may lack comes from the site alone");
}

#[test]
fn wrong_configuration_is_told_where_it_stands() {
    let wrong = |overrides: &[(&str, &str)]| configured(overrides).unwrap_err();
    insta::assert_snapshot!(wrong(&[("config/api.conf", "[DEFAULT]\ndebug\n")]), @r#"
    error[L001]: this line has neither `=` nor `:`
      --> config/api.conf:2:1
       |
     2 | debug
       | ^^^^^
       |
      ::: roles/api/role.yaml:12:22
       |
    12 |           - {source: api.conf.j2, dest: /etc/api/api.conf, owner: root, perm: "0640", format: ini}
       |                      ----------- rendered because of this
       |
       = help: write `KEY = VALUE`; a comment begins with `#` in column 1, `KEY !delete` takes a key away, and a line that goes on with a value is indented
    "#);
    insta::assert_snapshot!(wrong(&[("config/api/three/ap.conf", "x"), ("config/nova.conf", "x")]), @r"
    error[L002]: no role of this site reads the override `config/api/three/ap.conf`
     |
     = help: `config/api/three/api.conf` is read
     = help: overrides are named after a file of a role: FILE, ROLE/FILE, ROLE/HOST/FILE; see `mastic explain`

    error[L002]: no role of this site reads the override `config/nova.conf`
     |
     = help: overrides are named after a file of a role: FILE, ROLE/FILE, ROLE/HOST/FILE; see `mastic explain`
    ");
    insta::assert_snapshot!(wrong(&[("config/api.conf", "[DEFAULT]\nname = {{ host.nam }}\n")]), @r#"
    error[T001]: `host.nam` is undefined
      --> config/api.conf:2:11
       |
     2 | name = {{ host.nam }}
       |           ^^^^^^^^
       |
      ::: roles/api/role.yaml:12:22
       |
    12 |           - {source: api.conf.j2, dest: /etc/api/api.conf, owner: root, perm: "0640", format: ini}
       |                      ----------- rendered because of this
    "#);
}

#[test]
fn a_setting_is_followed_through_its_layers() {
    let files = Memory::new(&[
        ("site.yaml", &site(&format!("{HOSTS}  roles: [{{role: api, hosts: [control]}}]\n"))),
        ("roles/api/role.yaml", CONFIGURED),
        ("roles/api/templates/api.conf.j2", "[DEFAULT]\ndebug = false\nlog_dir = /var/log\n"),
        ("config/global.conf", "[DEFAULT]\ndebug = true\n"),
        ("config/api.conf", "[DEFAULT]\nlog_dir !delete\n"),
    ]);
    let request = crate::resolve::compile::CompileRequest { host: Some("one".to_owned()), ..request(&["site.yaml"]) };
    let show = |path: &str| match crate::resolve::explain_config::explain_config(&request, &files, path) {
        Ok(found) => found.to_text(),
        Err(why) => why.render(false),
    };
    let paths = [
        "config/api/api.conf",
        "config/api/api.conf/DEFAULT/debug",
        "config/api/api.conf/DEFAULT/debgu",
        "config/apo/x",
    ];
    insta::assert_snapshot!(paths.map(show).join("\n"), @r"
    api.conf of api, of these layers, the lowest first:
      roles/api/templates/api.conf.j2
      config/global.conf
      config/api.conf

    [DEFAULT] debug = true
      from config/global.conf:2
      over false from roles/api/templates/api.conf.j2:2
    [DEFAULT] log_dir taken away
      from config/api.conf:2
      over /var/log from roles/api/templates/api.conf.j2:3

    [DEFAULT] debug = true
      from config/global.conf:2
      over false from roles/api/templates/api.conf.j2:2

    error[E001]: `config/api/api.conf` has no setting `DEFAULT/debgu`
     |
     = help: did you mean `DEFAULT/debug`?
    error[E001]: no file of a role is `config/apo/x`
     |
     = help: did you mean `config/api/api.conf`?
     = help: there are config/api/api.conf
    ");
}

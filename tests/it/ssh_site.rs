//! A site whose only host is behind an sshd: planned, applied, looked at and taken away from here.

use crate::support::{Sandbox, Sshd, command, docker, engine_socket, life};

fn site(sandbox: &Sandbox, sshd: &Sshd, more: &str) {
    sandbox.image("run", "");
    let file = |name: &str| sshd.file(name).display().to_string();
    sshd.known_hosts("@ ED\n");
    let text = format!(
        r#"apiVersion: mastic/v1
kind: Site
metadata: {{name: @}}
spec:
  defaults:
    connection:
      ssh: {{user: mtdock, identity_file: {}, agent: false, known_hosts: {}, config: false, socket: {}}}
  hosts:
    far: {{address: 127.0.0.1, connection: {{ssh: {{port: {}}}}}}}
  services:
    @-web:
      image: @-run:1
      pull_policy: never
      init: true
      command: [sh, -c, "echo started; exec httpd -f -p 8080 -h /www"]
      ready: {{tcp: {{port: 8080}}}}
{more}"#,
        file("key"),
        file("known_hosts"),
        engine_socket(),
        sshd.port(),
    );
    sandbox.write("site.yaml", &text);
}

#[test]
fn one_host_over_ssh_is_planned_applied_and_looked_at() {
    let (sandbox, sshd) = (Sandbox::new(), Sshd::start(""));
    site(&sandbox, &sshd, "");
    let web = sandbox.name("web");
    let plan = sandbox.mastic(&["plan", "-o", "json"]);
    assert_eq!(plan.json()["changes"], 1, "{plan}");
    sandbox.mastic(&["apply"]).ok();
    let status = sandbox.mastic(&["status", "-o", "json"]);
    assert_eq!(status.json()["ready"], true, "{status}");
    assert_eq!(status.json()["hosts"][0]["reachable"], true, "{status}");
    assert_eq!(status.json()["hosts"][0]["name"], "far");
    assert!(sandbox.mastic(&["logs", &web]).ok().contains("started"));
    assert_eq!(sandbox.mastic(&["exec", &web, "--", "echo", "from", "afar"]).ok(), "from afar\n");
    let before = life(&web);
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    sandbox.mastic(&["apply"]).ok();
    assert_eq!(life(&web), before);

    // Drift over there is seen and mended.
    docker(&["rm", "-f", &web]);
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 2);
    sandbox.mastic(&["apply"]).ok();
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    sandbox.mastic(&["destroy", "--yes"]).ok();
    assert_eq!(life(&web), "");
}

#[test]
fn an_agent_follows_events_over_ssh_and_comes_back_after_a_break() {
    let (sandbox, mut sshd) = (Sandbox::new(), Sshd::start(""));
    site(&sandbox, &sshd, "");
    let web = sandbox.name("web");
    let agent = sandbox.start(&["agent"]);
    let runs = |name: &str| life(name).ends_with("running");
    sandbox.wait_for("the first container", 60, || runs(&web));
    docker(&["rm", "-f", &web]);
    sandbox.wait_for("a new one", 60, || runs(&web));
    sshd.restart();
    docker(&["rm", "-f", &web]);
    sandbox.wait_for("a new one after the break", 120, || runs(&web));
    assert!(agent.stop(30).success());
}

#[test]
fn a_host_that_cannot_be_entered_is_unreachable_and_says_why() {
    let (sandbox, sshd) = (Sandbox::new(), Sshd::start(""));
    site(&sandbox, &sshd, "");
    sshd.known_hosts("@ OTHER\n");
    let status = sandbox.mastic(&["status", "-o", "json"]);
    assert_eq!(status.json()["hosts"][0]["reachable"], false, "{status}");
    assert!(status.stdout.contains("HAS CHANGED"), "{status}");
    let apply = sandbox.mastic(&["apply", "--timeout", "3s"]);
    assert_ne!(apply.code, 0, "{apply}");
    assert!(apply.stderr.contains("HAS CHANGED") || apply.stdout.contains("HAS CHANGED"), "{apply}");
    assert!(!sshd.log().contains("Accepted"));
}

#[test]
fn a_host_that_nobody_knows_the_way_to_keeps_no_other_one_waiting() {
    let (sandbox, sshd) = (Sandbox::new(), Sshd::start(""));
    site(&sandbox, &sshd, "      hosts: [far, lost]\n");
    sandbox.write(
        "lost.yaml",
        "spec: {hosts: {lost: {address: 127.0.0.1, connection: {ssh: {identity_file: {credential: none-such}}}}}}\n",
    );
    let args = |verb: &'static str| ["-f", "site.yaml", "-f", "lost.yaml", verb, "-o", "json"];
    let status = sandbox.mastic(&args("status")).json();
    let host = |name: &str| {
        let found = status["hosts"].as_array().unwrap().iter().find(|host| host["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    };
    assert_eq!((&host("far")["reachable"], &host("lost")["reachable"]), (&true.into(), &false.into()), "{status}");
    let why = host("lost")["engine"]["error"].as_str().unwrap().to_owned();
    assert!(why.contains("none-such"), "{why}");
    let plan = sandbox.mastic(&args("plan"));
    assert_eq!(plan.json()["actions"][0]["host"], "far", "{plan}");
}

#[test]
fn what_is_wrong_with_one_host_is_told_of_that_one_in_time_and_holds_up_no_other() {
    let (sandbox, sshd) = (Sandbox::new(), Sshd::start(""));
    let stalls = Sshd::start("AuthorizedKeysCommand /bin/sleep 1000\nAuthorizedKeysCommandUser nobody");
    stalls.known_hosts("@ ED\n");
    std::fs::write(stalls.file("authorized_keys"), "").unwrap();
    std::fs::write(stalls.file("ssh_config"), "ConnectTimeout 3\nServerAliveInterval 1\nServerAliveCountMax 1\n")
        .unwrap();
    let wrong = sandbox.path().join("wrong_known_hosts");
    std::fs::copy(sshd.known_hosts("@ OTHER\n"), &wrong).unwrap();
    site(&sandbox, &sshd, "      hosts: [far]\n");
    let host = |name: &str, more: &str| {
        format!("    {name}: {{address: 127.0.0.1, connection: {{ssh: {{port: {}, {more}}}}}}}\n", sshd.port())
    };
    let stalled = format!(
        "    stalls: {{address: 127.0.0.1, connection: {{ssh: {{port: {}, identity_file: {}, known_hosts: {}, config: {}}}}}}}\n",
        stalls.port(),
        stalls.file("key").display(),
        stalls.file("known_hosts").display(),
        stalls.file("ssh_config").display()
    );
    let hosts = [
        host("key", &format!("known_hosts: {}", wrong.display())),
        host("user", "user: nobody-of-this-name"),
        host("group", "user: mtplain"),
        stalled,
    ];
    sandbox.write("troubled.yaml", &format!("spec:\n  hosts:\n{}", hosts.concat()));
    let args = |verb: &'static str| ["-f", "site.yaml", "-f", "troubled.yaml", verb, "-o", "json"];
    let began = std::time::Instant::now();
    let status = sandbox.mastic(&args("status"));
    assert!(began.elapsed().as_secs() < 30, "it took {:?}", began.elapsed());
    let status = status.json();
    let error = |name: &str| {
        let found = status["hosts"].as_array().unwrap().iter().find(|host| host["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status}"))["engine"]["error"].as_str().unwrap_or("").to_owned()
    };
    for (host, words) in [
        ("far", ""),
        ("key", "HAS CHANGED"),
        ("user", "refuses the user `nobody-of-this-name`"),
        ("group", "run `usermod -aG docker mtplain` on the host as root"),
        ("stalls", "it hangs"),
    ] {
        assert!(error(host).contains(words) && error(host).is_empty() == words.is_empty(), "{host}: {}", error(host));
    }
    // What is on the good one is done, whatever becomes of the others.
    let apply =
        sandbox.mastic(&["-f", "site.yaml", "-f", "troubled.yaml", "--host", "far", "apply", "--timeout", "60s"]);
    assert_eq!(apply.code, 0, "{apply}");
    assert!(life(&sandbox.name("web")).ends_with("running"));
}

/// The only address of this machine in a network of one address: so it is not declared, and not ambiguous.
#[test]
fn an_address_that_is_not_declared_is_asked_for_over_ssh_and_remembered() {
    let (sandbox, sshd) = (Sandbox::new(), Sshd::start(""));
    let links: serde_json::Value = serde_json::from_str(&command("ip", &["-j", "-4", "addr"])).unwrap();
    let is_own = |link: &&serde_json::Value| {
        let name = link["ifname"].as_str().unwrap_or_default();
        !["lo", "docker", "br-", "veth"].iter().any(|start| name.starts_with(start))
    };
    let links = links.as_array().unwrap();
    let infos = links.iter().filter(is_own).filter_map(|link| link["addr_info"].as_array()).flatten();
    let mut own = infos.filter(|info| info["scope"] == "global" && info["secondary"] != true);
    let address = own.find_map(|info| info["local"].as_str()).expect("an address of this machine").to_owned();
    let text = format!(
        "      environment: {{AT: \"{{{{ host.address.api }}}}\", MANY: \"{{{{ host.facts.cpus > 0 }}}}\"}}\n  \
         networks: {{api: {{cidr: {address}/32}}}}\n"
    );
    site(&sandbox, &sshd, &text);
    let plan = sandbox.mastic(&["plan", "-o", "json"]);
    assert_eq!(plan.json()["changes"], 1, "a plan knows it already: {plan}");
    sandbox.mastic(&["apply"]).ok();
    let web = sandbox.name("web");
    let environment = docker(&["inspect", "-f", "{{json .Config.Env}}", &web]);
    assert!(environment.contains(&format!("\"AT={address}\"")), "{environment}");
    assert!(environment.contains("MANY=true") || environment.contains("MANY=True"), "{environment}");
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    let known = std::fs::read_to_string(sandbox.state().join("facts.json")).unwrap();
    assert!(known.contains(&address), "{known}");
}

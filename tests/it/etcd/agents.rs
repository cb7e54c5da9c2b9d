//! An agent on each of three real hosts, three members of etcd between them, and a workstation that pushes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::multinode::{Sampler, page};
use crate::support::{Lab, Sandbox, command};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// Three hosts with agents, and a workstation: the sandbox.
struct Scene {
    lab: Lab,
    sandbox: Sandbox,
    image: String,
}

impl Scene {
    #[track_caller]
    fn set() -> Self {
        let (lab, sandbox) = (Lab::up_with_etcd(HOSTS.len()), Sandbox::new());
        let image = lab.push(&sandbox.image("web", ""));
        let (_, password) = lab.registry_login();
        sandbox.write("password", password);
        let scene = Self { lab, sandbox, image };
        scene.push(&["--generate-key", "key"]).ok();
        for host in HOSTS {
            scene.lab.on(host, &["docker", "pull", "-q", &scene.image]);
            scene.lab.on(host, &["mkdir", "-p", "/etc/mastic"]);
            let own = [("ca", scene.lab.authority()), ("password", "password".into()), ("trust", "key.pub".into())];
            for (name, path) in own {
                scene.copy(
                    &scene.sandbox.path().join(path).display().to_string(),
                    host,
                    &format!("/etc/mastic/{name}"),
                );
            }
            scene.copy(env!("CARGO_BIN_EXE_mastic"), host, "/usr/local/bin/mastic");
        }
        scene
    }

    #[track_caller]
    fn copy(&self, from: &str, host: &str, to: &str) {
        command("docker", &["cp", "-q", from, &format!("{}-{host}:{to}", self.lab.name())]);
    }

    /// Starts the agent of a host, as its unit would.
    #[track_caller]
    fn start(&self, host: &str) {
        self.lab.on(
            host,
            &[
                "systemd-run",
                "-q",
                "--collect",
                "--unit=mastic-agent",
                "mastic",
                "--host",
                host,
                "agent",
                "--coordinator=etcd",
                "--etcd-endpoints",
                self.lab.etcd(),
                "--etcd-ca=/etc/mastic/ca",
                "--etcd-user=mastic",
                "--etcd-password-file=/etc/mastic/password",
                "--trust=/etc/mastic/trust",
            ],
        );
    }

    /// Writes the site of one web server on each host, answering on the host's port 8080.
    fn site(&self, word: &str) {
        let hosts = HOSTS.map(|host| format!("    {host}: {{address: {}, groups: [web]}}\n", self.lab.address(host)));
        self.sandbox.write(
            "site.yaml",
            &format!(
                "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: {}}}\nspec:\n  hosts:\n{}  services:\n    web:\n      \
                 hosts: [web]\n      image: \"{}\"\n      command: [httpd, -f, -p, \"8080\", -h, /www]\n      \
                 network_mode: host\n      init: true\n      \
                 files: [{{source: page.j2, target: /www/index.html, mode: \"0644\"}}]\n      \
                 ready: {{http: {{port: 8080, path: /}}, every: 200ms}}\n      rollout: {{min_ready: 1s}}\n",
                self.sandbox.prefix(),
                hosts.concat(),
                self.image,
            ),
        );
        self.sandbox.write("page.j2", &format!("{word} from {{{{ host.name }}}}"));
    }

    fn etcd(&self) -> Vec<String> {
        let (ca, password) = (self.lab.authority(), self.sandbox.path().join("password"));
        vec![
            "--coordinator=etcd".to_owned(),
            format!("--etcd-endpoints={}", self.lab.etcd()),
            format!("--etcd-ca={}", ca.display()),
            "--etcd-user=mastic".to_owned(),
            format!("--etcd-password-file={}", password.display()),
        ]
    }

    /// A command of the workstation.
    #[track_caller]
    fn mastic(&self, arguments: &[&str]) -> crate::support::Run {
        let etcd = self.etcd();
        let all: Vec<&str> = arguments.iter().copied().chain(etcd.iter().map(String::as_str)).collect();
        self.sandbox.mastic(&all)
    }

    #[track_caller]
    fn push(&self, arguments: &[&str]) -> crate::support::Run {
        self.mastic(&[&["push"], arguments].concat())
    }

    fn pages(&self) -> BTreeMap<&'static str, String> {
        HOSTS.iter().filter_map(|host| Some((*host, page(&self.lab, host)?))).collect()
    }

    #[track_caller]
    fn wait_for_all(&self, word: &str) {
        let all: BTreeMap<_, _> = HOSTS.iter().map(|host| (*host, format!("{word} from {host}"))).collect();
        self.sandbox.wait_for(&format!("{word} everywhere"), 120, || self.pages() == all);
    }

    /// When and as what the web server of a host runs.
    fn container(&self, host: &str) -> String {
        self.lab.on(host, &["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "web"])
    }

    #[track_caller]
    fn status(&self) -> Value {
        self.mastic(&["status", "-o", "json"]).json()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in HOSTS {
                let log =
                    self.lab.try_run(&["exec", host, "journalctl", "-u", "mastic-agent", "-n", "60", "-o", "cat"]);
                println!("--- {host}\n{}", log.unwrap_or_else(|error| error));
            }
        }
    }
}

#[test]
fn agents_agree_through_etcd() {
    let scene = Scene::set();
    let (lab, sandbox) = (&scene.lab, &scene.sandbox);

    // Agents wait for what is to be pushed, and take what their key has signed.
    scene.start("h1");
    scene.start("h2");
    scene.site("one");
    let pushed = scene.push(&["--key", "key"]).ok();
    assert_eq!(pushed, "h1: +web\nh2: +web\nh3: +web\nPushed generation 1.\n");
    scene.start("h3");
    scene.wait_for_all("one");
    scene.mastic(&["wait", "--timeout", "60s"]).ok();
    let status = scene.status();
    assert_eq!((&status["generation"], &status["converged"]), (&Value::from(1), &Value::from(true)), "{status}");
    assert_eq!(status["hosts"].as_array().unwrap().len(), 3, "{status}");
    assert!(scene.push(&["--key", "key"]).ok().contains("Nothing to push"));

    // One host after the other, as seen from outside.
    let sampler = Sampler::begin(lab, &HOSTS);
    scene.site("two");
    assert!(scene.push(&["--key", "key"]).ok().starts_with("h1: ~web\nh2: ~web\nh3: ~web\n"));
    scene.wait_for_all("two");
    scene.mastic(&["wait", "--timeout", "60s"]).ok();
    assert_eq!(sampler.most_down(), 1);

    // What nobody signed whom the hosts trust is not taken, and says so.
    let before = HOSTS.map(|host| scene.container(host));
    scene.push(&["--generate-key", "other"]).ok();
    scene.site("bad");
    scene.push(&["--key", "other"]).ok();
    let refused = || {
        let status = scene.status();
        let why = status["bad_site_file"]["message"].as_str().unwrap_or_default().to_owned();
        why.contains("signed with a key that /etc/mastic/trust does not hold") && status["generation"] == 2
    };
    sandbox.wait_for("the refusal", 60, refused);
    assert_eq!(HOSTS.map(|host| scene.container(host)), before, "nothing was touched");

    // Who has not seen the last push is told of it.
    let elsewhere = sandbox.path().join("elsewhere").display().to_string();
    scene.site("three");
    let stale = scene.mastic(&["push", "--key", "key", "--state-dir", &elsewhere]);
    assert_eq!(stale.code, 1);
    assert!(stale.stderr.contains("generation 3 was pushed by "), "{}", stale.stderr);
    scene.push(&["--key", "key"]).ok();
    scene.wait_for_all("three");
    scene.mastic(&["wait", "--timeout", "60s"]).ok();
    assert!(scene.status()["bad_site_file"].is_null());

    // Without etcd what dies is healed, and nothing that disrupts begins; with it that goes on by itself.
    for member in ["e1", "e2", "e3"] {
        lab.kill(member);
    }
    lab.on("h2", &["docker", "rm", "-f", "web"]);
    scene.wait_for_all("three");
    let before = scene.container("h1");
    lab.on("h1", &["mastic", "restart", "web", "--no-wait"]);
    let waits = || lab.on("h1", &["mastic", "events"]).contains("the coordinator cannot be reached");
    sandbox.wait_for("h1 to wait for its slot", 60, waits);
    assert_eq!(scene.container("h1"), before);
    // Together: one alone has nobody to agree with.
    std::thread::scope(|scope| {
        for member in ["e1", "e2", "e3"] {
            scope.spawn(move || lab.boot(member));
        }
    });
    sandbox.wait_for("the restart", 120, || scene.container("h1") != before);
    scene.mastic(&["wait", "--timeout", "120s"]).ok();

    // An agent that is killed in the middle of a rollout, and started again.
    let sampler = Sampler::begin(lab, &HOSTS);
    scene.site("four");
    scene.push(&["--key", "key"]).ok();
    sandbox.wait_for("the rollout to begin", 60, || page(lab, "h1").is_some_and(|page| page.starts_with("four")));
    lab.on("h2", &["systemctl", "kill", "-s", "KILL", "mastic-agent"]);
    sandbox.wait_for("the end of the unit", 30, || {
        lab.try_run(&["exec", "h2", "systemctl", "is-active", "mastic-agent"]).is_err()
    });
    scene.start("h2");
    scene.wait_for_all("four");
    scene.mastic(&["wait", "--timeout", "120s"]).ok();

    // The member of etcd that leads is killed in the middle of one.
    scene.site("five");
    scene.push(&["--key", "key"]).ok();
    sandbox.wait_for("the rollout to begin", 60, || page(lab, "h1").is_some_and(|page| page.starts_with("five")));
    lab.kill(&leader(lab));
    scene.wait_for_all("five");
    scene.mastic(&["wait", "--timeout", "120s"]).ok();
    assert_eq!(sampler.most_down(), 1);

    // From the workstation, what changes something needs a key that the hosts trust.
    assert_eq!(scene.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    let unsigned = scene.mastic(&["rollback", "--reason", "no"]);
    assert!(unsigned.code != 0 && unsigned.stderr.contains("give it with --key FILE"), "{unsigned}");
    let stranger = scene.mastic(&["rollback", "--reason", "no", "--key", "other"]);
    assert!(stranger.code != 0 && stranger.stderr.contains("does not hold"), "{stranger}");
    scene.mastic(&["rollback", "--reason", "five is bad", "--key", "key", "--timeout", "120s"]).ok();
    scene.wait_for_all("four");
    let one = scene.mastic(&["--host", "h3", "restart", "web", "--key", "key"]);
    assert_eq!(one.code, 0, "{one}");

    // A host whose agent is gone is not reachable, and nobody waits for it.
    lab.on("h3", &["systemctl", "kill", "-s", "KILL", "mastic-agent"]);
    let is_silent = |status: &Value| status["hosts"][2]["reachable"] == false && status["converged"] == false;
    sandbox.wait_for("the end of its words", 60, || is_silent(&scene.status()));
    let silent = scene.mastic(&["--host", "h3", "restart", "web", "--key", "key"]);
    assert!(silent.code != 0 && silent.stderr.contains("no agent answers for h3"), "{silent}");
    assert!(page(lab, "h3").is_some(), "what runs there goes on");
}

/// The member of etcd that leads.
#[track_caller]
fn leader(lab: &Lab) -> String {
    let (_, password) = lab.registry_login();
    let user = format!("root:{password}");
    let status = lab.on(
        "e1",
        &[
            "env",
            "-u",
            "ETCDCTL_ENDPOINTS",
            "etcdctl",
            "--user",
            &user,
            "--endpoints",
            lab.etcd(),
            "endpoint",
            "status",
            "-w",
            "json",
        ],
    );
    let status: Value = serde_json::from_str(&status).unwrap();
    let leads = |one: &&Value| one["Status"]["header"]["member_id"] == one["Status"]["leader"];
    let endpoint =
        status.as_array().unwrap().iter().find(leads).expect("one leads")["Endpoint"].as_str().unwrap().to_owned();
    let index = lab.etcd().split(',').position(|member| member == endpoint).expect("it is one of ours");
    format!("e{}", index + 1)
}

//! The agent under a real systemd: as the installed unit, and as a transient one.
//!
//! systemd is the first process of a container. The agent in it speaks to the engine of this machine, which mounts files
//! by their path here, so the state directory has the same path inside and outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Sandbox, docker, try_docker};

/// A site of one service, whose process ends at once when it is asked to, and of a job that has no time to run.
const SITE: &str = r#"
apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts: {here: {connection: {local: {}}}}
  jobs: {@-yearly: {image: "IMAGE", command: ["true"], schedule: {cron: "0 0 1 1 *"}}}
  services:
    @-one: {hosts: [here], image: "IMAGE", command: [sleep, "100000"], init: true}
"#;

/// One more service.
const MORE: &str = "    @-two: {hosts: [here], image: \"IMAGE\", command: [sleep, \"100000\"], init: true}\n";

/// A machine with systemd and a directory of state that has the same path inside and outside.
struct Machine {
    name: String,
    state: PathBuf,
    sandbox: Sandbox,
}

impl Machine {
    /// Boots it, with the site in /etc/mastic and the program in /usr/local/bin.
    fn boot() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(root.join("tests/lab/systemd-image")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let image = String::from_utf8_lossy(&made.stdout).trim().to_owned();

        let sandbox = Sandbox::new();
        let name = sandbox.name("machine");
        let state = PathBuf::from(format!("/var/lib/{}", sandbox.name("state")));
        fs::create_dir_all(&state).unwrap();
        sandbox.image("service", "");
        let machine = Self { name, state, sandbox };
        machine.write_site("");
        let mounts = [
            format!("{}:/usr/local/bin/mastic:ro", env!("CARGO_BIN_EXE_mastic")),
            format!("{}:/etc/mastic", machine.sandbox.path().display()),
            format!("{0}:{0}", machine.state.display()),
            "/var/run/docker.sock:/run/docker.sock".to_owned(),
        ];
        let mut arguments = vec!["run", "-d", "--name", &machine.name, "--stop-signal", "SIGRTMIN+3"];
        // systemd needs cgroups of its own and most capabilities, but nothing that reaches the real machine's clock,
        // modules or limits.
        arguments.extend(["--cgroupns", "private", "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"]);
        arguments.extend(["--cap-drop", "SYS_TIME", "--cap-drop", "SYS_MODULE", "--network", "none"]);
        arguments.extend(["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]);
        arguments.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock"]);
        for mount in &mounts {
            arguments.extend(["-v", mount]);
        }
        arguments.push(&image);
        docker(&arguments);
        machine.wait_for("systemd", 60, || {
            let state = machine.try_run(&["systemctl", "is-system-running"]).unwrap_or_else(|said| said);
            ["running", "degraded"].contains(&state.trim())
        });
        machine
    }

    fn write_site(&self, more: &str) {
        let image = format!("{}:1", self.sandbox.name("service"));
        self.sandbox.write("site.yaml", &format!("{SITE}{more}").replace("IMAGE", &image));
    }

    /// The unit as it is shipped, with a state directory of this test's and a watchdog that a test can wait for.
    fn install(&self) {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/systemd/mastic-agent.service");
        docker(&["cp", &unit.to_string_lossy(), &format!("{}:/etc/systemd/system/mastic-agent.service", self.name)]);
        let directory = self.state.file_name().unwrap().to_string_lossy().into_owned();
        let drop_in = format!(
            "[Service]\nStateDirectory=\nStateDirectory={directory}\nEnvironment=MASTIC_STATE_DIR={}\nWatchdogSec=3\n",
            self.state.display()
        );
        self.run(&["mkdir", "-p", "/etc/systemd/system/mastic-agent.service.d"]);
        let path = "/etc/systemd/system/mastic-agent.service.d/test.conf";
        self.run(&["sh", "-c", &format!("printf '%s' '{drop_in}' > {path}")]);
        self.run(&["systemctl", "daemon-reload"]);
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}\n{}", self.journal()))
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        try_docker(&[&["exec", &self.name][..], arguments].concat())
    }

    /// A property of a unit.
    fn show(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", "--value", "-p", property, unit]).trim().to_owned()
    }

    fn journal(&self) -> String {
        self.try_run(&["journalctl", "--no-pager", "-n", "80", "-o", "short-monotonic"]).unwrap_or_else(|said| said)
    }

    /// Asks again and again; the test fails with the journal.
    #[track_caller]
    fn wait_for(&self, what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(Instant::now() < deadline, "waited {seconds} s for {what}\n{}", self.journal());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    #[track_caller]
    fn wait_for_line(&self, unit: &str, line: &str) {
        self.wait_for(line, 60, || self.show(unit, "StatusText") == line);
    }

    /// Ids of the service's containers that run.
    fn containers(&self) -> String {
        let site = format!("label=mastic.site={}", self.sandbox.prefix());
        docker(&["ps", "-q", "--no-trunc", "--filter", &site])
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The machine first: its agent would heal what the sandbox removes.
        let _removed = try_docker(&["rm", "-fv", &self.name]);
        let _removed = fs::remove_dir_all(&self.state);
    }
}

#[test]
fn the_installed_unit_starts_reloads_is_watched_and_stops() {
    let machine = Machine::boot();
    machine.install();
    let unit = "mastic-agent.service";

    // `start` returns when the agent has said that it is ready.
    machine.run(&["systemctl", "start", unit]);
    assert_eq!(machine.show(unit, "ActiveState"), "active");
    machine.wait_for_line(unit, "converged 1/1, generation 1");
    let before = machine.containers();
    assert_eq!(before.lines().count(), 1, "{before}");
    let listing = machine.run(&["systemctl", "status", "--no-pager", unit]);
    assert!(listing.contains("Status: \"converged 1/1, generation 1\""), "{listing}");

    // The journal has fields to search by.
    let entries = machine.run(&["journalctl", "-u", unit, "-t", "mastic", "-o", "json", "--no-pager"]);
    assert!(entries.lines().any(|line| line.contains("\"_TRANSPORT\":\"journal\"")), "{entries}");

    every_metric_of_the_rules_is_there(&machine);

    // A reload takes an edit in without a restart.
    let process = machine.show(unit, "MainPID");
    machine.write_site(MORE);
    machine.run(&["systemctl", "reload", unit]);
    machine.wait_for_line(unit, "converged 2/2, generation 2");
    assert_eq!(machine.show(unit, "MainPID"), process);
    let both = machine.containers();

    // An agent that hangs is killed and started again; the containers do not notice.
    machine.run(&["kill", "-STOP", &process]);
    machine.wait_for("the watchdog", 60, || machine.show(unit, "NRestarts") == "1");
    machine.wait_for("the agent after the watchdog", 60, || machine.show(unit, "ActiveState") == "active");
    assert_ne!(machine.show(unit, "MainPID"), process);
    machine.wait_for_line(unit, "converged 2/2, generation 2");
    assert_eq!(machine.containers(), both);

    machine.run(&["systemctl", "stop", unit]);
    assert_eq!(machine.show(unit, "ActiveState"), "inactive");
    assert_eq!(machine.show(unit, "Result"), "success");
    assert_eq!(machine.containers(), both);
    assert!(!machine.state.join("agent.sock").exists(), "the socket is gone");
}

/// What the rules of Prometheus name must exist in a live scrape.
fn every_metric_of_the_rules_is_there(machine: &Machine) {
    let scrape = machine.run(&["curl", "-sf", "http://127.0.0.1:9600/metrics"]);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/prometheus/mastic.rules.yaml");
    let rules: Value = serde_yaml::from_str(&fs::read_to_string(rules).unwrap()).unwrap();
    let mut named = 0;
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let words = rule["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("mastic_")) {
            let there = scrape
                .lines()
                .any(|line| line.starts_with(&format!("{metric}{{")) || line.starts_with(&format!("{metric} ")));
            assert!(there, "{metric} is not in\n{scrape}");
            named += 1;
        }
    }
    assert!(named >= 10, "{named}");
    assert_eq!(machine.run(&["curl", "-sf", "http://127.0.0.1:9600/readyz"]), "ok\n");
    assert_eq!(machine.run(&["curl", "-sf", "http://127.0.0.1:9600/healthz"]), "ok\n");
    let status = machine.run(&["curl", "-sf", "http://127.0.0.1:9600/api/v1/status"]);
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["ready"], true);
}

#[test]
fn a_transient_unit_does_as_well() {
    let machine = Machine::boot();
    let state = format!("--setenv=MASTIC_STATE_DIR={}", machine.state.display());
    let unit = "mastic-now.service";
    machine.run(&[
        "systemd-run",
        "--unit",
        unit,
        "-p",
        "Type=notify",
        "-p",
        "WatchdogSec=5",
        &state,
        "/usr/local/bin/mastic",
        "agent",
        "-f",
        "/etc/mastic/site.yaml",
    ]);
    assert_eq!(machine.show(unit, "ActiveState"), "active");
    machine.wait_for_line(unit, "converged 1/1, generation 1");
    let containers = machine.containers();
    assert_eq!(containers.lines().count(), 1);
    machine.run(&["systemctl", "stop", unit]);
    assert_eq!(machine.containers(), containers);
}

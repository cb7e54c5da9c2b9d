//! podman's socket: what is there is shown, and nothing is changed.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::{Run, Sandbox, docker};

/// `podman system service` with a place of its own; ended when it is dropped.
struct Podman {
    directory: tempfile::TempDir,
    child: Child,
}

impl Podman {
    fn start(sandbox: &Sandbox) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        // Its default limits may be above those of a machine that is itself a container.
        let settings = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
                        [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        std::fs::write(place("containers.conf"), settings).unwrap();
        let child = Command::new("podman")
            .args(["--root", &place("root"), "--runroot", &place("run"), "--tmpdir", &place("tmp")])
            .args(["--storage-driver", "vfs", "system", "service", "--time", "0"])
            .arg(format!("unix://{}", place("podman.sock")))
            .env("CONTAINERS_CONF", place("containers.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("podman is installed (tests/run does it)");
        let podman = Self { directory, child };
        sandbox.wait_for("podman", 30, || podman.docker(&["version"]).code == 0);
        podman
    }

    fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("podman.sock").display())
    }

    fn docker(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new("docker");
        command.args(["-H", &self.host()]).args(arguments);
        Run::of(command)
    }

    /// Its containers, each with when it was started.
    fn containers(&self) -> String {
        let names = self.docker(&["ps", "-aq"]).ok();
        let names: Vec<&str> = names.lines().collect();
        self.docker(
            &[&["inspect", "-f", "{{.Id}} {{.Name}} {{.State.StartedAt}} {{.State.Status}}"], &names[..]].concat(),
        )
        .ok()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let names = self.docker(&["ps", "-aq"]).stdout;
        if !names.is_empty() {
            let _removed = self.docker(&[&["rm", "-f"], &names.lines().collect::<Vec<_>>()[..]].concat());
        }
        let _asked = Command::new("kill").arg(self.child.id().to_string()).output();
        let _ended = self.child.wait();
        let place = self.directory.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(&place)) {
            let _unmounted = Command::new("umount").args(["-l", mount]).output();
        }
    }
}

#[test]
fn what_runs_under_podman_is_shown_and_left_alone() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("podman", "");
    let podman = Podman::start(&sandbox);
    let archive = sandbox.path().join("image.tar").to_string_lossy().into_owned();
    docker(&["save", "-o", &archive, &image]);
    podman.docker(&["load", "-q", "-i", &archive]).ok();
    let image = format!("localhost/{image}");
    let web = sandbox.name("web");
    let labels = [("site", sandbox.prefix()), ("host", "here"), ("service", web.as_str())];
    let labels: Vec<String> =
        labels.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("mastic.{key}={value}")]).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let run = [&["run", "-d", "--name", &web, "--network", "host"], &labels[..], &[image.as_str(), "sleep", "1000"]];
    podman.docker(&run.concat()).ok();
    sandbox.write(
        "site.yaml",
        &format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: @}}\nspec:\n  hosts: {{here: {{connection: {{docker: {{host: '{}'}}}}}}}}\n  \
             services:\n    @-web: {{image: '{image}', network_mode: host, command: [sleep, '1001']}}\n    \
             @-new: {{image: '{image}', network_mode: host, command: [sleep, '1000']}}\n",
            podman.host()
        ),
    );
    let before = podman.containers();
    assert_eq!(before.lines().count(), 1, "{before}");

    // Each verb says at once why it does nothing.
    for arguments in [&["plan", "--detailed-exitcode"][..], &["diff"], &["apply"]] {
        let run = sandbox.mastic(arguments);
        assert_eq!(run.code, if arguments[0] == "diff" { 2 } else { 1 }, "{run}");
        assert!(run.stderr.contains("podman ") && run.stderr.contains("is only looked at, not changed"), "{run}");
    }
    let agent = sandbox.agent(&[]);
    sandbox.wait_for("the agent to look", 30, || sandbox.has_condition(&web, "Unknown"));
    let status = sandbox.status();
    let host = &status["hosts"][0];
    assert_eq!((&host["reachable"], &status["converged"]), (&json!(false), &json!(false)), "{status}");
    assert!(host["engine"]["error"].as_str().unwrap().starts_with("podman "), "{status}");
    assert_eq!(sandbox.instance(&web)["state"], "running", "{status}");
    assert_eq!(sandbox.instance(&web)["conditions"][0]["status"], "Unknown", "{status}");
    sandbox.mastic(&["apply", "--timeout", "10s"]);
    assert_eq!(agent.stop(20).code(), Some(0));
    assert_eq!(podman.containers(), before);
}

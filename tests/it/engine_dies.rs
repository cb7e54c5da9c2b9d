//! dockerd is killed and started again in the middle of what the program does to it: the end is the same as without.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};

use crate::support::{Background, Daemon, Proxy, Run, Sandbox, command, differences, made};

struct Scene {
    sandbox: Sandbox,
    daemon: Daemon,
    proxy: Proxy,
}

impl Scene {
    fn new(arguments: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let image = sandbox.image("engine", "");
        let daemon = Daemon::start(arguments);
        daemon.load(&image);
        let proxy = Proxy::to(sandbox.path(), &daemon.socket());
        sandbox.site(&format!(
            "  networks: {{back: {{}}}}
  volumes: {{data: {{}}}}
  defaults: {{container: {{command: [sleep, '1000'], stop_signal: SIGKILL}}}}
  jobs:
    once: {{image: '{image}', run: once, command: [sh, -c, 'echo x >> /data/runs'], volumes: ['data:/data']}}
  services:
    db: {{image: '{image}', volumes: ['data:/data', /scratch], networks: [back]}}
    web:
      image: '{image}'
      depends_on: {{db: {{condition: service_started}}, once: {{condition: service_completed_successfully}}}}
      environment: {{WORD: one}}
      networks: [back]
      files: [{{content: 'one', target: /etc/word}}]
"
        ));
        Self { sandbox, daemon, proxy }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.sandbox.command(arguments);
        command.env("DOCKER_HOST", self.proxy.host());
        command
    }

    fn mastic(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    fn start(&self, arguments: &[&str]) -> Background {
        self.sandbox.start_command(self.command(arguments))
    }

    /// dockerd dies in the middle of the nth call that changes something; the receiver hears of it.
    fn dies_at(&self, number: usize) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        let (dockerd, mut count) = (self.daemon.id().to_string(), 0);
        self.proxy.in_the_middle(move |call| {
            count += 1;
            if count == number {
                command("kill", &["-KILL", &dockerd]);
                sender.send(call.to_owned()).unwrap();
            }
        });
        receiver
    }

    /// Waits for the death, and starts dockerd again.
    #[track_caller]
    fn again(&mut self, died: mpsc::Receiver<String>) -> String {
        let call = died.recv_timeout(std::time::Duration::from_secs(30)).expect("there are so many calls");
        self.proxy.undisturbed();
        self.daemon.start_again();
        call
    }

    /// All that there is, and how often the job ran.
    fn picture(&self) -> Value {
        let names = self.daemon.docker(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
        let of = |line: &str| {
            let name = line.split(' ').next().unwrap();
            let seen = self.daemon.docker(&["container", "inspect", name]);
            (line.to_owned(), made(&serde_json::from_str::<Value>(&seen).unwrap()[0]))
        };
        let runs = self.daemon.docker(&["exec", "db", "sh", "-c", "sort -u /data/runs"]);
        json!({"containers": names.lines().map(of).collect::<BTreeMap<String, Value>>(), "runs": runs})
    }

    #[track_caller]
    fn destroy(&self) {
        Run::of(self.command(&["destroy", "--yes", "--volumes"])).ok();
        assert_eq!(self.daemon.docker(&["ps", "-aq"]), "");
    }
}

#[test]
fn an_apply_in_the_middle_of_which_dockerd_dies_ends_as_any_other() {
    let mut scene = Scene::new(&[]);
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    scene.proxy.in_the_middle(move |_| *counted.lock().unwrap() += 1);
    scene.mastic(&["apply", "--timeout", "60"]).ok();
    let undisturbed = scene.picture();
    assert_eq!(
        undisturbed["containers"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["db running", "web running"]
    );
    let count = *count.lock().unwrap();
    assert!(count >= 8, "network, volume, and twice create and start, and the job: {count}");

    for number in [2, count / 2, count] {
        scene.destroy();
        let died = scene.dies_at(number);
        let mut apply = scene.start(&["apply", "--timeout", "60"]);
        let call = scene.again(died);
        // A job that died with its dockerd has failed: that is told, and the next apply runs it again.
        if !apply.wait(60).success() {
            assert!(apply.log().contains("JobFailed"), "{number} of {count}, {call}: {}", apply.log());
            scene.mastic(&["apply", "--timeout", "60"]).ok();
        }
        let told = || format!("{number} of {count}, {call}\n{}\n{}", scene.mastic(&["plan"]), apply.log());
        assert_eq!(differences(&undisturbed, &scene.picture()), [""; 0], "{}", told());
        assert_eq!(scene.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    }
}

#[test]
fn an_agent_outlives_its_dockerd_and_goes_on_with_what_it_was_at() {
    // With this the containers outlive it, too: nothing of theirs may be disturbed.
    let mut scene = Scene::new(&["--live-restore"]);
    let mut agent = scene.start(&["agent"]);
    let status = |scene: &Scene| scene.mastic(&["status", "-o", "json"]).json();
    scene.sandbox.wait_for("the agent", 30, || scene.sandbox.state().join("agent.sock").exists());
    scene.sandbox.wait_for("the first apply", 60, || status(&scene)["converged"] == true);
    let before = scene.picture();
    let started = |name: &str| scene.daemon.docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", name]);
    let db = started("db");

    // In the middle of a replacement, at a call each: as the new one is made, and as it is started.
    let site = std::fs::read_to_string(scene.sandbox.path().join("site.yaml")).unwrap();
    for (number, word) in [(1, "two"), (6, "three")] {
        let died = scene.dies_at(number);
        scene.sandbox.write("site.yaml", &site.replace("one", word));
        let call = scene.again(died);
        scene.sandbox.wait_for(&format!("the edit, though dockerd died at {call}"), 60, || {
            let said = scene.daemon.try_docker(&["exec", "web", "sh", "-c", "echo $WORD; cat /etc/word"]);
            said == Ok(format!("{word}\n{word}")) && status(&scene)["converged"] == true
        });
    }
    assert!(agent.runs());
    scene.sandbox.write("site.yaml", &site);
    scene.sandbox.wait_for("the first state again", 60, || {
        status(&scene)["generation"] == 4 && status(&scene)["converged"] == true
    });
    assert_eq!(differences(&before, &scene.picture()), [""; 0]);
    assert_eq!(scene.daemon.docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "db"]), db);
    assert!(agent.log().contains("EngineUp"), "{}", agent.log());
    agent.stop(20);
}

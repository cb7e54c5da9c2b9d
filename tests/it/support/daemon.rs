//! A dockerd of a test's own, with a network namespace of its own, that can be killed and started again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{command, text};

/// Runs until it is dropped; its containers end with it.
pub struct Daemon {
    directory: tempfile::TempDir,
    namespace: String,
    arguments: Vec<String>,
    child: Child,
}

impl Daemon {
    /// One with more arguments, such as `--live-restore`.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("mt-{}-d{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        command("ip", &["netns", "add", &namespace]);
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = run(&directory, &namespace, &arguments);
        let daemon = Self { directory, namespace, arguments, child };
        daemon.answers();
        daemon
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// As `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs the `docker` command against it; fails the test if it fails.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("docker {}: {error}", arguments.join(" ")))
    }

    /// As `docker`, for what may fail.
    pub fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        text(&Command::new("docker").args(["-H", &self.host()]).args(arguments).output().unwrap())
    }

    /// Copies an image of the engine of all tests.
    #[track_caller]
    pub fn load(&self, image: &str) {
        let archive = self.directory.path().join("image.tar").to_string_lossy().into_owned();
        super::docker(&["save", "-o", &archive, image]);
        self.docker(&["load", "-q", "-i", &archive]);
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts it again after its process has been killed.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.child.wait().unwrap();
        // Its containerd dies with it; whoever reaps that may take a while, and a new one would wait for the old number.
        let _gone = std::fs::remove_file(self.directory.path().join("exec/containerd/containerd.pid"));
        self.child = run(&self.directory, &self.namespace, &self.arguments);
        self.answers();
    }

    #[track_caller]
    fn answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.try_docker(&["version"]).is_err() {
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "this dockerd does not answer:\n{}", log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

fn run(directory: &tempfile::TempDir, namespace: &str, arguments: &[String]) -> Child {
    let place = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let log = std::fs::File::options().create(true).append(true).open(place("log")).unwrap();
    // With its parent it ends, too: a killed test leaves none behind.
    Command::new("nsenter")
        .args([&format!("--net=/run/netns/{namespace}"), "setpriv", "--pdeathsig", "TERM", "dockerd"])
        .args(["--data-root", &place("data"), "--exec-root", &place("exec"), "--pidfile", &place("pid")])
        .args(["-H", &format!("unix://{}", place("docker.sock"))])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("nsenter and setpriv are installed (tests/run does it)")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let all = self.try_docker(&["ps", "-aq"]).unwrap_or_default();
        if !all.is_empty() {
            let _removed = self.try_docker(&[&["rm", "-fv"], &all.lines().collect::<Vec<_>>()[..]].concat());
        }
        let _asked = Command::new("kill").arg(self.id().to_string()).output();
        let _ended = self.child.wait();
        // What it leaves mounted would keep the directory and the namespace.
        let place = self.directory.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(&place)) {
            let _unmounted = Command::new("umount").args(["-l", mount]).output();
        }
        let _removed = Command::new("ip").args(["netns", "del", &self.namespace]).output();
    }
}

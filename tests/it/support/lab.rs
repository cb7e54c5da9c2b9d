//! Many hosts for a test, each with its own address, sshd and dockerd: `tests/lab/lab` under a name of the test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::text;

/// Is gone when it is dropped; what a killed test leaves, `tests/run` removes.
pub struct Lab {
    name: String,
    directory: tempfile::TempDir,
    known: BTreeMap<String, String>,
}

impl Lab {
    /// Brings up so many hosts (h1, h2, ...) and a registry.
    #[track_caller]
    pub fn up(hosts: usize) -> Self {
        Self::with(hosts, &[])
    }

    /// The same, with three members of etcd (e1 to e3).
    #[track_caller]
    pub fn up_with_etcd(hosts: usize) -> Self {
        Self::with(hosts, &["--etcd"])
    }

    #[track_caller]
    fn with(hosts: usize, more: &[&str]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mt-{}-lab{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut lab = Self { name, directory: tempfile::tempdir().unwrap(), known: BTreeMap::new() };
        let count = hosts.to_string();
        lab.run(&[&["up", &count], more].concat());
        lab.known = lab
            .run(&["env"])
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        lab
    }

    /// `tests/lab/lab ARGUMENTS`; fails the test if it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|stderr| panic!("tests/lab/lab {} failed: {stderr}", arguments.join(" ")))
    }

    /// As `run`, for what may fail: standard output, or standard error.
    #[track_caller]
    pub fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        text(&self.output(arguments))
    }

    fn output(&self, arguments: &[&str]) -> Output {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/lab"))
            .args(arguments)
            .env("LAB", &self.name)
            .env("LAB_DIR", self.path())
            .env_remove("LAB_NET")
            .output()
            .unwrap()
    }

    /// Runs a command on a machine, past its network, as root.
    #[track_caller]
    pub fn on(&self, machine: &str, command: &[&str]) -> String {
        self.run(&[&["exec", machine], command].concat())
    }

    /// Drops all packets from and to a machine until it is healed.
    #[track_caller]
    pub fn partition(&self, machine: &str) {
        self.run(&["partition", machine]);
    }

    /// Ends a partition.
    #[track_caller]
    pub fn heal(&self, machine: &str) {
        self.run(&["heal", machine]);
    }

    /// Pulls the plug of a machine.
    #[track_caller]
    pub fn kill(&self, machine: &str) {
        self.run(&["kill", machine]);
    }

    /// Starts it again and waits until it answers.
    #[track_caller]
    pub fn boot(&self, machine: &str) {
        self.run(&["boot", machine]);
    }

    /// Copies an image of this machine's engine to the registry, and returns the reference to pull it by.
    #[track_caller]
    pub fn push(&self, image: &str) -> String {
        self.run(&["push", image]);
        format!("{}/{image}", self.registry())
    }

    #[track_caller]
    fn know(&self, name: &str) -> &str {
        self.known.get(name).unwrap_or_else(|| panic!("the lab has no {name}"))
    }

    /// Starts the names of its containers, and good as a site's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are, and a place for a test's own.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The address of a host.
    #[track_caller]
    pub fn address(&self, host: &str) -> &str {
        self.know(host)
    }

    /// The first three numbers of all addresses; .211 to .254 are free.
    #[track_caller]
    pub fn network(&self) -> &str {
        self.know("NETWORK")
    }

    /// The private key of root and deploy on all hosts.
    #[track_caller]
    pub fn ssh_key(&self) -> PathBuf {
        self.know("SSH_KEY").into()
    }

    /// The hosts' true keys, by name and address.
    #[track_caller]
    pub fn known_hosts(&self) -> PathBuf {
        self.know("KNOWN_HOSTS").into()
    }

    /// `HOST:PORT` of the registry.
    #[track_caller]
    pub fn registry(&self) -> &str {
        self.know("REGISTRY")
    }

    /// Its user and password.
    #[track_caller]
    pub fn registry_login(&self) -> (&str, &str) {
        (self.know("REGISTRY_USER"), self.know("REGISTRY_PASSWORD"))
    }

    /// The certificate of the authority of the registry and of etcd.
    #[track_caller]
    pub fn authority(&self) -> PathBuf {
        self.know("CA").into()
    }

    /// The endpoints of etcd, with commas between them; its users are root and mastic, with the password of the registry.
    #[track_caller]
    pub fn etcd(&self) -> &str {
        self.know("ETCD")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failed test wants to know how its hosts were.
        if std::thread::panicking() {
            println!("{}", String::from_utf8_lossy(&self.output(&["status"]).stdout));
        }
        let _gone = self.output(&["down"]);
    }
}

//! A registry of images on loopback, with or without a login; Docker takes plain HTTP from there.

use std::fmt::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{command, free_port};

/// Runs until it is dropped.
pub struct Registry {
    child: Child,
    address: String,
    login: Option<(String, String)>,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// One that lets everybody in.
    #[track_caller]
    pub fn open() -> Self {
        Self::start(None)
    }

    /// One that wants this user and password.
    #[track_caller]
    pub fn with_login(user: &str, password: &str) -> Self {
        Self::start(Some((user.to_owned(), password.to_owned())))
    }

    #[track_caller]
    fn start(login: Option<(String, String)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().to_string_lossy().into_owned();
        let address = format!("127.0.0.1:{}", free_port());
        let mut settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {place}/data}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{address}'}}\n"
        );
        if let Some((user, password)) = &login {
            std::fs::write(format!("{place}/htpasswd"), command("htpasswd", &["-Bbn", user, password])).unwrap();
            writeln!(settings, "auth: {{htpasswd: {{realm: test, path: {place}/htpasswd}}}}").unwrap();
        }
        std::fs::write(format!("{place}/config.yml"), settings).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &format!("{place}/config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed (tests/run does it)");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "no registry on {address} within 20 s");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Self { child, address, login, _directory: directory }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a local image here and returns the reference to pull it by; nothing new is left in the engine.
    #[track_caller]
    pub fn push(&self, image: &str, name: &str) -> String {
        let reference = format!("{}/{name}", self.address);
        let (from, to) = (format!("docker-daemon:{image}"), format!("docker://{reference}"));
        let mut arguments = vec!["copy", "--quiet", "--dest-tls-verify=false"];
        let login = self.login.as_ref().map(|(user, password)| format!("{user}:{password}"));
        if let Some(login) = &login {
            arguments.extend(["--dest-creds", login]);
        }
        arguments.extend([from.as_str(), to.as_str()]);
        command("skopeo", &arguments);
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

//! A registry of images: on loopback, from where Docker takes plain HTTP, or with TLS on the address of Docker's bridge; with
//! or without a login.

use std::fmt::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Authority, command, docker, free_port};

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
        Self::start("127.0.0.1", None, None)
    }

    /// One that wants this user and password.
    #[track_caller]
    pub fn with_login(user: &str, password: &str) -> Self {
        Self::start("127.0.0.1", None, Some((user.to_owned(), password.to_owned())))
    }

    /// One with a certificate of an authority, on an address where Docker insists on it, that wants this user and password.
    #[track_caller]
    pub fn with_tls(authority: &Authority, user: &str, password: &str) -> Self {
        // Asked of the interface: an engine that found it there does not always know its own gateway.
        let shown = command("ip", &["-4", "-o", "address", "show", "docker0"]);
        let address = shown.split_whitespace().skip_while(|word| *word != "inet").nth(1);
        let host = address.and_then(|address| address.split('/').next()).expect("docker0 has an address");
        authority.issue("registry", &format!("subjectAltName=IP:{host}\nextendedKeyUsage=serverAuth"));
        let tls = format!(
            "{{certificate: {}, key: {}}}",
            authority.file("registry/cert.pem"),
            authority.file("registry/key.pem")
        );
        Self::start(host, Some(tls), Some((user.to_owned(), password.to_owned())))
    }

    #[track_caller]
    fn start(host: &str, tls: Option<String>, login: Option<(String, String)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().to_string_lossy().into_owned();
        let address = format!("{host}:{}", free_port());
        let mut settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {place}/data}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{address}'{}}}\n",
            tls.map(|tls| format!(", tls: {tls}")).unwrap_or_default()
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

    /// `HOST:PORT`.
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

    /// The digest by which it knows an image.
    #[track_caller]
    pub fn digest(&self, name: &str) -> String {
        let reference = format!("docker://{}/{name}", self.address);
        let mut arguments = vec!["inspect", "--no-tags", "--tls-verify=false", "--format", "{{.Digest}}"];
        let login = self.login.as_ref().map(|(user, password)| format!("{user}:{password}"));
        if let Some(login) = &login {
            arguments.extend(["--creds", login]);
        }
        arguments.push(&reference);
        command("skopeo", &arguments).trim().to_owned()
    }
}

/// Where dockerd looks for the authority of a registry; gone again afterwards.
pub struct Trust(PathBuf);

impl Trust {
    /// Nothing is there yet.
    pub fn new(registry: &Registry) -> Self {
        Self(PathBuf::from("/etc/docker/certs.d").join(registry.address()))
    }

    /// From now on dockerd trusts it for this registry, and no other.
    #[track_caller]
    pub fn give(&self, authority: &Authority) {
        std::fs::create_dir_all(&self.0).unwrap();
        std::fs::copy(authority.file("ca.pem"), self.0.join("ca.crt")).unwrap();
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

//! An etcd of a test's own on loopback: one member or several, with or without TLS and users.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mastic::edge::etcd::EtcdOptions;

use super::{Authority, free_port, text};

/// The password of its users `root` and `mastic`, with a sign that shells and URLs treat in their own way.
pub const PASSWORD: &str = "etcd secret $%&/";

/// Runs until it is dropped.
pub struct Etcd {
    members: Vec<Member>,
    directory: tempfile::TempDir,
    authority: Option<Authority>,
}

struct Member {
    arguments: Vec<String>,
    endpoint: String,
    child: Option<Child>,
}

impl Etcd {
    /// So many members that let everybody in.
    #[track_caller]
    pub fn start(members: usize) -> Self {
        Self::with(members, None)
    }

    /// One with TLS that asks for a client's certificate, and with users.
    #[track_caller]
    pub fn with_tls_and_users() -> Self {
        let authority = Authority::new();
        // The gateway is a client of its own member, with the member's certificate.
        authority.issue("etcd", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth");
        // With users, the gateway takes no certificate that has a common name.
        authority.issue_to("nameless", "/O=mastic", "extendedKeyUsage=clientAuth");
        let it = Self::with(1, Some(authority));
        for arguments in [
            &["user", "add", "root", "--new-user-password", PASSWORD][..],
            &["user", "grant-role", "root", "root"],
            &["user", "add", "mastic", "--new-user-password", PASSWORD],
            &["role", "add", "mastic"],
            &["role", "grant-permission", "mastic", "--prefix=true", "readwrite", "/mastic/"],
            &["user", "grant-role", "mastic", "mastic"],
            &["auth", "enable"],
        ] {
            it.ask(arguments).unwrap();
        }
        it
    }

    #[track_caller]
    fn with(count: usize, authority: Option<Authority>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let scheme = if authority.is_some() { "https" } else { "http" };
        let places: Vec<(String, String)> = (0..count)
            .map(|_| (format!("{scheme}://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port())))
            .collect();
        let cluster: Vec<String> =
            places.iter().enumerate().map(|(index, (_, peer))| format!("m{index}={peer}")).collect();
        let members = places.iter().enumerate().map(|(index, (client, peer))| {
            let data = directory.path().join(format!("m{index}")).display().to_string();
            let mut arguments: Vec<String> = [
                ("--name", format!("m{index}").as_str()),
                ("--data-dir", &data),
                ("--listen-client-urls", client),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", &cluster.join(",")),
                ("--logger", "zap"),
                ("--log-level", "error"),
            ]
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
            .collect();
            if let Some(authority) = &authority {
                arguments.extend([
                    format!("--cert-file={}", authority.file("etcd/cert.pem")),
                    format!("--key-file={}", authority.file("etcd/key.pem")),
                    format!("--trusted-ca-file={}", authority.file("ca.pem")),
                    "--client-cert-auth".to_owned(),
                ]);
            }
            Member { arguments, endpoint: client.clone(), child: None }
        });
        let members = members.collect();
        let mut it = Self { members, directory, authority };
        (0..count).for_each(|index| it.launch(index));
        it.wait();
        it
    }

    fn launch(&mut self, index: usize) {
        let member = &mut self.members[index];
        let mut command = Command::new("etcd");
        command.args(&member.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        member.child = Some(command.spawn().expect("etcd is installed (tests/run does it)"));
    }

    /// Waits until it has a leader and answers.
    #[track_caller]
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ask(&["get", "nothing"]).is_err_and(|error| !error.contains("user name is empty")) {
            assert!(Instant::now() < deadline, "no etcd within 30 s");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// `etcdctl ARGUMENTS`, as root once there are users.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let endpoints: Vec<&str> = self.members.iter().map(|member| member.endpoint.as_str()).collect();
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", endpoints.join(",")));
        if let Some(authority) = &self.authority {
            command.arg(format!("--cacert={}", authority.file("ca.pem")));
            command.arg(format!("--cert={}", authority.file("client/cert.pem")));
            command.arg(format!("--key={}", authority.file("client/key.pem")));
        }
        text(&command.args(arguments).output().expect("etcdctl is installed (tests/run does it)"))
    }

    /// Which member leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        let status = self.ask(&["endpoint", "status", "-w", "json"]).unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let leads = |one: &&serde_json::Value| one["Status"]["header"]["member_id"] == one["Status"]["leader"];
        let leader = status.as_array().unwrap().iter().find(leads).expect("one leads")["Endpoint"].as_str().unwrap();
        self.members.iter().position(|member| member.endpoint == leader).unwrap()
    }

    /// Pulls the plug of a member.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Of all of them.
    pub fn kill_all(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill(index));
    }

    /// Starts those again that are down, and waits until they answer.
    #[track_caller]
    pub fn restart(&mut self) {
        for index in 0..self.members.len() {
            if self.members[index].child.is_none() {
                self.launch(index);
            }
        }
        self.wait();
    }

    /// How to reach it.
    pub fn options(&self) -> EtcdOptions {
        let endpoints = self.members.iter().map(|member| member.endpoint.clone()).collect();
        let Some(authority) = &self.authority else { return EtcdOptions { endpoints, ..EtcdOptions::default() } };
        EtcdOptions {
            endpoints,
            authority: Some(authority.file("ca.pem").into()),
            certificate: Some(authority.file("nameless/cert.pem").into()),
            key: Some(authority.file("nameless/key.pem").into()),
            user: Some("mastic".to_owned()),
            password_file: Some(self.password_file(PASSWORD)),
        }
    }

    /// The certificate of a client that has a common name, and its key.
    pub fn named_client(&self) -> (PathBuf, PathBuf) {
        let client = self.authority.as_ref().expect("one with TLS").client();
        (client.join("cert.pem"), client.join("key.pem"))
    }

    /// A file with a password.
    pub fn password_file(&self, password: &str) -> PathBuf {
        let path: &Path = self.directory.path();
        let path = path.join("password");
        std::fs::write(&path, format!("{password}\n")).unwrap();
        path
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill_all();
    }
}

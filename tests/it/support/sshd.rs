//! An sshd of a test's own: on a free port of loopback, with its own keys, and with users of its own.
//!
//! It runs in a mount namespace in which /etc/passwd and /etc/group are the test's, so that users need not be made on the
//! machine: `mtdock` is in the group of the engine's socket, `mtplain` is not, `mtnone` has no shell.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{command, free_port};

/// Runs until it is dropped.
pub struct Sshd {
    directory: tempfile::TempDir,
    port: u16,
    options: String,
    child: Child,
}

impl Sshd {
    /// One with more lines of configuration.
    #[track_caller]
    pub fn start(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // sshd gives up its rights in here; it does not make it itself.
        std::fs::create_dir_all("/run/sshd").unwrap();
        for name in ["host_ed25519", "host_ecdsa", "key", "other"] {
            let kind = name.strip_prefix("host_").unwrap_or("ed25519");
            let path = directory.path().join(name).to_string_lossy().into_owned();
            command("ssh-keygen", &["-q", "-t", kind, "-N", "", "-C", name, "-f", &path]);
        }
        // The keys of those who log in are read by sshd as the user.
        command("chmod", &["755", &directory.path().to_string_lossy()]);
        std::fs::copy(directory.path().join("key.pub"), directory.path().join("authorized_keys")).unwrap();
        write_users(directory.path());
        let (port, options) = (free_port(), options.to_owned());
        let child = run(directory.path(), port, &options);
        let sshd = Self { directory, port, options, child };
        sshd.answers();
        sshd
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file of its: `host_ed25519`, `host_ecdsa` and their `.pub`, `key` that is let in, `other` that is not.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As known_hosts calls it.
    pub fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// The public half of a key, without its comment.
    #[track_caller]
    pub fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.file(&format!("{name}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Writes a file of known hosts; `@` is what known_hosts calls it, `ED` and `EC` are its keys, `OTHER` is none of them.
    #[track_caller]
    pub fn known_hosts(&self, text: &str) -> PathBuf {
        let text = text.replace('@', &self.name()).replace("MARK:", "@");
        let keys = [("ED", "host_ed25519"), ("EC", "host_ecdsa"), ("OTHER", "other")];
        // Word by word: a key may have such letters in it.
        let word = |word: &str| match keys.iter().find(|(name, _)| word.trim_end() == *name) {
            Some((name, file)) => format!("{}{}", self.public(file), &word[name.len()..]),
            None => word.to_owned(),
        };
        let text: String = text.split_inclusive([' ', '\t', '\n']).map(word).collect();
        let path = self.file("known_hosts");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Sends a signal to it and to all that it has started.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let mut all = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = all.get(next) {
            all.extend(children(*parent));
            next += 1;
        }
        let all: Vec<String> = all.iter().map(u32::to_string).collect();
        let mut arguments = vec!["-s", name];
        arguments.extend(all.iter().map(String::as_str));
        // One of them may have ended meanwhile.
        let _sent = Command::new("kill").args(arguments).stderr(Stdio::null()).status();
    }

    /// Kills it and its connections, and starts it again on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.signal("KILL");
        self.child.wait().unwrap();
        self.child = run(self.directory.path(), self.port, &self.options);
        self.answers();
    }

    /// Other lines of configuration, for the next start.
    pub fn set_options(&mut self, options: &str) {
        options.clone_into(&mut self.options);
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    #[track_caller]
    fn answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not answer\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.signal("KILL");
        let _status = self.child.wait();
    }
}

fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn write_users(directory: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let group = std::fs::metadata(super::engine_socket()).unwrap().gid();
    let mut users = std::fs::read_to_string("/etc/passwd").unwrap();
    for (name, id, group, shell) in
        [("mtdock", 64321, group, "sh"), ("mtplain", 64322, 64322, "sh"), ("mtnone", 64323, group, "false")]
    {
        writeln!(users, "{name}:x:{id}:{group}::/nonexistent:/bin/{shell}").unwrap();
    }
    std::fs::write(directory.join("passwd"), users).unwrap();
}

#[track_caller]
fn run(directory: &Path, port: u16, options: &str) -> Child {
    let at = |name: &str| directory.join(name).display().to_string();
    let config = format!(
        "{options}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         MaxStartups 200\nLogLevel VERBOSE\nPrintMotd no\n",
        at("host_ed25519"),
        at("host_ecdsa"),
        at("authorized_keys"),
    );
    std::fs::write(directory.join("sshd_config"), config).unwrap();
    let log = std::fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && exec \"$(command -v sshd || echo /usr/sbin/sshd)\" -D -e -f {}",
        at("passwd"),
        at("sshd_config")
    );
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// An ssh-agent of a test's own.
pub struct Agent {
    directory: tempfile::TempDir,
    child: Child,
}

impl Agent {
    /// One that holds nothing.
    #[track_caller]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a", &socket.to_string_lossy()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            assert!(Instant::now() < deadline, "ssh-agent does not start");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Self { directory, child }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Gives it a key.
    #[track_caller]
    pub fn add(&self, key: &Path) {
        let status = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", self.socket())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "ssh-add {}", key.display());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

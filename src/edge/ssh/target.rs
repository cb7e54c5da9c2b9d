//! Where a host is, worked out from the site, OpenSSH's configuration and what is usual.
//!
//! In: what the site says, the environment, configuration files. Out: [`SshTarget`]: the hosts on the way and the host
//! itself, each with user, keys and known_hosts. Keys and known_hosts are read later, at each connection anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::SshError;
use crate::edge::docker::DEFAULT_SOCKET;
use crate::edge::system_words;
use crate::parse::known_hosts::PORT;
use crate::parse::ssh::{Hop, Identity, SshSettings, Switch, hops};
use crate::parse::ssh_config::{self, File, HostConfig, Tokens, expand};

/// A host that does not answer so long is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent host is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// So many questions without an answer are one too many.
const KEEPALIVES: usize = 3;
/// Hosts on the way, at most: more is a loop in the configuration.
const MOST_HOPS: usize = 8;
/// The credential that is taken if the site names no key.
const CREDENTIAL: &str = "ssh-key";
/// OpenSSH's own choice, where nobody names a key.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// A host's engine, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// First the host that is reached directly, last the host itself.
    pub hops: Vec<HopTarget>,
    /// The engine's socket there.
    pub socket: String,
}

/// One host of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopTarget {
    /// As it was asked for.
    pub name: String,
    /// Where it is, which is how known_hosts calls it.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// How known_hosts calls it instead, without a port.
    pub alias: Option<String>,
    /// Keys in files.
    pub keys: Vec<KeyFile>,
    /// Whether other keys of the agent are left alone.
    pub only: bool,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Files of host keys; to the first one new keys are added.
    pub known_hosts: Vec<PathBuf>,
    /// How long it may take to connect, and to log in.
    pub patience: Duration,
    /// How often a silent host is asked.
    pub keepalive: Duration,
    /// How often without an answer.
    pub keepalives: usize,
}

/// A file with a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Where.
    pub path: PathBuf,
    /// Whether somebody named it, so that it must be there.
    pub named: bool,
}

impl SshTarget {
    /// Works it out. `directory` is what paths of the site are relative to, `get` reads the environment.
    pub fn resolve(
        settings: &SshSettings,
        directory: &Path,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SshError> {
        let account = Account::of(get);
        let around = Around { settings, directory, get, account };
        let name = settings.address.clone().unwrap_or_default();
        let (host, jump) = around.host(&Hop { user: None, host: name, port: None }, true)?;
        let mut hops = around.way(&host, jump, MOST_HOPS)?;
        hops.push(host);
        Ok(Self { hops, socket: settings.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.to_owned()) })
    }

    /// As people write it.
    pub fn address(&self) -> String {
        let Some(host) = self.hops.last() else { return "ssh://".to_owned() };
        let name = if host.name.contains(':') { format!("[{}]", host.name) } else { host.name.clone() };
        let port = if host.port == PORT { String::new() } else { format!(":{}", host.port) };
        format!("ssh://{}@{name}{port}", host.user)
    }
}

impl HopTarget {
    /// Host and port, as people write them.
    pub fn place(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// Host and port as known_hosts is asked for them.
    pub fn known_as(&self) -> (&str, u16) {
        match &self.alias {
            Some(alias) => (alias, PORT),
            None => (&self.address, self.port),
        }
    }
}

/// Who runs this.
struct Account {
    home: String,
    user: String,
}

impl Account {
    /// By the environment, else by the table of users: units of systemd may have neither variable.
    fn of(get: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let id = rustix::process::geteuid().as_raw().to_string();
        let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut lines = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let own = lines.find(|fields| fields.get(2) == Some(&id.as_str())).unwrap_or_default();
        let field = |index: usize| own.get(index).map(|field| (*field).to_owned());
        Self {
            home: set("HOME").or_else(|| field(5)).unwrap_or_else(|| "/".to_owned()),
            user: set("USER").or_else(|| set("LOGNAME")).or_else(|| field(0)).unwrap_or_else(|| "root".to_owned()),
        }
    }
}

struct Around<'a> {
    settings: &'a SshSettings,
    directory: &'a Path,
    get: &'a dyn Fn(&str) -> Option<String>,
    account: Account,
}

impl Around<'_> {
    /// The hosts before this one.
    fn way(&self, host: &HopTarget, jump: Option<Vec<Hop>>, left: usize) -> Result<Vec<HopTarget>, SshError> {
        let jump = jump.unwrap_or_default();
        if jump.len() > left {
            let message =
                format!("more than {MOST_HOPS} hosts lie on the way to {}; does ProxyJump go round?", host.name);
            return Err(SshError::Setup(message));
        }
        let mut way = Vec::new();
        for (index, hop) in jump.iter().enumerate() {
            let (target, before) = self.host(hop, false)?;
            // Only the first is reached from here, so only its own way counts.
            if index == 0 {
                way = self.way(&target, before, left - jump.len())?;
            }
            way.push(target);
        }
        Ok(way)
    }

    /// One host, and the hosts that it says lie before it.
    fn host(&self, hop: &Hop, is_last: bool) -> Result<(HopTarget, Option<Vec<Hop>>), SshError> {
        let config = self.config(&hop.host)?;
        let settings = self.settings;
        let own_port = if is_last { settings.port } else { None };
        let port = hop.port.or(own_port).or(config.port).unwrap_or(PORT);
        let own_user = if is_last { settings.user.clone() } else { None };
        let user = hop.user.clone().or(own_user).or_else(|| config.user.clone()).or_else(|| settings.user.clone());
        let user = user.unwrap_or_else(|| self.account.user.clone());
        let tokens = |host| Tokens {
            home: &self.account.home,
            local_user: &self.account.user,
            original: &hop.host,
            host,
            port,
            user: &user,
        };
        let wrong = |why: String| SshError::Setup(format!("OpenSSH's configuration of {}: {why}", hop.host));
        let address = match &config.host_name {
            Some(name) => expand(name, tokens(&hop.host), self.get).map_err(wrong)?,
            None => hop.host.clone(),
        };
        let path = |text: &str| expand(text, tokens(&address), self.get).map(PathBuf::from).map_err(wrong);
        let jump = match (if is_last { settings.jump.clone() } else { None }, &config.proxy_jump) {
            (Some(jump), _) => Some(jump),
            (None, Some(text)) => Some(hops(text).map_err(wrong)?),
            (None, None) => None,
        };
        if let (None, Some(place)) = (&jump, &config.proxy_command) {
            return Err(SshError::Setup(format!(
                "{place}: `ProxyCommand` for {} is not honoured: no program is run here; use `ProxyJump`, or `jump` of the site",
                hop.host
            )));
        }
        let (keys, only) = self.keys(&config, &path)?;
        let target = HopTarget {
            keys,
            only,
            agent: self.agent(&config, &path)?,
            known_hosts: self.known_hosts(&config, &path)?,
            patience: seconds(config.connect_timeout).unwrap_or(CONNECT_TIMEOUT),
            keepalive: seconds(config.alive_interval).unwrap_or(KEEPALIVE),
            keepalives: config.alive_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(KEEPALIVES).max(1),
            alias: config.host_key_alias.clone(),
            name: hop.host.clone(),
            address,
            port,
            user: user.clone(),
        };
        Ok((target, jump))
    }

    fn config(&self, host: &str) -> Result<HostConfig, SshError> {
        let home = Path::new(&self.account.home).join(".ssh");
        let read = |path: &Path| {
            let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            text.map(|text| (path.display().to_string(), text))
        };
        let mut files: Vec<File> = Vec::new();
        let usual = [home.join("config"), PathBuf::from("/etc/ssh/ssh_config")];
        let (paths, named): (&[PathBuf], bool) = match &self.settings.config {
            Some(Switch::Off) => (&[], false),
            Some(Switch::Path(path)) => (&[self.of_site(path)], true),
            Some(Switch::On) | None => (&usual, false),
        };
        for path in paths {
            match read(path) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {}
                Err(error) => {
                    return Err(SshError::Setup(format!("{}: {}", path.display(), system_words(&error))));
                }
            }
        }
        let include = |from: &str, pattern: &str| {
            let base = match Path::new(from) {
                system if system.starts_with("/etc/ssh") => Path::new("/etc/ssh"),
                own if own.starts_with(&home) => home.as_path(),
                other => other.parent().unwrap_or(Path::new("/")),
            };
            let pattern = match pattern.strip_prefix("~/") {
                Some(rest) => Path::new(&self.account.home).join(rest),
                None => base.join(pattern),
            };
            let found = glob::glob(&pattern.to_string_lossy()).ok();
            found.into_iter().flatten().flatten().filter_map(|path| read(&path).ok()).collect()
        };
        let config = ssh_config::read(&files, host, &include).map_err(|fault| SshError::Setup(fault.to_string()))?;
        for warning in &config.warnings {
            tracing::debug!(host, "{warning}");
        }
        Ok(config)
    }

    /// A path of the site; one below `~` is the home of who runs this.
    fn of_site(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => Path::new(&self.account.home).join(rest),
            None => self.directory.join(path),
        }
    }

    fn keys(
        &self,
        config: &HostConfig,
        path: &dyn Fn(&str) -> Result<PathBuf, SshError>,
    ) -> Result<(Vec<KeyFile>, bool), SshError> {
        let credentials = (self.get)("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut keys = Vec::new();
        for identity in &self.settings.identities {
            let path = match (identity, &credentials) {
                (Identity::File(path), _) => self.of_site(path),
                (Identity::Credential(name), Some(directory)) => directory.join(name),
                (Identity::Credential(name), None) => {
                    let message = format!(
                        "the credential `{name}` is not there: CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential={name}:PATH"
                    );
                    return Err(SshError::Setup(message));
                }
            };
            keys.push(KeyFile { path, named: true });
        }
        if !keys.is_empty() {
            return Ok((keys, true));
        }
        if let Some(path) = credentials.map(|directory| directory.join(CREDENTIAL)).filter(|path| path.exists()) {
            keys.push(KeyFile { path, named: true });
        }
        for text in config.identity_files.iter().filter(|text| !text.eq_ignore_ascii_case("none")) {
            keys.push(KeyFile { path: path(text)?, named: true });
        }
        if config.identity_files.is_empty() && keys.is_empty() {
            let directory = Path::new(&self.account.home).join(".ssh");
            keys.extend(USUAL_KEYS.map(|name| KeyFile { path: directory.join(name), named: false }));
        }
        Ok((keys, config.identities_only.unwrap_or(false)))
    }

    fn agent(
        &self,
        config: &HostConfig,
        path: &dyn Fn(&str) -> Result<PathBuf, SshError>,
    ) -> Result<Option<PathBuf>, SshError> {
        let socket = |name: &str| (self.get)(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        match (&self.settings.agent, config.identity_agent.as_deref()) {
            (Some(Switch::Off), _) => Ok(None),
            (Some(Switch::Path(path)), _) => Ok(Some(self.of_site(path))),
            (Some(Switch::On), _) => socket("SSH_AUTH_SOCK").map(Some).ok_or_else(|| {
                SshError::Setup(
                    "the site says `agent: true`, and SSH_AUTH_SOCK is not set: is ssh-agent running?".to_owned(),
                )
            }),
            (None, None | Some("SSH_AUTH_SOCK")) => Ok(socket("SSH_AUTH_SOCK")),
            (None, Some("none")) => Ok(None),
            (None, Some(text)) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(variable) => Ok(socket(variable)),
                None => path(text).map(Some),
            },
        }
    }

    fn known_hosts(
        &self,
        config: &HostConfig,
        path: &dyn Fn(&str) -> Result<PathBuf, SshError>,
    ) -> Result<Vec<PathBuf>, SshError> {
        if !self.settings.known_hosts.is_empty() {
            return Ok(self.settings.known_hosts.iter().map(|path| self.of_site(path)).collect());
        }
        let own =
            config.user_known_hosts.clone().unwrap_or_else(|| words(["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]));
        let global = config
            .global_known_hosts
            .clone()
            .unwrap_or_else(|| words(["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]));
        own.iter().chain(&global).filter(|text| *text != "none").map(|text| path(text)).collect()
    }
}

fn words(words: [&str; 2]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Zero is OpenSSH's way of saying never, which would leave a dead host unnoticed.
fn seconds(seconds: Option<u64>) -> Option<Duration> {
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

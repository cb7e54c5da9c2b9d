//! Where the engine is and how it is reached.
//!
//! In: `DOCKER_HOST` and its companions, or the same by hand. Out: an [`Endpoint`] and, for TLS, rustls's configuration.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::edge::ssh::{SshError, SshTarget};
use crate::model::time::Span;
use crate::parse::ssh::{Hop, SshSettings, hops};

/// Where Docker listens if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// How to reach an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Within which an answer must have come. Stops, removals and the like get more.
    pub answer: Span,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { endpoint: Endpoint::Unix(DEFAULT_SOCKET.into()), answer: Span::seconds(60) }
    }
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// On a unix socket.
    Unix(PathBuf),
    /// On TCP without protection: only ever on this machine.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// On TCP with TLS.
    Tls {
        /// Name or address, which the engine's certificate must bear.
        host: String,
        /// Port.
        port: u16,
        /// Whom we trust and who we are.
        certificates: Certificates,
    },
    /// On a unix socket of a host that is entered over SSH.
    Ssh(SshTarget),
    /// Nobody knows, and this is why: every call fails with it. One host of a site must not keep the others waiting.
    Nowhere(String),
}

/// The files that TLS needs, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Who signed the engine's certificate; none trusts the system's authorities.
    pub authority: Option<PathBuf>,
    /// Our certificate; an engine that listens on a network without asking for one is an open door.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Certificates {
    /// A directory as `docker` lays it out: `ca.pem`, `cert.pem`, `key.pem`.
    pub fn in_directory(directory: &Path) -> Self {
        let file = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
        Self { authority: file("ca.pem"), certificate: file("cert.pem"), key: file("key.pem") }
    }
}

/// Why an engine cannot even be called.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address of an engine.
    #[error("`{address}` is no address of an engine: {reason}")]
    Address {
        /// As given.
        address: String,
        /// Why.
        reason: &'static str,
    },
    /// Whoever can speak to an engine is root on its host.
    #[error(
        "`{address}` is TCP without TLS beyond this machine, which would make everybody on the network root there: \
         set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
    )]
    Unprotected {
        /// As given.
        address: String,
    },
    /// A certificate or key is not usable.
    #[error("{path}: {reason}")]
    Certificate {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The way over SSH cannot be worked out.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

impl ConnectOptions {
    /// An engine behind an sshd.
    pub fn ssh(target: SshTarget) -> Self {
        Self { endpoint: Endpoint::Ssh(target), ..Self::default() }
    }

    /// An engine that cannot be called.
    pub fn nowhere(why: String) -> Self {
        Self { endpoint: Endpoint::Nowhere(why), ..Self::default() }
    }

    /// Whether the files that it names can be used.
    pub fn check(&self) -> Result<(), ConnectError> {
        match &self.endpoint {
            Endpoint::Tls { certificates, .. } => tls_config(certificates).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// From `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`, as `docker` reads them, except that a
    /// certificate directory without `DOCKER_TLS_VERIFY` verifies too.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConnectError> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let certificates = match (set("DOCKER_CERT_PATH"), set("DOCKER_TLS_VERIFY")) {
            (Some(directory), _) => Some(PathBuf::from(directory)),
            (None, Some(_)) => set("HOME").map(|home| Path::new(&home).join(".docker")),
            (None, None) => None,
        };
        match set("DOCKER_HOST") {
            Some(address) if address.starts_with("ssh://") => ssh(&address, &get),
            Some(address) => Self::parse(&address, certificates.map(|path| Certificates::in_directory(&path))),
            None => Ok(Self::default()),
        }
    }

    /// From an address such as `unix:///var/run/docker.sock` or `tcp://node1:2376`. Certificates make TCP into TLS.
    pub fn parse(address: &str, certificates: Option<Certificates>) -> Result<Self, ConnectError> {
        let wrong = |reason| ConnectError::Address { address: address.to_owned(), reason };
        let (scheme, rest) = match address.split_once("://") {
            Some(parts) => parts,
            None if address.starts_with('/') => ("unix", address),
            None => return Err(wrong("it has no scheme; unix://PATH and tcp://HOST:PORT are known")),
        };
        let endpoint = match scheme {
            "unix" if rest.starts_with('/') => Endpoint::Unix(rest.into()),
            "unix" => return Err(wrong("the path of the socket must be absolute")),
            "tcp" | "http" | "https" => {
                let rest = rest.trim_end_matches('/');
                let tls = scheme == "https" || certificates.is_some();
                let (host, port) = host_and_port(rest, if tls { 2376 } else { 2375 })
                    .ok_or_else(|| wrong("it must be HOST:PORT, without a path"))?;
                if tls {
                    Endpoint::Tls { host, port, certificates: certificates.unwrap_or_default() }
                } else if is_loopback(&host) {
                    Endpoint::Tcp { host, port }
                } else {
                    return Err(ConnectError::Unprotected { address: address.to_owned() });
                }
            }
            "ssh" => return Err(wrong("write `connection: {ssh: {...}}`")),
            _ => return Err(wrong("unix://PATH and tcp://HOST:PORT are known")),
        };
        Ok(Self { endpoint, ..Self::default() })
    }
}

/// `ssh://[USER@]HOST[:PORT][/SOCKET]`, as `docker` takes it.
fn ssh(address: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<ConnectOptions, ConnectError> {
    let wrong = || ConnectError::Address {
        address: address.to_owned(),
        reason: "it must be ssh://[USER@]HOST[:PORT], a path behind it is the engine's socket",
    };
    let rest = address.strip_prefix("ssh://").ok_or_else(wrong)?;
    let (place, socket) = match rest.split_once('/') {
        Some((place, socket)) => (place, Some(format!("/{socket}")).filter(|socket| socket != "/")),
        None => (rest, None),
    };
    let Ok([hop]) = <[Hop; 1]>::try_from(hops(place).map_err(|_| wrong())?) else { return Err(wrong()) };
    let settings =
        SshSettings { address: Some(hop.host), port: hop.port, user: hop.user, socket, ..SshSettings::default() };
    Ok(ConnectOptions::ssh(SshTarget::resolve(&settings, Path::new("."), get)?))
}

fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(['/', '@', '?', '#']) {
        return None;
    }
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    Some((host.to_owned(), port))
}

/// `localhost` is trusted to be what everybody takes it for.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Endpoint {
    /// As people write it.
    pub fn address(&self) -> String {
        let join = |host: &str, port: u16| {
            if host.contains(':') { format!("tcp://[{host}]:{port}") } else { format!("tcp://{host}:{port}") }
        };
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => join(host, *port),
            Self::Ssh(target) => target.address(),
            Self::Nowhere(_) => "nowhere".to_owned(),
        }
    }

    /// What requests begin with. The name behind `http://` of a socket is never looked up.
    pub(super) fn base(&self) -> String {
        match self {
            Self::Unix(_) | Self::Ssh(_) | Self::Nowhere(_) => "http://docker".to_owned(),
            Self::Tcp { .. } => self.address().replacen("tcp", "http", 1),
            Self::Tls { .. } => self.address().replacen("tcp", "https", 1),
        }
    }
}

/// Reads the files anew; a renewed certificate is taken in by connecting anew.
pub(in crate::edge) fn tls_config(certificates: &Certificates) -> Result<ClientConfig, ConnectError> {
    let tls = |error: rustls::Error| ConnectError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?;
    let builder = match &certificates.authority {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in read_certificates(path)? {
                roots.add(authority).map_err(|error| unusable(path, error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_native_roots().map_err(|error| ConnectError::Tls(error.to_string()))?,
    };
    match (&certificates.certificate, &certificates.key) {
        (Some(certificate), Some(key)) => {
            let chain = read_certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(certificate, error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(path), None) => Err(unusable(path, "there is no key.pem beside it")),
        (None, Some(path)) => Err(unusable(path, "there is no cert.pem beside it")),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let list = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, error))?;
    if list.is_empty() { Err(unusable(path, "it holds no certificate")) } else { Ok(list) }
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> ConnectError {
    ConnectError::Certificate { path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Endpoint, ConnectError> {
        let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        ConnectOptions::from_environment(get).map(|options| options.endpoint)
    }

    #[test]
    fn the_socket_is_the_default_and_docker_host_is_heeded() {
        assert_eq!(from(&[]).unwrap().address(), "unix:///var/run/docker.sock");
        assert_eq!(from(&[("DOCKER_HOST", "")]).unwrap().address(), "unix:///var/run/docker.sock");
        assert_eq!(from(&[("DOCKER_HOST", "unix:///run/x.sock")]).unwrap().address(), "unix:///run/x.sock");
        assert_eq!(from(&[("DOCKER_HOST", "tcp://127.0.0.1")]).unwrap().address(), "tcp://127.0.0.1:2375");
        assert_eq!(from(&[("DOCKER_HOST", "tcp://[::1]:99")]).unwrap().address(), "tcp://[::1]:99");
        assert_eq!(from(&[("DOCKER_HOST", "tcp://[::1]:99")]).unwrap().base(), "http://[::1]:99");
    }

    #[test]
    fn ssh_is_taken_as_docker_takes_it() {
        let from = |host: &str| from(&[("DOCKER_HOST", host), ("HOME", "/nonexistent"), ("USER", "me")]).unwrap();
        assert_eq!(from("ssh://node.invalid").address(), "ssh://me@node.invalid");
        let Endpoint::Ssh(target) = from("ssh://you@[fd00::1]:2222/run/x.sock") else { panic!("no SSH") };
        assert_eq!(target.address(), "ssh://you@[fd00::1]:2222");
        assert_eq!((target.socket.as_str(), target.hops.len()), ("/run/x.sock", 1));
    }

    #[test]
    fn tls_is_used_when_either_variable_asks_for_it() {
        let with = from(&[("DOCKER_HOST", "tcp://node1"), ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/root")]).unwrap();
        assert!(matches!(&with, Endpoint::Tls { host, port: 2376, .. } if host == "node1"), "{with:?}");
        assert_eq!(with.base(), "https://node1:2376");
        let with = from(&[("DOCKER_HOST", "tcp://node1:1"), ("DOCKER_CERT_PATH", "/none")]).unwrap();
        assert!(matches!(with, Endpoint::Tls { port: 1, .. }));
    }

    #[test]
    fn addresses_that_cannot_be_used_say_why() {
        let text = |address: &str| from(&[("DOCKER_HOST", address)]).unwrap_err().to_string();
        insta::assert_snapshot!(text("tcp://10.0.0.1:2375"), @"`tcp://10.0.0.1:2375` is TCP without TLS beyond this machine, which would make everybody on the network root there: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH");
        insta::assert_snapshot!(text("unix://run/x"), @"`unix://run/x` is no address of an engine: the path of the socket must be absolute");
        insta::assert_snapshot!(text("ssh://a,b"), @"`ssh://a,b` is no address of an engine: it must be ssh://[USER@]HOST[:PORT], a path behind it is the engine's socket");
        insta::assert_snapshot!(text("node1:2375"), @"`node1:2375` is no address of an engine: it has no scheme; unix://PATH and tcp://HOST:PORT are known");
        insta::assert_snapshot!(text("tcp://localhost:2375/x"), @"`tcp://localhost:2375/x` is no address of an engine: it must be HOST:PORT, without a path");
        insta::assert_snapshot!(text("tcp://localhost:99999"), @"`tcp://localhost:99999` is no address of an engine: it must be HOST:PORT, without a path");
    }

    #[test]
    fn half_a_key_pair_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cert.pem"), "nothing").unwrap();
        std::fs::write(directory.path().join("ca.pem"), "nothing").unwrap();
        let found = Certificates::in_directory(directory.path());
        assert_eq!(found.key, None);
        let error = tls_config(&found).unwrap_err().to_string();
        assert!(error.ends_with("ca.pem: it holds no certificate"), "{error}");
    }
}

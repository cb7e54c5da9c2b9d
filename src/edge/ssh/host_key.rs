//! Whether a host is who it says: the key that it shows against known_hosts.
//!
//! In: the files of host keys, read at each connection anew; the key or certificate of the handshake. Out: yes, or an
//! [`SshError`] that says how to go on. russh's own reading of known_hosts is not used: it passes over `@revoked`.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use russh::Preferred;
use russh::client::{DisconnectReason, Handler};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::error::SshError;
use super::target::HopTarget;
use crate::edge::system_words;
use crate::parse::known_hosts::{HostKey, KnownHosts, PORT, Verdict, first_string, fits, name_of};

/// The kinds of keys that are taken, the best first. SHA-1 is not.
const KINDS: [(&str, &[Algorithm]); 5] = [
    ("ssh-ed25519", &[Algorithm::Ed25519]),
    ("ecdsa-sha2-nistp256", &[Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }]),
    ("ecdsa-sha2-nistp384", &[Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }]),
    ("ecdsa-sha2-nistp521", &[Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }]),
    ("ssh-rsa", &[Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }]),
];

/// Reads the files; one that does not exist records nothing.
pub(super) fn read(paths: &[impl AsRef<Path>]) -> Result<KnownHosts, SshError> {
    let mut known = KnownHosts::default();
    for path in paths {
        let path = path.as_ref();
        match std::fs::read(path) {
            Ok(bytes) => known.add(&path.display().to_string(), &String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SshError::Setup(format!("{}: {}", path.display(), system_words(&error)))),
        }
    }
    for problem in known.problems() {
        let place = format!("{}:{}", problem.file, problem.line);
        if problem.revokes {
            return Err(SshError::UnreadableRevocation { place, reason: problem.reason.to_owned() });
        }
        tracing::warn!("{place} is not used: {}", problem.reason);
    }
    Ok(known)
}

/// What to ask the host for: first the kinds of keys that are recorded for it, so that it shows one that can be compared.
pub(super) fn preferred(known: &KnownHosts, hop: &HopTarget) -> Preferred {
    let (host, port) = hop.known_as();
    let recorded = known.algorithms(host, port);
    let is_recorded = |(name, _): &&(&str, &[Algorithm])| recorded.contains(name);
    let first = KINDS.iter().filter(is_recorded);
    let rest = KINDS.iter().filter(|kind| !is_recorded(kind));
    let key: Vec<Algorithm> = first.chain(rest).flat_map(|(_, algorithms)| algorithms.iter().cloned()).collect();
    let host_key_certificates = if known.has_authority(host, port) { key.clone() } else { Vec::new() };
    Preferred { key: Cow::Owned(key), host_key_certificates: Cow::Owned(host_key_certificates), ..Preferred::default() }
}

/// Watches over one connection: who is at its other end, and how it ended.
pub(super) struct Guard {
    pub(super) known: Arc<KnownHosts>,
    pub(super) hop: Arc<HopTarget>,
    /// The hosts before it, as `ssh -J` takes them.
    pub(super) through: Option<String>,
    pub(super) ended: Arc<OnceLock<String>>,
    /// Seconds since 1970.
    pub(super) now: u64,
}

impl Handler for Guard {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check_key(key),
            PublicKeyOrCertificate::Certificate(certificate) => self.check_certificate(certificate),
        }
        .map(|()| true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshError>) -> Result<(), SshError> {
        let why = match reason {
            DisconnectReason::ReceivedDisconnect(info) => format!("sshd ended it: {}", info.message),
            DisconnectReason::Error(error) => match error.to_string().as_str() {
                text if text.starts_with("what listens there ended") => "sshd closed it".to_owned(),
                "Keepalive timeout" => "the host does not answer any more".to_owned(),
                other => other.to_owned(),
            },
        };
        let _ = self.ended.set(why);
        Ok(())
    }
}

impl Guard {
    fn name(&self) -> String {
        let (host, port) = self.hop.known_as();
        name_of(host, port)
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), SshError> {
        let key = host_key(key.key_data())?;
        let (host, port) = self.hop.known_as();
        let (name, algorithm, fingerprint) = (self.name(), key.algorithm.clone(), key.fingerprint());
        match self.known.judge(host, port, &key) {
            Verdict::Known(_) => Ok(()),
            Verdict::Unknown => Err(SshError::UnknownHostKey {
                command: self.adding(&key),
                kind: kind(&algorithm),
                name,
                algorithm,
                fingerprint,
            }),
            Verdict::Changed(record) => Err(SshError::ChangedHostKey {
                command: format!("ssh-keygen -R {} -f {}", quoted(&name), quoted(&record.file)),
                recorded: record.place(),
                recorded_fingerprint: format!("{} {}", record.key.algorithm, record.key.fingerprint()),
                name,
                algorithm,
                fingerprint,
            }),
            Verdict::Revoked(record) => {
                Err(SshError::RevokedHostKey { recorded: record.place(), name, algorithm, fingerprint })
            }
        }
    }

    /// What adds the key to the first of the files.
    fn adding(&self, key: &HostKey) -> String {
        use base64::Engine as _;
        let file = self.hop.known_hosts.first().map_or_else(String::new, |path| path.display().to_string());
        let file = quoted(&file);
        if self.hop.alias.is_some() {
            // ssh-keyscan knows no aliases.
            let blob = base64::engine::general_purpose::STANDARD.encode(&key.blob);
            return format!("echo '{} {} {blob}' >> {file}", self.name(), key.algorithm);
        }
        let port = if self.hop.port == PORT { String::new() } else { format!("-p {} ", self.hop.port) };
        let scan = format!("ssh-keyscan -t {} {port}{}", kind(&key.algorithm), quoted(&self.hop.address));
        match &self.through {
            Some(jump) => format!("ssh {jump} {scan} >> {file}"),
            None => format!("{scan} >> {file}"),
        }
    }

    /// A certificate counts if a listed authority signed it, for a host of this name, for now; and none of its keys is revoked.
    fn check_certificate(&self, certificate: &Certificate) -> Result<(), SshError> {
        let refused = |why: String| SshError::HostCertificate { name: self.name(), why };
        let (host, port) = self.hop.known_as();
        let (own, authority) = (host_key(certificate.public_key())?, host_key(certificate.signature_key())?);
        for key in [&own, &authority] {
            if let Some(record) = self.known.revoked(host, port, key) {
                return Err(SshError::RevokedHostKey {
                    name: self.name(),
                    algorithm: key.algorithm.clone(),
                    fingerprint: key.fingerprint(),
                    recorded: record.place(),
                });
            }
        }
        if self.known.authority(host, port, &authority).is_none() {
            let (kind, print) = (&authority.algorithm, authority.fingerprint());
            return Err(refused(format!("no @cert-authority of the host is its signer, {kind} {print}")));
        }
        certificate.verify_signature().map_err(|_| refused("its signature is wrong".to_owned()))?;
        if certificate.cert_type() != CertType::Host {
            return Err(refused("it is for a user and not for a host".to_owned()));
        }
        if !(certificate.valid_after() <= self.now && self.now < certificate.valid_before()) {
            return Err(refused("it is not valid now; look at its time and at the clock here".to_owned()));
        }
        if let Some((option, _)) = certificate.critical_options().iter().next() {
            return Err(refused(format!("it asks for `{option}`, which is not known here")));
        }
        let principals = certificate.valid_principals();
        let host = host.to_ascii_lowercase();
        if !principals.iter().any(|principal| fits(&principal.to_ascii_lowercase(), &host)) {
            let list = if principals.is_empty() { "nobody".to_owned() } else { principals.join(", ") };
            return Err(refused(format!("it is for {list}, and not for {host}")));
        }
        Ok(())
    }
}

fn host_key(key: &KeyData) -> Result<HostKey, SshError> {
    let wrong = || SshError::Other("the host shows a key that cannot be read".to_owned());
    let blob = PublicKey::new(key.clone(), "").to_bytes().map_err(|_| wrong())?;
    let algorithm = first_string(&blob).map(|name| String::from_utf8_lossy(name).into_owned()).ok_or_else(wrong)?;
    Ok(HostKey { algorithm, blob })
}

/// As ssh-keygen calls a kind of key.
fn kind(algorithm: &str) -> &'static str {
    match algorithm {
        "ssh-rsa" => "rsa",
        other if other.starts_with("ecdsa") => "ecdsa",
        _ => "ed25519",
    }
}

fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), Cow::into_owned)
}

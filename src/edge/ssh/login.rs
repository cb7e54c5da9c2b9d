//! Logging in with keys.
//!
//! In: a connection whose host is who it says, files of keys, an agent. Out: a session that may open channels, or which
//! keys were tried and which could not be. As in OpenSSH, a key that needs a passphrase is used by way of the agent: nobody
//! is there to type it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use russh::MethodSet;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, decode_secret_key};
use tokio::net::UnixStream;

use super::error::SshError;
use super::host_key::Guard;
use super::target::{HopTarget, KeyFile};
use crate::edge::system_words;

type Agent = AgentClient<UnixStream>;

/// A key to try.
struct Candidate {
    key: Key,
    /// Where it is from, for people.
    from: String,
}

enum Key {
    Own(Arc<PrivateKey>),
    OfAgent(PublicKey),
}

impl Candidate {
    fn public(&self) -> &PublicKey {
        match &self.key {
            Key::Own(key) => key.public_key(),
            Key::OfAgent(key) => key,
        }
    }

    fn shown(&self) -> String {
        let key = self.public();
        format!("{} {} ({})", key.algorithm().as_str(), key.fingerprint(HashAlg::Sha256), self.from)
    }
}

/// Tries the keys one by one.
pub(super) async fn log_in(session: &mut Handle<Guard>, hop: &HopTarget) -> Result<(), SshError> {
    let mut notes = Vec::new();
    let (mut agent, held) = match &hop.agent {
        Some(path) => match identities(path).await {
            Ok((agent, held)) => (Some(agent), held),
            Err(why) => {
                notes.push(format!("ssh-agent at {} does not answer ({why})", path.display()));
                (None, Vec::new())
            }
        },
        None => (None, Vec::new()),
    };
    let mut tried = Vec::new();
    // As OpenSSH does: the answer says what is taken at all, and sshd counts it as no try.
    let mut methods = match session.authenticate_none(hop.user.clone()).await? {
        AuthResult::Success => return Ok(()),
        AuthResult::Failure { remaining_methods, .. } => names(&remaining_methods),
    };
    if !methods.is_empty() && !methods.iter().any(|method| method == "publickey") {
        return Err(SshError::Login { place: hop.place(), user: hop.user.clone(), tried, notes, methods });
    }
    for candidate in candidates(hop, &held, &mut notes) {
        let result = attempt(session, hop, &candidate, agent.as_mut()).await;
        match result {
            Ok(AuthResult::Success) => return Ok(()),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                tried.push(candidate.shown());
                if !remaining_methods.is_empty() {
                    methods = names(&remaining_methods);
                }
                if partial_success {
                    return Err(SshError::NotEnough { place: hop.place(), user: hop.user.clone(), methods });
                }
            }
            Err(why) => notes.push(format!("{}: {why}", candidate.shown())),
        }
        if session.is_closed() {
            notes.push(
                "sshd ended the connection after so many tries; name the right key with `identity_file`".to_owned(),
            );
            break;
        }
    }
    Err(SshError::Login { place: hop.place(), user: hop.user.clone(), tried, notes, methods })
}

fn names(methods: &MethodSet) -> Vec<String> {
    methods.iter().map(|kind| <&str>::from(kind).to_owned()).collect()
}

async fn attempt(
    session: &mut Handle<Guard>,
    hop: &HopTarget,
    candidate: &Candidate,
    agent: Option<&mut Agent>,
) -> Result<AuthResult, String> {
    let hash = match candidate.public().algorithm() {
        // A host that does not say what it takes is asked for the better one.
        Algorithm::Rsa { .. } => match session.best_supported_rsa_hash().await {
            Ok(Some(hash)) => hash,
            Ok(None) => Some(HashAlg::Sha512),
            Err(error) => return Err(error.to_string()),
        },
        _ => None,
    };
    match (&candidate.key, agent) {
        (Key::Own(key), _) => {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            session.authenticate_publickey(hop.user.clone(), key).await.map_err(|error| error.to_string())
        }
        (Key::OfAgent(key), Some(agent)) => session
            .authenticate_publickey_with(hop.user.clone(), key.clone(), hash, agent)
            .await
            .map_err(|error| format!("ssh-agent does not sign: {error}")),
        (Key::OfAgent(_), None) => Err("ssh-agent is gone".to_owned()),
    }
}

async fn identities(path: &Path) -> Result<(Agent, Vec<(PublicKey, String)>), String> {
    let stream = UnixStream::connect(path).await.map_err(|error| system_words(&error))?;
    let mut agent = AgentClient::connect(stream);
    let held = agent.request_identities().await.map_err(|error| error.to_string())?;
    let keys = held.into_iter().filter_map(|identity| match identity {
        AgentIdentity::PublicKey { key, comment } => Some((key, comment)),
        AgentIdentity::Certificate { .. } => None,
    });
    Ok((agent, keys.collect()))
}

/// Named keys first, then the agent's, then those at the usual places.
fn candidates(hop: &HopTarget, held: &[(PublicKey, String)], notes: &mut Vec<String>) -> Vec<Candidate> {
    let (named, usual): (Vec<&KeyFile>, Vec<&KeyFile>) = hop.keys.iter().partition(|key| key.named);
    let mut all: Vec<Candidate> = named.iter().filter_map(|file| of_file(file, held, hop, notes)).collect();
    if !hop.only {
        all.extend(held.iter().map(|(key, comment)| {
            let from = if comment.is_empty() { "ssh-agent".to_owned() } else { format!("ssh-agent: {comment}") };
            Candidate { key: Key::OfAgent(key.clone()), from }
        }));
    }
    all.extend(usual.iter().filter_map(|file| of_file(file, held, hop, notes)));
    let mut seen: Vec<KeyData> = Vec::new();
    all.retain(|candidate| {
        let data = candidate.public().key_data().clone();
        let is_new = !seen.contains(&data);
        seen.push(data);
        is_new
    });
    all
}

fn of_file(
    file: &KeyFile,
    held: &[(PublicKey, String)],
    hop: &HopTarget,
    notes: &mut Vec<String>,
) -> Option<Candidate> {
    let from = file.path.display().to_string();
    let text = match std::fs::read_to_string(&file.path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.named => return None,
        Err(error) => {
            notes.push(format!("the key {from} cannot be read ({})", system_words(&error)));
            return None;
        }
    };
    let of_agent = |key: &PublicKey| {
        let is_held = held.iter().any(|(other, _)| other.key_data() == key.key_data());
        is_held.then(|| Candidate { key: Key::OfAgent(key.clone()), from: format!("{from}, by ssh-agent") })
    };
    // The public half alone means: the agent has the other one.
    if let Ok(key) = PublicKey::from_openssh(text.trim()) {
        let found = of_agent(&key);
        if found.is_none() {
            notes
                .push(format!("{from} is the public half of a key that ssh-agent does not have; name the private one"));
        }
        return found;
    }
    if let Some(note) = open_to_others(&file.path) {
        notes.push(note);
        return None;
    }
    match decode_secret_key(&text, None) {
        Ok(key) => return Some(Candidate { key: Key::Own(Arc::new(key)), from }),
        Err(russh::keys::Error::KeyIsEncrypted) => {}
        Err(error) => {
            notes.push(format!("{from} is no private key that can be used ({error})"));
            return None;
        }
    }
    let public = PrivateKey::from_openssh(&text).map(|key| key.public_key().clone()).ok();
    let beside = || PublicKey::read_openssh_file(format!("{from}.pub")).ok();
    let found = public.or_else(beside).as_ref().and_then(of_agent);
    if found.is_none() {
        let how = match hop.agent {
            Some(_) => format!("run `ssh-add {from}`"),
            None => format!("start ssh-agent, run `ssh-add {from}`"),
        };
        notes.push(format!(
            "the key {from} has a passphrase and ssh-agent does not have it; {how}, or use a key without"
        ));
    }
    found
}

/// Whoever can read the key can enter the host.
fn open_to_others(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let own = rustix::process::geteuid().as_raw() == found.uid();
    (own && found.mode() & 0o077 != 0).then(|| {
        let path = path.display();
        format!("the key {path} can be read by others and is not used; run `chmod 600 {path}`")
    })
}

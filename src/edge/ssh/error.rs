//! Why a host cannot be used over SSH. Each message names the cause and what to do about it.
//!
//! Errors are cloned: calls that wait for one connection all fail with the same one.

use std::time::Duration;

use crate::edge::system_words;
use crate::model::time::Span;

/// Why a host cannot be used over SSH.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// OpenSSH's configuration or another file on this side is not usable.
    #[error("{0}")]
    Setup(String),
    /// The host's name leads nowhere.
    #[error("the name `{name}` cannot be resolved: {why}; give the host an `address`, or a HostName in ~/.ssh/config")]
    NameNotResolved {
        /// The name.
        name: String,
        /// What the resolver says.
        why: String,
    },
    /// Nothing listens.
    #[error("{place}: connection refused: no sshd listens there; does it run, and is the port right?")]
    ConnectionRefused {
        /// Host and port.
        place: String,
    },
    /// The network says otherwise no.
    #[error("{place}: {why}")]
    NotConnected {
        /// Host and port.
        place: String,
        /// The system's words.
        why: String,
    },
    /// Nothing came in time.
    #[error("{place}: {}", .stage.after(*.limit))]
    Timeout {
        /// Host and port.
        place: String,
        /// What was waited for.
        stage: Stage,
        /// How long.
        limit: Duration,
    },
    /// What answers speaks no SSH that we speak.
    #[error("{place}: {why}")]
    Protocol {
        /// Host and port.
        place: String,
        /// What was said.
        why: String,
    },
    /// Nothing is recorded for the host.
    #[error(
        "the host key of {name} is not known ({algorithm} {fingerprint}); compare it with what \
         `ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub` prints on the host, then record it: {command}"
    )]
    UnknownHostKey {
        /// As known_hosts calls the host.
        name: String,
        /// Of the key.
        algorithm: String,
        /// Of the key.
        fingerprint: String,
        /// `ed25519`, `ecdsa`, `rsa`.
        kind: &'static str,
        /// What adds it.
        command: String,
    },
    /// Another key is recorded.
    #[error(
        "THE HOST KEY OF {name} HAS CHANGED: it shows {algorithm} {fingerprint}, and {recorded} records another one \
         ({recorded_fingerprint}); either the host was installed anew or somebody stands in between. Nothing was sent. \
         Once you know that it is the host, remove the old key: {command}"
    )]
    ChangedHostKey {
        /// As known_hosts calls the host.
        name: String,
        /// Of the key that it shows.
        algorithm: String,
        /// Of the key that it shows.
        fingerprint: String,
        /// Where the other one is recorded.
        recorded: String,
        /// Of the recorded key.
        recorded_fingerprint: String,
        /// What removes it.
        command: String,
    },
    /// The key is recorded as not to be trusted.
    #[error(
        "THE HOST KEY OF {name} IS REVOKED: {recorded} revokes {algorithm} {fingerprint}; whoever has it may pretend to \
         be the host. Nothing was sent. Give the host a new key"
    )]
    RevokedHostKey {
        /// As known_hosts calls the host.
        name: String,
        /// Of the key.
        algorithm: String,
        /// Of the key.
        fingerprint: String,
        /// Where it is revoked.
        recorded: String,
    },
    /// A line that revokes something unknown.
    #[error(
        "{place} means to revoke a key and cannot be read ({reason}); nothing is trusted before that line is mended"
    )]
    UnreadableRevocation {
        /// File and line.
        place: String,
        /// Why.
        reason: String,
    },
    /// The host vouches for itself by a certificate that does not hold.
    #[error("the certificate of {name} is not accepted: {why}")]
    HostCertificate {
        /// As known_hosts calls the host.
        name: String,
        /// Why.
        why: String,
    },
    /// No key was taken.
    #[error("{place} refuses the user `{user}`: {}", of_keys(.tried, .notes, .methods))]
    Login {
        /// Host and port.
        place: String,
        /// The user.
        user: String,
        /// The keys that were tried.
        tried: Vec<String>,
        /// Keys that could not be tried.
        notes: Vec<String>,
        /// What sshd would take.
        methods: Vec<String>,
    },
    /// A key was taken and is not enough.
    #[error("{place} takes a key of `{user}` and wants more than a key ({}), which nobody is there to give", .methods.join(", "))]
    NotEnough {
        /// Host and port.
        place: String,
        /// The user.
        user: String,
        /// What else.
        methods: Vec<String>,
    },
    /// A host on the way.
    #[error("on the way, at {hop}: {source}")]
    OnTheWay {
        /// Host and port.
        hop: String,
        /// What is wrong there.
        source: Box<SshError>,
    },
    /// A host on the way cannot or may not go on.
    #[error("{hop} cannot reach {place}: {why}")]
    NoWayOn {
        /// Host and port.
        hop: String,
        /// Where it should go on to.
        place: String,
        /// Why.
        why: String,
    },
    /// The engine's socket cannot be used.
    #[error("{place}: {why}")]
    Socket {
        /// Host and port.
        place: String,
        /// Why.
        why: String,
    },
    /// A port of the host or of one of its containers is not reached.
    #[error("{0}")]
    Port(String),
    /// The connection ended.
    #[error("the SSH connection to {place} broke: {why}")]
    Broken {
        /// Host and port.
        place: String,
        /// Why.
        why: String,
    },
    /// russh's own, before it is known what it means.
    #[error("{0}")]
    Other(String),
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A connection.
    Connect,
    /// Agreement on keys.
    Handshake,
    /// An answer to a login.
    Login,
    /// An answer afterwards.
    Channel,
}

impl Stage {
    fn after(self, limit: Duration) -> String {
        let limit = Span::from(limit);
        match self {
            Self::Connect => {
                format!("no answer within {limit}; is the host up, and does nothing on the way drop packets?")
            }
            Self::Handshake => format!("something accepts connections there and says nothing for {limit}; sshd hangs"),
            Self::Login => format!("sshd agreed on keys and then said nothing to the login for {limit}; it hangs"),
            Self::Channel => format!("sshd let us in and says nothing any more for {limit}; it hangs"),
        }
    }
}

fn of_keys(tried: &[String], notes: &[String], methods: &[String]) -> String {
    if !methods.is_empty() && !methods.iter().any(|method| method == "publickey") {
        return format!("sshd takes no keys from this user, only {}", methods.join(", "));
    }
    let mut text = match tried {
        [] => "there was no key to try".to_owned(),
        keys => format!("tried {}", keys.join(", ")),
    };
    for note in notes {
        text = format!("{text}; {note}");
    }
    match (tried, notes) {
        ([], []) => text.push_str(
            "; name one with `identity_file`, load it into ssh-agent, or hand it to the unit as its credential `ssh-key`",
        ),
        ([], _) => {}
        _ => text.push_str("; put the public half of a key that was tried into ~/.ssh/authorized_keys of that user"),
    }
    text
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        Self::Other(match &error {
            russh::Error::IO(error) => system_words(error),
            russh::Error::Disconnect | russh::Error::HUP => {
                "what listens there ended the connection; is it sshd, and does it let this machine in?".to_owned()
            }
            other => other.to_string(),
        })
    }
}

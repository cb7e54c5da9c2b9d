//! `connection: {ssh: ...}` of a host.
//!
//! In: the node of a host or of the defaults. Out: [`SshSettings`], which hold what the site says and nothing else: the
//! rest comes from OpenSSH's configuration where the connection is made.

use super::diagnostic::Diagnostic;
use super::node::{Node, Scalar, ScalarKind, Value};
use super::read::Reader;
use super::scalars;
use super::shape::is_template;

/// What a site says of a connection over SSH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshSettings {
    /// Where the host is; the name by which OpenSSH's files are asked.
    pub address: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Whom to log in as.
    pub user: Option<String>,
    /// Private keys; empty where the site names none.
    pub identities: Vec<Identity>,
    /// ssh-agent.
    pub agent: Option<Switch>,
    /// Files of host keys, relative to the site; empty where the site names none.
    pub known_hosts: Vec<String>,
    /// Hosts on the way; empty for none in spite of OpenSSH's configuration.
    pub jump: Option<Vec<Hop>>,
    /// The engine's socket.
    pub socket: Option<String>,
    /// OpenSSH's configuration.
    pub config: Option<Switch>,
}

/// Where a private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// In a file, relative to the site.
    File(String),
    /// Among what systemd hands to a unit, by name.
    Credential(String),
}

/// Used, not used, or used from another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// As usual.
    On,
    /// Not at all.
    Off,
    /// From this path, relative to the site.
    Path(String),
}

/// A host on the way to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Whom to log in as.
    pub user: Option<String>,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
}

impl SshSettings {
    /// What these settings leave open, as the others say.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        let list = |own: Vec<String>, other: &Vec<String>| if own.is_empty() { other.clone() } else { own };
        Self {
            address: self.address.or_else(|| below.address.clone()),
            port: self.port.or(below.port),
            user: self.user.or_else(|| below.user.clone()),
            identities: if self.identities.is_empty() { below.identities.clone() } else { self.identities },
            agent: self.agent.or_else(|| below.agent.clone()),
            known_hosts: list(self.known_hosts, &below.known_hosts),
            jump: self.jump.or_else(|| below.jump.clone()),
            socket: self.socket.or_else(|| below.socket.clone()),
            config: self.config.or_else(|| below.config.clone()),
        }
    }
}

/// Reads a node whose shape has been checked.
pub fn read_ssh(node: &Node, r: &mut Reader) -> SshSettings {
    let items = |key: &str| node.get(key).map(Node::items).unwrap_or_default();
    SshSettings {
        address: r.text(node, "address"),
        port: r.scalar(node, "port", scalars::port),
        user: r.text(node, "user"),
        identities: items("identity_file").iter().filter_map(identity).collect(),
        agent: node.get("agent").and_then(Node::as_text).map(switch),
        known_hosts: r.texts(node, "known_hosts").unwrap_or_default(),
        jump: node.get("jump").map(|jump| {
            let texts = jump.items().iter().filter_map(Node::as_text);
            texts.filter_map(|text| hops(text).ok()).flatten().collect()
        }),
        socket: r.text(node, "socket"),
        config: node.get("config").and_then(Node::as_text).map(switch),
    }
}

/// A connection is needed before anything is known that an expression could use.
pub fn refuse_expressions(node: &Node, r: &mut Reader) {
    match &node.value {
        Value::Scalar(scalar) if is_template(scalar) => r.error(
            Diagnostic::error("V002", node.place, "a connection cannot hold an expression")
                .help("write the value out; a range of hosts may have a range in it, as `10.0.0.1[1:3]`"),
        ),
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| refuse_expressions(item, r)),
        Value::Mapping(mapping) => mapping.values().for_each(|entry| refuse_expressions(&entry.value, r)),
    }
}

fn identity(node: &Node) -> Option<Identity> {
    match node.as_text() {
        Some(path) => Some(Identity::File(path.to_owned())),
        None => Some(Identity::Credential(node.get("credential")?.as_text()?.to_owned())),
    }
}

fn switch(text: &str) -> Switch {
    match text {
        "true" => Switch::On,
        "false" => Switch::Off,
        path => Switch::Path(path.to_owned()),
    }
}

/// Reads `none`, or `[USER@]HOST[:PORT]` and `ssh://[USER@]HOST[:PORT]` with commas between them, as OpenSSH's `ProxyJump`.
pub fn hops(text: &str) -> Result<Vec<Hop>, String> {
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    text.split(',').map(|part| hop(part.trim())).collect()
}

fn hop(text: &str) -> Result<Hop, String> {
    let fail = || format!("`{text}` is no host to go through; write `[USER@]HOST[:PORT]`");
    let rest = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']').ok_or_else(fail)?;
            match (after, after.strip_prefix(':')) {
                ("", _) => (host, None),
                (_, Some(port)) => (host, Some(port)),
                _ => return Err(fail()),
            }
        }
        // More than one colon is an IPv6 address without a port.
        None => match place.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (place, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(fail()),
        None => None,
    };
    if user.is_some_and(|user| !is_user(user)) || !is_place(host) {
        return Err(fail());
    }
    Ok(Hop { user: user.map(str::to_owned), host: host.to_owned(), port })
}

/// A name or an address. Dashes in front are refused as OpenSSH does: they look like options.
fn is_place(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"/@,[]*?!|#\"'`$".contains(c))
}

fn is_user(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !":,\"'`$;&<>|(){}".contains(c))
}

/// The leaves that only this connection has.
pub mod leaves {
    use super::{Scalar, ScalarKind, hops, is_place, is_user};
    use crate::parse::shape::{ScalarShape, Shape};

    /// A host's name or address.
    pub const PLACE: Shape = Shape::Scalar(&ScalarShape {
        name: "a host's name or address",
        check: |scalar| {
            if is_place(&scalar.text) {
                return Ok(());
            }
            let text = &scalar.text;
            Err(format!("`{text}` is no name or address of a host; its user and port have keys of their own"))
        },
        schema: r#"{"type": "string", "pattern": "^[^-/@][^/@ ]*$"}"#,
        private: false,
    });

    /// A user.
    pub const USER: Shape = Shape::Scalar(&ScalarShape {
        name: "a user",
        check: |scalar| if is_user(&scalar.text) { Ok(()) } else { Err(format!("`{}` is no user", scalar.text)) },
        schema: r#"{"type": ["string", "number"]}"#,
        private: false,
    });

    /// The path of a file.
    pub const FILE: Shape = Shape::Scalar(&ScalarShape {
        name: "a path",
        check: path,
        schema: r#"{"type": "string", "minLength": 1}"#,
        private: false,
    });

    /// The path of a private key; somebody may have put the key itself there.
    pub const KEY_FILE: Shape = Shape::Scalar(&ScalarShape {
        name: "a path",
        check: |scalar| {
            if scalar.text.contains("PRIVATE KEY") {
                return Err("a private key does not stand in the site; write the path of its file".to_owned());
            }
            path(scalar)
        },
        schema: r#"{"type": "string", "minLength": 1}"#,
        private: true,
    });

    fn path(scalar: &Scalar) -> Result<(), String> {
        match scalar.kind {
            ScalarKind::Boolean(_) => Err(format!("expected a path, found `{}`", scalar.text)),
            _ if scalar.text.is_empty() => Err("a path must not be empty".to_owned()),
            _ => Ok(()),
        }
    }

    /// `true`, `false` or a path.
    pub const SWITCH: Shape = Shape::Scalar(&ScalarShape {
        name: "`true`, `false` or a path",
        check: |scalar| if scalar.text.is_empty() { Err("a path must not be empty".to_owned()) } else { Ok(()) },
        schema: r#"{"type": ["boolean", "string"], "minLength": 1}"#,
        private: false,
    });

    /// Where to go through.
    pub const HOP: Shape = Shape::Scalar(&ScalarShape {
        name: "`[USER@]HOST[:PORT]`",
        check: |scalar| hops(&scalar.text).map(|_| ()),
        schema: r#"{"type": "string", "minLength": 1}"#,
        private: false,
    });

    /// A socket of the host.
    pub const SOCKET: Shape = Shape::Scalar(&ScalarShape {
        name: "the path of a socket",
        check: socket,
        schema: r#"{"type": "string", "pattern": "^/"}"#,
        private: false,
    });

    /// The kernel's limit is 108 bytes with the zero at the end.
    const LONGEST: usize = 107;

    fn socket(scalar: &Scalar) -> Result<(), String> {
        let text = &scalar.text;
        match text.strip_prefix("unix://") {
            Some(path) => Err(format!("`{text}` is an address; write the path alone, `{path}`")),
            None if !text.starts_with('/') => Err(format!("`{text}` is no absolute path of the host")),
            None if text.len() > LONGEST => Err(format!("`{text}` is too long for a socket")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match hops(text) {
            Ok(hops) => hops
                .iter()
                .map(|hop| format!("{}|{}|{}", hop.user.as_deref().unwrap_or("-"), hop.host, hop.port.unwrap_or(0)))
                .collect::<Vec<_>>()
                .join(" "),
            Err(why) => why,
        }
    }

    #[test]
    fn hosts_on_the_way_are_written_as_for_openssh() {
        assert_eq!(shown("none"), "");
        assert_eq!(shown("bastion"), "-|bastion|0");
        assert_eq!(shown("me@a:2222, ssh://b:22/,[fd00::1]:23,fd00::2"), "me|a|2222 -|b|22 -|fd00::1|23 -|fd00::2|0");
        assert_eq!(shown("me@site@a"), "me@site|a|0");
        for wrong in ["", "a,", "a:0", "a:x", "@a", "-oProxyCommand=x", "[fd00::1", "[a]b", "a b", "a/b"] {
            assert!(shown(wrong).contains("is no host to go through"), "{wrong}: {}", shown(wrong));
        }
    }

    #[test]
    fn what_a_host_says_wins_over_the_defaults() {
        let host = SshSettings { port: Some(2222), jump: Some(Vec::new()), ..SshSettings::default() };
        let below = SshSettings {
            port: Some(22),
            user: Some("mastic".to_owned()),
            jump: Some(hops("bastion").unwrap()),
            ..SshSettings::default()
        };
        let both = host.over(&below);
        assert_eq!((both.port, both.user.as_deref(), both.jump), (Some(2222), Some("mastic"), Some(Vec::new())));
    }
}

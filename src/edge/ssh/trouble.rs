//! Why the engine's socket could not be opened.
//!
//! sshd gives one and the same answer for a missing socket, one that the user may not open, one where nobody listens, and
//! a forwarding that it forbids. In: a session on which that happened. Out: which it was, found by one look at the host.

use super::error::SshError;
use super::session::{Session, as_command};

/// Asks the host. Nothing is written there.
pub(super) async fn with_socket(session: &Session) -> SshError {
    let answer = session.run(&question(session.socket())).await;
    let text = match answer {
        Ok(text) => text,
        Err(error @ (SshError::Broken { .. } | SshError::Timeout { .. })) => return error,
        Err(_) => String::new(),
    };
    let host = session.host();
    SshError::Socket { place: host.place(), why: reading(&text, session.socket(), &host.user) }
}

/// A command whose first word of output says what is the matter.
fn question(socket: &str) -> String {
    let path = shlex::try_quote(socket).map_or_else(|_| socket.to_owned(), std::borrow::Cow::into_owned);
    let name = socket.rsplit('/').next().unwrap_or(socket);
    let name = shlex::try_quote(name).map_or_else(|_| name.to_owned(), std::borrow::Cow::into_owned);
    let script = format!(
        "p={path}; if [ ! -e \"$p\" ]; then echo missing; elif [ ! -S \"$p\" ]; then echo other; \
         elif [ ! -w \"$p\" ]; then echo denied $(stat -L -c %U:%G \"$p\"); \
         elif ! grep -q /{name}\\$ /proc/net/unix; then echo deaf; else echo open; fi"
    );
    as_command(&script)
}

fn reading(answer: &str, socket: &str, user: &str) -> String {
    let mut words = answer.split_whitespace();
    match words.next() {
        Some("missing") => format!(
            "there is no {socket} on the host; is Docker installed and running there? `socket` names another path"
        ),
        Some("other") => format!("{socket} on the host is no socket; `socket` names another path"),
        Some("denied") => {
            let owner = words.next().unwrap_or("?");
            let group = owner.split_once(':').map_or(owner, |(_, group)| group);
            let advice = if group == "root" {
                "give it to a group `docker` and put the user into it".to_owned()
            } else {
                format!("run `usermod -aG {group} {user}` on the host as root")
            };
            format!("`{user}` may not open {socket}, which belongs to {owner}; {advice}")
        }
        Some("deaf") => {
            format!("nobody listens at {socket}; dockerd is down there, run `systemctl start docker` on the host")
        }
        Some("open") => format!(
            "sshd does not forward {socket}, which {user} may open; set `AllowStreamLocalForwarding yes` in sshd_config, and look \
             for `DisableForwarding` there and for `restrict` or `no-port-forwarding` before the key in authorized_keys"
        ),
        _ => format!(
            "sshd does not forward {socket}, and runs no command that could tell why: the socket may be missing, `{user}` may \
             not be in its group, or AllowStreamLocalForwarding is off"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_advice() {
        let of = |answer: &str| reading(answer, "/var/run/docker.sock", "mastic");
        insta::assert_snapshot!(of("denied root:docker\n"), @"`mastic` may not open /var/run/docker.sock, which belongs to root:docker; run `usermod -aG docker mastic` on the host as root");
        insta::assert_snapshot!(of("denied root:root\n"), @"`mastic` may not open /var/run/docker.sock, which belongs to root:root; give it to a group `docker` and put the user into it");
        insta::assert_snapshot!(of("deaf"), @"nobody listens at /var/run/docker.sock; dockerd is down there, run `systemctl start docker` on the host");
        insta::assert_snapshot!(of("This account is not available."), @"sshd does not forward /var/run/docker.sock, and runs no command that could tell why: the socket may be missing, `mastic` may not be in its group, or AllowStreamLocalForwarding is off");
    }

    #[test]
    fn paths_cannot_leave_their_quotes() {
        let question = question("/run/it's $(x)/a b.sock");
        let words = shlex::split(&question).unwrap_or_default();
        assert_eq!(words.len(), 3, "{question}");
        let inner = shlex::split(&words[2]).unwrap_or_default();
        assert_eq!(inner[0], "p=/run/it's $(x)/a b.sock;", "{question}");
    }
}

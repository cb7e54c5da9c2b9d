//! The keys of a connection over SSH.

use crate::parse::leaves::{NAME, PORT};
use crate::parse::shape::Shape::{Either, List, Object};
use crate::parse::shape::{Table, key, refused, required};
use crate::parse::ssh::leaves::{FILE, HOP, KEY_FILE, PLACE, SOCKET, SWITCH, USER};

/// `connection: {ssh: ...}`. What is not said here is taken from OpenSSH's configuration, and then from its defaults.
pub const SSH: Table = Table {
    what: "a connection over SSH",
    keys: &[&[
        key(
            "address",
            PLACE,
            "Where the host's sshd is, and the name by which ~/.ssh/config and known_hosts are asked; by default the \
             `address` of the host, else its name.",
        ),
        key("port", PORT, "Its port; 22 by default."),
        key("user", USER, "Whom to log in as: a user of the group `docker`; by default who runs Mastic."),
        key(
            "identity_file",
            Either(&[KEY_FILE, Object(&CREDENTIAL), List(&IDENTITY)]),
            "Private keys, as paths relative to the site or credentials of systemd; no others are tried then.",
        ),
        key(
            "agent",
            SWITCH,
            "Whether keys of ssh-agent are used; or the path of its socket. By default $SSH_AUTH_SOCK is, where it is set.",
        ),
        key(
            "known_hosts",
            Either(&[FILE, List(&FILE)]),
            "Files of host keys, relative to the site; by default ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.",
        ),
        key(
            "jump",
            Either(&[HOP, List(&HOP)]),
            "Hosts to go through, first the nearest: `[USER@]HOST[:PORT]`, several in a list or with commas; `none` for none.",
        ),
        key("socket", SOCKET, "Where the engine listens on the host; `/var/run/docker.sock` by default."),
        key(
            "config",
            SWITCH,
            "Whether OpenSSH's configuration (~/.ssh/config, /etc/ssh/ssh_config) is read; or the file to read instead.",
        ),
        refused("key", "write `identity_file`, with a path or `{credential: NAME}`"),
        refused("password", "hosts are entered with keys only; name one with `identity_file`, or use ssh-agent"),
        refused("become", "nothing is done as root on the host; `user` has to be in its group `docker`"),
        refused("host", "write `address`"),
    ]],
};

const IDENTITY: crate::parse::shape::Shape = Either(&[KEY_FILE, Object(&CREDENTIAL)]);

const CREDENTIAL: Table = Table {
    what: "a credential",
    keys: &[&[required("credential", NAME, "Its name: the file of that name in $CREDENTIALS_DIRECTORY.")]],
};

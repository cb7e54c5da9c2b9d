//! What people read when a connection of theirs does not fit, and what becomes of those that do.
#![allow(clippy::panic, reason = "tests")]

use super::testing::{errors, site, spec};
use crate::parse::site::Connection;

#[test]
fn connections_over_ssh_that_do_not_fit() {
    insta::assert_snapshot!(errors("
  defaults: {connection: {ssh: {user: '{{ who }}', become: sudo}}}
  hosts:
    a: {connection: {ssh: {address: me@a, port: 99999, user: -x, socket: run/docker.sock}}}
    b: {connection: {ssh: {jump: [c, 'd:x'], identity_file: true, identiy_file: x}}}
    c: {connection: {ssh: {key: x, password: y, config: '', socket: 'unix:///run/docker.sock'}}}
    d: {connection: {ssh: {}, local: {}}}
    e: {connection: {ssh: {identity_file: {name: x}, known_hosts: [[x]], agent: [true]}}}
"), @r#"
    error[V002]: a connection cannot hold an expression
     --> site.yaml:5:39
      |
    5 |   defaults: {connection: {ssh: {user: '{{ who }}', become: sudo}}}
      |                                       ^^^^^^^^^^^
      |
      = help: write the value out; a range of hosts may have a range in it, as `10.0.0.1[1:3]`

    error[K002]: `become` is not taken in a connection over SSH
     --> site.yaml:5:52
      |
    5 |   defaults: {connection: {ssh: {user: '{{ who }}', become: sudo}}}
      |                                                    ^^^^^^
      |
      = help: nothing is done as root on the host; `user` has to be in its group `docker`

    error[V002]: `me@a` is no name or address of a host; its user and port have keys of their own
     --> site.yaml:7:37
      |
    7 |     a: {connection: {ssh: {address: me@a, port: 99999, user: -x, socket: run/docker.sock}}}
      |                                     ^^^^

    error[V002]: `99999` is too large; the most is 65535
     --> site.yaml:7:49
      |
    7 |     a: {connection: {ssh: {address: me@a, port: 99999, user: -x, socket: run/docker.sock}}}
      |                                                 ^^^^^

    error[V002]: `-x` is no user
     --> site.yaml:7:62
      |
    7 |     a: {connection: {ssh: {address: me@a, port: 99999, user: -x, socket: run/docker.sock}}}
      |                                                              ^^

    error[V002]: `run/docker.sock` is no absolute path of the host
     --> site.yaml:7:74
      |
    7 |     a: {connection: {ssh: {address: me@a, port: 99999, user: -x, socket: run/docker.sock}}}
      |                                                                          ^^^^^^^^^^^^^^^

    error[V002]: `d:x` is no host to go through; write `[USER@]HOST[:PORT]`
     --> site.yaml:8:38
      |
    8 |     b: {connection: {ssh: {jump: [c, 'd:x'], identity_file: true, identiy_file: x}}}
      |                                      ^^^^^

    error[S004]: expected a path, found `true`
    --> site.yaml:8:61

    error[K001]: a connection over SSH has no key `identiy_file`
     --> site.yaml:8:67
      |
    8 |     b: {connection: {ssh: {jump: [c, 'd:x'], identity_file: true, identiy_file: x}}}
      |                                                                   ^^^^^^^^^^^^
      |
      = help: did you mean `identity_file`?

    error[K002]: `key` is not taken in a connection over SSH
     --> site.yaml:9:28
      |
    9 |     c: {connection: {ssh: {key: x, password: y, config: '', socket: 'unix:///run/docker.sock'}}}
      |                            ^^^
      |
      = help: write `identity_file`, with a path or `{credential: NAME}`

    error[K002]: `password` is not taken in a connection over SSH
     --> site.yaml:9:36
      |
    9 |     c: {connection: {ssh: {key: x, password: y, config: '', socket: 'unix:///run/docker.sock'}}}
      |                                    ^^^^^^^^
      |
      = help: hosts are entered with keys only; name one with `identity_file`, or use ssh-agent

    error[V002]: a path must not be empty
     --> site.yaml:9:57
      |
    9 |     c: {connection: {ssh: {key: x, password: y, config: '', socket: 'unix:///run/docker.sock'}}}
      |                                                         ^^

    error[V002]: `unix:///run/docker.sock` is an address; write the path alone, `/run/docker.sock`
     --> site.yaml:9:69
      |
    9 |     c: {connection: {ssh: {key: x, password: y, config: '', socket: 'unix:///run/docker.sock'}}}
      |                                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^

    error[V002]: a connection is one of `local`, `docker`, `ssh`
      --> site.yaml:10:31
       |
    10 |     d: {connection: {ssh: {}, local: {}}}
       |                               ^^^^^

    error[K003]: a credential needs the key `credential`
      --> site.yaml:11:28
       |
    11 |     e: {connection: {ssh: {identity_file: {name: x}, known_hosts: [[x]], agent: [true]}}}
       |                            ^^^^^^^^^^^^^
       |
       = help: Its name: the file of that name in $CREDENTIALS_DIRECTORY.

    error[K001]: a credential has no key `name`
      --> site.yaml:11:44
       |
    11 |     e: {connection: {ssh: {identity_file: {name: x}, known_hosts: [[x]], agent: [true]}}}
       |                                            ^^^^

    error[V001]: expected a path, found a list
      --> site.yaml:11:68
       |
    11 |     e: {connection: {ssh: {identity_file: {name: x}, known_hosts: [[x]], agent: [true]}}}
       |                                                                    ^^^

    error[V001]: expected `true`, `false` or a path, found a list
      --> site.yaml:11:74
       |
    11 |     e: {connection: {ssh: {identity_file: {name: x}, known_hosts: [[x]], agent: [true]}}}
       |                                                                          ^^^^^
    "#);
}

/// The connection of the first host.
fn connection(inside: &str) -> Connection {
    match site(&spec(inside), &[]) {
        Ok(compiled) => compiled.connection,
        Err(errors) => panic!("{}", errors.render(false)),
    }
}

#[test]
fn nothing_has_to_be_said_of_a_connection_over_ssh() {
    let Connection::Ssh(settings) = connection("  hosts: {here: {connection: {ssh: }}}") else { panic!("no SSH") };
    assert_eq!(settings.address.as_deref(), Some("here"));
    assert_eq!((settings.port, settings.user, settings.jump), (None, None, None));
    let Connection::Ssh(settings) = connection("  hosts: {here: {address: 10.0.0.1, connection: {ssh: {}}}}") else {
        panic!("no SSH")
    };
    assert_eq!(settings.address.as_deref(), Some("10.0.0.1"));
}

#[test]
fn a_host_adds_to_the_connection_of_the_defaults() {
    let inside = "
  defaults: {connection: {ssh: {user: mastic, port: 2222, identity_file: [a, {credential: b}], jump: \"x,me@y:23\", agent: no-agent.sock}}}
  hosts: {here: {address: 10.0.0.1, connection: {ssh: {port: 22, jump: none, agent: false, config: true}}}}
";
    insta::assert_debug_snapshot!(connection(inside), @r#"
    Ssh(
        SshSettings {
            address: Some(
                "10.0.0.1",
            ),
            port: Some(
                22,
            ),
            user: Some(
                "mastic",
            ),
            identities: [
                File(
                    "a",
                ),
                Credential(
                    "b",
                ),
            ],
            agent: Some(
                Off,
            ),
            known_hosts: [],
            jump: Some(
                [],
            ),
            socket: None,
            config: Some(
                On,
            ),
        },
    )
    "#);
}

//! The engine over SSH, by a real sshd: calls and streams, trouble with the socket, hosts on the way, and what happens when
//! a connection stands still or breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use mastic::edge::docker::{ConnectOptions, DockerObserver, Endpoint};
use mastic::edge::facts::EngineFacts;
use mastic::edge::prober::prober_of;
use mastic::edge::ssh::{SshError, SshTarget};
use mastic::model::time::Span;
use mastic::parse::ssh::{Hop, Identity, SshSettings, Switch, hops};
use mastic::port::engine::{EngineError, ObserveEngine as _};
use mastic::port::facts::Facts as _;

use crate::support::{Sandbox, Sshd, docker, engine_socket, free_port};

/// On a busy machine a login takes seconds.
pub const PATIENT: &str = "ConnectTimeout 30\n";
/// Short times, so that tests of standing still do not.
const QUICK: &str = "ConnectTimeout 3\nServerAliveInterval 1\nServerAliveCountMax 1\n";

/// What a site would say of this sshd. The configuration of whoever runs the tests is left alone.
pub fn settings(sshd: &Sshd) -> SshSettings {
    let config = sshd.file("ssh_config");
    if !config.exists() {
        std::fs::write(&config, PATIENT).unwrap();
    }
    let shown = |path: PathBuf| path.display().to_string();
    SshSettings {
        address: Some("127.0.0.1".to_owned()),
        port: Some(sshd.port()),
        user: Some("mtdock".to_owned()),
        identities: vec![Identity::File(shown(sshd.file("key")))],
        agent: Some(Switch::Off),
        known_hosts: vec![shown(sshd.known_hosts("@ ED\n"))],
        jump: None,
        socket: Some(engine_socket()),
        config: Some(Switch::Path(shown(config))),
    }
}

/// The environment that a test gives.
pub fn target_with(settings: &SshSettings, environment: &[(&str, &Path)]) -> Result<SshTarget, SshError> {
    let environment: BTreeMap<&str, &Path> = environment.iter().copied().collect();
    let get = |name: &str| environment.get(name).map(|path| path.display().to_string());
    SshTarget::resolve(settings, Path::new("/nowhere"), &get)
}

pub fn engine_with(settings: &SshSettings, environment: &[(&str, &Path)]) -> DockerObserver {
    let options = ConnectOptions::ssh(target_with(settings, environment).unwrap());
    DockerObserver::new(&options, Arc::new(|_| None)).unwrap()
}

pub fn engine(settings: &SshSettings) -> DockerObserver {
    engine_with(settings, &[])
}

/// Why an engine cannot be reached, with what is another in each run made the same.
pub async fn refusal(settings: &SshSettings, sshd: &Sshd) -> String {
    refusal_with(settings, sshd, &[]).await
}

pub async fn refusal_with(settings: &SshSettings, sshd: &Sshd, environment: &[(&str, &Path)]) -> String {
    let error = engine_with(settings, environment).version().await.unwrap_err();
    let EngineError::Unreachable(text) = error else { panic!("{error:?}\n{}", sshd.log()) };
    plain(&text, sshd)
}

pub fn plain(text: &str, sshd: &Sshd) -> String {
    let text = text.replace(&sshd.port().to_string(), "PORT");
    let text = text.replace(&sshd.file("").display().to_string(), "DIR/").replace("DIR//", "DIR/");
    text.split(' ')
        .map(|word| match word.find("SHA256:") {
            Some(at) => format!("{}SHA256:...{}", &word[..at], word[at + 7..].get(43..).unwrap_or_default()),
            None => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_streams_come_through() {
    let (sshd, sandbox) = (Sshd::start(""), Sandbox::new());
    let image = sandbox.image("run", "");
    let name = sandbox.name("one");
    docker(&["run", "-d", "--name", &name, &image, "sh", "-c", "echo hello; sleep 1000"]);
    let engine = engine(&settings(&sshd));
    assert_eq!(engine.version().await.unwrap().engine, "docker");
    let mut events = engine.events().await.unwrap();
    let containers = engine.list_containers().await.unwrap();
    assert!(containers.iter().any(|container| container.name == name));
    assert_eq!(engine.log_tail(&name, 10).await.unwrap(), "hello\n");
    assert!(engine.read_file(&name, "/etc/passwd").await.unwrap().starts_with(b"root:"));
    docker(&["kill", &name]);
    let seen = async {
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            if event.name == name && event.action == "die" {
                return;
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
    assert!(engine.address().starts_with("ssh://mtdock@127.0.0.1:"), "{}", engine.address());
}

/// 200 at once, while a log of many megabytes and the events lie unread.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_holds_up_no_question() {
    let (sshd, sandbox) = (Sshd::start(""), Sandbox::new());
    let image = sandbox.image("run", "");
    let (quiet, loud) = (sandbox.name("quiet"), sandbox.name("loud"));
    docker(&["run", "-d", "--name", &quiet, &image, "sleep", "1000"]);
    docker(&[
        "run",
        "-d",
        "--name",
        &loud,
        &image,
        "sh",
        "-c",
        "yes 0123456789012345678901234567890123456789 | head -c 60000000",
    ]);
    docker(&["wait", &loud]);
    let engine = engine(&settings(&sshd));
    let unread = engine.logs(&loud, true, None).await.unwrap();
    let unheard = engine.events().await.unwrap();
    let begin = Instant::now();
    let answers = join_all((0..200).map(|_| engine.inspect_container(&quiet))).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(30), "200 questions took {took:?}");
    drop(unread);
    drop(unheard);
    // What was thrown away unread has freed its connection, and read from the beginning it is whole.
    let mut again = engine.logs(&loud, false, None).await.unwrap();
    let mut bytes = 0;
    while let Some(chunk) = again.next().await {
        bytes += chunk.unwrap().bytes.len();
    }
    assert_eq!(bytes, 60_000_000);
}

/// Keys are agreed on anew every few megabytes here, as they are each hour elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_agreed_on_in_the_middle_of_everything() {
    let (sshd, sandbox) = (Sshd::start("RekeyLimit 2M"), Sandbox::new());
    let image = sandbox.image("run", "");
    let (quiet, loud) = (sandbox.name("quiet"), sandbox.name("loud"));
    docker(&["run", "-d", "--name", &quiet, &image, "sleep", "1000"]);
    docker(&[
        "run",
        "-d",
        "--name",
        &loud,
        &image,
        "sh",
        "-c",
        "yes 012345678901234567890123456789 | head -c 20000000",
    ]);
    docker(&["wait", &loud]);
    let engine = engine(&settings(&sshd));
    let reading = async {
        let (mut chunks, mut bytes) = (engine.logs(&loud, false, None).await.unwrap(), 0);
        while let Some(chunk) = chunks.next().await {
            bytes += chunk.unwrap().bytes.len();
        }
        bytes
    };
    // Each answer has some ten kilobytes: a thousand are several agreements.
    let asking = async {
        for _ in 0..50 {
            let answers = join_all((0..20).map(|_| engine.inspect_container(&quiet))).await;
            assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
        }
    };
    let both = async { tokio::join!(reading, asking) };
    let (bytes, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.unwrap();
    assert_eq!(bytes, 20_000_000);
}

/// The same machine asked directly and over SSH is the same.
#[tokio::test(flavor = "multi_thread")]
async fn facts_come_through_the_same_connection() {
    let sshd = Sshd::start("");
    let (none, far) = (BTreeSet::new(), EngineFacts::over(engine(&settings(&sshd))));
    let unix = ConnectOptions { endpoint: Endpoint::Unix(engine_socket().into()), ..ConnectOptions::default() };
    let near = EngineFacts::over(DockerObserver::new(&unix, Arc::new(|_| None)).unwrap());
    let found = far.facts(&none).await.unwrap();
    assert_eq!(found, near.facts(&none).await.unwrap());
    assert!(found.cpus > 0 && found.memory > 0 && !found.os.is_empty() && !found.hostname.is_empty(), "{found:?}");
    let interfaces = found.interfaces.unwrap();
    assert!(!interfaces.contains_key("lo") && !interfaces.contains_key("docker0"), "{interfaces:?}");
    // A user without a shell can use the engine; what only a command tells stays unknown.
    let shut = SshSettings { user: Some("mtnone".to_owned()), ..settings(&sshd) };
    let found = EngineFacts::over(engine(&shut)).facts(&none).await.unwrap();
    assert!(found.cpus > 0 && found.interfaces.is_none(), "{found:?}");
}

/// Loopback is that of the host: here, as it happens, the same.
#[tokio::test(flavor = "multi_thread")]
async fn ports_are_asked_from_the_host() {
    let sshd = Sshd::start("");
    let prober = prober_of(&engine(&settings(&sshd)));
    let wait = Span::seconds(20);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = listener.accept() {
            let _read = stream.read(&mut [0; 400]);
            let _written = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let reply = prober.http("127.0.0.1", port, "/", None, wait).await;
    assert_eq!((reply.ready, reply.message.as_str()), (true, "204 No Content"), "{}", sshd.log());
    assert!(!prober.http("127.0.0.1", port, "/", Some(200), wait).await.ready);
    assert!(prober.tcp("127.0.0.1", port, wait).await.ready);
    let reply = prober.tcp("127.0.0.1", free_port(), wait).await;
    assert_eq!((reply.ready, reply.message.as_str()), (false, "connection refused"));
    let shut = Sshd::start("AllowTcpForwarding no");
    let reply = prober_of(&engine(&settings(&shut))).tcp("127.0.0.1", port, wait).await;
    assert_eq!(reply.message, "sshd forbids to ask it (AllowTcpForwarding, PermitOpen)");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_socket_cannot_be_opened_is_told() {
    let sshd = Sshd::start("");
    let of = |user: &str, socket: &str| SshSettings {
        user: Some(user.to_owned()),
        socket: Some(socket.to_owned()),
        ..settings(&sshd)
    };
    let (real, deaf) = (engine_socket(), sshd.file("deaf.sock"));
    drop(std::os::unix::net::UnixListener::bind(&deaf).unwrap());
    let file = sshd.file("key.pub");
    insta::assert_snapshot!(refusal(&of("root", "/run/nope.sock"), &sshd).await, @"127.0.0.1:PORT: there is no /run/nope.sock on the host; is Docker installed and running there? `socket` names another path");
    insta::assert_snapshot!(refusal(&of("root", &file.to_string_lossy()), &sshd).await, @"127.0.0.1:PORT: DIR/key.pub on the host is no socket; `socket` names another path");
    insta::assert_snapshot!(refusal(&of("root", &deaf.to_string_lossy()), &sshd).await, @"127.0.0.1:PORT: nobody listens at DIR/deaf.sock; dockerd is down there, run `systemctl start docker` on the host");
    insta::assert_snapshot!(refusal(&of("mtplain", &real), &sshd).await, @"127.0.0.1:PORT: `mtplain` may not open /var/run/docker.sock, which belongs to root:docker; run `usermod -aG docker mtplain` on the host as root");
    // In the group, and without a shell: enough.
    assert_eq!(engine(&of("mtnone", &real)).version().await.unwrap().engine, "docker");
    insta::assert_snapshot!(refusal(&of("mtnone", "/run/nope.sock"), &sshd).await, @"127.0.0.1:PORT: sshd does not forward /run/nope.sock, and runs no command that could tell why: the socket may be missing, `mtnone` may not be in its group, or AllowStreamLocalForwarding is off");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_forbids_forwarding_is_told_apart() {
    let sshd = Sshd::start("AllowStreamLocalForwarding no");
    insta::assert_snapshot!(refusal(&settings(&sshd), &sshd).await, @"127.0.0.1:PORT: sshd does not forward /var/run/docker.sock, which mtdock may open; set `AllowStreamLocalForwarding yes` in sshd_config, and look for `DisableForwarding` there and for `restrict` or `no-port-forwarding` before the key in authorized_keys");
}

fn hop(sshd: &Sshd) -> Vec<Hop> {
    hops(&format!("mtplain@127.0.0.1:{}", sshd.port())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_reached_through_another() {
    let (bastion, sshd) = (Sshd::start(""), Sshd::start(""));
    let known = |text: &str| {
        let path = sshd.file("both");
        let first = std::fs::read_to_string(bastion.known_hosts("@ ED\n")).unwrap();
        std::fs::write(&path, format!("{first}{text}")).unwrap();
        vec![path.display().to_string()]
    };
    let own = format!("{} {}\n", sshd.name(), sshd.public("host_ed25519"));
    // The key of the second is let in by the first as well.
    std::fs::copy(sshd.file("authorized_keys"), bastion.file("authorized_keys")).unwrap();
    let through = SshSettings { jump: Some(hop(&bastion)), known_hosts: known(&own), ..settings(&sshd) };
    assert_eq!(engine(&through).version().await.unwrap().engine, "docker");
    assert!(bastion.log().contains("mtplain") && sshd.log().contains("mtdock"));

    let shown = |text: String| text.replace(&bastion.port().to_string(), "BASTION");
    let unknown = SshSettings { known_hosts: known(""), ..through.clone() };
    insta::assert_snapshot!(shown(refusal(&unknown, &sshd).await), @"the host key of [127.0.0.1]:PORT is not known (ssh-ed25519 SHA256:...); compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host, then record it: ssh ssh://mtplain@127.0.0.1:BASTION ssh-keyscan -t ed25519 -p PORT 127.0.0.1 >> DIR/both");
    let stranger = SshSettings { known_hosts: vec!["/nowhere".to_owned()], ..through.clone() };
    insta::assert_snapshot!(shown(refusal(&stranger, &sshd).await), @"on the way, at 127.0.0.1:BASTION: the host key of [127.0.0.1]:BASTION is not known (ssh-ed25519 SHA256:...); compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host, then record it: ssh-keyscan -t ed25519 -p BASTION 127.0.0.1 >> /nowhere");
    let nowhere = SshSettings { port: Some(1), ..through.clone() };
    insta::assert_snapshot!(shown(refusal(&nowhere, &sshd).await), @"127.0.0.1:BASTION cannot reach 127.0.0.1:1: the name is not known there, or nothing listens, or the way is closed");

    // The same by OpenSSH's configuration.
    let text = format!(
        "Host target\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump first\nHost first\n  HostName 127.0.0.1\n  Port {}\n  User mtplain\n{PATIENT}",
        sshd.port(),
        bastion.port()
    );
    std::fs::write(sshd.file("ssh_config"), text).unwrap();
    let by_config = SshSettings {
        address: Some("target".to_owned()),
        port: None,
        jump: None,
        known_hosts: known(&own),
        ..settings(&sshd)
    };
    assert_eq!(engine(&by_config).version().await.unwrap().engine, "docker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_on_that_is_forbidden_is_told() {
    let (bastion, sshd) = (Sshd::start("AllowTcpForwarding no"), Sshd::start(""));
    std::fs::copy(sshd.file("authorized_keys"), bastion.file("authorized_keys")).unwrap();
    let known = bastion.known_hosts("@ ED\n").display().to_string();
    let through = SshSettings { jump: Some(hop(&bastion)), known_hosts: vec![known], ..settings(&sshd) };
    let text = refusal(&through, &sshd).await.replace(&bastion.port().to_string(), "BASTION");
    insta::assert_snapshot!(text, @"127.0.0.1:BASTION cannot reach 127.0.0.1:PORT: its sshd forbids it (AllowTcpForwarding, PermitOpen)");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_not_there_are_told_apart() {
    let sshd = Sshd::start("");
    std::fs::write(sshd.file("ssh_config"), QUICK).unwrap();
    let of = |address: &str, port: u16| SshSettings {
        address: Some(address.to_owned()),
        port: Some(port),
        ..settings(&sshd)
    };
    let closed = free_port();
    let text = refusal(&of("127.0.0.1", closed), &sshd).await.replace(&closed.to_string(), "CLOSED");
    insta::assert_snapshot!(text, @"127.0.0.1:CLOSED: connection refused: no sshd listens there; does it run, and is the port right?");
    let text = refusal(&of("no-such-host.invalid", 22), &sshd).await;
    assert!(text.starts_with("the name `no-such-host.invalid` cannot be resolved: "), "{text}");
    // Something accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = refusal(&of("127.0.0.1", port), &sshd).await.replace(&port.to_string(), "SILENT");
    insta::assert_snapshot!(text, @"127.0.0.1:SILENT: something accepts connections there and says nothing for 3s; sshd hangs");
    // What was given up is closed, and does not stay until the other end goes.
    silent.set_nonblocking(false).unwrap();
    let (mut accepted, _) = silent.accept().unwrap();
    accepted.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::io::Read::read_to_end(&mut accepted, &mut Vec::new()).unwrap();
    // Something speaks another language.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = other.accept() {
            let _read = stream.read(&mut [0; 200]);
            let _written = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let text = refusal(&of("127.0.0.1", port), &sshd).await.replace(&port.to_string(), "OTHER");
    insta::assert_snapshot!(text, @"127.0.0.1:OTHER: the SSH handshake failed: what listens there ended the connection; is it sshd, and does it let this machine in?");
}

/// sshd agrees on keys, and then asks a program about the user that never answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_stalls_after_the_handshake_is_given_up() {
    let sshd = Sshd::start("AuthorizedKeysCommand /bin/sleep 1000\nAuthorizedKeysCommandUser nobody");
    std::fs::write(sshd.file("ssh_config"), QUICK).unwrap();
    std::fs::write(sshd.file("authorized_keys"), "").unwrap();
    let begin = Instant::now();
    insta::assert_snapshot!(refusal(&settings(&sshd), &sshd).await, @"127.0.0.1:PORT: sshd agreed on keys and then said nothing to the login for 6s; it hangs");
    assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
}

/// Stopped by SIGSTOP it keeps its connections and does not answer; continued it is as before.
#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_stands_still_is_noticed_and_come_back_to() {
    let sshd = Sshd::start("");
    std::fs::write(sshd.file("ssh_config"), QUICK).unwrap();
    let engine = engine(&settings(&sshd));
    comes_back(&engine).await;
    let mut events = engine.events().await.unwrap();
    sshd.signal("STOP");
    let begin = Instant::now();
    let (question, event) = tokio::join!(engine.list_networks(), events.next());
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}");
    let EngineError::Unreachable(text) = question.unwrap_err() else { panic!("no word of the connection") };
    assert!(text.contains("the host does not answer any more") || text.contains("hangs"), "{text}");
    let Some(Err(EngineError::Unreachable(text))) = event else { panic!("{event:?}") };
    insta::assert_snapshot!(plain(&text, &sshd), @"the SSH connection to 127.0.0.1:PORT broke: the host does not answer any more");
    // A new connection stalls after it was accepted.
    let EngineError::Unreachable(text) = engine.list_networks().await.unwrap_err() else { panic!("no word") };
    insta::assert_snapshot!(plain(&text, &sshd), @"127.0.0.1:PORT: something accepts connections there and says nothing for 3s; sshd hangs");
    sshd.signal("CONT");
    comes_back(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_broke_is_made_anew_once_for_all() {
    let mut sshd = Sshd::start("");
    let engine = engine(&settings(&sshd));
    engine.version().await.unwrap();
    let mut events = engine.events().await.unwrap();
    sshd.restart();
    let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert!(matches!(event, Some(Err(EngineError::Unreachable(_)))), "{event:?}");
    let before = logins(&sshd);
    let answers = join_all((0..50).map(|_| engine.list_networks())).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    assert_eq!(logins(&sshd) - before, 1, "{}", sshd.log());
    sshd.signal("KILL");
    let error = engine.list_networks().await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable(_)), "{error}");
    sshd.restart();
    comes_back(&engine).await;
}

fn logins(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

/// As the loop does: asks again until there is an answer.
async fn comes_back(engine: &DockerObserver) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = engine.list_networks().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

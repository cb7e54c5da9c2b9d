//! The lab of many hosts keeps what `tests/lab/README.md` says of it: what tests of several hosts rely on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::support::{Lab, Sandbox, docker};

/// Runs a command on a host as deploy, as the controller would come.
fn ssh(lab: &Lab, host: &str, command: &str) -> Result<String, String> {
    let output = Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=3"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", lab.known_hosts().display()))
        .arg("-i")
        .arg(lab.ssh_key())
        .arg(format!("deploy@{}", lab.address(host)))
        .arg(command)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn connect(lab: &Lab, host: &str) -> Result<(), ErrorKind> {
    let address: SocketAddr = format!("{}:22", lab.address(host)).parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop).map_err(|error| error.kind())
}

#[test]
fn hosts_are_machines_of_their_own_that_can_be_cut_off_and_killed() {
    let lab = Lab::up(2);
    let sandbox = Sandbox::new();

    // Each has its own identity, and an engine that the plain user may use.
    let identity = |host| ssh(&lab, host, "cat /etc/machine-id; docker info -f '{{.ID}}'").unwrap();
    assert_ne!(identity("h1"), identity("h2"));
    assert!(ssh(&lab, "h1", "test -w /").is_err(), "deploy is not root");

    // The registry wants a login; the hosts trust its certificate.
    let image = lab.push(&sandbox.image("lab", ""));
    let refused = ssh(&lab, "h1", &format!("docker pull -q {image}")).unwrap_err();
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    lab.on("h1", &["docker", "pull", "-q", &image]);
    lab.on("h1", &["docker", "run", "-d", "--name", "web", "--restart", "always", &image, "sleep", "100000"]);

    // A partition is silence, not a refusal.
    lab.partition("h1");
    assert_eq!(connect(&lab, "h1").unwrap_err(), ErrorKind::TimedOut);
    assert_eq!(connect(&lab, "h2"), Ok(()));
    assert_eq!(lab.on("h1", &["docker", "ps", "--format", "{{.Names}}"]), "web\n", "it goes on behind it");
    lab.heal("h1");
    assert_eq!(connect(&lab, "h1"), Ok(()));

    // What the engine keeps outlives a power cut.
    let boot = |host| lab.on(host, &["cat", "/proc/sys/kernel/random/boot_id"]);
    let before = boot("h1");
    lab.kill("h1");
    assert!(connect(&lab, "h1").is_err());
    lab.boot("h1");
    assert_ne!(boot("h1"), before);
    sandbox.wait_for("the container to be back", 30, || lab.on("h1", &["docker", "ps", "-q"]).lines().count() == 1);

    let name = lab.name().to_owned();
    drop(lab);
    let filter = format!("name={name}");
    assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "");
    assert_eq!(docker(&["network", "ls", "-q", "--filter", &filter]), "");
}

#[test]
fn etcd_goes_on_without_one_member_and_lets_nobody_in_without_a_password() {
    let lab = Lab::up_with_etcd(1);
    let put = |member, credentials: &str| {
        lab.try_run(&["exec", member, "etcdctl", "--user", credentials, "put", "/mastic/test", "x"])
    };
    assert!(put("e1", "mastic:wrong").is_err());
    put("e1", "mastic:lab-secret").unwrap();
    lab.partition("e1");
    // Where it was the leader, the others have to agree on a new one first.
    Sandbox::new().wait_for("a majority", 30, || put("e2", "mastic:lab-secret").is_ok());
    assert!(put("e1", "mastic:lab-secret").is_err(), "alone it is no majority");
    lab.heal("e1");
    Sandbox::new().wait_for("the member to be back", 30, || put("e1", "mastic:lab-secret").is_ok());
    assert_eq!(lab.etcd().split(',').count(), 3);
}

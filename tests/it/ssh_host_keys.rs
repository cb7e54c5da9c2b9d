//! Whether a host is who it says: known_hosts in all its forms against a real sshd, and the words for what is wrong.

use std::path::Path;
use std::process::Command;

use mastic::parse::ssh::{SshSettings, Switch};
use mastic::port::engine::ObserveEngine as _;

use crate::ssh::{engine, plain, refusal, settings};
use crate::support::{Sshd, command};

/// With these known hosts.
fn with(sshd: &Sshd, text: &str) -> SshSettings {
    let path = sshd.known_hosts(text).display().to_string();
    SshSettings { known_hosts: vec![path], ..settings_of(sshd) }
}

/// Settings whose file of known hosts is not written over.
fn settings_of(sshd: &Sshd) -> SshSettings {
    let before = std::fs::read(sshd.file("known_hosts")).ok();
    let settings = settings(sshd);
    if let Some(before) = before {
        std::fs::write(sshd.file("known_hosts"), before).unwrap();
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_key_is_taken_however_it_is_recorded() {
    let sshd = Sshd::start("");
    for text in [
        "@ ED\n",
        "# comment\n\nother OTHER\n@,10.0.0.1\tED  a comment\n",
        "[127.0.0.*]:* ED\n",
        "* ED\n",
        // Only its other key: that one is asked for then.
        "@ EC\n",
        "@ OTHER\n@ ED\n",
        "MARK:cert-authority @ OTHER\n@ ED\n",
        "MARK:revoked @ OTHER\n@ ED\n",
    ] {
        let version = engine(&with(&sshd, text)).version().await;
        assert_eq!(version.map(|version| version.engine).as_deref(), Ok("docker"), "{text}\n{}", sshd.log());
    }
    let hashed = with(&sshd, "@ ED\n");
    command("ssh-keygen", &["-q", "-H", "-f", &hashed.known_hosts[0]]);
    assert!(std::fs::read_to_string(&hashed.known_hosts[0]).unwrap().starts_with("|1|"));
    assert_eq!(engine(&hashed).version().await.unwrap().engine, "docker");
}

/// RSA takes its own way: one kind of key, two kinds of signatures, and none with SHA-1.
#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_key_is_taken_unless_it_signs_with_sha1() {
    let mut sshd = Sshd::start("");
    let path = sshd.file("host_rsa").display().to_string();
    command("ssh-keygen", &["-q", "-t", "rsa", "-N", "", "-C", "", "-f", &path]);
    let record = format!("@ {}\n", sshd.public("host_rsa"));
    for algorithms in ["rsa-sha2-512", "rsa-sha2-256"] {
        sshd.set_options(&format!("HostKey {path}\nHostKeyAlgorithms {algorithms}"));
        sshd.restart();
        let version = engine(&with(&sshd, &record)).version().await;
        assert!(version.is_ok(), "{algorithms}: {version:?}\n{}", sshd.log());
    }
    sshd.set_options(&format!("HostKey {path}\nHostKeyAlgorithms ssh-rsa"));
    sshd.restart();
    let text = refusal(&with(&sshd, &record), &sshd).await;
    assert!(text.contains("the SSH handshake failed: No common Key algorithm"), "{text}");
}

/// The command that the message names adds the key.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_with_the_command_that_adds_it() {
    let sshd = Sshd::start("");
    let unknown = with(&sshd, "elsewhere ED\n");
    insta::assert_snapshot!(refusal(&unknown, &sshd).await, @"the host key of [127.0.0.1]:PORT is not known (ssh-ed25519 SHA256:...); compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host, then record it: ssh-keyscan -t ed25519 -p PORT 127.0.0.1 >> DIR/known_hosts");
    let error = engine(&unknown).version().await.unwrap_err().to_string();
    let print = command("ssh-keygen", &["-lf", &sshd.file("host_ed25519.pub").to_string_lossy()]);
    assert!(error.contains(print.split(' ').nth(1).unwrap()), "{error} has not {print}");
    let (_, adding) = error.split_once("then record it: ").unwrap();
    let added = Command::new("sh").args(["-c", adding]).output().unwrap();
    assert!(added.status.success(), "{adding}: {added:?}");
    assert_eq!(engine(&unknown).version().await.unwrap().engine, "docker");

    // A file that does not exist is made by it; a name given by HostKeyAlias is what it records.
    let config = sshd.file("ssh_config");
    std::fs::write(&config, "HostKeyAlias the-host\nConnectTimeout 30\n").unwrap();
    let new = sshd.file("new").display().to_string();
    let aliased = SshSettings { known_hosts: vec![new.clone()], ..settings_of(&sshd) };
    let error = engine(&aliased).version().await.unwrap_err().to_string();
    let (_, adding) = error.split_once("then record it: ").unwrap();
    command("sh", &["-c", adding]);
    assert!(std::fs::read_to_string(&new).unwrap().starts_with("the-host ssh-ed25519 "), "{adding}");
    assert_eq!(engine(&aliased).version().await.unwrap().engine, "docker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_or_revoked_key_is_refused_loudly() {
    let sshd = Sshd::start("");
    insta::assert_snapshot!(refusal(&with(&sshd, "# one\n\n@ OTHER\n"), &sshd).await, @"THE HOST KEY OF [127.0.0.1]:PORT HAS CHANGED: it shows ssh-ed25519 SHA256:..., and DIR/known_hosts:3 records another one (ssh-ed25519 SHA256:...); either the host was installed anew or somebody stands in between. Nothing was sent. Once you know that it is the host, remove the old key: ssh-keygen -R '[127.0.0.1]:PORT' -f DIR/known_hosts");
    insta::assert_snapshot!(refusal(&with(&sshd, "@ ED\nMARK:revoked * ED\n@ EC\n"), &sshd).await, @"THE HOST KEY OF [127.0.0.1]:PORT IS REVOKED: DIR/known_hosts:2 revokes ssh-ed25519 SHA256:...; whoever has it may pretend to be the host. Nothing was sent. Give the host a new key");
    insta::assert_snapshot!(refusal(&with(&sshd, "@ ED\nMARK:revoked * ssh-ed25519 !\n"), &sshd).await, @"DIR/known_hosts:2 means to revoke a key and cannot be read (its key is not in base64); nothing is trusted before that line is mended");
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

fn sign(sshd: &Sshd, authority: &Path, more: &[&str]) {
    let (authority, key) = (authority.to_string_lossy(), sshd.file("host_ed25519.pub"));
    let key = key.to_string_lossy();
    let arguments = [&["-q", "-s", &authority, "-I", "id"][..], more, &[&key]].concat();
    command("ssh-keygen", &arguments);
}

/// sshd shows its certificate to whoever asks for one, which we do where an authority is listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_if_a_listed_authority_vouches_for_this_host_now() {
    let mut sshd = Sshd::start("");
    let options = format!("HostCertificate {}", sshd.file("host_ed25519-cert.pub").display());
    let authority = sshd.file("other");
    let listed = "MARK:cert-authority [127.0.0.1]:* OTHER\n";
    sshd.set_options(&options);

    sign(&sshd, &authority, &["-h", "-n", "127.0.0.1,node1", "-V", "-1d:+1d"]);
    sshd.restart();
    assert_eq!(engine(&with(&sshd, listed)).version().await.unwrap().engine, "docker", "{}", sshd.log());
    // Without an authority nobody asks for it, and the plain key counts.
    assert_eq!(engine(&with(&sshd, "@ ED\n")).version().await.unwrap().engine, "docker");
    insta::assert_snapshot!(refusal(&with(&sshd, &format!("{listed}MARK:revoked * OTHER\n")), &sshd).await, @"THE HOST KEY OF [127.0.0.1]:PORT IS REVOKED: DIR/known_hosts:2 revokes ssh-ed25519 SHA256:...; whoever has it may pretend to be the host. Nothing was sent. Give the host a new key");
    insta::assert_snapshot!(refusal(&with(&sshd, "MARK:cert-authority * ED\n"), &sshd).await, @"the certificate of [127.0.0.1]:PORT is not accepted: no @cert-authority of the host is its signer, ssh-ed25519 SHA256:...");

    sign(&sshd, &authority, &["-h", "-n", "node1,node2"]);
    sshd.restart();
    insta::assert_snapshot!(refusal(&with(&sshd, listed), &sshd).await, @"the certificate of [127.0.0.1]:PORT is not accepted: it is for node1, node2, and not for 127.0.0.1");

    sign(&sshd, &authority, &["-h", "-n", "127.0.0.1", "-V", "-2d:-1d"]);
    sshd.restart();
    insta::assert_snapshot!(refusal(&with(&sshd, listed), &sshd).await, @"the certificate of [127.0.0.1]:PORT is not accepted: it is not valid now; look at its time and at the clock here");

    sign(&sshd, &authority, &["-h"]);
    sshd.restart();
    insta::assert_snapshot!(refusal(&with(&sshd, listed), &sshd).await, @"the certificate of [127.0.0.1]:PORT is not accepted: it is for nobody, and not for 127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_openssh_are_taken_where_the_site_names_none() {
    let sshd = Sshd::start("");
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    let known = sshd.known_hosts("@ ED\n");
    std::fs::copy(&known, home.path().join(".ssh/known_hosts")).unwrap();
    std::fs::copy(sshd.file("key"), home.path().join(".ssh/id_ed25519")).unwrap();
    let config = format!("Include config.d/*\nHost node\n  User mtdock\n{}", crate::ssh::PATIENT);
    std::fs::write(home.path().join(".ssh/config"), config).unwrap();
    std::fs::create_dir(home.path().join(".ssh/config.d")).unwrap();
    let included = format!("Host node\n  HostName 127.0.0.1\n  Port {}\n", sshd.port());
    std::fs::write(home.path().join(".ssh/config.d/node"), included).unwrap();
    let plainest =
        SshSettings { address: Some("node".to_owned()), socket: settings(&sshd).socket, ..SshSettings::default() };
    let engine = crate::ssh::engine_with(&plainest, &[("HOME", home.path())]);
    assert_eq!(engine.version().await.unwrap().engine, "docker");
    assert_eq!(plain(engine.address(), &sshd), "ssh://mtdock@node:PORT");

    let proxied = SshSettings { config: Some(Switch::Path("/dev/null".to_owned())), ..plainest.clone() };
    assert!(crate::ssh::target_with(&proxied, &[]).is_ok());
    std::fs::write(home.path().join(".ssh/config"), "Host node\n  ProxyCommand nc %h %p\n").unwrap();
    let error = crate::ssh::target_with(&plainest, &[("HOME", home.path())]).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&home.path().display().to_string(), "HOME"), @"HOME/.ssh/config:2: `ProxyCommand` for node is not honoured: no program is run here; use `ProxyJump`, or `jump` of the site");
    std::fs::write(home.path().join(".ssh/config"), "Port many\n").unwrap();
    let error = crate::ssh::target_with(&plainest, &[("HOME", home.path())]).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&home.path().display().to_string(), "HOME"), @"HOME/.ssh/config:1: `many` is no port");
}

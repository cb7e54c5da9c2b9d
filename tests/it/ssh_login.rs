//! Logging in with keys: from files, from ssh-agent, from systemd; and which were tried when none was taken.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mastic::parse::ssh::{Identity, SshSettings, Switch};
use mastic::port::engine::ObserveEngine as _;

use crate::ssh::{engine, engine_with, refusal, refusal_with, settings, target_with};
use crate::support::{Agent, Sshd, command};

fn with_keys(sshd: &Sshd, names: &[&str]) -> SshSettings {
    let identities = names.iter().map(|name| Identity::File(sshd.file(name).display().to_string())).collect();
    SshSettings { identities, ..settings(sshd) }
}

async fn is_in(settings: &SshSettings) -> bool {
    engine(settings).version().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_taken_are_named() {
    let sshd = Sshd::start("");
    assert!(is_in(&with_keys(&sshd, &["other", "key"])).await, "{}", sshd.log());
    insta::assert_snapshot!(refusal(&with_keys(&sshd, &["other"]), &sshd).await, @"127.0.0.1:PORT refuses the user `mtdock`: tried ssh-ed25519 SHA256:... (DIR/other); put the public half of a key that was tried into ~/.ssh/authorized_keys of that user");
    let stranger = SshSettings { user: Some("nobody-of-this-name".to_owned()), ..settings(&sshd) };
    insta::assert_snapshot!(refusal(&stranger, &sshd).await, @"127.0.0.1:PORT refuses the user `nobody-of-this-name`: tried ssh-ed25519 SHA256:... (DIR/key); put the public half of a key that was tried into ~/.ssh/authorized_keys of that user");
    insta::assert_snapshot!(refusal(&with_keys(&sshd, &["missing"]), &sshd).await, @"127.0.0.1:PORT refuses the user `mtdock`: there was no key to try; the key DIR/missing cannot be read (No such file or directory)");
    std::fs::write(sshd.file("noise"), "noise").unwrap();
    std::fs::set_permissions(sshd.file("noise"), std::fs::Permissions::from_mode(0o600)).unwrap();
    insta::assert_snapshot!(refusal(&with_keys(&sshd, &["noise"]), &sshd).await, @"127.0.0.1:PORT refuses the user `mtdock`: there was no key to try; DIR/noise is no private key that can be used (Could not read key)");
    std::fs::copy(sshd.file("key"), sshd.file("open")).unwrap();
    std::fs::set_permissions(sshd.file("open"), std::fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(refusal(&with_keys(&sshd, &["open"]), &sshd).await, @"127.0.0.1:PORT refuses the user `mtdock`: there was no key to try; the key DIR/open can be read by others and is not used; run `chmod 600 DIR/open`");
    let home = tempfile::tempdir().unwrap();
    let none = SshSettings { identities: Vec::new(), ..settings(&sshd) };
    insta::assert_snapshot!(refusal_with(&none, &sshd, &[("HOME", home.path())]).await, @"127.0.0.1:PORT refuses the user `mtdock`: there was no key to try; name one with `identity_file`, load it into ssh-agent, or hand it to the unit as its credential `ssh-key`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_takes_no_keys_says_what_it_takes() {
    let sshd = Sshd::start("PubkeyAuthentication no\nPasswordAuthentication yes");
    insta::assert_snapshot!(refusal(&settings(&sshd), &sshd).await, @"127.0.0.1:PORT refuses the user `mtdock`: sshd takes no keys from this user, only password");
    let sshd = Sshd::start("AuthenticationMethods publickey,password\nPasswordAuthentication yes");
    insta::assert_snapshot!(refusal(&settings(&sshd), &sshd).await, @"127.0.0.1:PORT takes a key of `mtdock` and wants more than a key (password), which nobody is there to give");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_kinds_are_taken() {
    let sshd = Sshd::start("");
    let mut allowed = String::new();
    let kinds: [&[&str]; 4] =
        [&["-t", "ed25519"], &["-t", "ecdsa", "-b", "384"], &["-t", "rsa"], &["-t", "rsa", "-m", "PEM"]];
    for (index, kind) in kinds.iter().enumerate() {
        let path = sshd.file(&format!("kind{index}")).display().to_string();
        command("ssh-keygen", &[&["-q", "-N", "", "-f", &path][..], kind].concat());
        allowed += &std::fs::read_to_string(format!("{path}.pub")).unwrap();
    }
    std::fs::write(sshd.file("authorized_keys"), allowed).unwrap();
    for (index, kind) in kinds.iter().enumerate() {
        let settings = with_keys(&sshd, &[&format!("kind{index}")]);
        assert!(is_in(&settings).await, "{kind:?}: {}", refusal(&settings, &sshd).await);
    }
}

/// A key with a passphrase is used by way of the agent that has it; nobody is there to type.
#[tokio::test(flavor = "multi_thread")]
async fn ssh_agent_signs_for_keys_that_it_has() {
    let (sshd, agent) = (Sshd::start(""), Agent::start());
    let socket = agent.socket();
    let by_agent = SshSettings { identities: Vec::new(), agent: None, ..settings(&sshd) };
    let environment: [(&str, &Path); 2] = [("SSH_AUTH_SOCK", &socket), ("HOME", Path::new("/nonexistent"))];
    agent.add(&sshd.file("other"));
    insta::assert_snapshot!(refusal_with(&by_agent, &sshd, &environment).await, @"127.0.0.1:PORT refuses the user `mtdock`: tried ssh-ed25519 SHA256:... (ssh-agent: other); put the public half of a key that was tried into ~/.ssh/authorized_keys of that user");
    agent.add(&sshd.file("key"));
    assert!(engine_with(&by_agent, &environment).version().await.is_ok());
    let off = SshSettings { agent: Some(Switch::Off), ..by_agent.clone() };
    assert!(engine_with(&off, &environment).version().await.is_err());
    let by_path = SshSettings { agent: Some(Switch::Path(socket.display().to_string())), ..by_agent.clone() };
    assert!(engine(&by_path).version().await.is_ok());

    // The key in the file needs its passphrase from here on.
    let locked = with_keys(&sshd, &["key"]);
    let path = sshd.file("key").display().to_string();
    command("ssh-keygen", &["-q", "-p", "-P", "", "-N", "a passphrase", "-f", &path]);
    insta::assert_snapshot!(refusal(&locked, &sshd).await, @"127.0.0.1:PORT refuses the user `mtdock`: there was no key to try; the key DIR/key has a passphrase and ssh-agent does not have it; start ssh-agent, run `ssh-add DIR/key`, or use a key without");
    let locked = SshSettings { agent: Some(Switch::Path(socket.display().to_string())), ..locked };
    assert!(is_in(&locked).await, "{}", refusal(&locked, &sshd).await);
    // The public half alone stands for the agent's key.
    let public = SshSettings { agent: locked.agent.clone(), ..with_keys(&sshd, &["key.pub"]) };
    assert!(is_in(&public).await);

    let gone = SshSettings { agent: Some(Switch::Path("/nonexistent/agent".to_owned())), ..by_agent.clone() };
    let shown = refusal_with(&gone, &sshd, &[("HOME", Path::new("/nonexistent"))]).await;
    insta::assert_snapshot!(shown, @"127.0.0.1:PORT refuses the user `mtdock`: there was no key to try; ssh-agent at /nonexistent/agent does not answer (No such file or directory)");
    let on = SshSettings { agent: Some(Switch::On), ..by_agent };
    insta::assert_snapshot!(target_with(&on, &[]).unwrap_err().to_string(), @"the site says `agent: true`, and SSH_AUTH_SOCK is not set: is ssh-agent running?");
}

/// Many keys in an agent use up the tries that sshd allows; the right one is named then.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_keys_are_told_and_a_named_one_goes_first() {
    let (sshd, agent) = (Sshd::start("MaxAuthTries 3"), Agent::start());
    for index in 0..4 {
        let path = sshd.file(&format!("extra{index}"));
        command("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &path.to_string_lossy()]);
        agent.add(&path);
    }
    agent.add(&sshd.file("key"));
    let held = Some(Switch::Path(agent.socket().display().to_string()));
    let any = SshSettings { identities: Vec::new(), agent: held.clone(), ..settings(&sshd) };
    let home = tempfile::tempdir().unwrap();
    let text = refusal_with(&any, &sshd, &[("HOME", home.path())]).await;
    assert!(text.contains("name the right key with `identity_file`"), "{text}");
    let named = SshSettings { agent: held, ..with_keys(&sshd, &["key"]) };
    assert!(is_in(&named).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_systemd_is_a_key() {
    let sshd = Sshd::start("");
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(sshd.file("key"), directory.path().join("ssh-key")).unwrap();
    let environment: [(&str, &Path); 2] =
        [("CREDENTIALS_DIRECTORY", directory.path()), ("HOME", Path::new("/nonexistent"))];
    let unsaid = SshSettings { identities: Vec::new(), ..settings(&sshd) };
    assert!(engine_with(&unsaid, &environment).version().await.is_ok());
    let named = SshSettings { identities: vec![Identity::Credential("ssh-key".to_owned())], ..settings(&sshd) };
    assert!(engine_with(&named, &environment).version().await.is_ok());
    insta::assert_snapshot!(target_with(&named, &[]).unwrap_err().to_string(), @"the credential `ssh-key` is not there: CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential=ssh-key:PATH");
}

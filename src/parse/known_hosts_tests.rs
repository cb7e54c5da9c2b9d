//! Tests of [`super::known_hosts`]: lines as ssh-keygen writes them, and what no line may lead to.
#![allow(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha1::Sha1;

use super::known_hosts::{HostKey, KnownHosts, Verdict, fits, name_of};

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINPibC0h2Bri0ewzcv6Sl+fJJYLD4W3bGw0a0S8aBc9S";
const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII93JLukASaq5YEEvQXNRkMRIBX8mGFbFib7cHrz+k+J";
const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGAbFMlF9f6vbGgd1bVsfS/ImCdM6ud++WNTLPbXZDal2xeupiRg7x5ZO9fpxZ3P34gBaAntIzbBdPkcdLQw9c0=";

fn key(text: &str) -> HostKey {
    let (algorithm, blob) = text.split_once(' ').unwrap();
    HostKey { algorithm: algorithm.to_owned(), blob: STANDARD.decode(blob).unwrap() }
}

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add("kh", text);
    known
}

fn judged(known: &KnownHosts, host: &str, port: u16, shown: &str) -> String {
    match known.judge(host, port, &key(shown)) {
        Verdict::Known(record) => format!("known {}", record.place()),
        Verdict::Unknown => "unknown".to_owned(),
        Verdict::Changed(record) => format!("changed {}", record.place()),
        Verdict::Revoked(record) => format!("revoked {}", record.place()),
    }
}

#[test]
fn hosts_are_found_by_name_port_pattern_and_hash() {
    // The hashes are ssh-keygen's, of node1 and [node1]:2222.
    let text = format!(
        "# a comment\n\nplain,10.0.0.1 {ED} root@plain\n  \t[plain]:2222\t{ED2}  with a comment\n*.example,!bad.example {ED}\n\
         |1|Wqwozgh4kemDAqJUSesb2PzE3kc=|VfLw+t9gGIntStUJxtEzKTUWZQk= {ED}\r\n\
         |1|OOLNIUpifNgbjHX5JHV4wlWTqzw=|DqSMtVPAGtu3cRfjq8Gek6d8UVs= {ED2}\n"
    );
    let known = known(&text);
    assert_eq!(known.problems(), []);
    let of = |host: &str, port: u16, shown: &str| judged(&known, host, port, shown);
    assert_eq!(of("plain", 22, ED), "known kh:3");
    assert_eq!(of("PLAIN", 22, ED), "known kh:3");
    assert_eq!(of("10.0.0.1", 22, ED), "known kh:3");
    assert_eq!(of("plain", 22, ED2), "changed kh:3");
    assert_eq!(of("plain", 2222, ED2), "known kh:4");
    assert_eq!(of("plain", 2222, ED), "changed kh:4");
    assert_eq!(of("plain", 2223, ED), "unknown");
    assert_eq!(of("a.example", 22, ED), "known kh:5");
    assert_eq!(of("bad.example", 22, ED), "unknown");
    assert_eq!(of("node1", 22, ED), "known kh:6");
    assert_eq!(of("node1", 22, EC), "changed kh:6");
    assert_eq!(of("node1", 2222, ED2), "known kh:7");
    assert_eq!(of("node2", 22, ED), "unknown");
}

#[test]
fn a_host_may_have_several_keys_in_several_files() {
    let mut known = known(&format!("a {ED}\na {EC}\n"));
    known.add("other", &format!("# x\na {ED2}\n"));
    assert_eq!(judged(&known, "a", 22, ED2), "known other:2");
    assert_eq!(judged(&known, "a", 22, EC), "known kh:2");
    assert_eq!(known.algorithms("a", 22), ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    assert_eq!(known.algorithms("b", 22), [""; 0]);
    let other = EC.replace("BGAbF", "BGAbG");
    assert_eq!(judged(&known, "a", 22, &other), "changed kh:2", "the line of the same kind is named");
}

#[test]
fn a_revoked_key_is_refused_wherever_else_it_is_listed() {
    let known = known(&format!("a {ED}\n@revoked * {ED}\n@revoked b {ED2}\na {ED2}\n"));
    assert_eq!(judged(&known, "a", 22, ED), "revoked kh:2");
    assert_eq!(judged(&known, "a", 2222, ED), "revoked kh:2");
    assert_eq!(judged(&known, "a", 22, ED2), "known kh:4");
    assert_eq!(judged(&known, "b", 22, ED2), "revoked kh:3");
}

#[test]
fn an_authority_vouches_for_its_hosts_and_is_no_key_of_theirs() {
    let known = known(&format!("@cert-authority *.example,!c.example {ED}\n"));
    assert_eq!(judged(&known, "a.example", 22, ED), "unknown");
    assert!(known.has_authority("a.example", 22));
    assert!(known.authority("a.example", 22, &key(ED)).is_some());
    assert!(known.authority("a.example", 22, &key(ED2)).is_none());
    assert!(!known.has_authority("c.example", 22));
}

#[test]
fn lines_that_cannot_be_used_are_told_and_trusted_in_nothing() {
    let text = format!(
        "a\na ssh-ed25519\na ssh-ed25519 !!!\na ssh-rsa {}\na 1024 35 123\n@cert-authority\n@trusted a {ED}\n@revoked a ssh-ed25519 x\n\
         |2|a|b {ED}\n|1|AAAA|AAAA {ED}\n|1||AAAA {ED}\n",
        ED.split_once(' ').unwrap().1
    );
    let known = known(&text);
    assert_eq!(judged(&known, "a", 22, ED), "unknown");
    let shown: Vec<String> = known
        .problems()
        .iter()
        .map(|problem| format!("{} {}{}", problem.line, problem.reason, if problem.revokes { " (!)" } else { "" }))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    1 it has no key
    2 it has no key
    3 its key is not in base64
    4 its key is of another kind than it says
    5 it is of version 1 of the protocol
    6 it names no host
    7 its marker is neither @cert-authority nor @revoked (!)
    8 its key is not in base64 (!)
    9 its host is hashed in an unknown way
    10 its hashed host has not the length of SHA-1
    11 its hashed host has not the length of SHA-1
    ");
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    assert_eq!(key(ED).fingerprint(), "SHA256:k3ZSCSSj3KJTg68FC9s8rcST8Z3iKWsvOKJDx3AfhII");
}

#[test]
fn patterns() {
    for (pattern, text) in [("*", ""), ("*", "x"), ("a?c", "abc"), ("*.b.*", "a.b.b.c"), ("a*", "a"), ("**a", "ba")] {
        assert!(fits(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("", "x"), ("a?c", "ac"), ("*.b", "a.bc"), ("[node]:22", "node")] {
        assert!(!fits(pattern, text), "{pattern} {text}");
    }
}

fn hashed(salt: &[u8], name: &str) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(salt).unwrap().chain_update(name.as_bytes()).finalize().into_bytes();
    format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac))
}

proptest! {
    /// However it is written down, a host is found by its own name and port and by no other.
    #[test]
    fn a_host_is_found_by_itself_alone(
        host in "[a-z0-9][a-z0-9.-]{0,12}",
        other in "[a-z0-9][a-z0-9.-]{0,12}",
        port in prop_oneof![Just(22_u16), 1_u16..],
        salt in proptest::collection::vec(any::<u8>(), 1..30),
        hide in any::<bool>(),
        before in proptest::collection::vec("(#[ -~]{0,20}|[ \t]{0,3})", 0..5),
    ) {
        let name = name_of(&host, port);
        let written = if hide { hashed(&salt, &name) } else { name };
        let mut lines = before.clone();
        lines.push(format!("{written} {ED}"));
        let known = known(&lines.join("\n"));
        let place = format!("known kh:{}", before.len() + 1);
        prop_assert_eq!(judged(&known, &host, port, ED), place);
        prop_assert_eq!(judged(&known, &host, port.wrapping_add(1).max(1), ED), "unknown");
        if other != host {
            prop_assert_eq!(judged(&known, &other, port, ED), "unknown");
        }
    }

    /// Nothing that somebody writes makes the reader fail, and nothing but a whole line of a key makes trust.
    #[test]
    fn noise_is_trusted_in_nothing(text in "([@|!*,\\[\\]a-z0-9:= \t\n]|ssh-ed25519|@revoked){0,80}") {
        let known = known(&text);
        prop_assert_eq!(known.judge("a", 22, &key(ED)), Verdict::Unknown);
    }

    /// As a plain search would find it.
    #[test]
    fn patterns_are_as_a_slow_reading_says(pattern in "[ab*?]{0,7}", text in "[ab]{0,7}") {
        fn slow(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, _) => text.is_empty(),
                (Some((b'*', rest)), None) => slow(rest, text),
                (Some((b'*', rest)), Some((_, after))) => slow(rest, text) || slow(pattern, after),
                (Some((wanted, rest)), Some((found, after))) => (*wanted == b'?' || wanted == found) && slow(rest, after),
                (Some(_), None) => false,
            }
        }
        prop_assert_eq!(fits(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
    }
}

//! The client of etcd's JSON gateway against a real etcd: transactions, leases, watches, members that die, TLS and users.

use std::time::Duration;

use mastic::edge::etcd::{Check, Client, EtcdError, EtcdOptions, Happening, Operation, Range, Transaction, Watch};

use crate::support::Etcd;

fn key(name: &str) -> String {
    format!("/mastic/test/{name}")
}

fn put(name: &str, value: &str) -> Operation {
    Operation::Put { key: key(name), value: value.as_bytes().to_vec(), lease: None }
}

/// What a watch tells next, in short.
async fn next(watch: &mut Watch) -> Vec<String> {
    let happened =
        tokio::time::timeout(Duration::from_secs(30), watch.next()).await.expect("something happens").unwrap();
    let told = |one| match one {
        Happening::Written { key, value, .. } => format!("{key}={}", String::from_utf8(value).unwrap()),
        Happening::Gone { key, .. } => format!("{key} gone"),
    };
    happened.expect("nothing is forgotten").into_iter().map(told).collect()
}

#[tokio::test]
async fn keys_are_written_over_only_by_who_has_read_them() {
    let etcd = Etcd::start(1);
    let client = Client::new(etcd.options()).unwrap();
    assert_eq!(client.get(key("a")).await.unwrap(), None);
    let create = |value: &str| Transaction {
        checks: vec![Check { key: key("a"), revision: 0 }],
        then: vec![put("a", value)],
        otherwise: vec![Operation::Read(Range::Key(key("a")))],
    };
    let first = client.transact(create("one")).await.unwrap();
    assert!(first.succeeded);
    let second = client.transact(create("two")).await.unwrap();
    assert!(!second.succeeded);
    let [found] = second.found.concat().try_into().unwrap();
    assert_eq!((found.value.as_slice(), found.revision), (&b"one"[..], first.revision));
    let over = Transaction {
        checks: vec![Check { key: key("a"), revision: found.revision }],
        then: vec![put("a", ""), put("b", "\u{0}\u{ff}")],
        ..Transaction::default()
    };
    assert!(client.transact(over).await.unwrap().succeeded);
    let (all, _) = client.range(Range::Prefix(key(""))).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|one| (one.key, String::from_utf8(one.value).unwrap())).collect();
    assert_eq!(all, [(key("a"), String::new()), (key("b"), "\u{0}\u{ff}".to_owned())]);
    client.delete(Range::Prefix(key(""))).await.unwrap();
    assert_eq!(client.get(key("b")).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_under_a_lease_lasts_as_long_as_it_is_kept_alive() {
    let etcd = Etcd::start(1);
    let client = Client::new(etcd.options()).unwrap();
    let lease = client.grant(Duration::from_secs(1)).await.unwrap();
    client.put(key("here"), b"x".to_vec(), Some(lease)).await.unwrap();
    let (_, revision) = client.range(Range::Key(key("here"))).await.unwrap();
    assert!(client.keep_alive(lease).await.unwrap());
    let mut watch = client.watch(key(""), revision + 1);
    assert_eq!(next(&mut watch).await, [format!("{} gone", key("here"))]);
    assert!(!client.keep_alive(lease).await.unwrap());
    let late = client.put(key("here"), b"x".to_vec(), Some(lease)).await.unwrap_err();
    assert!(matches!(&late, EtcdError::Refused { message, .. } if message.contains("lease not found")), "{late}");
    let other = client.grant(Duration::from_secs(60)).await.unwrap();
    client.put(key("here"), b"y".to_vec(), Some(other)).await.unwrap();
    client.revoke(other).await.unwrap();
    assert_eq!(client.get(key("here")).await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_and_says_when_something_was_forgotten() {
    let mut etcd = Etcd::start(1);
    let client = Client::new(etcd.options()).unwrap();
    let mut watch = client.watch(key(""), 1);
    client.put(key("a"), b"1".to_vec(), None).await.unwrap();
    assert_eq!(next(&mut watch).await, [format!("{}=1", key("a"))]);
    // What others do below other prefixes is none of ours, and a prefix is more than the start of a name.
    client.put("/mastic/tes".to_owned(), b"x".to_vec(), None).await.unwrap();
    client.put("/mastic/testing".to_owned(), b"x".to_vec(), None).await.unwrap();

    etcd.kill(0);
    assert!(matches!(watch.next().await, Err(EtcdError::Unreachable(_))), "etcd is gone");
    etcd.restart();
    client.put(key("a"), b"2".to_vec(), None).await.unwrap();
    client.put(key("a"), b"3".to_vec(), None).await.unwrap();
    let mut seen = next(&mut watch).await;
    if seen.len() < 2 {
        seen.extend(next(&mut watch).await);
    }
    assert_eq!(seen, [format!("{}=2", key("a")), format!("{}=3", key("a"))]);

    let (_, revision) = client.range(Range::Key(key("a"))).await.unwrap();
    client.put(key("a"), b"4".to_vec(), None).await.unwrap();
    etcd.ask(&["compact", &(revision + 1).to_string()]).unwrap();
    assert_eq!(client.watch(key(""), 2).next().await.unwrap(), None, "it has to be read anew");
}

#[tokio::test]
async fn another_member_answers_when_the_leader_is_killed() {
    let mut etcd = Etcd::start(3);
    let client = Client::new(etcd.options()).unwrap();
    client.put(key("a"), b"1".to_vec(), None).await.unwrap();
    let (_, revision) = client.range(Range::Key(key("a"))).await.unwrap();
    let mut watch = client.watch(key(""), revision + 1);
    etcd.kill(etcd.leader());
    // For a moment nobody leads; then it goes on.
    let write = async { while client.put(key("a"), b"2".to_vec(), None).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), write).await.expect("two of three go on");
    let seen = async {
        loop {
            if let Ok(Some(happened)) = watch.next().await {
                return happened;
            }
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
    assert!(matches!(&seen[0], Happening::Written { value, .. } if value == b"2"), "{seen:?}");

    etcd.kill_all();
    let error = client.get(key("a")).await.unwrap_err().to_string();
    for endpoint in etcd.options().endpoints {
        assert!(error.contains(&endpoint), "{error}");
    }
    assert!(error.contains("refused"), "{error}");
    etcd.restart();
    assert_eq!(client.get(key("a")).await.unwrap().unwrap().value, b"2");
}

#[tokio::test]
async fn with_tls_and_users_each_mistake_says_what_it_is() {
    let etcd = Etcd::with_tls_and_users();
    let right = etcd.options();
    let client = Client::new(right.clone()).unwrap();
    client.put(key("a"), b"1".to_vec(), None).await.unwrap();
    let mut watch = client.watch(key(""), 1);
    assert_eq!(next(&mut watch).await, [format!("{}=1", key("a"))]);

    let refused =
        |options: EtcdOptions| async { Client::new(options).unwrap().get(key("a")).await.unwrap_err().to_string() };
    let denied = client.get("/other".to_owned()).await.unwrap_err().to_string();
    assert!(denied.contains("permission denied"), "{denied}");
    let wrong = refused(EtcdOptions { password_file: Some(etcd.password_file("wrong word")), ..right.clone() }).await;
    assert!(wrong.contains("authentication failed") && !wrong.contains("wrong word"), "{wrong}");
    let right = etcd.options();
    let nobody = refused(EtcdOptions { user: None, password_file: None, ..right.clone() }).await;
    assert!(nobody.contains("etcd refuses"), "{nobody}");
    let (certificate, key_file) = etcd.named_client();
    let named = EtcdOptions { certificate: Some(certificate), key: Some(key_file), ..right.clone() };
    let named = refused(named).await;
    assert!(named.contains("ours must have no CommonName"), "{named}");
    let stranger = refused(EtcdOptions { certificate: None, key: None, ..right.clone() }).await;
    assert!(stranger.contains(&right.endpoints[0]), "{stranger}");
    let other = crate::support::Authority::new();
    let distrusted = refused(EtcdOptions { authority: Some(other.file("ca.pem").into()), ..right.clone() }).await;
    assert!(distrusted.contains("certificate"), "{distrusted}");
    let plain = right.endpoints[0].replace("https", "http");
    let plain = refused(EtcdOptions { endpoints: vec![plain], ..right.clone() }).await;
    assert!(plain.contains("http://127.0.0.1"), "{plain}");

    // A token that is no longer known is replaced.
    let again = Client::new(right).unwrap();
    again.get(key("a")).await.unwrap();
    etcd.ask(&["--user", &format!("root:{}", crate::support::ETCD_PASSWORD), "role", "add", "more"]).unwrap();
    again.get(key("a")).await.unwrap();
}

//! What an agent takes of what lies in etcd, whoever wrote it there: followed against a real etcd.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mastic::control::ports::SiteSource as _;
use mastic::edge::etcd::{Client, Keys, follow, head, publish};
use mastic::edge::revision::{FileEntry, Manifest, Purpose, RevisionSource, Signed, SigningKey, Trust, Version};
use mastic::model::names::{HostName, SiteName};
use mastic::model::time::Timestamp;
use mastic::resolve::compile::CompileRequest;
use tokio::sync::mpsc;

use crate::support::Etcd;

const LONG: Duration = Duration::from_secs(60);

fn site() -> SiteName {
    SiteName::new("demo").unwrap()
}

fn text(image: &str) -> String {
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  hosts: {{one: {{}}}}\n  services: {{web: {{image: '{image}', hosts: [one]}}}}\n"
    )
}

/// A revision of one file, and that file.
fn revision(generation: u64, image: &str) -> (Manifest, BTreeMap<String, Vec<u8>>) {
    let content = text(image).into_bytes();
    let entry = FileEntry::of(&content, 0o644);
    let blobs = [(entry.sha256.clone(), content)].into();
    let manifest = Manifest {
        site: site(),
        generation,
        parent: String::new(),
        minimum_version: Version::own(),
        pushed_by: "ann@desk".to_owned(),
        pushed_at: Timestamp(0),
        hosts: vec![HostName::new("one").unwrap()],
        ordinals: mastic::model::ordinals::Ordinals::default(),
        paths: vec!["site.yaml".to_owned()],
        role_directories: Vec::new(),
        variables: Vec::new(),
        files: [("site.yaml".to_owned(), entry)].into(),
    };
    (manifest, blobs)
}

/// An agent's end, and somebody who can write to etcd.
struct Given {
    etcd: Etcd,
    client: Client,
    keys: Keys,
    key: SigningKey,
    source: Arc<RevisionSource>,
    news: mpsc::Receiver<()>,
    place: tempfile::TempDir,
}

fn source(state: &Path, trust: &Path) -> Arc<RevisionSource> {
    let trust = Trust::read(trust).unwrap();
    RevisionSource::new(state, trust, site(), &HostName::new("one").unwrap(), &CompileRequest::default())
}

impl Given {
    fn new() -> Self {
        let (etcd, place) = (Etcd::start(1), tempfile::tempdir().unwrap());
        let (key, public) = SigningKey::generate(&place.path().join("key"), "ann").unwrap();
        let client = Client::new(etcd.options()).unwrap();
        let source = source(&place.path().join("state"), &public);
        let (sender, news) = mpsc::channel(1);
        tokio::spawn(follow(client.clone(), source.clone(), sender));
        Self { etcd, client, keys: Keys::of(&site()), key, source, news, place }
    }

    /// Publishes whatever it is, as one who may write everything in etcd could.
    async fn publish(&self, manifest: &Manifest, blobs: &BTreeMap<String, Vec<u8>>, key: &SigningKey) {
        let signed = Signed::seal(Purpose::Revision, &manifest.bytes().unwrap(), key);
        let over = head(&self.client, &self.keys).await.unwrap();
        assert!(publish(&self.client, &self.keys, &signed, manifest, blobs, over.as_ref()).await.unwrap());
    }

    /// Waits until the agent is told something, and what its site is then.
    async fn heard(&mut self) -> Result<(u64, String), String> {
        tokio::time::timeout(LONG, self.news.recv()).await.expect("it is told").unwrap();
        self.look()
    }

    fn look(&self) -> Result<(u64, String), String> {
        let loaded = self.source.load(b"key", &Arc::default()).map_err(|bad| bad.message)?;
        let image = loaded.desired.services.values().next().unwrap().image.familiar();
        Ok((loaded.desired.generation, image))
    }
}

#[tokio::test]
async fn only_what_is_newer_and_as_it_was_signed_is_taken() {
    let mut given = Given::new();
    assert_eq!(given.look(), Err("no revision was received yet".to_owned()));
    let (manifest, blobs) = revision(5, "app:5");
    given.publish(&manifest, &blobs, &given.key).await;
    assert_eq!(given.heard().await, Ok((5, "app:5".to_owned())));

    // Signed, and yet older, or another one of the same number: nobody takes a host back by writing again what was there.
    for (generation, image) in [(4, "app:4"), (5, "app:other")] {
        let (manifest, blobs) = revision(generation, image);
        given.publish(&manifest, &blobs, &given.key).await;
        let why = given.heard().await.unwrap_err();
        assert!(why.ends_with(&format!("its generation is {generation}, and 5 was in force here already")), "{why}");
    }

    // A file that is not the one that was signed, and one that is missing.
    let (manifest, mut blobs) = revision(6, "app:6");
    for content in blobs.values_mut() {
        *content = text("app:evil").into_bytes();
    }
    given.publish(&manifest, &blobs, &given.key).await;
    let why = given.heard().await.unwrap_err();
    assert_eq!(why, "the revision is not taken: its file `site.yaml` is not the one that was signed");

    // For a newer program, or for another site.
    let newer = Version::try_from("99.0.0".to_owned()).unwrap();
    let (manifest, blobs) = revision(7, "app:7");
    given.publish(&Manifest { minimum_version: newer, ..manifest.clone() }, &blobs, &given.key).await;
    let why = given.heard().await.unwrap_err();
    assert!(why.contains("it is for mastic 99.0.0 or later"), "{why}");
    let other = Manifest { site: SiteName::new("other").unwrap(), ..manifest.clone() };
    given.publish(&other, &blobs, &given.key).await;
    assert_eq!(given.heard().await.unwrap_err(), "the revision is not taken: it is of the site `other`");

    // Of somebody who is not trusted, and of nobody.
    let (stranger, _) = SigningKey::generate(&given.place.path().join("stranger"), "eve").unwrap();
    given.publish(&manifest, &blobs, &stranger).await;
    assert!(given.heard().await.unwrap_err().contains("does not hold"));
    given.etcd.ask(&["put", "/mastic/demo/head", "{}"]).unwrap();
    assert_eq!(given.heard().await.unwrap_err(), "the revision is not taken: it is not signed");

    // All the while the last good one was there; the next good one is taken.
    assert_eq!(given.source.in_force().unwrap().manifest.generation, 5);
    given.publish(&manifest, &blobs, &given.key).await;
    assert_eq!(given.heard().await, Ok((7, "app:7".to_owned())));
}

#[tokio::test]
async fn what_is_unpacked_is_proven_at_each_reading_and_damage_is_made_good() {
    let mut given = Given::new();
    let (manifest, blobs) = revision(1, "app:1");
    given.publish(&manifest, &blobs, &given.key).await;
    given.heard().await.unwrap();
    let state = given.place.path().join("state");
    std::fs::write(state.join("source/current/files/site.yaml"), text("app:evil")).unwrap();
    let why = given.look().unwrap_err();
    assert_eq!(why, "the revision is not taken: its file `site.yaml` is not the one that was signed");
    // An agent that starts finds that, and fetches the file again.
    let again = source(&state, &given.place.path().join("key.pub"));
    let (sender, mut news) = mpsc::channel(1);
    tokio::spawn(follow(given.client.clone(), again.clone(), sender));
    tokio::time::timeout(LONG, news.recv()).await.expect("it is told").unwrap();
    assert_eq!(again.load(b"key", &Arc::default()).unwrap().desired.generation, 1);
}

#[tokio::test]
async fn of_two_who_push_at_once_one_is_told_and_old_revisions_go() {
    let given = Given::new();
    let (manifest, blobs) = revision(1, "app:1");
    given.publish(&manifest, &blobs, &given.key).await;
    let seen = head(&given.client, &given.keys).await.unwrap();
    let (manifest, blobs) = revision(2, "app:2");
    given.publish(&manifest, &blobs, &given.key).await;
    let signed = Signed::seal(Purpose::Revision, &manifest.bytes().unwrap(), &given.key);
    let late = Manifest { pushed_by: "bob@desk".to_owned(), ..manifest.clone() };
    let of_bob = Signed::seal(Purpose::Revision, &late.bytes().unwrap(), &given.key);
    let outcome = publish(&given.client, &given.keys, &of_bob, &late, &blobs, seen.as_ref()).await.unwrap();
    assert!(!outcome, "somebody was quicker");
    let outcome = publish(&given.client, &given.keys, &signed, &manifest, &blobs, seen.as_ref()).await.unwrap();
    assert!(outcome, "an answer that was lost is no lost race");

    for generation in 3..=14 {
        let (manifest, blobs) = revision(generation, &format!("app:{generation}"));
        given.publish(&manifest, &blobs, &given.key).await;
    }
    let count =
        |prefix: &str| given.etcd.ask(&["get", "--prefix", "--keys-only", prefix]).unwrap().split_whitespace().count();
    assert_eq!((count("/mastic/demo/history/"), count("/mastic/demo/blobs/")), (10, 10));
}

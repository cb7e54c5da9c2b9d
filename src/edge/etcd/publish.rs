//! A revision in etcd: the signed manifest that is wanted, those before it, and their files as blobs.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Check, Client, KeyValue, Operation, Range, Transaction};
use super::error::EtcdError;
use super::keys::Keys;
use crate::edge::revision::{Manifest, Signed};
use crate::model::names::SiteName;

/// Revisions that are kept, for those who want to look at them.
const KEPT: usize = 10;

/// What is wanted now, as it lies in etcd: shown and followed, never believed.
#[derive(Clone, Debug)]
pub struct Head {
    /// What it says; none where that cannot be read.
    pub manifest: Option<Manifest>,
    /// Stands for it.
    pub digest: String,
    /// When etcd last wrote it: what a push has to have read.
    pub revision: i64,
}

impl Head {
    fn of(found: &KeyValue) -> Self {
        let content = serde_json::from_slice::<Signed>(&found.value).ok().and_then(|signed| signed.unproven().ok());
        let content = content.unwrap_or_default();
        let manifest = serde_json::from_slice(&content).ok();
        Self { manifest, digest: Manifest::digest(&content), revision: found.revision }
    }
}

/// The sites that something was ever pushed of.
pub async fn sites(client: &Client) -> Result<Vec<SiteName>, EtcdError> {
    let (found, _) = client.range(Range::NamesBelow(Keys::sites())).await?;
    let name = |one: KeyValue| SiteName::new(one.key.strip_prefix(&Keys::sites())?).ok();
    Ok(found.into_iter().filter_map(name).collect())
}

/// What is wanted now.
pub async fn head(client: &Client, keys: &Keys) -> Result<Option<Head>, EtcdError> {
    Ok(client.get(keys.head()).await?.as_ref().map(Head::of))
}

/// The contents of a manifest's files, but for those that are known already or are not there.
pub async fn blobs(
    client: &Client,
    keys: &Keys,
    manifest: &Manifest,
    mut known: BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, Vec<u8>>, EtcdError> {
    for entry in manifest.files.values() {
        if !known.contains_key(&entry.sha256)
            && let Some(found) = client.get(keys.blob(&entry.sha256)).await?
        {
            known.insert(entry.sha256.clone(), found.value);
        }
    }
    Ok(known)
}

/// Publishes over what was read; false where somebody else was quicker.
pub async fn publish(
    client: &Client,
    keys: &Keys,
    signed: &Signed,
    manifest: &Manifest,
    blobs: &BTreeMap<String, Vec<u8>>,
    over: Option<&Head>,
) -> Result<bool, EtcdError> {
    let strange = |error: serde_json::Error| EtcdError::Strange { endpoint: String::new(), why: error.to_string() };
    // Those of the revision before are kept by it; all others are written anew, so that nobody clears them away meanwhile.
    let there: BTreeSet<&str> = over
        .and_then(|head| head.manifest.as_ref())
        .into_iter()
        .flat_map(|manifest| manifest.files.values().map(|entry| entry.sha256.as_str()))
        .collect();
    for (sha256, content) in blobs.iter().filter(|(sha256, _)| !there.contains(sha256.as_str())) {
        client.put(keys.blob(sha256), content.clone(), None).await?;
    }
    let value = serde_json::to_vec(signed).map_err(strange)?;
    let put = |key: String| Operation::Put { key, value: value.clone(), lease: None };
    let transaction = Transaction {
        checks: vec![Check { key: keys.head(), revision: over.map_or(0, |head| head.revision) }],
        then: vec![put(keys.history(manifest.generation)), put(keys.head())],
        otherwise: vec![Operation::Read(Range::Key(keys.head()))],
    };
    let outcome = client.transact(transaction).await?;
    // An answer that was lost: what is there is ours.
    let is_ours = outcome.found.iter().flatten().any(|found| found.value == value);
    if !outcome.succeeded && !is_ours {
        return Ok(false);
    }
    // What follows is tidiness, and may be forbidden to who may only write below the site.
    if let Err(error) = client.put(Keys::sites() + manifest.site.as_str(), Vec::new(), None).await {
        tracing::debug!(%error, "the site is not listed");
    }
    if let Err(error) = clear(client, keys).await {
        tracing::warn!(%error, "old revisions stay in etcd");
    }
    Ok(true)
}

/// Removes old revisions, and blobs that none of the others has. A blob that was written meanwhile stays.
async fn clear(client: &Client, keys: &Keys) -> Result<(), EtcdError> {
    let (blobs, _) = client.range(Range::NamesBelow(keys.blobs())).await?;
    let (mut history, _) = client.range(Range::Prefix(keys.histories())).await?;
    // By number, which is not the order of the keys.
    let number = |one: &KeyValue| one.key.rsplit('/').next().and_then(|name| name.parse::<u64>().ok()).unwrap_or(0);
    history.sort_by_key(|one| std::cmp::Reverse(number(one)));
    let kept: BTreeSet<String> = history
        .iter()
        .take(KEPT)
        .filter_map(|one| Head::of(one).manifest)
        .flat_map(|manifest| manifest.files.into_values().map(|entry| keys.blob(&entry.sha256)))
        .collect();
    let old = history.into_iter().skip(KEPT);
    for one in old.chain(blobs.into_iter().filter(|blob| !kept.contains(&blob.key))) {
        let transaction = Transaction {
            checks: vec![Check { key: one.key.clone(), revision: one.revision }],
            then: vec![Operation::Delete(Range::Key(one.key))],
            otherwise: Vec::new(),
        };
        client.transact(transaction).await?;
    }
    Ok(())
}

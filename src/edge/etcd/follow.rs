//! What an agent takes of what is published: it is watched, proven, unpacked, and then the loop is told.
//!
//! In: `head`. Out: `STATE/source/`, and a word to the loop whenever there is news. What is not taken is told as a bad
//! site; the last good one stays in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::client::{Client, Range};
use super::error::EtcdError;
use super::keys::Keys;
use super::mirror::pause;
use super::publish::blobs;
use super::watch::Happening;
use crate::edge::revision::{BadTree, Opened, RevisionSource, open};

/// A disk that is full is tried again after this.
const DISK_AGAIN: Duration = Duration::from_secs(5);

/// What goes wrong on the way.
enum Trouble {
    Etcd(EtcdError),
    Gone,
}

impl From<EtcdError> for Trouble {
    fn from(error: EtcdError) -> Self {
        Self::Etcd(error)
    }
}

/// Follows until the loop is gone.
pub async fn follow(client: Client, source: Arc<RevisionSource>, news: mpsc::Sender<()>) {
    let keys = Keys::of(source.site());
    let mut failures = 0;
    loop {
        match once(&client, &keys, &source, &news, &mut failures).await {
            Trouble::Gone => return,
            Trouble::Etcd(error) => {
                tracing::debug!(%error, "revisions cannot be watched now");
                pause(failures).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// Takes what is there, and what comes, until that is no longer possible.
async fn once(
    client: &Client,
    keys: &Keys,
    source: &RevisionSource,
    news: &mpsc::Sender<()>,
    failures: &mut u32,
) -> Trouble {
    let go = async {
        let (found, revision) = client.range(Range::Key(keys.head())).await?;
        *failures = 0;
        if let Some(found) = found.first() {
            take_in(client, keys, source, &found.value, news).await?;
        }
        let mut watch = client.watch(keys.head(), revision + 1);
        while let Some(happened) = watch.next().await? {
            for one in happened {
                if let Happening::Written { key, value, .. } = one
                    && key == keys.head()
                {
                    take_in(client, keys, source, &value, news).await?;
                }
            }
        }
        Ok::<_, Trouble>(())
    };
    match go.await {
        Ok(()) => Trouble::Etcd(EtcdError::Unreachable("it has forgotten what was watched".to_owned())),
        Err(trouble) => trouble,
    }
}

async fn take_in(
    client: &Client,
    keys: &Keys,
    source: &RevisionSource,
    signed: &[u8],
    news: &mpsc::Sender<()>,
) -> Result<(), Trouble> {
    let is_news = loop {
        match take(client, keys, source, signed).await? {
            Ok(is_new) => break source.refuse(None) || is_new,
            Err(bad) => {
                if source.refuse(Some(bad.to_string())) {
                    tell(news).await?;
                }
                if !bad.may_pass() {
                    break false;
                }
                tokio::time::sleep(DISK_AGAIN).await;
            }
        }
    };
    if is_news { tell(news).await } else { Ok(()) }
}

async fn tell(news: &mpsc::Sender<()>) -> Result<(), Trouble> {
    news.send(()).await.map_err(|_| Trouble::Gone)
}

/// Takes a revision in: whether it is another one than before, or why it is not taken.
async fn take(
    client: &Client,
    keys: &Keys,
    source: &RevisionSource,
    signed: &[u8],
) -> Result<Result<bool, BadTree>, EtcdError> {
    let new = match open(signed, source.trust(), source.site()) {
        Ok(new) => new,
        Err(bad) => return Ok(Err(bad)),
    };
    if let Ok(old) = source.tree().opened(source.trust(), source.site()) {
        if let Some(bad) = is_behind(&old, &new) {
            return Ok(Err(bad));
        }
        if old.digest == new.digest && source.in_force().is_ok() {
            return Ok(Ok(false));
        }
    }
    let known = source.tree().known(&new.manifest);
    let blobs = blobs(client, keys, &new.manifest, known).await?;
    tracing::info!(generation = new.manifest.generation, signed_by = new.signed_by, "received a revision");
    Ok(source.tree().unpack(signed, &new.manifest, &blobs).map(|()| true))
}

/// Nobody takes a host back by publishing again what was there before.
fn is_behind(old: &Opened, new: &Opened) -> Option<BadTree> {
    let (had, has) = (old.manifest.generation, new.manifest.generation);
    if has > had || (has == had && old.digest == new.digest) {
        return None;
    }
    Some(BadTree::Behind { had, has })
}

//! What happens below a prefix, from a revision on, without a gap.
//!
//! A stream that breaks, or is silent for long, is opened anew at the next revision. Where etcd has forgotten that one
//! (compaction), whoever watches reads all anew.

use std::time::Duration;

use bytes::BytesMut;
use hyper::body::Incoming;

use super::client::{Client, end_of, read_message};
use super::error::EtcdError;
use super::wire::{Bytes64, Long, WatchCreate, WatchRequest, WatchResponse, WireEvent};

/// A silent stream may be a dead one: it is opened anew, which costs one question.
const SILENCE: Duration = Duration::from_secs(20);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A key was written.
    Written {
        /// Key.
        key: String,
        /// What it holds now.
        value: Vec<u8>,
        /// At which revision.
        revision: i64,
    },
    /// A key is gone: it was removed, or its lease has ended.
    Gone {
        /// Key.
        key: String,
        /// At which revision.
        revision: i64,
    },
}

/// A watch.
pub struct Watch {
    client: Client,
    prefix: String,
    next: i64,
    open: Option<(String, Incoming, BytesMut)>,
}

impl Watch {
    pub(super) fn new(client: Client, prefix: String, from: i64) -> Self {
        Self { client, prefix, next: from, open: None }
    }

    /// What happened next; none where etcd has forgotten it, and all has to be read anew.
    pub async fn next(&mut self) -> Result<Option<Vec<Happening>>, EtcdError> {
        let mut broken = false;
        loop {
            let (member, mut body, mut rest) = match self.open.take() {
                Some(open) => open,
                None => self.open().await?,
            };
            let read = read_message::<WatchResponse>(&member, &mut body, &mut rest);
            let answer = match tokio::time::timeout(SILENCE, read).await {
                Ok(Ok(answer)) => answer,
                // Once it is opened anew, at another member: one that ends is no reason to read everything again.
                Ok(Err(error)) if !broken && error.may_pass() => {
                    broken = true;
                    continue;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => continue,
            };
            if answer.compact_revision.0 > 0 {
                return Ok(None);
            }
            if answer.canceled {
                let why = format!("{member}: the watch was ended: {}", answer.cancel_reason);
                return Err(EtcdError::Unreachable(why));
            }
            self.open = Some((member, body, rest));
            broken = false;
            if answer.events.is_empty() {
                continue;
            }
            // By the events: who is behind gets them in portions, each with the newest revision in its head.
            let newest = answer.events.iter().map(|event| event.kv.mod_revision.0).max();
            self.next = self.next.max(newest.map_or(0, |newest| newest + 1));
            return Ok(Some(answer.events.into_iter().map(happening).collect()));
        }
    }

    async fn open(&self) -> Result<(String, Incoming, BytesMut), EtcdError> {
        let request = WatchRequest {
            create_request: WatchCreate {
                key: Bytes64(self.prefix.clone().into_bytes()),
                range_end: end_of(&self.prefix),
                start_revision: Long(self.next),
            },
        };
        let (member, body) = self.client.transport.ask_stream("/v3/watch", &request).await?;
        Ok((member, body, BytesMut::new()))
    }
}

fn happening(event: WireEvent) -> Happening {
    let key = String::from_utf8_lossy(&event.kv.key.0).into_owned();
    let revision = event.kv.mod_revision.0;
    if event.kind == "DELETE" {
        Happening::Gone { key, revision }
    } else {
        Happening::Written { key, value: event.kv.value.0, revision }
    }
}

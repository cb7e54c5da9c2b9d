//! Ranges, transactions and leases of etcd, typed. All reads are linearizable: what was written before is seen.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::error::EtcdError;
use super::options::{EtcdOptions, OptionsError};
use super::transport::Transport;
use super::watch::Watch;
use super::wire::{
    Bytes64, CompareRequest, DeleteRequest, GrantRequest, LeaseRequest, LeaseResponse, Long, PutRequest, RangeRequest,
    RangeResponse, RequestOp, Streamed, TxnRequest, TxnResponse, WireKeyValue,
};

/// One message of a short stream must come within this.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// One message: the largest value of etcd is 1.5 MB, and a watch may send many at once.
const MESSAGE_BYTES: usize = 256 * 1024 * 1024;

/// A way to etcd, shared by all who hold it.
#[derive(Clone)]
pub struct Client {
    pub(super) transport: Arc<Transport>,
}

/// What keeps keys alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(pub(super) i64);

/// A key with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Key.
    pub key: String,
    /// Value.
    pub value: Vec<u8>,
    /// At which revision of the whole store it was written last.
    pub revision: i64,
}

/// Which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// One.
    Key(String),
    /// All that begin so.
    Prefix(String),
    /// The same, without what they hold.
    NamesBelow(String),
}

/// What must be so for a transaction to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Key.
    pub key: String,
    /// The revision at which it was written last; 0: there is none.
    pub revision: i64,
}

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads.
    Read(Range),
    /// Writes.
    Put {
        /// Key.
        key: String,
        /// What it will hold.
        value: Vec<u8>,
        /// It is gone when this ends.
        lease: Option<Lease>,
    },
    /// Removes.
    Delete(Range),
}

/// Done as one, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must be so.
    pub checks: Vec<Check>,
    /// What is done then.
    pub then: Vec<Operation>,
    /// What is done otherwise.
    pub otherwise: Vec<Operation>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether all was as it had to be.
    pub succeeded: bool,
    /// The store's revision then.
    pub revision: i64,
    /// What each read found, in order.
    pub found: Vec<Vec<KeyValue>>,
}

impl Client {
    /// A way to the members that are named. Nobody is asked yet.
    pub fn new(options: EtcdOptions) -> Result<Self, OptionsError> {
        Ok(Self { transport: Arc::new(Transport::new(options)?) })
    }

    /// What keys hold, sorted by key, and the store's revision.
    pub async fn range(&self, range: Range) -> Result<(Vec<KeyValue>, i64), EtcdError> {
        let answer: RangeResponse = self.transport.ask("/v3/kv/range", &range_request(range)).await?;
        Ok((answer.kvs.into_iter().map(KeyValue::from).collect(), answer.header.revision.0))
    }

    /// What one key holds.
    pub async fn get(&self, key: String) -> Result<Option<KeyValue>, EtcdError> {
        Ok(self.range(Range::Key(key)).await?.0.pop())
    }

    /// Writes, whatever was there.
    pub async fn put(&self, key: String, value: Vec<u8>, lease: Option<Lease>) -> Result<(), EtcdError> {
        let then = vec![Operation::Put { key, value, lease }];
        self.transact(Transaction { then, ..Transaction::default() }).await.map(drop)
    }

    /// Removes, if it is there.
    pub async fn delete(&self, range: Range) -> Result<(), EtcdError> {
        let then = vec![Operation::Delete(range)];
        self.transact(Transaction { then, ..Transaction::default() }).await.map(drop)
    }

    /// Does all of it, or nothing. Where the answer is lost it may be done all the same, and is then tried once more at
    /// another member: the checks have to stand that.
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, EtcdError> {
        let answer: TxnResponse = self.transport.ask("/v3/kv/txn", &txn_request(transaction)).await?;
        let ranges = answer.responses.into_iter().filter_map(|response| response.response_range);
        let found = ranges.map(|range| range.kvs.into_iter().map(KeyValue::from).collect()).collect();
        Ok(Outcome { succeeded: answer.succeeded, revision: answer.header.revision.0, found })
    }

    /// A lease that ends so long after it was last kept alive. etcd rounds up, and is late after a change of leader.
    pub async fn grant(&self, lasts: Duration) -> Result<Lease, EtcdError> {
        let ttl = Long(i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX).max(1));
        let answer: LeaseResponse = self.transport.ask("/v3/lease/grant", &GrantRequest { ttl }).await?;
        Ok(Lease(answer.id.0))
    }

    /// Keeps it alive; false where it has ended.
    pub async fn keep_alive(&self, lease: Lease) -> Result<bool, EtcdError> {
        let question = LeaseRequest { id: Long(lease.0) };
        let (member, mut body) = self.transport.ask_stream("/v3/lease/keepalive", &question).await?;
        let mut rest = BytesMut::new();
        let read = read_message::<LeaseResponse>(&member, &mut body, &mut rest);
        match tokio::time::timeout(MESSAGE_TIMEOUT, read).await {
            Ok(answer) => Ok(answer?.ttl.0 > 0),
            Err(_) => Err(EtcdError::Unreachable(format!("{member}: no answer"))),
        }
    }

    /// Ends it, and with it its keys.
    pub async fn revoke(&self, lease: Lease) -> Result<(), EtcdError> {
        let question = LeaseRequest { id: Long(lease.0) };
        self.transport.ask::<serde_json::Value>("/v3/lease/revoke", &question).await.map(drop)
    }

    /// All that happens below a prefix from a revision on.
    pub fn watch(&self, prefix: impl Into<String>, from: i64) -> Watch {
        Watch::new(self.clone(), prefix.into(), from)
    }
}

/// The next message of a stream.
pub(super) async fn read_message<T: DeserializeOwned>(
    member: &str,
    body: &mut hyper::body::Incoming,
    rest: &mut BytesMut,
) -> Result<T, EtcdError> {
    let lost = |why: String| EtcdError::Unreachable(format!("{member}: {why}"));
    // What was searched is not searched again: messages come in many pieces.
    let mut searched = 0;
    loop {
        if let Some(end) = rest.iter().skip(searched).position(|byte| *byte == b'\n') {
            let line = rest.split_to(searched + end + 1);
            let message: Streamed<T> = serde_json::from_slice(&line)
                .map_err(|error| EtcdError::Strange { endpoint: member.to_owned(), why: error.to_string() })?;
            return match (message.result, message.error) {
                (Some(result), _) => Ok(result),
                (None, Some(error)) => Err(lost(format!("{} ({})", error.message, error.grpc_code))),
                (None, None) => Err(lost("an empty message".to_owned())),
            };
        }
        searched = rest.len();
        if searched > MESSAGE_BYTES {
            return Err(lost("an endless message".to_owned()));
        }
        match body.frame().await {
            Some(Ok(frame)) => rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(error)) => return Err(lost(error.to_string())),
            None => return Err(lost("it ended the stream".to_owned())),
        }
    }
}

impl From<WireKeyValue> for KeyValue {
    fn from(wire: WireKeyValue) -> Self {
        // All keys of ours are text; one that is not is somebody else's mistake, and is found under no name of ours.
        let key = String::from_utf8_lossy(&wire.key.0).into_owned();
        Self { key, value: wire.value.0, revision: wire.mod_revision.0 }
    }
}

/// The first key after all that begin so.
pub(super) fn end_of(prefix: &str) -> Bytes64 {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bytes64(end);
        }
    }
    Bytes64(vec![0])
}

fn bounds(range: Range) -> (Bytes64, Option<Bytes64>) {
    match range {
        Range::Key(key) => (Bytes64(key.into_bytes()), None),
        Range::Prefix(prefix) | Range::NamesBelow(prefix) => {
            let end = end_of(&prefix);
            (Bytes64(prefix.into_bytes()), Some(end))
        }
    }
}

fn range_request(range: Range) -> RangeRequest {
    let keys_only = matches!(range, Range::NamesBelow(_));
    let (key, range_end) = bounds(range);
    RangeRequest { key, range_end, keys_only }
}

fn operation(operation: Operation) -> RequestOp {
    match operation {
        Operation::Read(range) => RequestOp::Range(range_request(range)),
        Operation::Put { key, value, lease } => RequestOp::Put(PutRequest {
            key: Bytes64(key.into_bytes()),
            value: Bytes64(value),
            lease: Long(lease.map_or(0, |lease| lease.0)),
        }),
        Operation::Delete(range) => {
            let (key, range_end) = bounds(range);
            RequestOp::DeleteRange(DeleteRequest { key, range_end })
        }
    }
}

fn txn_request(transaction: Transaction) -> TxnRequest {
    let check = |check: Check| CompareRequest {
        key: Bytes64(check.key.into_bytes()),
        target: "MOD",
        result: "EQUAL",
        mod_revision: Long(check.revision),
    };
    TxnRequest {
        compare: transaction.checks.into_iter().map(check).collect(),
        success: transaction.then.into_iter().map(operation).collect(),
        failure: transaction.otherwise.into_iter().map(operation).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key() {
        assert_eq!(end_of("/a/"), Bytes64(b"/a0".to_vec()));
        assert_eq!(end_of(""), Bytes64(vec![0]), "all keys");
    }
}

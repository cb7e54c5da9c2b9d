//! The gateway's words: bytes are base64, numbers of 64 bits are texts, and what is zero is left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes64(pub(super) Vec<u8>);

impl Serialize for Bytes64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

/// A number of 64 bits, which JavaScript could not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Long(pub(super) i64);

impl Long {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

impl<'de> Deserialize<'de> for Long {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(i64),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Text(text) => text.parse().map(Self).map_err(|_| serde::de::Error::custom("not a number")),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) revision: Long,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WireKeyValue {
    #[serde(default)]
    pub(super) key: Bytes64,
    #[serde(default)]
    pub(super) value: Bytes64,
    #[serde(default)]
    pub(super) mod_revision: Long,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct RangeRequest {
    pub(super) key: Bytes64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_end: Option<Bytes64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) keys_only: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RangeResponse {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<WireKeyValue>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PutRequest {
    pub(super) key: Bytes64,
    pub(super) value: Bytes64,
    #[serde(skip_serializing_if = "Long::is_zero")]
    pub(super) lease: Long,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct DeleteRequest {
    pub(super) key: Bytes64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range_end: Option<Bytes64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct CompareRequest {
    pub(super) key: Bytes64,
    pub(super) target: &'static str,
    pub(super) result: &'static str,
    pub(super) mod_revision: Long,
}

#[derive(Clone, Debug, Serialize)]
pub(super) enum RequestOp {
    #[serde(rename = "request_range")]
    Range(RangeRequest),
    #[serde(rename = "request_put")]
    Put(PutRequest),
    #[serde(rename = "request_delete_range")]
    DeleteRange(DeleteRequest),
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct TxnRequest {
    pub(super) compare: Vec<CompareRequest>,
    pub(super) success: Vec<RequestOp>,
    pub(super) failure: Vec<RequestOp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ResponseOp {
    #[serde(default)]
    pub(super) response_range: Option<RangeResponse>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct TxnResponse {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<ResponseOp>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct GrantRequest {
    #[serde(rename = "TTL")]
    pub(super) ttl: Long,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LeaseRequest {
    #[serde(rename = "ID")]
    pub(super) id: Long,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LeaseResponse {
    #[serde(default, rename = "ID")]
    pub(super) id: Long,
    #[serde(default, rename = "TTL")]
    pub(super) ttl: Long,
}

/// The gateway wraps each message of a stream.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Streamed<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<StreamError>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StreamError {
    #[serde(default)]
    pub(super) grpc_code: i64,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ErrorResponse {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) error: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AuthenticateRequest<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AuthenticateResponse {
    #[serde(default)]
    pub(super) token: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WatchRequest {
    pub(super) create_request: WatchCreate,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WatchCreate {
    pub(super) key: Bytes64,
    pub(super) range_end: Bytes64,
    pub(super) start_revision: Long,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WatchResponse {
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) compact_revision: Long,
    #[serde(default)]
    pub(super) cancel_reason: String,
    #[serde(default)]
    pub(super) events: Vec<WireEvent>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WireEvent {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) kv: WireKeyValue,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_may_be_missing_and_numbers_are_texts() {
        let answer: RangeResponse = serde_json::from_str(
            r#"{"header":{"cluster_id":"12585971608760269493","revision":"2"},"kvs":[{"key":"Zm9v","mod_revision":"9223372036854775807"}],"count":"1"}"#,
        )
        .unwrap();
        assert_eq!(answer.header.revision, Long(2));
        let [one] = answer.kvs.as_slice() else { unreachable!() };
        assert_eq!(
            (one.key.0.as_slice(), one.value.0.as_slice(), one.mod_revision),
            (&b"foo"[..], &b""[..], Long(i64::MAX))
        );
        assert!(serde_json::from_str::<RangeResponse>(r#"{"kvs":[{"key":"*"}]}"#).is_err());
    }

    #[test]
    fn a_transaction_is_written_as_etcd_reads_it() {
        let key = || Bytes64(b"k".to_vec());
        let request = TxnRequest {
            compare: vec![CompareRequest { key: key(), target: "MOD", result: "EQUAL", mod_revision: Long(0) }],
            success: vec![
                RequestOp::Put(PutRequest { key: key(), value: key(), lease: Long(7) }),
                RequestOp::DeleteRange(DeleteRequest { key: key(), range_end: None }),
            ],
            failure: vec![RequestOp::Range(RangeRequest { key: key(), ..RangeRequest::default() })],
        };
        insta::assert_snapshot!(serde_json::to_string(&request).unwrap(), @r#"{"compare":[{"key":"aw==","target":"MOD","result":"EQUAL","mod_revision":"0"}],"success":[{"request_put":{"key":"aw==","value":"aw==","lease":"7"}},{"request_delete_range":{"key":"aw=="}}],"failure":[{"request_range":{"key":"aw=="}}]}"#);
    }
}

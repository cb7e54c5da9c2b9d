//! Which agent looks after a host: the first one that says so, as long as its lease lasts. Another one of the same name
//! waits; the same one, started again, goes on at once.

use serde::{Deserialize, Serialize};

use super::client::{Check, Client, KeyValue, Lease, Operation, Range, Transaction};
use super::error::EtcdError;

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Made once for each state directory.
    pub id: String,
    /// Where it runs, for people.
    pub machine: String,
}

/// Claims a key for an agent, or says who has it.
pub(super) async fn claim(
    client: &Client,
    key: &str,
    own: &Identity,
    lease: Lease,
) -> Result<Option<Identity>, EtcdError> {
    let strange = |error: serde_json::Error| EtcdError::Strange { endpoint: String::new(), why: error.to_string() };
    let value = serde_json::to_vec(own).map_err(strange)?;
    let mut found = client.get(key.to_owned()).await?;
    loop {
        let holder = found.as_ref().and_then(read);
        if let Some(other) = holder.filter(|holder| holder.id != own.id) {
            return Ok(Some(other));
        }
        let transaction = Transaction {
            checks: vec![Check { key: key.to_owned(), revision: found.map_or(0, |found| found.revision) }],
            then: vec![Operation::Put { key: key.to_owned(), value: value.clone(), lease: Some(lease) }],
            otherwise: vec![Operation::Read(Range::Key(key.to_owned()))],
        };
        let outcome = client.transact(transaction).await?;
        if outcome.succeeded {
            return Ok(None);
        }
        found = outcome.found.into_iter().flatten().next();
    }
}

/// What cannot be read is nobody's.
fn read(found: &KeyValue) -> Option<Identity> {
    serde_json::from_slice(&found.value).ok()
}

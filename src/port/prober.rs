//! Asking a running container over the network.

use async_trait::async_trait;

use crate::model::time::Span;

/// An answer: yes or no, with a word for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Yes or no.
    pub ready: bool,
    /// `200 OK`, `connection refused`.
    pub message: String,
}

/// Asks over the network; probes by exec go through the engine.
#[async_trait]
pub trait Prober: Send + Sync {
    /// A GET request.
    async fn http(&self, host: &str, port: u16, path: &str, status: Option<u16>, timeout: Span) -> Reply;
    /// A connection.
    async fn tcp(&self, host: &str, port: u16, timeout: Span) -> Reply;
}

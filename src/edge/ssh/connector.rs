//! The way to a host's engine as hyper takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use tower_service::Service;

use super::channel::Stream;
use super::error::SshError;
use super::link::SshLink;

/// Opens streams for HTTP.
#[derive(Clone)]
pub(crate) struct SshConnector {
    link: SshLink,
    alone: bool,
}

impl SshConnector {
    /// For questions and orders, on the connection that they share.
    pub(crate) fn shared(link: SshLink) -> Self {
        Self { link, alone: false }
    }

    /// For what carries much or lasts long, each on a connection for itself.
    pub(crate) fn alone(link: SshLink) -> Self {
        Self { link, alone: true }
    }
}

impl Service<Uri> for SshConnector {
    type Response = Stream;
    type Error = SshError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, SshError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { link, alone } = self.clone();
        Box::pin(async move { if alone { link.open_alone().await } else { link.open().await } })
    }
}

//! Serving HTTP/1 with limits, over TCP and over unix sockets.
//!
//! In: connections. Out: what a router answers. A client that is slow, idle or one of too many is dropped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// A request's head, and the next one on a kept connection, must be there within this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for a request's head: no client of ours needs more.
const HEADER_BYTES: usize = 16 * 1024;

/// Connections at once. Each may hold a scrape of some 100 KiB; a flood must not eat the agent's memory.
const CONNECTIONS: usize = 64;

/// The room for connections of one listener.
#[derive(Clone, Debug)]
pub struct Doors(Arc<Semaphore>);

impl Default for Doors {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS)))
    }
}

impl Doors {
    /// Waits until there is room for one more.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Serves one connection until its client or the program ends.
pub async fn connection<C>(stream: C, router: Router, stop: CancellationToken, place: OwnedSemaphorePermit)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move { Service::call(&mut router, request.map(Body::new)).await as Result<Response, Infallible> }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a client's connection ended is the client's business.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_secs(1), connection).await;
        }
    }
    drop(place);
}

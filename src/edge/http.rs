//! What the agent serves over TCP: `/metrics`, `/healthz`, `/readyz`, `/api/v1/status`. All of that is read-only; what is
//! not is served only where somebody asked for it (`fleet_lock`).
//!
//! In: requests, and what the loop has published. Out: answers; never anything about why a request was wrong.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{process, serve};
use crate::control::published::Published;
use crate::port::clock::Clock;

/// An answer is made from memory: what takes longer than this is stuck.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Watched {
    published: Arc<Published>,
    clock: Arc<dyn Clock>,
}

/// A listener that is bound, so that a port that is taken is known before the loop starts.
#[derive(Debug)]
pub struct Bound(TcpListener);

/// Takes the port.
pub async fn bind(address: SocketAddr) -> io::Result<Bound> {
    TcpListener::bind(address).await.map(Bound)
}

impl Bound {
    /// Where it listens: the port that was chosen where port 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until it is told to stop.
    /// `more` is served besides.
    pub async fn serve(
        self,
        published: Arc<Published>,
        clock: Arc<dyn Clock>,
        more: Option<Router>,
        stop: CancellationToken,
    ) {
        let router = router(published, clock, more);
        let doors = serve::Doors::default();
        loop {
            let Some(place) = doors.enter().await else { return };
            let accepted = tokio::select! {
                accepted = self.0.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve::connection(stream, router.clone(), stop.clone(), place));
                }
                // Out of file descriptors, or the client is gone already: the next may fare better.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn router(published: Arc<Published>, clock: Arc<dyn Clock>, more: Option<Router>) -> Router {
    let own = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/status", get(status))
        .with_state(Watched { published, clock });
    let all = match more {
        Some(more) => own.merge(more),
        None => own,
    };
    all.fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") }).layer(middleware::from_fn(guard))
}

/// A time limit, and headers that keep browsers from keeping or guessing anything.
async fn guard(request: Request, next: Next) -> Response {
    let Ok(mut response) = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "timed out\n").into_response();
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn metrics(State(watched): State<Watched>) -> Response {
    let metrics = watched.published.metrics();
    metrics.observe_process(&process::statistics());
    let text = metrics.text(watched.clock.now());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn healthz(State(watched): State<Watched>) -> Response {
    if watched.published.is_stuck() {
        let seconds = watched.published.quiet_for().as_secs();
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the loop has not moved for {seconds} s\n")).into_response();
    }
    "ok\n".into_response()
}

async fn readyz(State(watched): State<Watched>) -> Response {
    if watched.published.is_observed() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the host has not been observed yet\n").into_response()
}

async fn status(State(watched): State<Watched>) -> Response {
    axum::Json(watched.published.status()).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::control::published::STUCK_AFTER;
    use crate::model::names::SiteName;
    use crate::model::time::Timestamp;
    use crate::report::metrics::Metrics;
    use crate::report::samples;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            samples::NOW
        }

        fn chance(&self) -> f64 {
            0.5
        }
    }

    async fn served() -> (SocketAddr, Arc<Published>, CancellationToken) {
        let metrics = Arc::new(Metrics::new("0.1.0", "abc").unwrap());
        let published = Published::new(SiteName::new("demo").unwrap(), metrics);
        let stop = CancellationToken::new();
        let bound = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = bound.address().unwrap();
        tokio::spawn(bound.serve(Arc::clone(&published), Arc::new(Fixed), None, stop.clone()));
        (address, published, stop)
    }

    /// Sends text and reads until the server closes.
    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn says_whether_it_is_ready() {
        let (address, published, _stop) = served().await;
        assert_eq!(get(address, "/readyz").await, (503, "the host has not been observed yet\n".to_owned()));
        published.publish(samples::converged());
        assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn says_whether_the_loop_is_alive() {
        let (address, published, _stop) = served().await;
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
        tokio::time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        assert_eq!(get(address, "/healthz").await.0, 503);
        published.progressed();
        assert_eq!(get(address, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn serves_the_status_and_the_metrics() {
        let (address, published, _stop) = served().await;
        published.publish(samples::troubled());
        let (code, text) = get(address, "/api/v1/status").await;
        assert_eq!(code, 200);
        assert_eq!(serde_json::from_str::<crate::report::status::SiteStatus>(&text).unwrap(), samples::troubled());
        let (code, text) = get(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(text.contains("mastic_service_desired{service=\"web\"} 1\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }

    #[tokio::test]
    async fn tells_nothing_about_errors() {
        let (address, ..) = served().await;
        assert_eq!(get(address, "/etc/passwd").await, (404, "not found\n".to_owned()));
        let answer = exchange(address, "POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }

    #[tokio::test]
    async fn a_huge_head_is_refused() {
        let (address, ..) = served().await;
        let answer = exchange(address, &format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(40_000))).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_dropped() {
        let (address, ..) = served().await;
        // Read to the end: it ends although the request never does.
        let answer = exchange(address, "GET / HTTP/1.1\r\nx: ").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test]
    async fn stops_when_told() {
        let (address, _published, stop) = served().await;
        let idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        let mut idle = idle;
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }
}

//! Requests over one pool of connections.
//!
//! In: method, path, body. Out: JSON, or a reply whose body is still to be read. The same pool serves bollard.
//!
//! bollard opens a connection for each request on a unix socket; keeping them makes small questions several times
//! as fast. Questions go out at most [`AT_ONCE`] at a time: a burst of hundreds then reuses a few connections, where
//! otherwise each would open one that the pool throws away.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::{BollardRequest, Docker};
use bytes::Bytes;
use futures_util::Stream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::Uri;
use hyper::body::{Frame, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tower_service::Service;

use super::connect::{ConnectError, ConnectOptions, Endpoint, tls_config};
use super::{errors, wire};
use crate::edge::ssh::{SshConnector, SshLink};
use crate::model::time::Span;
use crate::port::engine::{Answer, EngineError};

/// Questions under way at once; more do not get answered sooner by an engine, they only cost connections.
const AT_ONCE: usize = 32;
/// Connections kept for later; one for each question and a few for what changes things meanwhile.
const KEPT: usize = 40;
/// An engine closes an idle connection after minutes; we do so before, which avoids the race.
const KEPT_FOR: Duration = Duration::from_secs(45);
/// bollard's own time-out, out of the way: limits are set per call here.
const NO_LIMIT: u64 = 7 * 24 * 3600;
/// An error's text is read up to here.
const ERROR_TEXT: usize = 16 * 1024;

type Body = Either<Full<Bytes>, StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send>>>>;

enum Pool {
    Unix(Client<UnixConnector, Body>),
    Tcp(Client<HttpConnector, Body>),
    Tls(Client<HttpsConnector<HttpConnector>, Body>),
    /// Over SSH what carries much has connections of its own.
    Ssh {
        calls: Client<SshConnector, Body>,
        bulk: Client<SshConnector, Body>,
    },
}

impl Pool {
    async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Unix(client) => client.request(request).await,
            Self::Tcp(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
            Self::Ssh { bulk, .. } if is_bulk(request.method(), request.uri().path()) => bulk.request(request).await,
            Self::Ssh { calls, .. } => calls.request(request).await,
        }
    }
}

/// Whether a request or its reply may be long, or wait for whoever reads it.
fn is_bulk(method: &Method, path: &str) -> bool {
    // bollard puts no version in front, other clients may.
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let ends = |last: &str| parts.last() == Some(&last);
    match *method {
        Method::GET => ["events", "logs", "archive", "export", "get", "attach"].into_iter().any(ends),
        Method::PUT => ends("archive"),
        Method::POST => {
            let images = parts.contains(&"images") && (ends("create") || ends("push") || ends("load"));
            images || ends("build") || ends("attach") || (parts.contains(&"exec") && ends("start"))
        }
        _ => false,
    }
}

/// A pool of connections to one engine.
#[derive(Clone)]
pub(super) struct Transport {
    pool: Arc<Pool>,
    ssh: Option<SshLink>,
    base: Arc<str>,
    address: Arc<str>,
    questions: Arc<Semaphore>,
    /// Within which an answer must have come.
    pub(super) answer: Span,
}

impl Transport {
    /// Connects nothing yet: the first request does.
    pub(super) fn new(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT_FOR).pool_max_idle_per_host(KEPT);
        let mut ssh = None;
        let pool = match &options.endpoint {
            Endpoint::Unix(path) => Pool::Unix(builder.build(UnixConnector { socket: Ok(path.as_path().into()) })),
            Endpoint::Nowhere(why) => {
                Pool::Unix(builder.build(UnixConnector { socket: Err(NoWay(why.as_str().into())) }))
            }
            Endpoint::Tcp { .. } => Pool::Tcp(builder.build(tcp_connector())),
            Endpoint::Tls { certificates, .. } => Pool::Tls(
                builder.build(
                    HttpsConnectorBuilder::new()
                        .with_tls_config(tls_config(certificates)?)
                        .https_only()
                        .enable_http1()
                        .wrap_connector(tcp_connector()),
                ),
            ),
            Endpoint::Ssh(target) => {
                let link = SshLink::new(target.clone());
                let calls = builder.build(SshConnector::shared(link.clone()));
                // A stream ends with its reply, so that its connection is free for the next.
                let bulk = builder.pool_max_idle_per_host(0).build(SshConnector::alone(link.clone()));
                ssh = Some(link);
                Pool::Ssh { calls, bulk }
            }
        };
        Ok(Self {
            pool: Arc::new(pool),
            ssh,
            base: options.endpoint.base().into(),
            address: options.endpoint.address().into(),
            questions: Arc::new(Semaphore::new(AT_ONCE)),
            answer: options.answer,
        })
    }

    /// bollard on the same pool.
    pub(super) fn bollard(&self) -> Result<Docker, ConnectError> {
        let pool = Arc::clone(&self.pool);
        Docker::connect_with_custom_transport(
            move |request: BollardRequest| {
                let pool = Arc::clone(&pool);
                async move { pool.send(request).await.map_err(bollard::errors::Error::from) }
            },
            Some(self.base.to_string()),
            NO_LIMIT,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| ConnectError::Tls(error.to_string()))
    }

    /// Asks a small question.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.within(self.answer, async {
            let _turn = self.questions.acquire().await;
            let response = self.open(Method::GET, path, None).await?;
            read_json(self.collect(response).await?.as_ref())
        })
        .await
    }

    /// All containers, running or not.
    pub(super) async fn list(&self) -> Answer<Vec<wire::ListedContainer>> {
        self.get("/containers/json?all=true").await
    }

    /// One container, by id or name.
    pub(super) async fn inspect(&self, id: &str) -> Answer<wire::Container> {
        self.get(&format!("/containers/{}/json", escape(id))).await
    }

    /// Sends JSON and gets JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        limit: Span,
    ) -> Answer<T> {
        self.within(limit, async {
            let response = self.open(Method::POST, path, Some(body)).await?;
            read_json(self.collect(response).await?.as_ref())
        })
        .await
    }

    /// Sends a request and hands back the reply once its head has come; a status that is no success is an error.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Answer<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let bytes = match body {
            Some(body) => {
                request = request.header(http::header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request =
            request.body(bollard::body_full(bytes)).map_err(|error| EngineError::Refused(error.to_string()))?;
        let response = self.pool.send(request).await.map_err(|error| errors::unreachable(&self.address, &error))?;
        let status = response.status();
        if status.is_success() || status == http::StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let text = http_body_util::Limited::new(response.into_body(), ERROR_TEXT)
            .collect()
            .await
            .map_or_else(|_| String::new(), |body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        Err(errors::from_status(status.as_u16(), &errors::message(&text)))
    }

    /// Sends a request after which the connection belongs to the two ends, and carries what they please.
    pub(super) async fn upgrade(&self, path: &str, body: &serde_json::Value) -> Answer<hyper::upgrade::Upgraded> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::CONNECTION, "Upgrade")
            .header(http::header::UPGRADE, "tcp")
            .body(bollard::body_full(Bytes::from(body.to_string())))
            .map_err(|error| EngineError::Refused(error.to_string()))?;
        let response = self.pool.send(request).await.map_err(|error| errors::unreachable(&self.address, &error))?;
        let status = response.status();
        if status == http::StatusCode::SWITCHING_PROTOCOLS {
            return hyper::upgrade::on(response).await.map_err(|error| errors::unreachable(&self.address, &error));
        }
        let text = self.collect_at_most(response, ERROR_TEXT as u64).await?;
        Err(errors::from_status(status.as_u16(), &errors::message(&String::from_utf8_lossy(&text))))
    }

    /// The rest of a reply.
    pub(super) async fn collect(&self, response: Response<Incoming>) -> Answer<Bytes> {
        match response.into_body().collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => Err(errors::unreachable(&self.address, &error)),
        }
    }

    /// The rest of a reply, if it is not larger than this.
    pub(super) async fn collect_at_most(&self, response: Response<Incoming>, limit: u64) -> Answer<Bytes> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match http_body_util::Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(EngineError::Refused(format!("it is larger than {limit} bytes")))
            }
            Err(error) => Err(errors::unreachable(&self.address, error.as_ref())),
        }
    }

    /// Maps what bollard says.
    pub(super) fn error(&self, error: bollard::errors::Error) -> EngineError {
        errors::from_bollard(&self.address, error)
    }

    /// Gives something a limit of time.
    pub(super) async fn within<T>(&self, limit: Span, work: impl Future<Output = Answer<T>> + Send) -> Answer<T> {
        tokio::time::timeout(limit.duration(), work).await.unwrap_or(Err(EngineError::Timeout(limit)))
    }

    /// The way over SSH, where there is one.
    pub(super) fn ssh(&self) -> Option<&SshLink> {
        self.ssh.as_ref()
    }

    /// Whether it is this machine's.
    pub(super) fn is_local(&self) -> bool {
        matches!(*self.pool, Pool::Unix(_))
    }

    /// Where the engine is, for people.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// Reads a reply; a reply in other words than the API's is no engine's.
pub(super) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| EngineError::Failed(format!("the engine's answer cannot be read: {error}")))
}

/// Escapes a value for the query of a URL.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/' | b':') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn tcp_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    connector.set_keepalive(Some(Duration::from_secs(15)));
    connector
}

/// Why there is no way to an engine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoWay(Arc<str>);

#[derive(Clone)]
struct UnixConnector {
    socket: Result<Arc<std::path::Path>, NoWay>,
}

impl Service<Uri> for UnixConnector {
    type Response = UnixConnection;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<UnixConnection, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = self.socket.clone();
        Box::pin(async move {
            let path = socket.map_err(std::io::Error::other)?;
            UnixStream::connect(path).await.map(|stream| UnixConnection(TokioIo::new(stream)))
        })
    }
}

struct UnixConnection(TokioIo<UnixStream>);

impl Connection for UnixConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for UnixConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<(), std::io::Error>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for UnixConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, std::io::Error>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

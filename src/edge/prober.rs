//! Asks running containers over the network, directly: no proxy, no redirect, no name but the one given.
//!
//! The network is that of the containers' host: a container that listens on its host's loopback is asked there and not on the
//! loopback of whoever asks.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::docker::DockerObserver;
use super::ssh::{SshError, SshLink};
use super::system_words;
use crate::model::time::Span;
use crate::port::prober::{Prober, Reply};

/// The network of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkProber;

/// The network of a host that is entered over SSH.
#[derive(Clone)]
pub struct SshProber {
    link: SshLink,
}

/// The one that asks where an engine's containers are.
pub fn prober_of(engine: &DockerObserver) -> Arc<dyn Prober> {
    match engine.ssh() {
        Some(link) => Arc::new(SshProber { link: link.clone() }),
        None => Arc::new(NetworkProber),
    }
}

/// Why there was no answer.
enum Silence {
    Io(io::Error),
    Ssh(SshError),
    Http(hyper::Error),
    Request(http::Error),
}

impl Silence {
    fn words(&self) -> String {
        match self {
            Self::Io(error) => io_words(error),
            Self::Ssh(error) => error.to_string(),
            Self::Http(error) => {
                let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
                cause.map_or_else(|| format!("no valid HTTP answer: {error}"), io_words)
            }
            Self::Request(error) => format!("cannot be asked: {error}"),
        }
    }
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => system_words(error),
    }
}

fn no(message: String) -> Reply {
    Reply { ready: false, message }
}

/// An answer in time, or the words for none.
async fn within<T>(timeout: Span, asked: impl Future<Output = Result<T, Silence>>) -> Result<T, Reply> {
    match tokio::time::timeout(timeout.duration(), asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(silence)) => Err(no(silence.words())),
        Err(_) => Err(no(format!("no answer within {timeout}"))),
    }
}

/// An IPv6 address may stand in brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

async fn status_of(
    stream: impl Read + Write + Unpin,
    host: &str,
    port: u16,
    path: &str,
) -> Result<StatusCode, Silence> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(Silence::Http)?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("mastic/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(Silence::Request)?;
    // The connection is driven here, and dropped with the body unread once the status is known.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map(|answer| answer.status()).map_err(Silence::Http),
            // A failure of the connection reaches the request too, with the same words.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

fn judged(answer: Result<StatusCode, Reply>, status: Option<u16>) -> Reply {
    match answer {
        Ok(answer) => {
            let ready = match status {
                Some(expected) => answer.as_u16() == expected,
                None => (200..400).contains(&answer.as_u16()),
            };
            Reply { ready, message: answer.to_string() }
        }
        Err(reply) => reply,
    }
}

fn connected<T>(result: Result<T, Reply>) -> Reply {
    match result {
        Ok(_) => Reply { ready: true, message: "connected".to_owned() },
        Err(reply) => reply,
    }
}

#[async_trait]
impl Prober for NetworkProber {
    async fn http(&self, host: &str, port: u16, path: &str, status: Option<u16>, timeout: Span) -> Reply {
        let asking = async {
            let host = bare(host);
            let stream = TcpStream::connect((host, port)).await.map_err(Silence::Io)?;
            status_of(TokioIo::new(stream), host, port, path).await
        };
        judged(within(timeout, asking).await, status)
    }

    async fn tcp(&self, host: &str, port: u16, timeout: Span) -> Reply {
        let connecting = async { TcpStream::connect((host, port)).await.map_err(Silence::Io) };
        connected(within(timeout, connecting).await)
    }
}

#[async_trait]
impl Prober for SshProber {
    async fn http(&self, host: &str, port: u16, path: &str, status: Option<u16>, timeout: Span) -> Reply {
        let asking = async {
            let host = bare(host);
            let stream = self.link.open_port(host, port).await.map_err(Silence::Ssh)?;
            status_of(stream, host, port, path).await
        };
        judged(within(timeout, asking).await, status)
    }

    async fn tcp(&self, host: &str, port: u16, timeout: Span) -> Reply {
        let connecting = async { self.link.open_port(bare(host), port).await.map_err(Silence::Ssh) };
        connected(within(timeout, connecting).await)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Span = Span::seconds(20);

    /// A server that gives one answer and returns what it was asked.
    async fn server(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (port, asked)
    }

    #[tokio::test]
    async fn asks_and_takes_the_status_as_the_answer() {
        let (port, asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        let reply = NetworkProber.http("127.0.0.1", port, "/health?deep=1", None, SOON).await;
        assert_eq!(reply, Reply { ready: true, message: "204 No Content".to_owned() });
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn does_not_follow_a_redirect_and_does_not_read_a_body() {
        let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 1000000\r\n\r\n";
        let (port, _) = server(redirect).await;
        let reply = NetworkProber.http("127.0.0.1", port, "/", None, SOON).await;
        assert_eq!((reply.ready, reply.message.as_str()), (true, "302 Found"));
    }

    #[tokio::test]
    async fn another_status_is_a_no() {
        let (port, _) = server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        let reply = NetworkProber.http("localhost", port, "/", None, SOON).await;
        assert_eq!((reply.ready, reply.message.as_str()), (false, "503 Service Unavailable"));
        let (port, _) = server("HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(!NetworkProber.http("127.0.0.1", port, "/", Some(401), SOON).await.ready);
        let (port, _) = server("HTTP/1.1 401 Unauthorized\r\n\r\n").await;
        assert!(NetworkProber.http("127.0.0.1", port, "/", Some(401), SOON).await.ready);
    }

    #[tokio::test]
    async fn what_speaks_no_http_or_is_a_bad_path_is_a_no() {
        let (port, _) = server("220 mail.example.org ESMTP\r\n").await;
        let reply = NetworkProber.http("127.0.0.1", port, "/", None, SOON).await;
        assert!(!reply.ready && reply.message.starts_with("no valid HTTP answer"), "{reply:?}");
        let (port, _) = server("").await;
        let reply = NetworkProber.http("127.0.0.1", port, "/", None, SOON).await;
        assert!(!reply.ready, "{reply:?}");
        let (port, _) = server("").await;
        let reply = NetworkProber.http("127.0.0.1", port, "no path", None, SOON).await;
        assert!(!reply.ready && reply.message.starts_with("cannot be asked"), "{reply:?}");
    }

    #[tokio::test]
    async fn nobody_there_and_nobody_answering() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reply = NetworkProber.tcp("127.0.0.1", port, SOON).await;
        assert_eq!((reply.ready, reply.message.as_str()), (true, "connected"));
        let reply = NetworkProber.http("127.0.0.1", port, "/", None, Span(50)).await;
        assert_eq!((reply.ready, reply.message.as_str()), (false, "no answer within 50ms"));
        drop(listener);
        let reply = NetworkProber.tcp("127.0.0.1", port, SOON).await;
        assert_eq!((reply.ready, reply.message.as_str()), (false, "connection refused"));
        let reply = NetworkProber.http("127.0.0.1", port, "/", None, SOON).await;
        assert_eq!((reply.ready, reply.message.as_str()), (false, "connection refused"));
    }
}

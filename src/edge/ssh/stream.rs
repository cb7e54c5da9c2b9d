//! The bytes below an SSH connection: of a socket, or of a channel of another connection.
//!
//! In: hosts and ports. Out: streams that can be cut. russh's task reads its stream for as long as the handshake takes,
//! whether or not anybody still waits for it: one that is given up has to be cut, or it would stay for good.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::select_ok;
use russh::ChannelOpenFailure;
use russh::client::Handle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::error::{SshError, Stage};
use super::host_key::Guard;
use super::target::HopTarget;
use crate::edge::system_words;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A stream that ends when it is told to.
pub(super) struct Cuttable {
    stream: Box<dyn Duplex>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Cuttable {
    pub(super) fn new(stream: Box<dyn Duplex>, cut: CancellationToken) -> Self {
        Self { stream, cut: Box::pin(cut.cancelled_owned()) }
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(context).is_ready()
    }
}

fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was given up")
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(given_up()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(given_up()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection to a host that is reached from here, at whichever of its addresses answers first.
pub(super) async fn reach(hop: &HopTarget) -> Result<Box<dyn Duplex>, SshError> {
    let place = hop.place();
    let connecting = async {
        let unresolved = |why| SshError::NameNotResolved { name: hop.address.clone(), why };
        let found = tokio::net::lookup_host((hop.address.as_str(), hop.port)).await;
        let addresses = found.map_err(|error| unresolved(resolver_words(&error)))?;
        let attempts: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
        if attempts.is_empty() {
            return Err(unresolved("it has no address".to_owned()));
        }
        match select_ok(attempts).await {
            Ok((stream, _)) => Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(SshError::ConnectionRefused { place: place.clone() })
            }
            Err(error) => Err(SshError::NotConnected { place: place.clone(), why: system_words(&error) }),
        }
    };
    let silent = || SshError::Timeout { place: place.clone(), stage: Stage::Connect, limit: hop.patience };
    let stream = timeout(hop.patience, connecting).await.unwrap_or_else(|_| Err(silent()))?;
    let nodelay = stream.set_nodelay(true);
    // What was sent and is never taken would be waited for a quarter of an hour, keepalives and all.
    let keepalives = u32::try_from(hop.keepalives).unwrap_or(u32::MAX).saturating_add(1);
    let limit = hop.keepalive.checked_mul(keepalives).unwrap_or(Duration::MAX).as_millis();
    let limit = rustix::net::sockopt::set_tcp_user_timeout(&stream, u32::try_from(limit).unwrap_or(u32::MAX));
    if nodelay.is_err() || limit.is_err() {
        tracing::debug!(place, "the socket does not take its options");
    }
    Ok(Box::new(stream))
}

/// The resolver's own words, without ours around them.
fn resolver_words(error: &io::Error) -> String {
    let text = system_words(error);
    text.rsplit(": ").next().map_or_else(|| text.clone(), str::to_owned)
}

/// A connection from one host to the next.
pub(super) async fn go_on(handle: &Handle<Guard>, place: &str, hop: &HopTarget) -> Result<Box<dyn Duplex>, SshError> {
    let no = |why: &str| SshError::NoWayOn { hop: place.to_owned(), place: hop.place(), why: why.to_owned() };
    let opening = handle.channel_open_direct_tcpip(hop.address.clone(), u32::from(hop.port), "127.0.0.1", 0);
    match timeout(hop.patience, opening).await {
        Ok(Ok(channel)) => Ok(Box::new(channel.into_stream())),
        Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
            Err(no("its sshd forbids it (AllowTcpForwarding, PermitOpen)"))
        }
        Ok(Err(russh::Error::ChannelOpenFailure(_))) => {
            Err(no("the name is not known there, or nothing listens, or the way is closed"))
        }
        Ok(Err(error)) => Err(no(&error.to_string())),
        Err(_) => Err(no("no answer in time")),
    }
}

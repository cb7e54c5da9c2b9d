//! A channel of an SSH connection as a stream of bytes.
//!
//! In: a channel. Out: [`Stream`]. A task of its own takes in what comes, always and at once: a channel that nobody takes
//! from stops its whole connection, because russh hands packets out one after the other and waits for room.
//!
//! What nobody has read yet lies in a queue. Where others share the connection a queue that grows too long ends its own
//! channel ([`Overflow::Fail`]); a channel that has its connection for itself may let it wait ([`Overflow::Wait`]).

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf};
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, mpsc};

use super::error::SshError;

/// What a channel may have unread where it has to share; larger than any answer of an engine that is not a stream.
pub(super) const SHARED: usize = 64 << 20;
/// What a channel has unread before it lets its connection wait.
pub(super) const ALONE: usize = 1 << 20;
/// sshd is told that a channel ends; one that does not take it in so long is gone.
const CLOSING: Duration = Duration::from_secs(5);

/// What happens when nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The channel ends with an error.
    Fail,
    /// The connection waits, and everything on it.
    Wait,
}

/// How a connection ended, once it has.
#[derive(Clone, Default)]
pub(super) struct End {
    /// Host and port.
    pub(super) place: String,
    /// Told by the connection's own task.
    pub(super) why: Arc<OnceLock<String>>,
}

impl End {
    /// The end as an error; `otherwise` where nobody has told yet.
    pub(super) fn error(&self, otherwise: &str) -> SshError {
        let why = self.why.get().cloned().unwrap_or_else(|| otherwise.to_owned());
        SshError::Broken { place: self.place.clone(), why }
    }
}

/// What is in the queue of a channel.
#[derive(Default)]
struct Queue {
    bytes: AtomicUsize,
    taken: Notify,
}

/// A channel's two directions.
pub(crate) struct Stream {
    incoming: mpsc::UnboundedReceiver<io::Result<Bytes>>,
    queue: Arc<Queue>,
    current: Bytes,
    writer: TokioIo<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl Stream {
    /// Starts the task. `end` says why the connection ended, once it has; `after` is called when the channel is closed.
    pub(super) fn start(
        channel: Channel<Msg>,
        overflow: Overflow,
        end: End,
        after: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (mut reader, half) = channel.split();
        let writer: Pin<Box<dyn AsyncWrite + Send>> = Box::pin(half.make_writer());
        let (sender, incoming) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue::default());
        let pump = {
            let queue = Arc::clone(&queue);
            async move {
                pump(&mut reader, &sender, &queue, overflow, &end).await;
                // From here on russh throws away what still comes.
                drop(reader);
                drop(sender);
                let _ = tokio::time::timeout(CLOSING, half.close()).await;
                after.await;
            }
        };
        tokio::spawn(pump);
        Self { incoming, queue, current: Bytes::new(), writer: TokioIo::new(writer) }
    }
}

async fn pump(
    reader: &mut ChannelReadHalf,
    sender: &mpsc::UnboundedSender<io::Result<Bytes>>,
    queue: &Queue,
    overflow: Overflow,
    end: &End,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = sender.closed() => return,
            message = reader.wait() => message,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                let unread = queue.bytes.fetch_add(data.len(), Ordering::AcqRel) + data.len();
                let _ = sender.send(Ok(data));
                match overflow {
                    Overflow::Fail if unread > SHARED => {
                        let _ = sender.send(Err(io::Error::other("nobody reads this stream; it was ended")));
                        return;
                    }
                    Overflow::Fail => {}
                    Overflow::Wait => {
                        while queue.bytes.load(Ordering::Acquire) > ALONE {
                            tokio::select! {
                                () = sender.closed() => return,
                                () = queue.taken.notified() => {}
                            }
                        }
                    }
                }
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) => return,
            Some(_) => {}
            None => {
                // Without a word of the channel itself: the connection is gone.
                let _ = sender.send(Err(io::Error::new(io::ErrorKind::ConnectionReset, end.error("it ended"))));
                return;
            }
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.incoming.poll_recv(context)) {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current[..count]);
        self.current.advance(count);
        self.queue.bytes.fetch_sub(count, Ordering::AcqRel);
        self.queue.taken.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

//! Output of containers and commands: one stream that carries two.
//!
//! In: a reply whose body is frames (stream number, length, bytes), or plain bytes where there is a terminal.
//! Out: [`LogChunk`]s.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::errors;
use crate::port::engine::{Answer, LogChunk};

const HEAD: usize = 8;

/// Takes frames apart, wherever the network cut them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: BytesMut,
    terminal: bool,
}

impl Frames {
    /// With a terminal there are no frames.
    pub(super) fn new(terminal: bool) -> Self {
        Self { buffer: BytesMut::new(), terminal }
    }

    /// Takes bytes in and gives whole chunks out.
    pub(super) fn push(&mut self, bytes: Bytes) -> Vec<LogChunk> {
        if self.terminal {
            return if bytes.is_empty() { Vec::new() } else { vec![LogChunk { stderr: false, bytes }] };
        }
        self.buffer.extend_from_slice(&bytes);
        let mut chunks = Vec::new();
        while let Some(head) = self.buffer.first_chunk::<HEAD>() {
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let stderr = head[0] == 2;
            if self.buffer.len() < HEAD + length {
                break;
            }
            self.buffer.advance(HEAD);
            let bytes = self.buffer.split_to(length).freeze();
            if !bytes.is_empty() {
                chunks.push(LogChunk { stderr, bytes });
            }
        }
        chunks
    }
}

/// The chunks of a reply as they come. A broken connection is the last item.
pub(super) fn chunks(
    address: &str,
    response: Response<Incoming>,
    terminal: bool,
) -> BoxStream<'static, Answer<LogChunk>> {
    let address = address.to_owned();
    let mut frames = Frames::new(terminal);
    response
        .into_body()
        .into_data_stream()
        .flat_map(move |part| {
            let items: Vec<Answer<LogChunk>> = match part {
                Ok(bytes) => frames.push(bytes).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(errors::unreachable(&address, &error))],
            };
            stream::iter(items)
        })
        .boxed()
}

/// Gathers chunks into text of at most `limit` bytes; of more, the end is kept or the beginning.
pub(super) async fn text(
    mut chunks: BoxStream<'static, Answer<LogChunk>>,
    limit: usize,
    keep_end: bool,
) -> Answer<String> {
    let mut all: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let bytes = chunk?.bytes;
        if keep_end {
            all.extend_from_slice(&bytes);
            if all.len() > 2 * limit {
                all.drain(..all.len() - limit);
            }
        } else {
            let room = limit.saturating_sub(all.len());
            all.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
    let from = if keep_end { all.len().saturating_sub(limit) } else { 0 };
    Ok(String::from_utf8_lossy(&all[from..]).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_however_they_were_cut() {
        let whole = [
            &[1, 0, 0, 0, 0, 0, 0, 3][..],
            b"one",
            &[2, 0, 0, 0, 0, 0, 0, 2],
            b"no",
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 1],
            b"x",
        ]
        .concat();
        for size in 1..=whole.len() {
            let mut frames = Frames::new(false);
            let found: Vec<_> = whole.chunks(size).flat_map(|part| frames.push(Bytes::copy_from_slice(part))).collect();
            let found: Vec<_> = found.iter().map(|chunk| (chunk.stderr, &chunk.bytes[..])).collect();
            assert_eq!(found, [(false, &b"one"[..]), (true, b"no"), (false, b"x")], "cut at {size}");
        }
    }

    #[test]
    fn a_terminal_has_no_frames() {
        let mut frames = Frames::new(true);
        assert_eq!(frames.push(Bytes::from_static(b"\x01\0\0")).len(), 1);
        assert_eq!(frames.push(Bytes::new()), []);
    }

    #[tokio::test]
    async fn long_output_is_cut_where_it_matters_less() {
        let input = || {
            let parts = ["abc", "def", "ghi"].map(|part| Ok(LogChunk { stderr: false, bytes: Bytes::from(part) }));
            stream::iter(parts).boxed()
        };
        assert_eq!(text(input(), 4, true).await.unwrap(), "fghi");
        assert_eq!(text(input(), 4, false).await.unwrap(), "abcd");
    }
}

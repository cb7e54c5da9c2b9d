//! A command in a container with its input, and with a terminal where a person sits at one.
//!
//! In: a command. Out: a [`Session`], whose streams run over the connection that the request was made on.

use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::Method;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWrite};

use super::engine::DockerEngine;
use super::logs::Frames;
use super::{errors, exec};
use crate::model::desired::Hook;
use crate::port::engine::{Answer, LogChunk};

/// What is read at once.
const PART: usize = 32 * 1024;

/// A size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A command that runs.
pub struct Session {
    engine: DockerEngine,
    id: String,
    /// What it writes, until it has closed both outputs.
    pub output: BoxStream<'static, Answer<LogChunk>>,
    /// What it reads; its end is the end of this.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl DockerEngine {
    /// Starts a command. With a `terminal` it has one of that size, and both its outputs are one.
    pub async fn open_session(&self, id: &str, hook: &Hook, terminal: Option<Size>) -> Answer<Session> {
        let transport = &self.observer().transport;
        let exec = exec::create(transport, id, hook, true, terminal.is_some()).await?;
        // From API 1.42 on the terminal has its size from the beginning; before, it is told a moment later.
        let size = terminal.map(|size| [size.rows, size.columns]);
        let start = json!({"Detach": false, "Tty": terminal.is_some(), "ConsoleSize": size});
        let path = format!("/exec/{exec}/start");
        let upgraded = transport.within(transport.answer, transport.upgrade(&path, &start)).await?;
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let address = transport.address().to_owned();
        let frames = Frames::new(terminal.is_some());
        let output = stream::unfold(Some((reader, frames)), move |state| {
            let address = address.clone();
            async move {
                let (mut reader, mut frames) = state?;
                let mut part = bytes::BytesMut::with_capacity(PART);
                match reader.read_buf(&mut part).await {
                    Ok(0) => None,
                    Ok(_) => {
                        let chunks: Vec<_> = frames.push(part.freeze()).into_iter().map(Ok).collect();
                        Some((chunks, Some((reader, frames))))
                    }
                    Err(error) => Some((vec![Err(errors::unreachable(&address, &error))], None)),
                }
            }
        });
        let session = Session {
            engine: self.clone(),
            id: exec,
            output: output.flat_map(stream::iter).boxed(),
            input: Box::pin(writer),
        };
        if let Some(size) = terminal {
            session.resizer().resize(size).await;
        }
        Ok(session)
    }
}

impl Session {
    /// What changes the size while the streams are in use.
    pub fn resizer(&self) -> Resizer {
        Resizer { engine: self.engine.clone(), id: self.id.clone() }
    }

    /// The exit code, after the output has ended.
    pub async fn exit_code(&self) -> Answer<i64> {
        exec::exit_code(&self.engine.observer().transport, &self.id).await
    }
}

/// Changes the size of a session's terminal.
pub struct Resizer {
    engine: DockerEngine,
    id: String,
}

impl Resizer {
    /// Tells the terminal that it has another size. One that has ended needs none.
    pub async fn resize(&self, size: Size) {
        let transport = &self.engine.observer().transport;
        let path = format!("/exec/{}/resize?h={}&w={}", self.id, size.rows, size.columns);
        let answer = transport.within(transport.answer, async {
            let response = transport.open(Method::POST, &path, None).await?;
            transport.collect(response).await.map(drop)
        });
        if let Err(error) = answer.await {
            tracing::debug!(%error, "the terminal keeps its size");
        }
    }
}

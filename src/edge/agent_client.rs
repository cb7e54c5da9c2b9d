//! The command line's end of `STATE/agent.sock`.
//!
//! In: a state directory. Out: an agent to ask, or the knowledge that none runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::agent_socket::{SOCKET, connect};
use crate::control::command::{Command, Outcome, OutcomeCode, Progress, Reply};
use crate::report::status::SiteStatus;

/// An agent takes a connection at once, or its machine is in deep trouble.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A status of some thousand instances is a few MiB.
const STATUS_BYTES: usize = 64 * 1024 * 1024;

/// One line: a plan of some thousand steps is a few MiB.
const LINE_BYTES: usize = 64 * 1024 * 1024;

/// Why an agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is there and cannot be opened.
    #[error("cannot ask the agent at {path}: {error}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The connection broke.
    #[error("the agent stopped answering: {0}")]
    Broken(String),
    /// It refused to listen.
    #[error("the agent refused: {0}")]
    Refused(String),
    /// It said something that this version doesn't understand.
    #[error("the agent answered in words that this version of mastic does not know: {0}")]
    Strange(String),
}

/// An agent that runs.
#[derive(Clone, Debug)]
pub struct AgentClient {
    path: PathBuf,
}

impl AgentClient {
    /// Finds the agent of a state directory; none where there is no socket, or one that a dead agent left.
    pub async fn find(state_directory: &Path) -> Result<Option<Self>, ClientError> {
        let path = state_directory.join(SOCKET);
        match tokio::time::timeout(CONNECT_TIMEOUT, connect(&path)).await {
            Ok(Ok(_)) => Ok(Some(Self { path })),
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            // A state directory that is none has no agent.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Ok(Err(error)) => Err(ClientError::Unusable { path, error }),
            Err(_) => Err(ClientError::Unusable { path, error: io::ErrorKind::TimedOut.into() }),
        }
    }

    /// Asks for something and hears of the progress until it ends. Where the future is dropped, what was asked for goes on.
    pub async fn ask(&self, command: &Command, mut on_progress: impl FnMut(Progress)) -> Result<Outcome, ClientError> {
        let body = serde_json::to_vec(command).map_err(|error| ClientError::Strange(error.to_string()))?;
        let mut body = self.request(Method::POST, "/v1/command", body).await?;
        let mut rest = BytesMut::new();
        loop {
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                match serde_json::from_slice(&line).map_err(|error| ClientError::Strange(error.to_string()))? {
                    Reply::Progress(progress) => on_progress(progress),
                    Reply::Result(outcome) => return Ok(outcome),
                }
            }
            if rest.len() > LINE_BYTES {
                return Err(ClientError::Strange("an endless line".to_owned()));
            }
            match body.frame().await {
                Some(Ok(frame)) => rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(ClientError::Broken(error.to_string())),
                None => return Ok(Outcome::not(OutcomeCode::Interrupted, "the agent ended before it was done")),
            }
        }
    }

    /// The status, which is told even while the loop is busy.
    pub async fn status(&self) -> Result<SiteStatus, ClientError> {
        let body = self.request(Method::GET, "/v1/status", Vec::new()).await?;
        let bytes = Limited::new(body, STATUS_BYTES)
            .collect()
            .await
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Strange(error.to_string()))
    }

    async fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Incoming, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect(&self.path)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ClientError::Unusable { path: self.path.clone(), error }),
            Err(_) => {
                let error = io::ErrorKind::TimedOut.into();
                return Err(ClientError::Unusable { path: self.path.clone(), error });
            }
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer; what goes wrong shows there.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "agent")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Strange(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let status = response.status();
        let text =
            Limited::new(response.into_body(), LINE_BYTES).collect().await.map(http_body_util::Collected::to_bytes);
        let text = text.map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Err(ClientError::Refused(if text.is_empty() { status.to_string() } else { text }))
    }
}

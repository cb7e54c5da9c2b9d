//! The agent's end of `STATE/agent.sock`: HTTP/1 over a unix socket.
//!
//! In: `POST /v1/command` with a [`Command`] as JSON; `GET /v1/status`, `/v1/plan`, `/v1/events?most=N&follow=BOOL`.
//! Out: one [`Reply`] a line; the last is the result. Who may open the socket may do all of it: its mode is 0600, in a
//! directory of mode 0700, so that is root or the agent's own user.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::control::command::{Command, Outcome, OutcomeCode, Replies, Reply, Request};
use crate::control::published::Published;

/// The socket's name in the state directory.
pub const SOCKET: &str = "agent.sock";

/// A command names things and gives a reason: 64 KiB is plenty.
const BODY_BYTES: usize = 64 * 1024;

/// The loop takes commands between steps; where its queue stays full for so long, it is stuck.
const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest path that fits into a socket's address, without the closing zero.
const ADDRESS_BYTES: usize = 107;

/// Why the socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// An agent answers there.
    #[error("an agent is running already: it answers at {0}")]
    AgentRuns(PathBuf),
    /// It cannot be made or opened.
    #[error("{path}: {error}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl SocketError {
    /// Whether only the disk is in the way: it is full or read-only, which may pass.
    pub fn is_of_disk(&self) -> bool {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Unusable { error, .. } if kinds.contains(&error.kind()))
    }
}

/// A socket that is bound; it is removed when this is dropped.
#[derive(Debug)]
pub struct AgentSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// A path for a socket's address: the path itself, or a short way to it by an open directory, which is given back to be
/// kept open meanwhile.
fn short_path(path: &Path) -> io::Result<(PathBuf, Option<fs::File>)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok((path.to_owned(), None));
    };
    if path.as_os_str().len() <= ADDRESS_BYTES {
        return Ok((path.to_owned(), None));
    }
    let open = fs::File::open(directory)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(name), Some(open)))
}

/// Connects to a socket however long its path is.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _open) = short_path(path)?;
    UnixStream::connect(short).await
}

impl AgentSocket {
    /// Makes the socket in the state directory. One that a dead agent left is replaced; where an agent answers, this is an
    /// error.
    pub async fn bind(state_directory: &Path) -> Result<Self, SocketError> {
        let path = state_directory.join(SOCKET);
        let unusable = |error| SocketError::Unusable { path: path.clone(), error };
        match connect(&path).await {
            Ok(_) => return Err(SocketError::AgentRuns(path)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(unusable(error)),
            Err(_) => {}
        }
        // Bound under another name and renamed, so that at its own name it never has another mode than 0600.
        let fresh = state_directory.join(format!(".{SOCKET}.{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let make = || -> io::Result<(UnixListener, u64)> {
            use std::os::unix::fs::MetadataExt;
            let (short, _open) = short_path(&fresh)?;
            let listener = UnixListener::bind(short)?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
            fs::rename(&fresh, &path)?;
            Ok((listener, fs::symlink_metadata(&path)?.ino()))
        };
        let (listener, inode) = make().map_err(|error| {
            let _ = fs::remove_file(&fresh);
            unusable(error)
        })?;
        Ok(Self { listener, path, inode })
    }

    /// Serves until it is told to stop. Commands go to the loop through `loop_door`.
    pub async fn serve(self, published: Arc<Published>, loop_door: mpsc::Sender<Request>, stop: CancellationToken) {
        let router = router(published, loop_door);
        let doors = serve::Doors::default();
        loop {
            let Some(place) = doors.enter().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve::connection(stream, router.clone(), stop.clone(), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the agent's socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        use std::os::unix::fs::MetadataExt;
        // By now another agent may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Clone)]
struct Agent {
    published: Arc<Published>,
    loop_door: mpsc::Sender<Request>,
}

fn router(published: Arc<Published>, loop_door: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/v1/command", post(command))
        .route("/v1/status", get(status))
        .route("/v1/plan", get(plan))
        .route("/v1/events", get(events))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(Agent { published, loop_door })
}

async fn command(State(agent): State<Agent>, body: Bytes) -> Response {
    match serde_json::from_slice::<Command>(&body) {
        Ok(command) => agent.ask(command).await,
        Err(error) => (StatusCode::BAD_REQUEST, format!("no command: {error}\n")).into_response(),
    }
}

async fn status(State(agent): State<Agent>) -> Response {
    // Not asked of the loop: it is told even while the loop is busy.
    Json(agent.published.status()).into_response()
}

async fn plan(State(agent): State<Agent>) -> Response {
    agent.ask(Command::Plan).await
}

#[derive(Deserialize)]
struct Which {
    #[serde(default = "some_events")]
    most: usize,
    #[serde(default)]
    follow: bool,
}

fn some_events() -> usize {
    100
}

async fn events(State(agent): State<Agent>, Query(which): Query<Which>) -> Response {
    agent.ask(Command::Events { most: which.most, follow: which.follow }).await
}

impl Agent {
    async fn ask(&self, command: Command) -> Response {
        let name = command.name();
        let (replies, receiver) = Replies::channel();
        let request = Request { command, replies };
        if self.loop_door.send_timeout(request, TAKE_TIMEOUT).await.is_err() {
            return (StatusCode::SERVICE_UNAVAILABLE, "the agent does not take commands now\n").into_response();
        }
        let answer = Answer { receiver: Some(receiver), name, published: Arc::clone(&self.published) };
        let lines = stream::unfold(answer, |mut answer| async move {
            let line = answer.next_line().await?;
            Some((Ok::<_, Infallible>(line), answer))
        });
        ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
    }
}

/// The lines of one answer; it always ends with a result.
struct Answer {
    receiver: Option<mpsc::Receiver<Reply>>,
    name: &'static str,
    published: Arc<Published>,
}

impl Answer {
    async fn next_line(&mut self) -> Option<Bytes> {
        let receiver = self.receiver.as_mut()?;
        let reply = receiver.recv().await.unwrap_or_else(|| {
            Reply::Result(Outcome::not(OutcomeCode::Interrupted, "the agent ended before it was done"))
        });
        if let Reply::Result(outcome) = &reply {
            self.published.metrics().commanded(self.name, outcome.code == OutcomeCode::Done);
            self.receiver = None;
        }
        let mut line = serde_json::to_vec(&reply).unwrap_or_default();
        line.push(b'\n');
        Some(line.into())
    }
}

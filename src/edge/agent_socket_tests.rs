#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::agent_client::{AgentClient, ClientError};
use super::agent_socket::{AgentSocket, SOCKET, SocketError};
use crate::control::command::{Command, Outcome, OutcomeCode, Progress, Reconcile, Request};
use crate::control::published::Published;
use crate::model::names::SiteName;
use crate::model::time::Timestamp;
use crate::report::event::Severity;
use crate::report::metrics::Metrics;
use crate::report::samples;

struct Agent {
    directory: TempDir,
    published: Arc<Published>,
    commands: mpsc::Receiver<Request>,
    stop: CancellationToken,
}

impl Agent {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new("0", "0").unwrap());
        let published = Published::new(SiteName::new("demo").unwrap(), metrics);
        let (loop_door, commands) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let socket = AgentSocket::bind(directory.path()).await.unwrap();
        tokio::spawn(socket.serve(Arc::clone(&published), loop_door, stop.clone()));
        Self { directory, published, commands, stop }
    }

    async fn client(&self) -> AgentClient {
        AgentClient::find(self.directory.path()).await.unwrap().unwrap()
    }
}

fn progress(message: &str) -> Progress {
    Progress {
        at: Timestamp(1),
        severity: Severity::Normal,
        reason: "Started".to_owned(),
        subject: "web".to_owned(),
        message: message.to_owned(),
    }
}

#[tokio::test]
async fn a_command_is_answered_with_progress_and_a_result() {
    let mut agent = Agent::start().await;
    let client = agent.client().await;
    let asked = tokio::spawn(async move {
        let mut heard = Vec::new();
        let command = Command::Reconcile(Reconcile { allow_prune: true, ..Reconcile::default() });
        let outcome = client.ask(&command, |progress| heard.push(progress.message)).await;
        (outcome, heard)
    });
    let request = agent.commands.recv().await.unwrap();
    assert!(matches!(&request.command, Command::Reconcile(Reconcile { allow_prune: true, .. })));
    request.replies.progress(progress("one"));
    request.replies.progress(progress("two\nlines"));
    request.replies.finish(Outcome::done("converged"));
    let (outcome, heard) = asked.await.unwrap();
    assert_eq!(outcome.unwrap(), Outcome::done("converged"));
    assert_eq!(heard, ["one", "two\nlines"]);
    let text = agent.published.metrics().text(samples::NOW);
    assert!(text.contains("mastic_commands_total{command=\"reconcile\",result=\"success\"} 1\n"), "{text}");
}

#[tokio::test]
async fn the_status_is_told_while_the_loop_is_busy() {
    let agent = Agent::start().await;
    agent.published.publish(samples::troubled());
    assert_eq!(agent.client().await.status().await.unwrap(), samples::troubled());
}

#[tokio::test]
async fn a_loop_that_drops_a_command_has_interrupted_it() {
    let mut agent = Agent::start().await;
    let client = agent.client().await;
    let asked = tokio::spawn(async move { client.ask(&Command::Status, |_| {}).await });
    drop(agent.commands.recv().await.unwrap());
    assert_eq!(asked.await.unwrap().unwrap().code, OutcomeCode::Interrupted);
}

#[tokio::test]
async fn a_loop_that_has_ended_takes_no_commands() {
    let mut agent = Agent::start().await;
    agent.commands.close();
    let error = agent.client().await.ask(&Command::Plan, |_| {}).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
}

#[tokio::test]
async fn who_goes_away_is_noticed() {
    let mut agent = Agent::start().await;
    let client = agent.client().await;
    let asked = tokio::spawn(async move { client.ask(&Command::Events { most: 5, follow: true }, |_| {}).await });
    let request = agent.commands.recv().await.unwrap();
    request.replies.progress(progress("one"));
    asked.abort();
    while !request.replies.is_abandoned() {
        request.replies.progress(progress("more"));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_the_owner_may_open_it() {
    let agent = Agent::start().await;
    let found = fs::metadata(agent.directory.path().join(SOCKET)).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(agent.directory.path()).unwrap().count(), 1, "nothing else is left in the state directory");
}

#[tokio::test]
async fn a_second_agent_is_refused() {
    let agent = Agent::start().await;
    let error = AgentSocket::bind(agent.directory.path()).await.unwrap_err();
    assert!(matches!(error, SocketError::AgentRuns(_)), "{error}");
    assert!(agent.client().await.status().await.is_ok());
}

#[tokio::test]
async fn what_a_dead_agent_left_is_no_agent_and_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    assert!(AgentClient::find(directory.path()).await.unwrap().is_none(), "there is no socket");
    assert!(AgentClient::find(&directory.path().join("none")).await.unwrap().is_none(), "there is no directory");
    drop(UnixListener::bind(directory.path().join(SOCKET)).unwrap());
    assert!(AgentClient::find(directory.path()).await.unwrap().is_none(), "nobody listens");
    let socket = AgentSocket::bind(directory.path()).await.unwrap();
    assert!(AgentClient::find(directory.path()).await.unwrap().is_some());
    drop(socket);
    assert!(!directory.path().join(SOCKET).exists(), "it is removed at the end");
}

#[tokio::test]
async fn a_stopped_agent_leaves_no_socket() {
    let agent = Agent::start().await;
    agent.stop.cancel();
    while agent.directory.path().join(SOCKET).exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let long: PathBuf = directory.path().join("a".repeat(100)).join("b".repeat(100));
    fs::create_dir_all(&long).unwrap();
    let _socket = AgentSocket::bind(&long).await.unwrap();
    assert!(AgentClient::find(&long).await.unwrap().is_some());
}

#[tokio::test]
async fn nonsense_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let agent = Agent::start().await;
    for (body, code) in [("{\"dance\":{}}".to_owned(), 400), (format!("\"{}\"", "a".repeat(100_000)), 413)] {
        let mut stream = tokio::net::UnixStream::connect(agent.directory.path().join(SOCKET)).await.unwrap();
        let head = format!(
            "POST /v1/command HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // It may be refused before all of it was sent.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
    }
}

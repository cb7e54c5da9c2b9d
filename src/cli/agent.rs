//! `mastic agent`: the loop, for as long as the machine runs.
//!
//! | task | in | out |
//! |---|---|---|
//! | the loop | inputs | everything |
//! | signals | SIGHUP, SIGTERM, SIGINT | inputs |
//! | watcher | the site's files, the mounted files, a look at both every minute | inputs |
//! | socket | commands of the command line | inputs |
//! | http | scrapes | metrics, health, status |
//! | systemd | what the loop shows | READY, STATUS, WATCHDOG |

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::control::command::Request;
use crate::control::input::Input;
use crate::edge::agent_socket::AgentSocket;
use crate::edge::{http, systemd};

use super::args::Global;
use super::certs;
use super::error::{CommandError, Exit};
use super::watching;
use super::world::{Access, World};

/// An answer that is ready is on its way within much less.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A socket for which the disk has no room is tried again after this.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Options of `agent`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic -f /etc/mastic agent\n  mastic -f site.yaml --state-dir /tmp/state agent --listen 127.0.0.1:9464"
)]
pub struct Options {
    /// Where /metrics, /healthz, /readyz and /api/v1/status are served
    #[arg(long, value_name = "ADDR:PORT", env = "MASTIC_LISTEN")]
    pub listen: Option<SocketAddr>,
}

/// Runs until it is told to end; the containers stay.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let place = global.place();
    if let Some(request) = place.request.clone() {
        // Before the site is read: what it waits for may be a certificate.
        certs::keep_own(&request);
        tokio::spawn(certs::keep_on(request));
    }
    let world = World::open(&place, Access::Act, "agent").await?;
    let socket = match AgentSocket::bind(&place.state).await {
        Ok(socket) => Some(socket),
        Err(error) if error.is_of_disk() => {
            tracing::error!("{error}: until the socket can be made, no command reaches this agent");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let clock = world.ports.clock.clone();
    let http = match options.listen {
        Some(address) => {
            let bound = http::bind(address)
                .await
                .map_err(|error| CommandError::failed(format!("cannot listen on {address}: {error}")))?;
            tracing::info!("listening on {}", bound.address()?);
            Some(bound)
        }
        None => None,
    };
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut running = world.start_agent()?;
    let stop = CancellationToken::new();
    let (door, mut requests) = mpsc::channel::<Request>(64);
    let (published, ending, state) = (running.published.clone(), stop.clone(), place.state.clone());
    let serving = tokio::spawn(async move {
        if let Some(socket) = bound(socket, &state, &ending).await {
            socket.serve(published, door, ending).await;
        }
    });
    if let Some(http) = http {
        tokio::spawn(http.serve(running.published.clone(), clock, stop.clone()));
    }
    let ending = stop.child_token();
    let notifying = tokio::spawn(systemd::accompany(running.published.clone(), ending.clone()));
    let watching =
        tokio::spawn(watching::carry(place.state.join("files"), running.paths.clone(), running.inputs.clone()));
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = &mut running.task => {
                watching.abort();
                close(&stop, serving).await;
                return Ok(Exit::Done);
            }
            _ = hangup.recv() => {
                systemd::reloading();
                let _ = running.inputs.send(Input::Reload).await;
                systemd::reloaded();
            }
            Some(request) = requests.recv() => {
                let _ = running.inputs.send(Input::Request(Box::new(request))).await;
            }
        }
    }
    tracing::info!("ending; the containers stay");
    ending.cancel();
    let _ = notifying.await;
    watching.abort();
    // A second signal while a step is under way ends the program at once.
    let ended = running.end().await;
    close(&stop, serving).await;
    ended.map(|()| Exit::Done)
}

/// The socket, as soon as the disk lets it be made; none if the end comes sooner.
async fn bound(socket: Option<AgentSocket>, state: &Path, stop: &CancellationToken) -> Option<AgentSocket> {
    if socket.is_some() {
        return socket;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(BIND_AGAIN) => {}
        }
        if let Ok(socket) = AgentSocket::bind(state).await {
            tracing::info!("commands reach this agent now");
            return Some(socket);
        }
    }
}

/// Lets those who asked hear the last answer, and takes the socket away.
async fn close(stop: &CancellationToken, serving: tokio::task::JoinHandle<()>) {
    tokio::time::sleep(LAST_WORDS).await;
    stop.cancel();
    // The socket is removed when its task ends.
    let _ = tokio::time::timeout(LAST_WORDS, serving).await;
}

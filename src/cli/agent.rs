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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::control::command::Request;
use crate::control::input::Input;
use crate::edge::agent_socket::AgentSocket;
use crate::edge::clock::SystemClock;
use crate::edge::fleet_lock::FleetLock;
use crate::edge::{http, systemd};

use super::agent_etcd::{self, Companions};
use super::args::Global;
use super::certs;
use super::error::{CommandError, Exit};
use super::interrupted::interrupted;
use super::validate::no_site;
use super::watching;
use super::world::{Access, Place, World, is_unlocked};

/// An answer that is ready is on its way within much less.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A socket for which the disk has no room is tried again after this.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// How often a second controller asks whether the first one has ended.
const LOCK_AGAIN: Duration = Duration::from_secs(1);

/// Options of `agent`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic -f /etc/mastic agent\n  mastic -f site.yaml --state-dir /tmp/state agent --listen 127.0.0.1:9464\n  mastic --host ctl1 agent --coordinator etcd --etcd-endpoints https://10.0.0.1:2379,https://10.0.0.2:2379 --trust /etc/mastic/trust"
)]
pub struct Options {
    /// With etcd: whose revisions are taken, as lines of .pub files
    #[arg(long, value_name = "FILE", env = "MASTIC_TRUST")]
    pub trust: Option<PathBuf>,
    /// Serve FleetLock (/v1/pre-reboot, /v1/steady-state) too: a manager of reboots waits for this host's turn
    #[arg(long, requires = "listen")]
    pub fleet_lock: bool,
    /// What is served.
    #[command(flatten)]
    pub serving: Serving,
}

/// Options of `controller`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic -f /etc/mastic controller\n  mastic -f site.yaml --host compute controller --listen 127.0.0.1:9464"
)]
pub struct ControllerOptions {
    /// What is served.
    #[command(flatten)]
    pub serving: Serving,
}

/// What is served besides the socket.
#[derive(Clone, Debug, Args)]
pub struct Serving {
    /// Where /metrics, /healthz, /readyz and /api/v1/status are served
    #[arg(long, value_name = "ADDR:PORT", env = "MASTIC_LISTEN")]
    pub listen: Option<SocketAddr>,
}

/// Keeps this machine in its desired state until it is told to end; the containers stay.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    if let [_, another, ..] = global.hosts.as_slice() {
        let message = format!("an agent looks after one host, and `{another}` is another one");
        return Err(CommandError::usage(message).hinted("`mastic controller` looks after several"));
    }
    if global.etcd.is_meant() {
        let (place, world, companions) = agent_etcd::open(global, options.trust.as_deref()).await?;
        return serve(&place, world, &options.serving, Some(companions), options.fleet_lock).await;
    }
    let place = global.place();
    keep_certificates(&place);
    let world = World::open_here(&place, "agent").await?;
    serve(&place, world, &options.serving, None, options.fleet_lock).await
}

/// Keeps all hosts that can be reached from here in their desired state until it is told to end.
pub async fn control(global: &Global, options: &ControllerOptions) -> Result<Exit, CommandError> {
    let place = global.place();
    if place.request.is_none() {
        return Err(no_site());
    }
    keep_certificates(&place);
    let world = loop {
        match World::open(&place, Access::Act, "controller").await {
            Err(error) if error.exit == Exit::Locked => {
                tracing::warn!("{}; waiting until it is free", error.message);
                wait_for_lock(&place).await?;
            }
            other => break other?,
        }
    };
    serve(&place, world, &options.serving, None, false).await
}

/// A second controller waits until the first one has ended, and then takes over.
async fn wait_for_lock(place: &Place) -> Result<(), CommandError> {
    loop {
        tokio::select! {
            () = interrupted() => return Err(CommandError::interrupted("ended while another controller was at work")),
            () = tokio::time::sleep(LOCK_AGAIN) => {}
        }
        if is_unlocked(&place.state) {
            return Ok(());
        }
    }
}

fn keep_certificates(place: &Place) {
    if let Some(request) = place.request.clone() {
        // Before the site is read: what it waits for may be a certificate.
        certs::keep_own(&request);
        tokio::spawn(certs::keep_on(request));
    }
}

async fn serve(
    place: &Place,
    world: World,
    options: &Serving,
    companions: Option<Companions>,
    fleet_lock: bool,
) -> Result<Exit, CommandError> {
    let socket = match AgentSocket::bind(&place.state).await {
        Ok(socket) => Some(socket),
        Err(error) if error.is_of_disk() => {
            tracing::error!("{error}: until the socket can be made, no command reaches this agent");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let clock = Arc::new(SystemClock);
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

    let coordinator = world.coordinator().filter(|_| fleet_lock);
    let lock = coordinator.map(|coordinator| FleetLock::new(place.state.clone(), coordinator, clock.clone()).router());
    let mut running = world.start_agent()?;
    let stop = CancellationToken::new();
    let (door, mut requests) = mpsc::channel::<Request>(64);
    let _beside = companions.map(|companions| companions.start(&running, door.clone()));
    let (published, ending, state) = (running.published.clone(), stop.clone(), place.state.clone());
    let serving = tokio::spawn(async move {
        if let Some(socket) = bound(socket, &state, &ending).await {
            socket.serve(published, door, ending).await;
        }
    });
    if let Some(http) = http {
        tokio::spawn(http.serve(running.published.clone(), clock, lock, stop.clone()));
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

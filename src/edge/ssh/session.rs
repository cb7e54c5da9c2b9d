//! One SSH connection to a host, by way of others where there are any.
//!
//! In: an [`SshTarget`]. Out: [`Session`], which opens channels to the engine's socket and runs short commands. Each step has
//! its limit of time and its own words for what goes wrong.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::client::{self, Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, SshId};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::{End, Overflow, Stream};
use super::error::{SshError, Stage};
use super::host_key::{Guard, preferred, read};
use super::login::log_in;
use super::stream::{Cuttable, go_on, reach};
use super::target::{HopTarget, SshTarget};
use super::trouble;
use crate::parse::known_hosts::PORT;

/// sshd takes ten at a time (`MaxSessions`); some are left to others.
const COMMANDS: usize = 6;
/// A command that we run answers at once.
const COMMAND: Duration = Duration::from_secs(20);
/// More than this no command that we run says.
const OUTPUT: usize = 1 << 20;

/// A connection that is logged in.
pub(super) struct Session {
    handle: Handle<Guard>,
    /// Those that it goes through, which last as long.
    _way: Vec<Handle<Guard>>,
    host: Arc<HopTarget>,
    socket: String,
    end: End,
    commands: Semaphore,
}

/// A script as a command for whatever shell the user has.
pub(super) fn as_command(script: &str) -> String {
    format!("sh -c {}", shlex::try_quote(script).unwrap_or_default())
}

impl Session {
    /// Connects, one host after the other.
    pub(super) async fn connect(target: &SshTarget) -> Result<Self, SshError> {
        let mut way: Vec<Handle<Guard>> = Vec::new();
        let mut places: Vec<String> = Vec::new();
        let last = target.hops.len().saturating_sub(1);
        for (index, hop) in target.hops.iter().enumerate() {
            let hop = Arc::new(hop.clone());
            let end = End { place: hop.place(), why: Arc::default() };
            let through = (!places.is_empty()).then(|| as_jump(&target.hops[..index]));
            let before = way.last().zip(places.last());
            let connected = enter(&hop, before, through, &end).await;
            let handle = match connected {
                Ok(handle) => handle,
                // Why one host cannot reach the next is told with both names already.
                Err(error @ SshError::NoWayOn { .. }) => return Err(error),
                Err(error) if index < last => {
                    return Err(SshError::OnTheWay { hop: hop.place(), source: Box::new(error) });
                }
                Err(error) => return Err(error),
            };
            if index == last {
                let (socket, commands) = (target.socket.clone(), Semaphore::new(COMMANDS));
                return Ok(Self { handle, _way: way, host: hop, socket, end, commands });
            }
            places.push(hop.place());
            way.push(handle);
        }
        Err(SshError::Setup("no host was named".to_owned()))
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The host.
    pub(super) fn host(&self) -> &HopTarget {
        &self.host
    }

    /// The engine's socket on the host.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// A channel to the engine's socket. `after` is called when it is closed.
    pub(super) async fn open_socket(
        &self,
        overflow: Overflow,
        after: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Stream, SshError> {
        let opening = self.handle.channel_open_direct_streamlocal(self.socket.clone());
        match timeout(self.host.patience, opening).await {
            Ok(Ok(channel)) => Ok(Stream::start(channel, overflow, self.end.clone(), after)),
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => Err(trouble::with_socket(self).await),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.silent(self.host.patience)),
        }
    }

    /// A channel to a port as the host sees it.
    pub(super) async fn open_port(&self, host: &str, port: u16) -> Result<Stream, SshError> {
        let opening = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match timeout(self.host.patience, opening).await {
            Ok(Ok(channel)) => Ok(Stream::start(channel, Overflow::Fail, self.end.clone(), std::future::ready(()))),
            Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
                Err(SshError::Port("sshd forbids to ask it (AllowTcpForwarding, PermitOpen)".to_owned()))
            }
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => Err(SshError::Port("connection refused".to_owned())),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.silent(self.host.patience)),
        }
    }

    /// Runs a command of ours, and gives what it wrote; it is taken in as it comes.
    pub(super) async fn run(&self, command: &str) -> Result<String, SshError> {
        let _turn = self.commands.acquire().await;
        let opening = timeout(COMMAND, self.handle.channel_open_session());
        let mut channel = match opening.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => return Err(self.runs_nothing()),
            Ok(Err(error)) => return Err(self.broken(&error)),
            Err(_) => return Err(self.silent(COMMAND)),
        };
        let answer = timeout(COMMAND, self.answer(&mut channel, command)).await;
        // Those that the host has closed are closed; of others it has only few.
        let _closed = timeout(COMMAND, channel.close()).await;
        answer.unwrap_or_else(|_| Err(self.silent(COMMAND)))
    }

    async fn answer(&self, channel: &mut Channel<Msg>, command: &str) -> Result<String, SshError> {
        channel.exec(true, command).await.map_err(|error| self.broken(&error))?;
        let mut bytes = Vec::new();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    let room = OUTPUT.saturating_sub(bytes.len());
                    bytes.extend_from_slice(&data[..data.len().min(room)]);
                }
                ChannelMsg::Failure => return Err(self.runs_nothing()),
                _ => {}
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn runs_nothing(&self) -> SshError {
        SshError::Socket { place: self.host.place(), why: format!("sshd runs no command for {}", self.host.user) }
    }

    fn broken(&self, error: &russh::Error) -> SshError {
        self.end.error(&error.to_string())
    }

    fn silent(&self, limit: Duration) -> SshError {
        SshError::Timeout { place: self.host.place(), stage: Stage::Channel, limit }
    }
}

/// The hosts before one, as `ssh -J` takes them with the last as the host to enter.
fn as_jump(hops: &[HopTarget]) -> String {
    let shown = |hop: &HopTarget| {
        let port = if hop.port == PORT { String::new() } else { format!(":{}", hop.port) };
        format!("{}@{}{port}", hop.user, hop.address)
    };
    match hops {
        [] => String::new(),
        [only] => format!("ssh://{}", shown(only)),
        [before @ .., last] => {
            let before: Vec<String> = before.iter().map(shown).collect();
            format!("-J {} ssh://{}", before.join(","), shown(last))
        }
    }
}

/// Connects to one host and logs in.
async fn enter(
    hop: &Arc<HopTarget>,
    before: Option<(&Handle<Guard>, &String)>,
    through: Option<String>,
    end: &End,
) -> Result<Handle<Guard>, SshError> {
    let known = Arc::new(read(&hop.known_hosts)?);
    let stalled = |stage, limit| SshError::Timeout { place: hop.place(), stage, limit };
    let stream = match before {
        None => reach(hop).await?,
        Some((handle, place)) => go_on(handle, place, hop).await?,
    };
    let config = client::Config {
        client_id: SshId::Standard(concat!("SSH-2.0-mastic_", env!("CARGO_PKG_VERSION")).into()),
        keepalive_interval: Some(hop.keepalive),
        keepalive_max: hop.keepalives,
        preferred: preferred(&known, hop),
        nodelay: true,
        ..client::Config::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let guard = Guard { known, hop: Arc::clone(hop), through, ended: Arc::clone(&end.why), now };
    let cut = CancellationToken::new();
    let unless_done = cut.clone().drop_guard();
    let handshake = client::connect_stream(Arc::new(config), Cuttable::new(stream, cut), guard);
    let mut handle = match timeout(hop.patience, handshake).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(SshError::Other(why))) => {
            return Err(SshError::Protocol { place: hop.place(), why: format!("the SSH handshake failed: {why}") });
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(stalled(Stage::Handshake, hop.patience)),
    };
    // A refused key may cost seconds, so that guessing does not pay.
    let limit = hop.patience * 2;
    timeout(limit, log_in(&mut handle, hop)).await.unwrap_or_else(|_| Err(stalled(Stage::Login, limit)))?;
    let _kept = unless_done.disarm();
    tracing::debug!(host = hop.place(), user = hop.user, "connected over SSH");
    Ok(handle)
}

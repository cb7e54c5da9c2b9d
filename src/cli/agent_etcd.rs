//! An agent that takes its site from etcd, and agrees there with the others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::control::command::Request;
use crate::control::input::Input;
use crate::edge::clock::SystemClock;
use crate::edge::etcd::{Client, EtcdCoordinator, Identity, Keys, Server, follow, show};
use crate::edge::identity;
use crate::edge::revision::{RevisionSource, Trust};
use crate::edge::store::DiskStore;
use crate::model::names::{HostName, SiteName};
use crate::port::store::Store as _;

use super::args::Global;
use super::error::{CommandError, Exit};
use super::interrupted::interrupted;
use super::world::{Place, Running, World, lock};

/// Until something was pushed, or etcd is there, it is asked so often.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What goes on beside the loop of such an agent.
pub struct Companions {
    client: Client,
    host: HostName,
    source: Arc<RevisionSource>,
    state: PathBuf,
}

/// The loop of an agent with etcd, and what goes on beside it.
pub async fn open(global: &Global, trust: Option<&Path>) -> Result<(Place, World, Companions), CommandError> {
    let [host] = global.hosts.as_slice() else {
        return Err(CommandError::usage("an agent with etcd has to be told which host it looks after")
            .hinted("give its name in the site with --host NAME"));
    };
    let host = HostName::new(host.as_str())?;
    if !global.files.is_empty() {
        return Err(CommandError::usage("an agent with etcd takes its site from there, not from files")
            .hinted("leave -f away here, and publish with `mastic -f PATH push`"));
    }
    let Some(trust) = trust else {
        return Err(CommandError::usage("an agent with etcd has to be told whom it trusts")
            .hinted("give a file with the line of FILE.pub from `mastic push --generate-key FILE` by --trust"));
    };
    let trust = Trust::read(trust)?;
    let client = global.etcd.client()?;
    let place = Place { request: None, ..global.place() };
    let lock = lock(&place.state, "agent")?;
    let site = site(global, &place, &client).await?;
    let like = global.compile_request(Vec::new());
    let source = RevisionSource::new(&place.state, trust, site.clone(), &host, &like);
    let identity = Identity { id: DiskStore::agent_id(&place.state)?, machine: identity::hostname() };
    let coordinator = Arc::new(EtcdCoordinator::start(client.clone(), &site, host.clone(), Some(identity)));
    let world = World::of_agent(&place, lock, site, host.clone(), coordinator, source.clone()).await?;
    let state = place.state.clone();
    Ok((place, world, Companions { client, host, source, state }))
}

/// The site: as named, as it was, or the only one in etcd, as soon as there is one.
async fn site(global: &Global, place: &Place, client: &Client) -> Result<SiteName, CommandError> {
    if let Some(site) = &global.etcd.site {
        return Ok(site.clone());
    }
    if let Some(accepted) = DiskStore::open(&place.state).load_accepted().ok().flatten() {
        return Ok(accepted.site);
    }
    let mut told = String::new();
    loop {
        let error = match global.etcd.only_site(client).await {
            Err(error) if error.exit == Exit::Failed => error,
            other => return other,
        };
        if told != error.message {
            tracing::warn!("{}; waiting", error.message);
            told = error.message;
        }
        tokio::select! {
            () = interrupted() => return Err(CommandError::interrupted("ended before there was a site")),
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
}

impl Companions {
    /// Begins with all of it; it ends when the outcome is dropped.
    pub fn start(self, running: &Running, door: mpsc::Sender<Request>) -> JoinSet<()> {
        let Self { client, host, source, state } = self;
        let keys = Keys::of(source.site());
        let server = Server {
            client: client.clone(),
            site: source.site().clone(),
            host: host.clone(),
            trust: source.trust().clone(),
            record: state.join("requests.json"),
            door,
            clock: Arc::new(SystemClock),
        };
        let mut tasks = JoinSet::new();
        let (news, mut heard) = mpsc::channel(1);
        tasks.spawn(follow(client.clone(), source, news));
        let inputs = running.inputs.clone();
        tasks.spawn(async move { while heard.recv().await.is_some() && inputs.send(Input::Edit).await.is_ok() {} });
        tasks.spawn(server.serve());
        tasks.spawn(show(client, keys.status(&host), running.published.watch()));
        tasks
    }
}

//! Whom a command is given to: the agent or controller that runs, or a loop of our own.

use std::sync::Arc;

use crate::control::command::{Command, Outcome, Progress, Replies, Reply, Request};
use crate::control::published::Published;
use crate::edge::agent_client::AgentClient;
use crate::model::names::HostName;
use crate::report::status::SiteStatus;

use super::error::CommandError;
use super::interrupted::interrupted;
use super::remote::Remote;
use super::world::{Access, Place, World};

/// Whom a command is given to.
pub enum Door {
    /// The agent of the state directory, and the hosts that were named.
    Agent(AgentClient, Vec<HostName>),
    /// The agents that meet in etcd.
    Etcd(Box<Remote>),
    /// A loop of our own.
    Own(Box<World>),
}

/// Where the status can be seen while a command goes on.
#[derive(Clone)]
pub enum View {
    /// At the agent.
    Agent(AgentClient),
    /// At the loop of our own.
    Own(Arc<Published>),
}

impl View {
    /// As it is now; none where it cannot be seen.
    pub async fn status(&self) -> Option<SiteStatus> {
        match self {
            Self::Agent(agent) => agent.status().await.ok(),
            Self::Own(published) => Some(published.status().as_ref().clone()),
        }
    }
}

impl Door {
    /// The agent if one runs; else a loop of our own.
    pub async fn open(place: &Place, access: Access, purpose: &str) -> Result<Self, CommandError> {
        if let Some(arguments) = &place.etcd {
            return Ok(Self::Etcd(Box::new(Remote::open(place, arguments).await?)));
        }
        if let Some(agent) = AgentClient::find(&place.state).await? {
            return Self::through(place, agent);
        }
        Ok(Self::Own(Box::new(World::open(place, access, purpose).await?)))
    }

    /// The door of an agent, or of a controller.
    pub fn through(place: &Place, agent: AgentClient) -> Result<Self, CommandError> {
        if place.selected.is_empty() {
            return Ok(Self::Agent(agent, Vec::new()));
        }
        let hosts = match place.reach()? {
            Some(reach) => reach.hosts.into_iter().filter(|one| one.meant).map(|one| one.host).collect(),
            None => place.selected.iter().map(HostName::new).collect::<Result<_, _>>()?,
        };
        Ok(Self::Agent(agent, hosts))
    }

    /// Where the status can be seen.
    pub fn view(&self) -> View {
        match self {
            Self::Agent(agent, _) => View::Agent(agent.clone()),
            Self::Etcd(remote) => View::Own(remote.published()),
            Self::Own(world) => View::Own(world.published.clone()),
        }
    }

    /// Asks for one thing, and waits for the answer. A loop of our own ends with it.
    pub async fn run(
        self,
        command: Command,
        follow_site: bool,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::Agent(agent, hosts) => {
                let command = at(hosts, command);
                tokio::select! {
                    outcome = agent.ask(&command, on_progress) => Ok(outcome?),
                    () = interrupted() => Err(CommandError::interrupted("interrupted; the agent goes on")),
                }
            }
            Self::Etcd(remote) => remote.run(command, on_progress).await,
            Self::Own(world) => {
                let (replies, mut receiver) = Replies::channel();
                let running = world.start(follow_site, Some(Request { command, replies }))?;
                let answer = async {
                    while let Some(reply) = receiver.recv().await {
                        match reply {
                            Reply::Progress(progress) => on_progress(progress),
                            Reply::Result(outcome) => return Ok(outcome),
                        }
                    }
                    Err(CommandError::failed("the loop ended before it answered"))
                };
                let outcome = tokio::select! {
                    outcome = answer => outcome,
                    () = interrupted() => Err(CommandError::interrupted("interrupted; the next run goes on from here")),
                };
                running.end().await?;
                outcome
            }
        }
    }
}

fn at(hosts: Vec<HostName>, command: Command) -> Command {
    if hosts.is_empty() { command } else { Command::At { hosts, command: Box::new(command) } }
}

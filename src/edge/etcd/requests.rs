//! What people ask of agents through etcd: both ends.
//!
//! A request is signed, is for one host, and is good for some minutes; who takes it removes it in the same step, so that it
//! is done once. One that was taken before is not taken again, also after a restart. What only looks needs no signature:
//! whoever can write there can read there. Answers lie there until a lease ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::client::{Check, Client, KeyValue, Operation, Range, Transaction};
use super::error::EtcdError;
use super::keys::Keys;
use super::mirror::pause;
use super::watch::{Happening, Watch};
use crate::control::command::{Command, Outcome, OutcomeCode, Replies, Reply, Request};
use crate::edge::atomic;
use crate::edge::revision::{Purpose, Signed, SigningKey, Trust};
use crate::model::names::{HostName, SiteName};
use crate::model::time::{Span, Timestamp};
use crate::port::clock::Clock;

/// A request is taken at once, or not at all; clocks may differ by some minutes.
const GOOD_FOR: Span = Span::seconds(300);

/// An agent that is there takes a request within milliseconds, or its etcd has no leader.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// Answers are read at once; after a while nobody wants them any more.
const ANSWERS_LAST: Duration = Duration::from_secs(120);

/// Between two looks whether the agent that was asked is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    site: SiteName,
    host: HostName,
    id: String,
    at: Timestamp,
    command: Command,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The agent has it.
    Taken,
    /// What it says.
    Reply(Reply),
}

/// An agent's end.
pub struct Server {
    /// Way to etcd.
    pub client: Client,
    /// Site.
    pub site: SiteName,
    /// Host.
    pub host: HostName,
    /// Whose requests are done.
    pub trust: Trust,
    /// Where it is kept which requests were done.
    pub record: PathBuf,
    /// The loop.
    pub door: mpsc::Sender<Request>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Requests that were done, until they are too old to be done again.
type Done = BTreeMap<String, Timestamp>;

impl Server {
    /// Serves until it is dropped.
    pub async fn serve(self) {
        let keys = Keys::of(&self.site);
        let mut failures = 0;
        loop {
            if let Err(error) = self.once(&keys, &mut failures).await {
                tracing::debug!(%error, "requests cannot be watched now");
                pause(failures).await;
                failures = failures.saturating_add(1);
            }
        }
    }

    async fn once(&self, keys: &Keys, failures: &mut u32) -> Result<(), EtcdError> {
        let (found, revision) = self.client.range(Range::Prefix(keys.requests(&self.host))).await?;
        *failures = 0;
        for one in found {
            self.take(keys, one).await?;
        }
        let mut watch = self.client.watch(keys.requests(&self.host), revision + 1);
        while let Some(happened) = watch.next().await? {
            for one in happened {
                if let Happening::Written { key, value, revision } = one {
                    self.take(keys, KeyValue { key, value, revision }).await?;
                }
            }
        }
        Ok(())
    }

    async fn take(&self, keys: &Keys, one: KeyValue) -> Result<(), EtcdError> {
        let removed = Transaction {
            checks: vec![Check { key: one.key.clone(), revision: one.revision }],
            then: vec![Operation::Delete(Range::Key(one.key.clone()))],
            otherwise: Vec::new(),
        };
        if !self.client.transact(removed).await?.succeeded {
            return Ok(());
        }
        let id = one.key.rsplit('/').next().unwrap_or_default().to_owned();
        let prefix = format!("{}{}/", keys.answers(&id), self.host);
        let client = self.client.clone();
        let receiver = match self.read(&id, &one.value) {
            Ok(command) => {
                let (replies, receiver) = Replies::channel();
                if self.door.send(Request { command, replies }).await.is_err() {
                    return Ok(());
                }
                receiver
            }
            Err(why) => {
                tracing::warn!(id, "a request is refused: {why}");
                let (replies, receiver) = Replies::channel();
                replies.finish(Outcome::not(OutcomeCode::Refused, why));
                receiver
            }
        };
        tokio::spawn(async move {
            if let Err(error) = answer(client, prefix, receiver).await {
                tracing::warn!(%error, "an answer is lost");
            }
        });
        Ok(())
    }

    /// What is asked, if it is to be done.
    fn read(&self, id: &str, value: &[u8]) -> Result<Command, String> {
        let signed: Signed = serde_json::from_slice(value).map_err(|_| "it is no request".to_owned())?;
        let (content, proven) = match signed.open(Purpose::Request, &self.trust) {
            Ok((content, whose)) => {
                tracing::info!(whose, "somebody asks");
                (content, Ok(()))
            }
            Err(error) => (signed.unproven().map_err(|error| error.to_string())?, Err(error)),
        };
        let asked: Asked = serde_json::from_slice(&content)
            .map_err(|error| format!("this agent does not understand it; it may be older than who asks ({error})"))?;
        if let Err(error) = proven
            && !asked.command.is_read_only()
        {
            return Err(format!("{error}; give a key that the hosts trust with --key"));
        }
        if asked.site != self.site || asked.host != self.host || asked.id != id {
            return Err("it was meant for somebody else".to_owned());
        }
        if matches!(asked.command, Command::Events { follow: true, .. }) {
            return Err("events can be followed on the host itself only".to_owned());
        }
        let now = self.clock.now();
        if now.since(asked.at) > GOOD_FOR || asked.at.since(now) > GOOD_FOR {
            return Err(format!("it was asked at {}, and the clock of this host says {now}", asked.at));
        }
        self.remember(id, now)?;
        Ok(asked.command)
    }

    /// Nothing is done twice, whoever writes a request back.
    fn remember(&self, id: &str, now: Timestamp) -> Result<(), String> {
        let path: &Path = &self.record;
        let unusable = |error: std::io::Error| format!("{}: {error}", path.display());
        let known = atomic::read(path).map_err(unusable)?;
        let mut done: Done = known.and_then(|known| serde_json::from_slice(&known).ok()).unwrap_or_default();
        done.retain(|_, at| now.since(*at) <= Span(GOOD_FOR.0 * 2));
        if done.insert(id.to_owned(), now).is_some() {
            return Err("it was done already".to_owned());
        }
        let content = serde_json::to_vec(&done).map_err(|error| error.to_string())?;
        atomic::write(path, &content).map_err(unusable)
    }
}

async fn answer(client: Client, prefix: String, mut receiver: mpsc::Receiver<Reply>) -> Result<(), EtcdError> {
    let lease = client.grant(ANSWERS_LAST).await?;
    let put = |number: u64, answer: Answer| {
        let value = serde_json::to_vec(&answer).unwrap_or_default();
        client.put(format!("{prefix}{number:08}"), value, Some(lease))
    };
    put(0, Answer::Taken).await?;
    let mut number = 0;
    let mut next = tokio::time::interval(ANSWERS_LAST / 4);
    loop {
        let reply = tokio::select! {
            reply = receiver.recv() => reply,
            _ = next.tick() => {
                // What takes long is waited for all the same.
                client.keep_alive(lease).await?;
                continue;
            }
        };
        let reply = reply.unwrap_or_else(|| {
            Reply::Result(Outcome::not(OutcomeCode::Interrupted, "the agent ended before it was done"))
        });
        let is_last = matches!(reply, Reply::Result(_));
        number += 1;
        put(number, Answer::Reply(reply)).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// A workstation's end.
#[derive(Clone)]
pub struct Asker {
    /// Way to etcd.
    pub client: Client,
    /// Site.
    pub site: SiteName,
    /// What signs; none where nobody has to.
    pub key: Option<Arc<SigningKey>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

fn gone(host: &HostName) -> Outcome {
    Outcome::not(OutcomeCode::Failed, format!("no agent answers for {host}"))
}

impl Asker {
    /// Asks a host, and hands on what it answers.
    pub async fn ask(&self, host: &HostName, request: Request) {
        let Request { command, replies } = request;
        let outcome = match self.ask_for(host, command, &replies).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::not(OutcomeCode::Failed, error.to_string()),
        };
        replies.finish(outcome);
    }

    async fn ask_for(&self, host: &HostName, command: Command, replies: &Replies) -> Result<Outcome, EtcdError> {
        let keys = Keys::of(&self.site);
        if !self.is_there(&keys, host).await? {
            return Ok(gone(host));
        }
        if self.key.is_none() && !command.is_read_only() {
            let why = "no key was named; agents do only what somebody has signed: give it with --key FILE";
            return Ok(Outcome::not(OutcomeCode::Refused, why));
        }
        let id = format!("{:032x}", rand::random::<u128>());
        let asked =
            Asked { site: self.site.clone(), host: host.clone(), id: id.clone(), at: self.clock.now(), command };
        let strange = |error: serde_json::Error| EtcdError::Strange { endpoint: String::new(), why: error.to_string() };
        let content = serde_json::to_vec(&asked).map_err(strange)?;
        let signed = match &self.key {
            Some(key) => Signed::seal(Purpose::Request, &content, key),
            None => Signed::bare(&content),
        };
        let lease = self.client.grant(ANSWERS_LAST).await?;
        let key = format!("{}{id}", keys.requests(host));
        let value = serde_json::to_vec(&signed).map_err(strange)?;
        let put = Operation::Put { key: key.clone(), value, lease: Some(lease) };
        let put = self.client.transact(Transaction { then: vec![put], ..Transaction::default() }).await?;
        let watch = self.client.watch(format!("{}{host}/", keys.answers(&id)), put.revision + 1);
        let outcome = self.listen(&keys, host, watch, replies).await;
        // One that was never taken is not to be taken later.
        let _gone = self.client.revoke(lease).await;
        outcome
    }

    async fn is_there(&self, keys: &Keys, host: &HostName) -> Result<bool, EtcdError> {
        Ok(self.client.get(keys.status(host)).await?.is_some())
    }

    async fn listen(
        &self,
        keys: &Keys,
        host: &HostName,
        mut watch: Watch,
        replies: &Replies,
    ) -> Result<Outcome, EtcdError> {
        let asked = tokio::time::Instant::now();
        let mut taken = false;
        loop {
            let Ok(happened) = tokio::time::timeout(LOOK_AGAIN, watch.next()).await else {
                if !taken && asked.elapsed() > TAKEN_WITHIN {
                    return Ok(gone(host));
                }
                if taken && !self.is_there(keys, host).await? {
                    let why = format!("the agent of {host} ended before it was done");
                    return Ok(Outcome::not(OutcomeCode::Interrupted, why));
                }
                continue;
            };
            let happened = match happened {
                Ok(Some(happened)) => happened,
                Ok(None) => return Err(EtcdError::Unreachable("it has forgotten the answer".to_owned())),
                // A change of leader ends no waiting.
                Err(_) if asked.elapsed() < TAKEN_WITHIN || taken => {
                    pause(2).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            for one in happened {
                let Happening::Written { value, .. } = one else { continue };
                match serde_json::from_slice(&value) {
                    Ok(Answer::Taken) => taken = true,
                    Ok(Answer::Reply(Reply::Progress(progress))) => replies.progress(progress),
                    Ok(Answer::Reply(Reply::Result(outcome))) => return Ok(outcome),
                    Err(error) => {
                        let why = format!("the agent of {host} answers what this program does not understand: {error}");
                        return Ok(Outcome::not(OutcomeCode::Failed, why));
                    }
                }
            }
        }
    }
}

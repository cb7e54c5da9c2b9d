//! What a host's engine is reached by, for as long as the program runs.
//!
//! In: an [`SshTarget`]. Out: streams to the engine's socket. Calls share one SSH connection, which is made when it is
//! needed and anew when it has broken; whoever needs it meanwhile waits for the same attempt. What may carry much or last
//! long (events, logs, pulls, builds, archives) has a connection for itself while it lasts, so that a stream that nobody
//! reads slows down nothing but its own sender; a few such connections are kept for the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::channel::{Overflow, Stream};
use super::error::SshError;
use super::session::{Session, as_command};
use super::target::SshTarget;

/// After a failure the next attempt waits this long, and twice as long each time,
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// but no longer: whoever asks has a pause of its own.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Streams of their own at a time.
const ALONE_AT_ONCE: usize = 16;
/// Connections for streams that are kept when nothing uses them,
const KEPT: usize = 2;
/// for this long.
const KEPT_FOR: Duration = Duration::from_secs(60);

type Attempt = Shared<BoxFuture<'static, Result<Arc<Session>, SshError>>>;

/// The way to the engine of one host.
#[derive(Clone)]
pub struct SshLink {
    inner: Arc<Inner>,
}

struct Inner {
    target: Arc<SshTarget>,
    calls: Mutex<Calls>,
    kept: Mutex<Vec<(Arc<Session>, Instant)>>,
    alone: Arc<Semaphore>,
}

#[derive(Default)]
struct Calls {
    session: Option<Arc<Session>>,
    attempt: Option<Attempt>,
    failure: Option<Failure>,
}

/// The last attempt failed.
struct Failure {
    error: SshError,
    until: Instant,
    pause: Duration,
}

impl SshLink {
    /// Connects nothing yet: the first stream does.
    pub fn new(target: SshTarget) -> Self {
        let inner = Inner {
            target: Arc::new(target),
            calls: Mutex::default(),
            kept: Mutex::default(),
            alone: Arc::new(Semaphore::new(ALONE_AT_ONCE)),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where it leads, as people write it.
    pub fn address(&self) -> String {
        self.inner.target.address()
    }

    /// A stream for questions and orders.
    pub(super) async fn open(&self) -> Result<Stream, SshError> {
        let session = self.session().await?;
        let opened = session.open_socket(Overflow::Fail, std::future::ready(())).await;
        self.noted(&session, opened)
    }

    /// A stream that has its connection for itself.
    pub(super) async fn open_alone(&self) -> Result<Stream, SshError> {
        let permit = Arc::clone(&self.inner.alone).acquire_owned().await;
        let permit = permit.map_err(|_| SshError::Setup("the connection is being given up".to_owned()))?;
        let kept = lock(&self.inner.kept).pop().map(|(session, _)| session).filter(|session| !session.is_closed());
        let session = match kept {
            Some(session) => session,
            // The shared one tells at once where a host is known to be down.
            None => {
                self.session().await?;
                Arc::new(Session::connect(&self.inner.target).await?)
            }
        };
        let after = keep(Arc::clone(&self.inner), Arc::clone(&session), permit);
        session.open_socket(Overflow::Wait, after).await
    }

    /// A stream to a port as the host sees it: its own loopback, its containers.
    pub(crate) async fn open_port(&self, host: &str, port: u16) -> Result<Stream, SshError> {
        let session = self.session().await?;
        let opened = session.open_port(host, port).await;
        self.noted(&session, opened)
    }

    /// Runs a short script of a shell on the host, and gives what it wrote. Nothing is left there.
    pub(crate) async fn shell(&self, script: &str) -> Result<String, SshError> {
        let session = self.session().await?;
        let output = session.run(&as_command(script)).await;
        self.noted(&session, output)
    }

    /// A session that does not answer is left to itself: the next call makes a new one.
    fn noted<T>(&self, session: &Arc<Session>, result: Result<T, SshError>) -> Result<T, SshError> {
        if let Err(SshError::Timeout { .. } | SshError::Broken { .. }) = &result {
            let mut calls = lock(&self.inner.calls);
            if calls.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
                calls.session = None;
            }
        }
        result
    }

    /// The connection for calls, or the attempt that is under way, or a new one.
    async fn session(&self) -> Result<Arc<Session>, SshError> {
        let attempt = {
            let mut calls = lock(&self.inner.calls);
            if let Some(session) = calls.session.as_ref().filter(|session| !session.is_closed()) {
                return Ok(Arc::clone(session));
            }
            calls.session = None;
            match (&calls.attempt, &calls.failure) {
                (Some(attempt), _) => attempt.clone(),
                (None, Some(failure)) if Instant::now() < failure.until => return Err(failure.error.clone()),
                (None, _) => {
                    let attempt = self.attempt();
                    calls.attempt = Some(attempt.clone());
                    attempt
                }
            }
        };
        attempt.await
    }

    /// A task of its own, so that it goes on if the call that began it gives up.
    fn attempt(&self) -> Attempt {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move {
            let result = Session::connect(&inner.target).await.map(Arc::new);
            let mut calls = lock(&inner.calls);
            calls.attempt = None;
            match &result {
                Ok(session) => {
                    calls.session = Some(Arc::clone(session));
                    calls.failure = None;
                }
                Err(error) => {
                    let before = calls.failure.as_ref().map(|failure| failure.pause * 2);
                    let pause = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
                    let until = Instant::now() + pause;
                    calls.failure = Some(Failure { error: error.clone(), until, pause });
                }
            }
            result
        });
        let ended = |_| Err(SshError::Setup("the attempt to connect was given up".to_owned()));
        task.map(move |result| result.unwrap_or_else(ended)).boxed().shared()
    }
}

/// Keeps a connection for the next stream when one has ended.
async fn keep(inner: Arc<Inner>, session: Arc<Session>, permit: OwnedSemaphorePermit) {
    drop(permit);
    if session.is_closed() {
        return;
    }
    {
        let mut kept = lock(&inner.kept);
        if kept.len() >= KEPT {
            return;
        }
        kept.push((session, Instant::now()));
    }
    let weak = Arc::downgrade(&inner);
    drop(inner);
    tokio::time::sleep(KEPT_FOR).await;
    if let Some(inner) = weak.upgrade() {
        lock(&inner.kept).retain(|(session, since)| !session.is_closed() && since.elapsed() < KEPT_FOR);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

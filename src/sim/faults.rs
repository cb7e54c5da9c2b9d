//! What goes wrong: errors of calls, lost replies, events that get lost, and the agent's own death at a chosen call.

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::model::time::Span;
use crate::port::engine::EngineError;

/// How long the caller waits for an answer that never comes.
pub const PATIENCE: Span = Span::seconds(10);

/// Probabilities, each from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// A call does not reach the engine.
    pub unreachable: f64,
    /// A call times out and nothing was done.
    pub timeout: f64,
    /// A call times out although it was done.
    pub reply_lost: f64,
    /// The engine fails.
    pub failed: f64,
    /// The engine says that something is in the way.
    pub conflict: f64,
    /// An event gets lost.
    pub event_lost: f64,
    /// An event comes twice.
    pub event_doubled: f64,
    /// An event comes after the one that follows it.
    pub event_late: f64,
    /// The stream of events ends at an event.
    pub stream_cut: f64,
    /// A call that writes files fails.
    pub files: f64,
}

impl Faults {
    /// Some of everything, about one call in `1/rate`.
    pub fn some(rate: f64) -> Self {
        Self {
            unreachable: rate / 4.0,
            timeout: rate / 8.0,
            reply_lost: rate / 4.0,
            failed: rate / 4.0,
            conflict: rate / 8.0,
            event_lost: rate,
            event_doubled: rate,
            event_late: rate,
            stream_cut: rate / 4.0,
            files: rate / 4.0,
        }
    }

    /// What happens to the next call; only calls that change something get a lost reply, a failure or a conflict.
    pub(super) fn draw(&self, random: &mut StdRng, changes: bool) -> Option<Fault> {
        let mut chance: f64 = random.random();
        let mut hit = |probability: f64| {
            chance -= probability;
            chance < 0.0
        };
        if hit(self.unreachable) {
            return Some(Fault::Before(EngineError::Unreachable("simulated: connection reset".to_owned())));
        }
        if hit(self.timeout) {
            return Some(Fault::Before(EngineError::Timeout(PATIENCE)));
        }
        if !changes {
            return None;
        }
        if hit(self.reply_lost) {
            return Some(Fault::After(EngineError::Timeout(PATIENCE)));
        }
        if hit(self.failed) {
            return Some(Fault::Before(EngineError::Failed("simulated: internal error".to_owned())));
        }
        if hit(self.conflict) {
            return Some(Fault::Before(EngineError::Conflict("simulated: operation in progress".to_owned())));
        }
        None
    }
}

impl super::state::HostState {
    /// What happens to the next call that writes files.
    pub(super) fn files_fault(&mut self) -> Option<Fault> {
        let hit = self.faults.files > 0.0 && self.random.random::<f64>() < self.faults.files;
        hit.then(|| Fault::Before(EngineError::Failed("simulated: input/output error".to_owned())))
    }
}

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails and does nothing.
    Before(EngineError),
    /// It is done, and the caller is told otherwise.
    After(EngineError),
}

impl Fault {
    pub(super) fn error(&self) -> &EngineError {
        match self {
            Self::Before(error) | Self::After(error) => error,
        }
    }
}

/// Where in a call the agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it is done.
    Before,
    /// Some of it is done, where it consists of several things: a container is attached to the first of its networks, half of the files are written.
    During,
    /// It is done, and nobody hears of it.
    After,
}

/// The numbers of mutating calls, and the one at which the agent dies.
#[derive(Clone, Debug, Default)]
pub(super) struct CrashPoints {
    /// Mutating calls so far; the first is number 1.
    pub(super) count: usize,
    /// Where the agent dies.
    pub(super) at: Option<(usize, Moment)>,
    /// The same of the store's calls that change something, without the log of events: it is only told.
    pub(super) store_count: usize,
    /// The same of the store's calls.
    pub(super) store_at: Option<(usize, Moment)>,
    /// It dies: no further call of it does anything.
    pub(super) dead: bool,
    /// What was to be done of its last call is done.
    pub(super) over: bool,
}

impl CrashPoints {
    /// Counts a mutating call; the moment of death if it is this one.
    pub(super) fn count(&mut self) -> Option<Moment> {
        self.count += 1;
        match self.at {
            Some((number, moment)) if number == self.count => {
                self.dead = true;
                Some(moment)
            }
            _ => None,
        }
    }

    /// The same of the store's calls.
    pub(super) fn count_of_store(&mut self) -> Option<Moment> {
        self.store_count += 1;
        match self.store_at {
            Some((number, moment)) if number == self.store_count => {
                self.dead = true;
                Some(moment)
            }
            _ => None,
        }
    }
}

//! A change that fails because of the machine: it is put off, not given up. Pure.

use crate::model::condition::{ConditionType, HOST_HINDERED};
use crate::model::time::Span;
use crate::observe::observed::{ObservedContainer, Status};

use super::instance::Planning;
use super::remember::MemoryChange;
use super::step::Next;

/// What programs and engines say of a disk that is full, in small letters.
const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];
/// Starts that the engine fails in a row before the old instance comes back.
const TRIES: u32 = 3;
/// The first wait before the change is tried again.
const FIRST: u64 = 60_000;
/// It doubles so often: to an hour.
const DOUBLINGS: u32 = 6;

/// What the machine lacks, by the words of a program or of the engine. A read-only file system is none of it: that may be
/// what the spec says.
pub fn cause(words: &str) -> Option<String> {
    let line = words.lines().rev().find(|line| {
        let line = line.to_lowercase();
        FULL.iter().any(|full| line.contains(full))
    });
    line.map(|line| line.trim().to_owned())
}

/// How long a change is put off that was hindered so often in a row.
pub fn wait(times: u32) -> Span {
    Span((FIRST << times.saturating_sub(1).min(DOUBLINGS)).min(60 * FIRST))
}

/// A new instance beside its old one that the engine fails to start, for no fault of the spec: the old one comes back.
pub(super) fn cannot_start(planning: &Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    let failure = planning.memory.last_error.as_ref()?;
    let has_not_run = current.state.status == Status::Created || current.state.started_at.is_empty();
    let is_hindered = has_not_run
        && planning.memory.failures >= TRIES
        && !failure.spec_at_fault
        && failure.input_hash == planning.spec.input_hash
        && !planning.quarantined
        && planning.memory.proven.is_some();
    is_hindered.then(|| {
        Next::Remember(MemoryChange::Hindered {
            service: planning.spec.service.clone(),
            reason: failure.message.clone(),
            at: planning.input.now,
        })
    })
}

impl Planning<'_> {
    /// The old instance stays until the change is tried again.
    pub(super) fn hindrance_condition(&mut self) {
        let Some(hindrance) = self.hindered else { return };
        let message = format!(
            "generation {} could not be tried here: {}; the spec before it is in force until {}, when it is tried again",
            hindrance.since, hindrance.reason, hindrance.until
        );
        self.condition(ConditionType::Waiting, HOST_HINDERED, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_what_is_said_of_it() {
        let log = "starting\nERROR: write /var/lib/x: No space left on device\nbye";
        assert_eq!(cause(log).as_deref(), Some("ERROR: write /var/lib/x: No space left on device"));
        assert_eq!(cause("open /etc/x: Read-only file system"), None);
        assert_eq!(cause(""), None);
    }

    #[test]
    fn the_wait_grows_to_an_hour() {
        assert_eq!((wait(1), wait(2), wait(40)), (Span::seconds(60), Span::seconds(120), Span::seconds(3600)));
    }
}

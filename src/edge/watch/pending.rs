//! What came and is not told yet.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::Hint;

/// So long it must be quiet: an editor writes, renames and chmods within far less.
const SETTLE: Duration = Duration::from_millis(300);
/// So long we wait for quiet at most.
const LONGEST: Duration = Duration::from_secs(1);

/// Bounded by the number of things that there are, however much comes.
#[derive(Debug, Default)]
pub(super) struct Pending {
    first: Option<Instant>,
    last: Option<Instant>,
    site: bool,
    keys: BTreeSet<String>,
    anything: bool,
    /// Directories came or went.
    names: bool,
    /// Watched directories that were removed or moved.
    pub(super) lost: BTreeSet<PathBuf>,
}

impl Pending {
    pub(super) fn site(&mut self, now: Instant) {
        self.site = true;
        self.touch(now);
    }

    pub(super) fn files(&mut self, key: String, now: Instant) {
        self.keys.insert(key);
        self.touch(now);
    }

    pub(super) fn anything(&mut self, now: Instant) {
        self.anything = true;
        self.touch(now);
    }

    pub(super) fn names(&mut self, now: Instant) {
        self.names = true;
        self.touch(now);
    }

    fn touch(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// When it is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        Some((self.last? + SETTLE).min(self.first? + LONGEST))
    }

    /// Whether other directories may be of interest now.
    pub(super) fn needs_arming(&self) -> bool {
        self.names || self.anything || !self.lost.is_empty()
    }

    pub(super) fn hints(self) -> Vec<Hint> {
        if self.anything {
            return vec![Hint::Anything];
        }
        let site = self.site.then_some(Hint::Site);
        site.into_iter().chain(self.keys.into_iter().map(Hint::Files)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_when_it_is_quiet_and_after_a_second_at_the_latest() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut pending = Pending::default();
        assert_eq!(pending.due(), None);
        pending.site(start);
        assert_eq!(pending.due(), Some(after(300)));
        pending.files("web/1".to_owned(), after(200));
        assert_eq!(pending.due(), Some(after(500)));
        pending.site(after(900));
        assert_eq!(pending.due(), Some(after(1000)));
        assert_eq!(pending.hints(), [Hint::Site, Hint::Files("web/1".to_owned())]);
    }

    #[test]
    fn what_was_lost_hides_the_rest() {
        let mut pending = Pending::default();
        pending.site(Instant::now());
        pending.anything(Instant::now());
        assert!(pending.needs_arming());
        assert_eq!(pending.hints(), [Hint::Anything]);
    }
}

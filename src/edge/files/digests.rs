//! Digests of files, remembered as long as a file looks untouched, so that an unchanged deep pass reads nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use sha2::{Digest, Sha256};

use super::tree::{OpenFile, Outcome};

/// The kernel stamps changes by a coarse clock: two writes within a tick leave the same stamp. What was changed this
/// short a time ago (nanoseconds) is read again. Two seconds also cover file systems that count in those.
const TOO_FRESH: i128 = 2_000_000_000;

/// What changes when a file is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

fn nanoseconds(seconds: i64, rest: impl TryInto<i64>) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest.try_into().unwrap_or(0))
}

/// What one look at a directory found.
#[derive(Debug)]
pub(super) struct Seen {
    begun: i128,
    files: HashMap<String, (Stamp, String)>,
}

impl Default for Seen {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self::at(i128::try_from(now).unwrap_or(0))
    }
}

impl Seen {
    /// Nothing yet, at this time.
    pub(super) fn at(begun: i128) -> Self {
        Self { begun, files: HashMap::new() }
    }

    /// A digest, and how the file looked just before it was read.
    pub(super) fn add(&mut self, path: &str, stamp: Stamp, digest: &str) {
        if stamp.changed.abs_diff(self.begun) > TOO_FRESH.unsigned_abs() && stamp.changed < self.begun {
            self.files.insert(path.to_owned(), (stamp, digest.to_owned()));
        }
    }
}

/// Digests by key and path.
#[derive(Debug, Default)]
pub(super) struct Digests(BTreeMap<String, HashMap<String, (Stamp, String)>>);

impl Digests {
    pub(super) fn get(&self, key: &str, path: &str, stamp: &Stamp) -> Option<String> {
        let (known, digest) = self.0.get(key)?.get(path)?;
        (known == stamp).then(|| digest.clone())
    }

    /// Remembers what was seen, and only that.
    pub(super) fn keep(&mut self, key: &str, seen: Seen) {
        if seen.files.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), seen.files);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// Hex SHA-256 of a file.
pub(super) fn digest(file: &mut OpenFile) -> Outcome<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..length]);
    }
}

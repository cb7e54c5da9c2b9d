//! One agent or apply at a time for each state directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The right to change what lies in a state directory, until it is dropped. Children do not inherit it.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Why the lock was not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{} is locked by {holder}", .path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// `agent (process 4711)`.
        holder: String,
    },
    /// It could not be asked for.
    #[error("{}: cannot be locked: {reason}", .path.display())]
    Failed {
        /// The lock.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl StateLock {
    /// Takes the lock for a purpose (`agent`, `apply`) or says at once who has it.
    pub fn take(state: &Path, purpose: &str) -> Result<Self, LockError> {
        let path = state.join("lock");
        let failed = |error: &io::Error| LockError::Failed { path: path.clone(), reason: super::system_words(error) };
        let mut file = open(state, &path).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Busy { holder: holder(&mut file), path }),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // Only for people: on a full or read-only disk the lock holds all the same.
        let _ = sign(&mut file, purpose);
        Ok(Self { _file: file })
    }
}

/// The file, or on a disk that takes none the directory itself.
fn open(state: &Path, path: &Path) -> io::Result<File> {
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(state);
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    made.or_else(|refusal| File::open(path).or_else(|_| File::open(state)).map_err(|_| refusal))
}

fn sign(file: &mut File, purpose: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {purpose}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // A directory cannot be read, and who has just taken the lock may not have signed yet.
    let _ = file.take(4096).read_to_string(&mut text);
    match text.trim().split_once(' ') {
        Some((process, purpose)) => format!("{purpose} (process {process})"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn is_given_once_and_again_after_it_was_dropped() {
        let state = tempfile::tempdir().unwrap();
        let lock = StateLock::take(state.path(), "agent").unwrap();
        let error = StateLock::take(state.path(), "apply").unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}/lock is locked by agent (process {})", state.path().display(), std::process::id())
        );
        drop(lock);
        StateLock::take(state.path(), "apply").unwrap();
    }

    #[test]
    fn makes_the_state_directory_for_us_alone() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("a/b");
        let _lock = StateLock::take(&state, "agent").unwrap();
        assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(state.join("lock").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_holder_that_did_not_sign_yet_is_another_process() {
        let state = tempfile::tempdir().unwrap();
        let file = File::create(state.path().join("lock")).unwrap();
        file.try_lock().unwrap();
        let error = StateLock::take(state.path(), "apply").unwrap_err().to_string();
        assert!(error.ends_with("is locked by another process"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_is_an_error_with_its_path() {
        let error = StateLock::take(Path::new("/proc/no/such"), "apply").unwrap_err().to_string();
        assert!(error.starts_with("/proc/no/such/lock: cannot be locked: "), "{error}");
    }
}

//! The log of events: one JSON object a line, in a file and the one before it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::atomic;
use crate::report::event::Event;

/// Where events are added.
pub(super) const NEW: &str = "events.jsonl";
/// Where they lay before the last rotation.
const OLD: &str = "events.old.jsonl";
/// Bytes at which a file becomes the old one.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Adds a line (which ends in a newline). Not synced: a power cut may take the last few, and healing is not held up.
pub(super) fn append(state: &Path, line: &[u8]) -> io::Result<()> {
    append_bounded(state, line, LARGEST)
}

fn append_bounded(state: &Path, line: &[u8], largest: u64) -> io::Result<()> {
    atomic::make_directory(state)?;
    let mut file = open(state)?;
    let mut length = file.metadata()?.len();
    if length > 0 && length + line.len() as u64 > largest {
        fs::rename(state.join(NEW), state.join(OLD))?;
        file = open(state)?;
        length = 0;
    }
    let mut whole = Vec::with_capacity(line.len() + 1);
    if length > 0 && !ends_a_line(&mut file)? {
        // The disk was full, or the machine died: what is half stays alone on its line.
        whole.push(b'\n');
    }
    whole.extend_from_slice(line);
    file.write_all(&whole)
}

fn open(state: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(state.join(NEW))
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The newest, oldest first. Lines that are no events are left out.
pub(super) fn newest(state: &Path, most: usize) -> io::Result<Vec<Event>> {
    let mut lines = VecDeque::new();
    for name in [OLD, NEW] {
        let file = match File::open(state.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            if lines.len() == most {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }
    lines.truncate(most);
    Ok(lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;
    use crate::report::event::Severity;

    fn line(number: i64) -> Vec<u8> {
        let event = Event {
            at: Timestamp(number),
            generation: 1,
            severity: Severity::Normal,
            reason: "Started".to_owned(),
            subject: "web".to_owned(),
            message: "started".to_owned(),
        };
        let mut line = serde_json::to_vec(&event).unwrap();
        line.push(b'\n');
        line
    }

    fn times(state: &Path, most: usize) -> Vec<i64> {
        newest(state, most).unwrap().iter().map(|event| event.at.0).collect()
    }

    #[test]
    fn stays_bounded_and_keeps_the_newest() {
        let state = tempfile::tempdir().unwrap();
        let largest = 10 * line(1000).len() as u64;
        for number in 1000..1035 {
            append_bounded(state.path(), &line(number), largest).unwrap();
        }
        assert_eq!(times(state.path(), 3), [1032, 1033, 1034]);
        assert_eq!(times(state.path(), 100), (1020..1035).collect::<Vec<_>>());
        assert_eq!(times(state.path(), 0), [] as [i64; 0]);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_half_line_spoils_no_other() {
        let state = tempfile::tempdir().unwrap();
        append(state.path(), &line(1)).unwrap();
        append(state.path(), &line(2)[..10]).unwrap();
        append(state.path(), &line(3)).unwrap();
        append(state.path(), b"\xff\n").unwrap();
        append(state.path(), &line(4)).unwrap();
        assert_eq!(times(state.path(), 10), [1, 3, 4]);
    }
}

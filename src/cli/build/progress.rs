//! What is seen of builds: on a terminal a line for each that is under way, elsewhere one when it begins and one when it
//! ends; and the log of each image.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::super::args::{Global, Output};
use super::super::output;

/// Lines of a log that are shown of what failed.
const TAIL: usize = 15;
/// Between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(150);

/// Writes to standard error.
#[derive(Clone)]
pub struct Reporter {
    quiet: bool,
    colour: bool,
    live: Option<Arc<Live>>,
}

struct Live {
    area: MultiProgress,
    lines: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Reporter {
    /// By the options and by what standard error is.
    pub fn new(global: &Global) -> Self {
        let terminal = output::stderr(global);
        let quiet = global.quiet > 0 || global.output != Output::Text;
        let live = (terminal.is_terminal && !quiet)
            .then(|| Arc::new(Live { area: MultiProgress::new(), lines: Mutex::default() }));
        Self { quiet, colour: terminal.color, live }
    }

    /// Something begins.
    pub fn begin(&self, name: &str, what: &str) {
        let Some(live) = &self.live else { return self.say(&line(name, what)) };
        let style = ProgressStyle::with_template("{spinner} {prefix:20} {wide_msg} ({elapsed})");
        let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let bar = live.area.add(bar);
        bar.set_prefix(name.to_owned());
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        live.lines.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bar);
    }

    /// What it is at.
    pub fn follow(&self, name: &str, what: &str) {
        let Some(live) = &self.live else { return };
        if let Some(bar) = live.lines.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            bar.set_message(what.to_owned());
        }
    }

    /// It has ended well.
    pub fn end(&self, name: &str, what: &str) {
        self.clear(name);
        self.say(&line(name, what));
    }

    /// It has failed; that is told in any case.
    pub fn fail(&self, name: &str, what: &str) {
        self.clear(name);
        let text = line(name, what);
        self.write(&if self.colour { format!("\u{1b}[31m{text}\u{1b}[0m") } else { text });
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.write(text);
        }
    }

    fn clear(&self, name: &str) {
        let Some(live) = &self.live else { return };
        if let Some(bar) = live.lines.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            bar.finish_and_clear();
            live.area.remove(&bar);
        }
    }

    fn write(&self, text: &str) {
        match &self.live {
            Some(live) if live.area.println(text).is_ok() => {}
            _ => output::note(text),
        }
    }
}

fn line(name: &str, what: &str) -> String {
    format!("{name:<20} {what}")
}

/// The log of an image: all on disk, the last lines at hand.
pub struct Log {
    path: PathBuf,
    file: File,
    last: VecDeque<String>,
    open: String,
}

impl Log {
    /// Begins it anew, or goes on with it.
    pub fn open(directory: &Path, name: &str, anew: bool) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(format!("{name}.log"));
        let mut options = File::options();
        let file = options.create(true).write(true).append(!anew).truncate(anew).open(&path)?;
        Ok(Self { path, file, last: VecDeque::new(), open: String::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes; gives the last whole line, if there is a new one. A full disk does not end a build.
    pub fn write(&mut self, text: &str) -> Option<&str> {
        let _written = self.file.write_all(text.as_bytes());
        let mut is_new = false;
        for character in text.chars() {
            // Progress bars overwrite their line.
            if matches!(character, '\n' | '\r') {
                let line = std::mem::take(&mut self.open);
                if !line.trim().is_empty() {
                    is_new = true;
                    self.last.push_back(plain(&line));
                }
                if self.last.len() > TAIL {
                    self.last.pop_front();
                }
            } else {
                self.open.push(character);
            }
        }
        self.last.back().filter(|_| is_new).map(String::as_str)
    }

    /// The last lines, indented.
    pub fn tail(&self) -> String {
        self.last.iter().flat_map(|line| ["    ", line, "\n"]).collect()
    }
}

/// Without what moves the cursor or changes colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // `ESC [ ... LETTER`
            if characters.next() == Some('[') {
                for next in characters.by_ref() {
                    if next.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
        } else if !character.is_control() || character == '\t' {
            text.push(character);
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_all_on_disk_and_the_last_lines_at_hand() {
        let place = tempfile::tempdir().unwrap();
        let mut log = Log::open(&place.path().join("logs"), "x", true).unwrap();
        assert_eq!(log.write("one\ntw"), Some("one"));
        assert_eq!(log.write("o"), None);
        assert_eq!(log.write("\n\u{1b}[91mred\u{1b}[0m\r\n"), Some("red"));
        for number in 0..20 {
            log.write(&format!("{number}\n"));
        }
        assert!(log.tail().starts_with("    5\n    6\n"), "{}", log.tail());
        let mut more = Log::open(&place.path().join("logs"), "x", false).unwrap();
        more.write("more\n");
        let text = std::fs::read_to_string(more.path()).unwrap();
        assert!(text.starts_with("one\ntwo\n") && text.ends_with("19\nmore\n"), "{text}");
    }
}

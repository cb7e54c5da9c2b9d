//! What standard output is: a terminal or not, how wide, in colour or not, and what when its reader has gone.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Columns where nothing is known.
const USUAL: usize = 80;
/// Narrower nothing can be laid out.
const NARROWEST: usize = 20;

/// The word of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// Where a person looks at it.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// What is known of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Whether it is one.
    pub is_terminal: bool,
    /// Columns.
    pub width: usize,
    /// Whether to colour.
    pub color: bool,
}

impl Terminal {
    /// Standard output.
    pub fn stdout(choice: ColorChoice) -> Self {
        Self::of(io::stdout(), choice)
    }

    /// Standard error.
    pub fn stderr(choice: ColorChoice) -> Self {
        Self::of(io::stderr(), choice)
    }

    fn of(output: impl AsFd + IsTerminal, choice: ColorChoice) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let is_terminal = output.is_terminal();
        let size = rustix::termios::tcgetwinsize(output).ok().map(|size| usize::from(size.ws_col));
        Self { is_terminal, width: width(size, variable), color: is_colored(choice, is_terminal, variable) }
    }
}

/// The terminal's own word first: COLUMNS is often exported and out of date.
fn width(terminal: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> usize {
    let known = terminal.filter(|columns| *columns > 0);
    let told = || variable("COLUMNS")?.trim().parse().ok().filter(|columns| *columns > 0);
    known.or_else(told).unwrap_or(USUAL).max(NARROWEST)
}

/// The flag first, then NO_COLOR, then FORCE_COLOR, then what it is.
fn is_colored(choice: ColorChoice, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR") => false,
        ColorChoice::Auto if variable("FORCE_COLOR").is_some_and(|value| !value.is_empty() && value != "0") => true,
        ColorChoice::Auto => is_terminal && variable("TERM").as_deref() != Some("dumb"),
    }
}

/// An output whose reader may go at any time (`| head`), which is no failure. What comes after is thrown away instead of
/// ending the program: it may be in the middle of a change.
#[derive(Debug)]
pub struct Output<W> {
    inner: W,
    closed: AtomicBool,
}

impl<W: Write> Output<W> {
    /// Writes to this.
    pub fn new(inner: W) -> Self {
        Self { inner, closed: AtomicBool::new(false) }
    }

    /// Whether the reader has gone: who only shows something stops then, with success.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn unless_closed(&self, done: io::Result<usize>, length: usize) -> io::Result<usize> {
        match done {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(length)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.is_closed() {
            return Ok(buffer.len());
        }
        let done = self.inner.write(buffer);
        self.unless_closed(done, buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed() {
            return Ok(());
        }
        let done = self.inner.flush().map(|()| 0);
        self.unless_closed(done, 0).map(|_| ())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn colours_where_a_person_looks_and_nobody_objects() {
        use ColorChoice::{Always, Auto, Never};
        assert!(is_colored(Auto, true, environment(&[("TERM", "xterm"), ("NO_COLOR", "")])));
        assert!(!is_colored(Auto, false, environment(&[("TERM", "xterm")])));
        assert!(!is_colored(Auto, true, environment(&[("NO_COLOR", "1"), ("FORCE_COLOR", "1")])));
        assert!(is_colored(Auto, false, environment(&[("FORCE_COLOR", "1")])));
        assert!(!is_colored(Auto, false, environment(&[("FORCE_COLOR", "0")])));
        assert!(!is_colored(Auto, true, environment(&[("TERM", "dumb")])));
        assert!(is_colored(Always, false, environment(&[("NO_COLOR", "1")])));
        assert!(!is_colored(Never, true, environment(&[("FORCE_COLOR", "1")])));
    }

    #[test]
    fn knows_a_width_in_any_case() {
        assert_eq!(width(Some(132), environment(&[("COLUMNS", "90")])), 132);
        assert_eq!(width(Some(0), environment(&[("COLUMNS", "90")])), 90);
        assert_eq!(width(None, environment(&[("COLUMNS", "many")])), 80);
        assert_eq!(width(Some(3), environment(&[])), 20);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        let mut output = Output::new(writer);
        output.write_all(b"one").unwrap();
        assert!(!output.is_closed());
        drop(reader);
        output.write_all(b"two").unwrap();
        assert!(output.is_closed());
        writeln!(output, "three").unwrap();
        output.flush().unwrap();
    }

    #[test]
    fn other_failures_stay_failures() {
        let mut output = Output::new(std::fs::File::options().write(true).open("/dev/full").unwrap());
        assert_eq!(output.write_all(b"one").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!output.is_closed());
    }
}

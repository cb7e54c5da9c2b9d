//! Where the program's own log goes: to journald with fields where standard error is journald's, else to standard error.
//!
//! Fields become `MASTIC_HOST`, `MASTIC_SERVICE`, `MASTIC_ACTION` and so on: `journalctl MASTIC_SERVICE=keystone`.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// In which form log lines are written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// journald's own protocol where standard error is its socket, else text.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How to log.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// In which form.
    pub form: LogForm,
    /// The least important level that is shown of the program itself; libraries show warnings only.
    pub level: Level,
    /// Whether text has colour.
    pub colour: bool,
}

impl LogOptions {
    /// From `-q` and `-v`: each `v` one more, each `q` one less than `default`.
    pub fn level(default: Level, more: u8, less: u8) -> Level {
        const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        let place = LEVELS.iter().position(|level| *level == default).unwrap_or(2);
        let place = (place + usize::from(more)).saturating_sub(usize::from(less)).min(LEVELS.len() - 1);
        LEVELS[place]
    }
}

/// Starts logging, once a program. `journal_stream` is the environment's `JOURNAL_STREAM`. Done where it had been started.
pub fn start(options: LogOptions, journal_stream: Option<&str>) {
    let filter =
        Targets::new().with_default(LevelFilter::WARN).with_target("mastic", LevelFilter::from_level(options.level));
    let journal = (options.form == LogForm::Auto && is_journal(journal_stream))
        .then(|| tracing_journald::layer().ok())
        .flatten()
        .map(|layer| {
            layer.with_field_prefix(Some("MASTIC".to_owned())).with_syslog_identifier("mastic".to_owned()).boxed()
        });
    let layer: Box<dyn Layer<Registry> + Send + Sync> = journal.unwrap_or_else(|| {
        let text = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
        match options.form {
            LogForm::Json => text.json().flatten_event(true).boxed(),
            LogForm::Auto | LogForm::Text => text.with_ansi(options.colour && io::stderr().is_terminal()).boxed(),
        }
    });
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Whether standard error is the stream that systemd named: a child with its output redirected inherits only the name.
fn is_journal(journal_stream: Option<&str>) -> bool {
    let Some((device, inode)) = journal_stream.and_then(|stream| stream.split_once(':')) else { return false };
    let Ok(found) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    device == found.st_dev.to_string() && inode == found.st_ino.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn levels_go_up_and_down() {
        assert_eq!(LogOptions::level(Level::INFO, 0, 0), Level::INFO);
        assert_eq!(LogOptions::level(Level::INFO, 1, 0), Level::DEBUG);
        assert_eq!(LogOptions::level(Level::INFO, 9, 0), Level::TRACE);
        assert_eq!(LogOptions::level(Level::WARN, 0, 1), Level::ERROR);
        assert_eq!(LogOptions::level(Level::WARN, 0, 9), Level::ERROR);
    }

    #[test]
    fn only_the_stream_that_was_named_is_the_journal() {
        let found = rustix::fs::fstat(io::stderr().as_fd()).unwrap();
        assert!(is_journal(Some(&format!("{}:{}", found.st_dev, found.st_ino))));
        for other in [None, Some(""), Some("1:2"), Some("nonsense")] {
            assert!(!is_journal(other), "{other:?}");
        }
    }
}

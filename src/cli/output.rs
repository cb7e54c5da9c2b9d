//! What goes to standard output: text, JSON or YAML, to a reader who may leave early (`| head`).

use std::io::{self, Write as _};

use serde::Serialize;

use crate::edge::terminal::{ColorChoice, Output as Pipe, Terminal};

use super::args::{Color, Global, Output};
use super::error::CommandError;

/// What is known of standard output.
pub fn stdout(global: &Global) -> Terminal {
    Terminal::stdout(choice(global))
}

/// What is known of standard error.
pub fn stderr(global: &Global) -> Terminal {
    Terminal::stderr(choice(global))
}

fn choice(global: &Global) -> ColorChoice {
    match global.color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
}

/// Writes text. Whether somebody still reads.
pub fn print(text: &str) -> Result<bool, CommandError> {
    print_bytes(text.as_bytes())
}

/// Writes bytes as they are. Whether somebody still reads.
pub fn print_bytes(bytes: &[u8]) -> Result<bool, CommandError> {
    let mut pipe = Pipe::new(io::stdout().lock());
    pipe.write_all(bytes)?;
    pipe.flush()?;
    Ok(!pipe.is_closed())
}

/// Writes a value in the form that was asked for; `text` makes the one for people.
pub fn show(global: &Global, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CommandError> {
    match global.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(value)?))?,
        Output::Yaml => print(&serde_yaml::to_string(value)?)?,
        Output::Text => print(&text())?,
    };
    Ok(())
}

/// One value of a stream: one line of JSON, one YAML document, or text. Whether somebody still reads.
pub fn stream(global: &Global, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<bool, CommandError> {
    match global.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string(value)?)),
        Output::Yaml => print(&format!("---\n{}", serde_yaml::to_string(value)?)),
        Output::Text => print(&text()),
    }
}

/// A word to people besides the result. Who does not read it misses nothing.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// Writes bytes to standard error as they are. Whether somebody still reads.
pub fn print_errors(bytes: &[u8]) -> Result<bool, CommandError> {
    let mut pipe = Pipe::new(io::stderr().lock());
    pipe.write_all(bytes)?;
    Ok(!pipe.is_closed())
}

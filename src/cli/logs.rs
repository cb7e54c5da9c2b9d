//! `mastic logs`: what a service writes.

use clap::Args;
use futures_util::StreamExt as _;
use serde_json::json;

use crate::edge::site_files::DiskSiteFiles;
use crate::edge::store::DiskStore;
use crate::port::engine::{EngineError, LogChunk, ObserveEngine as _};
use crate::port::store::Store as _;
use crate::resolve::compile::compile;

use super::args::{Global, Output};
use super::connection::engine;
use super::error::{CommandError, Exit};
use super::interrupted::interrupted;
use super::output;
use super::subject::Subject;
use super::world::Place;

/// Options of `logs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic logs web -n 50\n  mastic logs web --follow")]
pub struct Options {
    /// Which service or job; on one of several hosts: HOST/SERVICE
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Go on with what is written from now on
    #[arg(long)]
    pub follow: bool,
    /// At most so many lines of the past
    #[arg(short = 'n', long = "lines", value_name = "NUMBER")]
    pub lines: Option<usize>,
}

/// Writes them as the service did: its standard error to standard error.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Subject { home, name, .. } = Subject::find(global, &options.service)?;
    let container = container_of(&home, &name)?;
    let engine = engine(&home)?;
    let found = engine.logs(&container, options.follow, options.lines).await;
    let mut chunks = found.map_err(|error| missing(error, &options.service))?;
    let mut rest = [Vec::new(), Vec::new()];
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = interrupted() => return Err(CommandError::interrupted("")),
        };
        let Some(chunk) = chunk else { break };
        if !show(global, options, &chunk?, &mut rest)? {
            return Ok(Exit::Done);
        }
    }
    for (stderr, line) in [false, true].into_iter().zip(rest) {
        if !line.is_empty() {
            show_line(global, options, stderr, &line)?;
        }
    }
    Ok(Exit::Done)
}

fn show(global: &Global, options: &Options, chunk: &LogChunk, rest: &mut [Vec<u8>; 2]) -> Result<bool, CommandError> {
    if global.output == Output::Text {
        return if chunk.stderr { output::print_errors(&chunk.bytes) } else { output::print_bytes(&chunk.bytes) };
    }
    let rest = &mut rest[usize::from(chunk.stderr)];
    rest.extend_from_slice(&chunk.bytes);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = rest.drain(..=end).collect();
        if !show_line(global, options, chunk.stderr, &line)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn show_line(global: &Global, options: &Options, stderr: bool, line: &[u8]) -> Result<bool, CommandError> {
    let text = String::from_utf8_lossy(line);
    let stream = if stderr { "stderr" } else { "stdout" };
    let value = json!({"service": options.service, "stream": stream, "line": text.trim_end_matches(['\r', '\n'])});
    output::stream(global, &value, String::new)
}

/// What the container of a service or job is called: by what is in force, else by the site.
pub(super) fn container_of(place: &Place, name: &str) -> Result<String, CommandError> {
    let accepted = DiskStore::open(&place.state).load_accepted()?;
    let desired = match (accepted, &place.request) {
        (Some(accepted), _) => accepted,
        (None, Some(request)) => compile(request, &DiskSiteFiles::new()).map_err(CommandError::invalid_site)?.desired,
        (None, None) => return super::ask::something_is_kept(&place.state).map(|()| name.to_owned()),
    };
    let service = desired.services.get(name).map(|spec| spec.container_name.to_string());
    service.or_else(|| desired.jobs.get(name).map(|spec| spec.container_name.to_string())).ok_or_else(|| {
        let names: Vec<String> = desired
            .services
            .keys()
            .map(ToString::to_string)
            .chain(desired.jobs.keys().map(ToString::to_string))
            .collect();
        CommandError::usage(format!(
            "there is no service or job `{name}` on this host; there are: {}",
            names.join(", ")
        ))
    })
}

/// In words of ours where there is no container.
pub(super) fn missing(error: EngineError, name: &str) -> CommandError {
    match error {
        EngineError::NotFound(_) => CommandError::failed(format!("{name} has no container"))
            .hinted(format!("`mastic why {name}` tells the reason")),
        error => error.into(),
    }
}

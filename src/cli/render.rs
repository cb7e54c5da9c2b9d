//! `mastic render`: the files that are mounted into containers, as they would be written.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::edge::site_files::DiskSiteFiles;
use crate::edge::system_words;
use crate::model::file::{FileSpec, OnChange, Owner, Shown};
use crate::model::names::RoleName;
use crate::resolve::compile::compile;
use crate::resolve::explain_config::ConfigExplanation;
use crate::resolve::layered::LayeredFile;

use super::args::{Global, Selection};
use super::error::{CommandError, Exit};
use super::output;
use super::validate::no_site;

/// Options of `render`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic render\n  mastic render --out /tmp/rendered && diff -r /tmp/before /tmp/rendered\n  mastic render --service web --out /root/real --reveal\n  mastic render --role keystone --provenance"
)]
pub struct Options {
    /// Write the files into this directory, which must be empty or new; without it they are listed
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// With secrets instead of placeholders; for the user's eyes only
    #[arg(long, requires = "out")]
    pub reveal: bool,
    /// Tell where each setting comes from that was put together from layers; with --out in FILE.provenance beside the files
    #[arg(long)]
    pub provenance: bool,
    /// Which services.
    #[command(flatten)]
    pub selection: Selection,
}

/// One rendered file.
#[derive(Serialize)]
struct Rendered {
    service: String,
    target: String,
    source: Option<String>,
    mode: String,
    owner: Owner,
    group: Owner,
    on_change: OnChange,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<PathBuf>,
}

/// Where the settings of a file come from.
struct Provenance {
    text: String,
    json: serde_json::Value,
    written: Option<PathBuf>,
}

/// Renders for one host.
pub fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    let compiled = compile(&request, &DiskSiteFiles::new()).map_err(CommandError::invalid_site)?;
    let desired = compiled.desired;
    for missing in desired.waits.missing() {
        output::note(&format!("note: {missing}; what needs it is left out"));
    }
    let services = desired.services.iter().map(|(name, spec)| (name.to_string(), spec.role.clone(), &spec.files));
    let jobs = desired.jobs.iter().map(|(name, spec)| (name.to_string(), spec.role.clone(), &spec.files));
    if let Some(out) = &options.out {
        prepare(out, options.reveal)?;
    }
    let mut rendered = Vec::new();
    for (service, role, files) in services.chain(jobs) {
        if !options.selection.covers(&service, role.as_ref().map(RoleName::as_str)) {
            continue;
        }
        for file in files {
            let written = match &options.out {
                Some(out) => Some(write(out, &service, file, options.reveal)?),
                None => None,
            };
            rendered.push(Rendered {
                service: service.clone(),
                target: file.target.clone(),
                source: file.source.clone(),
                mode: format!("{:04o}", file.mode),
                owner: file.owner.clone(),
                group: file.group.clone(),
                on_change: file.on_change,
                bytes: file.content.expose().len(),
                written,
            });
        }
    }
    if !options.provenance {
        output::show(global, &rendered, || text(&rendered))?;
        return Ok(Exit::Done);
    }
    let role_of = |name: &str| {
        let service = desired.services.get(name).and_then(|spec| spec.role.as_ref());
        service.or_else(|| desired.jobs.get(name).and_then(|spec| spec.role.as_ref()))
    };
    let mut known = Vec::new();
    for file in &compiled.layered {
        if options.selection.covers(&file.subject, role_of(&file.subject).map(RoleName::as_str)) {
            known.push(provenance(file, options.out.as_deref())?);
        }
    }
    let json: Vec<&serde_json::Value> = known.iter().map(|one| &one.json).collect();
    output::show(global, &serde_json::json!({"files": rendered, "provenance": json}), || {
        let tables = known.iter().map(|one| match &one.written {
            Some(path) => format!("{}\n", path.display()),
            None => format!("\n{}", one.text),
        });
        std::iter::once(text(&rendered)).chain(tables).collect()
    })?;
    Ok(Exit::Done)
}

fn provenance(file: &LayeredFile, out: Option<&Path>) -> Result<Provenance, CommandError> {
    let explained = ConfigExplanation::of(file);
    let (text, json) = (explained.to_text(), explained.to_json());
    let Some(out) = out else { return Ok(Provenance { text, json, written: None }) };
    let path = out.join(&file.subject).join(format!("{}.provenance", file.file));
    put(&path, text.as_bytes(), (0o755, 0o644))?;
    Ok(Provenance { text, json, written: Some(path) })
}

fn text(rendered: &[Rendered]) -> String {
    let name = |owner: &Owner| match owner {
        Owner::Id(id) => id.to_string(),
        Owner::Name(name) => name.clone(),
    };
    let lines = rendered.iter().map(|file| match &file.written {
        Some(path) => format!("{}\n", path.display()),
        None => format!(
            "{:<20} {} {}:{} {:>8}  {}\n",
            file.service,
            file.mode,
            name(&file.owner),
            name(&file.group),
            file.bytes,
            file.target
        ),
    });
    lines.collect()
}

fn failed(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("{}: {}", path.display(), system_words(error)))
}

fn prepare(out: &Path, reveal: bool) -> Result<(), CommandError> {
    let mode = if reveal { 0o700 } else { 0o755 };
    DirBuilder::new().recursive(true).mode(mode).create(out).map_err(|error| failed(out, &error))?;
    let mut entries = std::fs::read_dir(out).map_err(|error| failed(out, &error))?;
    if entries.next().is_some() {
        return Err(CommandError::failed(format!("{} is not empty", out.display()))
            .hinted("give a new directory, so that nothing old is taken for something rendered"));
    }
    Ok(())
}

/// Writes one file to `OUT/SERVICE/TARGET`.
fn write(out: &Path, service: &str, file: &FileSpec, reveal: bool) -> Result<PathBuf, CommandError> {
    let below = Path::new(&file.target).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        // A path in a container leads nowhere but below our directory.
        _ => None,
    });
    let path = out.join(service).join(below.collect::<PathBuf>());
    let placeholder;
    let content = match &file.shown {
        _ if reveal => file.content.expose(),
        Shown::Text(text) => text.as_bytes(),
        Shown::Opaque(bytes) => {
            placeholder = format!("«{bytes} bytes, binary or secret»\n");
            placeholder.as_bytes()
        }
    };
    put(&path, content, if reveal { (0o700, 0o600) } else { (0o755, 0o644) })?;
    Ok(path)
}

/// A new file, with the directories above it; modes of these and of the file.
fn put(path: &Path, content: &[u8], (of_directory, of_file): (u32, u32)) -> Result<(), CommandError> {
    if let Some(parent) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(of_directory).create(parent);
        made.map_err(|error| failed(parent, &error))?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(of_file).open(path);
    let mut opened = opened.map_err(|error| failed(path, &error))?;
    opened.write_all(content).map_err(|error| failed(path, &error))
}

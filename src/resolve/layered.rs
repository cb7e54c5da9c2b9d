//! Configuration that the site lays over the files of its roles.
//!
//! In: a file of a role as rendered, and the directory of overrides (`spec.overrides`). Out: the file that counts, and for
//! layered formats where each of its settings comes from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::service::Format as WrittenFormat;
use crate::parse::site::{Site, Written};
use crate::parse::source::Place;
use crate::port::site_files::{Kind, ReadError, SiteFiles};
use crate::render::layers::lookup::{Wanted, unread};
use crate::render::layers::{Format, LayerError, LayerText, Setting, merge};
use crate::render::template::Rendered;

use super::compile::HostCompiler;
use super::files::{file_name, verbatim};

/// Where overrides lie where the site says nothing.
const DEFAULT_DIRECTORY: &str = "config";
/// How deep directories of overrides go: ROLE/HOST/SERVICE, and some air.
const DEEPEST: usize = 8;

/// A file that was put together from layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayeredFile {
    /// The service or job.
    pub subject: String,
    /// Its own name, as `keystone.conf`.
    pub file: String,
    /// Paths of its layers, the lowest first.
    pub layers: Vec<String>,
    /// Every setting with its origin.
    pub settings: Vec<Setting>,
}

/// The directory of overrides.
pub fn directory(site: &Site, site_directory: &Path) -> PathBuf {
    site_directory.join(site.spec.get("overrides").and_then(Node::as_text).unwrap_or(DEFAULT_DIRECTORY))
}

impl HostCompiler<'_> {
    /// A file of a role with what the site lays over it. None where that is wrong, or where there is neither: a file that
    /// may be missing has no `base` then.
    pub fn overridden(
        &mut self,
        base: Option<Rendered>,
        name: &str,
        below: &str,
        format: Option<WrittenFormat>,
        template: bool,
        place: Place,
    ) -> Option<Rendered> {
        let Some(used) = self.scope.role.clone() else { return base };
        let directory = directory(&self.tree.site, &self.tree.directory);
        let wanted = Wanted {
            role: used.name.as_str(),
            service: &self.subject,
            host: self.host.as_str(),
            file: name,
            ini: format == Some(WrittenFormat::Ini),
        };
        let mut layers: Vec<LayerText> =
            base.into_iter().map(|rendered| LayerText { name: below.to_owned(), rendered }).collect();
        for candidate in wanted.candidates() {
            let path = directory.join(&candidate);
            match self.reader.source_at(&path) {
                Ok(content) => {
                    let rendered =
                        if template { self.render_bytes(&path, &content, place)? } else { verbatim(&content) };
                    layers.push(LayerText { name: path.display().to_string(), rendered });
                }
                Err(ReadError::Missing) => {}
                Err(why) => {
                    let message = format!("cannot read `{}`: {why}", path.display());
                    self.errors.push(Diagnostic::error("F001", place, message));
                    return None;
                }
            }
        }
        let format = match format {
            Some(WrittenFormat::Ini) => Format::INI,
            Some(WrittenFormat::Yaml) => Format::YAML,
            // The strongest one is the file.
            None => return layers.pop().map(|layer| layer.rendered),
        };
        if layers.is_empty() {
            return None;
        }
        match merge(format, &layers) {
            Ok(merged) => {
                self.layered.push(LayeredFile {
                    subject: self.subject.clone(),
                    file: name.to_owned(),
                    layers: layers.into_iter().map(|layer| layer.name).collect(),
                    settings: merged.settings,
                });
                Some(merged.rendered)
            }
            Err(error) => {
                let diagnostic = self.layer_error(&error, &layers, place);
                self.errors.push(diagnostic);
                None
            }
        }
    }

    fn layer_error(&mut self, error: &LayerError, layers: &[LayerText], used_at: Place) -> Diagnostic {
        let text = layers.iter().find(|layer| layer.name == error.layer && !error.private);
        let text = text.and_then(|layer| std::str::from_utf8(layer.rendered.real.expose()).ok());
        let diagnostic = match text.filter(|text| error.range.end <= text.len()) {
            // The snippet is of the file as rendered, which is where the line counts.
            Some(text) => {
                let file = self.sources.add(error.layer.clone(), text);
                let at = Place::new(file, error.range.start, error.range.end);
                Diagnostic::error("L001", at, error.cause.to_string()).also(used_at, "rendered because of this")
            }
            None => Diagnostic::error("L001", used_at, error.to_string()),
        };
        diagnostic.maybe_help(error.help().map(str::to_owned))
    }
}

/// Overrides that no role of the site could read.
pub fn check(site: &Site, site_directory: &Path, files: &dyn SiteFiles, errors: &mut Vec<Diagnostic>) {
    let directory = directory(site, site_directory);
    let named = site.spec.get("overrides");
    if files.kind(&directory) != Ok(Kind::Directory) {
        if let Some(node) = named {
            let message = format!("there is no directory `{}`", directory.display());
            errors.push(
                Diagnostic::error("F001", node.place, message)
                    .help("it holds configuration that is laid over that of roles"),
            );
        }
        return;
    }
    let mut found = Vec::new();
    list(files, &directory, 0, &mut found);
    let relative: Vec<String> = found
        .iter()
        .filter_map(|path| Some(path.strip_prefix(&directory).ok()?.to_string_lossy().into_owned()))
        .collect();
    if relative.is_empty() {
        return;
    }
    let known = candidates(site);
    for odd in unread(relative.iter().map(String::as_str), &known) {
        let path = directory.join(&odd.path);
        let message = format!("no role of this site reads the override `{}`", path.display());
        let mut error = Diagnostic::general("L002", message);
        if let Some(meant) = odd.meant {
            error = error.help(format!("`{}` is read", directory.join(meant).display()));
        }
        errors.push(
            error.help(
                "overrides are named after a file of a role: FILE, ROLE/FILE, ROLE/HOST/FILE; see `mastic explain`",
            ),
        );
    }
}

/// Every path that some file of a role is looked for at, on any host.
fn candidates(site: &Site) -> BTreeSet<String> {
    let services = site.services.iter().map(|(name, written)| (name.as_str(), written));
    let jobs = site.jobs.iter().map(|(name, written)| (name.as_str(), written));
    let mut known = BTreeSet::new();
    for (service, written) in services.chain(jobs) {
        let Some(used) = &written.role else { continue };
        for (file, ini) in files_of(written) {
            for host in site.hosts.keys() {
                let wanted = Wanted { role: used.name.as_str(), service, host: host.as_str(), file: &file, ini };
                known.extend(wanted.candidates());
            }
        }
    }
    known
}

/// Names of the files that a service is written with, and whether they are INI.
fn files_of(written: &Written) -> Vec<(String, bool)> {
    let own = written.node.get("files");
    let of_contract = written.node.get("kolla").and_then(|kolla| kolla.get("config_files"));
    let entries = own.into_iter().chain(of_contract).flat_map(|list| list.items().iter());
    entries
        .filter_map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Node::as_text);
            let last = |path: &str| path.rsplit('/').next().map(str::to_owned).filter(|name| !name.is_empty());
            let name = text("name")
                .map(str::to_owned)
                .or_else(|| file_name(text("source")?))
                .or_else(|| last(text("target").or_else(|| text("dest"))?))?;
            Some((name, text("format") == Some("ini")))
        })
        .collect()
}

fn list(files: &dyn SiteFiles, directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if depth > DEEPEST {
        return;
    }
    for path in files.list(directory).unwrap_or_default() {
        match files.kind(&path) {
            Ok(Kind::Directory) => list(files, &path, depth + 1, found),
            Ok(Kind::File) => found.push(path),
            Err(_) => {}
        }
    }
}

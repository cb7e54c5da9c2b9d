//! The files of an instance: rendered, and given their places below the directory of its spec.
//!
//! Files that need a new container go to `fixed/N`, each mounted alone at its target. Files that change under a running
//! container go to `live/K/NAME`, and `live/K` is mounted as a whole: a single mounted file would go on showing the old
//! one after an atomic rename.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::file::{FileSpec, OnChange, Owner, Shown};
use crate::model::secret::Sensitive;
use crate::model::settings::Mount;
use crate::parse::container::Grant;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::mounts::normal_target;
use crate::parse::node::Node;
use crate::parse::read::At;
use crate::parse::service::{FileContent, FileEntry};
use crate::parse::site::Provided;
use crate::parse::source::{Place, Sources};
use crate::parse::suggest::did_you_mean;
use crate::port::site_files::ReadError;
use crate::render::safe_error::TemplateError;
use crate::render::template::Rendered;

use super::compile::HostCompiler;
use super::expand::template_error;
use super::roles::objects::{connection_template, program};

/// The files of an instance and the mounts that show them.
#[derive(Debug, Default)]
pub struct Placed {
    /// Files.
    pub files: Vec<FileSpec>,
    /// Mounts by target, with the place that asked for each.
    pub mounts: BTreeMap<String, (Mount, Place)>,
    fixed: usize,
    live: Vec<String>,
    /// Where each target was asked for.
    targets: BTreeMap<String, Place>,
}

impl Placed {
    /// The path of one more directory that is mounted as a whole.
    pub(super) fn new_live(&mut self, target: &str) -> String {
        self.live.push(target.to_owned());
        format!("live/{}", self.live.len() - 1)
    }
}

/// A file before it has its place.
struct Draft {
    target: String,
    source: Option<String>,
    rendered: Rendered,
    mode: u32,
    owner: Owner,
    group: Owner,
    on_change: OnChange,
    place: Place,
}

impl HostCompiler<'_> {
    /// Renders and places the files, configs and secrets of an instance or a job.
    pub fn place_files(&mut self, files: &[FileEntry], configs: &[Grant], secrets: &[Grant], is_job: bool) -> Placed {
        let mut placed = Placed::default();
        for entry in files {
            if let Some(draft) = self.draft(entry, is_job) {
                self.place_one(&mut placed, draft);
            }
        }
        for grant in configs {
            if let Some(draft) = self.config(grant) {
                self.place_one(&mut placed, draft);
            }
        }
        for grant in secrets {
            if let Some(draft) = self.secret(grant) {
                self.place_one(&mut placed, draft);
            }
        }
        placed
    }

    fn draft(&mut self, entry: &FileEntry, is_job: bool) -> Option<Draft> {
        let on_change = if is_job { OnChange::Replace } else { entry.on_change.value };
        let directory = entry.target.value.ends_with('/');
        if on_change.is_live() && !directory {
            let word = match on_change {
                OnChange::Restart => "restart",
                OnChange::Reload => "reload",
                _ => "nothing",
            };
            let parent = entry.target.value.rsplit_once('/').map_or("/", |(parent, _)| parent);
            self.errors.push(
                Diagnostic::error("F002", entry.target.place, format!("a file with `on_change: {word}` needs a directory as its target"))
                    .label("this is a lone file")
                    .also(entry.on_change.place, "changed under a running container because of this")
                    .help(format!(
                        "a file mounted alone goes on showing its old content after it was replaced; write `target: {parent}/`, which mounts the directory"
                    )),
            );
            return None;
        }
        let name = match (&entry.name, &entry.content) {
            (Some(name), _) => Some(name.value.clone()),
            (None, FileContent::Source(source)) => file_name(&source.value),
            (None, _) => None,
        };
        let target = if directory {
            let Some(name) = name else {
                let error = Diagnostic::error(
                    "F002",
                    entry.target.place,
                    "a file with `content` has no name of its own in this directory",
                );
                self.errors.push(error.help("add `name:`, or write the whole path as `target`"));
                return None;
            };
            normal_target(&format!("{}/{name}", entry.target.value))
        } else {
            normal_target(&entry.target.value)
        };
        let (rendered, source) = match &entry.content {
            FileContent::Certificate(name, part) => (self.certificate(&name.value, *part, name.place)?, None),
            FileContent::ConnectionOf(provided) => (self.connection_of(provided, entry.place)?, None),
            FileContent::ProgramOf(provided) => (self.program_of(provided)?, None),
            FileContent::Source(source) => {
                let template = entry.template.unwrap_or_else(|| has_template_ending(&source.value));
                let path = self.source_path(&source.value, source.place);
                let is_missing = matches!(self.reader.source_at(&path), Err(ReadError::Missing));
                let own = if entry.optional && is_missing {
                    None
                } else {
                    Some(self.render_source(&source.value, source.place, template)?)
                };
                let below = path.display().to_string();
                let rendered =
                    self.overridden(own, &base_name(source, &target), &below, entry.format, template, source.place)?;
                (rendered, Some(source.value.clone()))
            }
            FileContent::Inline(content) if entry.template == Some(false) => (verbatim(content.value.as_bytes()), None),
            FileContent::Inline(content) => {
                let own = self.render_inline(&content.value, content.place)?;
                let below = self.sources.describe(content.place);
                let name = target.rsplit('/').next().unwrap_or("").to_owned();
                (self.overridden(Some(own), &name, &below, entry.format, true, content.place)?, None)
            }
        };
        Some(Draft {
            target,
            source,
            rendered,
            mode: entry.mode,
            owner: entry.owner.clone(),
            group: entry.group.clone(),
            on_change,
            place: entry.target.place,
        })
    }

    /// What a role that keeps objects tells its programs of the way to its server, with its own variables.
    fn connection_of(&mut self, provided: &Provided, place: Place) -> Option<Rendered> {
        let own = self.scope.role.clone();
        self.enter(Some(&provided.role));
        let rendered = self.render_inline(&connection_template(provided), place);
        self.enter(own.as_ref());
        rendered
    }

    /// The program of a provider; none where the image brings it along.
    fn program_of(&mut self, provided: &Provided) -> Option<Rendered> {
        let content = self.reader.source_at(&program(provided)?).ok()?;
        Some(verbatim(&content))
    }

    fn config(&mut self, grant: &Grant) -> Option<Draft> {
        let name = grant.source.value.as_str();
        let Some(entry) = self.spec("configs").and_then(|configs| configs.get(name)).cloned() else {
            self.unknown("config", "configs", name, grant.source.place);
            return None;
        };
        let given: Vec<&str> =
            ["file", "content", "environment"].into_iter().filter(|key| entry.get(key).is_some()).collect();
        let (rendered, source) = match given.as_slice() {
            ["file"] => {
                let path = entry.get("file")?;
                let written = path.as_text()?.to_owned();
                (self.render_source(&written, path.place, has_template_ending(&written))?, Some(written))
            }
            ["content"] => {
                let content = entry.get("content")?;
                (self.render_inline(content.as_text()?, content.place)?, None)
            }
            ["environment"] => {
                let variable = entry.get("environment")?;
                let Some(value) = self.request.environment.get(variable.as_text()?) else {
                    let message = format!("the environment has no `{}`", variable.as_text()?);
                    self.errors.push(Diagnostic::error("F001", variable.place, message));
                    return None;
                };
                (verbatim(value.as_bytes()), None)
            }
            _ => {
                let message = format!("the config `{name}` needs one of `file`, `content`, `environment`");
                self.errors.push(Diagnostic::error("K003", entry.place, message));
                return None;
            }
        };
        self.granted(grant, "/", rendered, source, 0o444)
    }

    fn secret(&mut self, grant: &Grant) -> Option<Draft> {
        let name = grant.source.value.as_str();
        let Some(content) = self.secrets.get(name).cloned() else {
            // One that is declared and cannot be read has been reported where it is declared.
            if self.spec("secrets").is_none_or(|secrets| secrets.get(name).is_none()) {
                self.unknown("secret", "secrets", name, grant.source.place);
            }
            return None;
        };
        let shown = Shown::Opaque(content.expose().len() as u64);
        let rendered = Rendered { real: content, shown, uses_secret: true };
        self.granted(grant, "/run/secrets/", rendered, None, 0o400)
    }

    fn granted(
        &mut self,
        grant: &Grant,
        directory: &str,
        rendered: Rendered,
        source: Option<String>,
        mode: u32,
    ) -> Option<Draft> {
        let written = grant.target.as_ref().unwrap_or(&grant.source);
        let target = if written.value.starts_with('/') {
            written.value.clone()
        } else {
            format!("{directory}{}", written.value)
        };
        if let Err(why) = crate::parse::leaves::absolute(&target) {
            self.errors.push(Diagnostic::error("V002", written.place, why));
            return None;
        }
        let owner = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("0");
            text.parse().map_or_else(|_| Owner::Name(text.to_owned()), Owner::Id)
        };
        Some(Draft {
            target: normal_target(&target),
            source,
            rendered,
            mode: grant.mode.unwrap_or(mode),
            owner: owner(&grant.owner),
            group: owner(&grant.group),
            on_change: OnChange::Replace,
            place: written.place,
        })
    }

    fn place_one(&mut self, placed: &mut Placed, draft: Draft) {
        if draft.target == "/" {
            self.errors.push(Diagnostic::error("F002", draft.place, "a file cannot be the root of the file system"));
            return;
        }
        if let Some(first) = placed.targets.insert(draft.target.clone(), draft.place) {
            let error = Diagnostic::error("R005", draft.place, format!("two files are put at `{}`", draft.target));
            self.errors.push(error.also(first, "here first"));
            return;
        }
        let path = if draft.on_change.is_live() {
            let (directory, name) = draft.target.rsplit_once('/').unwrap_or(("", &draft.target));
            if directory.is_empty() {
                self.errors.push(Diagnostic::error(
                    "F002",
                    draft.place,
                    "this would hide the whole file system of the container",
                ));
                return;
            }
            let index = placed.live.iter().position(|known| known == directory).unwrap_or_else(|| {
                placed.live.push(directory.to_owned());
                placed.live.len() - 1
            });
            let mount = Mount::Managed { path: format!("live/{index}") };
            placed.mounts.entry(directory.to_owned()).or_insert((mount, draft.place));
            format!("live/{index}/{name}")
        } else {
            let path = format!("fixed/{}", placed.fixed);
            placed.fixed += 1;
            placed.mounts.insert(draft.target.clone(), (Mount::Managed { path: path.clone() }, draft.place));
            path
        };
        placed.files.push(FileSpec {
            target: draft.target,
            source: draft.source,
            content: draft.rendered.real,
            shown: draft.rendered.shown,
            mode: draft.mode,
            owner: draft.owner,
            group: draft.group,
            on_change: draft.on_change,
            path,
            fileset: None,
        });
    }

    fn render_source(&mut self, written: &str, place: Place, template: bool) -> Option<Rendered> {
        let path = self.source_path(written, place);
        let content = match self.reader.source_at(&path) {
            Ok(content) => content,
            Err(why) => {
                self.errors.push(Diagnostic::error("F001", place, format!("cannot read `{}`: {why}", path.display())));
                return None;
            }
        };
        if template { self.render_bytes(&path, &content, place) } else { Some(verbatim(&content)) }
    }

    /// Renders a template file.
    pub fn render_bytes(&mut self, path: &Path, content: &[u8], place: Place) -> Option<Rendered> {
        let shown = path.display().to_string();
        let Ok(text) = std::str::from_utf8(content) else {
            let error = Diagnostic::error("F001", place, format!("the template `{shown}` is not UTF-8 text"));
            self.errors.push(error.help("`template: false` copies it as it is"));
            return None;
        };
        self.load_includes(text);
        let name = path.strip_prefix(&self.reader.directory).unwrap_or(path).display().to_string();
        match self.scope.templates.render(&name, text, &self.scope.context) {
            Ok(rendered) => Some(rendered),
            Err(error) => {
                self.errors.push(file_error(&error, &shown, text, place, &mut self.sources));
                None
            }
        }
    }

    fn render_inline(&mut self, content: &str, place: Place) -> Option<Rendered> {
        self.load_includes(content);
        match self.scope.templates.render("content", content, &self.scope.context) {
            Ok(rendered) => Some(rendered),
            Err(error) => {
                self.errors.push(template_error(&error, place, content, &self.sources));
                None
            }
        }
    }

    /// Reads what a template includes, extends or imports, as the engine asks for it by name only.
    fn load_includes(&mut self, text: &str) {
        for name in included(text) {
            if self.scope.included.lock().is_ok_and(|known| known.contains_key(&name)) {
                continue;
            }
            let of_role = self.scope.role.as_ref().map(|used| used.role.directory.join("templates").join(&name));
            let content = of_role.and_then(|path| self.reader.source_at(&path).ok());
            let Some(content) = content.or_else(|| self.reader.source(&name).ok()) else { continue };
            let Ok(text) = String::from_utf8(content.to_vec()) else { continue };
            if let Ok(mut known) = self.scope.included.lock() {
                known.insert(name, text.clone());
            }
            self.load_includes(&text);
        }
    }

    /// Reports a name that the site does not declare.
    pub fn unknown(&mut self, what: &str, section: &str, name: &str, place: Place) {
        let declared: Vec<String> =
            self.spec(section).into_iter().flat_map(Node::entries).map(|(name, _)| name.to_owned()).collect();
        self.errors.push(
            Diagnostic::error("R001", place, format!("no {what} is called `{name}`"))
                .maybe_help(did_you_mean(name, declared.iter().map(String::as_str)))
                .help(format!("declare it under `spec.{section}`")),
        );
    }
}

/// What a file is called, whatever it is called where it lies in the container.
fn base_name(source: &At<String>, target: &str) -> String {
    file_name(&source.value).unwrap_or_else(|| target.rsplit('/').next().unwrap_or("").to_owned())
}

/// A file as it is.
pub fn verbatim(content: &[u8]) -> Rendered {
    let shown = match std::str::from_utf8(content) {
        Ok(text) => Shown::Text(text.to_owned()),
        Err(_) => Shown::Opaque(content.len() as u64),
    };
    Rendered { real: Sensitive::new(content), shown, uses_secret: false }
}

fn has_template_ending(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "j2")
}

/// The last part of a path without `.j2`.
pub(super) fn file_name(path: &str) -> Option<String> {
    let name = Path::new(path).file_name()?.to_string_lossy().into_owned();
    Some(name.strip_suffix(".j2").map_or(name.clone(), str::to_owned))
}

/// Quoted names that follow `include`, `extends`, `import` or `from` in a template.
fn included(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for block in text.split("{%").skip(1) {
        let block = block.split("%}").next().unwrap_or("");
        let word = block.trim_start_matches(['-', '+']).split_whitespace().next().unwrap_or("");
        if !["include", "extends", "import", "from"].contains(&word) {
            continue;
        }
        for quote in ['"', '\''] {
            names.extend(block.split(quote).skip(1).step_by(2).map(str::to_owned));
        }
    }
    names
}

/// An error of a template file, shown in that file.
fn file_error(error: &TemplateError, path: &str, text: &str, used_at: Place, sources: &mut Sources) -> Diagnostic {
    // What went wrong in an included template is told by name and line.
    let own = error.range.clone().filter(|range| range.end <= text.len());
    let line_start = |line: usize| text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    let range = own.or_else(|| error.line.map(|line| line_start(line)..line_start(line + 1)));
    let same_file = path.ends_with(error.template.as_str());
    let Some(range) = range.filter(|_| same_file) else {
        return Diagnostic::error("T001", used_at, error.to_string()).waits(error.waits.clone());
    };
    let file = sources.add(path, text);
    Diagnostic::error("T001", Place::new(file, range.start, range.end), error.message.clone())
        .also(used_at, "rendered because of this")
        .waits(error.waits.clone())
}

#[cfg(test)]
mod tests {
    use super::{file_name, included};

    #[test]
    fn names_of_included_templates_are_found() {
        let text = "{% include \"a.j2\" %} {%- extends 'b/c.j2' -%} {% from \"m.j2\" import x %} {% if \"no\" %}";
        assert_eq!(included(text), ["a.j2", "b/c.j2", "m.j2"]);
    }

    #[test]
    fn a_template_loses_its_ending_on_the_way() {
        assert_eq!(file_name("conf/app.conf.j2").as_deref(), Some("app.conf"));
        assert_eq!(file_name("logo.png").as_deref(), Some("logo.png"));
    }
}

//! What is wrong with a site, for people and for machines.
//!
//! In: findings with places. Out: text as rustc prints it (file:line:column, snippet, help), or JSON.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::json;

use crate::model::facts::MissingFact;

use super::source::{FileId, Place, Sources};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can be used as it is.
    Warning,
    /// It cannot.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, such as `K001`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, without the place.
    pub message: String,
    /// Where; none where no text is at fault.
    pub place: Option<Place>,
    /// What the snippet says at the place.
    pub label: String,
    /// Other places that matter.
    pub labels: Vec<(Place, String)>,
    /// What to do.
    pub help: Vec<String>,
    /// Whether the line at the place may hold a secret: then only its number is shown.
    pub private: bool,
    /// Whether nothing is wrong but that this is not known yet.
    pub waits: Option<MissingFact>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: Some(place),
            label: String::new(),
            labels: Vec::new(),
            help: Vec::new(),
            private: false,
            waits: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, message) }
    }

    /// An error that no text is at fault for.
    pub fn general(code: &'static str, message: impl Into<String>) -> Self {
        Self { place: None, ..Self::error(code, Place::default(), message) }
    }

    /// Adds what the snippet says at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.labels.push((place, label.into()));
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Says that it is for want of a fact, if it is.
    #[must_use]
    pub fn waits(mut self, fact: Option<MissingFact>) -> Self {
        self.waits = fact;
        self
    }

    /// Adds what to do, if there is something.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }
}

/// Findings with the texts that they point into.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    sources: Sources,
    list: Vec<Diagnostic>,
}

/// More findings than this help nobody; the rest is counted.
const SHOWN: usize = 50;

impl Diagnostics {
    /// Findings about these texts, each once, in the order of the places.
    pub fn new(sources: Sources, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by(|left, right| {
            (left.place.is_none(), left.place, left.code).cmp(&(right.place.is_none(), right.place, right.code))
        });
        list.dedup();
        Self { sources, list }
    }

    /// The findings.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The texts.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Text with snippets, in colour or without.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out: Vec<String> =
            self.list.iter().take(SHOWN).map(|diagnostic| renderer.render(&[self.group(diagnostic)])).collect();
        if self.list.len() > SHOWN {
            out.push(format!("... and {} more", self.list.len() - SHOWN));
        }
        out.join("\n\n")
    }

    /// One line a finding, as `site.yaml:3:7: error[K001]: ...`: for logs and conditions.
    pub fn lines(&self) -> Vec<String> {
        self.list
            .iter()
            .map(|diagnostic| {
                let place = diagnostic.place.map(|place| format!("{}: ", self.sources.describe(place)));
                let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
                format!("{}{severity}[{}]: {}", place.unwrap_or_default(), diagnostic.code, diagnostic.message)
            })
            .collect()
    }

    /// For machines.
    pub fn to_json(&self) -> serde_json::Value {
        let place = |place: Place| {
            let file = self.sources.get(place.file);
            let (line, column) = file.map_or((0, 0), |file| file.line_column(place.start));
            let (end_line, end_column) = file.map_or((0, 0), |file| file.line_column(place.end));
            json!({
                "file": file.map(|file| file.path.as_str()), "line": line, "column": column,
                "end_line": end_line, "end_column": end_column,
            })
        };
        let list = self.list.iter().map(|diagnostic| {
            json!({
                "code": diagnostic.code,
                "severity": if diagnostic.severity == Severity::Error { "error" } else { "warning" },
                "message": diagnostic.message,
                "place": diagnostic.place.map(place),
                "label": diagnostic.label,
                "labels": diagnostic.labels.iter()
                    .map(|(at, label)| json!({"place": place(*at), "label": label})).collect::<Vec<_>>(),
                "help": diagnostic.help,
            })
        });
        serde_json::Value::Array(list.collect())
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.code));
        for file in Self::files_of(diagnostic) {
            let Some(source) = self.sources.get(file) else { continue };
            if diagnostic.private {
                let (line, column) = source.line_column(diagnostic.place.unwrap_or_default().start);
                group = group.element(Origin::path(source.path.as_str()).line(line).char_column(column));
                continue;
            }
            let mut snippet = Snippet::source(source.text.as_str()).path(source.path.as_str());
            if let Some(place) = diagnostic.place.filter(|place| place.file == file) {
                let label = Some(diagnostic.label.as_str()).filter(|label| !label.is_empty());
                snippet = snippet.annotation(AnnotationKind::Primary.span(source.first_line(place)).label(label));
            }
            for (place, label) in diagnostic.labels.iter().filter(|(place, _)| place.file == file) {
                let span = AnnotationKind::Context.span(source.first_line(*place));
                snippet = snippet.annotation(span.label(label.as_str()));
            }
            group = group.element(snippet);
        }
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// The file of the place first, then those of the labels.
    fn files_of(diagnostic: &Diagnostic) -> Vec<FileId> {
        let mut files: Vec<FileId> = Vec::new();
        for place in diagnostic.place.iter().chain(diagnostic.labels.iter().map(|(place, _)| place)) {
            if !files.contains(&place.file) {
                files.push(place.file);
            }
        }
        files
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

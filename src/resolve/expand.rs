//! Expressions in the values of a service: `{{ ... }}` becomes its value, with its type where it is all of the value.

use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Entry, Mapping, Node, Scalar, ScalarKind, Value};
use crate::parse::source::{Place, Sources};
use crate::parse::suggest::did_you_mean;
use crate::render::safe_error::{Kind, TemplateError};
use crate::render::template::{Templates, is_template};
use crate::render::variables::Context;

/// Evaluates the expressions of trees.
pub struct Expander<'a> {
    /// The engine.
    pub templates: &'a Templates,
    /// What expressions see.
    pub context: &'a Context,
    /// The texts that places point into.
    pub sources: &'a Sources,
    /// What is wrong.
    pub errors: Vec<Diagnostic>,
    /// Values that a secret went into: their path in the tree and their place.
    pub secrets: Vec<(String, Place)>,
}

impl std::fmt::Debug for Expander<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Expander")
    }
}

impl<'a> Expander<'a> {
    /// An expander that has found nothing yet.
    pub fn new(templates: &'a Templates, context: &'a Context, sources: &'a Sources) -> Self {
        Self { templates, context, sources, errors: Vec::new(), secrets: Vec::new() }
    }

    /// The tree with all expressions evaluated. What cannot be evaluated becomes null.
    pub fn expand(&mut self, node: &Node, path: &str) -> Node {
        let mut node = node.clone();
        self.visit(&mut node, path);
        node
    }

    fn visit(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if needs(item) {
                        self.visit(item, &format!("{path}[{index}]"));
                    }
                }
            }
            Value::Mapping(mapping) => {
                for (key, entry) in mapping.iter_mut() {
                    // Contents of files are rendered as templates later, twice.
                    let content = key == "content" && path.contains("files[");
                    if !content && needs(&entry.value) {
                        self.visit(&mut entry.value, &format!("{path}.{key}"));
                    }
                }
            }
            Value::Scalar(scalar) => {
                if scalar.kind != ScalarKind::Text || !is_template(&scalar.text) {
                    return;
                }
                match self.templates.evaluate(path, &scalar.text, self.context) {
                    Ok(evaluated) => {
                        if evaluated.uses_secret {
                            self.secrets.push((path.to_owned(), node.place));
                        }
                        node.value = from_json(&evaluated.value, node.place, node.layer).value;
                    }
                    Err(error) => {
                        let text = std::mem::take(&mut scalar.text);
                        let hint = error.subject.as_deref().and_then(|name| did_you_mean(name, self.context.names()));
                        let hint = hint.filter(|_| error.kind == Kind::Undefined);
                        self.errors.push(template_error(&error, node.place, &text, self.sources).maybe_help(hint));
                        scalar.kind = ScalarKind::Null;
                    }
                }
            }
        }
    }
}

/// Whether there is an expression in it at all.
pub fn needs(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.kind == ScalarKind::Text && is_template(&scalar.text),
        Value::Sequence(items) => items.iter().any(needs),
        Value::Mapping(mapping) => mapping.values().any(|entry| needs(&entry.value)),
    }
}

/// Plain data as a tree, all of it at one place.
pub fn from_json(value: &serde_json::Value, place: Place, layer: crate::parse::node::Layer) -> Node {
    use serde_json::Value as Json;
    let scalar = |text: String, kind| Node::scalar(Scalar { text, kind }, place, layer);
    match value {
        Json::Null => scalar(String::new(), ScalarKind::Null),
        Json::Bool(value) => scalar(value.to_string(), ScalarKind::Boolean(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => scalar(number.to_string(), ScalarKind::Integer(integer)),
            None => scalar(number.to_string(), ScalarKind::Float(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => scalar(text.clone(), ScalarKind::Text),
        Json::Array(items) => {
            let items = items.iter().map(|item| from_json(item, place, layer)).collect();
            Node { place, layer, value: Value::Sequence(items), replaced: Vec::new() }
        }
        Json::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), Entry { key_place: place, value: from_json(value, place, layer) }));
            let mapping: Mapping = entries.collect();
            Node { place, layer, value: Value::Mapping(mapping), replaced: Vec::new() }
        }
    }
}

/// An error of an expression at its place in the site.
pub fn template_error(error: &TemplateError, place: Place, text: &str, sources: &Sources) -> Diagnostic {
    // What is undefined as a whole is named instead of pointed at.
    let subject = || error.subject.as_deref().and_then(|subject| text.find(subject).map(|at| at..at + subject.len()));
    let exact = || {
        let range = error.range.clone().or_else(subject)?;
        let source = sources.get(place.file)?;
        let written = source.text.get(place.start as usize..place.end as usize)?;
        // Only where the value stands in the file as it is can a place inside it be told.
        let offset = written.find(text)? + place.start as usize;
        (range.end <= text.len()).then(|| Place::new(place.file, offset + range.start, offset + range.end))
    };
    let mut diagnostic = Diagnostic::error("T001", exact().unwrap_or(place), error.message.clone());
    for frame in &error.used_in {
        diagnostic = diagnostic.help(match frame.line {
            Some(line) => format!("used in {}, line {line}", frame.template),
            None => format!("used in {}", frame.template),
        });
    }
    // Of a variable that this expression needs, only the name of its place is known here.
    if error.template.starts_with("vars.") {
        diagnostic = diagnostic.help(format!("in {}", error.template));
    }
    diagnostic.waits(error.waits.clone())
}

//! What a site may look like, as tables: one description from which the checks, the JSON Schema and the reference come.
//!
//! In: a tree and a table. Out: every unknown, refused, missing or wrongly typed value at once. A text with an expression
//! (`{{ ... }}`) fits wherever a scalar is expected: it is checked again with its value.

use super::diagnostic::Diagnostic;
use super::node::{Node, Scalar, ScalarKind, Value};
use super::source::Place;
use super::suggest::did_you_mean;

/// What a value may be.
#[derive(Clone, Copy)]
pub enum Shape {
    /// Whatever it is.
    Anything,
    /// A leaf.
    Scalar(&'static ScalarShape),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of such values.
    List(&'static Shape),
    /// Keys that the site chooses, with such values. Null values count as empty.
    Map(&'static Shape),
    /// Keys that the format knows.
    Object(&'static Table),
    /// One of several, told apart by being a leaf, a list or a mapping.
    Either(&'static [Shape]),
}

/// What a leaf may be.
pub struct ScalarShape {
    /// In words, as `a duration such as 30s`.
    pub name: &'static str,
    /// Why a leaf is none.
    pub check: fn(&Scalar) -> Result<(), String>,
    /// JSON Schema of it.
    pub schema: &'static str,
    /// Whether what stands here may be a secret, so that its line is not shown.
    pub private: bool,
}

/// Keys of one kind of mapping.
pub struct Table {
    /// In words, as `a service`.
    pub what: &'static str,
    /// The keys; of several lists where kinds share keys.
    pub keys: &'static [&'static [Key]],
}

/// One key.
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What is done with it.
    pub class: Class,
    /// What it means, in one sentence.
    pub doc: &'static str,
    /// What its value may be.
    pub shape: Shape,
}

/// What is done with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is taken.
    Honoured,
    /// It is taken, and must be there.
    Required,
    /// It is an error: why, and what to do instead.
    Refused(&'static str),
}

impl Table {
    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().flat_map(|keys| keys.iter())
    }

    /// One key.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.iter().find(|key| key.name == name)
    }
}

/// A key that is taken.
pub const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, class: Class::Honoured, doc, shape }
}

/// A key that must be there.
pub const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, class: Class::Required, doc, shape }
}

/// A key that is refused.
pub const fn refused(name: &'static str, reason: &'static str) -> Key {
    Key { name, class: Class::Refused(reason), doc: "", shape: Shape::Anything }
}

/// Whether a leaf holds an expression, whose value is not known yet.
pub fn is_template(scalar: &Scalar) -> bool {
    scalar.kind == ScalarKind::Text && (scalar.text.contains("{{") || scalar.text.contains("{%"))
}

/// Checks a tree against a shape and reports everything that does not fit.
///
/// `at` is where to point for what is missing: the key of the mapping.
pub fn check(node: &Node, at: Place, shape: &Shape, errors: &mut Vec<Diagnostic>) {
    match shape {
        Shape::Anything => {}
        // Nothing given is never a wrong type; keys that must be there are checked by their mapping.
        _ if node.is_null() => {}
        Shape::Either(shapes) => {
            let fitting = shapes.iter().find(|shape| fits_kind(node, shape));
            match fitting {
                Some(shape) => check(node, at, shape, errors),
                None => errors.push(wrong_type(node, at, &describe(shape))),
            }
        }
        _ if !fits_kind(node, shape) => errors.push(wrong_type(node, at, &describe(shape))),
        Shape::Scalar(leaf) => check_scalar(node, leaf, errors),
        Shape::OneOf(words) => check_word(node, words, errors),
        Shape::List(item) => {
            for node in node.items() {
                if node.is_null() {
                    errors.push(Diagnostic::error("V001", node.place, "this item of the list is empty"));
                }
                check(node, node.place, item, errors);
            }
        }
        Shape::Map(value) => {
            for (name, entry) in node.entries() {
                if name.is_empty() {
                    errors.push(Diagnostic::error("V002", entry.key_place, "a key must not be empty"));
                }
                // Null stands for an empty mapping here, and what that lacks is still reported.
                if let (true, Shape::Object(table)) = (entry.value.is_null(), value) {
                    check_required(&Node::empty_mapping(entry.key_place, node.layer), entry.key_place, table, errors);
                }
                check(&entry.value, entry.key_place, value, errors);
            }
        }
        Shape::Object(table) => check_object(node, at, table, errors),
    }
}

fn check_scalar(node: &Node, leaf: &ScalarShape, errors: &mut Vec<Diagnostic>) {
    let Some(scalar) = node.as_scalar().filter(|scalar| !is_template(scalar)) else { return };
    if let Err(why) = (leaf.check)(scalar) {
        let error = Diagnostic::error(if leaf.private { "S004" } else { "V002" }, node.place, why);
        errors.push(Diagnostic { private: leaf.private, ..error.maybe_help(interpolation_help(scalar)) });
    }
}

fn check_word(node: &Node, words: &[&'static str], errors: &mut Vec<Diagnostic>) {
    let Some(scalar) = node.as_scalar().filter(|scalar| !is_template(scalar)) else { return };
    if !words.contains(&scalar.text.as_str()) {
        let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        errors.push(
            Diagnostic::error("V002", node.place, format!("`{}` is none of {list}", scalar.text))
                .maybe_help(did_you_mean(&scalar.text, words.iter().copied())),
        );
    }
}

/// Compose files come with `${NAME}`, which is nothing special here.
fn interpolation_help(scalar: &Scalar) -> Option<String> {
    scalar.text.contains("${").then(|| {
        "`${NAME}` is not replaced; declare a variable under `vars` and write `{{ NAME }}`, or pass `-e NAME=VALUE`"
            .to_owned()
    })
}

fn check_object(node: &Node, at: Place, table: &Table, errors: &mut Vec<Diagnostic>) {
    for (name, entry) in node.entries() {
        match table.get(name) {
            Some(Key { class: Class::Refused(reason), .. }) => {
                if !entry.value.is_null() {
                    errors.push(
                        Diagnostic::error("K002", entry.key_place, format!("`{name}` is not taken in {}", table.what))
                            .help(*reason),
                    );
                }
            }
            Some(key) => check(&entry.value, entry.key_place, &key.shape, errors),
            None if name.starts_with("x-") => {}
            None => {
                let known = table.iter().filter(|key| !matches!(key.class, Class::Refused(_))).map(|key| key.name);
                errors.push(
                    Diagnostic::error("K001", entry.key_place, format!("{} has no key `{name}`", table.what))
                        .maybe_help(did_you_mean(name, known)),
                );
            }
        }
    }
    check_required(node, at, table, errors);
}

fn check_required(node: &Node, at: Place, table: &Table, errors: &mut Vec<Diagnostic>) {
    for key in table.iter().filter(|key| key.class == Class::Required) {
        if node.get(key.name).is_none() {
            errors.push(
                Diagnostic::error("K003", at, format!("{} needs the key `{}`", table.what, key.name)).help(key.doc),
            );
        }
    }
}

fn wrong_type(node: &Node, at: Place, expected: &str) -> Diagnostic {
    // A mapping or a list is pointed at by its key: its own place may be many lines.
    let place = if matches!(node.value, Value::Scalar(_)) { node.place } else { at };
    let braces =
        node.as_mapping().is_some_and(|mapping| mapping.len() == 1 && mapping.keys().any(|key| key.contains('{')));
    Diagnostic::error("V001", place, format!("expected {expected}, found {}", node.describe()))
        .maybe_help(braces.then(|| "put quotes around a value that starts with `{{`".to_owned()))
}

fn fits_kind(node: &Node, shape: &Shape) -> bool {
    let template = node.as_scalar().is_some_and(is_whole_template);
    match shape {
        Shape::Anything => true,
        Shape::Scalar(_) | Shape::OneOf(_) => matches!(node.value, Value::Scalar(_)),
        Shape::List(_) => matches!(node.value, Value::Sequence(_)) || template,
        Shape::Map(_) | Shape::Object(_) => matches!(node.value, Value::Mapping(_)) || template,
        Shape::Either(shapes) => shapes.iter().any(|shape| fits_kind(node, shape)),
    }
}

/// Whether a leaf is exactly one expression, which may stand for a list or a mapping.
fn is_whole_template(scalar: &Scalar) -> bool {
    let text = scalar.text.trim();
    scalar.kind == ScalarKind::Text && text.starts_with("{{") && text.ends_with("}}")
}

/// A shape in words.
fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Anything => "anything".to_owned(),
        Shape::Scalar(leaf) => leaf.name.to_owned(),
        Shape::OneOf(words) => {
            format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
        Shape::List(_) => "a list".to_owned(),
        Shape::Map(_) => "a mapping".to_owned(),
        Shape::Object(_) => "a mapping".to_owned(),
        Shape::Either(shapes) => {
            let mut words: Vec<String> = shapes.iter().map(describe).collect();
            words.dedup();
            words.join(" or ")
        }
    }
}

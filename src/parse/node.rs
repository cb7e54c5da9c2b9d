//! The tree that YAML becomes: every node knows where it was written, in which layer, and what it replaced.

use indexmap::IndexMap;

use super::source::Place;

/// Where in the order of precedence a value was given; later ones win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// `defaults.container`.
    Defaults,
    /// A role.
    Role,
    /// The site's own files.
    #[default]
    Site,
    /// The n-th `-f`, from 1.
    Overlay(u16),
}

/// A value with its provenance.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it was written.
    pub place: Place,
    /// In which layer.
    pub layer: Layer,
    /// What it is.
    pub value: Value,
    /// What it replaced, the most recent last.
    pub replaced: Vec<Provenance>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Where it was written.
    pub place: Place,
    /// In which layer.
    pub layer: Layer,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A leaf.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file.
    Mapping(Mapping),
}

/// A leaf: its text as written, and what YAML 1.2's core schema makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// As written, unescaped. `1.10` stays `1.10`.
    pub text: String,
    /// Its type.
    pub kind: ScalarKind,
}

/// The type of a leaf.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarKind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; `yes`, `no`, `on`, `off` are text.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text: quoted, or nothing of the above.
    Text,
}

/// One pair of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the key was written.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

/// Keys and values in the order of the file.
pub type Mapping = IndexMap<String, Entry>;

impl Node {
    /// A leaf of text, made and not read.
    pub fn text(text: impl Into<String>, place: Place, layer: Layer) -> Self {
        Self::scalar(Scalar { text: text.into(), kind: ScalarKind::Text }, place, layer)
    }

    /// A leaf.
    pub fn scalar(scalar: Scalar, place: Place, layer: Layer) -> Self {
        Self { place, layer, value: Value::Scalar(scalar), replaced: Vec::new() }
    }

    /// An empty mapping.
    pub fn empty_mapping(place: Place, layer: Layer) -> Self {
        Self { place, layer, value: Value::Mapping(Mapping::new()), replaced: Vec::new() }
    }

    /// Whether nothing was given: an explicit null is as good as no key at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { kind: ScalarKind::Null, .. }))
    }

    /// The leaf, if it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        if let Value::Scalar(scalar) = &self.value { Some(scalar) } else { None }
    }

    /// The text of a leaf as written, if it is one and not null.
    pub fn as_text(&self) -> Option<&str> {
        self.as_scalar().filter(|scalar| scalar.kind != ScalarKind::Null).map(|scalar| scalar.text.as_str())
    }

    /// The list, if it is one.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        if let Value::Sequence(items) = &self.value { Some(items) } else { None }
    }

    /// The mapping, if it is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        if let Value::Mapping(mapping) = &self.value { Some(mapping) } else { None }
    }

    /// The value of a key, unless it is null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// The pairs of a mapping; none if it is something else.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.as_mapping().into_iter().flatten().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The items of a list; a lone scalar or mapping counts as a list of one.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            _ if self.is_null() => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// Its own provenance.
    pub fn provenance(&self) -> Provenance {
        Provenance { place: self.place, layer: self.layer }
    }

    /// What it is, in words for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar(scalar) => match scalar.kind {
                ScalarKind::Null => "nothing".to_owned(),
                ScalarKind::Boolean(_) => format!("the boolean `{}`", scalar.text),
                ScalarKind::Integer(_) | ScalarKind::Float(_) => format!("the number `{}`", scalar.text),
                ScalarKind::Text if scalar.text.chars().count() > 40 => "a text".to_owned(),
                ScalarKind::Text => format!("the text `{}`", scalar.text.escape_debug()),
            },
        }
    }

    /// Puts this node and all below it into a layer.
    pub fn set_layer(&mut self, layer: Layer) {
        self.layer = layer;
        match &mut self.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.set_layer(layer)),
            Value::Mapping(mapping) => mapping.values_mut().for_each(|entry| entry.value.set_layer(layer)),
        }
    }

    /// Lays `upper` over this node: mappings are merged key by key, everything else is replaced. What is replaced is remembered.
    pub fn overlay(&mut self, upper: Self) {
        if let (Value::Mapping(_), Value::Mapping(_)) = (&self.value, &upper.value) {
            let Value::Mapping(upper) = upper.value else { return };
            let Value::Mapping(mapping) = &mut self.value else { return };
            for (key, entry) in upper {
                match mapping.get_mut(&key) {
                    Some(existing) => {
                        existing.key_place = entry.key_place;
                        existing.value.overlay(entry.value);
                    }
                    None => {
                        mapping.insert(key, entry);
                    }
                }
            }
            return;
        }
        let mut replaced = std::mem::take(&mut self.replaced);
        replaced.push(self.provenance());
        *self = upper;
        replaced.append(&mut self.replaced);
        self.replaced = replaced;
    }

    /// As JSON, for variables and for people. Numbers keep their type, not their spelling.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => match scalar.kind {
                ScalarKind::Null => serde_json::Value::Null,
                ScalarKind::Boolean(value) => value.into(),
                ScalarKind::Integer(value) => value.into(),
                ScalarKind::Float(value) => value.into(),
                ScalarKind::Text => scalar.text.clone().into(),
            },
            Value::Sequence(items) => items.iter().map(Self::to_json).collect::<Vec<_>>().into(),
            Value::Mapping(mapping) => serde_json::Value::Object(
                mapping.iter().map(|(key, entry)| (key.clone(), entry.value.to_json())).collect(),
            ),
        }
    }
}

impl Scalar {
    /// Reads a plain (unquoted) scalar by YAML 1.2's core schema.
    pub fn plain(text: &str) -> Self {
        Self { kind: plain_kind(text), text: text.to_owned() }
    }
}

fn plain_kind(text: &str) -> ScalarKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
        "true" | "True" | "TRUE" => return ScalarKind::Boolean(true),
        "false" | "False" | "FALSE" => return ScalarKind::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => return ScalarKind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return ScalarKind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return ScalarKind::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let Some(first) = text.bytes().next() else { return ScalarKind::Null };
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return ScalarKind::Text;
    }
    let based = |prefix: &str, base| text.strip_prefix(prefix).and_then(|rest| i64::from_str_radix(rest, base).ok());
    if let Some(value) = based("0x", 16).or_else(|| based("0o", 8)) {
        return ScalarKind::Integer(value);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return match text.strip_prefix('+').unwrap_or(text).parse() {
            Ok(value) => ScalarKind::Integer(value),
            Err(_) => text.parse().map_or(ScalarKind::Text, ScalarKind::Float),
        };
    }
    let number = unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.bytes().any(|b| b.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(value) if number => ScalarKind::Float(value),
        _ => ScalarKind::Text,
    }
}

//! YAML 1.2 text to the tree of [`Node`]s.
//!
//! In: a text. Out: its tree, or what is wrong with it. Duplicate keys, foreign tags, several documents and texts that
//! unfold beyond all measure are errors; anchors, aliases and merge keys (`<<`) are understood.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::diagnostic::Diagnostic;
use super::node::{Entry, Layer, Mapping, Node, Scalar, ScalarKind, Value};
use super::source::{FileId, Place, Sources};

/// Nodes that one file may unfold to. The largest real sites have some ten thousand; a "billion laughs" has more.
const MAX_NODES: usize = 500_000;
/// How deep a file may nest. The format itself needs about ten.
const MAX_DEPTH: usize = 64;
/// Bytes of one file. The largest real ones have about one million.
const MAX_BYTES: usize = 16 << 20;

/// Reads a text. Errors that leave a tree (duplicate keys) come together with it.
pub fn parse(sources: &mut Sources, path: &str, bytes: &[u8], layer: Layer) -> (Option<Node>, Vec<Diagnostic>) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let offset = valid.len();
            let file = sources.add(path, valid);
            let diagnostic = Diagnostic::error("Y001", Place::new(file, offset, offset), "this is not UTF-8 text")
                .label(format!("byte {offset} is not"));
            return (None, vec![diagnostic]);
        }
    };
    // A byte order mark is no content, and editors show columns without it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        let file = sources.add(path, "");
        let message = format!("this file has {} bytes, and no site needs more than {MAX_BYTES}", text.len());
        return (None, vec![Diagnostic::error("Y003", Place::new(file, 0, 0), message)]);
    }
    let file = sources.add(path, text);
    let mut builder = Builder::new(file, layer, text);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                let place = builder.place(span.start.index(), span.end.index());
                if !builder.take(event, place) {
                    return (None, builder.errors);
                }
            }
            Err(error) => {
                let place = builder.place(error.marker().index(), error.marker().index());
                builder.errors.push(syntax_error(text, place, error.info()));
                return (None, builder.errors);
            }
        }
    }
    (builder.root, builder.errors)
}

fn syntax_error(text: &str, place: Place, info: &str) -> Diagnostic {
    let start = (place.start as usize).min(text.len());
    let before = text.get(..start).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let tab = line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let braces = line.contains(": {{") || line.contains("- {{");
    Diagnostic::error("Y001", place, format!("this is not YAML: {info}"))
        .maybe_help(tab.then(|| "indent with spaces: YAML takes no tabs for it".to_owned()))
        .maybe_help(braces.then(|| "put quotes around a value that starts with `{{`".to_owned()))
}

/// What is open while events come in.
enum Open {
    Sequence(Vec<Node>),
    Mapping { pairs: Mapping, merges: Vec<Node>, key: Option<Key> },
}

enum Key {
    Named(String, Place),
    Merge,
    /// One that was reported; its value is read and dropped.
    Dropped,
}

struct Frame {
    open: Open,
    anchor: usize,
    place: Place,
}

struct Builder {
    file: FileId,
    layer: Layer,
    /// Byte offset by character; empty where the text is ASCII and both are the same.
    offsets: Vec<u32>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
    errors: Vec<Diagnostic>,
}

impl Builder {
    fn new(file: FileId, layer: Layer, text: &str) -> Self {
        let offsets = if text.is_ascii() {
            Vec::new()
        } else {
            let ends = std::iter::once(text.len());
            text.char_indices().map(|(at, _)| at).chain(ends).map(|at| u32::try_from(at).unwrap_or(u32::MAX)).collect()
        };
        Self {
            file,
            layer,
            offsets,
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            documents: 0,
            root: None,
            errors: Vec::new(),
        }
    }

    fn place(&self, start: usize, end: usize) -> Place {
        let byte = |at: usize| {
            if self.offsets.is_empty() {
                at
            } else {
                self.offsets.get(at).or(self.offsets.last()).map_or(at, |at| *at as usize)
            }
        };
        Place::new(self.file, byte(start), byte(end))
    }

    fn fail(&mut self, diagnostic: Diagnostic) -> bool {
        self.errors.push(diagnostic);
        false
    }

    /// Takes one event; false where going on makes no sense.
    fn take(&mut self, event: Event<'_>, place: Place) -> bool {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let error =
                        Diagnostic::error("Y004", place, "a site file holds one document, and here a second begins");
                    return self.fail(
                        error.help("put it into a file of its own and name both with -f, or name their directory"),
                    );
                }
                true
            }
            Event::Scalar(text, style, anchor, tag) => {
                let Some(scalar) = self.scalar(&text, style, tag.as_deref(), place) else { return false };
                self.count(1, place) && self.value(Node::scalar(scalar, place, self.layer), anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", place)
                    && self.open(Open::Sequence(Vec::new()), anchor, place)
            }
            Event::MappingStart(anchor, tag) => {
                let open = Open::Mapping { pairs: Mapping::new(), merges: Vec::new(), key: None };
                self.collection_tag(tag.as_deref(), "map", place) && self.open(open, anchor, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(place),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, size)) => {
                    let (node, size) = (node.clone(), *size);
                    self.count(size, place) && self.value(node, 0, size)
                }
                None => self.fail(Diagnostic::error("Y003", place, "this alias is part of what it stands for")),
            },
        }
    }

    fn count(&mut self, nodes: usize, place: Place) -> bool {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return true;
        }
        self.fail(
            Diagnostic::error(
                "Y003",
                place,
                format!("with its aliases written out, this file has more than {MAX_NODES} values"),
            )
            .help("use fewer aliases of aliases"),
        )
    }

    fn open(&mut self, open: Open, anchor: usize, place: Place) -> bool {
        if self.frames.len() >= MAX_DEPTH {
            return self.fail(Diagnostic::error("Y003", place, format!("this is nested more than {MAX_DEPTH} deep")));
        }
        self.frames.push(Frame { open, anchor, place });
        self.count(1, place)
    }

    fn close(&mut self, end: Place) -> bool {
        let Some(frame) = self.frames.pop() else { return true };
        let place = Place { end: end.end.max(frame.place.start), ..frame.place };
        let value = match frame.open {
            Open::Sequence(items) => Value::Sequence(items),
            Open::Mapping { pairs, merges, .. } => Value::Mapping(with_merges(pairs, merges)),
        };
        let node = Node { place, layer: self.layer, value, replaced: Vec::new() };
        let size = if frame.anchor > 0 { size(&node) } else { 0 };
        self.value(node, frame.anchor, size)
    }

    /// Puts a finished node where it belongs.
    fn value(&mut self, node: Node, anchor: usize, size: usize) -> bool {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return true;
        };
        match &mut frame.open {
            Open::Sequence(items) => items.push(node),
            Open::Mapping { pairs, merges, key } => match key.take() {
                None => {
                    let (read, error) = read_key(pairs, &node);
                    *key = Some(read);
                    self.errors.extend(error);
                }
                Some(Key::Named(name, key_place)) => {
                    pairs.insert(name, Entry { key_place, value: node });
                }
                Some(Key::Merge) => match node.value {
                    Value::Sequence(items) if items.iter().all(|item| item.as_mapping().is_some()) => {
                        merges.extend(items);
                    }
                    Value::Mapping(_) => merges.push(node),
                    _ => {
                        let message =
                            format!("`<<` takes a mapping or a list of mappings, and this is {}", node.describe());
                        self.errors.push(Diagnostic::error("Y004", node.place, message));
                    }
                },
                Some(Key::Dropped) => {}
            },
        }
        true
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Option<Scalar> {
        let plain = style == ScalarStyle::Plain;
        let as_text = || Scalar { text: text.to_owned(), kind: ScalarKind::Text };
        match tag {
            None if plain => Some(Scalar::plain(text)),
            None => Some(as_text()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Some(as_text()),
            Some(tag)
                if tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") =>
            {
                Some(Scalar::plain(text))
            }
            // `! text` says: not resolved, so text.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Some(as_text()),
            Some(tag) => {
                self.foreign_tag(tag, place);
                None
            }
        }
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, expected: &str, place: Place) -> bool {
        match tag {
            None => true,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == expected => true,
            Some(tag) => {
                self.foreign_tag(tag, place);
                false
            }
        }
    }

    fn foreign_tag(&mut self, tag: &Tag, place: Place) {
        let compose = matches!(tag.suffix.as_str(), "reset" | "override");
        let help = "an overlay replaces lists and scalars as they are, and `KEY: null` takes a key away".to_owned();
        let error = Diagnostic::error("Y004", place, format!("the tag `{tag}` means nothing here"));
        self.errors.push(error.maybe_help(compose.then_some(help)));
    }
}

fn read_key(pairs: &Mapping, node: &Node) -> (Key, Option<Diagnostic>) {
    let Some(scalar) = node.as_scalar() else {
        let error = Diagnostic::error("Y004", node.place, format!("a key is a text, and this is {}", node.describe()));
        let help = "put quotes around a key or value that starts with `{{`".to_owned();
        return (Key::Dropped, Some(error.help(help)));
    };
    if scalar.text == "<<" && scalar.kind == ScalarKind::Text {
        return (Key::Merge, None);
    }
    match pairs.get(&scalar.text) {
        Some(first) => {
            let error = Diagnostic::error("Y002", node.place, format!("the key `{}` is given twice", scalar.text))
                .label("and here again")
                .also(first.key_place, "here first");
            (Key::Dropped, Some(error))
        }
        None => (Key::Named(scalar.text.clone(), node.place), None),
    }
}

/// A mapping's own keys win over merged ones, and earlier merged ones over later.
fn with_merges(mut pairs: Mapping, merges: Vec<Node>) -> Mapping {
    for source in merges {
        let Value::Mapping(merged) = source.value else { continue };
        for (key, entry) in merged {
            pairs.entry(key).or_insert(entry);
        }
    }
    pairs
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(items) => items.iter().map(size).sum::<usize>(),
        Value::Mapping(mapping) => mapping.values().map(|entry| size(&entry.value)).sum(),
    }
}

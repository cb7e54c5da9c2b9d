//! YAML text to a tree that keeps how scalars were written, and the tags `!delete` and `!replace`.
//!
//! Not the tree of `parse`: that one knows what a site's scalars mean. Here the reader is a foreign program, which may
//! follow YAML 1.1 or 1.2, so nothing is made of a scalar.

use std::collections::HashMap;

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::error::{Cause, Fault};
use super::provenance::{Origin, Past};

/// Values that one layer may unfold to; a "billion laughs" has more.
const MAX_NODES: usize = 200_000;
/// How deep a layer may nest.
const MAX_DEPTH: usize = 64;

/// A value.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Node {
    pub origin: Origin,
    /// As written: `!name`, `!!name` or `!<uri>`.
    pub tag: Option<String>,
    /// Whether it takes the place of what lower layers have, rather than being merged with it.
    pub replaces: bool,
    pub kind: Kind,
    pub replaced: Vec<Past>,
}

/// What a value is.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Kind {
    /// A text, and whether it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys by their text.
    Mapping(IndexMap<String, Pair>),
    /// Taken away.
    Deleted,
}

/// A key, whether it was written without quotes, and its value.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Pair {
    pub plain: bool,
    pub value: Node,
}

/// Places and history are no part of a value.
#[cfg(test)]
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        (&self.tag, &self.kind) == (&other.tag, &other.kind)
    }
}

/// Reads a layer; none if there is nothing in it.
pub(super) fn parse(text: &str, layer: usize) -> Result<Option<Node>, Fault> {
    let Some(rest) = text.strip_prefix('\u{feff}') else { return parse_text(text, layer) };
    // A byte order mark is no content, and editors show columns without it.
    let skipped = text.len() - rest.len();
    parse_text(rest, layer)
        .map_err(|fault| Fault { range: fault.range.start + skipped..fault.range.end + skipped, ..fault })
}

fn parse_text(text: &str, layer: usize) -> Result<Option<Node>, Fault> {
    let mut builder = Builder::new(text, layer);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => builder.take(event, span.start.index(), span.end.index())?,
            Err(error) => {
                let cause = Cause::NotYaml(error.info().to_owned());
                return Err(builder.fault(error.marker().index(), error.marker().index(), cause));
            }
        }
    }
    match builder.root {
        Some(Node { kind: Kind::Deleted, .. }) => Err(Fault::at(text, 0..0, Cause::MisplacedTag("!delete"))),
        // An explicit null as the whole layer is as good as an empty file.
        Some(Node { kind: Kind::Scalar { text, plain: true }, tag: None, .. }) if text == "null" || text == "~" => {
            Ok(None)
        }
        root => Ok(root),
    }
}

/// What is open while events come in.
enum Open {
    Sequence(Vec<Node>),
    Mapping { pairs: IndexMap<String, Pair>, merges: Vec<Node>, key: Option<Key> },
}

enum Key {
    Named(String, bool),
    Merge,
}

struct Frame {
    open: Open,
    anchor: usize,
    origin: Origin,
    tag: Option<String>,
    replaces: bool,
}

struct Builder<'a> {
    text: &'a str,
    layer: usize,
    /// Byte offset by character; empty where the text is ASCII and both are the same.
    offsets: Vec<usize>,
    /// Byte offsets at which lines begin.
    line_starts: Vec<usize>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, layer: usize) -> Self {
        let offsets = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
        };
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            text,
            layer,
            offsets,
            line_starts: std::iter::once(0).chain(ends).collect(),
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            documents: 0,
            root: None,
        }
    }

    fn byte(&self, index: usize) -> usize {
        self.offsets.get(index).copied().unwrap_or(if self.offsets.is_empty() { index } else { self.text.len() })
    }

    fn fault(&self, start: usize, end: usize, cause: Cause) -> Fault {
        Fault::at(self.text, self.byte(start)..self.byte(end), cause)
    }

    fn origin(&self, start: usize) -> Origin {
        let at = self.byte(start);
        Origin { layer: self.layer, line: self.line_starts.partition_point(|line| *line <= at).max(1) }
    }

    fn take(&mut self, event: Event<'_>, start: usize, end: usize) -> Result<(), Fault> {
        let origin = self.origin(start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err(self.fault(start, end, Cause::SecondDocument)) } else { Ok(()) }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, start)?;
                let node = Self::scalar(&text, style, tag.as_deref(), origin)
                    .map_err(|cause| self.fault(start, end, cause))?;
                self.value(node, anchor, 1, start, end)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Open::Sequence(Vec::new()), anchor, tag.as_deref(), start, end)
            }
            Event::MappingStart(anchor, tag) => {
                let open = Open::Mapping { pairs: IndexMap::new(), merges: Vec::new(), key: None };
                self.open(open, anchor, tag.as_deref(), start, end)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(start, end),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(self.fault(start, end, Cause::AliasOfItself));
                };
                let (mut node, size) = (node.clone(), *size);
                node.origin = origin;
                self.count(size, start)?;
                self.value(node, 0, size, start, end)
            }
        }
    }

    fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, origin: Origin) -> Result<Node, Cause> {
        let plain = style == ScalarStyle::Plain;
        let (tag, kind) = match tag.and_then(ours) {
            Some("!delete") if plain && text.is_empty() => (None, Kind::Deleted),
            Some(misplaced) => return Err(Cause::MisplacedTag(misplaced)),
            None => {
                let tag = tag.map(written);
                let nothing = plain && text.is_empty() && tag.is_none();
                let kind = Kind::Scalar {
                    text: if nothing { "null".to_owned() } else { text.to_owned() },
                    plain: plain && !(text.is_empty() && tag.is_some()),
                };
                (tag, kind)
            }
        };
        Ok(Node { origin, tag, replaces: false, kind, replaced: Vec::new() })
    }

    fn count(&mut self, nodes: usize, start: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(self.fault(start, start, Cause::TooBig("200000 values, aliases written out")))
    }

    fn open(&mut self, open: Open, anchor: usize, tag: Option<&Tag>, start: usize, end: usize) -> Result<(), Fault> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.fault(start, end, Cause::TooBig("64 levels")));
        }
        let replaces = match tag.and_then(ours) {
            Some("!replace") => true,
            Some(misplaced) => return Err(self.fault(start, end, Cause::MisplacedTag(misplaced))),
            None => false,
        };
        let tag = tag.filter(|_| !replaces).map(written);
        self.frames.push(Frame { open, anchor, origin: self.origin(start), tag, replaces });
        self.count(1, start)
    }

    fn close(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let kind = match frame.open {
            Open::Sequence(items) => Kind::Sequence(items),
            Open::Mapping { pairs, merges, .. } => Kind::Mapping(with_merges(pairs, merges)),
        };
        let node = Node { origin: frame.origin, tag: frame.tag, replaces: frame.replaces, kind, replaced: Vec::new() };
        let size = if frame.anchor > 0 { size(&node) } else { 0 };
        self.value(node, frame.anchor, size, start, end)
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node, anchor: usize, size: usize, start: usize, end: usize) -> Result<(), Fault> {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let outcome = match self.frames.last_mut().map(|frame| &mut frame.open) {
            None => {
                self.root = Some(node);
                Ok(())
            }
            Some(Open::Sequence(items)) => {
                if matches!(node.kind, Kind::Deleted) {
                    Err(Cause::MisplacedTag("!delete"))
                } else {
                    items.push(node);
                    Ok(())
                }
            }
            Some(Open::Mapping { pairs, merges, key }) => match key.take() {
                None => read_key(pairs, &node).map(|read| *key = Some(read)),
                Some(Key::Named(name, plain)) => {
                    pairs.insert(name, Pair { plain, value: node });
                    Ok(())
                }
                Some(Key::Merge) => merge_source(node, merges),
            },
        };
        outcome.map_err(|cause| self.fault(start, end, cause))
    }
}

fn read_key(pairs: &IndexMap<String, Pair>, node: &Node) -> Result<Key, Cause> {
    let Kind::Scalar { text, plain } = &node.kind else { return Err(Cause::KeyNotScalar) };
    if node.tag.is_some() {
        return Err(Cause::KeyNotScalar);
    }
    if *plain && text == "<<" {
        return Ok(Key::Merge);
    }
    match pairs.get(text) {
        Some(first) => Err(Cause::SecondKey(first.value.origin.line)),
        None => Ok(Key::Named(text.clone(), *plain)),
    }
}

fn merge_source(node: Node, merges: &mut Vec<Node>) -> Result<(), Cause> {
    match node.kind {
        Kind::Mapping(_) => merges.push(node),
        Kind::Sequence(items) if items.iter().all(|item| matches!(item.kind, Kind::Mapping(_))) => merges.extend(items),
        _ => return Err(Cause::MergeKey),
    }
    Ok(())
}

/// A mapping's own keys win over merged ones, and earlier merged ones over later.
fn with_merges(mut pairs: IndexMap<String, Pair>, merges: Vec<Node>) -> IndexMap<String, Pair> {
    for source in merges {
        let Kind::Mapping(merged) = source.kind else { continue };
        for (key, pair) in merged {
            pairs.entry(key).or_insert(pair);
        }
    }
    pairs
}

/// One of our two tags.
fn ours(tag: &Tag) -> Option<&'static str> {
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("!", "delete") => Some("!delete"),
        ("!", "replace") => Some("!replace"),
        _ => None,
    }
}

/// A tag as it is written without any `%TAG`.
fn written(tag: &Tag) -> String {
    match tag.handle.as_str() {
        "!" => format!("!{}", tag.suffix),
        "" if tag.suffix == "!" => "!".to_owned(),
        _ if tag.is_yaml_core_schema() => format!("!!{}", tag.suffix),
        handle => format!("!<{handle}{}>", tag.suffix),
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } | Kind::Deleted => 0,
        Kind::Sequence(items) => items.iter().map(size).sum::<usize>(),
        Kind::Mapping(pairs) => pairs.values().map(|pair| size(&pair.value)).sum(),
    }
}

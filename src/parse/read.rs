//! Reading typed values out of a tree whose shape has been checked: what does not fit is reported and left out.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Diagnostic;
use super::leaves;
use super::node::{Node, Scalar};
use super::scalars::{self, Read};
use super::source::Place;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// What.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> At<T> {
    /// A value at a place.
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// Collects what is wrong while values are read.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was found.
    pub errors: Vec<Diagnostic>,
}

impl Reader {
    /// Reports something.
    pub fn error(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    /// A leaf.
    pub fn leaf<T>(&mut self, node: &Node, read: impl Fn(&Scalar) -> Read<T>) -> Option<T> {
        let scalar = node.as_scalar().filter(|_| !node.is_null())?;
        match read(scalar) {
            Ok(value) => Some(value),
            Err(why) => {
                self.errors.push(Diagnostic::error("V002", node.place, why));
                None
            }
        }
    }

    /// The leaf of a key.
    pub fn scalar<T>(&mut self, node: &Node, key: &str, read: impl Fn(&Scalar) -> Read<T>) -> Option<T> {
        self.leaf(node.get(key)?, read)
    }

    /// The leaf of a key with its place.
    pub fn at<T>(&mut self, node: &Node, key: &str, read: impl Fn(&Scalar) -> Read<T>) -> Option<At<T>> {
        let node = node.get(key)?;
        Some(At::new(self.leaf(node, read)?, node.place))
    }

    /// The text of a key.
    pub fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        node.get(key)?.as_text().map(str::to_owned)
    }

    /// A whole number of a key.
    pub fn integer(&mut self, node: &Node, key: &str) -> Option<i64> {
        self.scalar(node, key, |scalar| scalars::integer(scalar, i64::MIN, i64::MAX))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        self.scalar(node, key, scalars::boolean)
    }

    /// One text or a list of them.
    pub fn texts(&mut self, node: &Node, key: &str) -> Option<Vec<String>> {
        Some(node.get(key)?.items().iter().filter_map(Node::as_text).map(str::to_owned).collect())
    }

    /// One text or a list of them, with places.
    pub fn texts_at(&mut self, node: &Node, key: &str) -> Vec<At<String>> {
        let items = node.get(key).map(Node::items).unwrap_or_default();
        items.iter().filter_map(|item| Some(At::new(item.as_text()?.to_owned(), item.place))).collect()
    }

    /// A list of leaves, or one.
    pub fn list<T>(&mut self, node: &Node, key: &str, read: impl Fn(&Scalar) -> Read<T>) -> Option<Vec<T>> {
        let items = node.get(key)?.items();
        Some(items.iter().filter_map(|item| self.leaf(item, &read)).collect())
    }

    /// A list of leaves without order.
    pub fn set<T: Ord>(&mut self, node: &Node, key: &str, read: impl Fn(&Scalar) -> Read<T>) -> Option<BTreeSet<T>> {
        Some(self.list(node, key, read)?.into_iter().collect())
    }

    /// A mapping of texts.
    pub fn map(&mut self, node: &Node, key: &str) -> Option<BTreeMap<String, String>> {
        let entries = node.get(key)?.entries();
        Some(entries.map(|(name, entry)| (name.to_owned(), entry.value.as_text().unwrap_or("").to_owned())).collect())
    }

    /// `{NAME: VALUE}` or `[NAME=VALUE]`.
    pub fn pairs(&mut self, node: &Node, key: &str) -> Option<BTreeMap<String, String>> {
        let node = node.get(key)?;
        let mut pairs = BTreeMap::new();
        for (name, entry) in node.entries() {
            match entry.value.as_text() {
                Some(value) => {
                    pairs.insert(name.to_owned(), value.to_owned());
                }
                None => {
                    let error = Diagnostic::error("V002", entry.key_place, format!("`{name}` has no value"));
                    self.error(
                        error.help("write `\"\"` for an empty one; nothing is taken from Mastic's own environment"),
                    );
                }
            }
        }
        for item in node.as_sequence().unwrap_or_default() {
            let Some((name, value)) = self.leaf(item, |scalar| leaves::assignment(&scalar.text)) else { continue };
            if pairs.insert(name.clone(), value).is_some() {
                self.error(Diagnostic::error("V003", item.place, format!("`{name}` is given twice in this list")));
            }
        }
        Some(pairs)
    }

    /// A command as a line or as its words.
    pub fn command(&mut self, node: &Node, key: &str) -> Option<Vec<String>> {
        let node = node.get(key)?;
        if node.as_scalar().is_some() {
            return self.leaf(node, |scalar| scalars::words(&scalar.text));
        }
        Some(node.as_sequence()?.iter().filter_map(Node::as_text).map(str::to_owned).collect())
    }
}

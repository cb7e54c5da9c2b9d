//! YAML: one layer laid over others, and where values come from.

use super::provenance::{Past, Setting};
use super::yaml::{Kind, Node};
use super::yaml_write::in_one_line;

/// Characters of a whole mapping or list that provenance shows of what was replaced.
const SHOWN: usize = 200;

/// Lays a higher layer over the lower ones.
pub(super) fn overlay(lower: Option<Node>, upper: Option<Node>, extend_lists: bool) -> Option<Node> {
    match (lower, upper) {
        (Some(mut lower), Some(upper)) => {
            lower.overlay(upper, extend_lists);
            Some(lower)
        }
        (lower, upper) => upper.or(lower),
    }
}

/// Every value that is no mapping, in the order of the file, and what was taken away.
pub(super) fn settings(root: Option<&Node>) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(root) = root {
        root.settings(&mut Vec::new(), &mut settings);
    }
    settings
}

impl Node {
    /// What is taken away stays as a mark, and so does that something was replaced: layers may be merged in any grouping.
    fn overlay(&mut self, mut upper: Self, extend_lists: bool) {
        match (&mut self.kind, &mut upper.kind) {
            (Kind::Mapping(lower), Kind::Mapping(pairs)) if !upper.replaces => {
                for (key, pair) in std::mem::take(pairs) {
                    match lower.get_mut(&key) {
                        Some(known) => known.value.overlay(pair.value, extend_lists),
                        None => drop(lower.insert(key, pair)),
                    }
                }
                self.tag = upper.tag.or(self.tag.take());
            }
            (Kind::Sequence(lower), Kind::Sequence(items)) if extend_lists && !upper.replaces => {
                lower.append(items);
                self.tag = upper.tag.or(self.tag.take());
            }
            _ => {
                let mut replaced = std::mem::take(&mut self.replaced);
                replaced.push(Past { origin: self.origin, values: self.shown() });
                replaced.append(&mut upper.replaced);
                *self = Self { replaced, replaces: true, ..upper };
            }
        }
    }

    /// Shortened: of a big mapping that was replaced, nobody reads all.
    fn shown(&self) -> Vec<String> {
        match &self.kind {
            Kind::Deleted => Vec::new(),
            Kind::Scalar { text, .. } => vec![text.clone()],
            _ => {
                let text = in_one_line(self);
                let short: String = text.chars().take(SHOWN).collect();
                vec![if short.len() < text.len() { format!("{short}...") } else { text }]
            }
        }
    }

    fn settings(&self, path: &mut Vec<String>, settings: &mut Vec<Setting>) {
        match &self.kind {
            Kind::Mapping(pairs) if !pairs.is_empty() => {
                for (key, pair) in pairs {
                    path.push(key.clone());
                    pair.value.settings(path, settings);
                    path.pop();
                }
            }
            Kind::Sequence(items) if items.iter().any(|item| item.origin.layer != self.origin.layer) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.settings(path, settings);
                    path.pop();
                }
            }
            Kind::Deleted if self.replaced.is_empty() => {}
            _ => settings.push(Setting {
                path: path.clone(),
                ini: false,
                values: self.shown(),
                origin: self.origin,
                replaced: self.replaced.clone(),
            }),
        }
    }
}

//! From paths to one tree: a file, several as overlays, or a directory.
//!
//! In: paths as given with `-f`, and the site's files. Out: the merged tree and all texts. Later paths win key by key;
//! inside a directory the same name twice is an error, because there nothing says who wins.

use std::path::{Path, PathBuf};

use crate::port::site_files::{Kind, SiteFiles};

use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::node::{Entry, Layer, Node, Value};
use crate::parse::source::Sources;
use crate::parse::yaml;

/// A site's texts as one tree.
#[derive(Debug)]
pub struct Loaded {
    /// The document.
    pub root: Node,
    /// All texts.
    pub sources: Sources,
    /// What relative paths are relative to: the directory of the first path.
    pub directory: PathBuf,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What is wrong although there is a tree.
    pub errors: Vec<Diagnostic>,
}

/// Reads and merges.
pub fn load(paths: &[PathBuf], files: &dyn SiteFiles) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader { files, sources: Sources::default(), read: Vec::new(), errors: Vec::new() };
    let mut root: Option<Node> = None;
    let mut directory = None;
    for (index, path) in paths.iter().enumerate() {
        let layer = if index == 0 { Layer::Site } else { Layer::Overlay(u16::try_from(index).unwrap_or(u16::MAX)) };
        let Some((node, base)) = loader.path(path, layer) else { continue };
        directory.get_or_insert(base);
        match &mut root {
            None => root = Some(node),
            Some(lower) => lower.overlay(node),
        }
    }
    if paths.is_empty() {
        loader
            .errors
            .push(Diagnostic::general("F001", "no file of a site was named").help("name one with `-f site.yaml`"));
    }
    match root {
        Some(root) if root.as_mapping().is_some() => Ok(Loaded {
            root,
            sources: loader.sources,
            directory: directory.unwrap_or_default(),
            files: loader.read,
            errors: loader.errors,
        }),
        _ => Err(Diagnostics::new(loader.sources, loader.errors)),
    }
}

struct Loader<'a> {
    files: &'a dyn SiteFiles,
    sources: Sources,
    read: Vec<PathBuf>,
    errors: Vec<Diagnostic>,
}

impl Loader<'_> {
    fn path(&mut self, path: &Path, layer: Layer) -> Option<(Node, PathBuf)> {
        match self.files.kind(path) {
            Ok(Kind::File) => {
                let base = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
                self.file(path, layer).map(|node| (node, base))
            }
            Ok(Kind::Directory) => self.directory(path, layer).map(|node| (node, path.to_path_buf())),
            Err(why) => {
                self.errors.push(Diagnostic::general("F001", format!("cannot read `{}`: {why}", path.display())));
                None
            }
        }
    }

    fn file(&mut self, path: &Path, layer: Layer) -> Option<Node> {
        let shown = path.display().to_string();
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.errors.push(Diagnostic::general("F001", format!("cannot read `{shown}`: {why}")));
                return None;
            }
        };
        self.read.push(path.to_path_buf());
        let (node, mut errors) = yaml::parse(&mut self.sources, &shown, &bytes, layer);
        let failed = !errors.is_empty();
        self.errors.append(&mut errors);
        match node {
            Some(node) if node.as_mapping().is_some() => Some(node),
            Some(node) if node.is_null() || !failed => {
                let message = if node.is_null() {
                    "this file is empty".to_owned()
                } else {
                    format!("a site is a mapping, and this is {}", node.describe())
                };
                self.errors.push(
                    Diagnostic::error("V001", node.place, message).help("`mastic init` writes a site to start from"),
                );
                None
            }
            None if !failed => {
                let start = crate::parse::source::Place::default();
                let place =
                    self.sources.iter().last().map_or(start, |(id, _)| crate::parse::source::Place::new(id, 0, 0));
                let error = Diagnostic::error("V001", place, format!("`{shown}` is empty"));
                self.errors.push(error.help("`mastic init` writes a site to start from"));
                None
            }
            _ => None,
        }
    }

    fn directory(&mut self, path: &Path, layer: Layer) -> Option<Node> {
        let entries = match self.files.list(path) {
            Ok(entries) => entries,
            Err(why) => {
                self.errors.push(Diagnostic::general("F001", format!("cannot read `{}`: {why}", path.display())));
                return None;
            }
        };
        let mut root: Option<Node> = None;
        let mut found = false;
        for entry in entries {
            // Some give names and some give paths; both are fine.
            let entry = if entry.starts_with(path) { entry } else { path.join(entry) };
            let hidden = entry.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            let yaml = entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if hidden || !yaml || self.files.kind(&entry) != Ok(Kind::File) {
                continue;
            }
            found = true;
            let Some(node) = self.file(&entry, layer) else { continue };
            match &mut root {
                None => root = Some(node),
                Some(root) => join(root, node, &mut Vec::new(), &mut self.errors),
            }
        }
        if !found {
            let message = format!("the directory `{}` holds no *.yaml or *.yml", path.display());
            self.errors.push(Diagnostic::general("F001", message));
        }
        root
    }
}

/// How deep files of a directory share mappings: the document, `spec`, and its sections.
const SHARED_DEPTH: usize = 2;

/// Puts two files of one directory together.
fn join(node: &mut Node, other: Node, path: &mut Vec<String>, errors: &mut Vec<Diagnostic>) {
    let (Value::Mapping(mapping), Value::Mapping(other)) = (&mut node.value, other.value) else { return };
    for (key, entry) in other {
        let Some(existing) = mapping.get_mut(&key) else {
            mapping.insert(key, entry);
            continue;
        };
        let envelope = path.is_empty() && key != "spec";
        if envelope && same(&existing.value, &entry.value) {
            continue;
        }
        let mappings = existing.value.as_mapping().is_some() && entry.value.as_mapping().is_some();
        if !envelope && mappings && path.len() < SHARED_DEPTH {
            path.push(key);
            join(&mut existing.value, entry.value, path, errors);
            path.pop();
        } else {
            errors.push(twice(path, &key, existing, &entry));
        }
    }
}

fn twice(path: &[String], key: &str, first: &Entry, second: &Entry) -> Diagnostic {
    let what = match path.get(1).map(String::as_str) {
        Some("vars") => format!("the variable `{key}`"),
        Some(section) => format!("the {} `{key}`", section.strip_suffix('s').unwrap_or(section)),
        None => format!("`{key}`"),
    };
    Diagnostic::error("R003", second.key_place, format!("{what} is declared twice in this directory"))
        .label("and here again")
        .also(first.key_place, "here first")
        .help("one of them can become an overlay: name the files with several -f, and the later one wins")
}

fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Scalar(left), Value::Scalar(right)) => left.text == right.text,
        (Value::Mapping(left), Value::Mapping(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, entry)| right.get(key).is_some_and(|other| same(&entry.value, &other.value)))
        }
        (Value::Sequence(left), Value::Sequence(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        _ => false,
    }
}

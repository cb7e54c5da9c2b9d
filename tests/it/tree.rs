//! What holds for every file of the tree.

use std::path::{Path, PathBuf};

/// Longest file in `src/`, apart from those of tests alone: what is longer has more than one subject.
const MOST_LINES: usize = 600;

/// The top of the tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the tree with these endings (any if none), without what is built.
pub fn files(below: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(below)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || [".git", "target"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Its text; what is no text is as good as any.
pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// Its path from the top.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

/// Fails the test if anything was found.
#[track_caller]
pub fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = files("src", &[".rs"])
        .iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .filter_map(|path| {
            let lines = read(path).lines().count();
            (lines > MOST_LINES).then(|| format!("{}: {lines} lines, {MOST_LINES} is the limit", shown(path)))
        })
        .collect();
    none("files with more than one subject", &long);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Put together here so that this file does not find itself.
    let places = [format!("/{}/", "work"), format!("../{}", "shared"), shown_root()];
    let mut wrong = Vec::new();
    for path in files(".", &[]) {
        for (number, line) in read(&path).lines().enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                wrong.push(format!("{}:{}: {place}", shown(&path), number + 1));
            }
        }
    }
    none("paths that exist on one machine only", &wrong);
}

fn shown_root() -> String {
    format!("{}/", root().display())
}

#[test]
fn every_allow_gives_its_reason() {
    let mut wrong = Vec::new();
    for path in files("src", &[".rs"]).into_iter().chain(files("tests", &[".rs"])) {
        let text = read(&path);
        for (at, _) in text.match_indices("[allow(").chain(text.match_indices("[expect(")) {
            let attribute = text[at..].split(")]").next().unwrap();
            // The two texts above, which are no attributes.
            if !attribute.starts_with("[allow(\"")
                && !attribute.starts_with("[expect(\"")
                && !attribute.contains("reason")
            {
                wrong.push(format!("{}:{}", shown(&path), text[..at].matches('\n').count() + 1));
            }
        }
    }
    none("allow without a reason", &wrong);
}

#[test]
fn no_test_is_ignored_or_sleeps() {
    // Put together here so that this file does not find itself.
    let words = [format!("#[{}", "ignore"), format!("thread::{}", "sleep")];
    let mut wrong = Vec::new();
    for path in files("src", &[".rs"]).into_iter().chain(files("tests", &[".rs"])) {
        for (number, line) in read(&path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    none("ignored or sleeping tests", &wrong);
}

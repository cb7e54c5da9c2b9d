//! That what the documents say is so: links, names, verbs, sites.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::support::{Run, Sandbox};
use crate::tree::{files, none, read, root, shown};

/// `[text](target)` of a document outside of code, with the line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            if let Some((target, _)) = line[at + 2..].split_once(')') {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

/// The lines that are no code, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    text.lines()
        .enumerate()
        .filter(|(_, line)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fence && !fenced && !line.starts_with("    ")
        })
        .map(|(index, line)| (index + 1, line))
        .collect()
}

/// Headings as links name them.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .into_iter()
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for path in files(".", &[".md"]) {
        let text = read(&path);
        for (number, link) in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if !target.exists() || !anchor.is_empty() && !anchors(&read(&target)).contains(anchor) {
                wrong.push(format!("{}:{number}: {link}", shown(&path)));
            }
        }
    }
    none("links that lead nowhere", &wrong);
}

#[test]
fn the_changelog_has_a_place_for_what_is_new() {
    assert!(read(&root().join("CHANGELOG.md")).contains("\n## [Unreleased]\n"));
}

/// Files and directories that README.md and CONTRIBUTING.md name in code exist.
#[test]
fn what_the_documents_name_exists() {
    let mut wrong = Vec::new();
    for name in ["README.md", "CONTRIBUTING.md"] {
        for (number, line) in read(&root().join(name)).lines().enumerate() {
            for word in line.split([' ', '`', '(', ')', '[', ']', ';', ',']).map(|word| word.trim_end_matches('.')) {
                let ours = ["src/", "tests/", "examples/", "manifests/"].iter().any(|start| word.starts_with(start));
                if ours && !root().join(word).exists() {
                    wrong.push(format!("{name}:{}: {word}", number + 1));
                }
            }
        }
    }
    none("named in a document, but not there", &wrong);
}

/// Every verb that README.md shows is one that the program knows.
#[test]
fn the_verbs_in_the_readme_exist() {
    let readme = read(&root().join("README.md"));
    let code = |line: &str| line.trim_start().strip_prefix("mastic ").map(str::to_owned);
    let shown = readme.lines().filter_map(code).filter_map(|words| {
        let mut words = words.split_whitespace().skip_while(|word| *word == "-f" || word.contains('.'));
        words.next().map(str::to_owned)
    });
    let listed = readme.lines().filter(|line| line.starts_with("| `")).flat_map(|line| {
        let cell = line.split('|').nth(1).unwrap_or_default().to_owned();
        cell.split([',', ' ', '`']).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    });
    let verbs: BTreeSet<String> = shown.chain(listed).collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.mastic(&["no-such-verb", "--help"]).code, 64);
    let unknown: Vec<String> = verbs.into_iter().filter(|verb| sandbox.mastic(&[verb, "--help"]).code != 0).collect();
    none("verbs that the program does not know", &unknown);
}

#[test]
fn the_site_in_the_readme_is_valid() {
    let readme = read(&root().join("README.md"));
    let site = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", site);
    sandbox.write("index.html.j2", "hello\n");
    sandbox.mastic(&["-f", "site.yaml", "validate"]).ok();
    sandbox.write("site.yaml", &site.replace("image:", "picture:"));
    assert_eq!(sandbox.mastic(&["-f", "site.yaml", "validate"]).code, 65);
}

#[test]
fn every_example_is_valid() {
    let sandbox = Sandbox::new();
    let sites = files("examples", &[".yaml"]).into_iter().filter(|path| read(path).contains("kind: Site"));
    for site in sites.collect::<Vec<PathBuf>>() {
        let mut command = sandbox.command(&["-f", &site.to_string_lossy(), "validate"]);
        // What some of them take a secret from.
        command.env("DB_PASSWORD", "example").env("REGISTRY_PASSWORD", "example");
        Run::of(command).ok();
    }
}

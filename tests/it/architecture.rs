//! The walls of the house: which room of `src/` may import which, and where the world may be touched. A failure names
//! the file and line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::tree::{files, none, read, shown};

/// What a room may import: rooms, or single modules of one. Effects begin below `port`.
const MAY_IMPORT: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("observe", &["model"]),
    ("parse", &["model", "port::site_files"]),
    ("render", &["model", "parse::suggest"]),
    ("resolve", &["model", "parse", "render", "port::site_files"]),
    ("build", &["model", "parse", "render", "resolve::expand", "port::site_files"]),
    ("plan", &["model", "observe"]),
    ("start", &["model", "observe::accounts"]),
    ("admit", &["model", "observe", "plan", "render::expression"]),
    ("report", &["model", "observe", "plan"]),
    ("port", &["model", "observe", "report::event"]),
    ("execute", &["model", "observe", "parse", "render", "resolve", "plan", "admit", "report", "port"]),
    ("control", &["model", "observe", "parse", "render", "resolve", "plan", "admit", "report", "port", "execute"]),
    ("sim", &["model", "observe", "parse", "render", "resolve", "plan", "admit", "report", "port"]),
    (
        "edge",
        &[
            "build",
            "model",
            "observe",
            "parse",
            "render",
            "resolve",
            "plan",
            "admit",
            "report",
            "port",
            "start",
            // What people ask of the loop, and what it shows: the socket and the pages carry these words, and no more.
            "control::command",
            "control::ports",
            "control::published",
        ],
    ),
    (
        "cli",
        &[
            "model", "observe", "parse", "render", "resolve", "plan", "admit", "report", "port", "execute", "control",
            "sim", "edge", "build",
        ],
    ),
    // Programs beside `mastic`: they call one function of the library.
    ("bin", &[]),
];

/// The modules that a rule names alone, their files, and the rooms that they may import themselves.
const ALONE: [(&str, &str, &[&str]); 9] = [
    ("parse::suggest", "src/parse/suggest.rs", &[]),
    ("observe::accounts", "src/observe/accounts.rs", &[]),
    ("render::expression", "src/render/expression.rs", &["parse::suggest"]),
    ("resolve::expand", "src/resolve/expand.rs", &["parse", "render"]),
    ("report::event", "src/report/event.rs", &["model"]),
    ("port::site_files", "src/port/site_files.rs", &["model"]),
    ("control::command", "src/control/command.rs", &["model", "report"]),
    ("control::ports", "src/control/ports.rs", &["model", "plan", "port", "report", "control::published"]),
    ("control::published", "src/control/published.rs", &["model", "report"]),
];

/// Rooms whose results depend on nothing but their arguments.
const PURE: [&str; 10] =
    ["model", "observe", "parse", "render", "resolve", "build", "plan", "admit", "report", "start"];

/// Where the world begins.
const EFFECTS: [&str; 3] = ["edge", "cli", "bin"];

/// Paths that reach for the world; named in `EFFECTS` only.
const WORLD: [&str; 38] = [
    "ring",
    "x509_parser",
    "age",
    "rsa",
    "ssh_key",
    "rcgen",
    "russh",
    "bollard",
    "notify",
    "axum",
    "hyper",
    "hyper_util",
    "hyper_rustls",
    "rustls",
    "tower_service",
    "rustix",
    "glob",
    "tempfile",
    "indicatif",
    "sd_notify",
    "clap",
    "tracing_subscriber",
    "tracing_journald",
    "std::fs",
    "std::process",
    "std::env",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "tokio::fs",
    "tokio::process",
    "tokio::net",
    "tokio::signal",
];

/// Paths that make a result depend on more than the arguments.
const IMPURE: [&str; 4] = ["tokio", "tokio_util", "rand", "futures_util"];

/// A path that a source file names.
struct Named {
    line: usize,
    /// As `crate::plan::diff` or `std::fs`.
    path: String,
}

/// One source file of a room.
struct Source {
    file: String,
    room: String,
    names: Vec<Named>,
}

fn sources() -> Vec<Source> {
    files("src", &[".rs"])
        .iter()
        .filter_map(|path| {
            let file = shown(path);
            let mut parts: Vec<&str> = file.trim_end_matches(".rs").split('/').skip(1).collect();
            // main.rs and lib.rs stand outside of the rooms; a file of tests may look anywhere.
            if parts.len() < 2 || parts.contains(&"tests") {
                return None;
            }
            if parts.last() == Some(&"mod") {
                parts.pop();
            }
            Some(Source { names: names(&read(path), &parts), room: parts[0].to_owned(), file })
        })
        .collect()
}

/// The paths that a module (`module` is its own path within the crate) names outside of comments, strings and tests.
fn names(text: &str, module: &[&str]) -> Vec<Named> {
    let code = code_only(text);
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let starts = is_word(bytes[at]) && (at == 0 || !is_word(bytes[at - 1]));
        let continues = code[..at].trim_end().ends_with("::") || code[..at].ends_with('.');
        if !starts || continues {
            at += 1;
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        let end = path_tree(&code, at, "", &mut paths);
        for path in paths {
            if path.contains("::") {
                found.push(Named { line, path: absolute(&path, module) });
            }
        }
        at = end.max(at + 1);
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Reads `a::b::{c, d::e}` at `at`, adds each path in it, and says where it ends.
fn path_tree(code: &str, at: usize, before: &str, paths: &mut Vec<String>) -> usize {
    let blank = |mut at: usize| {
        while code[at..].starts_with(|c: char| c.is_whitespace()) {
            at += 1;
        }
        at
    };
    let mut path = before.to_owned();
    let mut at = blank(at);
    loop {
        let length = code[at..].bytes().take_while(|byte| is_word(*byte)).count();
        if length == 0 {
            break;
        }
        if !path.is_empty() {
            path += "::";
        }
        path += &code[at..at + length];
        at += length;
        let next = blank(at);
        if !code[next..].starts_with("::") {
            break;
        }
        at = blank(next + 2);
        if code[at..].starts_with('{') {
            at += 1;
            while at < code.len() && !code[at..].starts_with('}') {
                let end = path_tree(code, at, &path, paths);
                at = blank(end.max(at + 1));
                // `as name`, `*` and the comma.
                while at < code.len() && !code[at..].starts_with([',', '}']) {
                    at += 1;
                }
                if code[at..].starts_with(',') {
                    at = blank(at + 1);
                }
            }
            return at + 1;
        }
    }
    if !path.is_empty() {
        paths.push(path);
    }
    at
}

/// `super::..` as seen from `module`, written from the crate's root; everything else as it is.
fn absolute(path: &str, module: &[&str]) -> String {
    let mut parts: Vec<&str> = path.split("::").collect();
    let ups = parts.iter().take_while(|part| **part == "super").count();
    if ups == 0 || ups > module.len() {
        return path.to_owned();
    }
    let mut whole = vec!["crate"];
    whole.extend(&module[..module.len() - ups]);
    whole.extend(parts.drain(ups..));
    whole.join("::")
}

/// Blanks out comments and texts, and ends at the tests, which stand at the end of a file. Line numbers stay.
fn code_only(text: &str) -> String {
    let mut code = String::new();
    let mut in_text = false;
    for line in text.lines() {
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '/' if !in_text && characters.peek() == Some(&'/') => break,
                '\\' if in_text => {
                    characters.next();
                }
                // `'"'` is a character, not the start of a text.
                '\'' if !in_text && characters.peek() == Some(&'"') => {
                    characters.next();
                }
                '"' => in_text = !in_text,
                _ if !in_text && character.is_ascii() => code.push(character),
                _ => {}
            }
        }
        code.push('\n');
    }
    code
}

fn is_or_is_below(path: &str, start: &str) -> bool {
    path == start || path.strip_prefix(start).is_some_and(|rest| rest.starts_with("::"))
}

#[test]
fn paths_are_found_in_all_their_forms() {
    let text = "use crate::{plan::{self, diff::Diff as D}, model};\nuse super::super::edge::x; // crate::no\n\
                fn f() { std::fs::read(\"crate::not\"); a.notify::<u8>(); crate :: sim :: run() }\n\
                use std::{\n  io,\n  process::Command,\n};\n#[cfg(test)]\nmod tests { use crate::cli; }\n";
    let mut shown = String::new();
    for named in names(text, &["render", "filters"]) {
        writeln!(shown, "{} {}", named.line, named.path).unwrap();
    }
    insta::assert_snapshot!(shown, @r"
    1 crate::plan::self
    1 crate::plan::diff::Diff
    1 crate::model
    2 crate::edge::x
    3 std::fs::read
    3 crate::sim::run
    4 std::io
    4 std::process::Command
    ");
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(allowed) = rules.get(source.room.as_str()) else {
            wrong.push(format!("{}: the room `{}` has no rule; add it to MAY_IMPORT", source.file, source.room));
            continue;
        };
        for named in &source.names {
            let Some(path) = named.path.strip_prefix("crate::") else { continue };
            let room = path.split("::").next().unwrap();
            // Macros and re-exports of the crate's root are nobody's room.
            if room == source.room || !rules.contains_key(room) {
                continue;
            }
            if !allowed.iter().any(|allowed| is_or_is_below(path, allowed)) {
                wrong.push(format!(
                    "{}:{}: `{}` must not import `{path}` (allowed: {})",
                    source.file,
                    named.line,
                    source.room,
                    allowed.join(", ")
                ));
            }
        }
    }
    none("imports against the order of the rooms", &wrong);
}

/// With this, imports that follow the rules cannot form a cycle of rooms.
#[test]
fn the_rules_have_no_cycle() {
    let mut placed: Vec<&str> = Vec::new();
    let mut rest = MAY_IMPORT.to_vec();
    while !rest.is_empty() {
        let before = rest.len();
        rest.retain(|(room, allowed)| {
            // What stands alone as a module in a rule imports no room that is not below it.
            let below = |name: &str| placed.contains(&name) || ALONE.iter().any(|(module, ..)| *module == name);
            let ready = allowed.iter().all(|name| below(name));
            if ready {
                placed.push(room);
            }
            !ready
        });
        assert!(rest.len() < before, "a cycle among {:?}", rest.iter().map(|(room, _)| room).collect::<Vec<_>>());
    }
}

/// The modules that a rule names alone must not lead back to the room that imports them.
#[test]
fn modules_named_alone_in_a_rule_import_no_more_than_is_listed() {
    for (_, file, allowed) in ALONE {
        let source = sources().into_iter().find(|source| source.file == file).unwrap_or_else(|| panic!("no {file}"));
        let wrong: Vec<String> = source
            .names
            .iter()
            .filter(|named| named.path.starts_with("crate::"))
            .filter(|named| !allowed.iter().any(|room| is_or_is_below(&named.path, &format!("crate::{room}"))))
            .map(|named| format!("{file}:{}: {}", named.line, named.path))
            .collect();
        none("a module that a rule names alone leads back", &wrong);
    }
}

/// It moves fast, and stands still as a whole if one channel is not read: one folder knows how to treat it.
#[test]
fn russh_is_used_in_one_folder() {
    let outside = sources().into_iter().filter(|source| !source.file.starts_with("src/edge/ssh/"));
    let wrong: Vec<String> = outside
        .flat_map(|source| {
            let named = source.names.into_iter().filter(|named| is_or_is_below(&named.path, "russh"));
            named.map(|named| format!("{}:{}", source.file, named.line)).collect::<Vec<_>>()
        })
        .collect();
    none("russh outside of src/edge/ssh/", &wrong);
}

#[test]
fn only_the_edge_touches_the_world() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !EFFECTS.contains(&source.room.as_str())) {
        for named in &source.names {
            let pure = PURE.contains(&source.room.as_str());
            let forbidden =
                WORLD.iter().chain(IMPURE.iter().filter(|_| pure)).find(|path| is_or_is_below(&named.path, path));
            if let Some(forbidden) = forbidden {
                wrong.push(format!("{}:{}: `{}` names `{forbidden}`", source.file, named.line, source.room));
            }
        }
    }
    none("effects outside of edge/ and cli/", &wrong);
}

//! The INI layers against oslo.config's own parser, on thousands of generated files.
//!
//! Three things must be the same: whether a layer is wrong, and in which line; sections, keys and values after merging;
//! and what oslo.config reads in the file that was written. `MASTIC_SEED=N` repeats one run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mastic::model::file::Shown;
use mastic::model::secret::Sensitive;
use mastic::render::layers::{Cause, Format, LayerError, LayerText, Merged, merge};
use mastic::render::template::Rendered;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Merges in a run, of one to four files each.
const CASES: usize = 3000;
/// Files that they have at least.
const FILES: usize = 6000;
/// The parser that is compared with; it needs nothing but Python.
const OSLO_CONFIG: &str = "oslo.config==10.7.0";

/// A Python that has oslo.config, made once for each target directory.
fn python() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(OSLO_CONFIG.replace("==", "-"));
    let python = home.join("bin/python");
    let works = || {
        let check = Command::new(&python).args(["-c", "import oslo_config.iniparser"]).output();
        check.is_ok_and(|output| output.status.success())
    };
    if !works() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
        // Its other needs are for other parts of it.
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", OSLO_CONFIG];
        run(Command::new(&python).args(pip));
        assert!(works(), "{OSLO_CONFIG} was installed, and has no iniparser");
    }
    python
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words} (Debian needs python3-venv, and pip a package index)");
}

fn texts(random: &mut StdRng) -> Vec<String> {
    let count = random.random_range(1..=4);
    (0..count).map(|_| text(random)).collect()
}

fn text(random: &mut StdRng) -> String {
    // Most files can be read; otherwise little would be merged.
    let nasty = if random.random_bool(0.1) { 0.15 } else { 0.0 };
    let ends: &[&str] = if random.random_bool(0.2) { &["\r\n"] } else { &["\n"] };
    let mut text = String::new();
    let mut continues = false;
    for _ in 0..random.random_range(0..14) {
        let line = match random.random_range(0..20) {
            _ if nasty > 0.0 && random.random_bool(nasty) => {
                continues = false;
                any(random, 10)
            }
            0..3 => {
                continues = false;
                format!("[{}]", pick(random, &["DEFAULT", "cache", "Cache", "a]b", " x ", "a=b:c", "é", "#", "[x"]))
            }
            3..5 => {
                continues = false;
                pick(random, &["# comment", ";x = 1", "#", "", " ", "\t\u{b}"]).to_owned()
            }
            5..9 if continues => {
                let indent = pick(random, &[" ", "\t", "        ", " \u{a0}", "\t\u{c}"]);
                format!(
                    "{indent}{}",
                    pick(random, &["more", "# no comment", "a = b", "[s]", "'q'", "\"", "ü", "x \u{1f}"])
                )
            }
            _ => {
                continues = true;
                assignment(random)
            }
        };
        text += &line;
        let stray = random.random_bool(0.02);
        text += if stray { pick(random, &["\r", "\r\n", "\n\r", "\n\n"]) } else { pick(random, ends) };
        continues &= !stray;
    }
    if random.random_bool(0.2) {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    // A byte order mark is dropped, and oslo.config takes it for a part of the first name.
    text.trim_start_matches('\u{feff}').to_owned()
}

fn assignment(random: &mut StdRng) -> String {
    let keys = ["a", "b", "c", "debug", "Debug", "two words", "é", "a\u{a0}", "x.y", "!", "k]", "\"k\""];
    let signs = ["=", " = ", ":", " : ", "\t=\t", " =", "= ", "==", ":=", " \u{2003}=\u{85}"];
    let values = [
        "",
        "1",
        "x = y",
        "a:b",
        "http://[::1]:5000/",
        "'single'",
        "\"double\"",
        "\" padded \"",
        "'open",
        "\"",
        "''",
        "'\"'",
        "\"'\"",
        "# no comment",
        "; none",
        "v  ",
        "\tv",
        "ü\u{2028}",
        "%(x)s $y",
        "\\",
        "a\u{1c}",
        "\u{0}",
        "[x]",
        "\u{feff}v",
        "'a' 'b'",
        "'''",
    ];
    let value = if random.random_bool(0.1) {
        any(random, 6).replace(['\r', '\n'], "")
    } else {
        pick(random, &values).to_owned()
    };
    format!("{}{}{value}", pick(random, &keys), pick(random, &signs))
}

fn any(random: &mut StdRng, most: usize) -> String {
    let characters = [
        '[',
        ']',
        '=',
        ':',
        '#',
        ';',
        '"',
        '\'',
        ' ',
        '\t',
        '\n',
        '\r',
        '\u{b}',
        '\u{c}',
        '\u{1c}',
        '\u{1f}',
        '\u{85}',
        '\u{a0}',
        '\u{2028}',
        '\u{3000}',
        '\u{200b}',
        '\u{feff}',
        '\u{0}',
        '\u{7f}',
        'a',
        'b',
        'é',
        '\u{1f600}',
    ];
    (0..random.random_range(0..=most)).filter_map(|_| characters.choose(random)).collect()
}

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(random).copied().unwrap_or("")
}

fn ours(texts: &[String], whitespace: bool) -> Result<Merged, LayerError> {
    let layers: Vec<LayerText> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let shown = Shown::Text(text.clone());
            let rendered = Rendered { real: Sensitive::new(text.as_str()), shown, uses_secret: false };
            LayerText { name: index.to_string(), rendered }
        })
        .collect();
    merge(Format::Ini { whitespace }, &layers)
}

/// As the reference answers.
fn as_lists(merged: &Merged) -> Value {
    let mut sections: Vec<(String, Vec<Value>)> = Vec::new();
    for setting in &merged.settings {
        let section = &setting.path[0];
        if sections.last().is_none_or(|(last, _)| last != section) {
            sections.push((section.clone(), Vec::new()));
        }
        if let (Some(key), Some((_, keys))) = (setting.path.get(1), sections.last_mut()) {
            keys.push(json!([key, setting.values]));
        }
    }
    json!(sections)
}

/// A key that begins like a section or a comment can stand in no file: it would not be read as the same again.
fn has_odd_key(merged: &Value) -> bool {
    let keys = merged.as_array().into_iter().flatten().flat_map(|section| section[1].as_array().into_iter().flatten());
    keys.filter_map(|key| key[0].as_str()).any(|key| key.starts_with(['[', '#', ';']))
}

#[test]
fn ini_layers_are_read_and_merged_as_oslo_config_does() {
    let seed = std::env::var("MASTIC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("MASTIC_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let cases: Vec<Vec<String>> = (0..CASES).map(|_| texts(&mut random)).collect();
    assert!(cases.iter().map(Vec::len).sum::<usize>() >= FILES);
    let answers: Vec<_> = cases.iter().enumerate().map(|(index, texts)| ours(texts, index % 2 == 0)).collect();

    let mut child = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ini_reference.py"))
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = cases
        .iter()
        .zip(&answers)
        .map(|(texts, answer)| {
            let written = answer.as_ref().ok().map(|merged| String::from_utf8_lossy(merged.rendered.real.expose()));
            json!({"layers": texts, "ours": written}).to_string() + "\n"
        })
        .collect();
    // The reference answers while it is still being asked.
    let asking = std::thread::spawn(move || stdin.write_all(lines.concat().as_bytes()));
    let output = child.wait_with_output().unwrap();
    asking.join().unwrap().unwrap();
    assert!(output.status.success());

    let reference: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reference.len(), CASES);
    let mut merged_well = 0;
    for ((texts, answer), reference) in cases.iter().zip(&answers).zip(&reference) {
        let story = format!("MASTIC_SEED={seed}, layers {texts:#?}\nreference: {reference}");
        match answer {
            Ok(merged) => {
                merged_well += 1;
                assert_eq!(json!(null), reference["error"], "oslo.config refuses it; {story}");
                assert_eq!(as_lists(merged), reference["merged"], "{story}");
                let written = String::from_utf8_lossy(merged.rendered.real.expose());
                assert_eq!(reference["merged"], reference["again"], "written {written:?}; {story}");
            }
            // oslo.config may go on to another error, or to none.
            Err(error) if matches!(error.cause, Cause::KeySign(_)) => {
                let at: usize = error.layer.parse().unwrap();
                let later = reference["error"]["layer"].as_u64().is_some_and(|layer| layer >= at as u64);
                assert!(later || has_odd_key(&reference["merged"]), "{error}; {story}");
            }
            Err(error) => {
                let place = json!({"layer": error.layer.parse::<u64>().unwrap(), "line": error.line});
                assert_eq!(place, reference["error"], "{error}; {story}");
            }
        }
    }
    assert!(
        merged_well > CASES / 2,
        "only {merged_well} of {CASES} could be merged; the files are too nasty to be of use"
    );
}

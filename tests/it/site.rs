//! The site format as a whole: every example compiles, the schema agrees with the parser, and no damaged site makes a panic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mastic::parse::schema::site_schema;
use mastic::parse::starter;
use mastic::port::site_files::{Kind, ReadError, SiteFiles};
use mastic::resolve::compile::{CompileRequest, Compiled, compile, compile_all};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The examples with what lies beside them, in memory: a mutation changes one of them.
#[derive(Clone)]
struct Examples(BTreeMap<PathBuf, Vec<u8>>);

impl Examples {
    fn read() -> Self {
        let mut files = BTreeMap::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for directory in [root.clone(), root.join("files")] {
            for entry in
                std::fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file())
            {
                let path = entry.path().strip_prefix(&root).unwrap().to_path_buf();
                files.insert(Path::new("/site").join(path), std::fs::read(entry.path()).unwrap());
            }
        }
        for (name, content) in starter::FILES {
            files.insert(Path::new("/starter").join(name), content.as_bytes().to_vec());
        }
        Self(files)
    }

    fn sites(&self) -> Vec<PathBuf> {
        self.0.keys().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).cloned().collect()
    }

    fn text(&self, path: &Path) -> &str {
        std::str::from_utf8(&self.0[path]).unwrap()
    }
}

impl SiteFiles for Examples {
    fn kind(&self, path: &Path) -> Result<Kind, ReadError> {
        if self.0.contains_key(path) { Ok(Kind::File) } else { Err(ReadError::Missing) }
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.0.get(path).cloned().ok_or(ReadError::Missing)
    }
    fn mode(&self, _path: &Path) -> Result<u32, ReadError> {
        Ok(0o600)
    }
    fn list(&self, _path: &Path) -> Result<Vec<PathBuf>, ReadError> {
        Err(ReadError::Missing)
    }
}

fn request(path: &Path) -> CompileRequest {
    CompileRequest {
        paths: vec![path.to_path_buf()],
        hostname: "here".to_owned(),
        environment: BTreeMap::from([("DB_PASSWORD".to_owned(), "hunter2".to_owned())]),
        site_key: b"key".to_vec(),
        ..CompileRequest::default()
    }
}

fn compile_example(files: &Examples, path: &Path) -> Vec<Compiled> {
    match compile_all(&request(path), files) {
        Ok(compiled) => compiled,
        Err(why) => panic!("{}:\n{why}", path.display()),
    }
}

#[test]
fn every_example_compiles_without_a_warning() {
    let examples = Examples::read();
    for path in examples.sites() {
        let compiled = compile_example(&examples, &path);
        assert!(!compiled.is_empty(), "{} has no host", path.display());
        for one in &compiled {
            assert!(one.warnings.is_empty(), "{}:\n{}", path.display(), one.warnings);
            assert!(!one.desired.services.is_empty(), "{}", path.display());
        }
    }
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    let examples = Examples::read();
    for path in examples.sites() {
        let once = || {
            let all = compile_example(&examples, &path);
            all.iter().map(|one| serde_json::to_string(&one.desired).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(once(), once(), "{}", path.display());
    }
}

#[test]
fn the_schema_takes_every_example_and_no_nonsense() {
    let schema = site_schema();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let examples = Examples::read();
    let as_json = |text: &str| {
        let mut value: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
        value.apply_merge().unwrap();
        serde_json::to_value(value).unwrap()
    };
    for path in examples.sites() {
        let value = as_json(examples.text(&path));
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}:\n{}", path.display(), errors.join("\n"));
    }
    let hello = examples.text(Path::new("/site/hello.yaml")).to_owned();
    let wrong = [
        ("kind: Site", "kind: Sight"),
        ("apiVersion: mastic/v1", "apiVersion: v1"),
        ("metadata: {name: hello}", "metadata: {}"),
        ("image: busybox:1", "imgae: busybox:1"),
        ("hosts: [web]", "hosts: {web: 1}"),
        ("mode: \"0644\"", "mode: rw-r--r--"),
        ("deadline: 60s", "deadline: soon"),
        ("on_failure: rollback", "on_failure: panic"),
        ("network_mode: host", "build: ."),
        ("port: \"{{ port }}\", path: /", "port: 99999"),
        ("target: /www/index.html", "target: www"),
    ];
    for (from, to) in wrong {
        assert!(hello.contains(from), "{from}");
        assert!(!validator.is_valid(&as_json(&hello.replace(from, to))), "the schema takes `{to}`");
        let mut damaged = examples.clone();
        damaged.0.insert("/site/hello.yaml".into(), hello.replace(from, to).into_bytes());
        assert!(compile(&request(Path::new("/site/hello.yaml")), &damaged).is_err(), "the parser takes `{to}`");
    }
}

/// One damage: which token, and what becomes of it.
#[derive(Clone, Debug)]
struct Mutation {
    site: prop::sample::Index,
    token: prop::sample::Index,
    other: prop::sample::Index,
    kind: u8,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..9)
        .prop_map(|(site, token, other, kind)| Mutation { site, token, other, kind })
}

/// Words, single marks and blanks: what an editor's slip touches.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let length = if word(first) { rest.find(|c: char| !word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    const VALUES: [&str; 14] = [
        "null",
        "[]",
        "{}",
        "-1",
        "1e99",
        "\"\"",
        "true",
        "{{ nothing }}",
        "\"{{ nothing }}\"",
        "*nowhere",
        "&a",
        "é",
        "\t",
        "\u{feff}",
    ];
    let mut tokens = tokens(text);
    let at = mutation.token.index(tokens.len());
    let other = mutation.other.index(tokens.len());
    match mutation.kind {
        0 => drop(tokens.remove(at)),
        1 => tokens.insert(at, tokens[at]),
        2 => tokens[at] = tokens[other],
        3 => tokens.swap(at, other),
        4 => tokens[at] = VALUES[other % VALUES.len()],
        5 => tokens.truncate(at),
        6 => tokens.drain(at.min(other)..at.max(other)).for_each(drop),
        7 => tokens.insert(at, VALUES[other % VALUES.len()]),
        _ => tokens.insert(at, "\n"),
    }
    tokens.concat()
}

#[test]
fn five_hundred_damaged_sites_are_told_where_or_compile() {
    let examples = Examples::read();
    let sites = examples.sites();
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&mutation(), |mutation| {
        let path = &sites[mutation.site.index(sites.len())];
        let text = mutate(examples.text(path), &mutation);
        let mut files = examples.clone();
        files.0.insert(path.clone(), text.clone().into_bytes());
        match compile_all(&request(path), &files) {
            Ok(_) => {}
            Err(why) => {
                let shown = why.render(false);
                prop_assert!(why.has_errors());
                prop_assert!(!why.is_empty() && !shown.is_empty());
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                for one in why.iter() {
                    // Only a site without a host has nothing to point at.
                    let Some(place) = one.place else {
                        prop_assert_eq!(one.code, "H001", "{}\n{}", shown, text);
                        continue;
                    };
                    let file = why.sources().get(place.file).expect("a place is in a file");
                    prop_assert!(place.end as usize <= file.text.len(), "{shown}");
                    prop_assert!(place.start <= place.end);
                    if file.path == path.display().to_string() {
                        prop_assert_eq!(&file.text, text);
                    }
                }
                let json = why.to_json();
                prop_assert!(json.as_array().is_some_and(|list| list.iter().all(|one| one["message"].is_string())));
            }
        }
        Ok(())
    });
    if let Err(why) = outcome {
        panic!("{why}");
    }
}

/// A site of as many services, each with what a real one has.
fn large(services: usize) -> String {
    let mut text = "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: large}\nspec:\n  hosts: {here: {}}\n  vars: {level: info, tag: \"1\"}\n  volumes: {data: {}}\n  networks: {net: {}}\n  services:\n".to_owned();
    for number in 0..services {
        text.push_str(&format!(
            "    service-{number}:
      image: \"registry.example:5000/team/service-{number}:{{{{ tag }}}}\"
      command: [run, --level, \"{{{{ level }}}}\", --name, \"{{{{ host.name }}}}\"]
      environment: {{A: 1, B: two, LEVEL: \"{{{{ level }}}}\"}}
      volumes: [\"data:/data\", \"/etc/localtime:/etc/localtime:ro\"]
      networks: [net]
      ports: [\"{}:80\"]
      mem_limit: 64m
      healthcheck: {{test: [CMD, \"true\"], interval: 10s}}
      files:
        - {{source: files/worker.conf.j2, target: /etc/app/app.conf, mode: \"0640\"}}
      ready: {{tcp: {{port: 80}}}}
",
            20000 + number
        ));
    }
    text
}

/// How long this thread has been running: a busy machine does not slow it down.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn a_large_site_compiles_fast() {
    let mut files = Examples::read();
    files.0.insert("/site/large.yaml".into(), large(100).into_bytes());
    let worker = b"workers={{ 2 * 3 }}\nlevel={{ level }}\nhost={{ host.name }}\n".to_vec();
    files.0.insert("/site/files/worker.conf.j2".into(), worker);
    let request = request(Path::new("/site/large.yaml"));
    let mut times: Vec<_> = (0..7)
        .map(|_| {
            let start = on_cpu();
            let compiled = compile(&request, &files).unwrap();
            assert_eq!(compiled.desired.services.len(), 100);
            on_cpu().saturating_sub(start)
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    // Below 15 ms when optimised; a build for tests is some ten times slower.
    let limit = if cfg!(debug_assertions) { 600 } else { 15 };
    assert!(median.as_millis() < limit, "{median:?}");
}

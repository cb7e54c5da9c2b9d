//! The start program of our images against Kolla's own, from its package: each case is applied by both in a root of its
//! own, and exit codes, content, permissions and owners must be the same. Where they differ on purpose, a test says how.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use mastic::edge::site_files::DiskSiteFiles;
use mastic::resolve::compile::{CompileRequest, compile};
use serde_json::{Value, json};

use crate::support::command;

/// The package that has the program, and the parser that it needs.
const KOLLA: &str = "kolla==23.0.0";
const PYYAML: &str = "PyYAML==6.0.2";

/// A Python that has Kolla's program, made once for each target directory, and the program's path.
fn original() -> (PathBuf, PathBuf) {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(KOLLA.replace("==", "-"));
    let python = home.join("bin/python");
    // Importing the package would need more of it.
    let find = "import importlib.util as u, os, yaml; \
                print(os.path.join(u.find_spec('kolla').submodule_search_locations[0], 'docker/base/set_configs.py'))";
    let path = || {
        let output = Command::new(&python).args(["-c", find]).output().ok().filter(|output| output.status.success())?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        path.exists().then_some(path)
    };
    // Tests run side by side, in processes of their own perhaps.
    let lock = fs::File::create(home.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if path().is_none() {
        command("python3", &["-m", "venv", "--clear", &home.display().to_string()]);
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", KOLLA, PYYAML];
        command(&python.display().to_string(), &pip);
    }
    let program = path().expect("the package was installed, and has no set_configs.py");
    (python, program)
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Program {
    Original,
    Ours,
}

/// A root with a small image in it.
struct Root {
    directory: tempfile::TempDir,
    program: Program,
    /// What it is run with.
    run: Vec<String>,
}

/// Puts the host's programs into the root, in a name space of its own, and runs something there.
const ENTER: &str = r#"
set -eu
umask 022
root=$1; shift
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    shift
done
shift
exec chroot "$root" "$@"
"#;

impl Root {
    fn new(program: Program) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (python, set_configs) = original();
        let at = directory.path();
        // Programs lie in /usr alone on some systems, and beside it on others.
        let mut mounts = Vec::new();
        for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64"] {
            let host = Path::new("/").join(name);
            if let Ok(target) = fs::read_link(&host) {
                symlink(target, at.join(name)).unwrap();
            } else if host.is_dir() {
                mounts.push(host.display().to_string());
            }
        }
        let mut command = Vec::new();
        if program == Program::Original {
            let base =
                crate::support::command(&python.display().to_string(), &["-c", "import sys; print(sys.base_prefix)"]);
            if !base.starts_with("/usr") {
                mounts.push(base.trim().to_owned());
            }
            mounts.push(Path::new(env!("CARGO_TARGET_TMPDIR")).join(KOLLA.replace("==", "-")).display().to_string());
            command.extend([python.display().to_string(), set_configs.display().to_string()]);
        } else {
            fs::create_dir(at.join("programs")).unwrap();
            fs::copy(env!("CARGO_BIN_EXE_mastic-start"), at.join("programs/kolla_set_configs")).unwrap();
            command.push("/programs/kolla_set_configs".to_owned());
        }
        let enter = ["-m", "sh", "-c", ENTER, "sh"].map(str::to_owned).into_iter();
        let run =
            enter.chain([at.display().to_string()]).chain(mounts).chain(["--".to_owned()]).chain(command).collect();
        let root = Self { directory, program, run };
        root.write(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\napp:x:1001:1001::/:/bin/sh\nother:x:1002:1002::/:/bin/sh\n",
            0o644,
        );
        root.write("etc/group", "root:x:0:\napp:x:1001:\nother:x:1002:\nkolla:x:1003:app\n", 0o644);
        root.write("etc/app/default.conf", "the image's\n", 0o640);
        chown(root.path("etc/app/default.conf"), Some(1002), Some(1003)).unwrap();
        root.write("etc/app/extra.d/from-image.conf", "image\n", 0o644);
        for name in ["a.log", "b.log.gz", "deep/c.log", "deep/d.log.gz"] {
            root.write(&format!("var/log/{name}"), name, 0o600);
        }
        fs::create_dir_all(root.path("var/lib/kolla/config_files")).unwrap();
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(target) = text.strip_prefix("-> ") {
            symlink(target, &path).unwrap();
            return;
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs the program; its exit code and what it said.
    fn set_configs(&self, strategy: Option<&str>, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new("unshare");
        command.args(&self.run).args(arguments).env_remove("KOLLA_CONFIG_STRATEGY").env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(strategy) = strategy {
            command.env("KOLLA_CONFIG_STRATEGY", strategy);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// All that the program could have changed: kind, permissions, owner, content.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        for name in ["etc", "var", "srv", "run_command", "configured"] {
            self.look(Path::new(name), &mut tree);
        }
        tree
    }

    fn look(&self, name: &Path, tree: &mut BTreeMap<String, String>) {
        let path = self.directory.path().join(name);
        let Ok(found) = fs::symlink_metadata(&path) else { return };
        // The record of what was kept is told apart by what it does.
        if name == Path::new("etc/kolla/defaults/state") {
            return;
        }
        let content = if found.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if found.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                self.look(&name.join(entry.unwrap().file_name()), tree);
            }
            "directory".to_owned()
        } else {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        };
        let mode = if found.is_symlink() { 0 } else { found.mode() & 0o7777 };
        tree.insert(name.display().to_string(), format!("{mode:04o} {}:{} {content}", found.uid(), found.gid()));
    }
}

/// One start of a container.
struct Step {
    /// What lies in `/var/lib/kolla/config_files`, beside the contract.
    files: &'static [(&'static str, &'static str, u32)],
    contract: Contract,
    strategy: Option<&'static str>,
    /// Whether `--check` afterwards is compared.
    checked: bool,
}

enum Contract {
    Json(Value),
    Text(&'static str, &'static str),
}

fn step(files: &'static [(&'static str, &'static str, u32)], contract: Value) -> Step {
    Step { files, contract: Contract::Json(contract), strategy: Some("COPY_ALWAYS"), checked: true }
}

impl Step {
    fn unchecked(self) -> Self {
        Self { checked: false, ..self }
    }

    fn once(self) -> Self {
        Self { strategy: Some("COPY_ONCE"), ..self }
    }

    /// Lays out the files; the owner of all of them is `other:kolla`.
    fn lay_out(&self, root: &Root) {
        let directory = root.path("var/lib/kolla/config_files");
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir_all(&directory).unwrap();
        for (name, text, mode) in self.files {
            root.write(&format!("var/lib/kolla/config_files/{name}"), text, *mode);
            let path = directory.join(name);
            if !path.is_symlink() {
                chown(path, Some(1002), Some(1003)).unwrap();
            }
        }
        match &self.contract {
            Contract::Json(value) => root.write("var/lib/kolla/config_files/config.json", &value.to_string(), 0o644),
            Contract::Text(name, text) => root.write(&format!("var/lib/kolla/config_files/{name}"), text, 0o644),
        }
    }

    /// What one program makes of it.
    fn take(&self, root: &Root) -> Taken {
        self.lay_out(root);
        let before = root.set_configs(self.strategy, &["--check"]);
        let set = root.set_configs(self.strategy, &[]);
        let after = root.set_configs(self.strategy, &["--check"]);
        Taken {
            // After half of a start, theirs may be content with what it looks at.
            codes: [before.0, set.0, if self.checked && set.0 == 0 { after.0 } else { -1 }],
            tree: root.tree(),
            said: format!("{}{}{}", before.1, set.1, after.1),
        }
    }
}

struct Taken {
    /// Of `--check` before, of setting, of `--check` after.
    codes: [i32; 3],
    tree: BTreeMap<String, String>,
    said: String,
}

/// Takes the steps with both programs; says in what they differ.
fn differences(name: &str, steps: &[Step]) -> String {
    let roots = [Program::Original, Program::Ours].map(Root::new);
    let mut out = String::new();
    for (index, step) in steps.iter().enumerate() {
        let [theirs, ours] = [step.take(&roots[0]), step.take(&roots[1])];
        let mut differs = theirs.codes != ours.codes;
        if differs {
            writeln!(out, "{name}, step {index}: exit codes {:?}, ours {:?}", theirs.codes, ours.codes).unwrap();
        }
        // What a start that fails has done by then is not the same: ours looks first.
        if theirs.codes[1] == 0 {
            let paths: std::collections::BTreeSet<&String> = theirs.tree.keys().chain(ours.tree.keys()).collect();
            for path in paths {
                let (left, right) = (theirs.tree.get(path), ours.tree.get(path));
                if left != right {
                    differs = true;
                    writeln!(out, "{name}, step {index}: {path}: {left:?}, ours {right:?}").unwrap();
                }
            }
        }
        if differs {
            writeln!(out, "--- theirs\n{}--- ours\n{}", theirs.said, ours.said).unwrap();
        }
    }
    out
}

const A: (&str, &str, u32) = ("a.conf", "a = 1\n", 0o600);
const B: (&str, &str, u32) = ("b.conf", "b = 1\n", 0o644);

fn files(entries: Value) -> Value {
    json!({"command": "app --run", "config_files": entries})
}

fn from(name: &str, dest: &str) -> Value {
    json!({"source": format!("/var/lib/kolla/config_files/{name}"), "dest": dest, "owner": "app:kolla", "perm": "0640"})
}

fn with(mut entry: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("a mapping") };
    entry.as_object_mut().unwrap().extend(more);
    entry
}

#[test]
fn files_and_directories_are_copied_as_by_kolla() {
    let flag = |name: &str| json!({name: true});
    let tree: &[(&str, &str, u32)] = &[("d/one", "1\n", 0o600), ("d/two", "2\n", 0o644)];
    let deep: &[(&str, &str, u32)] =
        &[("d/one", "1\n", 0o600), ("d/sub/three", "3\n", 0o755), ("d/.hidden", "h\n", 0o600)];
    let cases: Vec<(&str, Vec<Step>)> = vec![
        ("one file, changed, and again", vec![
            step(&[A], files(json!([from("a.conf", "/etc/app/a.conf")]))),
            step(&[("a.conf", "a = 2\n", 0o600)], files(json!([from("a.conf", "/etc/app/a.conf")]))),
            step(&[("a.conf", "a = 2\n", 0o600)], files(json!([from("a.conf", "/etc/app/a.conf")]))),
        ]),
        ("into a directory that is made, by pattern", vec![
            step(&[A, B, (".c.conf", "hidden", 0o600), ("d.txt", "d", 0o600)], files(json!([
                from("a.conf", "/srv/new/deep/"), from("*.conf", "/srv/all/"), from("[ab].con?", "/srv/some/")]))),
        ]),
        ("a directory in place of another", vec![
            step(tree, files(json!([from("d", "/etc/app/extra.d")]))),
            step(&[("d/two", "22\n", 0o644)], files(json!([from("d", "/etc/app/extra.d")]))),
        ]),
        ("a directory with directories", vec![step(deep, files(json!([from("d", "/srv/d")]))).unchecked()]),
        ("a directory over another", vec![
            step(tree, files(json!([with(from("d", "/etc/app/extra.d"), flag("merge"))]))),
            step(&[("d/two", "22\n", 0o644)], files(json!([with(from("d", "/etc/app/extra.d"), flag("merge"))]))),
        ]),
        ("a source that may be missing, comes and goes", vec![
            step(&[], files(json!([with(from("a.conf", "/etc/app/default.conf"), flag("optional")),
                                   with(from("b.conf", "/etc/app/new.conf"), flag("optional"))]))),
            step(&[A, B], files(json!([with(from("a.conf", "/etc/app/default.conf"), flag("optional")),
                                       with(from("b.conf", "/etc/app/new.conf"), flag("optional"))]))),
            step(&[], files(json!([with(from("a.conf", "/etc/app/default.conf"), flag("optional")),
                                   with(from("b.conf", "/etc/app/new.conf"), flag("optional"))]))),
        ]),
        ("what is not named any more is put back", vec![
            step(&[A, B], files(json!([from("a.conf", "/etc/app/default.conf"), from("b.conf", "/etc/app/")]))),
            step(&[A, B], files(json!([]))).unchecked(),
        ]),
        ("a directory is put back", vec![
            step(tree, files(json!([from("d", "/etc/app/extra.d")]))),
            step(tree, files(json!([]))).unchecked(),
        ]),
        ("owner and permissions of the source", vec![step(
            &[("a.conf", "a\n", 0o4711), ("d/one", "1\n", 0o604)],
            files(json!([
                {"source": "/var/lib/kolla/config_files/a.conf", "dest": "/srv/a", "preserve_properties": true},
                {"source": "/var/lib/kolla/config_files/d", "dest": "/srv/d", "preserve_properties": true}])),
        ).unchecked()]),
        ("links", vec![step(
            &[A, ("link", "-> a.conf", 0), ("d/link", "-> /etc/passwd", 0), ("d/plain", "p", 0o600)],
            files(json!([
                from("link", "/srv/followed"),
                {"source": "/var/lib/kolla/config_files/d", "dest": "/srv/kept", "preserve_properties": true, "merge": true}])),
        ).unchecked()]),
        ("a file where a directory was, and the other way around", vec![
            step(&[A, ("d/one", "1", 0o600)], files(json!([from("a.conf", "/etc/app/extra.d"), from("d", "/etc/app/default.conf")]))),
        ]),
        ("one destination twice", vec![step(&[A, B], files(json!([from("b.conf", "/srv/x"), from("a.conf", "/srv/x")]))).unchecked()]),
        ("permissions as they may be written", vec![step(&[A, B], files(json!([
            with(from("a.conf", "/srv/a"), json!({"perm": "0o0604"})), with(from("b.conf", "/srv/b"), json!({"perm": "644", "owner": "app:"}))])))
            .unchecked()]),
        ("without files", vec![step(&[], json!({"command": "sleep 1", "later": [1]}))]),
    ];
    let mut out = String::new();
    for (name, steps) in cases {
        out += &differences(name, &steps);
    }
    assert!(out.is_empty(), "{out}");
}

#[test]
fn permissions_strategies_and_mistakes_are_as_with_kolla() {
    let grant = |more: Value| json!({"command": "x", "permissions": [with(json!({"path": "/var/log", "owner": "app:kolla"}), more)]});
    let json = |contract: Value| step(&[A], contract);
    let text = |name: &'static str, text: &'static str| Step {
        contract: Contract::Text(name, text),
        ..step(&[A], Value::Null)
    };
    let entry = |more: Value| json(files(json!([with(from("a.conf", "/etc/app/a.conf"), more)])));
    let strategy = |strategy| Step { strategy, ..json(files(json!([from("a.conf", "/srv/a")]))) };
    let cases: Vec<(&str, Vec<Step>)> = vec![
        ("an owner", vec![json(grant(json!({})))]),
        ("owners and permissions below", vec![json(grant(json!({"recurse": true, "perm": "0640"})))]),
        ("but for one pattern", vec![json(grant(json!({"recurse": true, "exclude": ["\\.gz$"]})))]),
        ("but for what two patterns match", vec![json(grant(json!({"recurse": true, "exclude": ["\\.gz$", "deep"]})))]),
        (
            "by pattern, and nothing there",
            vec![json(json!({"command": "x", "permissions": [
            {"path": "/var/log/*.log", "owner": "app", "perm": "0604"}, {"path": "/none", "owner": "app"}]}))],
        ),
        (
            "directories and files",
            vec![json(json!({"command": "x",
            "directories": [{"path": "/srv/deep/er", "owner": "app", "perm": "0640"}, {"path": "/etc/app", "owner": "app", "perm": "0700"}],
            "files": [{"path": "/srv/deep/er/f", "owner": "app:kolla", "perm": "0600"}, {"path": "/etc/app/default.conf", "owner": "app", "perm": "0644"}]}))],
        ),
        (
            "once",
            vec![
                json(files(json!([from("a.conf", "/etc/app/a.conf")]))).once(),
                step(&[("a.conf", "changed", 0o600)], files(json!([from("a.conf", "/etc/app/a.conf")]))).once(),
            ],
        ),
        (
            "another command",
            vec![json(json!({"command": "x"})), Step { strategy: None, ..json(json!({"command": "y"})) }],
        ),
        ("YAML before JSON", vec![text("config.yaml", "command: from yaml\nconfig_files: []\n")]),
        ("YAML that is empty", vec![text("config.yaml", "")]),
        ("YAML that is none", vec![text("config.yaml", "a: [")]),
        ("no strategy", vec![strategy(None)]),
        ("no known strategy", vec![strategy(Some("COPY_SOMETIMES"))]),
        ("no source", vec![entry(json!({"source": "/none"}))]),
        ("no such pattern", vec![entry(json!({"source": "/none/*"}))]),
        ("an unknown user", vec![entry(json!({"owner": "nova"}))]),
        ("an unknown group", vec![entry(json!({"owner": "app:nova"}))]),
        ("an unknown key", vec![entry(json!({"mode": "0644"}))]),
        ("permissions that are none", vec![entry(json!({"perm": "rw"}))]),
        ("permissions that are a number", vec![entry(json!({"perm": 644}))]),
        ("no owner", vec![json(files(json!([{"source": "/a", "dest": "/b", "perm": "0644"}])))]),
        ("no destination", vec![json(files(json!([{"source": "/a"}])))]),
        ("no command", vec![json(json!({"config_files": []}))]),
        ("a list", vec![json(json!([]))]),
        ("no JSON", vec![text("config.json", "{")]),
        ("a command of words", vec![json(json!({"command": ["x"]}))]),
        (
            "a directory by pattern",
            vec![json(json!({"command": "x", "directories": [{"path": "/a*", "owner": "app", "perm": "0755"}]}))],
        ),
        ("a file without owner", vec![json(json!({"command": "x", "files": [{"path": "/a", "perm": "0755"}]}))]),
        ("permissions without owner", vec![json(json!({"command": "x", "permissions": [{"path": "/etc/app"}]}))]),
        ("a pattern that is none", vec![json(grant(json!({"recurse": true, "exclude": ["("]})))]),
    ];
    let mut out = String::new();
    for (name, steps) in cases {
        out += &differences(name, &steps);
    }
    assert!(out.is_empty(), "{out}");
}

/// What is known to be otherwise, each with why.
#[test]
fn the_two_programs_differ_where_it_is_meant() {
    let config = || files(json!([from("a.conf", "/etc/app/default.conf")]));
    let [theirs, ours] = [Program::Original, Program::Ours].map(|program| {
        let root = Root::new(program);
        // Three starts, and one without the entry.
        for _ in 0..3 {
            assert_eq!(step(&[A], config()).take(&root).codes[1], 0, "{:?}", root.program);
        }
        let last = step(&[A], files(json!([]))).take(&root);
        (fs::read_to_string(root.path("etc/app/default.conf")).unwrap(), last.codes)
    });
    // Theirs keeps the configured file as the image's at every second start, and never forgets it.
    assert_eq!((theirs.0.as_str(), theirs.1), ("a = 1\n", [1, 0, 1]));
    assert_eq!((ours.0.as_str(), ours.1), ("the image's\n", [1, 0, 0]));

    // Their check compares texts and takes the wrong directory; what has just been set differs for it.
    let always_differs = [
        step(&[A], files(json!([with(from("a.conf", "/srv/a"), json!({"perm": "640"}))]))),
        step(
            &[A],
            files(
                json!([{"source": "/var/lib/kolla/config_files/a.conf", "dest": "/srv/a", "preserve_properties": true}]),
            ),
        ),
        step(&[("d/sub/three", "3", 0o644)], files(json!([from("d", "/srv/d")]))),
    ];
    for step in always_differs {
        let codes = [Program::Original, Program::Ours].map(|program| step.take(&Root::new(program)).codes);
        assert_eq!(codes, [[2, 0, 1], [2, 0, 0]]);
    }
}

/// What Mastic renders of a service's `kolla` is taken by Kolla's program, and gives what ours gives.
#[test]
fn what_is_rendered_is_taken_by_kolla() {
    let site = r"
apiVersion: mastic/v1
kind: Site
metadata: {name: rendered}
spec:
  hosts: {here: {}}
  services:
    app:
      image: app:1
      kolla:
        command: app --config /etc/app/app.conf
        config_files:
          - {source: app.conf.j2, dest: /etc/app/app.conf, owner: 'app:kolla', perm: '0640', format: ini}
          - {source: other/app.conf, dest: /etc/app/extra.d/, owner: app, perm: '0600'}
          - {content: 'inline', dest: /srv/inline, owner: root, perm: '0644'}
          - {source: gone.conf, dest: /etc/app/gone.conf, owner: app, perm: '0600', optional: true}
          - {source: '/etc/app/extra.d/*.conf', dest: /srv/copies/, preserve_properties: true}
        permissions: [{path: /var/log, owner: 'app:kolla', perm: '0750', recurse: true, exclude: ['gz$']}]
        directories: [{path: /srv/made, owner: app, perm: '0755'}]
";
    let beside = tempfile::tempdir().unwrap();
    for (name, text) in [("site.yaml", site), ("app.conf.j2", "port = {{ 80 + 1 }}\n"), ("other/app.conf", "other\n")] {
        let path = beside.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let request = CompileRequest {
        paths: vec![beside.path().join("site.yaml")],
        hostname: "here".to_owned(),
        ..CompileRequest::default()
    };
    let compiled = compile(&request, &DiskSiteFiles::new()).map_err(|why| why.render(false)).unwrap();
    let service = &compiled.desired.services["app"];
    let trees = [Program::Original, Program::Ours].map(|program| {
        let root = Root::new(program);
        for file in &service.files {
            root.write(file.target.trim_start_matches('/'), &String::from_utf8_lossy(file.content.expose()), file.mode);
        }
        let strategy = service.settings.environment.as_ref().unwrap()["KOLLA_CONFIG_STRATEGY"].clone();
        let (code, said) = root.set_configs(Some(&strategy), &[]);
        assert_eq!(code, 0, "{program:?}: {said}");
        root.tree()
    });
    assert_eq!(trees[0], trees[1]);
    let shown: Vec<String> = trees[1]
        .iter()
        .filter(|(path, _)| path.starts_with("srv") || path.starts_with("etc/app") || *path == "run_command")
        .map(|(path, what)| format!("{path} {}", what.trim_end()))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
        etc/app 0755 0:0 directory
        etc/app/app.conf 0640 1001:1003 port = 81
        etc/app/default.conf 0640 1002:1003 the image's
        etc/app/extra.d 0755 0:0 directory
        etc/app/extra.d/app.conf 0600 1001:1001 other
        etc/app/extra.d/from-image.conf 0644 0:0 image
        run_command 0644 0:0 app --config /etc/app/app.conf
        srv 0755 0:0 directory
        srv/copies 0755 0:0 directory
        srv/copies/app.conf 0600 1001:1001 other
        srv/copies/from-image.conf 0644 0:0 image
        srv/inline 0644 0:0 inline
        srv/made 0755 1001:1001 directory
        "#);
}

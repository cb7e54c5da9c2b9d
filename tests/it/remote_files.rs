//! The files of hosts behind their engine: the same promises as on a local disk, and what the way through the engine adds.
//!
//! The engine of the tests is on this machine, so that what it unpacks can be looked at; nothing is written but through it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use mastic::edge::docker::{ConnectOptions, DockerEngine, DockerObserver};
use mastic::edge::files::DiskFiles;
use mastic::edge::remote_files::{Act, Look, RemoteFiles, RemoteFilesObserver, Root};
use mastic::model::labels::Labels;
use mastic::model::names::{HostName, SiteName};
use mastic::port::engine::{Answer, EngineError};
use mastic::port::files::{FileToWrite, Files, ObserveFiles as _};

use super::support::{Disk, Sandbox, docker, try_docker};

const KEY: &str = "web/1-ab";

fn file(path: &str, content: &str) -> FileToWrite {
    FileToWrite { path: path.to_owned(), content: content.as_bytes().to_vec(), mode: 0o640, uid: 7, gid: 8 }
}

fn options() -> ConnectOptions {
    ConnectOptions::from_environment(|name| std::env::var(name).ok()).unwrap()
}

/// An engine that counts its calls, and whose connection breaks when a certain one is done and its answer under way.
struct Engine {
    real: DockerEngine,
    calls: AtomicUsize,
    breaks_at: usize,
    is_broken: AtomicBool,
}

impl Engine {
    fn new(real: DockerEngine, breaks_at: usize) -> Arc<Self> {
        let (calls, is_broken) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { real, calls, breaks_at, is_broken })
    }

    async fn call<T>(&self, work: impl Future<Output = Answer<T>>) -> Answer<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let broken = || Err(EngineError::Unreachable("the test has cut the connection".to_owned()));
        if self.is_broken.load(Ordering::SeqCst) {
            return broken();
        }
        if number == self.breaks_at {
            self.is_broken.store(true, Ordering::SeqCst);
            let _done = work.await;
            return broken();
        }
        work.await
    }
}

#[async_trait]
impl Look for Engine {
    async fn labels(&self, container: &str) -> Answer<Option<Labels>> {
        self.call(Look::labels(&self.real, container)).await
    }
    async fn read(&self, container: &str, path: &str) -> Answer<Bytes> {
        self.call(self.real.read(container, path)).await
    }
    async fn mount_sources(&self, site: &str) -> Answer<Vec<String>> {
        self.call(Look::mount_sources(&self.real, site)).await
    }
}

#[async_trait]
impl Act for Engine {
    async fn import(&self, archive: Bytes) -> Answer<()> {
        self.call(Act::import(&self.real, archive)).await
    }
    async fn create(&self, container: &str, root: &str, labels: &Labels) -> Answer<()> {
        self.call(self.real.create(container, root, labels)).await
    }
    async fn write(&self, container: &str, archive: Bytes) -> Answer<()> {
        self.call(self.real.write(container, archive)).await
    }
    async fn remove(&self, container: &str) -> Answer<()> {
        self.call(self.real.remove(container)).await
    }
    async fn remove_image(&self) -> Answer<()> {
        self.call(Act::remove_image(&self.real)).await
    }
}

/// A host whose state directory is in a sandbox.
struct Host {
    sandbox: Sandbox,
    root: Root,
}

impl Host {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let state = sandbox.path().join("host").canonicalize().unwrap_or_else(|_| sandbox.path().join("host"));
        let (site, host) = (SiteName::new(sandbox.prefix()).unwrap(), HostName::new("here").unwrap());
        let root = Root::new(state.to_str().unwrap(), &site, &host).unwrap();
        Self { sandbox, root }
    }

    fn engine(&self) -> DockerEngine {
        DockerEngine::new(&options(), self.root.managed_path()).unwrap()
    }

    /// As a process that has just begun.
    fn files(&self) -> RemoteFiles {
        RemoteFiles::new(self.engine(), self.root.clone())
    }

    fn observer(&self) -> RemoteFilesObserver {
        let observer = DockerObserver::new(&options(), self.root.managed_path()).unwrap();
        RemoteFilesObserver::new(observer, self.root.clone())
    }

    fn path(&self, path: &str) -> PathBuf {
        Path::new(self.root.path()).join(KEY).join(path)
    }

    fn helper(&self) -> String {
        format!("{}.here.files", self.sandbox.prefix())
    }

    fn has_helper(&self) -> bool {
        try_docker(&["inspect", &self.helper()]).is_ok()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Each path with mode, owner and what it holds, as observed; the digest is checked against the disk.
async fn seen(files: &dyn Files) -> Vec<String> {
    let observed = files.observe(KEY).await.unwrap();
    observed
        .iter()
        .map(|(path, file)| {
            let at = PathBuf::from(files.host_path(KEY, path));
            let is_file = at.symlink_metadata().is_ok_and(|at| at.is_file());
            let content = if is_file { fs::read(&at).unwrap() } else { Vec::new() };
            let is_right = file.digest == mastic::plan::files::digest(&content);
            let shown = if is_right { String::from_utf8_lossy(&content).into_owned() } else { file.digest.clone() };
            format!("{path} {:o} {}:{} {shown}", file.mode, file.uid, file.gid)
        })
        .collect()
}

/// What the port promises, whoever keeps it.
async fn keeps_its_promises(files: &dyn Files, outside: &Path) {
    let at = |path: &str| PathBuf::from(files.host_path(KEY, path));
    let inode = |path: &str| at(path).metadata().unwrap().ino();

    // Nothing is there at first.
    assert_eq!(seen(files).await, [] as [&str; 0]);
    assert_eq!(files.keys().await.unwrap(), [] as [&str; 0]);
    files.remove(KEY).await.unwrap();

    // Content, mode and owner are exact; who passes through the directories can read them.
    let odd = FileToWrite { mode: 0o4750, uid: 4242, gid: 4_000_000_000, ..file("live/1/a/b", "") };
    let first = [file("fixed/0", "one"), file("live/0/name", "two"), odd.clone()];
    files.write(KEY, &first).await.unwrap();
    let lines = ["fixed/0 640 7:8 one", "live/0/name 640 7:8 two", "live/1/a/b 4750 4242:4000000000 "];
    assert_eq!(seen(files).await, lines);
    assert_eq!(files.keys().await.unwrap(), [KEY]);
    for path in ["fixed", "live", "live/0", "live/1", "live/1/a"] {
        assert_eq!(at(path).metadata().unwrap().permissions().mode() & 0o7777, 0o755, "{path}");
    }

    // What is right is not touched.
    let stamps = || {
        ["fixed/0", "live/0/name", "live/1/a/b"].map(|path| {
            let stat = at(path).metadata().unwrap();
            (stat.ino(), stat.ctime(), stat.ctime_nsec())
        })
    };
    let before = stamps();
    files.write(KEY, &first).await.unwrap();
    assert_eq!(stamps(), before);

    // A new file comes in the place of the old one, in the same directory; who has the old one open keeps it.
    let directory = inode("live/0");
    let mut open = fs::File::open(at("live/0/name")).unwrap();
    let second = [file("fixed/0", "one"), file("live/0/name", "TWO"), odd];
    files.write(KEY, &second).await.unwrap();
    assert_eq!(seen(files).await[1], "live/0/name 640 7:8 TWO");
    assert_eq!(inode("live/0"), directory);
    let mut content = String::new();
    std::io::Read::read_to_string(&mut open, &mut content).unwrap();
    assert_eq!(content, "two");

    // Drift: mode and owner are repaired in place, where a single file may be mounted; content is replaced.
    let before = inode("fixed/0");
    fs::set_permissions(at("fixed/0"), fs::Permissions::from_mode(0o4777)).unwrap();
    chown(at("live/1/a/b"), Some(0), Some(0)).unwrap();
    fs::write(at("live/0/name"), "edited").unwrap();
    let lines = ["fixed/0 4777 7:8 one", "live/0/name 640 7:8 edited", "live/1/a/b 750 0:0 "];
    assert_eq!(seen(files).await, lines);
    files.write(KEY, &second).await.unwrap();
    let healed = ["fixed/0 640 7:8 one", "live/0/name 640 7:8 TWO", "live/1/a/b 4750 4242:4000000000 "];
    assert_eq!(seen(files).await, healed);
    assert_eq!(inode("fixed/0"), before);
    fs::remove_file(at("live/0/name")).unwrap();
    assert_eq!(seen(files).await, [healed[0], healed[2]]);

    // What somebody planted is seen, replaced, and never followed.
    fs::create_dir(outside).unwrap();
    fs::write(outside.join("b"), "precious").unwrap();
    fs::remove_file(at("fixed/0")).unwrap();
    fs::create_dir_all(at("fixed/0/x/y")).unwrap();
    symlink(outside.join("b"), at("live/0/name")).unwrap();
    fs::remove_dir_all(at("live/1/a")).unwrap();
    symlink(outside, at("live/1/a")).unwrap();
    symlink(outside, at("live/0/extra")).unwrap();
    fs::create_dir_all(at("live/0/deep/er")).unwrap();
    fs::write(at("live/0/deep/er/file"), "").unwrap();
    let seen_now = seen(files).await;
    assert!(seen_now.iter().any(|line| line == "live/0/name 777 0:0 a symbolic link"), "{seen_now:?}");
    files.write(KEY, &second).await.unwrap();
    assert_eq!(seen(files).await, healed);
    assert_eq!(names(&at("live/0")), ["name"]);
    assert_eq!(names(outside), ["b"]);
    assert_eq!(fs::read_to_string(outside.join("b")).unwrap(), "precious");

    // What is declared no longer goes; so do whole directories.
    files.write(KEY, &second[..2]).await.unwrap();
    assert_eq!(seen(files).await, healed[..2]);
    files.write("web/2-cd", &[file("fixed/0", "")]).await.unwrap();
    files.write("api/1-ab", &[]).await.unwrap();
    let mut keys = files.keys().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["api/1-ab", KEY, "web/2-cd"]);
    files.remove(KEY).await.unwrap();
    files.remove(KEY).await.unwrap();
    assert_eq!(seen(files).await, [] as [&str; 0]);
    assert!(!at("").exists());
    files.remove("web/2-cd").await.unwrap();
    assert_eq!(files.keys().await.unwrap(), ["api/1-ab"]);
    assert!(!at("").parent().unwrap().exists());
    files.remove("api/1-ab").await.unwrap();
    assert_eq!(files.keys().await.unwrap(), [] as [&str; 0]);

    // Paths of mounts lead back; names that lead elsewhere are refused.
    assert_eq!(files.managed_path(&files.host_path(KEY, "live/0")), Some((KEY.to_owned(), "live/0".to_owned())));
    assert_eq!(files.managed_path("/etc/passwd"), None);
    for key in ["", "web", "../abc", "web/..", "web/.tmp", "web/a/b"] {
        assert!(files.observe(key).await.is_err(), "{key}");
        assert!(files.remove(key).await.is_err(), "{key}");
    }
    for path in ["", "fixed", "other/0", "live/../x", "live//x", "/live/0"] {
        assert!(files.write(KEY, &[file(path, "")]).await.is_err(), "{path}");
    }
}

#[tokio::test]
async fn files_on_a_local_disk_keep_the_promises_of_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let files = DiskFiles::open(&directory.path().join("state")).unwrap();
    keeps_its_promises(&files, &directory.path().join("outside")).await;
}

#[tokio::test]
async fn files_behind_an_engine_keep_the_promises_of_the_port() {
    let host = Host::new();
    keeps_its_promises(&host.files(), &host.sandbox.path().join("outside")).await;
    assert!(!host.has_helper(), "nothing is left where nothing is kept");
    assert_eq!(names(Path::new(host.root.path())), [] as [&str; 0]);
}

#[tokio::test]
async fn the_helper_is_nobodys_container_and_may_be_taken_away() {
    let host = Host::new();
    let files = host.files();
    // Looking only makes nothing.
    assert_eq!(host.observer().observe(KEY).await.unwrap(), BTreeMap::new());
    assert!(!host.has_helper() && !Path::new(host.root.path()).exists());

    files.write(KEY, &[file("fixed/0", "one")]).await.unwrap();
    let labels = docker(&["inspect", "-f", "{{json .Config.Labels}} {{.State.Status}}", &host.helper()]);
    assert!(labels.contains("mastic.files") && !labels.contains("mastic.site"), "{labels}");
    assert!(labels.trim().ends_with("created"), "{labels}");
    let mode = Path::new(host.root.path()).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700, "users of the host must not read files whose mode is meant for a container");
    assert_eq!(host.observer().observe(KEY).await.unwrap().len(), 1);

    // Pruned: nothing is lost, and it is made again by whoever may.
    docker(&["rm", &host.helper()]);
    assert_eq!(host.observer().observe(KEY).await.unwrap(), BTreeMap::new());
    assert_eq!(files.observe(KEY).await.unwrap().len(), 1);
    assert!(host.has_helper());

    // With a container that mounts the file, who may only look says that it cannot.
    docker(&["rm", &host.helper()]);
    let image = host.sandbox.image("mounts", "");
    let site = format!("mastic.site={}", host.sandbox.prefix());
    let mount = format!("{}:/etc/one:ro", host.path("fixed/0").display());
    docker(&["create", "--name", &host.sandbox.name("web"), "--label", &site, "-v", &mount, &image, "true"]);
    let error = host.observer().observe(KEY).await.unwrap_err();
    assert!(error.reason.contains("cannot be looked at"), "{error}");

    // One of that name that is somebody else's is left alone.
    docker(&["create", "--name", &host.helper(), &image, "true"]);
    let error = host.files().write(KEY, &[file("fixed/0", "two")]).await.unwrap_err();
    assert!(error.reason.contains("is not ours"), "{error}");
    assert!(host.has_helper());
    assert_eq!(fs::read_to_string(host.path("fixed/0")).unwrap(), "one");
}

#[tokio::test]
async fn a_running_container_sees_whole_files_only() {
    let host = Host::new();
    let files = host.files();
    let text = |letter: char| letter.to_string().repeat(300_000);
    files.write(KEY, &[file("live/0/name", &text('a'))]).await.unwrap();
    let image = host.sandbox.image("reader", "");
    let container = host.sandbox.name("reader");
    let mount = format!("{}:/etc/live:ro", host.path("live/0").display());
    docker(&["run", "-d", "--init", "--network", "none", "--name", &container, "-v", &mount, &image, "sleep", "1000"]);
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &container]);
    let inside = PathBuf::from(format!("/proc/{}/root/etc/live/name", pid.trim()));
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (inside, is_over) = (inside.clone(), is_over.clone());
        move || {
            let mut read = 0;
            while !is_over.load(Ordering::SeqCst) {
                // It is away for a moment when it changes; half of it is never there.
                let Ok(content) = fs::read(&inside) else { continue };
                assert_eq!(content.len(), 300_000);
                assert!(content.iter().all(|letter| *letter == content[0]));
                read += 1;
            }
            read
        }
    });
    for letter in ('b'..='y').chain(['z']) {
        files.write(KEY, &[file("live/0/name", &text(letter))]).await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    assert!(reader.join().unwrap() > 10);
    assert_eq!(fs::read_to_string(inside).unwrap(), text('z'));
    let inside = docker(&["exec", &container, "stat", "-c", "%a %u:%g", "/etc/live/name"]);
    assert_eq!(inside.trim(), "640 7:8");
}

#[tokio::test]
async fn broken_off_at_any_call_it_converges_and_leaves_nothing() {
    let old = [file("fixed/0", "one"), file("live/0/a", "old"), file("live/0/gone", "")];
    let new =
        [file("fixed/0", "one"), file("live/0/a", "new"), FileToWrite { mode: 0o600, ..file("live/0/b", "more") }];
    for number in 0.. {
        let host = Host::new();
        let engine = Engine::new(host.engine(), number);
        let broken = RemoteFiles::over(engine.clone(), host.root.clone());
        let all = async {
            broken.write(KEY, &old).await?;
            broken.write(KEY, &new).await?;
            broken.remove(KEY).await
        };
        let outcome = all.await;
        let was_cut = engine.is_broken.load(Ordering::SeqCst);
        let told = "a cut connection is an error";
        assert!(!was_cut || outcome.is_err(), "{told}, call {number}");
        if let Ok(content) = fs::read_to_string(host.path("live/0/a")) {
            assert!(["old", "new"].contains(&content.as_str()), "call {number}: {content}");
        }
        // The next process makes it good.
        let files = host.files();
        files.write(KEY, &new).await.unwrap();
        let lines = ["fixed/0 640 7:8 one", "live/0/a 640 7:8 new", "live/0/b 600 7:8 more"];
        assert_eq!(seen(&files).await, lines, "call {number}");
        assert_eq!(names(&host.path("live/0")), ["a", "b"]);
        let beside = Path::new(host.root.path()).join(".new");
        assert_eq!(beside.metadata().map_or(0, |beside| beside.len()), 0, "what was laid down beside is gone");
        for key in files.keys().await.unwrap() {
            files.remove(&key).await.unwrap();
        }
        assert!(!host.has_helper(), "call {number}");
        assert_eq!(names(Path::new(host.root.path())), [] as [&str; 0], "call {number}");
        if !was_cut {
            assert!(number > 10, "{number} calls");
            break;
        }
    }
}

#[tokio::test]
async fn what_is_right_costs_one_question_a_directory() {
    let host = Host::new();
    let never = usize::MAX;
    let wanted = [file("fixed/0", "one"), file("live/0/a", "two")];
    let engine = Engine::new(host.engine(), never);
    let files = RemoteFiles::over(engine.clone(), host.root.clone());
    files.write(KEY, &wanted).await.unwrap();
    let counted = || engine.calls.swap(0, Ordering::SeqCst);
    counted();
    files.observe(KEY).await.unwrap();
    assert_eq!(counted(), 1);
    files.write(KEY, &wanted).await.unwrap();
    assert_eq!(counted(), 1);
    files.write(KEY, &[file("fixed/0", "one"), file("live/0/a", "three")]).await.unwrap();
    assert_eq!(counted(), 2, "a look and one archive");
}

#[tokio::test]
async fn a_full_disk_of_the_host_is_told_and_changes_nothing() {
    let host = Host::new();
    let disk = Disk::at(Path::new(host.root.path()));
    let files = host.files();
    files.write(KEY, &[file("live/0/a", "old"), file("live/0/b", "old")]).await.unwrap();
    let filling = disk.fill();
    let large = "x".repeat(100_000);
    let wanted = [file("live/0/a", "new"), file("live/0/b", &large)];
    let error = files.write(KEY, &wanted).await.unwrap_err();
    assert_eq!(error.reason, "No space left on device");
    assert_eq!(seen(&files).await, ["live/0/a 640 7:8 old", "live/0/b 640 7:8 old"]);
    fs::remove_file(filling).unwrap();
    files.write(KEY, &wanted).await.unwrap();
    assert_eq!(fs::read_to_string(host.path("live/0/b")).unwrap(), large);
    files.remove(KEY).await.unwrap();
}

#[tokio::test]
async fn content_is_in_no_name_label_command_or_layer() {
    let host = Host::new();
    let secret = "hunter2-very-secret";
    host.files().write(KEY, &[file("live/0/a", secret)]).await.unwrap();
    let told = docker(&["inspect", &host.helper()]) + &docker(&["image", "inspect", "mastic-files:1"]);
    assert!(!told.contains(secret));
    assert!(docker(&["diff", &host.helper()]).lines().all(|line| line == "A /files"), "only the mount point");
    assert_eq!(docker(&["image", "inspect", "-f", "{{.Size}}", "mastic-files:1"]).trim(), "0");
}

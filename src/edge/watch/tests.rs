#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use tokio::time::timeout;

use super::*;

/// Longer than any machine takes; nothing waits for it to pass where all is well.
const LONG: Duration = Duration::from_secs(20);

struct Watched {
    directory: tempfile::TempDir,
    watcher: Watcher,
    hints: mpsc::Receiver<Hint>,
}

impl Watched {
    /// A directory with a site file that was read and is watched, all hints of that taken.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("site.yaml"), "old").unwrap();
        let (sender, hints) = mpsc::channel(16);
        let mut watched = Self { directory, watcher: Watcher::new(sender).unwrap(), hints };
        watched.watch(&["site.yaml"]).await;
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn watch(&mut self, names: &[&str]) {
        self.watcher.watch(names.iter().map(|name| self.path(name)).collect()).unwrap();
        assert_eq!(self.next().await, Hint::Site, "after directories were added");
    }

    async fn next(&mut self) -> Hint {
        timeout(LONG, self.hints.recv()).await.unwrap().unwrap()
    }

    /// The consumer's part: reads at each hint until the content is this.
    async fn until(&mut self, name: &str, content: &str) {
        while fs::read_to_string(self.path(name)).unwrap_or_default() != content {
            assert_eq!(self.next().await, Hint::Site);
        }
        assert_eq!(self.next().await, Hint::Site, "one for the last change");
    }

    /// Shows that nothing else is on its way: what is asked for comes next.
    async fn quiet(&mut self) {
        fs::write(self.path("site.yaml"), "the end").unwrap();
        assert_eq!(self.next().await, Hint::Site);
        assert_eq!(self.hints.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }
}

#[tokio::test]
async fn a_write_in_place_gives_one_hint() {
    let mut watched = Watched::new().await;
    fs::write(watched.path("site.yaml"), "new").unwrap();
    assert_eq!(watched.next().await, Hint::Site);
    watched.quiet().await;
}

#[tokio::test]
async fn an_editors_rename_over_gives_a_hint_each_time() {
    let mut watched = Watched::new().await;
    for content in ["one", "two", "three"] {
        fs::write(watched.path(".site.yaml.swp"), content).unwrap();
        fs::rename(watched.path("site.yaml"), watched.path("site.yaml~")).unwrap();
        fs::rename(watched.path(".site.yaml.swp"), watched.path("site.yaml")).unwrap();
        fs::remove_file(watched.path("site.yaml~")).unwrap();
        assert_eq!(watched.next().await, Hint::Site);
    }
    watched.quiet().await;
}

#[tokio::test]
async fn a_file_that_is_written_in_pieces_gives_a_hint_after_the_last() {
    let mut watched = Watched::new().await;
    let mut file = fs::File::create(watched.path("site.yaml")).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(watched.next().await, Hint::Site);
    file.write_all(b" and half").unwrap();
    drop(file);
    assert_eq!(watched.next().await, Hint::Site);
    assert_eq!(fs::read_to_string(watched.path("site.yaml")).unwrap(), "half and half");
    watched.quiet().await;
}

#[tokio::test]
async fn writing_without_an_end_gives_hints_all_the_same() {
    let mut watched = Watched::new().await;
    let path = watched.path("site.yaml");
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::task::spawn_blocking(move || {
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            fs::write(&path, "again").unwrap();
        }
    });
    assert_eq!(watched.next().await, Hint::Site);
    stop.send(()).unwrap();
    writer.await.unwrap();
}

#[tokio::test]
async fn a_swapped_symbolic_link_gives_a_hint_each_time() {
    let mut watched = Watched::new().await;
    let make = |watched: &Watched, name: &str| {
        fs::create_dir(watched.path(name)).unwrap();
        fs::write(watched.path(name).join("mounted.yaml"), name).unwrap();
    };
    make(&watched, "..1");
    symlink("..1", watched.path("..data")).unwrap();
    symlink("..data/mounted.yaml", watched.path("mounted.yaml")).unwrap();
    watched.watch(&["site.yaml", "mounted.yaml"]).await;
    for (old, new) in [("..1", "..2"), ("..2", "..3"), ("..3", "..4")] {
        make(&watched, new);
        symlink(new, watched.path("..data_tmp")).unwrap();
        fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
        fs::remove_dir_all(watched.path(old)).unwrap();
        watched.until("mounted.yaml", new).await;
        // What lies behind the new link is watched from now on, without a word of the consumer.
        fs::write(watched.path(new).join("mounted.yaml"), "edited").unwrap();
        watched.until("mounted.yaml", "edited").await;
    }
}

#[tokio::test]
async fn what_is_missing_is_found_when_it_comes() {
    let mut watched = Watched::new().await;
    watched.watcher.watch([watched.path("site.yaml"), watched.path("a/b/more.yaml")].into()).unwrap();
    fs::create_dir_all(watched.path("a/b")).unwrap();
    assert_eq!(watched.next().await, Hint::Site);
    fs::write(watched.path("a/b/more.yaml"), "x").unwrap();
    watched.until("a/b/more.yaml", "x").await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let mut watched = Watched::new().await;
    fs::create_dir(watched.path("conf")).unwrap();
    fs::write(watched.path("conf/a.yaml"), "1").unwrap();
    watched.watch(&["site.yaml", "conf", "conf/a.yaml"]).await;
    for content in ["2", "3"] {
        fs::create_dir(watched.path("new")).unwrap();
        fs::write(watched.path("new/a.yaml"), content).unwrap();
        fs::rename(watched.path("conf"), watched.path("old")).unwrap();
        fs::rename(watched.path("new"), watched.path("conf")).unwrap();
        fs::remove_dir_all(watched.path("old")).unwrap();
        watched.until("conf/a.yaml", content).await;
        fs::write(watched.path("conf/b.yaml"), content).unwrap();
        assert_eq!(watched.next().await, Hint::Site, "a new file in a directory of the site");
    }
}

#[tokio::test]
async fn reading_and_other_files_give_no_hint() {
    let mut watched = Watched::new().await;
    for _ in 0..3 {
        assert_eq!(fs::read_to_string(watched.path("site.yaml")).unwrap(), "old");
        assert_eq!(fs::read_dir(watched.directory.path()).unwrap().count(), 1);
    }
    fs::write(watched.path("other"), "").unwrap();
    fs::remove_file(watched.path("other")).unwrap();
    watched.quiet().await;
}

#[tokio::test]
async fn tampering_with_an_instances_files_is_told_with_its_key() {
    let mut watched = Watched::new().await;
    let root = watched.path("state/files");
    watched.watcher.watch_files(&root).unwrap();
    let own = |key: &str| Hint::Files(key.to_owned());

    // As the files' owner makes a directory: aside, then by a rename.
    fs::create_dir_all(root.join("web/.tmp/1/live/0")).unwrap();
    fs::write(root.join("web/.tmp/1/live/0/name"), "x").unwrap();
    fs::rename(root.join("web/.tmp/1"), root.join("web/1:a")).unwrap();
    fs::remove_dir(root.join("web/.tmp")).unwrap();
    // The parts come into view one by one; at the end all of it is watched.
    let all = root.join("web/1:a/live/0");
    let is_watched = |watched: &Watched| lock(&watched.watcher.shared.armed).directories.contains_key(&all);
    while !is_watched(&watched) {
        tokio::task::yield_now().await;
    }
    fs::set_permissions(root.join("web/1:a/live/0/name"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(watched.next().await, own("web/1:a"));
    fs::write(root.join("web/1:a/live/0/name"), "tampered").unwrap();
    assert_eq!(watched.next().await, own("web/1:a"));
    fs::write(watched.path("site.yaml"), "between").unwrap();
    while watched.next().await != Hint::Site {}
    fs::remove_dir_all(root.join("web/1:a")).unwrap();
    assert_eq!(watched.next().await, own("web/1:a"));
}

#[tokio::test]
async fn what_the_kernel_could_not_keep_is_told_as_anything() {
    let mut watched = Watched::new().await;
    let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    watched.watcher.shared.noted.note(Ok(overflow));
    assert_eq!(watched.next().await, Hint::Anything);
    watched.watcher.shared.noted.note(Err(notify::Error::generic("broken")));
    assert_eq!(watched.next().await, Hint::Anything);
    watched.quiet().await;
}

#[test]
fn limits_of_the_kernel_are_told_by_name() {
    let explain = |error: notify::Error| explain(error, Path::new("/etc/mastic")).to_string();
    let system = |errno: rustix::io::Errno| notify::Error::io(errno.into());
    let watches = "no more inotify watches: the limit fs.inotify.max_user_watches is used up (see sysctl)";
    assert_eq!(explain(system(rustix::io::Errno::NOSPC)), watches);
    assert_eq!(explain(notify::Error::new(notify::ErrorKind::MaxFilesWatch)), watches);
    assert!(explain(system(rustix::io::Errno::MFILE)).contains("fs.inotify.max_user_instances"));
    assert_eq!(explain(system(rustix::io::Errno::ACCESS)), "/etc/mastic: cannot be watched: Permission denied");
}

#[test]
fn the_fingerprint_follows_content_mode_links_and_entries() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("a"), "one").unwrap();
    fs::create_dir(path("d")).unwrap();
    symlink("a", path("l")).unwrap();
    let paths = BTreeSet::from(["a", "d", "l", "missing"].map(path));
    let mut before = fingerprint(&paths);
    assert_eq!(fingerprint(&paths), before);
    let mut has_changed = |what: &str| {
        let now = fingerprint(&paths);
        assert_ne!(now, before, "{what}");
        before = now;
    };
    fs::write(path("a"), "longer").unwrap();
    has_changed("content");
    fs::set_permissions(path("a"), fs::Permissions::from_mode(0o600)).unwrap();
    has_changed("mode");
    fs::write(path("d/new"), "").unwrap();
    has_changed("entries");
    fs::remove_file(path("l")).unwrap();
    symlink("d", path("l")).unwrap();
    has_changed("link");
    fs::write(path("missing"), "").unwrap();
    has_changed("what was missing");
}

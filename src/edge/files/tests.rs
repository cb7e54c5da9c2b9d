#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;

const KEY: &str = "web/1:abc";

fn file(path: &str, content: &str) -> FileToWrite {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    FileToWrite { path: path.to_owned(), content: content.as_bytes().to_vec(), mode: 0o640, uid, gid }
}

struct Place {
    directory: tempfile::TempDir,
    files: DiskFiles,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = DiskFiles::open(&directory.path().join("state")).unwrap();
        Self { directory, files }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.files.host_path(KEY, path).into()
    }

    async fn write(&self, files: &[FileToWrite]) {
        self.files.write(KEY, files).await.unwrap();
    }

    /// Paths with digests as seen from outside; what is no file shows by what it is.
    async fn seen(&self) -> Vec<String> {
        let observed = self.files.observe(KEY).await.unwrap();
        observed
            .iter()
            .map(|(path, file)| {
                let at = self.path(path);
                let is_file = at.symlink_metadata().is_ok_and(|at| at.is_file());
                let content = if is_file { fs::read(at).unwrap() } else { Vec::new() };
                let is_right = file.digest == hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&content));
                let shown = if is_right { String::from_utf8_lossy(&content).into_owned() } else { file.digest.clone() };
                format!("{path} {:o} {shown}", file.mode)
            })
            .collect()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }
}

#[tokio::test]
async fn nothing_is_there_at_first_and_nothing_is_made_by_looking() {
    let place = Place::new();
    assert_eq!(place.seen().await, [] as [&str; 0]);
    assert_eq!(place.files.keys().await.unwrap(), [] as [&str; 0]);
    place.files.clean().await.unwrap();
    place.files.remove(KEY).await.unwrap();
    assert!(Place::names(place.directory.path()).is_empty());
}

#[tokio::test]
async fn writes_and_sees_what_it_wrote() {
    let place = Place::new();
    place.write(&[file("fixed/0", "one"), file("live/0/name", "two"), file("live/1/a/b", "")]).await;
    assert_eq!(place.seen().await, ["fixed/0 640 one", "live/0/name 640 two", "live/1/a/b 640 "]);
    assert_eq!(place.files.keys().await.unwrap(), [KEY]);
    let state = place.directory.path().join("state");
    for (path, mode) in [("", 0o700), ("files", 0o711), ("files/web", 0o711), ("files/web/1:abc", 0o711)] {
        assert_eq!(Place::mode(&state.join(path)), mode, "{path}");
    }
    for path in ["fixed", "live", "live/0", "live/1", "live/1/a"] {
        assert_eq!(Place::mode(&place.path(path)), 0o755, "{path}");
    }
    assert_eq!(Place::names(&state.join("files/web")), ["1:abc"]);
}

#[tokio::test]
async fn what_is_right_is_not_touched() {
    let place = Place::new();
    let files = [file("fixed/0", "one"), file("live/0/name", "two")];
    place.write(&files).await;
    let stamps = || {
        [".", "fixed", "fixed/0", "live", "live/0", "live/0/name"].map(|path| {
            let stat = place.path(path).metadata().unwrap();
            (stat.ino(), stat.ctime(), stat.ctime_nsec())
        })
    };
    let before = stamps();
    place.write(&files).await;
    assert_eq!(stamps(), before);
}

#[tokio::test]
async fn live_files_are_renamed_into_the_same_directory() {
    let place = Place::new();
    place.write(&[file("live/0/name", "old"), file("live/0/gone", "")]).await;
    let directory = place.path("live/0").metadata().unwrap().ino();
    let mut open = fs::File::open(place.path("live/0/name")).unwrap();
    place.write(&[file("live/0/name", "new")]).await;
    assert_eq!(place.seen().await, ["live/0/name 640 new"]);
    assert_eq!(place.path("live/0").metadata().unwrap().ino(), directory);
    let mut content = String::new();
    std::io::Read::read_to_string(&mut open, &mut content).unwrap();
    assert_eq!(content, "old", "who has the old file open keeps the whole of it");
}

#[tokio::test]
async fn a_wrong_mode_is_repaired_in_place_and_a_wrong_content_replaced() {
    let place = Place::new();
    let files = [file("fixed/0", "one"), file("fixed/1", "two")];
    place.write(&files).await;
    let inode = |path: &str| place.path(path).metadata().unwrap().ino();
    let before = [inode("fixed/0"), inode("fixed/1")];
    fs::set_permissions(place.path("fixed/0"), fs::Permissions::from_mode(0o4777)).unwrap();
    fs::write(place.path("fixed/1"), "TWO").unwrap();
    assert_eq!(place.seen().await, ["fixed/0 4777 one", "fixed/1 640 TWO"]);
    place.write(&files).await;
    assert_eq!(place.seen().await, ["fixed/0 640 one", "fixed/1 640 two"]);
    assert_eq!(inode("fixed/0"), before[0]);
    assert_ne!(inode("fixed/1"), before[1]);
}

#[tokio::test]
async fn owners_are_set_as_root_and_an_error_otherwise() {
    let place = Place::new();
    let foreign = FileToWrite { uid: 4242, gid: 4343, mode: 0o4750, ..file("live/0/name", "x") };
    let outcome = place.files.write(KEY, &[foreign]).await;
    if rustix::process::geteuid().is_root() {
        outcome.unwrap();
        let observed = place.files.observe(KEY).await.unwrap();
        let name = &observed["live/0/name"];
        assert_eq!((name.uid, name.gid, name.mode), (4242, 4343, 0o4750));
        rustix::fs::chown(place.path("live/0/name"), Some(rustix::fs::Uid::from_raw(1)), None).unwrap();
        place.write(&[FileToWrite { uid: 4242, gid: 4343, mode: 0o4750, ..file("live/0/name", "x") }]).await;
        let observed = place.files.observe(KEY).await.unwrap();
        assert_eq!((observed["live/0/name"].uid, observed["live/0/name"].mode), (4242, 0o4750));
    } else {
        let error = outcome.unwrap_err();
        assert_eq!(error.reason, "cannot be given to 4242:4343: Operation not permitted (only root may do that)");
        assert_eq!(place.files.keys().await.unwrap(), [] as [&str; 0], "a failed write leaves nothing half-made");
    }
}

#[tokio::test]
async fn what_somebody_planted_is_seen_and_replaced_and_never_followed() {
    let place = Place::new();
    let outside = place.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("name"), "precious").unwrap();
    let files = [file("fixed/0", "one"), file("live/0/name", "two"), file("live/0/sub/deep", "three")];
    place.write(&files).await;

    fs::remove_file(place.path("fixed/0")).unwrap();
    fs::create_dir_all(place.path("fixed/0/x/y")).unwrap();
    fs::remove_file(place.path("live/0/name")).unwrap();
    symlink(outside.join("name"), place.path("live/0/name")).unwrap();
    fs::remove_dir_all(place.path("live/0/sub")).unwrap();
    symlink(&outside, place.path("live/0/sub")).unwrap();
    symlink(&outside, place.path("live/0/extra")).unwrap();
    fs::write(place.path("live/0/more"), "").unwrap();
    let pipe = place.path("live/0/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut deep = place.path("live/0/nest");
    for _ in 0..40 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();

    let mut seen = place.seen().await;
    seen.retain(|line| !line.contains("/d/"));
    assert_eq!(
        seen,
        [
            "live/0/extra 777 a symbolic link",
            "live/0/more 644 ",
            "live/0/name 777 a symbolic link",
            "live/0/pipe 600 a pipe",
            "live/0/sub 777 a symbolic link",
        ]
    );
    place.write(&files).await;
    assert_eq!(place.seen().await, ["fixed/0 640 one", "live/0/name 640 two", "live/0/sub/deep 640 three"]);
    assert_eq!(Place::names(&place.path("live/0")), ["name", "sub"]);
    assert_eq!(fs::read_to_string(outside.join("name")).unwrap(), "precious");
    assert_eq!(Place::names(&outside), ["name"]);
}

#[tokio::test]
async fn what_a_crash_left_is_cleaned_and_never_taken_for_files() {
    let place = Place::new();
    place.write(&[file("fixed/0", "one")]).await;
    let home = place.path("").parent().unwrap().to_owned();
    let temporary = place.files.root().join("web/.tmp");
    fs::create_dir_all(temporary.join("1/fixed")).unwrap();
    fs::write(temporary.join("1/fixed/0"), "half").unwrap();
    assert_eq!(place.files.keys().await.unwrap(), [KEY]);
    place.write(&[file("fixed/0", "two")]).await;
    assert!(!temporary.exists());
    fs::create_dir_all(temporary.join("1")).unwrap();
    place.files.clean().await.unwrap();
    assert!(!temporary.exists());
    assert_eq!(Place::names(home.parent().unwrap()), ["web"]);
}

#[tokio::test]
async fn removes_a_directory_and_the_instance_with_the_last() {
    let place = Place::new();
    place.write(&[file("fixed/0", "one")]).await;
    place.files.write("web/1:def", &[file("fixed/0", "two")]).await.unwrap();
    place.files.write("api/1:abc", &[]).await.unwrap();
    assert_eq!(place.files.keys().await.unwrap(), ["api/1:abc", "web/1:abc", "web/1:def"]);
    place.files.remove(KEY).await.unwrap();
    place.files.remove(KEY).await.unwrap();
    assert_eq!(place.files.keys().await.unwrap(), ["api/1:abc", "web/1:def"]);
    place.files.remove("web/1:def").await.unwrap();
    assert_eq!(Place::names(place.files.root()), ["api"]);
}

#[tokio::test]
async fn digests_are_remembered_only_while_nothing_changed() {
    let place = Place::new();
    place.write(&[file("live/0/name", "one")]).await;
    place.seen().await;
    let is_known = || !place.files.shared.digests.lock().unwrap().is_empty();
    assert!(!is_known(), "too fresh: a second write within the clock's tick would not be noticed");
    // As if it had been written long ago: the clock of what was seen is ahead.
    let stat = rustix::fs::stat(place.path("live/0/name")).unwrap();
    let mut seen = digests::Seen::at(i128::MAX);
    seen.add("live/0/name", digests::Stamp::of(&stat), "remembered");
    place.files.shared.digests.lock().unwrap().keep(KEY, seen);
    assert_eq!(place.files.observe(KEY).await.unwrap()["live/0/name"].digest, "remembered");
    let mut seen = digests::Seen::at(i128::MAX);
    seen.add("live/0/name", digests::Stamp::of(&stat), "remembered");
    place.files.shared.digests.lock().unwrap().keep(KEY, seen);
    fs::write(place.path("live/0/name"), "two").unwrap();
    assert_eq!(place.seen().await, ["live/0/name 640 two"]);
}

#[tokio::test]
async fn paths_of_mounts_lead_back_to_their_key() {
    let place = Place::new();
    let source = place.files.host_path(KEY, "live/0");
    let managed = |source: &str| place.files.managed_path(source);
    assert_eq!(managed(&source), Some((KEY.to_owned(), "live/0".to_owned())));
    assert_eq!(managed("/etc/passwd"), None);
    assert_eq!(managed(&place.files.host_path(KEY, "saved/0")), None);
    assert_eq!(managed(&place.files.host_path(KEY, "live/../x")), None);
    assert_eq!(managed(place.files.root().to_str().unwrap()), None);
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let place = Place::new();
    for key in ["", "web", "web/", "/abc", "../abc", "web/..", "web/.tmp", "web/a/b"] {
        assert!(place.files.observe(key).await.is_err(), "{key}");
        assert!(place.files.remove(key).await.is_err(), "{key}");
    }
    for path in ["", "fixed", "fixed/", "other/0", "live/../x", "live//x", "/live/0", "live/0/./x", "live/a\0"] {
        assert!(place.files.write(KEY, &[file(path, "")]).await.is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_state_directory_behind_a_link_is_known_by_its_real_name() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("real")).unwrap();
    symlink(place.path().join("real"), place.path().join("link")).unwrap();
    let files = DiskFiles::open(&place.path().join("link/state")).unwrap();
    assert_eq!(files.root(), place.path().canonicalize().unwrap().join("real/state/files"));
    files.write(KEY, &[file("fixed/0", "one")]).await.unwrap();
    assert!(files.observe(KEY).await.unwrap().contains_key("fixed/0"));
}

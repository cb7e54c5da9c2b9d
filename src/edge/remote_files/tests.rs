#![allow(clippy::unwrap_used, reason = "tests")]

use super::archive::Access;
use super::*;

fn root() -> Root {
    Root::new("/var/lib/mastic", &SiteName::new("demo").unwrap(), &HostName::new("here").unwrap()).unwrap()
}

fn file(path: &str, content: &str) -> FileToWrite {
    FileToWrite { path: path.to_owned(), content: content.as_bytes().to_vec(), mode: 0o640, uid: 7, gid: 8 }
}

#[test]
fn sources_of_mounts_lead_back_to_their_key() {
    let managed = |source: &str| root().managed(source);
    assert_eq!(
        managed("/var/lib/mastic/remote/demo/here/web/1-ab/live/0"),
        Some(("web/1-ab".to_owned(), "live/0".to_owned()))
    );
    for other in ["/etc/passwd", "/var/lib/mastic/remote/demo", "/var/lib/mastic/remote/demo/here2/web/1-ab/live/0"] {
        assert_eq!(managed(other), None, "{other}");
    }
    for wrong in ["web/1-ab/live/../x", "web/1-ab/saved/0", ".keys/web/live/0", "web/1-ab"] {
        assert_eq!(managed(&format!("/var/lib/mastic/remote/demo/here/{wrong}")), None, "{wrong}");
    }
}

#[test]
fn a_root_that_cannot_be_bound_is_refused() {
    for wrong in ["", "var", "/var/../etc", "/var//lib", "/a:b", "/var/"] {
        assert!(Root::new(wrong, &SiteName::new("demo").unwrap(), &HostName::new("here").unwrap()).is_err(), "{wrong}");
    }
}

/// What unpacking would leave below `files/web/1`, read back as the engine packs it.
fn read_back(pack: Pack) -> Found {
    let bytes = pack.finish().unwrap();
    archive::read(&bytes).unwrap()
}

#[test]
fn large_numbers_and_long_names_survive_the_archive() {
    let long = format!("live/{}/{}", "d".repeat(120), "n".repeat(120));
    let mut pack = Pack::default();
    pack.file(&long, b"x", Access { mode: 0o4750, uid: 4_000_000_000, gid: 2_100_000 });
    let found = read_back(pack);
    let file = &found.files[&long];
    assert_eq!((file.mode, file.uid, file.gid), (0o4750, 4_000_000_000, 2_100_000));
}

#[test]
fn only_what_differs_is_packed() {
    let files = [file("fixed/0", "one"), file("live/0/a", "two"), file("live/0/b", "three")];
    let mut pack = Pack::default();
    for file in &files {
        let mode = if file.path == "live/0/a" { 0o600 } else { 0o640 };
        pack.file(&file.path, &file.content, Access { mode, uid: 7, gid: 8 });
    }
    pack.file("live/0/gone/x", b"", Access::ROOT);
    pack.directory("live/0/gone", 0o755);
    pack.directory("live/0/empty", 0o755);
    let mut seen = read_back(pack);
    seen.files.remove("live/0/b");
    let changes = changes::between(Some(&seen), &files);
    assert_eq!(changes.in_archive, [(1, false), (2, true)].into());
    assert_eq!(changes.superfluous, ["live/0/empty", "live/0/gone"]);

    let bytes = changes::pack("web/1", &files, &changes).finish().unwrap();
    let mut archive = tar::Archive::new(bytes.as_ref());
    let entries: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name().unwrap().map(|to| format!(" -> {}", to.display())).unwrap_or_default();
            let mode = entry.header().mode().unwrap();
            format!("{} {mode:o}{link}", entry.path().unwrap().display())
        })
        .collect();
    insta::assert_snapshot!(entries.join("\n"), @r"
    files 700
    files/.keys/web/1 600
    files/.new 600
    files/.new 700
    files/.new/2 640
    files/web 711
    files/web/1 711
    files/web/1/fixed 755
    files/web/1/live 755
    files/web/1/live/0 755
    files/.new/1 640 -> files/web/1/live/0/a
    files/web/1/live/0/b 640 -> files/.new/2
    files/.new 600
    ");
}

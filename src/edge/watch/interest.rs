//! Which directories are watched for a set of paths, and what an event in one of them means.
//!
//! Always directories, never files: who replaces a file by renaming another one over it leaves the watch of a file on
//! what nobody sees any more.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use tokio::time::Instant;

use super::pending::Pending;

/// The kernel's own limit on the way through symbolic links.
const LINKS: usize = 40;
/// So deep directories of instances are watched. What a container nests deeper, the next deep pass finds.
const DEEPEST: usize = 12;
/// So many of them at most: a container may make any number in what is mounted into it.
const MOST: usize = 4096;

/// What is watched, and why.
#[derive(Debug, Default)]
pub(super) struct Interest {
    directories: BTreeSet<PathBuf>,
    /// Names that mean something: the paths themselves, each symbolic link on the way, what is missing.
    targets: BTreeSet<PathBuf>,
    /// Directories of the site: all in them is of interest.
    listed: BTreeSet<PathBuf>,
    /// `STATE/files`.
    files: Option<PathBuf>,
}

impl Interest {
    /// As the disk is now.
    pub(super) fn of(paths: &BTreeSet<PathBuf>, files: Option<&Path>) -> Self {
        let mut interest = Self { files: files.map(Path::to_owned), ..Self::default() };
        for path in paths {
            interest.follow(path);
        }
        if let Some(root) = files {
            if root.is_dir() {
                interest.add_tree(root, DEEPEST);
            } else {
                interest.follow(root);
            }
        }
        interest
    }

    /// All directories to be watched.
    pub(super) fn directories(&self) -> &BTreeSet<PathBuf> {
        &self.directories
    }

    /// Whether a directory is one of them.
    pub(super) fn is_watched(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    /// Walks a path name by name, as the kernel would, and notes each place where it could be led elsewhere.
    fn follow(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else { return };
        let mut names = names_of(&path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            let found = fs::symlink_metadata(&next);
            let is_link = found.as_ref().is_ok_and(fs::Metadata::is_symlink);
            if is_link || found.is_err() || names.is_empty() {
                self.directories.insert(here.clone());
                self.targets.insert(next.clone());
            }
            let Ok(found) = found else { return };
            if !is_link {
                here = next;
                if names.is_empty() && found.is_dir() {
                    self.directories.insert(here.clone());
                    self.listed.insert(here.clone());
                }
                continue;
            }
            links += 1;
            let Ok(target) = fs::read_link(&next) else { return };
            if links > LINKS {
                return;
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for name in names_of(&target).into_iter().rev() {
                names.push_front(name);
            }
        }
    }

    fn add_tree(&mut self, directory: &Path, depth: usize) {
        if self.directories.len() >= MOST {
            return;
        }
        self.directories.insert(directory.to_owned());
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            // Of the entry itself: links are not followed.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && depth > 0 && !is_temporary(&entry.path()) {
                self.add_tree(&entry.path(), depth - 1);
            }
        }
    }

    /// What a change at a path means.
    pub(super) fn note(&self, path: &Path, changes_names: bool, now: Instant, pending: &mut Pending) {
        if let Some(below) = self.files.as_ref().and_then(|root| path.strip_prefix(root).ok()) {
            if below.components().any(|part| is_temporary(Path::new(&part))) {
                return;
            }
            if changes_names {
                pending.names(now);
            }
            let parts: Vec<_> = below.iter().take(2).filter_map(|part| part.to_str()).collect();
            if let [instance, hash] = parts.as_slice() {
                pending.files(format!("{instance}/{hash}"), now);
            }
            return;
        }
        let is_target = self.targets.contains(path);
        if is_target && changes_names {
            pending.names(now);
        }
        if is_target && self.files.as_deref().is_some_and(|root| root.starts_with(path)) {
            return;
        }
        let is_in_site = path.parent().is_some_and(|parent| self.listed.contains(parent));
        if is_target || is_in_site || self.directories.contains(path) {
            pending.site(now);
        }
    }
}

/// Where files are made before they are renamed to their place.
fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == ".tmp")
}

fn names_of(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn each_link_on_the_way_is_watched_where_it_lies() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("releases/5/conf")).unwrap();
        fs::create_dir(top.join("etc")).unwrap();
        symlink("../releases/5", top.join("etc/current")).unwrap();
        symlink(top.join("releases/5/conf/real.yaml"), top.join("releases/5/site.yaml")).unwrap();
        fs::write(top.join("releases/5/conf/real.yaml"), "").unwrap();
        let interest = Interest::of(&BTreeSet::from([top.join("etc/current/site.yaml")]), None);
        let expected = ["etc", "releases/5", "releases/5/conf"].map(|path| top.join(path));
        assert_eq!(interest.directories, BTreeSet::from(expected));
        let expected = ["etc/current", "releases/5/site.yaml", "releases/5/conf/real.yaml"].map(|path| top.join(path));
        assert_eq!(interest.targets, BTreeSet::from(expected));
    }

    #[test]
    fn what_is_missing_is_awaited_and_a_loop_ends() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap();
        symlink("loop", top.join("loop")).unwrap();
        let interest = Interest::of(&BTreeSet::from([top.join("a/b/site.yaml"), top.join("loop")]), None);
        assert_eq!(interest.directories, BTreeSet::from([top.clone()]));
        assert_eq!(interest.targets, BTreeSet::from([top.join("a"), top.join("loop")]));
    }

    #[test]
    fn only_what_concerns_the_paths_is_noted() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("roles")).unwrap();
        fs::create_dir_all(top.join("files/web/1:a/live/0")).unwrap();
        fs::create_dir_all(top.join("files/web/.tmp")).unwrap();
        let paths = BTreeSet::from([top.join("site.yaml"), top.join("roles")]);
        let interest = Interest::of(&paths, Some(&top.join("files")));
        let hints = |path: &str| {
            let mut pending = Pending::default();
            interest.note(&top.join(path), false, Instant::now(), &mut pending);
            format!("{:?}", pending.hints())
        };
        assert_eq!(hints("site.yaml"), "[Site]");
        assert_eq!(hints(".site.yaml.swp"), "[]");
        assert_eq!(hints("roles/web.yaml"), "[Site]");
        assert_eq!(hints("files/web/1:a/live/0/name"), "[Files(\"web/1:a\")]");
        assert_eq!(hints("files/web/1:a"), "[Files(\"web/1:a\")]");
        assert_eq!(hints("files/web/.tmp/1"), "[]");
        assert_eq!(hints("files/web"), "[]");
        assert!(!interest.is_watched(&top.join("files/web/.tmp")));
        assert!(interest.is_watched(&top.join("files/web/1:a/live/0")));
    }
}

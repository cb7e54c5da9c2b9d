//! Changes to the files of one instance. Each is whole or not at all for each file, and may be repeated after a crash.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::tree::{Access, MOUNTED, OpenFile, Outcome, PASSED, PRIVATE, Sync, Tree, failure};
use super::{FIXED, LIVE, TEMPORARY, visit};
use crate::port::files::FileToWrite;

/// The files of one instance, while nobody else changes them.
#[derive(Debug)]
pub(super) struct Instance {
    root: PathBuf,
    name: String,
}

/// A place to make things in, emptied before and removed after.
struct Workshop<'a> {
    home: &'a Tree,
    tree: Option<Tree>,
    made: usize,
}

impl<'a> Workshop<'a> {
    fn new(home: &'a Tree) -> Self {
        Self { home, tree: None, made: 0 }
    }

    /// The place, and a name that nothing in it has.
    fn bench(&mut self) -> Outcome<(&Tree, String)> {
        self.made += 1;
        if self.tree.is_none() {
            clean(self.home)?;
            self.tree = Some(self.home.ensure_child(TEMPORARY, PRIVATE, Sync::Later)?);
        }
        match &self.tree {
            Some(tree) => Ok((tree, self.made.to_string())),
            None => Ok((self.home, TEMPORARY.to_owned())),
        }
    }

    /// Puts a file to its place, whatever is there.
    fn place(&mut self, parent: &Tree, name: &str, content: &[u8], access: Access) -> Outcome<()> {
        if parent.stat(name)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
            self.take_away(parent, name)?;
        }
        let (bench, made) = self.bench()?;
        bench.create(&made, content, access)?.sync()?;
        bench.rename(&made, parent, name)?;
        parent.sync()
    }

    /// Takes a directory away at once; what it holds is removed at the end.
    fn take_away(&mut self, parent: &Tree, name: impl AsRef<std::ffi::OsStr>) -> Outcome<()> {
        let (bench, made) = self.bench()?;
        parent.rename(name, bench, &made)?;
        parent.sync()
    }

    /// Removes what is left, also after a failure.
    fn close<T>(self, outcome: Outcome<T>) -> Outcome<T> {
        match (outcome, self.tree) {
            (Ok(value), Some(_)) => clean(self.home).map(|()| value),
            (Err(error), Some(_)) => {
                // The first failure is the one to be told; the next change cleans again.
                let _ = clean(self.home);
                Err(error)
            }
            (outcome, None) => outcome,
        }
    }
}

fn clean(home: &Tree) -> Outcome<()> {
    let path = home.path().join(TEMPORARY);
    match fs::remove_dir_all(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => home.unlink(TEMPORARY),
        Err(error) => Err(failure(&path, &error)),
    }
}

impl FileToWrite {
    fn access(&self) -> Access {
        Access { mode: self.mode & 0o7777, uid: self.uid, gid: self.gid }
    }
}

impl Instance {
    pub(super) fn new(root: &Path, name: &str) -> Self {
        Self { root: root.to_owned(), name: name.to_owned() }
    }

    fn home(&self) -> Outcome<Option<Tree>> {
        match Tree::open(&self.root)? {
            Some(root) => root.child(&self.name),
            None => Ok(None),
        }
    }

    fn ensure_home(&self) -> Outcome<Tree> {
        if let Some(home) = self.home()? {
            return Ok(home);
        }
        let problem = |path: PathBuf| move |error: io::Error| failure(&path, &error);
        if let Some(state) = self.root.parent() {
            fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(state).map_err(problem(state.to_owned()))?;
        }
        match fs::create_dir(&self.root) {
            Ok(()) => {
                fs::set_permissions(&self.root, fs::Permissions::from_mode(PASSED))
                    .map_err(problem(self.root.clone()))?;
                if let Some(state) = self.root.parent() {
                    fs::File::open(state).and_then(|state| state.sync_all()).map_err(problem(state.to_owned()))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failure(&self.root, &error)),
        }
        match Tree::open(&self.root)? {
            Some(root) => root.ensure_child(&self.name, PASSED, Sync::Now),
            None => Err(failure(&self.root, &io::ErrorKind::NotFound.into())),
        }
    }

    /// Removes what a crash left.
    pub(super) fn clean(&self) -> Outcome<()> {
        self.home()?.map_or(Ok(()), |home| clean(&home))
    }

    /// Makes a directory so that it holds exactly these files.
    pub(super) fn write(&self, hash: &str, files: &[FileToWrite]) -> Outcome<()> {
        let home = self.ensure_home()?;
        let mut workshop = Workshop::new(&home);
        let outcome = match home.child(hash) {
            Ok(Some(place)) => update(&mut workshop, &place, files),
            Ok(None) => make(&mut workshop, &home, hash, files),
            Err(error) => Err(error),
        };
        workshop.close(outcome)
    }

    /// Removes the directory, and the instance's own when it was the last one.
    pub(super) fn remove(&self, hash: &str) -> Outcome<()> {
        let Some(home) = self.home()? else { return Ok(()) };
        if home.child(hash)?.is_some() {
            let mut workshop = Workshop::new(&home);
            let outcome = workshop.take_away(&home, hash);
            workshop.close(outcome)?;
        }
        match Tree::open(&self.root)? {
            Some(root) => root.remove_empty(&self.name),
            None => Ok(()),
        }
    }
}

/// Files open for writing at most.
const OPEN: usize = 64;

/// Fills a directory that nobody sees yet. All is written before all is synced: one after the other is slower by far.
struct Filling<'a> {
    place: &'a Tree,
    written: Vec<OpenFile>,
    directories: BTreeSet<String>,
}

impl<'a> Filling<'a> {
    fn new(place: &'a Tree) -> Self {
        Self { place, written: Vec::new(), directories: BTreeSet::new() }
    }

    fn add(&mut self, path: &str, content: &[u8], access: Access) -> Outcome<()> {
        let (parent, name) = self.place.ensure_parent(path, Sync::Later)?;
        self.written.push(parent.create(name, content, access)?);
        self.directories.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        if self.written.len() >= OPEN {
            self.sync_files()?;
        }
        Ok(())
    }

    fn sync_files(&mut self) -> Outcome<()> {
        self.written.drain(..).try_for_each(|file| file.sync())
    }

    fn finish(mut self) -> Outcome<()> {
        self.sync_files()?;
        for directory in &self.directories {
            if let Some((parent, name)) = self.place.parent(directory)?
                && let Some(directory) = parent.child(name)?
            {
                directory.sync()?;
            }
        }
        self.place.sync()
    }
}

/// A directory that did not exist: made aside as a whole, then renamed.
fn make(workshop: &mut Workshop<'_>, home: &Tree, hash: &str, files: &[FileToWrite]) -> Outcome<()> {
    if home.stat(hash)?.is_some() {
        home.unlink(hash)?;
    }
    let (bench, made) = workshop.bench()?;
    let place = bench.ensure_child(&made, PASSED, Sync::Later)?;
    for side in [FIXED, LIVE] {
        place.ensure_child(side, MOUNTED, Sync::Later)?;
    }
    let mut filling = Filling::new(&place);
    for file in files {
        filling.add(&file.path, &file.content, file.access())?;
    }
    filling.finish()?;
    bench.rename(&made, home, hash)?;
    home.sync()
}

/// A directory that is perhaps mounted: changed file by file, and only where something is wrong.
fn update(workshop: &mut Workshop<'_>, place: &Tree, files: &[FileToWrite]) -> Outcome<()> {
    for side in [FIXED, LIVE] {
        place.ensure_child(side, MOUNTED, Sync::Now)?;
    }
    for file in files {
        let (parent, name) = place.ensure_parent(&file.path, Sync::Now)?;
        put(workshop, &parent, name, &file.content, file.access())?;
    }
    let wanted: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for side in [FIXED, LIVE] {
        remove_others(workshop, place, side, &wanted)?;
    }
    Ok(())
}

/// Leaves what is right, repairs mode and owner in place, replaces the rest.
fn put(workshop: &mut Workshop<'_>, parent: &Tree, name: &str, content: &[u8], access: Access) -> Outcome<()> {
    if let Some(mut file) = parent.file(name)?
        && usize::try_from(file.stat.st_size) == Ok(content.len())
        && file.content()? == content
    {
        return if file.access() == access { Ok(()) } else { file.permit(access).and_then(|()| file.sync()) };
    }
    workshop.place(parent, name, content, access)
}

/// Removes all files that are not wanted, and below the mounted directories the empty directories too.
fn remove_others(workshop: &mut Workshop<'_>, place: &Tree, side: &str, wanted: &BTreeSet<&str>) -> Outcome<()> {
    let Some(tree) = place.child(side)? else { return Ok(()) };
    visit(&tree, side, &mut |tree, entry, path| {
        if wanted.contains(path) {
            return Ok(());
        }
        if entry.kind == FileType::Directory {
            return workshop.take_away(tree, &entry.name);
        }
        tree.unlink(&entry.name)?;
        tree.sync()
    })?;
    for entry in tree.entries()? {
        let Some(mounted) = tree.child(&entry.name)? else { continue };
        let top = format!("{side}/{}", entry.name.to_string_lossy());
        for below in mounted.entries()? {
            let path = format!("{top}/{}/", below.name.to_string_lossy());
            // Names that are no UTF-8 are never wanted.
            let is_parent = below.name.to_str().is_some() && wanted.iter().any(|wanted| wanted.starts_with(&path));
            if below.kind == FileType::Directory && !is_parent {
                workshop.take_away(&mounted, &below.name)?;
            }
        }
    }
    Ok(())
}

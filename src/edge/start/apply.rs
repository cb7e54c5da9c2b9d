//! Does what the contract says: makes, restores, keeps, copies, grants.

use std::fs;
use std::path::{Path, PathBuf};

use crate::start::plan::{Grant, Make, Plan};
use crate::start::problem::Problem;

use super::globs::expand;
use super::records::Records;
use super::tree::{Wanted, copy, remove, set_properties};
use super::{say, system};

/// Does all of it, and writes down the line to run.
pub(super) fn apply(plan: &Plan, records: &Records) -> Result<(), Problem> {
    for make in &plan.directories {
        let path = Path::new(&make.path);
        fs::create_dir_all(path).map_err(|why| system("make the directory", path, &why))?;
        set_properties(path, make.properties)?;
    }
    for make in &plan.files {
        make_file(make)?;
    }
    restore_and_keep(plan, records)?;
    for one in &plan.copies {
        let sources = expand(&one.source);
        if sources.is_empty() {
            if one.optional {
                say(&format!("{} does not exist, and need not", one.source));
                continue;
            }
            return Err(Problem::MissingSource(one.source.clone()));
        }
        for source in sources {
            let dest = PathBuf::from(one.dest_of(&source.to_string_lossy()));
            say(&format!("copying {} to {}", source.display(), dest.display()));
            copy(&source, &dest, &Wanted { properties: one.properties, merge: one.merge, keeps_owner: true })?;
        }
    }
    records.set_run_command(&plan.command)?;
    for grant in &plan.grants {
        give(grant)?;
    }
    Ok(())
}

fn make_file(make: &Make) -> Result<(), Problem> {
    let path = Path::new(&make.path);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            let why = "something that is no plain file is there".to_owned();
            return Err(Problem::System { what: format!("make the file {}", path.display()), why });
        }
        Ok(_) => {}
        Err(_) => {
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|why| system("make the file", path, &why))?;
        }
    }
    set_properties(path, make.properties)
}

/// Puts back what the contract no longer names, and keeps what it is about to replace.
fn restore_and_keep(plan: &Plan, records: &Records) -> Result<(), Problem> {
    let there = |path: &str| Path::new(path).exists();
    // The image's own owner is kept where this user may give files away.
    let as_it_was = Wanted { properties: None, merge: false, keeps_owner: false };
    let mut record = records.kept()?;
    for restore in record.to_restore(&plan.copies, there) {
        let path = Path::new(&restore.path);
        match &restore.from {
            Some(from) => copy(Path::new(from), path, &as_it_was)?,
            None => remove(path)?,
        }
    }
    record.forget_unnamed(&plan.copies);
    for keep in record.to_keep(&plan.copies, &records.0.defaults, there) {
        let existed = there(&keep.path);
        if existed {
            copy(Path::new(&keep.path), Path::new(&keep.to), &as_it_was)?;
        }
        record.kept(&keep, existed);
    }
    records.set_kept(&record)
}

/// Owner and permissions of what is there. Links that are found on the way down are left alone: what they lead to may be
/// anybody's.
fn give(grant: &Grant) -> Result<(), Problem> {
    for path in expand(&grant.path) {
        if !path.exists() {
            say(&format!("{} does not exist", path.display()));
            continue;
        }
        set_properties(&path, grant.properties)?;
        if grant.recurse && path.is_dir() {
            give_below(grant, &path)?;
        }
    }
    Ok(())
}

fn give_below(grant: &Grant, directory: &Path) -> Result<(), Problem> {
    let failed = |why: std::io::Error| system("look through", directory, &why);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_symlink() {
            continue;
        }
        if !grant.leaves_alone(&path.to_string_lossy()) {
            set_properties(&path, grant.properties)?;
        }
        if kind.is_dir() {
            give_below(grant, &path)?;
        }
    }
    Ok(())
}

//! `kolla_set_configs --check`: whether all is as the contract says.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::start::plan::{Copy, Properties};
use crate::start::problem::Problem;

use super::globs::expand;
use super::records::Records;
use super::tree::{mode_of, user};
use super::{load, say, system};

/// Compares. Nothing is changed.
pub(super) fn check(directory: &Path) -> Result<(), Problem> {
    let plan = load(directory)?;
    let records = Records::find()?;
    let running = records.run_command()?;
    if running != plan.command {
        return Err(Problem::CommandDiffers { running, wanted: plan.command });
    }
    let leftover = records.kept()?.unnamed(&plan.copies);
    if !leftover.is_empty() {
        return Err(Problem::Leftover(leftover));
    }
    let mut differ = Vec::new();
    for copy in &plan.copies {
        let sources = expand(&copy.source);
        if sources.is_empty() && !copy.optional {
            return Err(Problem::MissingSource(copy.source.clone()));
        }
        for source in sources {
            let dest = copy.dest_of(&source.to_string_lossy());
            compare(copy, &source, Path::new(&dest), &mut differ)?;
        }
    }
    if differ.is_empty() { Ok(()) } else { Err(Problem::FilesDiffer(differ)) }
}

/// Adds each path that is not as it should be. What else a directory holds is nobody's business here.
fn compare(copy: &Copy, source: &Path, dest: &Path, differ: &mut Vec<String>) -> Result<(), Problem> {
    let mut report = |why: &str| {
        say(&format!("{}: {why}", dest.display()));
        differ.push(dest.display().to_string());
    };
    let wanted = fs::metadata(source).map_err(|why| system("look at", source, &why))?;
    let Ok(found) = fs::metadata(dest) else {
        report("it does not exist");
        return Ok(());
    };
    if wanted.is_dir() != found.is_dir() {
        report("one is a directory, the other is none");
        return Ok(());
    }
    let (owner, mode) = match copy.properties {
        Some(Properties { uid, gid, mode }) => (Some((uid, gid)), mode.map(|mode| mode_of(&found, mode))),
        // A plain user cannot give files away, so that the owner tells nothing.
        None => (Some((wanted.uid(), wanted.gid())).filter(|_| user() == 0), Some(wanted.mode() & 0o7777)),
    };
    if let Some(mode) = mode.filter(|mode| *mode != found.mode() & 0o7777) {
        report(&format!("its permissions are {:04o} instead of {mode:04o}", found.mode() & 0o7777));
    } else if let Some((uid, gid)) = owner.filter(|owner| *owner != (found.uid(), found.gid())) {
        report(&format!("its owner is {}:{} instead of {uid}:{gid}", found.uid(), found.gid()));
    } else if !wanted.is_dir() && !same_content(source, dest)? {
        report("its content differs");
    }
    if wanted.is_dir() {
        let failed = |why: std::io::Error| system("look through", source, &why);
        for entry in fs::read_dir(source).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            compare(copy, &entry.path(), &dest.join(entry.file_name()), differ)?;
        }
    }
    Ok(())
}

fn same_content(one: &Path, other: &Path) -> Result<bool, Problem> {
    let open = |path: &Path| File::open(path).map(BufReader::new).map_err(|why| system("read", path, &why));
    let (mut left, mut right) = (open(one)?.bytes(), open(other)?.bytes());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ok(true),
            (Some(Ok(a)), Some(Ok(b))) if a == b => {}
            (Some(Err(why)), _) => return Err(system("read", one, &why)),
            (_, Some(Err(why))) => return Err(system("read", other, &why)),
            _ => return Ok(false),
        }
    }
}

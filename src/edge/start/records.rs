//! The program's records in the container's own file system.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::start::defaults::Record;
use crate::start::places::{Places, choose};
use crate::start::problem::Problem;

use super::{say, system};

/// Names the directory for the records, where the usual places are not to be used.
const DIRECTORY_VARIABLE: &str = "MASTIC_START_STATE";

/// Where the records are.
pub(super) struct Records(pub(super) Places);

impl Records {
    /// Chooses the places.
    pub(super) fn find() -> Result<Self, Problem> {
        let user = rustix::process::geteuid().as_raw();
        let named = std::env::var(DIRECTORY_VARIABLE).ok().filter(|named| !named.is_empty());
        choose(named.as_deref(), user, |path| Path::new(path).exists(), |path| usable(Path::new(path), user))
            .map(Self)
            .ok_or_else(|| Problem::NotAllowed {
                what: "write anywhere".to_owned(),
                user,
                why: format!("mount a tmpfs at /tmp, or name a directory in {DIRECTORY_VARIABLE}"),
            })
    }

    /// What earlier starts have kept.
    pub(super) fn kept(&self) -> Result<Record, Problem> {
        let path = self.0.record();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|why| Problem::System { what: format!("understand {path}"), why: why.to_string() }),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(Record::default()),
            Err(why) => Err(system("read", Path::new(&path), &why)),
        }
    }

    /// Writes down what is kept.
    pub(super) fn set_kept(&self, record: &Record) -> Result<(), Problem> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        make_directory(Path::new(&self.0.defaults))?;
        write(Path::new(&self.0.record()), &text, 0o644)
    }

    /// Whether files have been copied with `COPY_ONCE`.
    pub(super) fn is_configured(&self) -> bool {
        Path::new(&self.0.configured).exists()
    }

    /// From now on they have.
    pub(super) fn set_configured(&self) -> Result<(), Problem> {
        write(Path::new(&self.0.configured), b"", 0o600)
    }

    /// The line that was written down as the one to run.
    pub(super) fn run_command(&self) -> Result<String, Problem> {
        let path = Path::new(&self.0.run_command);
        fs::read_to_string(path).map_err(|why| system("read", path, &why))
    }

    /// Writes the line down.
    pub(super) fn set_run_command(&self, command: &str) -> Result<(), Problem> {
        write(Path::new(&self.0.run_command), command.as_bytes(), 0o644)
    }
}

/// Makes a directory for this user, and says whether it may be used: nobody else may have put it there.
fn usable(path: &Path, user: u32) -> bool {
    if let Err(why) = fs::DirBuilder::new().mode(0o755).create(path)
        && why.kind() != ErrorKind::AlreadyExists
    {
        return false;
    }
    let own = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o022 == 0);
    let writable = || rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok();
    if own && writable() {
        return true;
    }
    if path.exists() {
        say(&format!("{} is not this user's own directory, and is not used", path.display()));
    }
    false
}

fn make_directory(path: &Path) -> Result<(), Problem> {
    fs::create_dir_all(path).map_err(|why| system("make the directory", path, &why))
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Problem> {
    let failed = |why: std::io::Error| system("write", path, &why);
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    // What an interrupted start has left must not be followed or written through.
    let _ = fs::remove_file(new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(new).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    fs::rename(new, path).map_err(failed)
}

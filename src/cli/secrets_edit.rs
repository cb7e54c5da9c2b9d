//! Editing the store of secrets: in memory where there is such a place, for us alone, and gone afterwards.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::edge::secret_store::SecretStore;
use crate::model::secret::Sensitive;
use crate::parse::secret_store;

use super::error::{CommandError, Exit};
use super::output;

/// Said in a new store.
const EMPTY: &[u8] = b"# NAME: VALUE\n";

/// A directory whose files are overwritten before it is removed.
struct Shredded(tempfile::TempDir);

impl Shredded {
    fn new() -> Result<Self, CommandError> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        if place != memory {
            output::note("there is no /dev/shm: while it is edited, the store is on a disk in the clear");
        }
        let private = std::fs::Permissions::from_mode(0o700);
        Ok(Self(tempfile::Builder::new().prefix("mastic-").permissions(private).tempdir_in(place)?))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("secrets.yaml")
    }
}

impl Drop for Shredded {
    fn drop(&mut self) {
        // Editors leave copies beside the file.
        for entry in std::fs::read_dir(self.0.path()).into_iter().flatten().flatten() {
            let Ok(length) = entry.metadata().map(|metadata| metadata.len()) else { continue };
            let Ok(mut file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
            let _ = io::copy(&mut io::Read::take(io::repeat(0), length), &mut file).and_then(|_| file.sync_all());
        }
    }
}

/// Lets a person edit the store until it makes sense, or they give up.
pub async fn edit(mut store: SecretStore) -> Result<Exit, CommandError> {
    let place = Shredded::new()?;
    let path = place.file();
    let before = if store.exists() { store.text().clone() } else { Sensitive::new(EMPTY) };
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(before.expose())?;
    loop {
        run_editor(&path).await?;
        let text = Sensitive::new(std::fs::read(&path)?);
        if text == before {
            output::note("nothing was changed");
            return Ok(Exit::Done);
        }
        match secret_store::read(text.expose()) {
            Ok(_) => {
                store.save(text)?;
                output::note("encrypted");
                return Ok(Exit::Done);
            }
            Err(fault) => {
                output::note(&format!("secrets.yaml: {fault}"));
                if !again() {
                    return Err(CommandError::failed("the store of secrets was left as it was"));
                }
            }
        }
    }
}

fn again() -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    output::note("Enter to edit it again, `q` to give up:");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok_and(|bytes| bytes > 0) && answer.trim().is_empty()
}

async fn run_editor(path: &Path) -> Result<(), CommandError> {
    let named = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // Ctrl-C is for the editor; if it ended us, the text would stay behind.
    let _interrupts = signal(SignalKind::interrupt())?;
    let _hangups = signal(SignalKind::hangup())?;
    let _ends = signal(SignalKind::terminate())?;
    let status =
        tokio::process::Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(path).status().await?;
    if status.success() {
        return Ok(());
    }
    Err(CommandError::failed(format!("the editor failed ({status}); the store of secrets was left as it was"))
        .hinted("set $EDITOR"))
}

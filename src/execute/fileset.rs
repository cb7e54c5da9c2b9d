//! Making the files of a fileset in a container of their own, and taking them out of one.

use std::path::Path;

use super::{Done, Failure, Hands, because, creation, one_off, to_write};
use crate::model::file::FileSpec;
use crate::model::fileset::Contents;
use crate::model::time::Span;
use crate::plan::step::CreateStep;
use crate::port::engine::Engine;
use crate::port::files::FileToWrite;

const FAILED: &str = "FilesetFailed";

/// Runs the command to its end, and reads what it leaves. What an earlier run has left goes first, running or not, and
/// nothing of it stays behind.
pub(super) async fn make(
    hands: &Hands<'_>,
    create: &CreateStep,
    path: &str,
    files: &[FileSpec],
    timeout: Span,
) -> Result<Done, Failure> {
    let engine = hands.engine;
    let mut before = to_write(hands, files, &create.image_id)?;
    for file in &mut before {
        let name = Path::new(&file.path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        file.path = name;
    }
    engine.remove_container(&create.name, true).await.map_err(because(FAILED))?;
    let id = engine.create_container(&creation(hands, create)).await.map_err(because(FAILED))?;
    let made = run(engine, &id, create, path, &before, timeout).await;
    engine.remove_container(&id, true).await.map_err(because(FAILED))?;
    made
}

async fn run(
    engine: &dyn Engine,
    id: &str,
    create: &CreateStep,
    path: &str,
    before: &[FileToWrite],
    timeout: Span,
) -> Result<Done, Failure> {
    if !before.is_empty() {
        engine.put_files(id, path, before).await.map_err(because(FAILED))?;
    }
    one_off::run(engine, id, create, timeout, FAILED).await?;
    take(engine, id, path).await
}

/// Reads the files of a container.
pub(super) async fn take(engine: &dyn Engine, id: &str, path: &str) -> Result<Done, Failure> {
    let contents: Contents = engine.read_directory(id, path).await.map_err(because(FAILED))?;
    if contents.is_empty() {
        return Err(one_off::failed(FAILED, format!("there are no files in {path}")));
    }
    Ok(Done::Fileset(contents))
}

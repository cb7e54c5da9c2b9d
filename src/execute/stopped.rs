//! Commands in a container like that of a service that does not run, and volumes that are made anew.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use serde_json::Value;

use super::{Done, Failure, Hands, because, creation, one_off, ours};
use crate::model::network::VolumeSpec;
use crate::model::time::Span;
use crate::plan::step::CreateStep;
use crate::port::engine::{Engine, EngineError};

/// Bytes of output that are read; no value is as long.
const MOST: usize = 64 * 1024;
const FAILED: &str = "ProbeFailed";

/// Runs the command to its end. What an earlier run has left goes first, running or not.
pub(super) async fn ask(
    hands: &Hands<'_>,
    create: &CreateStep,
    timeout: Span,
    gives_value: bool,
) -> Result<Done, Failure> {
    let engine = hands.engine;
    let failure = || because(FAILED);
    engine.remove_container(&create.name, true).await.map_err(failure())?;
    let id = engine.create_container(&creation(hands, create)).await.map_err(failure())?;
    let answer = run(engine, &id, create, timeout, gives_value).await;
    engine.remove_container(&id, true).await.map_err(failure())?;
    answer
}

async fn run(
    engine: &dyn Engine,
    id: &str,
    create: &CreateStep,
    timeout: Span,
    gives_value: bool,
) -> Result<Done, Failure> {
    one_off::run(engine, id, create, timeout, FAILED).await?;
    if !gives_value {
        return Ok(Done::Plain);
    }
    let output = output(engine, id).await.map_err(because(FAILED))?;
    match value(&output) {
        Some(value) => Ok(Done::Value(value)),
        None => Err(one_off::failed(FAILED, format!("`{}` did not print JSON", one_off::command(create)))),
    }
}

/// What it wrote to its standard output.
async fn output(engine: &dyn Engine, id: &str) -> Result<String, EngineError> {
    let mut chunks = engine.logs(id, false, None).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if !chunk.stderr && bytes.len() < MOST {
            bytes.extend_from_slice(&chunk.bytes);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A value in what a command wrote: all of it, or its last line.
pub fn value(output: &str) -> Option<Value> {
    let output = output.trim();
    let last = output.lines().next_back().unwrap_or_default();
    serde_json::from_str(output).or_else(|_| serde_json::from_str(last)).ok()
}

/// Removes volumes and makes them anew. One that something uses is refused by the engine.
pub(super) async fn wipe(hands: &Hands<'_>, volumes: &BTreeMap<String, VolumeSpec>) -> Result<Done, Failure> {
    for (name, spec) in volumes {
        hands.engine.remove_volume(name).await.map_err(because("WipeFailed"))?;
        hands.engine.create_volume(name, spec, &ours(hands)).await.map_err(because("WipeFailed"))?;
    }
    Ok(Done::Plain)
}

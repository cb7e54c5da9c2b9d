//! README's commands, as a newcomer runs them, with the program that is tested.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::support::Run;

/// They make the same images, and remove them in the end.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn the_quickstart_does_what_it_says() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/run"));
    command.arg("--ci").env("MASTIC_BIN", env!("CARGO_BIN_EXE_mastic")).env("QUICKSTART_DIR", directory.path());
    let told = Run::of(command).ok();
    assert!(told.contains("The end of the tour"), "{told}");
}

#[test]
fn the_example_of_many_hosts_does_what_it_says() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/multinode/run"));
    command.arg("--ci").env("MASTIC_BIN", env!("CARGO_BIN_EXE_mastic")).env("MULTINODE_DIR", directory.path());
    // What a killed test leaves is found by this name.
    command.env("LAB", format!("mt-{}-multinode", std::process::id()));
    let told = Run::of(command).ok();
    assert!(told.contains("The end of the tour"), "{told}");
}

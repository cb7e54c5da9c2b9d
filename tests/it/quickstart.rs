//! README's first command, as a newcomer runs it, with the program that is tested.

use std::process::Command;

use crate::support::Run;

#[test]
fn the_quickstart_does_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/run"));
    command.arg("--ci").env("MASTIC_BIN", env!("CARGO_BIN_EXE_mastic")).env("QUICKSTART_DIR", directory.path());
    let told = Run::of(command).ok();
    assert!(told.contains("The end of the tour"), "{told}");
}

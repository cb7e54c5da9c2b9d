//! What integration tests share: an own place on the engine that is empty again afterwards, the program run in it,
//! images made on the spot, and waiting without guessing how long.
#![allow(dead_code, unused_imports, reason = "each test takes what it needs")]

mod authority;
mod daemon;
mod disk;
mod engine;
mod etcd;
mod inside;
mod lab;
mod program;
mod proxy;
mod registry;
mod sandbox;
mod sshd;

use std::process::{Command, Output};

pub use authority::Authority;
pub use daemon::Daemon;
pub use disk::Disk;
pub use engine::{call, causes, differences, inspect, life, look, made, made_with, recreate};
pub use etcd::{Etcd, PASSWORD as ETCD_PASSWORD};
pub use inside::Inside;
pub use lab::Lab;
pub use program::{Background, Run};
pub use proxy::{Proxy, engine_socket};
pub use registry::{Registry, Trust};
pub use sandbox::Sandbox;
pub use sshd::{Agent, Sshd};

/// Runs the `docker` command, the third party that tells what is really there; fails the test if it fails.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    match try_docker(arguments) {
        Ok(stdout) => stdout,
        Err(stderr) => panic!("docker {} failed: {stderr}", arguments.join(" ")),
    }
}

/// As `docker`, for what may fail: standard output, or standard error.
#[track_caller]
pub fn try_docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output().expect("docker is installed (tests/run does it)");
    text(&output)
}

/// Runs any other command to its end; fails the test if it fails.
#[track_caller]
pub fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    text(&output).unwrap_or_else(|stderr| panic!("{program} {} failed: {stderr}", arguments.join(" ")))
}

fn text(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A port on loopback that nobody listens on right now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

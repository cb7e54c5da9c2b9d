//! Where the world begins: Docker, files, sockets, the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is where the world begins")]

pub mod age_file;
pub mod agent_client;
pub mod agent_socket;
#[cfg(test)]
mod agent_socket_tests;
mod atomic;
pub mod authority;
pub mod build_inputs;
pub mod built_in;
pub mod certificates;
pub mod clock;
pub mod coordinator;
pub mod docker;
pub mod docker_config;
pub mod etcd;
pub mod facts;
pub mod files;
pub mod fleet_lock;
pub mod fleet_source;
pub mod host_files;
pub mod http;
pub mod identity;
pub mod journal;
pub mod lock;
pub mod measured;
pub mod prober;
pub mod process;
pub mod raw_terminal;
pub mod remote_files;
pub mod revision;
pub mod secret_maker;
pub mod secret_store;
pub mod serve;
pub mod site_files;
pub mod site_record;
pub mod site_source;
pub mod ssh;
pub mod start;
pub mod store;
pub mod systemd;
pub mod terminal;
pub mod vault;
pub mod watch;

/// What the system says of an error, without its number.
pub fn system_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

//! The integration tests: one binary, one module a subject. Those that need an engine use the one at `DOCKER_HOST` or
//! `/var/run/docker.sock` and fail without it; `tests/run` starts it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::print_stdout, reason = "a failing property test tells its story")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make the world that the program meets")]

mod alerts;
mod architecture;
mod build_images;
mod certificates;
mod cli;
mod convergence;
mod differential;
mod disk_faults;
mod docker_engine;
mod documents;
mod drift;
mod engine_dies;
mod etcd;
mod every_key;
mod exec;
mod filesets;
mod fleet;
mod guard;
mod holds;
mod house;
mod ini_differential;
mod jobs;
mod kolla_differential;
mod kolla_images;
mod lab;
mod multinode;
mod passes;
mod podman;
mod promises;
mod quickstart;
mod registries;
mod remote_files;
mod remote_site;
mod render_speed;
mod role_sets;
mod roles;
mod rollouts;
mod secret_store;
mod secrets;
mod sharing;
mod signals;
mod site;
mod ssh;
mod ssh_host_keys;
mod ssh_login;
mod ssh_site;
mod state_directory;
mod support;
mod systemd;
mod systemd_agent;
mod systemd_notify;
mod tree;
mod verbs;

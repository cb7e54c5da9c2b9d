//! One file a verb. Arguments are read once into plain data; each verb is a function from them to an exit code.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "reads the environment and what the user names, and writes what the user reads"
)]

pub mod agent;
pub mod apply;
pub mod args;
pub mod error;
pub mod plan;
pub mod progress;
pub mod status;
pub mod validate;
mod watching;
pub mod world;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Verb};
use error::{CommandError, Exit};

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Help and version are no mistakes.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return exit.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.message.is_empty() {
                eprintln!("error: {}", error.message.trim_end());
            }
            if let Some(hint) = &error.hint {
                eprintln!("hint: {hint}");
            }
            error.exit.into()
        }
    }
}

async fn run(arguments: Arguments) -> Result<Exit, CommandError> {
    let Arguments { global, verb } = arguments;
    global.start_logging(matches!(verb, Verb::Agent(_)));
    match verb {
        Verb::Validate(options) => validate::run(&global, &options),
        Verb::Plan(options) => plan::run(&global, &options).await,
        Verb::Apply(options) => apply::run(&global, options).await,
        Verb::Agent(options) => agent::run(&global, &options).await,
        Verb::Status(options) => status::run(&global, &options).await,
    }
}

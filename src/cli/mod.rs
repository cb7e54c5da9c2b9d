//! One file a verb. Arguments are read once into plain data; each verb is a function from them to an exit code.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads the environment and what the user names, and writes what the user reads"
)]

pub mod agent;
pub mod agent_etcd;
pub mod apply;
pub mod args;
pub mod ask;
pub mod build;
pub mod certs;
mod connection;
pub mod describe;
pub mod destroy;
pub mod diff;
pub mod door;
pub mod error;
pub mod etcd;
pub mod events;
pub mod exec;
pub mod explain;
mod facts;
pub mod generate;
pub mod history;
pub mod host;
pub mod images;
pub mod init;
mod interrupted;
mod lock_file;
pub mod logs;
pub mod operate;
pub mod output;
pub mod plan;
pub mod progress;
pub mod push;
pub mod recover;
mod remote;
pub mod render;
pub mod roles;
pub mod schema;
mod scope;
pub mod secrets;
mod secrets_edit;
pub mod status;
mod subject;
pub mod target;
pub mod validate;
pub mod wait;
mod watching;
pub mod why;
pub mod world;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Global, Output, Verb};
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
    let global = arguments.global.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(arguments));
            // What still runs was given up: a second signal, or a reader who has gone.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain(&global, &error);
            error.exit.into()
        }
    }
}

/// Tells what went wrong: diagnostics with their snippets, or as JSON where that was asked for.
fn complain(global: &Global, error: &CommandError) {
    if let Some(diagnostics) = &error.diagnostics {
        if global.output == Output::Text {
            output::note(&diagnostics.render(output::stderr(global).color));
        } else {
            let value = serde_json::json!({"valid": false, "diagnostics": diagnostics.to_json()});
            let _ = output::show(global, &value, String::new);
        }
    }
    if !error.message.is_empty() {
        output::note(&format!("error: {}", error.message.trim_end()));
    }
    if let Some(hint) = &error.hint {
        output::note(&format!("hint: {hint}"));
    }
}

/// Whether a verb is about agents that meet in etcd, or about none at all.
const fn goes_through_etcd(verb: &Verb) -> bool {
    !matches!(
        verb,
        Verb::Controller(_)
            | Verb::Diff(_)
            | Verb::Events(_)
            | Verb::History(_)
            | Verb::Logs(_)
            | Verb::Exec(_)
            | Verb::Destroy(_)
    )
}

async fn run(arguments: Arguments) -> Result<Exit, CommandError> {
    let Arguments { global, verb } = arguments;
    if global.etcd.is_meant() && !goes_through_etcd(&verb) {
        return Err(CommandError::usage("this verb does not go through etcd").hinted("run it on the host itself"));
    }
    global.start_logging(matches!(verb, Verb::Agent(_) | Verb::Controller(_)));
    match verb {
        Verb::Init(options) => init::run(&global, &options),
        Verb::Validate(options) => validate::run(&global, &options),
        Verb::Schema(options) => schema::run(&global, &options),
        Verb::Certs(options) => certs::run(&global, &options),
        Verb::Secrets(options) => secrets::run(&global, &options).await,
        Verb::Explain(options) => explain::run(&global, &options),
        Verb::Roles(options) => roles::run(&global, &options),
        Verb::Render(options) => render::run(&global, &options),
        Verb::Build(options) => build::run(&global, &options).await,
        Verb::Images(options) => images::run(&global, &options).await,
        Verb::Push(options) => push::run(&global, &options).await,
        Verb::Plan(options) => plan::run(&global, &options).await,
        Verb::Diff(options) => diff::run(&global, &options).await,
        Verb::Apply(options) => apply::run(&global, options).await,
        Verb::Approve(options) => operate::approve(&global, options).await,
        Verb::Agent(options) => agent::run(&global, &options).await,
        Verb::Controller(options) => agent::control(&global, &options).await,
        Verb::Status(options) => status::run(&global, &options).await,
        Verb::Describe(options) => describe::run(&global, &options).await,
        Verb::Why(options) => why::run(&global, &options).await,
        Verb::Events(options) => events::run(&global, &options).await,
        Verb::History(options) => history::run(&global, &options),
        Verb::Wait(options) => wait::run(&global, &options).await,
        Verb::Logs(options) => logs::run(&global, &options).await,
        Verb::Exec(options) => exec::run(&global, &options).await,
        Verb::Rollback(options) => operate::rollback(&global, options).await,
        Verb::Restart(options) => operate::restart(&global, options).await,
        Verb::Recover(options) => recover::run(&global, options).await,
        Verb::Stop(options) => operate::stop(&global, options).await,
        Verb::Start(options) => operate::start(&global, options).await,
        Verb::Pause(options) => operate::pause(&global, options).await,
        Verb::Resume(options) => operate::resume(&global, options).await,
        Verb::Cordon(options) => operate::cordon(&global, options).await,
        Verb::Uncordon(operate::Uncordon {}) => operate::uncordon(&global).await,
        Verb::Freeze(options) => operate::freeze(&global, options).await,
        Verb::Unfreeze(operate::Unfreeze {}) => operate::unfreeze(&global).await,
        Verb::Host(options) => host::run(&global, options).await,
        Verb::Retry(options) => operate::retry(&global, options).await,
        Verb::RunJob(options) => operate::run_job(&global, options).await,
        Verb::Destroy(options) => destroy::run(&global, &options).await,
        Verb::Completions(options) => generate::completions(&options),
        Verb::Man(options) => generate::man(&options),
    }
}

//! The start program of our images, under its three names: `mastic-start` and `kolla_start` apply Kolla's image contract
//! and then run the command as the container's first process; `kolla_set_configs [--check]` applies or checks it alone.

mod apply;
mod check;
mod globs;
mod init;
mod records;
mod tree;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::edge::system_words;
use crate::model::kolla::{CONFIG_FILES, START, STRATEGY_VARIABLE, Strategy};
use crate::start::accounts::Accounts;
use crate::start::contract::{Syntax, read};
use crate::start::plan::{Plan, plan};
use crate::start::problem::Problem;

use records::Records;

/// The name under which files are set and nothing is run.
const SET_CONFIGS: &str = "kolla_set_configs";

/// Runs the program that this process was started as.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    if Path::new(&name).file_name() == Some(OsStr::new(SET_CONFIGS)) {
        return ExitCode::from(set_configs(&arguments));
    }
    // An image's own command names this program once more.
    let command = match arguments.split_first() {
        Some((first, rest)) if Path::new(first).file_name() == Some(OsStr::new(START)) => rest.to_vec(),
        _ => arguments,
    };
    ExitCode::from(init::start(&command))
}

fn set_configs(arguments: &[OsString]) -> u8 {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            say("usage: kolla_set_configs [--check]");
            return 2;
        }
    };
    let done = if check { check::check(Path::new(CONFIG_FILES)) } else { apply_contract().map(drop) };
    match done {
        Ok(()) => 0,
        Err(problem) => report(&problem),
    }
}

/// Says what went wrong, and with which exit code to end.
fn report(problem: &Problem) -> u8 {
    say(&format!("error: {problem}"));
    problem.exit_code()
}

/// Does what the contract says, as the environment says, and returns the line that is to be run.
fn apply_contract() -> Result<String, Problem> {
    let plan = load(Path::new(CONFIG_FILES))?;
    let written = std::env::var(STRATEGY_VARIABLE).ok();
    let strategy = match written.as_deref().map(Strategy::parse) {
        Some(Some(strategy)) => strategy,
        Some(None) => return Err(Problem::Strategy(format!("`{}`", written.unwrap_or_default()))),
        None => return Err(Problem::Strategy("not set".to_owned())),
    };
    let records = Records::find()?;
    if strategy == Strategy::CopyOnce && records.is_configured() {
        say("the files have been copied once, and are not copied again (COPY_ONCE)");
    } else {
        apply::apply(&plan, &records)?;
        if strategy == Strategy::CopyOnce {
            records.set_configured()?;
        }
    }
    records.run_command()
}

/// Reads the contract and looks all names up.
fn load(directory: &Path) -> Result<Plan, Problem> {
    let yaml = directory.join("config.yaml");
    let (path, syntax) =
        if yaml.exists() { (yaml, Syntax::Yaml) } else { (directory.join("config.json"), Syntax::Json) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|why| Problem::Invalid {
        file: file.clone(),
        why: format!("it cannot be read: {}", system_words(&why)),
    })?;
    let contract = read(&text, syntax, &file)?;
    let accounts = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    plan(&contract, &Accounts::parse(&accounts("/etc/passwd"), &accounts("/etc/group")), &file)
}

/// What the system refuses to do with a path.
fn system(doing: &str, path: &Path, why: &std::io::Error) -> Problem {
    Problem::System { what: format!("{doing} {}", path.display()), why: system_words(why) }
}

/// A line for the container's log.
fn say(text: &str) {
    // A log that cannot be written is no reason not to start.
    let _ = writeln!(std::io::stderr(), "mastic-start: {text}");
}

//! The container's first process: sets the files, runs the command, hands signals on, reaps what nobody waits for.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::edge::system_words;
use crate::model::kolla::CONFIG_FILES;

use super::globs::expand;
use super::{apply_contract, report, say};

/// A script of the image that is run by `.` before the command: it may change the environment, or do something else
/// and exit.
const EXTEND_START: &str = "kolla_extend_start";
/// Set, to whatever value, where that script is not to be run.
const SKIP_EXTEND_START: &str = "KOLLA_SKIP_EXTEND_START";
/// `uid:gid` that the command runs as, where this program runs as root.
const USER: &str = "MASTIC_START_USER";

/// Exit codes of shells for a command that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// Added to the number of the signal that ended the command.
const BY_SIGNAL: i32 = 128;

/// Signals that are not handed on: those about this process itself, and those that cannot be caught.
const OWN: [i32; 8] = [4, 5, 7, 8, 9, 11, 17, 19];
/// The last signal that has a name.
const LAST: i32 = 31;

/// The command as the contract has it, or as given to this program.
enum Line<'a> {
    /// Split at blanks, with patterns, by no other rule.
    Written(String),
    /// Word by word.
    Words(&'a [OsString]),
}

/// Does all of it; returns the exit code.
pub(super) fn start(command: &[OsString]) -> u8 {
    let contract = Path::new(CONFIG_FILES);
    let has_contract = ["config.yaml", "config.json"].iter().any(|name| contract.join(name).exists());
    let line = if !command.is_empty() && !has_contract {
        Line::Words(command)
    } else {
        match apply_contract() {
            Ok(line) if command.is_empty() => Line::Written(line),
            Ok(_) => Line::Words(command),
            Err(problem) => return report(&problem),
        }
    };
    let Some(mut child) = prepare(&line) else { return NOT_FOUND };
    if let Err(why) = set_user(&mut child) {
        say(&format!("error: {why}"));
        return 2;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(child)),
        Err(why) => {
            say(&format!("error: cannot wait for signals: {why}"));
            2
        }
    }
}

/// The process to start: the command itself, or a shell that runs the image's script first.
fn prepare(line: &Line<'_>) -> Option<Command> {
    let script = if env::var_os(SKIP_EXTEND_START).is_some() { None } else { in_path(OsStr::new(EXTEND_START)) };
    let shown = match line {
        Line::Written(text) => text.trim().to_owned(),
        Line::Words(words) => words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
    };
    if shown.is_empty() {
        say("error: the command is empty");
        return None;
    }
    say(&format!("running {shown}"));
    let Some(script) = script else {
        let words = match line {
            Line::Written(text) => split(text),
            Line::Words(words) => words.to_vec(),
        };
        let (program, arguments) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments);
        return Some(command);
    };
    let mut command = Command::new(shell(&script));
    // The script may change CMD and ARGS, as those of Kolla's images do.
    match line {
        Line::Written(text) => {
            command
                .args(["-c", r#"set -e; CMD=$2; ARGS=; . "$1"; exec $CMD $ARGS"#, "kolla_start"])
                .arg(script)
                .arg(text);
        }
        Line::Words(words) => {
            let run = r#"set -e; ARGS=; kolla_script=$1; shift; . "$kolla_script"; exec "$@" $ARGS"#;
            command.args(["-c", run, "kolla_start"]).arg(script).args(*words);
        }
    }
    Some(command)
}

/// Words at blanks; a word that is a pattern stands for the paths that it matches, or for itself.
fn split(text: &str) -> Vec<OsString> {
    let words = text.split_whitespace().flat_map(|word| {
        let paths = if crate::model::kolla::is_pattern(word) { expand(word) } else { Vec::new() };
        if paths.is_empty() {
            vec![OsString::from(word)]
        } else {
            paths.into_iter().map(PathBuf::into_os_string).collect()
        }
    });
    words.collect()
}

/// The shell that a script asks for in its first line, as far as it is there; scripts of Kolla's images need bash.
fn shell(script: &Path) -> PathBuf {
    let text = fs::read(script).unwrap_or_default();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let wants_bash = first.starts_with(b"#!") && first.windows(4).any(|word| word == b"bash");
    let bash = if wants_bash { in_path(OsStr::new("bash")) } else { None };
    bash.unwrap_or_else(|| PathBuf::from("/bin/sh"))
}

fn in_path(name: &OsStr) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Lets the command run as somebody else, where the environment says so.
fn set_user(command: &mut Command) -> Result<(), String> {
    let Ok(user) = env::var(USER) else { return Ok(()) };
    let numbers = user.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    let Some((uid, gid)) = numbers else { return Err(format!("{USER} is `{user}`, and must be `UID:GID` in numbers")) };
    if (uid, gid) != (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()) {
        command.uid(uid).gid(gid);
    }
    Ok(())
}

/// Runs the command to its end.
async fn run(mut command: Command) -> u8 {
    // Before the command is there: what arrives meanwhile is handed on then.
    let (send, mut signals) = mpsc::unbounded_channel();
    for number in (1..=LAST).filter(|number| !OWN.contains(number)) {
        forward(number, &send);
    }
    let Ok(mut ended) = signal(SignalKind::child()) else {
        say("error: cannot wait for the ends of processes");
        return 2;
    };
    let child = match command.spawn() {
        Ok(child) => child.id(),
        Err(why) => {
            say(&format!("error: cannot run {}: {}", command.get_program().to_string_lossy(), system_words(&why)));
            return if why.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
        }
    };
    let Some(child) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return 2 };
    loop {
        if let Some(status) = reap(child) {
            return exit_code(status);
        }
        tokio::select! {
            _ = ended.recv() => {}
            Some(number) = signals.recv() => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    // One that has just ended is reaped next.
                    let _ = rustix::process::kill_process(child, signal);
                }
            }
        }
    }
}

fn forward(number: i32, send: &mpsc::UnboundedSender<i32>) {
    let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { return };
    let send = send.clone();
    tokio::spawn(async move {
        while stream.recv().await.is_some() {
            if send.send(number).is_err() {
                return;
            }
        }
    });
}

/// Waits for every process that has ended, orphans too; returns how the command ended, once it has.
fn reap(child: Pid) -> Option<ExitStatus> {
    let mut outcome = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            outcome = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    outcome
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(BY_SIGNAL + status.signal()?)).unwrap_or(2);
    u8::try_from(code).unwrap_or(u8::MAX)
}

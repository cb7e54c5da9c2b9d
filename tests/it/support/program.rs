//! The program under test, run to its end or in the background.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// `mastic` as it was built for this test, in an environment without surprises.
pub fn mastic_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mastic"));
    for name in ["MASTIC_STATE_DIR", "NOTIFY_SOCKET", "JOURNAL_STREAM", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// How a command ended.
pub struct Run {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    command: String,
}

impl Run {
    /// Runs it to its end.
    #[track_caller]
    pub fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        Self::new(output, format!("{command:?}"))
    }

    /// One that a test has run itself, of which it knows what it was.
    pub fn new(output: Output, command: String) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
            command,
        }
    }

    /// Waits for the end of one that was started with pipes; its input is open until then.
    #[track_caller]
    pub fn ended(child: Child, input: ChildStdin) -> Self {
        let output = child.wait_with_output().unwrap();
        drop(input);
        Self::new(output, "a command at a terminal".to_owned())
    }

    /// Fails the test unless it ended with 0; gives standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr, command, .. } = self;
        write!(formatter, "{command}\nended with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A command in the background. Its output goes to a file, so that it never blocks on a full pipe.
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    #[track_caller]
    pub(super) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it (and those started before it in the same sandbox) has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal by its name, such as `TERM` or `HUP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        super::command("kill", &["-s", name, &self.id().to_string()]);
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end and waits for that, at most so many seconds.
    #[track_caller]
    pub fn stop(mut self, seconds: u64) -> ExitStatus {
        self.signal("TERM");
        self.wait(seconds)
    }

    /// Waits for its end, at most so many seconds.
    #[track_caller]
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "did not end within {seconds} s\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Fails for one that has ended, which is as good.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

//! A place of its own for one test: names that nobody else uses, a directory, a state directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::program::{Background, Run, mastic_command};
use super::{docker, try_docker};

/// Everything that is made under its prefix is gone when it is dropped: containers, networks, volumes, images, files.
pub struct Sandbox {
    prefix: String,
    directory: tempfile::TempDir,
}

impl Sandbox {
    /// A new one.
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        // The process id lets `tests/run` find out what killed tests have left.
        let prefix = format!("mt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { prefix, directory: tempfile::tempdir().unwrap() }
    }

    /// Starts all names of this sandbox; good as a site's name.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A name for a service, container, network or volume.
    pub fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// Where the test's files are; also the working directory of `mastic`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program's state directory.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes a file as an editor would, by renaming, and returns its path. `@` in the text becomes the prefix.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text.replace('@', &self.prefix)).unwrap();
        std::fs::rename(&draft, &path).unwrap();
        path
    }

    /// Writes `site.yaml` for this machine alone: below the head that all such sites have, what the test is about (two
    /// spaces deep, as it stands below `spec`). Again it is an edit.
    #[track_caller]
    pub fn site(&self, spec: &str) -> PathBuf {
        let head = "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: '@'}\nspec:\n  hosts: {here: {}}\n";
        self.write("site.yaml", &format!("{head}{spec}"))
    }

    /// Runs `mastic ARGUMENTS` to its end, with this sandbox's state directory.
    #[track_caller]
    pub fn mastic(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// Starts `mastic ARGUMENTS` (an agent); killed at the latest when dropped.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Background {
        Background::start(self.command(arguments), &self.path().join("background.log"))
    }

    /// As `start`, for a command that was prepared.
    #[track_caller]
    pub fn start_command(&self, command: Command) -> Background {
        Background::start(command, &self.path().join("background.log"))
    }

    /// The command itself, for what those above do not do.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mastic_command();
        command.args(arguments).current_dir(self.path()).env("MASTIC_STATE_DIR", self.state());
        command
    }

    /// Builds an image of busybox and what `lines` of a Dockerfile add to it, and returns its name. Distinct `tag`s
    /// make distinct images.
    #[track_caller]
    pub fn image(&self, tag: &str, lines: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let base = base_image();
        // The label makes each an image of its own, so that removing one never removes another test's.
        let text = format!("FROM {base}\nLABEL mastic.test={}-{tag}\n{lines}\n", self.prefix);
        std::fs::write(directory.path().join("Dockerfile"), text).unwrap();
        let name = format!("{}-{tag}:1", self.prefix);
        docker(&["build", "-q", "-t", &name, &directory.path().to_string_lossy()]);
        name
    }

    /// Asks again and again until `holds`, at most so many seconds; then the test fails, with what it waited for.
    #[track_caller]
    pub fn wait_for(&self, what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(Instant::now() < deadline, "waited {seconds} s for {what}\n{}", self.picture());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// What a failed test wants to know: our containers, and what the agent has said.
    fn picture(&self) -> String {
        let filter = format!("name={}", self.prefix);
        let containers = try_docker(&["ps", "-a", "--filter", &filter]).unwrap_or_else(|error| error);
        let log = std::fs::read_to_string(self.path().join("background.log")).unwrap_or_default();
        format!("{containers}\n{log}")
    }
}

/// What the images of all tests are made of. It has a name and stays: of an image without one, the engine removes the layers
/// with the last image made of it, also while another test is about to build on them.
#[track_caller]
fn base_image() -> &'static str {
    const NAME: &str = "mastic-test-busybox:1";
    if try_docker(&["image", "inspect", NAME]).is_err() {
        let directory = tempfile::tempdir().unwrap();
        let busybox = directory.path().join("busybox");
        std::fs::copy("/bin/busybox", &busybox).expect("busybox-static is installed (tests/run does it)");
        let text = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                    RUN mkdir -p /tmp /www /etc && echo 'root:x:0:0::/:/bin/sh' > /etc/passwd\n";
        std::fs::write(directory.path().join("Dockerfile"), text).unwrap();
        docker(&["build", "-q", "-t", NAME, &directory.path().to_string_lossy()]);
    }
    NAME
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let of_ours = |name: &&str| name.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with(['-', '.']));
        for (list, remove) in [
            (&["ps", "-a", "--format", "{{.Names}}"][..], &["rm", "-fv"][..]),
            (&["network", "ls", "--format", "{{.Name}}"], &["network", "rm"]),
            (&["volume", "ls", "--format", "{{.Name}}"], &["volume", "rm", "-f"]),
            (&["images", "--format", "{{.Repository}}:{{.Tag}}"], &["rmi", "-f"]),
        ] {
            let names = try_docker(list).unwrap_or_default();
            let names: Vec<&str> = names.lines().filter(of_ours).collect();
            if !names.is_empty() {
                let _removed = try_docker(&[remove, &names].concat());
            }
        }
    }
}

//! Files of a build's context that lie in no folder of a role: programs of ours, files of this machine, and root
//! directories that are made of packages.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;

use super::system_words;
use crate::build::context::Supplied;
use crate::build::definition::{Bootstrap, Input};
use crate::build::hash;

/// The one program of ours that images need.
pub const START_PROGRAM: &str = "mastic-start";

/// Where inputs are found.
#[derive(Clone, Debug, Default)]
pub struct InputFiles {
    /// What is taken for `mastic-start`, if it is not the one beside this program.
    pub start_program: Option<PathBuf>,
    /// The directory of this program.
    pub programs: Option<PathBuf>,
    /// What paths are relative to.
    pub directory: PathBuf,
}

/// Why an input is not there.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A program of ours that was not installed.
    #[error("the program `{name}` is not beside mastic ({directory}); {hint}")]
    NoProgram {
        /// Its name.
        name: String,
        /// Where it was looked for.
        directory: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read `{path}`: {why}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// A root directory that could not be made.
    #[error("{0}")]
    Bootstrap(String),
}

impl InputFiles {
    /// What stands for the input in its image's hash.
    pub fn fingerprint(&self, input: &Input) -> Result<String, InputError> {
        match input {
            Input::Debootstrap(bootstrap) => Ok(hash::of_bootstrap(bootstrap)),
            Input::Program(_) | Input::File(_) => {
                let path = self.path(input)?;
                fs::read(&path).map(|content| hash::of_content(&content)).map_err(|error| unreadable(&path, &error))
            }
        }
    }

    /// The input itself. A root directory is made below `work`; what its maker says is handed on.
    pub async fn supply(
        &self,
        input: &Input,
        proxies: &BTreeMap<String, String>,
        work: &Path,
        say: impl FnMut(&str),
    ) -> Result<Supplied, InputError> {
        let path = match input {
            Input::Debootstrap(bootstrap) => debootstrap(bootstrap, proxies, work, say).await?,
            Input::Program(_) | Input::File(_) => self.path(input)?,
        };
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| unreadable(&path, &error))?;
        let executable = matches!(input, Input::Program(_)) || metadata.permissions().mode() & 0o001 != 0;
        Ok(Supplied { size: metadata.len(), content: Box::new(file), executable })
    }

    fn path(&self, input: &Input) -> Result<PathBuf, InputError> {
        match input {
            Input::Program(name) => {
                if let (START_PROGRAM, Some(path)) = (name.as_str(), &self.start_program) {
                    return Ok(path.clone());
                }
                let directory = self.programs.clone().unwrap_or_default();
                let path = directory.join(name);
                if path.is_file() {
                    return Ok(path);
                }
                Err(InputError::NoProgram {
                    name: name.clone(),
                    directory: directory.display().to_string(),
                    hint: if name == START_PROGRAM {
                        "install it there, or name it with --start-program"
                    } else {
                        "install it there"
                    },
                })
            }
            Input::File(path) => Ok(self.directory.join(path)),
            Input::Debootstrap(_) => Ok(PathBuf::new()),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> InputError {
    InputError::Unreadable { path: path.display().to_string(), why: system_words(error) }
}

/// Makes a root directory of packages, without what differs from machine to machine or is of no use in an image, and packs
/// it.
async fn debootstrap(
    bootstrap: &Bootstrap,
    proxies: &BTreeMap<String, String>,
    work: &Path,
    mut say: impl FnMut(&str),
) -> Result<PathBuf, InputError> {
    let root = work.join("root");
    let archive = work.join("rootfs.tar");
    let mut arguments = vec![format!("--variant={}", bootstrap.variant)];
    arguments.push(format!("--components={}", bootstrap.components.join(",")));
    if !bootstrap.include.is_empty() {
        arguments.push(format!("--include={}", bootstrap.include.join(",")));
    }
    if !bootstrap.keyring.is_empty() {
        arguments.push(format!("--keyring={}", bootstrap.keyring));
    }
    arguments.extend([bootstrap.suite.clone(), root.display().to_string(), bootstrap.mirror.clone()]);
    run("debootstrap", &arguments, proxies, &mut say).await.map_err(|why| {
        let hint =
            "it needs root and the package debootstrap; set `base_image` to an image of a registry to do without";
        InputError::Bootstrap(format!("debootstrap: {why} ({hint})"))
    })?;
    let failed = |error: std::io::Error| InputError::Bootstrap(format!("{}: {}", root.display(), system_words(&error)));
    let within = root.clone();
    let stripped = tokio::task::spawn_blocking(move || strip(&within)).await;
    stripped.map_err(|error| InputError::Bootstrap(error.to_string()))?.map_err(failed)?;
    let arguments = [
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--numeric-owner",
        "--exclude=./dev/*",
        &format!("--directory={}", root.display()),
        &format!("--file={}", archive.display()),
        ".",
    ];
    let arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    run("tar", &arguments, &BTreeMap::new(), &mut say)
        .await
        .map_err(|why| InputError::Bootstrap(format!("tar: {why}")))?;
    Ok(archive)
}

/// Caches, logs, names of this machine, and what only people at a terminal read. Copyrights stay.
fn strip(root: &Path) -> std::io::Result<()> {
    for directory in
        ["var/cache", "var/log", "var/lib/apt/lists", "usr/share/man", "usr/share/locale", "usr/share/info"]
    {
        for path in entries(&root.join(directory))? {
            if directory == "var/log" || directory == "var/cache" {
                empty(&path)?;
            } else {
                remove(&path)?;
            }
        }
    }
    for package in entries(&root.join("usr/share/doc"))? {
        for path in entries(&package)? {
            if path.file_name().is_none_or(|name| name != "copyright") {
                remove(&path)?;
            }
        }
    }
    for file in ["etc/hostname", "etc/resolv.conf", "etc/machine-id"] {
        remove(&root.join(file))?;
    }
    Ok(())
}

/// Nothing where there is no directory.
fn entries(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(Vec::new());
    }
    fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Removes the files below; the directories stay, programs expect them.
fn empty(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return entries(path)?.iter().try_for_each(|path| empty(path));
    }
    fs::remove_file(path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Ends a program with all that it has started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended meanwhile, which is as good.
            let _ended = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs a program and hands on what it says. Dropping the future ends it.
async fn run(
    program: &str,
    arguments: &[String],
    environment: &BTreeMap<String, String>,
    say: &mut impl FnMut(&str),
) -> Result<(), String> {
    let words = |error: std::io::Error| system_words(&error);
    let (reader, writer) = std::io::pipe().map_err(words)?;
    // Administrators' programs are not in everybody's PATH, and a private umask would make a private root directory.
    let script = "umask 022; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH; exec \"$0\" \"$@\"";
    let child = tokio::process::Command::new("/bin/sh")
        .args(["-c", script, program])
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(words)?)
        .stderr(writer)
        .process_group(0)
        .spawn();
    let mut child = child.map_err(words)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).map_err(words)?;
    let mut chunk = vec![0; 8192];
    loop {
        match output.read(&mut chunk).await {
            Ok(0) => break,
            Ok(read) => say(&String::from_utf8_lossy(chunk.get(..read).unwrap_or_default())),
            Err(error) => return Err(words(error)),
        }
    }
    let status = child.wait().await.map_err(words)?;
    group.0 = None;
    match status.code() {
        Some(0) => Ok(()),
        Some(127) => Err(format!("there is no program `{program}`")),
        _ => Err(format!("it ended with {status}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_start_program_is_beside_mastic_or_where_it_is_said_to_be() {
        let place = tempfile::tempdir().unwrap();
        let input = Input::Program(START_PROGRAM.to_owned());
        let mut files = InputFiles { programs: Some(place.path().to_owned()), ..InputFiles::default() };
        let error = files.fingerprint(&input).unwrap_err().to_string();
        assert!(error.contains("is not beside mastic") && error.contains("--start-program"), "{error}");
        fs::write(place.path().join(START_PROGRAM), "one").unwrap();
        assert_eq!(files.fingerprint(&input).unwrap(), hash::of_content(b"one"));
        fs::write(place.path().join("other"), "two").unwrap();
        files.start_program = Some(place.path().join("other"));
        assert_eq!(files.fingerprint(&input).unwrap(), hash::of_content(b"two"));
    }

    #[tokio::test]
    async fn what_a_program_says_is_heard_and_how_it_ended_is_told() {
        let mut heard = String::new();
        let arguments = ["-c".to_owned(), "echo out; echo err >&2; umask; exit 3".to_owned()];
        let error = run("sh", &arguments, &BTreeMap::new(), &mut |text| heard.push_str(text)).await.unwrap_err();
        assert_eq!((heard.as_str(), error.as_str()), ("out\nerr\n0022\n", "it ended with exit status: 3"));
        let error = run("no-such-program", &[], &BTreeMap::new(), &mut |_| {}).await.unwrap_err();
        assert_eq!(error, "there is no program `no-such-program`");
    }

    #[test]
    fn a_root_directory_keeps_copyrights_and_loses_what_is_of_this_machine() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let files = [
            "etc/hostname",
            "etc/passwd",
            "usr/share/doc/x/copyright",
            "usr/share/doc/x/changelog.gz",
            "usr/share/locale/de/x",
            "var/cache/apt/archives/x.deb",
            "var/log/bootstrap.log",
        ];
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "x").unwrap();
        }
        strip(root).unwrap();
        let left: Vec<&str> = files.into_iter().filter(|file| root.join(file).exists()).collect();
        assert_eq!(left, ["etc/passwd", "usr/share/doc/x/copyright"]);
        assert!(root.join("var/cache/apt/archives").is_dir());
    }
}

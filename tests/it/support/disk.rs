//! A small disk in memory that can be full or read-only. Mounting it needs root, as the engine's tests do.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::command;

/// Unmounted when it is dropped.
pub struct Disk {
    path: PathBuf,
    directory: Option<tempfile::TempDir>,
}

impl Disk {
    /// One in a place of its own.
    #[track_caller]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = Self::at(directory.path());
        disk.directory = Some(directory);
        disk
    }

    /// One over a directory, which is made where there is none. Drop it before the directory.
    #[track_caller]
    pub fn at(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        command("mount", &["-t", "tmpfs", "-o", "size=1m,mode=0700", "mastic-test", path.to_str().unwrap()]);
        Self { path: path.to_owned(), directory: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing can be written any more, not even by those who had it open: another mount lies over it.
    #[track_caller]
    pub fn make_read_only(&self) {
        let path = self.path.to_str().unwrap();
        command("mount", &["--bind", path, path]);
        command("mount", &["-o", "remount,bind,ro", path]);
    }

    /// Ends that.
    #[track_caller]
    pub fn make_writable(&self) {
        command("umount", &["-l", self.path.to_str().unwrap()]);
    }

    /// Fills it to the last byte with a file that is to be removed to make room again.
    #[track_caller]
    pub fn fill(&self) -> PathBuf {
        let path = self.path.join("filling");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _unmounted = std::process::Command::new("umount").args(["-l".as_ref(), self.path.as_os_str()]).output();
    }
}

//! Puts the commit that the binary was built from into `--version`.
#![allow(clippy::disallowed_methods, reason = "asks git; this is not part of the program")]

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The roles that the program brings along: a new file among them has to be taken in.
    println!("cargo:rerun-if-changed=roles");
    // A work tree has these elsewhere than in .git. A path that does not exist would mean a build each time.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default();
    for path in ["HEAD", "packed-refs", &branch] {
        if let Some(path) = git(&["rev-parse", "--git-path", path]).filter(|path| std::path::Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    println!("cargo:rustc-env=MASTIC_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

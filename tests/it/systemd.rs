//! The unit, as systemd itself judges it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// systemd's own scale: below 3 is "OK", a daemon without any hardening has 9.6.
const MOST_EXPOSURE: f64 = 2.5;

fn unit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/systemd/mastic-agent.service")).unwrap()
}

/// Lets systemd-analyze look at a unit of this content.
fn analyze(content: &str, arguments: &[&str]) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mastic-agent.service");
    fs::write(&path, content).unwrap();
    let output =
        Command::new("systemd-analyze").args(arguments).arg(&path).output().expect("systemd-analyze is installed");
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

fn verify(content: &str) -> Result<(), String> {
    let (output, said) = analyze(content, &["verify"]);
    // What systemd only warns about (an unknown key, a wrong Type=) it ignores at run time.
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("mastic-agent.service")).collect();
    if output.status.success() && about_it.is_empty() { Ok(()) } else { Err(said) }
}

/// The unit with the program where it is now.
fn unit_here() -> String {
    let unit = unit();
    assert!(unit.contains("ExecStart=/usr/local/bin/mastic agent "), "{unit}");
    unit.replace("/usr/local/bin/mastic", env!("CARGO_BIN_EXE_mastic"))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    verify(&unit_here()).unwrap();
}

#[test]
fn the_unit_for_etcd_is_as_good_and_gives_no_password_to_the_command_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/systemd/mastic-agent-etcd.service");
    // Under the other one's name it would be in conflict with itself.
    let unit = fs::read_to_string(path).unwrap().replace("Conflicts=mastic-agent.service\n", "");
    verify(&unit.replace("/usr/local/bin/mastic", env!("CARGO_BIN_EXE_mastic"))).unwrap();
    let hardening = |unit: &str| unit.split_once("# The files of containers belong").unwrap().1.to_owned();
    assert_eq!(hardening(&unit), hardening(&self::unit()));
    assert!(unit.contains("MASTIC_ETCD_PASSWORD_FILE=%d/etcd-password") && !unit.contains("--etcd-password"), "{unit}");
}

#[test]
fn systemd_would_find_something_wrong() {
    for (good, bad) in [("Type=notify", "Type=notfy"), ("ProtectClock=", "ProtectClok="), ("ExecStart=", "ExecStrat=")]
    {
        let unit = unit_here();
        assert!(unit.contains(good));
        assert!(verify(&unit.replace(good, bad)).is_err(), "{bad}");
    }
}

#[test]
fn the_unit_is_hardened() {
    let (output, said) = analyze(&unit(), &["security", "--offline=yes", "--no-pager"]);
    assert!(output.status.success(), "{said}");
    let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{said}"));
    let exposure: f64 = verdict
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no number in {verdict}"));
    assert!(exposure <= MOST_EXPOSURE, "{verdict}");
}

#[test]
fn the_unit_follows_the_agents_contract() {
    let unit = unit();
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "KillMode=mixed",
        "StateDirectoryMode=0700",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    // The agent outlives a restart of the engine.
    assert!(!unit.contains("Requires=") && !unit.contains("BindsTo=") && !unit.contains("PartOf="));
}

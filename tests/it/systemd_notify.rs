//! What systemd is told by an agent, heard over a notification socket of the test's own.
//!
//! The environment of a process cannot be changed while it runs threads, so the test runs itself once more as the agent.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mastic::control::published::Published;
use mastic::edge::systemd;
use mastic::model::names::SiteName;
use mastic::model::time::Timestamp;
use mastic::report::metrics::Metrics;
use mastic::report::status::SiteStatus;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Set for the run that is the agent.
const AGENT: &str = "MASTIC_TEST_NOTIFY_AGENT";

/// As systemd gives it for `WatchdogSec=10`.
const WATCHDOG_MICROSECONDS: &str = "10000000";

#[test]
fn systemd_hears_when_the_agent_is_ready_and_whether_its_loop_moves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let hearing = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            heard.extend(lines);
            if heard.iter().any(|line| line == "STOPPING=1") {
                return heard;
            }
        }
    });
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["systemd_notify::the_agent_of_this_test", "--exact", "--nocapture"])
        .env(AGENT, "1")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", WATCHDOG_MICROSECONDS)
        .env_remove("WATCHDOG_PID")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let heard: Vec<String> = hearing
        .join()
        .unwrap()
        .into_iter()
        .map(|line| if line.starts_with("MONOTONIC_USEC=") { "MONOTONIC_USEC=...".to_owned() } else { line })
        .collect();
    insta::assert_snapshot!(heard.join("\n"), @r"
    STATUS=observing, generation 0
    WATCHDOG=1
    STATUS=observing, generation 3
    STATUS=converged 0/0, generation 3
    READY=1
    RELOADING=1
    MONOTONIC_USEC=...
    STATUS=converged 0/0, generation 4
    READY=1
    WATCHDOG=1
    WATCHDOG=1
    WATCHDOG=1
    WATCHDOG=1
    STOPPING=1
    STATUS=stopping
    ");
}

/// On a clock that jumps to the next thing to do: a minute passes in no time.
#[tokio::test(start_paused = true)]
async fn the_agent_of_this_test() {
    if std::env::var_os(AGENT).is_none() {
        return;
    }
    let metrics = Arc::new(Metrics::new("0", "0").unwrap());
    let published = Published::new(SiteName::new("demo").unwrap(), metrics);
    let stop = CancellationToken::new();
    let told = tokio::spawn(systemd::accompany(Arc::clone(&published), stop.clone()));
    // Off the beat of the watchdog, so that the order is always the same.
    sleep(Duration::from_secs(1)).await;

    // A site is known before its host is: not ready.
    let mut status = SiteStatus::new(SiteName::new("demo").unwrap());
    status.generation = 3;
    published.publish(status.clone());
    sleep(Duration::from_secs(1)).await;

    status.observed_at = Some(Timestamp(1));
    status.settle();
    published.publish(status.clone());
    sleep(Duration::from_secs(1)).await;
    // Nothing new: nothing is said.
    published.publish(status.clone());
    sleep(Duration::from_secs(1)).await;

    systemd::reloading();
    status.generation = 4;
    published.publish(status);
    sleep(Duration::from_millis(500)).await;
    systemd::reloaded();

    // The loop hangs for a minute: the watchdog is fed a few times more, then not.
    sleep(Duration::from_secs(60)).await;
    published.progressed();
    sleep(Duration::from_secs(5)).await;
    stop.cancel();
    told.await.unwrap();
}

//! What a host costs among many: a controller over simulated engines, 50 services a host. Ratios are against the smallest
//! site of the same run; the largest one is looked at once more with a tenth of its hosts cut off.
//! `cargo bench --bench fleet [HOSTS...]`
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench"
)]
#![allow(clippy::cast_precision_loss, clippy::format_collect, reason = "figures for people")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, dead_code, reason = "a bench makes its own world")]

#[path = "../it/fleet/world.rs"]
mod world;

use std::time::{Duration, Instant};

use mastic::control::command::OutcomeCode;
use mastic::sim::faults::Faults;

use self::world::Fleet;

const SERVICES: usize = 50;

fn site() -> String {
    let services: String =
        (0..SERVICES).map(|number| format!("    s{number}: {{hosts: all, image: \"app:1\"}}\n")).collect();
    format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  \
         defaults: {{connection: {{docker: {{host: \"unix:///nowhere\"}}}}}}\n  hosts: {{HOSTS: {{}}}}\n  services:\n{services}"
    )
}

/// Kilobytes that this process has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// One pass over a site that is as it should be: all hosts looked at anew, and planned. So many of them are cut off before.
async fn pass(hosts: usize, dead: usize) -> (Duration, u64) {
    let before = resident();
    let fleet = Fleet::start(hosts, &site());
    assert_eq!(fleet.apply().await.code, OutcomeCode::Done);
    for number in 1..=dead {
        let name = format!("h{}", number * hosts / dead);
        fleet.host(&name).set_faults(Faults { unreachable: 1.0, ..Faults::default() });
    }
    let began = Instant::now();
    let outcome = fleet.apply().await;
    assert_eq!(outcome.code == OutcomeCode::Done, dead == 0, "{}", outcome.message);
    (began.elapsed(), resident().saturating_sub(before))
}

fn measured(hosts: usize, dead: usize) -> (Duration, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(pass(hosts, dead))
}

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10, 100, 1000] } else { sizes };
    let mut floor = None;
    println!(
        "{:>6} {:>8} {:>12} {:>14} {:>8} {:>16}",
        "hosts", "cut off", "one pass", "a host", "ratio", "memory a host"
    );
    let last = sizes.last().map(|hosts| (*hosts, hosts / 10)).filter(|(_, dead)| *dead > 0);
    for (hosts, dead) in sizes.iter().map(|hosts| (*hosts, 0)).chain(last) {
        let (took, memory) = measured(hosts, dead);
        let each = took.as_secs_f64() / hosts as f64;
        let floor = *floor.get_or_insert(each);
        println!(
            "{hosts:>6} {dead:>8} {:>10.2} s {:>11.2} ms {:>8.2} {:>13} KiB",
            took.as_secs_f64(),
            each * 1000.0,
            each / floor,
            memory / hosts as u64
        );
    }
}

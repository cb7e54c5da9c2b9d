//! The promises of the design, on random sites with random faults: each with a test that can fail.
//!
//! The whole agent runs in a simulated world, so that a case takes milliseconds and a seed repeats it:
//! `MASTIC_SEED=N cargo test --test it promises::random`.

mod agent;
mod case;
mod clock;
mod crash;
mod found;
mod identity;
mod once;
mod oracle;
mod planted;
mod site;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Cases in a run.
const CASES: u64 = 2000;

/// Runs cases on all processors; the seeds that failed, with what went wrong.
fn run(seeds: &[u64], case: impl Fn(u64) -> Result<(), String> + Sync) -> Vec<(u64, String)> {
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
                    if let Err(text) = case(*seed) {
                        failures.lock().unwrap().push((*seed, text));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("MASTIC_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn random_sites_with_random_faults_keep_the_promises() {
    let count = std::env::var("MASTIC_CASES").ok().map_or(CASES, |text| text.parse().unwrap());
    let mut failures = run(&seeds(count), |seed| case::run(seed, &case::real_planner()));
    failures.sort();
    let shown: Vec<String> =
        failures.iter().take(5).map(|(seed, text)| format!("MASTIC_SEED={seed}\n{text}")).collect();
    let all: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failures.is_empty(), "{} cases failed: {all:?}\n{}", failures.len(), shown.join("\n\n"));
}

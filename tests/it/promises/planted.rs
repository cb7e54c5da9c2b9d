//! Mistakes planted into the planner: each has to be found by some case within few seeds.

use std::sync::Arc;

use mastic::plan::host::PlanInstance;
use mastic::sim::planted::{self, Bug};

use super::case;

/// Seeds that are tried for each mistake.
const SEEDS: u64 = 400;

fn planner(bug: Bug) -> Arc<PlanInstance> {
    Arc::new(move |input| {
        let plan = planted::plan(bug, input);
        assert_eq!(plan, planted::plan(bug, input), "planned twice, and not the same");
        plan
    })
}

#[test]
fn each_planted_mistake_is_found() {
    let bugs: Vec<u64> = (0..Bug::ALL.len() as u64).collect();
    let missed = super::run(&bugs, |number| {
        let bug = Bug::ALL[usize::try_from(number).unwrap()];
        let planner = planner(bug);
        match (0..SEEDS).find_map(|seed| case::run(seed, &planner).err().map(|text| (seed, text))) {
            Some((seed, text)) => {
                println!("{bug:?}: found by seed {seed}: {}", text.lines().next().unwrap_or_default());
                Ok(())
            }
            None => Err(format!("{bug:?} is not found by {SEEDS} seeds")),
        }
    });
    assert!(missed.is_empty(), "{missed:?}");
}

//! What became of a build, for people and for programs. The names in the JSON are documented and stay.

use std::collections::BTreeMap;

use serde::Serialize;

use super::naming::ImageName;
use super::plan::BuildPlan;
use super::schedule::{Schedule, State};

/// What is known of one image's work besides its state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Builds that were begun.
    pub attempts: u32,
    /// How long the last of them took, in seconds.
    pub seconds: f64,
    /// What was built.
    pub id: String,
    /// What the registry calls it.
    pub digest: Option<String>,
    /// Why the last attempt failed.
    pub error: String,
    /// Its log.
    pub log: String,
}

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Built.
    pub built: Vec<Built>,
    /// There already.
    pub skipped: Vec<Skipped>,
    /// Failed, while it was built or pushed.
    pub failed: Vec<Failed>,
    /// Not tried.
    pub not_built: Vec<NotBuilt>,
    /// Pushed.
    pub pushed: Vec<Pushed>,
    /// Whether somebody gave it up.
    pub interrupted: bool,
}

/// One that was built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Built {
    /// Name.
    pub name: String,
    /// Reference.
    pub reference: String,
    /// Its id in the engine.
    pub id: String,
    /// Why, in words.
    pub reason: String,
    /// Builds that it took.
    pub attempts: u32,
    /// How long the last of them took.
    pub seconds: f64,
    /// Its log.
    pub log: String,
}

/// One that was there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    /// Name.
    pub name: String,
    /// Reference.
    pub reference: String,
}

/// One that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    /// Name.
    pub name: String,
    /// Reference.
    pub reference: String,
    /// `build` or `push`.
    pub during: &'static str,
    /// Builds or pushes that were tried.
    pub attempts: u32,
    /// Why.
    pub error: String,
    /// Its log.
    pub log: String,
}

/// One that was not tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotBuilt {
    /// Name.
    pub name: String,
    /// Reference.
    pub reference: String,
    /// Why.
    pub reason: String,
}

/// One that was pushed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pushed {
    /// Name.
    pub name: String,
    /// Reference.
    pub reference: String,
    /// What the registry calls it.
    pub digest: String,
}

impl Summary {
    /// Puts it together.
    pub fn new(plan: &BuildPlan, schedule: &Schedule, work: &BTreeMap<ImageName, Work>, interrupted: bool) -> Self {
        let mut summary = Self { interrupted, ..Self::default() };
        let none = Work::default();
        for (entry, (_, state)) in plan.entries.iter().zip(schedule.states()) {
            let work = work.get(&entry.name).unwrap_or(&none);
            let (name, reference) = (entry.name.to_string(), entry.reference.clone());
            if work.id.is_empty() && entry.reason.is_none() {
                summary.skipped.push(Skipped { name: name.clone(), reference: reference.clone() });
            }
            if let (false, Some(reason)) = (work.id.is_empty(), &entry.reason) {
                summary.built.push(Built {
                    name: name.clone(),
                    reference: reference.clone(),
                    id: work.id.clone(),
                    reason: reason.to_string(),
                    attempts: work.attempts,
                    seconds: work.seconds,
                    log: work.log.clone(),
                });
            }
            if let Some(digest) = &work.digest {
                let pushed = Pushed { name: name.clone(), reference: reference.clone(), digest: digest.clone() };
                summary.pushed.push(pushed);
            }
            let not_built = |reason: String| NotBuilt { name: name.clone(), reference: reference.clone(), reason };
            match state {
                State::BuildFailed | State::PushFailed => summary.failed.push(Failed {
                    during: if *state == State::BuildFailed { "build" } else { "push" },
                    attempts: work.attempts,
                    error: work.error.clone(),
                    log: work.log.clone(),
                    name,
                    reference,
                }),
                State::ParentFailed(parent) => {
                    summary.not_built.push(not_built(format!("`{parent}`, which it is built from, failed")));
                }
                State::Cancelled if work.id.is_empty() && entry.reason.is_some() => {
                    summary.not_built.push(not_built("interrupted".to_owned()));
                }
                _ => {}
            }
        }
        summary
    }

    /// In one line.
    pub fn line(&self) -> String {
        let counts = [
            (self.built.len(), "built"),
            (self.skipped.len(), "up to date"),
            (self.pushed.len(), "pushed"),
            (self.failed.len(), "failed"),
            (self.not_built.len(), "not built"),
        ];
        let words: Vec<String> =
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if words.is_empty() { "nothing to do".to_owned() } else { words.join(", ") }
    }
}

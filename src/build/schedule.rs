//! Which build may start now: a machine of states, driven by what ends.
//!
//! In: a plan, bounds, and the outcome of each task. Out: the tasks that start, and at the end what became of each image.
//! Parents come first; a failed build is tried again; what is built from one that failed is not tried.

use std::collections::BTreeMap;

use super::naming::ImageName;
use super::plan::BuildPlan;

/// Pushes at a time: they wait for one registry, and share its bandwidth.
const PUSHES: usize = 2;

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Builds at a time, at least 1.
    pub threads: usize,
    /// How often what failed is tried again.
    pub retries: u32,
    /// Whether what was selected is pushed.
    pub push: bool,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Build it, for the n-th time from 1.
    Build(ImageName, u32),
    /// Push it, for the n-th time from 1.
    Push(ImageName, u32),
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Done,
    /// It failed, and may succeed the next time.
    Failed,
    /// It failed, and would again.
    Hopeless,
    /// It was given up.
    Cancelled,
}

/// What becomes of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its parents or for its turn.
    Waiting,
    /// It is being built.
    Building,
    /// It is what it should be, and waits to be pushed.
    Ready,
    /// It is being pushed.
    Pushing,
    /// All is done.
    Done,
    /// Its build failed.
    BuildFailed,
    /// It was built or was there, and could not be pushed.
    PushFailed,
    /// It is built from one that failed.
    ParentFailed(ImageName),
    /// The work was given up before its turn or during it.
    Cancelled,
}

impl State {
    /// Whether nothing more happens to it.
    fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Building | Self::Ready | Self::Pushing)
    }

    /// Whether it can be built from.
    fn is_there(&self) -> bool {
        matches!(self, Self::Ready | Self::Pushing | Self::Done | Self::PushFailed)
    }
}

#[derive(Clone, Debug)]
struct Item {
    parents: Vec<ImageName>,
    pushes: bool,
    state: State,
    attempts: u32,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Schedule {
    bounds: Bounds,
    /// In the order of the plan, which is the order of starting.
    order: Vec<ImageName>,
    items: BTreeMap<ImageName, Item>,
    cancelled: bool,
}

impl Schedule {
    /// With nothing started.
    pub fn new(plan: &BuildPlan, bounds: Bounds) -> Self {
        let items = plan.entries.iter().map(|entry| {
            let pushes = bounds.push && entry.selected;
            let state = match (&entry.reason, pushes) {
                (Some(_), _) => State::Waiting,
                (None, true) => State::Ready,
                (None, false) => State::Done,
            };
            (entry.name.clone(), Item { parents: entry.parents.iter().cloned().collect(), pushes, state, attempts: 0 })
        });
        Self {
            bounds: Bounds { threads: bounds.threads.max(1), ..bounds },
            order: plan.entries.iter().map(|entry| entry.name.clone()).collect(),
            items: items.collect(),
            cancelled: false,
        }
    }

    /// What starts now. Each task is handed out once, and has to end.
    pub fn start(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        if self.cancelled {
            return tasks;
        }
        let mut building = self.count(&State::Building);
        let mut pushing = self.count(&State::Pushing);
        for name in self.order.clone() {
            let Some(item) = self.items.get(&name) else { continue };
            let next = match item.state {
                State::Waiting if building < self.bounds.threads && self.parents_are_there(item) => State::Building,
                State::Ready if pushing < PUSHES => State::Pushing,
                _ => continue,
            };
            let Some(item) = self.items.get_mut(&name) else { continue };
            item.attempts += 1;
            if next == State::Building {
                building += 1;
                tasks.push(Task::Build(name, item.attempts));
            } else {
                pushing += 1;
                tasks.push(Task::Push(name, item.attempts));
            }
            item.state = next;
        }
        tasks
    }

    /// Takes in how a task ended. Whether it will be tried again.
    pub fn ended(&mut self, task: &Task, outcome: Ended) -> bool {
        let (Task::Build(name, _) | Task::Push(name, _)) = task;
        let is_build = matches!(task, Task::Build(..));
        let (retries, cancelled) = (self.bounds.retries, self.cancelled);
        let Some(item) = self.items.get_mut(name) else { return false };
        let again = outcome == Ended::Failed && item.attempts <= retries && !cancelled;
        item.state = match (outcome, is_build) {
            (Ended::Cancelled, _) => State::Cancelled,
            (Ended::Done, true) if item.pushes => {
                item.attempts = 0;
                if cancelled { State::Cancelled } else { State::Ready }
            }
            (Ended::Done, _) => State::Done,
            (_, true) if again => State::Waiting,
            (_, false) if again => State::Ready,
            (_, true) => State::BuildFailed,
            (_, false) => State::PushFailed,
        };
        if item.state == State::BuildFailed {
            self.give_up_children();
        }
        again
    }

    /// Starts no more. What is under way still has to end.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        for item in self.items.values_mut() {
            if matches!(item.state, State::Waiting | State::Ready) {
                item.state = State::Cancelled;
            }
        }
    }

    /// Whether all is over.
    pub fn is_over(&self) -> bool {
        self.items.values().all(|item| item.state.is_final())
    }

    /// What became of each image, in the order of the plan.
    pub fn states(&self) -> impl Iterator<Item = (&ImageName, &State)> {
        self.order.iter().filter_map(|name| Some((name, &self.items.get(name)?.state)))
    }

    fn count(&self, state: &State) -> usize {
        self.items.values().filter(|item| item.state == *state).count()
    }

    /// A parent that is not part of the plan is what it should be.
    fn parents_are_there(&self, item: &Item) -> bool {
        item.parents.iter().all(|parent| self.items.get(parent).is_none_or(|parent| parent.state.is_there()))
    }

    fn give_up_children(&mut self) {
        for name in self.order.clone() {
            let failed = self.items.get(&name).filter(|item| item.state == State::Waiting).and_then(|item| {
                item.parents.iter().find_map(|parent| match &self.items.get(parent)?.state {
                    State::BuildFailed => Some(parent.clone()),
                    State::ParentFailed(first) => Some(first.clone()),
                    _ => None,
                })
            });
            if let (Some(parent), Some(item)) = (failed, self.items.get_mut(&name)) {
                item.state = State::ParentFailed(parent);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::plan::{Entry, Reason};
    use super::*;

    fn name(text: &str) -> ImageName {
        ImageName::new(text).unwrap()
    }

    /// `a`, then `b` and `c` from it, then `d` from `b`; `kept` stays.
    fn schedule(threads: usize, retries: u32, push: bool) -> Schedule {
        let entry = |text: &str, parents: &[&str], builds: bool| Entry {
            name: name(text),
            reference: format!("x/{text}:1"),
            hash: String::new(),
            parents: parents.iter().map(|parent| name(parent)).collect(),
            reason: builds.then_some(Reason::Missing),
            selected: text != "a",
        };
        let entries = vec![
            entry("a", &["elsewhere"], true),
            entry("b", &["a"], true),
            entry("c", &["a"], true),
            entry("d", &["b"], true),
            entry("kept", &["a"], false),
        ];
        Schedule::new(&BuildPlan { entries }, Bounds { threads, retries, push })
    }

    fn build(text: &str, attempt: u32) -> Task {
        Task::Build(name(text), attempt)
    }

    fn push(text: &str) -> Task {
        Task::Push(name(text), 1)
    }

    fn state(schedule: &Schedule, text: &str) -> State {
        schedule.states().find(|(image, _)| image.as_str() == text).unwrap().1.clone()
    }

    #[test]
    fn parents_come_first_and_so_many_at_a_time() {
        let mut one = schedule(1, 0, false);
        for text in ["a", "b", "c", "d"] {
            assert_eq!(one.start(), [build(text, 1)]);
            assert_eq!(one.start(), []);
            assert!(!one.is_over());
            assert!(!one.ended(&build(text, 1), Ended::Done));
        }
        assert!(one.is_over());
        let mut many = schedule(9, 0, false);
        assert_eq!(many.start(), [build("a", 1)]);
        many.ended(&build("a", 1), Ended::Done);
        assert_eq!(many.start(), [build("b", 1), build("c", 1)]);
        many.ended(&build("b", 1), Ended::Done);
        assert_eq!(many.start(), [build("d", 1)]);
    }

    #[test]
    fn what_failed_is_tried_again_and_its_children_are_given_up_at_last() {
        let mut schedule = schedule(9, 1, false);
        schedule.start();
        schedule.ended(&build("a", 1), Ended::Done);
        schedule.start();
        assert!(schedule.ended(&build("b", 1), Ended::Failed));
        assert_eq!(schedule.start(), [build("b", 2)]);
        assert!(!schedule.ended(&build("b", 2), Ended::Failed));
        assert_eq!(state(&schedule, "b"), State::BuildFailed);
        assert_eq!(state(&schedule, "d"), State::ParentFailed(name("b")));
        assert!(!schedule.ended(&build("c", 1), Ended::Hopeless));
        assert_eq!(state(&schedule, "c"), State::BuildFailed);
        assert!(schedule.is_over());
    }

    #[test]
    fn all_below_a_failure_name_the_one_that_failed() {
        let mut schedule = schedule(9, 0, true);
        schedule.start();
        schedule.ended(&push("kept"), Ended::Done);
        schedule.ended(&build("a", 1), Ended::Failed);
        for text in ["b", "c", "d"] {
            assert_eq!(state(&schedule, text), State::ParentFailed(name("a")), "{text}");
        }
        assert!(schedule.is_over());
    }

    #[test]
    fn what_was_selected_is_pushed_once_it_is_there_built_or_kept() {
        let mut schedule = schedule(9, 2, true);
        assert_eq!(schedule.start(), [build("a", 1), push("kept")]);
        schedule.ended(&build("a", 1), Ended::Done);
        assert_eq!(state(&schedule, "a"), State::Done);
        assert_eq!(schedule.start(), [build("b", 1), build("c", 1)]);
        schedule.ended(&build("b", 1), Ended::Done);
        // A child does not wait for the push of its parent.
        assert_eq!(schedule.start(), [push("b"), build("d", 1)]);
        schedule.ended(&build("c", 1), Ended::Done);
        assert_eq!(schedule.start(), [], "two pushes are under way");
        assert!(schedule.ended(&push("b"), Ended::Failed));
        assert_eq!(schedule.start(), [Task::Push(name("b"), 2)]);
        schedule.ended(&push("kept"), Ended::Hopeless);
        assert_eq!(state(&schedule, "kept"), State::PushFailed);
        assert_eq!(schedule.start(), [push("c")]);
    }

    #[test]
    fn after_a_cancellation_nothing_starts_and_what_runs_ends() {
        let mut schedule = schedule(1, 3, true);
        schedule.start();
        schedule.cancel();
        assert_eq!(schedule.start(), []);
        assert!(!schedule.is_over());
        assert!(!schedule.ended(&build("a", 1), Ended::Cancelled));
        schedule.ended(&push("kept"), Ended::Done);
        assert!(schedule.is_over());
        assert_eq!(state(&schedule, "a"), State::Cancelled);
        assert_eq!(state(&schedule, "b"), State::Cancelled);
        assert_eq!(state(&schedule, "kept"), State::Done);
    }
}

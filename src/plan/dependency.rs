//! What is known of something that others depend on: the one on this host, and those on others.

use crate::model::desired::Need;
use crate::model::names::HostName;

/// One instance, or one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DependencyState {
    /// It runs.
    pub started: bool,
    /// It is ready; a job is done.
    pub ready: bool,
    /// Nothing is left to be changed about it.
    pub settled: bool,
    /// It is as it is to be: a service whose change has failed is settled, and is not this.
    pub updated: bool,
    /// Its host has accepted what this one has accepted; what it says of anything older is no word about a change.
    pub current: bool,
}

/// All instances of it on the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownDependency {
    /// The one on this host, if it is placed here.
    pub here: Option<DependencyState>,
    /// Those on other hosts; none for one whose host cannot be reached or never said anything.
    pub elsewhere: Vec<(HostName, Option<DependencyState>)>,
}

impl KnownDependency {
    fn known(&self) -> impl Iterator<Item = &DependencyState> {
        self.here.iter().chain(self.elsewhere.iter().filter_map(|(_, state)| state.as_ref()))
    }

    /// Whether so many of them are so. What is not known counts as not.
    pub fn has(&self, need: Need, holds: impl Fn(&DependencyState) -> bool) -> bool {
        if need == Need::SameHost {
            return self.here.as_ref().is_some_and(holds);
        }
        let all = usize::from(self.here.is_some()) + self.elsewhere.len();
        let count = self.known().filter(|state| holds(state)).count();
        match need {
            Need::Any | Need::SameHost => count > 0,
            Need::Quorum => count * 2 > all,
            Need::All => count == all,
        }
    }

    /// Whether nothing is left to be changed about those that are known: a host that is cut off holds nobody up.
    pub fn is_settled(&self) -> bool {
        self.known().all(|state| state.settled)
    }

    /// Whether each of them is as it is to be. A host that cannot be reached is not.
    pub fn is_updated(&self) -> bool {
        self.here.is_none_or(|state| state.updated)
            && self.elsewhere.iter().all(|(_, state)| state.is_some_and(|state| state.updated))
    }

    /// Where a step of a change is not done yet, and why; empty when the next one may begin. A host that cannot be
    /// reached has not done it.
    pub fn undone(&self, here: &HostName) -> Vec<String> {
        let why = |state: Option<&DependencyState>| match state {
            None => Some("cannot be reached"),
            Some(state) if !state.current => Some("has not heard of the change yet"),
            Some(state) if !state.updated => Some("is not done"),
            Some(state) if !state.ready => Some("is not ready"),
            Some(_) => None,
        };
        let own = self.here.iter().map(|state| (here, Some(state)));
        let others = self.elsewhere.iter().map(|(host, state)| (host, state.as_ref()));
        own.chain(others).filter_map(|(host, state)| Some(format!("{host} {}", why(state)?))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const UP: DependencyState =
        DependencyState { started: true, ready: true, settled: true, updated: true, current: true };
    const DOWN: DependencyState = DependencyState { started: false, ready: false, ..UP };

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn others(states: &[Option<DependencyState>]) -> Vec<(HostName, Option<DependencyState>)> {
        states.iter().enumerate().map(|(number, state)| (host(&format!("h{}", number + 2)), *state)).collect()
    }

    #[test]
    fn so_many_as_are_needed() {
        let known = KnownDependency { here: Some(DOWN), elsewhere: others(&[Some(UP), None]) };
        let has = |need| known.has(need, |state| state.ready);
        assert!(has(Need::Any) && !has(Need::Quorum) && !has(Need::All) && !has(Need::SameHost));
        let known = KnownDependency { here: Some(UP), elsewhere: others(&[Some(UP), None]) };
        let has = |need| known.has(need, |state| state.ready);
        assert!(has(Need::Any) && has(Need::Quorum) && !has(Need::All) && has(Need::SameHost));
    }

    #[test]
    fn a_host_that_is_cut_off_is_settled_and_not_updated() {
        let known = KnownDependency { here: Some(UP), elsewhere: others(&[None]) };
        assert!(known.is_settled() && !known.is_updated());
        let changing = DependencyState { settled: false, updated: false, ..UP };
        let known = KnownDependency { here: Some(UP), elsewhere: others(&[Some(changing)]) };
        assert!(!known.is_settled() && !known.is_updated());
    }

    #[test]
    fn a_step_is_done_when_each_host_that_has_heard_of_it_says_so() {
        let late = DependencyState { current: false, ..UP };
        let known = KnownDependency { here: Some(UP), elsewhere: others(&[Some(late), None, Some(DOWN), Some(UP)]) };
        assert_eq!(
            known.undone(&host("h1")),
            ["h2 has not heard of the change yet", "h3 cannot be reached", "h4 is not ready"]
        );
        let known = KnownDependency { here: Some(UP), elsewhere: others(&[Some(UP)]) };
        assert!(known.undone(&host("h1")).is_empty());
    }
}

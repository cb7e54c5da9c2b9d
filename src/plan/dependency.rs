//! What is known of something that others depend on: the one on this host, and those on others.

use crate::model::desired::Need;

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
}

/// All instances of it on the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownDependency {
    /// The one on this host, if it is placed here.
    pub here: Option<DependencyState>,
    /// Those on other hosts; none for one whose host cannot be reached or never said anything.
    pub elsewhere: Vec<Option<DependencyState>>,
}

impl KnownDependency {
    /// Whether so many of them are so. What is not known counts as not.
    pub fn has(&self, need: Need, holds: impl Fn(&DependencyState) -> bool) -> bool {
        if need == Need::SameHost {
            return self.here.as_ref().is_some_and(holds);
        }
        let all = usize::from(self.here.is_some()) + self.elsewhere.len();
        let count = self.here.iter().chain(self.elsewhere.iter().flatten()).filter(|state| holds(state)).count();
        match need {
            Need::Any | Need::SameHost => count > 0,
            Need::Quorum => count * 2 > all,
            Need::All => count == all,
        }
    }

    /// Whether nothing is left to be changed about those that are known: a host that is cut off holds nobody up.
    pub fn is_settled(&self) -> bool {
        self.here.iter().chain(self.elsewhere.iter().flatten()).all(|state| state.settled)
    }

    /// Whether each of them is as it is to be. A host that cannot be reached is not.
    pub fn is_updated(&self) -> bool {
        self.here.is_none_or(|state| state.updated)
            && self.elsewhere.iter().all(|state| state.is_some_and(|state| state.updated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: DependencyState = DependencyState { started: true, ready: true, settled: true, updated: true };
    const DOWN: DependencyState = DependencyState { started: false, ready: false, settled: true, updated: true };

    #[test]
    fn so_many_as_are_needed() {
        let known = KnownDependency { here: Some(DOWN), elsewhere: vec![Some(UP), None] };
        let has = |need| known.has(need, |state| state.ready);
        assert!(has(Need::Any) && !has(Need::Quorum) && !has(Need::All) && !has(Need::SameHost));
        let known = KnownDependency { here: Some(UP), elsewhere: vec![Some(UP), None] };
        let has = |need| known.has(need, |state| state.ready);
        assert!(has(Need::Any) && has(Need::Quorum) && !has(Need::All) && has(Need::SameHost));
    }

    #[test]
    fn a_host_that_is_cut_off_is_settled_and_not_updated() {
        let known = KnownDependency { here: Some(UP), elsewhere: vec![None] };
        assert!(known.is_settled() && !known.is_updated());
        let changing = DependencyState { settled: false, updated: false, ..UP };
        let known = KnownDependency { here: Some(UP), elsewhere: vec![Some(changing)] };
        assert!(!known.is_settled() && !known.is_updated());
    }
}

//! Which of the planned steps may start now. Pure.
//!
//! In: the plans of one host, and what it has under way. Out: the subjects whose next step may start, and those that need
//! a slot first; whether they get one, the whole site decides ([`rollout`]).

pub mod drain;
pub mod fileset;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod fileset_tests;
pub mod procedure;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod procedure_tests;
pub mod rollout;
pub mod window;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::names::ServiceName;
use crate::plan::step::{Next, Step, Subject, SubjectPlan};

/// Steps at once on one host: more only queue up in the engine.
pub const STEPS_AT_ONCE: usize = 4;
/// Pulls at once on one host, beside the other steps.
pub const PULLS_AT_ONCE: usize = 2;

/// What is known beyond the plans themselves.
#[derive(Clone, Debug, Default)]
pub struct SiteView {
    /// Subjects with a step under way, and whether that is a pull.
    pub in_flight: BTreeMap<Subject, bool>,
    /// Services whose slot this host holds.
    pub granted: BTreeSet<ServiceName>,
    /// Services whose clients have to be led away before they are stopped for a change, and are not gone yet.
    pub visited: BTreeSet<ServiceName>,
}

/// What may be done about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Its step may start.
    Start(Subject),
    /// Its step may start once the coordinator has granted the slot and the host was looked at anew.
    Acquire(ServiceName),
    /// Its step may start once its clients are gone.
    Drain(ServiceName),
}

/// The claims, in the order of the plans.
pub fn admit(plans: &[&SubjectPlan], view: &SiteView) -> Vec<Claim> {
    let pulling = view.in_flight.values().filter(|is_pull| **is_pull).count();
    let mut steps = STEPS_AT_ONCE.saturating_sub(view.in_flight.len() - pulling);
    let mut pulls = PULLS_AT_ONCE.saturating_sub(pulling);
    let mut images = BTreeSet::new();
    let mut claims = Vec::new();
    for plan in plans {
        if view.in_flight.contains_key(&plan.subject) {
            continue;
        }
        let Next::Step(step) = &plan.next else { continue };
        if let Step::Pull { image, .. } = step {
            // One pull an image: who else waits for it finds it there.
            if pulls == 0 || !images.insert(image.clone()) {
                continue;
            }
            pulls -= 1;
            claims.push(Claim::Start(plan.subject.clone()));
            continue;
        }
        if steps == 0 {
            continue;
        }
        if plan.disrupts
            && let Subject::Service(service) = &plan.subject
            && !view.granted.contains(service)
        {
            claims.push(Claim::Acquire(service.clone()));
            continue;
        }
        if plan.drains
            && let Subject::Service(service) = &plan.subject
            && view.visited.contains(service)
        {
            claims.push(Claim::Drain(service.clone()));
            continue;
        }
        steps -= 1;
        claims.push(Claim::Start(plan.subject.clone()));
    }
    claims
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn plan(name: &str, step: Step, disrupts: bool) -> SubjectPlan {
        SubjectPlan {
            subject: Subject::Service(ServiceName::new(name).unwrap()),
            change: None,
            next: Next::Step(step),
            disrupts,
            drains: disrupts,
            ready: false,
            state: String::new(),
            conditions: Vec::new(),
        }
    }

    fn remove() -> Step {
        Step::Remove { id: "1".to_owned() }
    }

    #[test]
    fn starts_only_so_many_steps_at_once() {
        let plans: Vec<SubjectPlan> = (0..10).map(|number| plan(&format!("s{number}"), remove(), false)).collect();
        let plans: Vec<&SubjectPlan> = plans.iter().collect();
        assert_eq!(admit(&plans, &SiteView::default()).len(), STEPS_AT_ONCE);
    }

    #[test]
    fn a_disruption_needs_the_slot() {
        let plan = plan("web", remove(), true);
        let service = ServiceName::new("web").unwrap();
        let mut view = SiteView::default();
        assert_eq!(admit(&[&plan], &view), [Claim::Acquire(service.clone())]);
        view.granted.insert(service.clone());
        assert_eq!(admit(&[&plan], &view), [Claim::Start(Subject::Service(service))]);
    }

    #[test]
    fn with_the_slot_it_waits_for_its_clients() {
        let service = ServiceName::new("web").unwrap();
        let mut view = SiteView { visited: [service.clone()].into(), ..SiteView::default() };
        let disrupting = plan("web", remove(), true);
        assert_eq!(
            admit(&[&disrupting], &view),
            [Claim::Acquire(service.clone())],
            "it keeps them until it has the slot"
        );
        view.granted.insert(service.clone());
        assert_eq!(admit(&[&disrupting], &view), [Claim::Drain(service.clone())]);
        assert_eq!(admit(&[&plan("web", remove(), false)], &view), [Claim::Start(Subject::Service(service))]);
    }
}

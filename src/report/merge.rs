//! Several hosts as one site: what each loop says of its host, put together.

use sha2::{Digest as _, Sha256};

use super::change_view;
use super::plan_view::PlanView;
use super::status::SiteStatus;

/// Digits of a plan's name, as of a single host's.
const DIGITS: usize = 12;

/// The statuses of hosts as one of the site; none where there are none.
pub fn status<'a>(hosts: impl IntoIterator<Item = &'a SiteStatus>) -> Option<SiteStatus> {
    let mut hosts = hosts.into_iter();
    let mut site = hosts.next()?.clone();
    let mut converged = site.converged;
    for host in hosts {
        if site.generation == 0 && host.generation > 0 {
            site.site.clone_from(&host.site);
            site.source_digest.clone_from(&host.source_digest);
        }
        converged &= host.converged;
        site.generation = site.generation.max(host.generation);
        site.observed_at = site.observed_at.max(host.observed_at);
        site.bad_site_file = site.bad_site_file.or_else(|| host.bad_site_file.clone());
        site.pending = site.pending.or_else(|| host.pending.clone());
        site.last_error = site.last_error.or_else(|| host.last_error.clone());
        site.holds.extend(host.holds.iter().cloned());
        for slot in &host.slots {
            if !site.slots.contains(slot) {
                site.slots.push(slot.clone());
            }
        }
        site.hosts.extend(host.hosts.iter().cloned());
    }
    site.settle();
    site.converged &= converged;
    Some(site)
}

/// The plans of hosts as one of the site; none where there are none. Its name stands for all of them.
pub fn plan(hosts: impl IntoIterator<Item = PlanView>) -> Option<PlanView> {
    let hosts: Vec<PlanView> = hosts.into_iter().collect();
    let mut hash = Sha256::new();
    for host in &hosts {
        hash.update(host.id.as_bytes());
        hash.update([0]);
    }
    let mut id = hex::encode(hash.finalize());
    id.truncate(DIGITS);
    let single = hosts.len() == 1;
    let mut site = hosts.into_iter().reduce(|mut site, host| {
        site.generation = site.generation.max(host.generation);
        site.changes += host.changes;
        site.actions.extend(host.actions);
        site.notes.extend(host.notes);
        change_view::merge(&mut site.ordered, host.ordered);
        site
    })?;
    if !single {
        site.id = id;
    }
    Some(site)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::names::HostName;
    use crate::report::samples;

    #[test]
    fn a_site_is_converged_when_each_host_is() {
        let one = samples::converged();
        let mut two = samples::converged();
        two.hosts[0].name = HostName::new("two").unwrap();
        let site = status([&one, &two]).unwrap();
        assert!(site.converged && site.ready);
        assert_eq!(site.hosts.len(), one.hosts.len() + two.hosts.len());
        two.hosts[0].reachable = false;
        let site = status([&one, &two]).unwrap();
        assert!(!site.converged && !site.ready);
        assert!(status([]).is_none());
    }

    #[test]
    fn a_plan_of_several_hosts_has_a_name_of_its_own() {
        let view = |id: &str, generation| PlanView {
            site: "demo".to_owned(),
            generation,
            id: id.to_owned(),
            changes: 1,
            actions: Vec::new(),
            notes: vec![id.to_owned()],
            ordered: Vec::new(),
        };
        let both = plan([view("a", 3), view("b", 4)]).unwrap();
        assert_eq!((both.generation, both.changes, both.notes.len()), (4, 2, 2));
        assert_ne!(both.id, plan([view("a", 3), view("c", 4)]).unwrap().id);
        assert_eq!(plan([view("a", 3)]).unwrap().id, "a");
    }
}

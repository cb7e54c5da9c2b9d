//! Whether the clients of an instance are gone, seen from the whole site. Pure.
//!
//! In: how it is to be drained, since when it wants that, and what every host last said of itself. Out: yes, or the first
//! reason why not. Whoever leads nobody to it now is not waited for: a load balancer that does not run, or of whose host
//! nothing is known.

use crate::model::drain::{DrainDesired, DrainedServers};
use crate::model::names::{HostName, ServiceName};
use crate::model::peers::Reports;
use crate::model::time::{Span, Timestamp};

/// Why an instance is not stopped yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// It has clients.
    #[error("its clients are led away: {sessions} left at {host}")]
    Sessions {
        /// Where the load balancer is.
        host: HostName,
        /// How many.
        sessions: u64,
    },
    /// A load balancer has not answered.
    #[error("its clients are led away: {host} has not done so yet")]
    Unheard {
        /// Where it is.
        host: HostName,
    },
}

/// Whether nobody is led there any more and all are gone, or have had their time. `waited` is how long they have had.
pub fn is_gone(drain: &DrainDesired, since: Timestamp, waited: Span, reports: &Reports) -> Result<(), Stays> {
    if waited >= drain.timeout {
        return Ok(());
    }
    for (host, said) in balancers(drain, reports) {
        for server in &drain.servers {
            match said.and_then(|said| said.get(server)).filter(|drained| drained.since == since) {
                None => return Err(Stays::Unheard { host: host.clone() }),
                Some(drained) if drained.sessions > 0 => {
                    return Err(Stays::Sessions { host: host.clone(), sessions: drained.sessions });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether no load balancer keeps clients away any more.
pub fn is_put_back(drain: &DrainDesired, reports: &Reports) -> bool {
    let mut said = balancers(drain, reports).filter_map(|(_, said)| said);
    !said.any(|said| drain.servers.iter().any(|server| said.contains_key(server)))
}

/// Those that lead clients, with what they say.
fn balancers<'a>(
    drain: &'a DrainDesired,
    reports: &'a Reports,
) -> impl Iterator<Item = (&'a HostName, Option<&'a DrainedServers>)> {
    drain.balancers.iter().filter_map(|(host, balancer)| {
        let report = reports.get(host).filter(|report| report.reachable)?;
        report.services.get(balancer).filter(|instance| instance.started)?;
        Some((host, report.drained.get(balancer)))
    })
}

/// Since when an instance of the site wants its clients led away, by the word of its host.
pub fn wish(reports: &Reports, host: &HostName, service: &ServiceName) -> Option<Timestamp> {
    reports.get(host).filter(|report| report.reachable)?.services.get(service)?.draining
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::drain::Drained;
    use crate::model::peers::{HostProgress, HostReport, InstanceReport};

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn lb() -> ServiceName {
        ServiceName::new("lb").unwrap()
    }

    fn drain() -> DrainDesired {
        DrainDesired {
            timeout: Span::seconds(30),
            balancers: vec![(host("a"), lb()), (host("b"), lb())],
            servers: vec!["web/c".to_owned()],
        }
    }

    /// A word of each host: whether it can be reached, whether its load balancer runs, what that says.
    fn reports(words: &[(&str, bool, bool, Option<(i64, u64)>)]) -> Reports {
        let report = |(name, reachable, started, said): &(&str, bool, bool, Option<(i64, u64)>)| HostReport {
            host: host(name),
            generation: 1,
            source_digest: String::new(),
            reachable: *reachable,
            acts: true,
            holds_off: false,
            attempts: 0,
            services: [(lb(), InstanceReport { started: *started, ..InstanceReport::default() })].into(),
            jobs: BTreeMap::new(),
            filesets: BTreeMap::new(),
            drained: said
                .map(|(since, sessions)| {
                    (lb(), [("web/c".to_owned(), Drained { since: Timestamp(since), sessions })].into())
                })
                .into_iter()
                .collect(),
            progress: HostProgress::default(),
        };
        words.iter().map(|word| (host(word.0), Arc::new(report(word)))).collect()
    }

    fn asked(waited: u64, words: &[(&str, bool, bool, Option<(i64, u64)>)]) -> Result<(), String> {
        is_gone(&drain(), Timestamp(7), Span::seconds(waited), &reports(words)).map_err(|why| why.to_string())
    }

    #[test]
    fn it_waits_for_each_load_balancer_and_no_longer_than_its_time() {
        let gone = Some((7, 0));
        assert_eq!(asked(0, &[("a", true, true, gone), ("b", true, true, gone)]), Ok(()));
        let left = [("a", true, true, gone), ("b", true, true, Some((7, 3)))];
        assert_eq!(asked(29, &left), Err("its clients are led away: 3 left at b".to_owned()));
        assert_eq!(asked(30, &left), Ok(()), "they have had their time");
        let unheard = [("a", true, true, None), ("b", true, true, gone)];
        assert_eq!(asked(1, &unheard), Err("its clients are led away: a has not done so yet".to_owned()));
        let earlier = [("a", true, true, Some((6, 0))), ("b", true, true, gone)];
        assert!(asked(1, &earlier).is_err(), "an answer to an earlier wish is none");
    }

    #[test]
    fn who_leads_nobody_is_not_waited_for() {
        let gone = Some((7, 0));
        assert_eq!(asked(0, &[("a", true, true, gone), ("b", false, true, None)]), Ok(()), "cut off");
        assert_eq!(asked(0, &[("a", true, true, gone), ("b", true, false, None)]), Ok(()), "it does not run");
        assert_eq!(asked(0, &[("a", true, true, gone)]), Ok(()), "never heard of");
    }

    #[test]
    fn it_is_back_when_no_load_balancer_names_it() {
        assert!(is_put_back(&drain(), &reports(&[("a", true, true, None), ("b", true, true, None)])));
        assert!(!is_put_back(&drain(), &reports(&[("a", true, true, None), ("b", true, true, Some((7, 0)))])));
        assert!(
            is_put_back(&drain(), &reports(&[("b", false, true, Some((7, 0)))])),
            "what was said by then is not known"
        );
    }
}

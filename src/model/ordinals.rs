//! The numbers of hosts: given once, and never to another host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::HostName;

/// A host, and the number that the site itself says.
pub type Declared = (HostName, Option<u64>);

/// The number of each host that a site has or had. Those of hosts that are gone are kept: who comes back gets its own again,
/// and nobody else does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinals(BTreeMap<HostName, u64>);

impl Ordinals {
    /// Whether no host was ever numbered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of a host; 0 for one that was never numbered.
    pub fn of(&self, host: &HostName) -> u64 {
        self.0.get(host).copied().unwrap_or(0)
    }

    /// With these hosts, in the order of the site. What a host was given it keeps, unless the site says another number; new
    /// ones get the numbers after the highest that was ever given, from 1.
    #[must_use]
    pub fn with(&self, hosts: &[Declared]) -> Self {
        let mut all = self.clone();
        for (host, declared) in hosts {
            if let Some(number) = declared {
                all.0.insert(host.clone(), *number);
            }
        }
        for (host, _) in hosts {
            let next = all.0.values().max().map_or(1, |most| most.saturating_add(1));
            all.0.entry(host.clone()).or_insert(next);
        }
        all
    }

    /// Two hosts that have the same number: the second, and the first.
    pub fn clash<'a>(&self, hosts: &'a [Declared]) -> Option<(&'a HostName, &'a HostName)> {
        let mut seen: BTreeMap<u64, &HostName> = BTreeMap::new();
        hosts.iter().find_map(|(host, _)| seen.insert(self.of(host), host).map(|first| (host, first)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn hosts(written: &[(&str, Option<u64>)]) -> Vec<Declared> {
        written.iter().map(|(name, number)| (HostName::new(*name).unwrap(), *number)).collect()
    }

    fn plain(names: &[&str]) -> Vec<Declared> {
        hosts(&names.iter().map(|name| (*name, None)).collect::<Vec<_>>())
    }

    fn numbers(ordinals: &Ordinals, names: &[&str]) -> Vec<u64> {
        names.iter().map(|name| ordinals.of(&HostName::new(*name).unwrap())).collect()
    }

    #[test]
    fn the_first_numbers_are_the_places() {
        assert_eq!(numbers(&Ordinals::default().with(&plain(&["c", "a", "b"])), &["c", "a", "b"]), [1, 2, 3]);
    }

    #[test]
    fn neither_order_nor_removal_renumbers_and_no_number_is_given_twice() {
        let first = Ordinals::default().with(&plain(&["a", "b", "c"]));
        assert_eq!(first.with(&plain(&["c", "b", "a"])), first);
        let without = first.with(&plain(&["c", "a"]));
        assert_eq!(numbers(&without.with(&plain(&["d", "c", "a"])), &["d", "c", "a"]), [4, 3, 1]);
        assert_eq!(numbers(&without.with(&plain(&["a", "b", "c"])), &["b"]), [2], "who comes back has its own");
    }

    #[test]
    fn what_the_site_says_counts() {
        let first = Ordinals::default().with(&plain(&["a", "b", "c"]));
        let replaced = hosts(&[("a", None), ("d", Some(2)), ("c", None), ("e", None)]);
        let then = first.with(&replaced);
        assert_eq!(numbers(&then, &["a", "d", "c", "e"]), [1, 2, 3, 4]);
        assert_eq!(then.clash(&replaced), None, "the one that had the number is gone");
        let twice = hosts(&[("a", None), ("b", None), ("d", Some(2))]);
        let (second, first_) = (&twice[2].0, &twice[1].0);
        assert_eq!(first.with(&twice).clash(&twice), Some((second, first_)));
    }
}

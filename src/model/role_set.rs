//! Roles as they are used in a site: sets of services that are operated as one, and may bring others along.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::RoleName;

/// One use of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSet {
    /// The role, as it is called in its folder.
    pub role: RoleName,
    /// Its version, where it tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Roles that came along because of it. What the site names itself is a set of its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub includes: BTreeSet<RoleName>,
}

/// A set with its parts: what came along because of it alone, down to the last. What another set brought along as well
/// stays out: stopping one must not take it from the other.
pub fn with_parts(roles: &BTreeMap<RoleName, RoleSet>, name: &RoleName) -> BTreeSet<RoleName> {
    let mut set = BTreeSet::from([name.clone()]);
    loop {
        let own = |part: &RoleName| {
            roles.iter().filter(|(_, other)| other.includes.contains(part)).all(|(other, _)| set.contains(other))
        };
        let included = set.iter().filter_map(|member| roles.get(member)).flat_map(|role| &role.includes);
        let more: BTreeSet<RoleName> = included.filter(|part| !set.contains(*part) && own(part)).cloned().collect();
        if more.is_empty() {
            return set;
        }
        set.extend(more);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parts(roles: &[(&str, &[&str])], of: &str) -> Vec<String> {
        let name = |text: &str| RoleName::new(text).unwrap();
        let set = |includes: &[&str]| RoleSet {
            role: name("any"),
            version: None,
            includes: includes.iter().map(|part| name(part)).collect(),
        };
        let roles = roles.iter().map(|(role, includes)| (name(role), set(includes))).collect();
        with_parts(&roles, &name(of)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn parts_of_parts_come_along_and_what_two_sets_have_stays_out() {
        let roles: &[(&str, &[&str])] =
            &[("a", &["b", "tools"]), ("b", &["c"]), ("c", &[]), ("d", &["tools"]), ("tools", &[])];
        assert_eq!(parts(roles, "a"), ["a", "b", "c"]);
        assert_eq!(parts(roles, "b"), ["b", "c"]);
        assert_eq!(parts(roles, "tools"), ["tools"]);
        assert_eq!(parts(roles, "nobody"), ["nobody"]);
    }

    #[test]
    fn what_both_a_set_and_a_part_of_it_bring_along_is_a_part() {
        assert_eq!(parts(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])], "a"), ["a", "b", "c"]);
        assert_eq!(parts(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])], "b"), ["b"]);
    }
}

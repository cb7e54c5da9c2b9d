//! /etc/passwd and /etc/group of an image, for owners that are given by name.

use std::collections::BTreeMap;

/// User and group number by user name. Lines that make no sense are passed over, as getpwnam(3) does.
pub fn parse_passwd(text: &str) -> BTreeMap<String, (u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some((name.to_owned(), (user, group)))
        })
        .collect()
}

/// Group number by group name.
pub fn parse_group(text: &str) -> BTreeMap<String, u32> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_makes_sense() {
        let users = parse_passwd("root:x:0:0:root:/root:/bin/sh\n\n# no\nkeystone:x:42425:42424::/:\nbad:x:one:2::\n");
        assert_eq!(users.get("keystone"), Some(&(42425, 42424)));
        assert_eq!(users.len(), 2);
        assert_eq!(parse_group("kolla:x:42400:a,b\nx\n").get("kolla"), Some(&42400));
    }
}

//! The files in which an image names its users and groups, read for the owners of the files that are mounted into it.

use std::collections::BTreeMap;

/// Numbers by user name from `/etc/passwd`: (user, group). Lines that are none are left out; the first of a name counts.
pub fn parse_passwd(text: &str) -> BTreeMap<String, (u32, u32)> {
    let mut users = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.trim_end().split(':');
        let (Some(name), Some(_), Some(uid), Some(gid)) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if let (false, Ok(uid), Ok(gid)) = (is_comment(name), uid.parse(), gid.parse()) {
            users.entry(name.to_owned()).or_insert((uid, gid));
        }
    }
    users
}

/// Numbers by group name from `/etc/group`. Lines that are none are left out; the first of a name counts.
pub fn parse_group(text: &str) -> BTreeMap<String, u32> {
    let mut groups = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.trim_end().split(':');
        let (Some(name), Some(_), Some(gid)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if let (false, Ok(gid)) = (is_comment(name), gid.parse()) {
            groups.entry(name.to_owned()).or_insert(gid);
        }
    }
    groups
}

/// `+` and `-` begin references to a network service's users, which no container has at hand.
fn is_comment(name: &str) -> bool {
    name.is_empty() || name.starts_with(['#', '+', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_users_and_leaves_out_what_is_none() {
        let text = "root:x:0:0:root:/root:/bin/sh\r\n# c:x:1:1\n\nbroken\nmysql:x:27:28::/var/lib/mysql:\n\
                    mysql:x:99:99\nminus:x:-1:5\nbig:x:4294967296:1\n+::::::\nshort:x:7:8\n";
        let expected = [("mysql", (27, 28)), ("root", (0, 0)), ("short", (7, 8))];
        let users = parse_passwd(text);
        assert_eq!(users, expected.map(|(name, numbers)| (name.to_owned(), numbers)).into());
    }

    #[test]
    fn reads_groups_and_leaves_out_what_is_none() {
        let text = "root:x:0:\nadm:x:4:syslog,ada\n\nbad:x:\n:x:5:\nlast:x:6";
        let expected = [("adm", 4), ("last", 6), ("root", 0)];
        assert_eq!(parse_group(text), expected.map(|(name, number)| (name.to_owned(), number)).into());
        assert!(parse_group("").is_empty());
        assert_eq!(parse_group("kolla:x:42400:a,b\nx\n").get("kolla"), Some(&42400));
    }
}

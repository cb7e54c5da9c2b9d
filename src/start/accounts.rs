//! Owners by name, as the image knows them.

use std::collections::BTreeMap;

use crate::model::kolla::user_and_group;
use crate::observe::accounts::{parse_group, parse_passwd};

/// The users and groups of the image.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: BTreeMap<String, (u32, u32)>,
    groups: BTreeMap<String, u32>,
}

impl Accounts {
    /// From `/etc/passwd` and `/etc/group`.
    pub fn parse(passwd: &str, group: &str) -> Self {
        Self { users: parse_passwd(passwd), groups: parse_group(group) }
    }

    /// User and group of `user` or `user:group`. A number that is nobody's name stands for itself.
    pub fn owner(&self, owner: &str) -> Result<(u32, u32), String> {
        let (user, group) = user_and_group(owner);
        let uid = self.users.get(user).map(|(uid, _)| *uid).or_else(|| user.parse().ok());
        let gid = self.groups.get(group).copied().or_else(|| group.parse().ok());
        match (uid, gid) {
            (Some(uid), Some(gid)) => Ok((uid, gid)),
            (None, _) => Err(format!("the image has no user `{user}`")),
            (_, None) => Err(format!("the image has no group `{group}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Accounts;

    #[test]
    fn owners_are_looked_up_and_numbers_stand_for_themselves() {
        let accounts = Accounts::parse("nova:x:42436:42436::/:/bin/sh\n", "nova:x:42436:\nkolla:x:42400:nova\n");
        assert_eq!(accounts.owner("nova:kolla"), Ok((42436, 42400)));
        assert_eq!(accounts.owner("nova"), Ok((42436, 42436)));
        assert_eq!(accounts.owner("7:kolla"), Ok((7, 42400)));
        assert_eq!(accounts.owner("glance"), Err("the image has no user `glance`".to_owned()));
        assert_eq!(accounts.owner("nova:adm"), Err("the image has no group `adm`".to_owned()));
    }
}

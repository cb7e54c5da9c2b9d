//! Which machine this is, and which person: for the audit, not for any permission.

use std::fs;

use crate::observe::accounts;

/// What this machine calls itself.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Who gives the order: behind `sudo` the person, else the name of the process's user, else its number.
pub fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_of(uid, &passwd, |name| std::env::var(name).ok())
}

fn user_of(uid: u32, passwd: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let named = |name: &str| variable(name).map(|name| clean(&name)).filter(|name| !name.is_empty());
    // Anybody can set it; only who became root by sudo has it from there.
    let behind = || named("SUDO_USER").filter(|_| uid == 0);
    let own =
        || accounts::parse_passwd(passwd).into_iter().find(|(_, (number, _))| *number == uid).map(|(name, _)| name);
    behind().or_else(own).or_else(|| named("USER")).unwrap_or_else(|| format!("uid {uid}"))
}

/// It goes into logs and events: one short word.
fn clean(name: &str) -> String {
    name.chars().filter(|character| !character.is_control() && !character.is_whitespace()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";

    #[test]
    fn knows_the_person_behind_sudo_and_believes_nobody_else() {
        let sudo = |name: &str| (name == "SUDO_USER").then(|| "ada".to_owned());
        let user = |name: &str| (name == "USER").then(|| "e\nve ".to_owned());
        let nothing = |_: &str| None;
        assert_eq!(user_of(0, PASSWD, sudo), "ada");
        assert_eq!(user_of(1000, PASSWD, |name: &str| (name == "SUDO_USER").then(|| "root".to_owned())), "ada");
        assert_eq!(user_of(0, PASSWD, nothing), "root");
        assert_eq!(user_of(1000, PASSWD, user), "ada");
        assert_eq!(user_of(1234, PASSWD, user), "eve");
        assert_eq!(user_of(1234, PASSWD, nothing), "uid 1234");
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(!hostname().is_empty());
        assert!(!user().is_empty());
    }
}

//! Where the layers of a file may lie below a site's directory of overrides.
//!
//! One rule for all roles and formats. It contains the places where Kolla looks:
//!
//! | | the role's main file (`nova.conf`, or named after the service: `nova-compute.conf`) | any other file (`galera.cnf`) |
//! |---|---|---|
//! | all roles | `global.conf` (INI files that end in `.conf`) | `global.conf` (the same) |
//! | the site | `nova.conf`, `nova-compute.conf` | `galera.cnf` |
//! | the role | `nova/nova.conf` | `mariadb/galera.cnf` |
//! | a service | `nova/nova-compute.conf` | `mariadb/mariadb-server/galera.cnf` |
//! | a host | `nova/HOST/nova.conf` | `mariadb/HOST/galera.cnf` |
//! | a service on a host | `nova/HOST/nova-compute.conf` | `mariadb/HOST/mariadb-server/galera.cnf` |
//!
//! What is further down wins: per key where the format is layered; otherwise the last one that exists is the file. The
//! role's template lies below all of them.

use std::collections::BTreeSet;

use crate::parse::suggest::closest;

/// Which file is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The role: the name of its entry in the site.
    pub role: &'a str,
    /// The service of the role.
    pub service: &'a str,
    /// The host.
    pub host: &'a str,
    /// The file's own name, as `keystone.conf`.
    pub file: &'a str,
    /// Whether it is INI.
    pub ini: bool,
}

/// Read by every role's INI files that end in `.conf`.
pub const GLOBAL: &str = "global.conf";

impl Wanted<'_> {
    /// The paths of its overrides, the weakest first, each once.
    pub fn candidates(&self) -> Vec<String> {
        let Self { role, service, host, file, ini } = self;
        let (stem, ending) = match file.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
            _ => (*file, String::new()),
        };
        let mut paths = Vec::new();
        if *ini && ending == ".conf" {
            paths.push(GLOBAL.to_owned());
        }
        if stem == *role || stem == *service {
            let names = [format!("{role}{ending}"), format!("{service}{ending}")];
            for directory in [String::new(), format!("{role}/"), format!("{role}/{host}/")] {
                paths.extend(names.iter().map(|name| format!("{directory}{name}")));
            }
        } else {
            paths.push((*file).to_owned());
            for directory in [
                (*role).to_owned(),
                format!("{role}/{service}"),
                format!("{role}/{host}"),
                format!("{role}/{host}/{service}"),
            ] {
                paths.push(format!("{directory}/{file}"));
            }
        }
        let mut seen = BTreeSet::new();
        // Of two that are the same (a service called as its role), the stronger one stays.
        let mut kept: Vec<String> = paths.into_iter().rev().filter(|path| seen.insert(path.clone())).collect();
        kept.reverse();
        kept
    }
}

/// An override that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Below the directory of overrides.
    pub path: String,
    /// A path that is read, and may be what was meant.
    pub meant: Option<String>,
}

/// Of all files below the directory of overrides those that are in nobody's [`Wanted::candidates`], sorted. Hidden files,
/// editors' backups and READMEs are nobody's business.
pub fn unread<'a>(files: impl IntoIterator<Item = &'a str>, known: &BTreeSet<String>) -> Vec<Unread> {
    let mut found: Vec<Unread> = files
        .into_iter()
        .filter(|path| !known.contains(*path) && !path.split('/').any(is_aside))
        .map(|path| Unread { path: path.to_owned(), meant: meant(path, known) })
        .collect();
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn is_aside(part: &str) -> bool {
    part.starts_with('.') || part.ends_with('~') || part.starts_with("README")
}

/// The same file in another directory, else the path that is written most alike.
fn meant(path: &str, known: &BTreeSet<String>) -> Option<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or("").to_owned();
    let plain = path.strip_suffix(".j2").unwrap_or(path);
    if known.contains(plain) {
        return Some(plain.to_owned());
    }
    let alike = closest(path, known.iter().map(String::as_str));
    let moved =
        || known.iter().filter(|other| name(other) == name(plain)).min_by_key(|other| strsim::levenshtein(other, path));
    alike
        .map(str::to_owned)
        .filter(|other| name(other) == name(plain))
        .or_else(|| moved().cloned())
        .or(alike.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(role: &'a str, service: &'a str, file: &'a str, ini: bool) -> Vec<String> {
        Wanted { role, service, host: "ctl1", file, ini }.candidates()
    }

    #[test]
    fn the_main_file_of_a_role_has_overrides_named_after_role_and_service() {
        let order = [
            "global.conf",
            "nova.conf",
            "nova-compute.conf",
            "nova/nova.conf",
            "nova/nova-compute.conf",
            "nova/ctl1/nova.conf",
            "nova/ctl1/nova-compute.conf",
        ];
        assert_eq!(wanted("nova", "nova-compute", "nova.conf", true), order);
        assert_eq!(wanted("nova", "nova-compute", "nova-compute.conf", true), order);
        assert_eq!(
            wanted("keystone", "keystone", "keystone.conf", true),
            ["global.conf", "keystone.conf", "keystone/keystone.conf", "keystone/ctl1/keystone.conf"]
        );
        assert_eq!(
            wanted("haproxy", "haproxy", "haproxy.cfg", false),
            ["haproxy.cfg", "haproxy/haproxy.cfg", "haproxy/ctl1/haproxy.cfg"]
        );
    }

    #[test]
    fn any_other_file_keeps_its_name_and_has_directories() {
        assert_eq!(
            wanted("mariadb", "mariadb-server", "galera.cnf", true),
            [
                "galera.cnf",
                "mariadb/galera.cnf",
                "mariadb/mariadb-server/galera.cnf",
                "mariadb/ctl1/galera.cnf",
                "mariadb/ctl1/mariadb-server/galera.cnf",
            ]
        );
        assert_eq!(wanted("x", "x", "logging.conf", true).first().map(String::as_str), Some("global.conf"));
        assert_eq!(wanted("x", "x", "logging.conf", false).first().map(String::as_str), Some("logging.conf"));
        assert_eq!(wanted("x", "y", "policy", false)[1], "x/policy");
    }

    #[test]
    fn overrides_that_nothing_reads_are_found_with_what_was_meant() {
        let known: BTreeSet<String> =
            [wanted("nova", "nova-compute", "nova.conf", true), wanted("mariadb", "mariadb", "galera.cnf", true)]
                .concat()
                .into_iter()
                .collect();
        let files = [
            "nova.conf",
            "nova/ctl1/nova.conf",
            "novaa/nova.conf",
            "nova/ctl2/nova.conf",
            "nova/galera.cnf",
            "nova/nova-comptue.conf",
            "nova/nova.conf.j2",
            "something/else.txt",
            "nova/.nova.conf.swp",
            "nova.conf~",
            "README.md",
            ".git/config",
        ];
        let found = unread(files, &known);
        let found: Vec<(&str, Option<&str>)> =
            found.iter().map(|unread| (unread.path.as_str(), unread.meant.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("nova/ctl2/nova.conf", Some("nova/ctl1/nova.conf")),
                ("nova/galera.cnf", Some("galera.cnf")),
                ("nova/nova-comptue.conf", Some("nova/nova-compute.conf")),
                ("nova/nova.conf.j2", Some("nova/nova.conf")),
                ("novaa/nova.conf", Some("nova/nova.conf")),
                ("something/else.txt", None),
            ]
        );
    }
}

//! `config.json` of Kolla's image contract, and the names of the files beside it.
//!
//! In: what a service says under `kolla`. Out: the bytes of `config.json`, and for each entry the name of its file below
//! `/var/lib/kolla/config_files/`. The same input gives the same bytes.

use std::collections::BTreeSet;

use crate::model::kolla::{CONFIG_FILES, ConfigFile, Contract};

/// An entry of `config_files` before its file has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the start program does. Its `source` is filled in where there is a wanted name.
    pub file: ConfigFile,
    /// The base name that its file would like; none for a source that lies in the image.
    pub wanted: Option<String>,
}

/// What the start program finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// `config.json`.
    pub config: String,
    /// The name of each entry's file, in their order; none for a source that lies in the image.
    pub names: Vec<Option<String>>,
}

/// Names that the start program reads itself.
const TAKEN: [&str; 2] = ["config.json", "config.yaml"];

/// Gives each file a name and writes `config.json`. `contract` says all but `config_files`.
pub fn render(contract: Contract, entries: Vec<Entry>) -> Rendered {
    let mut taken: BTreeSet<String> = TAKEN.map(str::to_owned).into();
    let mut names = Vec::new();
    let mut config_files = Vec::new();
    for Entry { mut file, wanted } in entries {
        let name = wanted.map(|wanted| {
            if file.dest.ends_with('/') {
                // The name in the directory must not depend on what else is copied.
                file.dest += &wanted;
            }
            unique(&wanted, &mut taken)
        });
        if let Some(name) = &name {
            file.source = format!("{CONFIG_FILES}/{name}");
        }
        names.push(name);
        config_files.push(file);
    }
    // Plain data without maps always becomes JSON.
    let mut config = serde_json::to_string_pretty(&Contract { config_files, ..contract }).unwrap_or_default();
    config.push('\n');
    Rendered { config, names }
}

/// The name itself, or with the first number that makes it one of its own.
fn unique(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2_usize;
    while !taken.insert(name.clone()) {
        name = format!("{wanted}.{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use crate::model::kolla::{ConfigFile, Contract, Made, Permission};

    use super::{Entry, render};

    fn entry(wanted: Option<&str>, dest: &str) -> Entry {
        let file = ConfigFile {
            source: if wanted.is_none() { "/opt/*.pem".to_owned() } else { String::new() },
            dest: dest.to_owned(),
            owner: Some("nova".to_owned()),
            perm: Some("0600".to_owned()),
            ..ConfigFile::default()
        };
        Entry { file, wanted: wanted.map(str::to_owned) }
    }

    #[test]
    fn files_with_one_base_name_get_names_of_their_own() {
        let entries = vec![
            entry(Some("my.cnf"), "/etc/a/my.cnf"),
            entry(Some("my.cnf"), "/etc/b/"),
            entry(Some("config.json"), "/etc/c/config.json"),
            entry(None, "/etc/ssl/"),
            entry(Some("my.cnf.2"), "/etc/d"),
        ];
        let rendered = render(Contract { command: "sleep 1".to_owned(), ..Contract::default() }, entries);
        let names: Vec<Option<&str>> = rendered.names.iter().map(Option::as_deref).collect();
        assert_eq!(names, [Some("my.cnf"), Some("my.cnf.2"), Some("config.json.2"), None, Some("my.cnf.2.2")]);
        let read: Contract = serde_json::from_str(&rendered.config).unwrap_or_default();
        let shown: Vec<String> =
            read.config_files.iter().map(|file| format!("{} {}", file.source, file.dest)).collect();
        assert_eq!(
            shown,
            [
                "/var/lib/kolla/config_files/my.cnf /etc/a/my.cnf",
                "/var/lib/kolla/config_files/my.cnf.2 /etc/b/my.cnf",
                "/var/lib/kolla/config_files/config.json.2 /etc/c/config.json",
                "/opt/*.pem /etc/ssl/",
                "/var/lib/kolla/config_files/my.cnf.2.2 /etc/d",
            ]
        );
    }

    #[test]
    fn the_file_says_only_what_was_said() {
        let contract = Contract {
            command: "nova-api".to_owned(),
            permissions: vec![Permission {
                path: "/var/log/kolla".to_owned(),
                owner: "nova:kolla".to_owned(),
                recurse: true,
                ..Permission::default()
            }],
            directories: vec![Made { path: "/run/nova".to_owned(), owner: "nova".to_owned(), perm: "0755".to_owned() }],
            ..Contract::default()
        };
        insta::assert_snapshot!(render(contract, vec![entry(Some("nova.conf"), "/etc/nova/nova.conf")]).config, @r#"
        {
          "command": "nova-api",
          "config_files": [
            {
              "source": "/var/lib/kolla/config_files/nova.conf",
              "dest": "/etc/nova/nova.conf",
              "owner": "nova",
              "perm": "0600"
            }
          ],
          "permissions": [
            {
              "path": "/var/log/kolla",
              "owner": "nova:kolla",
              "recurse": true
            }
          ],
          "directories": [
            {
              "path": "/run/nova",
              "owner": "nova",
              "perm": "0755"
            }
          ]
        }
        "#);
    }
}

//! What is to be done, with all names looked up: whatever is wrong with the contract is found before a file is touched.

use regex::Regex;

use crate::model::kolla::Contract;

use super::accounts::Accounts;
use super::permissions;
use super::problem::Problem;

/// All that a contract asks for, in the order in which it is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Directories that are made.
    pub directories: Vec<Make>,
    /// Empty files that are made where there are none.
    pub files: Vec<Make>,
    /// What is copied.
    pub copies: Vec<Copy>,
    /// Owners and permissions of what is there.
    pub grants: Vec<Grant>,
    /// What is run in the end.
    pub command: String,
}

/// Owner and permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions; none leaves them.
    pub mode: Option<u32>,
}

/// A directory or a file that is made.
#[derive(Clone, Debug)]
pub struct Make {
    /// Its path.
    pub path: String,
    /// How it is then.
    pub properties: Properties,
}

/// A file or a directory that is copied.
#[derive(Clone, Debug)]
pub struct Copy {
    /// A path or a pattern.
    pub source: String,
    /// Where it goes; with a slash at the end the directory that it is put into.
    pub dest: String,
    /// How the copy is; none for those of the source.
    pub properties: Option<Properties>,
    /// Whether it may be missing.
    pub optional: bool,
    /// Whether a directory at the destination keeps what else is in it.
    pub merge: bool,
}

/// Owner and permissions of what is there.
#[derive(Clone, Debug)]
pub struct Grant {
    /// A path or a pattern.
    pub path: String,
    /// How it is then.
    pub properties: Properties,
    /// Whether all that lies below is meant too.
    pub recurse: bool,
    exclude: Vec<Regex>,
}

impl Copy {
    /// Where one source goes.
    pub fn dest_of(&self, source: &str) -> String {
        if self.dest.ends_with('/') {
            format!("{}{}", self.dest, source.rsplit('/').next().unwrap_or(source))
        } else {
            self.dest.clone()
        }
    }
}

impl Grant {
    /// Whether a path below is left alone: where there are patterns, and all of them match.
    pub fn leaves_alone(&self, path: &str) -> bool {
        !self.exclude.is_empty() && self.exclude.iter().all(|pattern| pattern.is_match(path))
    }
}

/// Looks everything up. `file` is the contract's path, for messages.
pub fn plan(contract: &Contract, accounts: &Accounts, file: &str) -> Result<Plan, Problem> {
    let at = |key: String| move |why: String| Problem::Unknown { file: file.to_owned(), why: format!("{key}: {why}") };
    let properties = |key: &str, owner: &str, perm: &str| -> Result<Properties, Problem> {
        let (uid, gid) = accounts.owner(owner).map_err(at(format!("{key}.owner")))?;
        Ok(Properties { uid, gid, mode: permissions::parse(perm).map_err(at(format!("{key}.perm")))? })
    };
    let made = |section: &str, all: &[crate::model::kolla::Made]| -> Result<Vec<Make>, Problem> {
        let all = all.iter().enumerate().map(|(index, made)| {
            let properties = properties(&format!("{section}[{index}]"), &made.owner, &made.perm)?;
            Ok(Make { path: made.path.clone(), properties })
        });
        all.collect()
    };
    let copies = contract.config_files.iter().enumerate().map(|(index, entry)| {
        let key = format!("config_files[{index}]");
        let properties = if entry.preserve_properties {
            None
        } else {
            let (owner, perm) = (entry.owner.as_deref().unwrap_or(""), entry.perm.as_deref().unwrap_or(""));
            Some(properties(&key, owner, perm)?)
        };
        Ok(Copy {
            source: entry.source.clone(),
            dest: entry.dest.clone(),
            properties,
            optional: entry.optional,
            merge: entry.merge,
        })
    });
    let grants = contract.permissions.iter().enumerate().map(|(index, entry)| {
        let key = format!("permissions[{index}]");
        let properties = properties(&key, &entry.owner, entry.perm.as_deref().unwrap_or(""))?;
        let exclude = entry.exclude.iter().map(|pattern| {
            Regex::new(pattern).map_err(|why| {
                // Its last line says what is wrong; those before it show where.
                let why = why.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                at(format!("{key}.exclude"))(format!("`{pattern}` is not understood: {why}"))
            })
        });
        Ok(Grant {
            path: entry.path.clone(),
            properties,
            recurse: entry.recurse,
            exclude: exclude.collect::<Result<_, Problem>>()?,
        })
    });
    Ok(Plan {
        directories: made("directories", &contract.directories)?,
        files: made("files", &contract.files)?,
        copies: copies.collect::<Result<_, Problem>>()?,
        grants: grants.collect::<Result<_, Problem>>()?,
        command: contract.command.clone(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Accounts, plan};
    use crate::start::contract::{Syntax, read};

    fn planned(text: &str) -> Result<super::Plan, String> {
        let accounts = Accounts::parse("app:x:5:6::/:\n", "app:x:6:\n");
        let contract = read(text, Syntax::Json, "f").map_err(|problem| problem.to_string())?;
        plan(&contract, &accounts, "f").map_err(|problem| problem.to_string())
    }

    #[test]
    fn names_are_looked_up_before_anything_is_done() {
        let file = |owner: &str, perm: &str| {
            format!(
                r#"{{"command": "x", "config_files": [{{"source": "/s", "dest": "/d/", "owner": "{owner}", "perm": "{perm}"}}]}}"#
            )
        };
        let plan = planned(&file("app", "0640")).unwrap();
        assert_eq!(plan.copies[0].properties.unwrap().mode, Some(0o640));
        assert_eq!(plan.copies[0].properties.unwrap().gid, 6);
        assert_eq!(plan.copies[0].dest_of("/a/b.conf"), "/d/b.conf");
        assert_eq!(
            planned(&file("nova", "0640")).unwrap_err(),
            "f: config_files[0].owner: the image has no user `nova`"
        );
        assert_eq!(
            planned(&file("app", "rw")).unwrap_err(),
            "f: config_files[0].perm: `rw` are no permissions; write three or four octal digits, as \"0644\""
        );
    }

    #[test]
    fn a_path_is_left_alone_where_all_patterns_match() {
        let text = r#"{"command": "x", "permissions": [{"path": "/a", "owner": "app", "exclude": ["b$", "^/a"]}, {"path": "/", "owner": "app"}]}"#;
        let plan = planned(text).unwrap();
        assert!(plan.grants[0].leaves_alone("/a/b"));
        assert!(!plan.grants[0].leaves_alone("/a/c"));
        assert!(!plan.grants[0].leaves_alone("/c/b"));
        assert!(!plan.grants[1].leaves_alone("/a/b"));
        assert!(
            planned(r#"{"command": "x", "permissions": [{"path": "/a", "owner": "app", "exclude": ["("]}]}"#).is_err()
        );
    }
}

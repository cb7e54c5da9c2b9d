//! What the image had at the destinations: kept at the first copy, put back when the contract no longer names them.
//!
//! The record has the form of Kolla's own program: by path, where the image's file is kept, or null where there was none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::Copy;

/// What was at a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    source: String,
    #[serde(default)]
    preserve_properties: bool,
    dest: Option<String>,
}

/// By the path of the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, Kept>);

/// One thing that is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The destination.
    pub path: String,
    /// Where the image's own is kept; none where there was nothing, so that the path is removed.
    pub from: Option<String>,
}

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The destination.
    pub path: String,
    /// Where it is kept, if there is something.
    pub to: String,
}

impl Record {
    /// What is put back before files are copied. `there` says whether a path exists.
    ///
    /// A destination that is written anew in one piece is not touched before: a process that runs would miss it for a
    /// moment.
    pub fn to_restore(&self, copies: &[Copy], there: impl Fn(&str) -> bool) -> Vec<Restore> {
        let written =
            |path: &str| copies.iter().any(|copy| !copy.merge && destination(copy) == path && there(&copy.source));
        let restored = self.0.iter().filter(|(path, _)| !written(path));
        restored
            .map(|(path, kept)| Restore { path: path.clone(), from: kept.image_own(path).map(str::to_owned) })
            .collect()
    }

    /// Forgets what the contract no longer names: it has been put back.
    pub fn forget_unnamed(&mut self, copies: &[Copy]) {
        self.0.retain(|path, _| copies.iter().any(|copy| destination(copy) == *path));
    }

    /// What the contract no longer names.
    pub fn unnamed(&self, copies: &[Copy]) -> Vec<String> {
        self.0.keys().filter(|path| !copies.iter().any(|copy| destination(copy) == **path)).cloned().collect()
    }

    /// What has to be kept before files are copied, below `directory`. Sources that are patterns are not followed.
    pub fn to_keep(&self, copies: &[Copy], directory: &str, there: impl Fn(&str) -> bool) -> Vec<Keep> {
        let mut keep: Vec<Keep> = Vec::new();
        for copy in copies.iter().filter(|copy| there(&copy.source)) {
            let path = destination(copy);
            if !self.0.contains_key(&path) && !keep.iter().any(|other| other.path == path) {
                keep.push(Keep { to: format!("{directory}{path}"), path });
            }
        }
        keep
    }

    /// Writes down what was kept; `existed` says whether there was something.
    pub fn kept(&mut self, keep: &Keep, existed: bool) {
        let kept =
            Kept { source: keep.path.clone(), preserve_properties: true, dest: existed.then(|| keep.to.clone()) };
        self.0.insert(keep.path.clone(), kept);
    }
}

impl Kept {
    /// Where the image's own file is. Kolla's program writes the two paths the other way around after a restore.
    fn image_own(&self, path: &str) -> Option<&str> {
        let dest = self.dest.as_deref()?;
        Some(if dest == path { &self.source } else { dest })
    }
}

fn destination(copy: &Copy) -> String {
    copy.dest_of(&copy.source)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Copy, Keep, Record, Restore};

    fn copy(source: &str, dest: &str, merge: bool) -> Copy {
        Copy { source: source.to_owned(), dest: dest.to_owned(), properties: None, optional: true, merge }
    }

    fn two() -> Record {
        let mut record = Record::default();
        for keep in record.to_keep(&[copy("/s/a", "/etc/a", false), copy("/s/b", "/etc/", false)], "/kept", |_| true) {
            record.kept(&keep, keep.path == "/etc/a");
        }
        record
    }

    #[test]
    fn what_is_not_named_any_more_is_put_back_or_removed() {
        let restore = |path: &str, from: Option<&str>| Restore { path: path.to_owned(), from: from.map(str::to_owned) };
        let mut record = two();
        assert_eq!(record.to_restore(&[], |_| true), [restore("/etc/a", Some("/kept/etc/a")), restore("/etc/b", None)]);
        let left = [copy("/s/a", "/etc/a", false)];
        assert_eq!(record.unnamed(&left), ["/etc/b"]);
        record.forget_unnamed(&left);
        assert_eq!(record.to_restore(&[], |_| true), [restore("/etc/a", Some("/kept/etc/a"))]);
    }

    #[test]
    fn what_is_written_in_one_piece_stays_until_then() {
        let named = [copy("/s/a", "/etc/a", false), copy("/s/b", "/etc/", true)];
        let paths = |there: fn(&str) -> bool| -> Vec<String> {
            two().to_restore(&named, there).into_iter().map(|restore| restore.path).collect()
        };
        assert_eq!(paths(|_| true), ["/etc/b"], "a merge lays over what the image had");
        assert_eq!(paths(|_| false), ["/etc/a", "/etc/b"], "an optional source that is gone");
    }

    #[test]
    fn a_destination_is_kept_once() {
        let twice = [copy("/s/a", "/etc/a", false), copy("/s/c", "/etc/a", false), copy("/s/gone", "/etc/g", false)];
        let keep = Record::default().to_keep(&twice, "/kept", |path| path != "/s/gone");
        assert_eq!(keep, [Keep { path: "/etc/a".to_owned(), to: "/kept/etc/a".to_owned() }]);
        assert_eq!(two().to_keep(&twice, "/kept", |path| path != "/s/gone"), []);
    }

    #[test]
    fn a_record_of_the_original_program_is_understood() {
        let text = r#"{"/etc/a": {"source": "/kept/etc/a", "preserve_properties": true, "dest": "/etc/a"},
                       "/etc/b": {"source": "/etc/b", "preserve_properties": true, "dest": null}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.to_restore(&[], |_| true), two().to_restore(&[], |_| true));
    }
}

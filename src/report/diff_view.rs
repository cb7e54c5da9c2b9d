//! What would change in files, as unified diffs for people.
//!
//! In: the files of two specs. Out: text made of their *shown* renderings alone, so that no diff holds a secret.

use std::fmt::Write as _;

use similar::TextDiff;

use crate::model::file::{FileSpec, Owner, Shown};

/// Lines of both sides together beyond which a diff would take longer than anybody waits.
const LINES: usize = 20_000;
/// Lines around a change.
const CONTEXT: usize = 3;

/// The difference of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiff {
    /// Path in the container.
    pub target: String,
    /// Unified diff, ending with a newline.
    pub text: String,
}

/// Differences of all files, in the order of their targets.
pub fn file_diffs(old: &[FileSpec], new: &[FileSpec]) -> Vec<FileDiff> {
    let find = |files: &[FileSpec], target: &str| files.iter().position(|file| file.target == target);
    let mut targets: Vec<&str> = old.iter().chain(new).map(|file| file.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
        .into_iter()
        .filter_map(|target| {
            let old = find(old, target).and_then(|index| old.get(index));
            let new = find(new, target).and_then(|index| new.get(index));
            file_diff(old, new).map(|text| FileDiff { target: target.to_owned(), text })
        })
        .collect()
}

/// The difference of one file that appears, changes or goes; none where there is none.
pub fn file_diff(old: Option<&FileSpec>, new: Option<&FileSpec>) -> Option<String> {
    let target = new.or(old)?.target.as_str();
    let mut text = String::new();
    let name = |side: &str, file: Option<&FileSpec>| match file {
        Some(_) => format!("{side}{}", printable(target)),
        None => "/dev/null".to_owned(),
    };
    let _ = writeln!(text, "--- {}\n+++ {}", name("a", old), name("b", new));
    let start = text.len();
    for (field, was, is) in [
        ("mode", old.map(|file| format!("{:04o}", file.mode)), new.map(|file| format!("{:04o}", file.mode))),
        ("owner", old.map(|file| owner(&file.owner)), new.map(|file| owner(&file.owner))),
        ("group", old.map(|file| owner(&file.group)), new.map(|file| owner(&file.group))),
    ] {
        if let (Some(was), Some(is)) = (was, is)
            && was != is
        {
            let _ = writeln!(text, "{field} {was} -> {is}");
        }
    }
    content(old, new, &mut text);
    (text.len() > start).then_some(text)
}

fn content(old: Option<&FileSpec>, new: Option<&FileSpec>, text: &mut String) {
    let same = old.zip(new).is_some_and(|(old, new)| old.content == new.content);
    if same {
        return;
    }
    let lines = match (shown(old), shown(new)) {
        (Some(was), Some(is)) => Some((was, is)).filter(|(was, is)| was.lines().count() + is.lines().count() <= LINES),
        _ => None,
    };
    match lines {
        Some((was, is)) if was == is => match (old, new) {
            (Some(_), Some(_)) => text.push_str("only secrets in it change\n"),
            _ => text.push_str("empty\n"),
        },
        Some((was, is)) => {
            let (was, is) = (printable(was), printable(is));
            let diff = TextDiff::from_lines(was.as_str(), is.as_str());
            let _ = write!(text, "{}", diff.unified_diff().context_radius(CONTEXT));
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        None => {
            let bytes = |file: Option<&FileSpec>| file.map_or(0, |file| file.content.expose().len());
            let what = if [old, new].iter().flatten().any(|file| matches!(file.shown, Shown::Opaque(_))) {
                "binary or secret"
            } else {
                "too long to compare"
            };
            let _ = writeln!(text, "{what}, {} -> {} bytes", bytes(old), bytes(new));
        }
    }
}

fn shown(file: Option<&FileSpec>) -> Option<&str> {
    match file.map(|file| &file.shown) {
        None => Some(""),
        Some(Shown::Text(text)) => Some(text),
        Some(Shown::Opaque(_)) => None,
    }
}

fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Id(id) => id.to_string(),
        Owner::Name(name) => printable(name),
    }
}

/// Control characters made visible: a file must not speak to the terminal.
fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            let _ = write!(result, "{}", character.escape_default());
        } else {
            result.push(character);
        }
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::file::OnChange;
    use crate::model::secret::Sensitive;

    fn file(target: &str, real: &str, shown: &str) -> FileSpec {
        FileSpec {
            target: target.to_owned(),
            source: None,
            content: Sensitive::new(real),
            shown: Shown::Text(shown.to_owned()),
            mode: 0o644,
            owner: Owner::Id(0),
            group: Owner::Id(0),
            on_change: OnChange::Replace,
            path: "fixed/0".to_owned(),
            fileset: None,
        }
    }

    fn opaque(target: &str, real: &str) -> FileSpec {
        FileSpec { shown: Shown::Opaque(real.len() as u64), ..file(target, real, "") }
    }

    #[test]
    fn files_that_change_come_and_go() {
        let old = [
            file("/etc/a.conf", "one\ntwo\nthree\npassword=hunter1\n", "one\ntwo\nthree\npassword=«secret:db»\n"),
            file("/etc/gone", "x\n", "x\n"),
            file("/etc/same", "x\n", "x\n"),
            file("/etc/rotated", "hunter1", "«secret:db»"),
            opaque("/etc/key", "hunter1"),
            opaque("/etc/key-same", "hunter1"),
        ];
        let new = [
            file("/etc/a.conf", "one\n2\nthree\npassword=hunter22\n", "one\n2\nthree\npassword=«secret:db»\n"),
            FileSpec { mode: 0o600, owner: Owner::Name("app".to_owned()), ..file("/etc/same", "x\n", "x\n") },
            file("/etc/new", "no newline\u{1b}[31m", "no newline\u{1b}[31m"),
            file("/etc/empty", "", ""),
            file("/etc/rotated", "hunter22", "«secret:db»"),
            opaque("/etc/key", "hunter22"),
            opaque("/etc/key-same", "hunter1"),
        ];
        let text: String = file_diffs(&old, &new).into_iter().map(|diff| diff.text).collect();
        assert!(!text.contains("hunter"));
        insta::assert_snapshot!(text, @r"
        --- a/etc/a.conf
        +++ b/etc/a.conf
        @@ -1,4 +1,4 @@
         one
        -two
        +2
         three
         password=«secret:db»
        --- /dev/null
        +++ b/etc/empty
        empty
        --- a/etc/gone
        +++ /dev/null
        @@ -1 +0,0 @@
        -x
        --- a/etc/key
        +++ b/etc/key
        binary or secret, 7 -> 8 bytes
        --- /dev/null
        +++ b/etc/new
        @@ -0,0 +1 @@
        +no newline\u{1b}[31m
        \ No newline at end of file
        --- a/etc/rotated
        +++ b/etc/rotated
        only secrets in it change
        --- a/etc/same
        +++ b/etc/same
        mode 0644 -> 0600
        owner 0 -> app
        ");
    }

    #[test]
    fn equal_files_have_no_difference() {
        let files = [file("/a", "x", "x"), opaque("/b", "x")];
        assert!(file_diffs(&files, &files).is_empty());
    }

    #[test]
    fn very_long_files_are_summed_up() {
        let long = "x\n".repeat(LINES);
        let text = file_diff(Some(&file("/a", "a", "a")), Some(&file("/a", &long, &long))).unwrap();
        assert!(text.ends_with("too long to compare, 1 -> 40000 bytes\n"), "{text}");
    }
}

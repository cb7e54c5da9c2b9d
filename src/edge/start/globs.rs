//! Patterns as Kolla's program takes them: `*`, `?` and `[...]` within one part of a path, never a name that begins with
//! a dot, and a pattern that is none is a path.

use std::path::PathBuf;

use crate::model::kolla::is_pattern;

/// The paths that a pattern stands for, in order; a path without a pattern stands for itself where it exists.
pub(super) fn expand(pattern: &str) -> Vec<PathBuf> {
    let lone = || {
        let path = PathBuf::from(pattern);
        if std::fs::symlink_metadata(&path).is_ok() { vec![path] } else { Vec::new() }
    };
    if !is_pattern(pattern) {
        return lone();
    }
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let mut single = pattern.to_owned();
    // Two stars are no more than one here.
    while single.contains("**") {
        single = single.replace("**", "*");
    }
    match glob::glob_with(&single, options) {
        Ok(paths) => paths.filter_map(Result::ok).collect(),
        Err(_) => lone(),
    }
}

//! The template engine, set up as Ansible sets up its own, and stricter.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::filters;
use super::safe_error::{NUMBER, refuse};

/// Instructions that one rendering may take: a loop over 500 hosts and 60 services takes a million.
const FUEL: u64 = 5_000_000;
/// Depth of macros and includes; the engine recurses natively, and threads have 2 MiB of stack.
const RECURSION: usize = 60;

/// Gives the text of a template by its name, from what has been read already.
pub type Loader = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The engine with our filters. `load` is asked for included, imported and extended templates, and for nothing twice.
pub(super) fn environment(load: std::sync::Arc<Loader>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Building the syntax can only fail for odd delimiters, and these are the usual ones.
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    // Only with it do errors know the range of the source text; safe_error.rs sees to it that nothing else is shown.
    environment.set_debug(true);
    // It prints all variables.
    environment.remove_global("debug");
    environment.set_formatter(|output, state, value| {
        if value.kind() == ValueKind::Bytes && value.as_str().is_none() {
            return Err(refuse("binary data cannot be written into text (use b64encode)"));
        }
        minijinja::escape_formatter(output, state, value)
    });
    let beside = std::sync::Arc::clone(&load);
    environment.set_path_join_callback(move |name, parent| {
        let parent = parent.split(NUMBER).next().unwrap_or(parent);
        match relative(name, parent) {
            Some(joined) if beside(&joined).is_some() => Cow::Owned(joined),
            _ => Cow::Borrowed(name),
        }
    });
    environment.set_loader(move |name| Ok(load(name)));
    filters::register(&mut environment);
    environment
}

/// `name` beside `parent`; none where it would leave the tree.
fn relative(name: &str, parent: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = parent.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn names_are_looked_for_beside_the_including_template() {
        assert_eq!(relative("b.j2", "roles/x/a.j2").as_deref(), Some("roles/x/b.j2"));
        assert_eq!(relative("./b.j2", "a.j2").as_deref(), Some("b.j2"));
        assert_eq!(relative("../b.j2", "roles/x/a.j2").as_deref(), Some("roles/b.j2"));
        assert_eq!(relative("../../b.j2", "x/a.j2"), None);
        assert_eq!(relative("/etc/passwd", "x/a.j2"), None);
    }
}

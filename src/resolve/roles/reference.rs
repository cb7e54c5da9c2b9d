//! What a role takes and gives, as the reference in its README and for `mastic roles NAME`.

use crate::parse::node::Node;
use crate::parse::role::{Declared, Role};

/// What stands before the reference in a README.
pub const BEGIN: &str = "<!-- reference -->";
/// What stands behind it.
pub const END: &str = "<!-- /reference -->";

/// The reference as Markdown.
pub fn markdown(role: &Role) -> String {
    let mut text = String::new();
    if !role.vars.is_empty() {
        text.push_str("| variable | type | default | what it is for |\n|---|---|---|---|\n");
        for (name, declared) in &role.vars {
            text.push_str(&format!(
                "| `{name}` | {} | {} | {} |\n",
                kind(declared),
                default(declared),
                cell(declared.help.as_deref().unwrap_or(""))
            ));
        }
    }
    if !role.secrets.is_empty() {
        text.push_str("\n| secret | made as | what it is for |\n|---|---|---|\n");
        for (name, secret) in &role.secrets {
            text.push_str(&format!(
                "| `{name}` | {} | {} |\n",
                secret.generate,
                cell(secret.help.as_deref().unwrap_or(""))
            ));
        }
    }
    let names = |what: &str, names: Vec<&String>| {
        let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { String::new() } else { format!("\n{what}: {}\n", names.join(", ")) }
    };
    text.push_str(&names("Services", role.services.keys().collect()));
    text.push_str(&names("Jobs", role.jobs.keys().collect()));
    text.push_str(&names("Changes", role.changes.keys().collect()));
    text.push_str(&names("Filesets", role.filesets.keys().collect()));
    text.push_str(&names("Endpoints", role.provides.keys().collect()));
    text.push_str(&names("Keeps objects for others", role.providers.keys().collect()));
    text.push_str(&names("Sets of objects", role.objects.keys().collect()));
    text.trim_start().to_owned()
}

/// A README with the reference brought up to date; none where it has no place for it.
pub fn put_into(readme: &str, role: &Role) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", markdown(role)))
}

fn kind(declared: &Declared) -> String {
    let range = match (declared.minimum, declared.maximum) {
        (Some(minimum), Some(maximum)) => format!(", {minimum} to {maximum}"),
        (Some(minimum), None) => format!(", at least {minimum}"),
        (None, Some(maximum)) => format!(", at most {maximum}"),
        (None, None) => String::new(),
    };
    let choices =
        if declared.choices.is_empty() { String::new() } else { format!(": {}", declared.choices.join(", ")) };
    format!("{}{range}{choices}", declared.kind)
}

fn default(declared: &Declared) -> String {
    match &declared.default {
        None if declared.required => "**required**".to_owned(),
        None => String::new(),
        Some(node) => format!("`{}`", cell(&shown(node))),
    }
}

fn shown(node: &Node) -> String {
    match node.as_scalar() {
        Some(scalar) if scalar.text.is_empty() => "\"\"".to_owned(),
        Some(scalar) => scalar.text.clone(),
        None => node.to_json().to_string(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

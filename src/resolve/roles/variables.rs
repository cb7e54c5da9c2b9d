//! Variables of a role have types: a value that does not fit is reported where it was written.

use core::net::IpAddr;

use serde_json::Value as Json;

use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Scalar;
use crate::parse::role::{Declared, RoleUse};
use crate::parse::scalars;
use crate::render::template::Templates;
use crate::render::variables::Context;
use crate::resolve::variables::VariableLayer;

/// Checks the values that count on one host.
pub fn check(used: &RoleUse, layers: &[VariableLayer], templates: &Templates, context: &Context) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for (name, declared) in &used.role.vars {
        let given = layers.iter().rev().find_map(|layer| {
            let found = layer.variables.iter().find(|(variable, ..)| variable == name)?;
            Some((layer.name.as_str(), found.2))
        });
        let Some((layer, place)) = given else {
            if declared.required {
                let message = format!("the role `{}` needs the variable `{name}`, and nobody sets it", used.name);
                let error = Diagnostic::error("K003", used.place, message).also(declared.place, "declared here");
                let hint = declared.help.as_deref().map_or_else(String::new, |help| format!("{name}: {help}"));
                errors.push(
                    error
                        .help(format!("add `vars: {{{name}: ...}}`"))
                        .maybe_help(Some(hint).filter(|hint| !hint.is_empty())),
                );
            }
            continue;
        };
        // What cannot be evaluated yet is reported where it is used.
        let Ok(evaluated) = templates.evaluate(name, &format!("{{{{ {name} }}}}"), context) else { continue };
        if evaluated.value.is_null() {
            continue;
        }
        if let Err(why) = fits(declared, &evaluated.value) {
            // A secret's value stands in no message.
            let shown =
                if evaluated.uses_secret { String::new() } else { format!(" (it is {})", short(&evaluated.value)) };
            let message = format!("the variable `{name}` of the role `{}` {why}{shown}", used.name);
            let at = place.unwrap_or(used.place);
            let mut error = Diagnostic::error("V002", at, message).also(declared.place, "declared here");
            if place.is_none() {
                error = error.help(format!("it was given with {layer}"));
            }
            errors.push(error);
        }
    }
    errors
}

fn short(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn fits(declared: &Declared, value: &Json) -> Result<(), String> {
    let text = match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    let scalar = text.as_deref().map(Scalar::plain);
    let integer = || text.as_deref().and_then(|text| text.parse::<i64>().ok());
    let good = match declared.kind.as_str() {
        "string" => text.is_some(),
        "integer" => integer().is_some(),
        "number" => text.as_deref().is_some_and(|text| text.parse::<f64>().is_ok()),
        "boolean" => matches!(value, Json::Bool(_)),
        "port" => integer().is_some_and(|port| (1..=65535).contains(&port)),
        "duration" => scalar.as_ref().is_some_and(|scalar| scalars::duration(scalar).is_ok()),
        "size" => scalar.as_ref().is_some_and(|scalar| scalars::bytes(scalar).is_ok()),
        "list" => value.is_array(),
        "mapping" => value.is_object(),
        "address" => text.as_deref().is_some_and(|text| text.parse::<IpAddr>().is_ok() || is_host_name(text)),
        _ => true,
    };
    if !good {
        return Err(format!("is no {}", declared.kind));
    }
    if let Some(minimum) = declared.minimum.filter(|minimum| integer().is_some_and(|value| value < *minimum)) {
        return Err(format!("is less than {minimum}"));
    }
    if let Some(maximum) = declared.maximum.filter(|maximum| integer().is_some_and(|value| value > *maximum)) {
        return Err(format!("is more than {maximum}"));
    }
    if !declared.choices.is_empty() && !text.as_ref().is_some_and(|text| declared.choices.contains(text)) {
        return Err(format!("is none of {}", declared.choices.join(", ")));
    }
    if let (Some(pattern), Some(text)) = (&declared.pattern, &text) {
        let whole = regex::Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|_| format!("has a pattern that is no regular expression: `{pattern}`"))?;
        if !whole.is_match(text) {
            return Err(format!("does not match `{pattern}`"));
        }
    }
    Ok(())
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

//! Which images are meant.

use std::collections::{BTreeMap, BTreeSet};

use super::naming::ImageName;
use super::recipe::Recipes;
use crate::parse::suggest::did_you_mean;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Images, roles, or patterns with `*`; none means all.
    pub names: Vec<String>,
    /// Only images with one of these profiles; none means all.
    pub profiles: Vec<String>,
}

/// Nothing is called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} `{name}`{}", hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct Unknown {
    kind: &'static str,
    name: String,
    hint: Option<String>,
}

/// The images that are meant, of all that are written, good or bad. `roles` says whose each is.
pub fn select(
    recipes: &Recipes,
    roles: &BTreeMap<ImageName, String>,
    selection: &Selection,
) -> Result<BTreeSet<ImageName>, Unknown> {
    let mut found = BTreeSet::new();
    for wanted in &selection.names {
        let fits = |name: &ImageName, role: &str| is_like(name.as_str(), wanted) || role == wanted;
        let fitting: Vec<ImageName> =
            roles.iter().filter(|(name, role)| fits(name, role)).map(|(name, _)| name.clone()).collect();
        if fitting.is_empty() {
            let names = roles.keys().map(ImageName::as_str).chain(roles.values().map(String::as_str));
            return Err(Unknown { kind: "image or role", name: wanted.clone(), hint: did_you_mean(wanted, names) });
        }
        found.extend(fitting);
    }
    if selection.names.is_empty() {
        found.extend(roles.keys().cloned());
    }
    if selection.profiles.is_empty() {
        return Ok(found);
    }
    let known: BTreeSet<&str> = recipes.good.values().flat_map(|recipe| &recipe.profiles).map(String::as_str).collect();
    for profile in &selection.profiles {
        if !known.contains(profile.as_str()) {
            let hint = did_you_mean(profile, known);
            return Err(Unknown { kind: "profile", name: profile.clone(), hint });
        }
    }
    // What cannot be rendered has no profiles that are known: it is left out rather than blamed on this selection.
    found.retain(|name| {
        let profiles = recipes.good.get(name).map(|recipe| recipe.profiles.as_slice()).unwrap_or_default();
        profiles.iter().any(|profile| selection.profiles.contains(profile))
    });
    Ok(found)
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(text) = text.strip_prefix(head) else { return false };
    (0..=text.len()).filter_map(|at| text.get(at..)).any(|tail| is_like(tail, rest))
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern, fits) in [
            ("nova-api", "nova-api", true),
            ("nova-api", "nova-*", true),
            ("nova", "nova-*", false),
            ("nova-api", "*a*i", true),
            ("nova-api", "*", true),
            ("nova-api", "api", false),
        ] {
            assert_eq!(is_like(text, pattern), fits, "{text} {pattern}");
        }
    }
}

//! The variables of a build: what may be set, what counts, and how a site changes the lists of an image.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::catalogue::Catalogue;
use super::naming::{ImageName, Naming};
use crate::parse::diagnostic::Diagnostic;
use crate::parse::suggest::did_you_mean;
use crate::render::variables::{Layer, RESERVED, Variable};

/// Variables that hold proxies: handed to builds as arguments, under both spellings.
pub const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];
/// The variable of the install type.
pub const INSTALL_TYPE: &str = "install_type";
/// Lists of an image that can be changed.
pub const LISTS: [&str; 2] = ["packages", "pip_packages"];
/// How a list can be changed.
const CHANGES: [&str; 3] = ["append", "remove", "override"];
/// What templates see under these names is no variable.
const TAKEN: [&str; 15] = [
    "directories",
    "files",
    "image",
    "image_name",
    "namespace",
    "packages",
    "parent",
    "parent_template",
    "pip_packages",
    "registry",
    "role_name",
    "source",
    "tag",
    "user",
    "users",
];

/// A value that was given, and by whom: `site.yaml:3:7`, `--set`.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Name.
    pub name: String,
    /// Value.
    pub value: serde_json::Value,
    /// For people.
    pub origin: String,
    /// Whether it is meant for builds alone, so that a name which no build knows is a mistake. `-e` is for the site too.
    pub strict: bool,
}

/// What is set from outside.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What images are called.
    pub naming: Naming,
    /// Values, later ones winning.
    pub given: Vec<Given>,
}

/// Why a name cannot be one of a variable.
pub fn check_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !letters || name.bytes().next().is_none_or(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "`{name}` is no name of a variable: it takes letters, digits and `_`, and starts with no digit"
        ));
    }
    if TAKEN.contains(&name) || RESERVED.contains(&name) {
        return Err(format!("`{name}` means something in templates already; choose another name for the variable"));
    }
    Ok(())
}

/// All variables, the last definition of each counting.
#[derive(Clone, Debug)]
pub struct Variables {
    defaults: Layer,
    given: Layer,
}

impl Variables {
    /// Puts them together; what is set and not known is an error.
    pub fn new(catalogue: &Catalogue, settings: &Settings, errors: &mut Vec<Diagnostic>) -> Self {
        let mut defaults: Layer = IndexMap::new();
        defaults.insert(INSTALL_TYPE.to_owned(), Variable::new("distribution"));
        defaults.extend(PROXIES.map(|name| (name.to_owned(), Variable::new(""))));
        for (name, declared) in &catalogue.variables {
            let origin = catalogue.sources.describe(declared.place);
            defaults.insert(name.clone(), Variable::at(declared.value.clone(), origin));
        }
        let known = known(catalogue, &defaults);
        let mut given = Layer::new();
        for value in &settings.given {
            if !known.contains(&value.name) && !value.strict {
                continue;
            }
            if !known.contains(&value.name) {
                let message = format!("{}: no image has a variable `{}`", value.origin, value.name);
                let hint = did_you_mean(&value.name, known.iter().map(String::as_str));
                errors.push(Diagnostic::general("R001", message).maybe_help(hint));
                continue;
            }
            given.insert(value.name.clone(), Variable::at(value.value.clone(), value.origin.as_str()));
        }
        Self { defaults, given }
    }

    /// As layers, the lowest first.
    pub fn layers(&self) -> [Layer; 2] {
        [self.defaults.clone(), self.given.clone()]
    }

    /// What was given for a variable, as written.
    pub fn given(&self, name: &str) -> Option<&Variable> {
        self.given.get(name)
    }

    /// The names of variables that change a list of an image: override, append, remove.
    pub fn changes_of(image: &ImageName, list: &str) -> [String; 3] {
        let name = image.in_variables();
        ["override", "append", "remove"].map(|change| format!("{name}_{list}_{change}"))
    }
}

fn known(catalogue: &Catalogue, defaults: &Layer) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = defaults.keys().cloned().collect();
    for image in catalogue.folders.keys() {
        let name = image.in_variables();
        known.insert(format!("{name}_{INSTALL_TYPE}"));
        for list in LISTS {
            known.extend(CHANGES.map(|change| format!("{name}_{list}_{change}")));
        }
    }
    known
}

/// A list as the site wants it: replaced, then appended to, then cut. Nothing is in it twice.
pub fn change_list(
    list: Vec<String>,
    replaced: Option<Vec<String>>,
    appended: Option<Vec<String>>,
    removed: Option<Vec<String>>,
) -> Vec<String> {
    let removed = removed.unwrap_or_default();
    let mut seen = BTreeSet::new();
    let all = replaced.unwrap_or(list).into_iter().chain(appended.unwrap_or_default());
    all.filter(|item| !removed.contains(item) && seen.insert(item.clone())).collect()
}

/// A value as a list of texts: a list, or a text with commas or blanks between its items.
pub fn as_list(value: &serde_json::Value) -> Option<Vec<String>> {
    let scalar = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        serde_json::Value::Null => Some(Vec::new()),
        serde_json::Value::Array(items) => items.iter().map(scalar).collect(),
        value => {
            let text = scalar(value)?;
            Some(text.split([',', ' ']).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
    }
}

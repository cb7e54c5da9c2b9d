//! What is to be built: folders, the site's settings and the command line put together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::build::catalogue::{Catalogue, Places};
use crate::build::customise::{Given, Settings};
use crate::build::graph;
use crate::build::hash;
use crate::build::naming::{ImageName, Naming};
use crate::build::recipe::{self, Recipe};
use crate::build::select::{self, Selection};
use crate::edge::build_inputs::InputFiles;
use crate::edge::docker_config;
use crate::edge::site_files::DiskSiteFiles;
use crate::model::desired::RegistryLogin;
use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::image_lock::FILE;
use crate::parse::node::Layer;
use crate::parse::source::Sources;
use crate::parse::yaml;
use crate::resolve::image_settings::{ImageSettings, image_settings};
use crate::resolve::roles::find::search_path;

use super::super::args::Global;
use super::super::error::CommandError;
use super::Options;

/// All that is known before the engine is asked.
pub struct Gathered {
    /// What was asked for.
    pub selected: BTreeSet<ImageName>,
    /// Recipes of that, and of all that it is built from.
    pub recipes: BTreeMap<ImageName, Recipe>,
    /// Where inputs are.
    pub inputs: InputFiles,
    /// Logins of registries.
    pub logins: BTreeMap<String, RegistryLogin>,
    /// Where digests are written.
    pub lock: PathBuf,
    /// What images are called.
    pub naming: Naming,
    sources: Sources,
}

impl Gathered {
    /// Folders that cannot be used.
    pub fn invalid(&self, errors: Vec<Diagnostic>) -> CommandError {
        invalid(self.sources.clone(), errors)
    }

    /// What each image is made of.
    pub fn hashes(&self, order: &[ImageName]) -> Result<BTreeMap<ImageName, String>, CommandError> {
        let mut hashes = BTreeMap::new();
        for name in order {
            let Some(recipe) = self.recipes.get(name) else { continue };
            let mut fingerprints = BTreeMap::new();
            for (file, input) in &recipe.inputs {
                let fingerprint = self.inputs.fingerprint(input).map_err(|error| {
                    CommandError::failed(format!("the image `{name}` needs the file `{file}`: {error}"))
                })?;
                fingerprints.insert(file.clone(), fingerprint);
            }
            let hash = hash::hash(recipe, &fingerprints, &hashes);
            hashes.insert(name.clone(), hash);
        }
        Ok(hashes)
    }
}

fn invalid(sources: Sources, errors: Vec<Diagnostic>) -> CommandError {
    let message = "the images cannot be built".to_owned();
    CommandError { message, ..CommandError::invalid_site(Diagnostics::new(sources, errors)) }
}

/// Reads and renders.
pub fn gather(global: &Global, options: &Options) -> Result<Gathered, CommandError> {
    let files = DiskSiteFiles::new();
    let of_site = match global.request() {
        Some(request) => image_settings(&request, &files).map_err(CommandError::invalid_site)?,
        None => ImageSettings::default(),
    };
    let directory = of_site.directory.clone();
    let places = Places {
        roles: search_path(Some(&directory), &global.role_directories)
            .into_iter()
            .map(|path| (path.clone(), global.role_directories.contains(&path)))
            .collect(),
        overrides: Some(directory.join("images/overrides")),
    };
    let catalogue = Catalogue::read(&places, &files);
    let roles: BTreeMap<ImageName, String> =
        catalogue.folders.values().map(|folder| (folder.name.clone(), folder.role.clone())).collect();
    let settings = settings(global, options, &of_site)?;
    let rendered = recipe::render(catalogue, &settings);
    if !rendered.errors.is_empty() {
        return Err(invalid(rendered.sources, rendered.errors));
    }
    let selection = Selection { names: options.names.clone(), profiles: options.profiles.clone() };
    let selected = select::select(&rendered, &roles, &selection)
        .map_err(|error| CommandError::usage(error.to_string()).hinted("`mastic build --list` shows all images"))?;
    let needed = graph::with_ancestors(&rendered.good, &selected);
    let mut recipes = rendered.good;
    recipes.retain(|name, _| needed.contains(name));
    let errors: Vec<Diagnostic> =
        rendered.bad.into_iter().filter(|(name, _)| needed.contains(name)).flat_map(|(_, errors)| errors).collect();
    if !errors.is_empty() {
        return Err(invalid(rendered.sources, errors));
    }
    let environment = |name: &str| std::env::var(name).ok();
    let mut logins = docker_config::logins(environment);
    logins.extend(of_site.logins);
    let programs = std::env::current_exe().ok().and_then(|path| path.parent().map(PathBuf::from));
    let lock = directory.join(of_site.lock.as_deref().unwrap_or(FILE));
    let inputs = InputFiles { start_program: options.start_program.clone(), programs, directory };
    Ok(Gathered { selected, recipes, inputs, logins, lock, naming: settings.naming, sources: rendered.sources })
}

fn settings(global: &Global, options: &Options, of_site: &ImageSettings) -> Result<Settings, CommandError> {
    let default = Naming::default();
    let choose = |option: &Option<String>, site: &Option<String>, default: String| {
        option.clone().or_else(|| site.clone()).unwrap_or(default)
    };
    let naming = Naming {
        registry: choose(&options.registry, &of_site.registry, default.registry),
        namespace: choose(&options.namespace, &of_site.namespace, default.namespace),
        tag: choose(&options.tag, &of_site.tag, default.tag),
    };
    let mut given: Vec<Given> = of_site
        .build
        .iter()
        .map(|(name, value, origin)| Given {
            name: name.clone(),
            value: value.clone(),
            origin: origin.clone(),
            strict: true,
        })
        .collect();
    for (pairs, origin, strict) in [(&global.vars, "-e", false), (&options.set, "--set", true)] {
        for (name, text) in pairs {
            given.push(Given { name: name.clone(), value: value(name, text)?, origin: origin.to_owned(), strict });
        }
    }
    Ok(Settings { naming, given })
}

/// A value of the command line is YAML; what is none is taken as text, so that URLs and expressions need no quotes.
fn value(name: &str, text: &str) -> Result<serde_json::Value, CommandError> {
    if text.contains("{{") {
        return Ok(serde_json::Value::String(text.to_owned()));
    }
    let mut sources = Sources::default();
    let (node, errors) = yaml::parse(&mut sources, name, text.as_bytes(), Layer::Site);
    if let (false, true) = (errors.is_empty(), text.starts_with(['[', '{'])) {
        return Err(CommandError::usage(format!("the value of `{name}` begins like a list or mapping and is none")));
    }
    match node {
        Some(node) if errors.is_empty() => Ok(node.to_json()),
        _ => Ok(serde_json::Value::String(text.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_are_yaml_or_text() {
        for (text, expected) in [
            ("[a, b]", serde_json::json!(["a", "b"])),
            ("1.10", serde_json::json!(1.1)),
            ("\"1.10\"", serde_json::json!("1.10")),
            ("http://x:80/y", serde_json::json!("http://x:80/y")),
            ("a: b: c", serde_json::json!("a: b: c")),
            ("{{ apt_mirror }}/x", serde_json::json!("{{ apt_mirror }}/x")),
            ("true", serde_json::json!(true)),
        ] {
            assert_eq!(value("x", text).unwrap(), expected, "{text}");
        }
        assert!(value("x", "[a").is_err());
    }
}

//! What a site says about building images: how they are called, variables of their templates, logins of registries.
//!
//! In: the site, without choosing a host. Out: [`ImageSettings`]. Services do not have to be complete for it: their images
//! may not be there yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::compile::{CompileRequest, without_newline};
use super::expand::Expander;
use super::reader::SiteReader;
use super::secrets::read_secrets;
use super::tree::read;
use crate::model::desired::RegistryLogin;
use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::node::{Node, Scalar};
use crate::parse::shape::{self, Shape};
use crate::port::site_files::SiteFiles;
use crate::render::template::Templates;
use crate::render::variables::{Context, Layer, Variable};

/// What was said.
#[derive(Clone, Debug, Default)]
pub struct ImageSettings {
    /// The directory of the site.
    pub directory: PathBuf,
    /// `images.registry`.
    pub registry: Option<String>,
    /// `images.namespace`.
    pub namespace: Option<String>,
    /// `images.tag`.
    pub tag: Option<String>,
    /// `images.lock`.
    pub lock: Option<String>,
    /// `images.build`: name, value, and where it was written.
    pub build: Vec<(String, serde_json::Value, String)>,
    /// Logins by registry.
    pub logins: BTreeMap<String, RegistryLogin>,
}

/// Reads them.
pub fn image_settings(request: &CompileRequest, files: &dyn SiteFiles) -> Result<ImageSettings, Diagnostics> {
    let tree = read(request, files)?;
    let mut errors = tree.errors.clone();
    let mut settings = ImageSettings { directory: tree.directory.clone(), ..ImageSettings::default() };
    if let Some(written) = tree.site.spec.get("images") {
        let variables = tree.site.vars.iter().flat_map(Node::entries);
        let of_site: Layer =
            variables.map(|(name, entry)| (name.to_owned(), Variable::new(entry.value.to_json()))).collect();
        let given = request.extra_vars.iter().map(|(name, text)| {
            let value = Node::scalar(Scalar::plain(text), written.place, written.layer).to_json();
            (name.clone(), Variable::new(value))
        });
        let context = Context::builder().layer(of_site).layer(given.collect()).build();
        let templates = Templates::new(|_| None);
        let mut expander = Expander::new(&templates, &context, &tree.sources);
        // Build variables are evaluated where they are used: they may need one another.
        let mut images = written.clone();
        let build = match &mut images.value {
            crate::parse::node::Value::Mapping(mapping) => mapping.shift_remove("build"),
            _ => None,
        };
        let images = expander.expand(&images, "spec.images");
        errors.append(&mut expander.errors);
        shape::check(&images, images.place, &Shape::Object(&crate::parse::keys::site::IMAGES), &mut errors);
        let text = |key: &str| images.get(key).and_then(Node::as_text).map(str::to_owned);
        settings.registry = text("registry");
        settings.namespace = text("namespace");
        settings.tag = text("tag");
        settings.lock = text("lock");
        for (name, entry) in build.iter().flat_map(|entry| entry.value.entries()) {
            settings.build.push((name.to_owned(), entry.value.to_json(), tree.sources.describe(entry.key_place)));
        }
        let mut of_secrets = Vec::new();
        let secrets = read_secrets(&tree, request, &SiteReader::new(files, tree.directory.clone()), &mut of_secrets);
        for (registry, entry) in images.get("auth").into_iter().flat_map(Node::entries) {
            let username = entry.value.get("username").and_then(Node::as_text);
            let secret = entry.value.get("password").and_then(|password| password.get("secret"));
            let (Some(username), Some(secret)) = (username, secret) else { continue };
            let Some(name) = secret.as_text() else { continue };
            match secrets.get(name) {
                Some(password) => {
                    let login = RegistryLogin { username: username.to_owned(), password: without_newline(password) };
                    settings.logins.insert(registry.to_owned(), login);
                }
                // Only the secrets that are needed here have to be there.
                None if of_secrets.iter().any(|error| error.message.contains(&format!("`{name}`"))) => {
                    errors.extend(
                        of_secrets.iter().filter(|error| error.message.contains(&format!("`{name}`"))).cloned(),
                    );
                }
                None => errors.push(Diagnostic::error("R001", secret.place, format!("no secret is called `{name}`"))),
            }
        }
    }
    let found = Diagnostics::new(tree.sources, errors);
    if found.has_errors() { Err(found) } else { Ok(settings) }
}

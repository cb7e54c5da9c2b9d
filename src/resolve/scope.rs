//! What the templates of the site, or of one of its roles, see and may include.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::model::image::{NAMESPACE, TAG};
use crate::model::names::HostName;
use crate::model::secret::Sensitive;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Node, Value};
use crate::parse::role::RoleUse;
use crate::parse::source::Place;
use crate::render::template::Templates;
use crate::render::variables::Context;

use super::compile::{CompileRequest, HostCompiler, without_newline};
use super::roles::facts::{describe, members};
use super::roles::variables::check;
use super::tree::Tree;
use super::variables::{builder, layers};

/// A scope.
pub struct Scope {
    /// The role; the site's own scope has none.
    pub role: Option<Arc<RoleUse>>,
    /// The template engine.
    pub templates: Templates,
    /// What templates see.
    pub context: Context,
    /// Templates that others include.
    pub included: Arc<Mutex<HashMap<String, String>>>,
}

impl Scope {
    /// The scope of a role, or of the site itself, on one host; and which variables do not fit.
    pub fn new(
        tree: &Tree,
        host: &HostName,
        request: &CompileRequest,
        role: Option<&Arc<RoleUse>>,
        secrets: &BTreeMap<String, Sensitive>,
    ) -> (Self, Vec<Diagnostic>) {
        let in_templates = secrets.iter().map(|(name, secret)| (name.clone(), without_newline(secret))).collect();
        let layers = layers(&tree.site, &tree.groups, host, &request.extra_vars, role.map(Arc::as_ref));
        let mut builder =
            builder(&tree.site, &tree.groups, host, &layers, &tree.sources, tree.data()).secrets(in_templates);
        let mut errors = Vec::new();
        if !tree.site.roles.is_empty() {
            let facts = tree.facts(request);
            if role.is_none() {
                errors.extend(facts.errors.iter().cloned());
            }
            let known = tree.shared_facts(request);
            builder = builder
                .shared("placement", &known.placement)
                .shared("endpoints", &known.endpoints)
                .shared("provides", &known.provides);
        }
        if let Some(used) = role {
            let described = members(tree, used).into_iter().map(|member| {
                let groups: Vec<String> = tree.groups.of(&member).map(str::to_owned).collect();
                describe(&tree.site, &groups, &member)
            });
            let described: Vec<serde_json::Value> = described.collect();
            let named = serde_json::json!({"name": used.name.as_str(), "version": used.role.version});
            builder = builder.data("members", &described.into()).data("role", &named);
        }
        let context = builder.build();
        let included: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let loader = Arc::clone(&included);
        let templates = Templates::new(move |name| loader.lock().ok()?.get(name).cloned());
        if let Some(used) = role {
            errors.extend(check(used, &layers, &templates, &context));
        }
        (Self { role: role.cloned(), templates, context, included }, errors)
    }
}

impl HostCompiler<'_> {
    /// Goes on with what belongs to a role, or to none.
    pub fn enter(&mut self, role: Option<&Arc<RoleUse>>) {
        let name = role.map(|used| used.name.clone());
        let current = self.scope.role.as_ref().map(|used| used.name.clone());
        if name == current {
            return;
        }
        let next = self.scopes.remove(&name).unwrap_or_else(|| {
            let (scope, mut errors) = Scope::new(self.tree, &self.host, self.request, role, &self.secrets);
            self.errors.append(&mut errors);
            scope
        });
        let last = std::mem::replace(&mut self.scope, next);
        self.scopes.insert(current, last);
    }

    /// The path of a file that is named at a place: a role names its templates, the site names what lies beside it.
    pub fn source_path(&self, written: &str, place: Place) -> PathBuf {
        let in_role = self.scope.role.as_ref().and_then(|used| {
            let text = Path::new(&self.sources.get(place.file)?.path);
            text.starts_with(&used.role.directory).then(|| used.role.directory.join("templates").join(written))
        });
        in_role.unwrap_or_else(|| self.reader.path(written))
    }

    /// A role names its images by a bare word; registry, namespace and tag are the site's. What the lock of the site has is
    /// meant by its content.
    pub fn name_image(&mut self, node: &mut Node) {
        let Value::Mapping(mapping) = &mut node.value else { return };
        let Some(Value::Scalar(image)) = mapping.get_mut("image").map(|entry| &mut entry.value.value) else { return };
        let is_bare = !image.text.is_empty() && !image.text.contains(['/', ':', '@']) && self.scope.role.is_some();
        if is_bare {
            image.text = self.role_image(&image.text);
        }
        if let Some(locked) = self.locked(&image.text, is_bare) {
            image.text = locked;
        }
    }

    fn role_image(&self, word: &str) -> String {
        let images = self.spec("images");
        let of_site = |key: &str| images.and_then(|images| images.get(key)).and_then(Node::as_text);
        let namespace = of_site("namespace").unwrap_or(NAMESPACE);
        let tag = of_site("tag").unwrap_or(TAG);
        let registry = of_site("registry").map_or_else(String::new, |registry| format!("{registry}/"));
        format!("{registry}{namespace}/{word}:{tag}")
    }
}

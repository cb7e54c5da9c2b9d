//! An image's folder becomes what is built: Dockerfile and context, rendered.
//!
//! In: the [`Catalogue`] and the [`Settings`]. Out: a [`Recipe`] for each image, or what is wrong with it. One broken
//! image does not keep the others from being built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::catalogue::{COMMON_ROLE, Catalogue, Folder};
use super::customise::{INSTALL_TYPE, LISTS, PROXIES, Settings, Variables, as_list, change_list};
use super::definition::{self, Definition, Input};
use super::dockerfile;
use super::keys;
use super::naming::ImageName;
use crate::model::file::Shown;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::shape::{self, Shape};
use crate::parse::source::{FileId, Place, Sources};
use crate::parse::suggest::did_you_mean;
use crate::render::safe_error::{Kind, TemplateError};
use crate::render::template::Templates;
use crate::render::variables::Context;
use crate::resolve::expand::{Expander, needs};

/// What is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its name.
    pub name: ImageName,
    /// Its role.
    pub role: String,
    /// Its whole reference.
    pub reference: String,
    /// One line.
    pub description: String,
    /// For `--profile`.
    pub profiles: Vec<String>,
    /// The Dockerfile.
    pub dockerfile: String,
    /// The rest of the context by path.
    pub files: BTreeMap<String, ContextFile>,
    /// What comes into the context from elsewhere.
    pub inputs: BTreeMap<String, Input>,
    /// Images of ours that it is built from.
    pub parents: BTreeSet<ImageName>,
    /// Other images that it is built from.
    pub foreign: BTreeSet<String>,
    /// Arguments of the build that are in no image.
    pub proxies: BTreeMap<String, String>,
}

/// A file of the context.
#[derive(Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// What is in it.
    pub content: Arc<[u8]>,
    /// Whether it is a program.
    pub executable: bool,
}

impl std::fmt::Debug for ContextFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "ContextFile({} bytes{})",
            self.content.len(),
            if self.executable { ", executable" } else { "" }
        )
    }
}

/// All images: each rendered, or what is wrong with it.
#[derive(Debug, Default)]
pub struct Recipes {
    /// Those that can be built.
    pub good: BTreeMap<ImageName, Recipe>,
    /// Those that cannot.
    pub bad: BTreeMap<ImageName, Vec<Diagnostic>>,
    /// What is wrong beyond single images.
    pub errors: Vec<Diagnostic>,
    /// Texts for errors.
    pub sources: Sources,
}

/// Renders all images.
pub fn render(catalogue: Catalogue, settings: &Settings) -> Recipes {
    let mut errors = catalogue.errors.clone();
    if let Err(why) = settings.naming.check() {
        errors.push(Diagnostic::general("V002", why.to_string()));
    }
    let variables = Variables::new(&catalogue, settings, &mut errors);
    let mut sources = catalogue.sources.clone();
    // Each template once, under the name that errors have for it.
    let files =
        catalogue.templates.iter().map(|(name, text)| (name.clone(), sources.add(name.as_str(), text.as_str())));
    let files: BTreeMap<String, FileId> = files.collect();
    let catalogue = Arc::new(catalogue);
    let texts = Arc::clone(&catalogue);
    let names: BTreeMap<String, String> =
        catalogue.folders.keys().map(|name| (name.to_string(), settings.naming.reference(name))).collect();
    let kitchen = Kitchen {
        templates: Templates::new(move |name| texts.templates.get(name).cloned()),
        catalogue: &catalogue,
        settings,
        variables,
        names,
        files,
        sources: &sources,
    };
    let mut recipes = Recipes { errors, ..Recipes::default() };
    for folder in catalogue.folders.values() {
        match kitchen.recipe(folder) {
            Ok(recipe) => drop(recipes.good.insert(folder.name.clone(), recipe)),
            Err(errors) => drop(recipes.bad.insert(folder.name.clone(), errors)),
        }
    }
    recipes.sources = sources;
    recipes
}

/// What all recipes are made with.
struct Kitchen<'a> {
    catalogue: &'a Catalogue,
    settings: &'a Settings,
    variables: Variables,
    templates: Templates,
    /// References by name.
    names: BTreeMap<String, String>,
    /// Templates among the sources.
    files: BTreeMap<String, FileId>,
    sources: &'a Sources,
}

type Errors = Vec<Diagnostic>;

impl Kitchen<'_> {
    fn recipe(&self, folder: &Folder) -> Result<Recipe, Errors> {
        let context = self.context(folder).build();
        let mut definition = self.definition(folder, &context)?;
        for (list, name) in [&mut definition.packages, &mut definition.pip_packages].into_iter().zip(LISTS) {
            *list = self.changed(std::mem::take(list), folder, name, &context)?;
        }
        let parent = self.parent(folder, &definition)?;
        let install_type = self.install_type(folder, &definition, &context)?;
        let file_names = names_in_context(folder, &definition);
        let source = definition.source.as_ref().map_or(serde_json::Value::Null, |source| json!(source));
        let mut builder = self
            .context(folder)
            .data("install_type", &json!(install_type))
            .data("user", &definition.user.as_ref().map_or(serde_json::Value::Null, |user| json!(user)))
            .data("packages", &json!(definition.packages))
            .data("pip_packages", &json!(definition.pip_packages))
            .data("directories", &json!(definition.directories))
            .data("source", &source)
            .data("files", &json!(file_names))
            .data("parent_template", &json!(folder.template));
        if let Some(parent) = parent {
            builder = builder.data("parent", &json!(parent));
        }
        let context = builder.build();
        let template = folder.overriding.as_ref().unwrap_or(&folder.template);
        let dockerfile = self.render(template, &context)?;
        self.check_lists_are_used(folder, &definition, &dockerfile)?;
        let mut files = BTreeMap::new();
        for (path, file) in &folder.files {
            let (path, content) = match path.strip_suffix(".j2") {
                Some(bare) => (bare, self.render(&file.path, &context)?.into_bytes().into()),
                None => (path.as_str(), Arc::clone(&file.content)),
            };
            files.insert(path.to_owned(), ContextFile { content, executable: file.executable });
        }
        let (parents, foreign) = self.parents(folder, template, &dockerfile)?;
        Ok(Recipe {
            name: folder.name.clone(),
            role: folder.role.clone(),
            reference: self.settings.naming.reference(&folder.name),
            description: definition.description,
            profiles: definition.profiles,
            dockerfile,
            files,
            inputs: definition.inputs,
            parents,
            foreign,
            proxies: self.proxies(&context)?,
        })
    }

    /// What all templates of an image see.
    fn context(&self, folder: &Folder) -> crate::render::variables::ContextBuilder {
        let naming = &self.settings.naming;
        let users = self.catalogue.users.iter();
        let users: serde_json::Map<String, serde_json::Value> =
            users.map(|(name, (uid, gid))| (name.clone(), json!({"uid": uid, "gid": gid}))).collect();
        let [defaults, given] = self.variables.layers();
        Context::builder()
            .layer(defaults)
            .layer(given)
            .data("image_name", &json!(folder.name.as_str()))
            .data("role_name", &json!(folder.role))
            .data("registry", &json!(naming.registry))
            .data("namespace", &json!(naming.namespace))
            .data("tag", &json!(naming.tag))
            .data("users", &users.into())
            .lookup("image", self.names.clone(), "there is no image of this name")
    }

    fn definition(&self, folder: &Folder, context: &Context) -> Result<Definition, Errors> {
        let mut errors = Vec::new();
        let Some(written) = &folder.definition else {
            let empty = crate::parse::node::Node::empty_mapping(Place::default(), crate::parse::node::Layer::Site);
            return Ok(definition::read(&empty, &folder.name, &self.catalogue.users, &mut errors));
        };
        shape::check(written, written.place, &Shape::Object(&keys::IMAGE), &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let expanded;
        let node = if needs(written) {
            let mut expander = Expander::new(&self.templates, context, self.sources);
            expanded = expander.expand(written, "image.yaml");
            errors.append(&mut expander.errors);
            if errors.is_empty() {
                shape::check(&expanded, written.place, &Shape::Object(&keys::IMAGE), &mut errors);
            }
            &expanded
        } else {
            written
        };
        let definition = definition::read(node, &folder.name, &self.catalogue.users, &mut errors);
        if errors.is_empty() { Ok(definition) } else { Err(errors) }
    }

    /// A list with what the site changes.
    fn changed(
        &self,
        list: Vec<String>,
        folder: &Folder,
        name: &str,
        context: &Context,
    ) -> Result<Vec<String>, Errors> {
        let [replaced, appended, removed] = Variables::changes_of(&folder.name, name).map(|variable| {
            let Some(given) = self.variables.given(&variable) else { return Ok(None) };
            let value = self.templates.evaluate_all(&variable, &given.value, context);
            let value = value.map_err(|error| vec![self.diagnostic(&error)])?.value;
            let wrong = || vec![Diagnostic::general("V001", format!("`{variable}` is no list of texts"))];
            as_list(&value).map(Some).ok_or_else(wrong)
        });
        Ok(change_list(list, replaced?, appended?, removed?))
    }

    /// What a site adds to a list must not get lost in a Dockerfile that names its packages itself.
    fn check_lists_are_used(&self, folder: &Folder, definition: &Definition, dockerfile: &str) -> Result<(), Errors> {
        for (list, name) in [&definition.packages, &definition.pip_packages].into_iter().zip(LISTS) {
            let [replaced, appended, _] = Variables::changes_of(&folder.name, name);
            for variable in [replaced, appended] {
                if self.variables.given(&variable).is_some() && list.iter().any(|item| !dockerfile.contains(item)) {
                    let message = format!(
                        "`{variable}` changes nothing: the Dockerfile.j2 of `{}` does not use `{name}`",
                        folder.name
                    );
                    let help = "change a block of it in images/overrides instead";
                    return Err(vec![Diagnostic::general("V002", message).help(help)]);
                }
            }
        }
        Ok(())
    }

    /// The reference of the parent.
    fn parent(&self, folder: &Folder, definition: &Definition) -> Result<Option<String>, Errors> {
        match &definition.parent {
            None if folder.name.as_str() == COMMON_ROLE => Ok(None),
            None => Ok(self.names.get(COMMON_ROLE).cloned()),
            Some((parent, place)) => match self.names.get(parent) {
                Some(reference) => Ok(Some(reference.clone())),
                None => {
                    let message =
                        format!("there is no image `{parent}`, which is to be the parent of `{}`", folder.name);
                    let hint = did_you_mean(parent, self.names.keys().map(String::as_str));
                    Err(vec![Diagnostic::error("R001", *place, message).maybe_help(hint)])
                }
            },
        }
    }

    /// An image that is asked for by name has to know the type; one that is not takes the type that it knows.
    fn install_type(&self, folder: &Folder, definition: &Definition, context: &Context) -> Result<String, Errors> {
        let own = format!("{}_{INSTALL_TYPE}", folder.name.in_variables());
        let own = Some(own).filter(|name| self.variables.given(name).is_some());
        let variable = own.clone().unwrap_or_else(|| INSTALL_TYPE.to_owned());
        let wanted = self.text(&variable, context)?;
        let fail = |why: String| Err(vec![Diagnostic::general("V002", format!("`{variable}` is `{wanted}`, {why}"))]);
        if !keys::INSTALL_TYPES.contains(&wanted.as_str()) {
            return fail(format!("which is none of {}", keys::INSTALL_TYPES.join(", ")));
        }
        if definition.install_types.contains(&wanted) {
            return Ok(wanted);
        }
        match (own, definition.install_types.first()) {
            (None, Some(other)) => Ok(other.clone()),
            (None, None) => Ok(wanted),
            (Some(_), _) => fail(format!("and `{}` can only be {}", folder.name, definition.install_types.join(", "))),
        }
    }

    fn proxies(&self, context: &Context) -> Result<BTreeMap<String, String>, Errors> {
        let mut proxies = BTreeMap::new();
        for name in PROXIES {
            let value = self.text(name, context)?;
            if !value.is_empty() {
                // Programs differ in which they read.
                proxies.insert(name.to_ascii_uppercase(), value.clone());
                proxies.insert(name.to_owned(), value);
            }
        }
        Ok(proxies)
    }

    fn text(&self, variable: &str, context: &Context) -> Result<String, Errors> {
        let expression = format!("{{{{ {variable} }}}}");
        let evaluated = self.templates.evaluate(variable, &expression, context);
        match evaluated.map_err(|error| vec![self.diagnostic(&error)])?.value {
            serde_json::Value::String(text) => Ok(text),
            serde_json::Value::Null => Ok(String::new()),
            other => Ok(other.to_string()),
        }
    }

    fn render(&self, template: &str, context: &Context) -> Result<String, Errors> {
        let Some(text) = self.catalogue.templates.get(template) else {
            return Err(vec![Diagnostic::general("F001", format!("there is no template `{template}`"))]);
        };
        match self.templates.render(template, text, context) {
            Ok(rendered) => match rendered.shown {
                Shown::Text(text) => Ok(text),
                Shown::Opaque(_) => Err(vec![Diagnostic::general("T001", format!("`{template}` uses a secret"))]),
            },
            Err(error) => Err(vec![self.diagnostic(&error)]),
        }
    }

    /// Ours and others that the Dockerfile names.
    fn parents(
        &self,
        folder: &Folder,
        template: &str,
        dockerfile: &str,
    ) -> Result<(BTreeSet<ImageName>, BTreeSet<String>), Errors> {
        let references = dockerfile::references(dockerfile);
        let at = Place::new(self.files.get(template).copied().unwrap_or_default(), 0, 0);
        if !references.has_from {
            let error = Diagnostic::error("V002", at, format!("the Dockerfile of `{}` has no FROM", folder.name));
            return Err(vec![error.help("begin it with `FROM {{ parent }}`, or extend \"layout.j2\"")]);
        }
        let (mut parents, mut foreign) = (BTreeSet::new(), BTreeSet::new());
        for reference in references.images {
            let ours = self.names.iter().find(|(_, name)| **name == reference.image).map(|(name, _)| name);
            match ours.and_then(|name| self.catalogue.folders.get_key_value(name.as_str())) {
                Some((name, _)) => drop(parents.insert(name.clone())),
                None => drop(foreign.insert(reference.image)),
            }
        }
        Ok((parents, foreign))
    }

    /// An error of a template, shown in its file.
    fn diagnostic(&self, error: &TemplateError) -> Diagnostic {
        let file = self.files.get(&error.template).copied();
        let source = file.and_then(|file| Some((file, self.sources.get(file)?)));
        let place = source.and_then(|(file, source)| {
            let own = error.range.clone().filter(|range| range.end <= source.text.len());
            let start =
                |line: usize| source.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
            let range = own.or_else(|| error.line.map(|line| start(line)..start(line + 1)))?;
            Some(Place::new(file, range.start, range.end))
        });
        let Some(place) = place else { return Diagnostic::general("T001", error.to_string()) };
        let mut diagnostic = Diagnostic::error("T001", place, error.message.clone());
        for frame in &error.used_in {
            let line = frame.line.map(|line| format!(", line {line}")).unwrap_or_default();
            diagnostic = diagnostic.help(format!("used in {}{line}", frame.template));
        }
        let subject = error.subject.as_deref().unwrap_or_default();
        if let Some(name) = subject.strip_prefix("image(").map(|rest| rest.trim_matches(['"', '\'', '(', ')', ' '])) {
            return diagnostic.maybe_help(did_you_mean(name, self.names.keys().map(String::as_str)));
        }
        if error.kind == Kind::Undefined {
            let declared = self.catalogue.variables.keys().map(String::as_str);
            let hint =
                did_you_mean(subject, declared.chain(PROXIES).chain(["parent", "packages", "user", "users", "files"]));
            diagnostic = diagnostic.maybe_help(hint);
            if subject == "parent" {
                diagnostic = diagnostic.help("name it in image.yaml: `parent: NAME`; there is no image `base`");
            }
        }
        diagnostic
    }
}

/// Files and, with a slash at the end, directories of the context.
fn names_in_context(folder: &Folder, definition: &Definition) -> BTreeSet<String> {
    let files = folder.files.keys().map(|path| path.strip_suffix(".j2").unwrap_or(path));
    let mut names = BTreeSet::new();
    for path in files.chain(definition.inputs.keys().map(String::as_str)) {
        names.insert(path.to_owned());
        names.extend(path.match_indices('/').map(|(at, _)| path[..=at].to_owned()));
    }
    names
}

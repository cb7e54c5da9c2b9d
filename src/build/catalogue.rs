//! All that is written about images: the folders of all roles, shared templates, variables, users and a site's overrides.
//!
//! In: directories of roles, the first one winning, and where overrides lie. Out: a [`Catalogue`] of texts; nothing is
//! rendered yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys;
use super::naming::ImageName;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Layer, Node};
use crate::parse::shape::{self, Shape};
use crate::parse::source::{Place, Sources};
use crate::parse::yaml;
use crate::port::site_files::{Kind, ReadError, SiteFiles};

/// The role whose `images/` holds what all others share.
pub const COMMON_ROLE: &str = "base";
/// How deep folders may nest; a link to a directory above would go on for ever.
const DEPTH: usize = 16;

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Directories of roles; the first that has an image wins. Whether each must exist.
    pub roles: Vec<(PathBuf, bool)>,
    /// The directory of a site's overrides, which need not exist.
    pub overrides: Option<PathBuf>,
}

/// Numbers of users and groups by name.
pub type Users = BTreeMap<String, (i64, i64)>;

/// The folder of an image.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Its name.
    pub name: ImageName,
    /// Its role.
    pub role: String,
    /// Path of its Dockerfile.j2, by which templates and errors name it.
    pub template: String,
    /// `image.yaml` with its path.
    pub definition: Option<Node>,
    /// The other files, by their path in the context; templates still with their ending.
    pub files: BTreeMap<String, File>,
    /// Path of the site's override.
    pub overriding: Option<String>,
}

/// A file of a folder.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it lies, for errors.
    pub path: String,
    /// What is in it.
    pub content: Arc<[u8]>,
    /// Whether it is a program.
    pub executable: bool,
}

/// A variable of the build with its default.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Default.
    pub value: serde_json::Value,
    /// Where.
    pub place: Place,
    /// By which role.
    pub role: String,
}

/// All that is written about images.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Folders.
    pub folders: BTreeMap<ImageName, Folder>,
    /// Templates by path; those of the common role by their bare name as well.
    pub templates: BTreeMap<String, String>,
    /// Variables.
    pub variables: BTreeMap<String, Declared>,
    /// Users.
    pub users: Users,
    /// Texts for errors.
    pub sources: Sources,
    /// What is wrong.
    pub errors: Vec<Diagnostic>,
}

impl Catalogue {
    /// Reads everything.
    pub fn read(places: &Places, files: &dyn SiteFiles) -> Self {
        let mut reader = Reader { files, catalogue: Self::default(), users: BTreeMap::new() };
        for (directory, required) in &places.roles {
            reader.roles(directory, *required);
        }
        if let Some(directory) = &places.overrides {
            reader.overrides(directory);
        }
        reader.catalogue.users = reader.users.into_iter().map(|(name, (numbers, _))| (name, numbers)).collect();
        reader.catalogue
    }

    /// The names of all roles that have images.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.folders.values().map(|folder| folder.role.as_str())
    }
}

struct Reader<'a> {
    files: &'a dyn SiteFiles,
    catalogue: Catalogue,
    users: BTreeMap<String, ((i64, i64), Place)>,
}

impl Reader<'_> {
    fn error(&mut self, message: String) {
        self.catalogue.errors.push(Diagnostic::general("F001", message));
    }

    fn roles(&mut self, directory: &Path, required: bool) {
        match self.files.kind(directory) {
            Ok(Kind::Directory) => {}
            Err(ReadError::Missing) if !required => return,
            Ok(Kind::File) => return self.error(format!("`{}` is no directory of roles", directory.display())),
            Err(why) => return self.error(format!("cannot read the roles in `{}`: {why}", directory.display())),
        }
        self.user_table(&directory.join("users.yaml"));
        for role in self.list(directory) {
            let images = role.join("images");
            let Some(name) = file_name(&role).filter(|name| !name.starts_with('.')) else { continue };
            if self.files.kind(&images) == Ok(Kind::Directory) {
                self.role(&name, &images);
            }
        }
    }

    fn role(&mut self, role: &str, images: &Path) {
        for path in self.list(images) {
            let Some(name) = file_name(&path).filter(|name| !is_left_out(name)) else { continue };
            match self.files.kind(&path) {
                Ok(Kind::Directory) => self.folder(role, &name, &path),
                Ok(Kind::File) if name == "variables.yaml" => self.variables(role, &path),
                Ok(Kind::File) if is_template(&name) => {
                    let text = self.text(&path);
                    if let Some(text) = text.filter(|_| role == COMMON_ROLE) {
                        self.catalogue.templates.entry(name).or_insert(text);
                    }
                }
                Ok(Kind::File) | Err(_) => {}
            }
        }
    }

    fn folder(&mut self, role: &str, name: &str, path: &Path) {
        let name = match ImageName::new(name) {
            Ok(name) => name,
            Err(why) => return self.error(format!("{}: {why}", path.display())),
        };
        let template = path.join("Dockerfile.j2");
        if let Some(other) = self.catalogue.folders.get(&name) {
            if other.role != role {
                let message = format!("two images are called `{name}`: {} and {}", other.template, template.display());
                self.error(message);
            }
            return;
        }
        let mut files = BTreeMap::new();
        self.context(path, "", 0, &mut files);
        if self.text(&template).is_none() {
            // What is unreadable has been told.
            if self.files.kind(&template) == Err(ReadError::Missing) {
                self.error(format!("the folder of the image `{name}` has no Dockerfile.j2: {}", path.display()));
            }
            return;
        }
        // Its keys are checked with the image: what is wrong with one keeps no other from being built.
        let definition = self.yaml(&path.join("image.yaml"), &Shape::Map(&Shape::Anything));
        let folder = Folder {
            name: name.clone(),
            role: role.to_owned(),
            template: template.display().to_string(),
            definition,
            files,
            overriding: None,
        };
        self.catalogue.folders.insert(name, folder);
    }

    /// The files of a folder, apart from those that make the image what it is.
    fn context(&mut self, directory: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, File>) {
        if depth > DEPTH {
            return self.error(format!("{}: directories nest more than {DEPTH} levels deep", directory.display()));
        }
        for path in self.list(directory) {
            let Some(name) = file_name(&path) else {
                self.error(format!("{}: the name is no UTF-8 text", path.display()));
                continue;
            };
            let own = depth == 0 && matches!(name.as_str(), "Dockerfile.j2" | "image.yaml");
            if own || is_left_out(&name) {
                continue;
            }
            let inner = format!("{prefix}{name}");
            match self.files.kind(&path) {
                Ok(Kind::Directory) => self.context(&path, &format!("{inner}/"), depth + 1, found),
                Ok(Kind::File) => match self.files.read(&path) {
                    Ok(content) => {
                        let mode = self.files.mode(&path).unwrap_or(0o644);
                        // Where modes are lost on the way, a script is still known by its first line.
                        let executable = mode & 0o001 != 0 || content.starts_with(b"#!");
                        if is_template(&name) {
                            self.text(&path);
                        }
                        let file = File { path: path.display().to_string(), content: content.into(), executable };
                        found.insert(inner, file);
                    }
                    Err(why) => self.error(format!("cannot read `{}`: {why}", path.display())),
                },
                Err(why) => self.error(format!("cannot read `{}`: {why}", path.display())),
            }
        }
    }

    fn variables(&mut self, role: &str, path: &Path) {
        let Some(node) = self.yaml(path, &Shape::Map(&Shape::Anything)) else { return };
        for (name, entry) in node.entries() {
            if let Err(why) = super::customise::check_name(name) {
                self.catalogue.errors.push(Diagnostic::error("N001", entry.key_place, why));
                continue;
            }
            match self.catalogue.variables.get(name) {
                // An earlier directory has another default for the same.
                Some(other) if other.role == role => {}
                Some(other) => {
                    let message = format!("the variable `{name}` is declared by `{}` and by `{role}`", other.role);
                    let error = Diagnostic::error("R003", entry.key_place, message).also(other.place, "here first");
                    self.catalogue.errors.push(error);
                }
                None => {
                    let declared =
                        Declared { value: entry.value.to_json(), place: entry.key_place, role: role.to_owned() };
                    self.catalogue.variables.insert(name.to_owned(), declared);
                }
            }
        }
    }

    fn user_table(&mut self, path: &Path) {
        let Some(node) = self.yaml(path, &Shape::Object(&keys::USERS)) else { return };
        let mut reader = crate::parse::read::Reader::default();
        for (name, entry) in node.get("users").into_iter().flat_map(Node::entries) {
            let numbers = (reader.integer(&entry.value, "uid"), reader.integer(&entry.value, "gid"));
            let (Some(uid), Some(gid)) = numbers else { continue };
            let twin = self.users.iter().find(|(other, (numbers, _))| *other != name && numbers.0 == uid);
            if let Some((other, (_, place))) = twin {
                let message = format!("`{name}` has the number {uid}, which is that of `{other}`");
                let error = Diagnostic::error("R003", entry.key_place, message).also(*place, "here first");
                self.catalogue.errors.push(error.help("files of one would be those of the other"));
            }
            self.users.entry(name.to_owned()).or_insert(((uid, gid), entry.key_place));
        }
    }

    fn overrides(&mut self, directory: &Path) {
        if self.files.kind(directory) != Ok(Kind::Directory) {
            return;
        }
        for path in self.list(directory) {
            let Some(name) = file_name(&path).filter(|name| !is_left_out(name)) else { continue };
            let Some(name) = name.strip_suffix(".j2") else { continue };
            if !self.catalogue.folders.contains_key(name) {
                let names = self.catalogue.folders.keys().map(ImageName::as_str);
                let hint = crate::parse::suggest::did_you_mean(name, names);
                let message = format!("`{}` overrides an image that does not exist", path.display());
                self.catalogue.errors.push(Diagnostic::general("R001", message).maybe_help(hint));
                continue;
            }
            self.text(&path);
            if let Some(folder) = self.catalogue.folders.get_mut(name) {
                folder.overriding = Some(path.display().to_string());
            }
        }
    }

    fn list(&mut self, directory: &Path) -> Vec<PathBuf> {
        match self.files.list(directory) {
            // Some give names and some give paths; both are fine.
            Ok(paths) => paths
                .into_iter()
                .map(|path| if path.starts_with(directory) { path } else { directory.join(path) })
                .collect(),
            Err(why) => {
                self.error(format!("cannot read `{}`: {why}", directory.display()));
                Vec::new()
            }
        }
    }

    /// A template's text, which is kept under its path.
    fn text(&mut self, path: &Path) -> Option<String> {
        let shown = path.display().to_string();
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(ReadError::Missing) => return None,
            Err(why) => {
                self.error(format!("cannot read `{shown}`: {why}"));
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.catalogue.templates.insert(shown, text.clone());
                Some(text)
            }
            Err(_) => {
                self.error(format!("the template `{shown}` is no UTF-8 text"));
                None
            }
        }
    }

    /// A file that may be missing; its shape is checked.
    fn yaml(&mut self, path: &Path, shape: &Shape) -> Option<Node> {
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(ReadError::Missing) => return None,
            Err(why) => {
                self.error(format!("cannot read `{}`: {why}", path.display()));
                return None;
            }
        };
        let (node, mut errors) =
            yaml::parse(&mut self.catalogue.sources, &path.display().to_string(), &bytes, Layer::Site);
        self.catalogue.errors.append(&mut errors);
        let node = node.filter(|node| !node.is_null())?;
        shape::check(&node, node.place, shape, &mut self.catalogue.errors);
        Some(node).filter(|node| node.as_mapping().is_some())
    }
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

fn is_template(name: &str) -> bool {
    name.strip_suffix(".j2").is_some()
}

/// Leftovers of editors and of version control.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}

//! `image.yaml`, typed.
//!
//! In: the tree with its expressions evaluated and its shape checked. Out: a [`Definition`], or what does not fit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::Users;
use super::naming::ImageName;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Entry, Node};
use crate::parse::read::Reader;
use crate::parse::scalars;
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;

/// What an image is, apart from its Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// One line.
    pub description: String,
    /// What `{{ parent }}` stands for; none where the default counts.
    pub parent: Option<(String, Place)>,
    /// Names for `--profile`.
    pub profiles: Vec<String>,
    /// Who the service runs as.
    pub user: Option<User>,
    /// Packages of the distribution.
    pub packages: Vec<String>,
    /// Packages of Python.
    pub pip_packages: Vec<String>,
    /// Directories of the user.
    pub directories: Vec<Directory>,
    /// What `install_type` may be.
    pub install_types: Vec<String>,
    /// What pip installs where the service comes from its source.
    pub source: Option<Source>,
    /// Files from elsewhere, by their name in the context.
    pub inputs: BTreeMap<String, Input>,
}

/// A user with its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Name, also of its group.
    pub name: String,
    /// Number.
    pub uid: i64,
    /// Number of the group.
    pub gid: i64,
    /// Home directory.
    pub home: String,
    /// Shell.
    pub shell: String,
    /// Further groups.
    pub groups: Vec<Group>,
}

/// A group with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: i64,
}

/// A directory that belongs to the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// Path.
    pub path: String,
    /// Permissions in octal digits.
    pub mode: String,
}

/// A Python service's own source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// As pip takes it.
    pub requirement: String,
}

/// A file of the context that does not lie in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A program of ours.
    Program(String),
    /// A file of the machine that builds.
    File(String),
    /// A root directory made of packages.
    Debootstrap(Bootstrap),
}

/// How debootstrap is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    /// Release.
    pub suite: String,
    /// Where packages come from.
    pub mirror: String,
    /// What it begins with.
    pub variant: String,
    /// Further packages.
    pub include: Vec<String>,
    /// Parts of the mirror.
    pub components: Vec<String>,
    /// Keyring by which the mirror is checked; debootstrap's own choice where it is empty.
    pub keyring: String,
}

/// Types a checked tree.
pub fn read(node: &Node, image: &ImageName, users: &Users, errors: &mut Vec<Diagnostic>) -> Definition {
    let mut r = Reader::default();
    let source = node.get("source").and_then(|node| source(node, image, &mut r));
    let types = r.texts(node, "install_types").filter(|types| !types.is_empty());
    let default_types = if source.is_some() { &["distribution", "source"][..] } else { &["distribution"] };
    let definition = Definition {
        description: r.text(node, "description").unwrap_or_default(),
        parent: node.get("parent").and_then(|parent| Some((parent.as_text()?.to_owned(), parent.place))),
        profiles: r.texts(node, "profiles").unwrap_or_default(),
        user: node.get("user").and_then(|node| user(node, users, &mut r)),
        packages: r.texts(node, "packages").unwrap_or_default(),
        pip_packages: r.texts(node, "pip_packages").unwrap_or_default(),
        directories: node
            .get("directories")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(directory)
            .collect(),
        install_types: types.unwrap_or_else(|| default_types.iter().map(|word| (*word).to_owned()).collect()),
        source,
        inputs: node
            .get("inputs")
            .into_iter()
            .flat_map(Node::entries)
            .filter_map(|(name, entry)| Some((name.to_owned(), input(name, entry, &mut r)?)))
            .collect(),
    };
    errors.append(&mut r.errors);
    definition
}

fn user(node: &Node, users: &Users, r: &mut Reader) -> Option<User> {
    let (name, place) = match node.as_text() {
        Some(name) => (name.to_owned(), node.place),
        None => (r.text(node, "name")?, node.get("name")?.place),
    };
    let known = users.get(&name).copied();
    let number = |r: &mut Reader, key: &str, of_table: Option<i64>| match r.integer(node, key).or(of_table) {
        Some(number) => Some(number),
        None => {
            let error =
                Diagnostic::error("R001", place, format!("the user `{name}` has no {key}: it is not in users.yaml"));
            let hint = did_you_mean(&name, users.keys().map(String::as_str));
            r.error(
                error
                    .maybe_help(hint)
                    .help("give it numbers there, which no other user has, so that volumes keep their owner"),
            );
            None
        }
    };
    let uid = number(r, "uid", known.map(|(uid, _)| uid))?;
    let gid = number(r, "gid", known.map(|(_, gid)| gid))?;
    let groups = r.texts_at(node, "groups").into_iter().filter_map(|group| match users.get(&group.value) {
        Some((_, gid)) => Some(Group { name: group.value, gid: *gid }),
        None => {
            let error =
                Diagnostic::error("R001", group.place, format!("the group `{}` is not in users.yaml", group.value));
            r.error(error.maybe_help(did_you_mean(&group.value, users.keys().map(String::as_str))));
            None
        }
    });
    let groups = groups.collect();
    Some(User {
        home: r.text(node, "home").unwrap_or_else(|| format!("/var/lib/{name}")),
        shell: r.text(node, "shell").unwrap_or_else(|| "/usr/sbin/nologin".to_owned()),
        name,
        uid,
        gid,
        groups,
    })
}

fn directory(node: &Node) -> Option<Directory> {
    let path = node.as_text().or_else(|| node.get("path")?.as_text())?.to_owned();
    let mode = node.get("mode").and_then(Node::as_scalar).and_then(|scalar| scalars::mode(scalar).ok());
    Some(Directory { path, mode: format!("{:04o}", mode.unwrap_or(0o755)) })
}

fn source(node: &Node, image: &ImageName, r: &mut Reader) -> Option<Source> {
    let text = |key: &str| node.get(key).and_then(Node::as_text).filter(|text| !text.is_empty());
    let package = text("package").unwrap_or(image.as_str());
    let requirement = match (text("git"), text("url"), text("pip")) {
        (Some(git), None, None) => {
            let reference = text("reference").map(|reference| format!("@{reference}")).unwrap_or_default();
            format!("{package} @ git+{git}{reference}")
        }
        (None, Some(url), None) => {
            let hash = text("sha256").map(|hash| format!("#sha256={hash}")).unwrap_or_default();
            format!("{package} @ {url}{hash}")
        }
        (None, None, Some(pip)) => pip.to_owned(),
        _ => {
            r.error(Diagnostic::error("V002", node.place, "a source is one of `git`, `url`, `pip`"));
            return None;
        }
    };
    Some(Source { requirement })
}

fn input(name: &str, entry: &Entry, r: &mut Reader) -> Option<Input> {
    let node = &entry.value;
    let place = entry.key_place;
    let plain = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !plain || name == super::context::DOCKERFILE {
        r.error(Diagnostic::error("V002", place, format!("`{name}` is no name of a file in the context")));
        return None;
    }
    if r.boolean(node, "when") == Some(false) {
        return None;
    }
    match (r.text(node, "program"), r.text(node, "file"), node.get("debootstrap")) {
        (Some(program), None, None) => Some(Input::Program(program)),
        (None, Some(file), None) => Some(Input::File(file)),
        (None, None, Some(bootstrap)) => Some(Input::Debootstrap(Bootstrap {
            suite: option_free(r.text(bootstrap, "suite")?, bootstrap, r)?,
            mirror: option_free(r.text(bootstrap, "mirror")?, bootstrap, r)?,
            variant: r.text(bootstrap, "variant").unwrap_or_else(|| "minbase".to_owned()),
            include: r.texts(bootstrap, "include").unwrap_or_default(),
            components: r
                .texts(bootstrap, "components")
                .filter(|list| !list.is_empty())
                .unwrap_or_else(|| vec!["main".to_owned()]),
            keyring: r.text(bootstrap, "keyring").unwrap_or_default(),
        })),
        _ => {
            r.error(Diagnostic::error("V002", place, "an input is one of `program`, `file`, `debootstrap`"));
            None
        }
    }
}

/// What stands alone in a command line must not be taken for an option.
fn option_free(text: String, node: &Node, r: &mut Reader) -> Option<String> {
    if text.is_empty() || text.starts_with('-') {
        r.error(Diagnostic::error("V002", node.place, format!("`{text}` is neither a suite nor a mirror")));
        return None;
    }
    Some(text)
}

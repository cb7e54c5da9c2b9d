//! Where a role is found: in the site, in the directories that were named, or in the program itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::fileset::KEY;
use crate::parse::diagnostic::{Diagnostic, Severity};
use crate::parse::keys::role::ROLE;
use crate::parse::node::Layer;
use crate::parse::read::{At, Reader};
use crate::parse::role::{Role, read_role};
use crate::parse::shape::{self, Shape};
use crate::parse::source::Sources;
use crate::parse::suggest::did_you_mean;
use crate::parse::yaml;
use crate::port::site_files::{Kind, SiteFiles};

/// The roles that the program brings along, as a directory of [`SiteFiles`].
pub const BUILT_IN: &str = "builtin:roles";

/// Where roles are looked for, the first directory wins: in the site, in those that were named, in the program itself.
pub fn search_path(site: Option<&Path>, named: &[PathBuf]) -> Vec<PathBuf> {
    let of_site = site.map(|directory| directory.join("roles"));
    of_site.into_iter().chain(named.iter().cloned()).chain([PathBuf::from(BUILT_IN)]).collect()
}

/// Reads roles, each once.
pub struct Finder<'a> {
    files: &'a dyn SiteFiles,
    directories: Vec<PathBuf>,
    sources: &'a mut Sources,
    found: BTreeMap<String, Option<Arc<Role>>>,
}

impl<'a> Finder<'a> {
    /// Looks in these directories, the first one wins ([`search_path`]).
    pub fn new(files: &'a dyn SiteFiles, directories: Vec<PathBuf>, sources: &'a mut Sources) -> Self {
        Self { files, directories, sources, found: BTreeMap::new() }
    }

    /// A role by its name.
    pub fn find(&mut self, wanted: &At<String>, errors: &mut Vec<Diagnostic>) -> Option<Arc<Role>> {
        if let Some(known) = self.found.get(&wanted.value) {
            return known.clone();
        }
        let directory = self.directories.iter().map(|directory| directory.join(&wanted.value));
        let directory = directory.into_iter().find(|path| self.files.kind(&path.join("role.yaml")) == Ok(Kind::File));
        let role = match directory {
            Some(directory) => self.read(directory, errors).map(Arc::new),
            None => {
                errors.push(self.unknown(wanted));
                None
            }
        };
        self.found.insert(wanted.value.clone(), role.clone());
        role
    }

    fn read(&mut self, directory: PathBuf, errors: &mut Vec<Diagnostic>) -> Option<Role> {
        let path = directory.join("role.yaml");
        let shown = path.display().to_string();
        let bytes = match self.files.read(&path) {
            Ok(bytes) => bytes,
            Err(why) => {
                errors.push(Diagnostic::general("F001", format!("cannot read `{shown}`: {why}")));
                return None;
            }
        };
        let (root, mut found) = yaml::parse(self.sources, &shown, &bytes, Layer::Role);
        if let Some(root) = &root {
            shape::check(root, root.place, &Shape::Object(&ROLE), &mut found);
        }
        let broken = found.iter().any(|error| error.severity == Severity::Error);
        errors.append(&mut found);
        let mut reader = Reader::default();
        let role = root.and_then(|root| read_role(&root, directory, &mut reader));
        errors.append(&mut reader.errors);
        role.filter(|_| !broken)
    }

    fn unknown(&self, wanted: &At<String>) -> Diagnostic {
        let known = known(self.files, &self.directories);
        let looked: Vec<String> = self
            .directories
            .iter()
            .filter(|directory| *directory != Path::new(BUILT_IN))
            .map(|directory| directory.display().to_string())
            .collect();
        Diagnostic::error("R001", wanted.place, format!("no role is called `{}`", wanted.value))
            .maybe_help(did_you_mean(&wanted.value, known.iter().map(String::as_str)))
            .help(format!(
                "roles are looked for in {} and in the program; `--roles DIR` adds a directory",
                looked.join(", ")
            ))
    }
}

/// Names of all roles in these directories, sorted.
pub fn known(files: &dyn SiteFiles, directories: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = directories
        .iter()
        .flat_map(|directory| files.list(directory).unwrap_or_default())
        .filter(|path| files.kind(&path.join("role.yaml")) == Ok(Kind::File))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Names of the secrets that a role and all that it includes need.
pub fn needed_secrets(role: &str, directories: &[PathBuf], files: &dyn SiteFiles) -> Vec<String> {
    let mut sources = Sources::default();
    let mut finder = Finder::new(files, directories.to_vec(), &mut sources);
    let mut errors = Vec::new();
    let mut names = Vec::new();
    let mut open = vec![role.to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let wanted = At::new(name, crate::parse::source::Place::default());
        let Some(role) = finder.find(&wanted, &mut errors) else { continue };
        names.extend(role.secrets.keys().cloned());
        names.extend((!role.filesets.is_empty()).then(|| KEY.to_owned()));
        open.extend(role.includes.iter().map(|included| included.value.clone()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sites_own_roles_win_over_named_ones_and_those_over_the_programs() {
        let named = [PathBuf::from("a"), PathBuf::from("b")];
        let expected = ["s/roles", "a", "b", BUILT_IN].map(PathBuf::from);
        assert_eq!(search_path(Some(Path::new("s")), &named), expected);
        assert_eq!(search_path(None, &named), expected[1..]);
    }
}

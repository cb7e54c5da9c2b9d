//! A role on its own: checked and rendered with its defaults, on one host, without a site.

use std::path::{Path, PathBuf};

use crate::parse::diagnostic::Diagnostics;
use crate::port::site_files::{Kind, ReadError, SiteFiles};
use crate::resolve::compile::{CompileRequest, Compiled, compile};

use super::find::{Finder, needed_secrets};

/// Where the site that is made up for the role seems to lie.
const SITE: &str = "/made-up/site.yaml";

/// Compiles a role with its defaults; secrets hold placeholders, and roles that its objects need come along.
///
/// `directories` are where roles are looked for, the first one wins.
pub fn check(
    name: &str,
    directories: &[PathBuf],
    vars: &[(String, String)],
    files: &dyn SiteFiles,
) -> Result<Compiled, Diagnostics> {
    let with = company(name, directories, files);
    let mut secrets: Vec<String> = with.iter().flat_map(|role| needed_secrets(role, directories, files)).collect();
    secrets.sort();
    secrets.dedup();
    let declared: Vec<String> = secrets.iter().map(|secret| format!("{secret}: {{environment: MADE_UP}}")).collect();
    let roles: Vec<String> = with.iter().map(|role| format!("{{role: {role}}}")).collect();
    let text = format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: made-up}}\nspec:\n  hosts: {{here: {{address: 192.0.2.10}}}}\n  \
         secrets: {{{}}}\n  roles: [{}]\n",
        declared.join(", "),
        roles.join(", ")
    );
    let request = CompileRequest {
        paths: vec![PathBuf::from(SITE)],
        extra_vars: vars.to_vec(),
        environment: [("MADE_UP".to_owned(), "placeholder".to_owned())].into(),
        role_directories: directories.to_vec(),
        ..CompileRequest::default()
    };
    compile(&request, &WithSite { files, text: text.into_bytes() })
}

/// The role and those that its objects need.
fn company(name: &str, directories: &[PathBuf], files: &dyn SiteFiles) -> Vec<String> {
    let mut with = vec![name.to_owned()];
    let mut next = 0;
    while let Some(role) = with.get(next).cloned() {
        next += 1;
        let mut sources = crate::parse::source::Sources::default();
        let mut errors = Vec::new();
        let wanted = crate::parse::read::At::new(role, crate::parse::source::Place::default());
        let Some(role) = Finder::new(files, directories.to_vec(), &mut sources).find(&wanted, &mut errors) else {
            continue;
        };
        let providers = role.objects.values().filter_map(|written| written.node.get("provider")?.as_text());
        for serving in providers.filter_map(|provider| provider.split('/').next()) {
            if !with.iter().any(|known| known == serving) {
                with.push(serving.to_owned());
            }
        }
    }
    with
}

/// Files, with a site that is in none of them.
struct WithSite<'a> {
    files: &'a dyn SiteFiles,
    text: Vec<u8>,
}

impl SiteFiles for WithSite<'_> {
    fn kind(&self, path: &Path) -> Result<Kind, ReadError> {
        if path == Path::new(SITE) { Ok(Kind::File) } else { self.files.kind(path) }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        if path == Path::new(SITE) { Ok(self.text.clone()) } else { self.files.read(path) }
    }

    fn mode(&self, path: &Path) -> Result<u32, ReadError> {
        self.files.mode(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, ReadError> {
        self.files.list(path)
    }
}

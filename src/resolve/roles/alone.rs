//! A role on its own: checked and rendered with its defaults, on one host, without a site.

use std::path::{Path, PathBuf};

use crate::parse::diagnostic::Diagnostics;
use crate::parse::read::At;
use crate::parse::role::Declared;
use crate::parse::source::{Place, Sources};
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
    let mut secrets: Vec<String> = with.iter().flat_map(|(role, _)| needed_secrets(role, directories, files)).collect();
    secrets.sort();
    secrets.dedup();
    let declared: Vec<String> = secrets.iter().map(|secret| format!("{secret}: {{environment: MADE_UP}}")).collect();
    let roles = with.iter().map(|(role, vars)| format!("{{role: {role}, vars: {{{}}}}}", vars.join(", ")));
    let roles: Vec<String> = roles.collect();
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

/// The role and those that its objects need, each with values for the variables that it requires.
fn company(name: &str, directories: &[PathBuf], files: &dyn SiteFiles) -> Vec<(String, Vec<String>)> {
    let mut with = vec![(name.to_owned(), Vec::new())];
    let mut next = 0;
    while let Some((name, _)) = with.get(next).cloned() {
        let mut sources = Sources::default();
        let mut errors = Vec::new();
        let mut finder = Finder::new(files, directories.to_vec(), &mut sources);
        if let Some(role) = finder.find(&At::new(name, Place::default()), &mut errors) {
            let required = role.vars.iter().filter(|(_, declared)| declared.required && declared.default.is_none());
            let vars = required.map(|(name, declared)| format!("{name}: {}", made_up(declared))).collect();
            let providers = role.objects.values().filter_map(|written| written.node.get("provider")?.as_text());
            for serving in providers.filter_map(|provider| provider.split('/').next()) {
                if !with.iter().any(|(known, _)| known == serving) {
                    with.push((serving.to_owned(), Vec::new()));
                }
            }
            if let Some((_, known)) = with.get_mut(next) {
                *known = vars;
            }
        }
        next += 1;
    }
    with
}

/// A value that fits a variable, as YAML.
fn made_up(declared: &Declared) -> String {
    if let Some(choice) = declared.choices.first() {
        return format!("'{choice}'");
    }
    match declared.kind.as_str() {
        "integer" | "number" | "port" => declared.minimum.unwrap_or(1).to_string(),
        "boolean" => "false".to_owned(),
        "duration" => "1s".to_owned(),
        "size" => "1m".to_owned(),
        "list" => "[]".to_owned(),
        "mapping" => "{}".to_owned(),
        "address" => "192.0.2.20".to_owned(),
        _ => "made-up".to_owned(),
    }
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

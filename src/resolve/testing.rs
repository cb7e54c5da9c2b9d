//! A site's files in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::secret::Sensitive;
use crate::parse::diagnostic::Diagnostics;
use crate::port::site_files::{DecryptError, Kind, ReadError, SiteFiles};

use super::compile::{CompileRequest, Compiled, compile};

/// Files by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<PathBuf, Vec<u8>>);

impl Memory {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect())
    }
}

impl SiteFiles for Memory {
    fn kind(&self, path: &Path) -> Result<Kind, ReadError> {
        if self.0.contains_key(path) {
            Ok(Kind::File)
        } else if self.0.keys().any(|other| other.starts_with(path)) {
            Ok(Kind::Directory)
        } else {
            Err(ReadError::Missing)
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        self.0.get(path).cloned().ok_or(ReadError::Missing)
    }

    fn mode(&self, _path: &Path) -> Result<u32, ReadError> {
        Ok(0o600)
    }

    /// In memory nothing is encrypted: whoever has the identity may read.
    fn decrypt(&self, store: &Path, identity: &Path) -> Result<Sensitive, DecryptError> {
        self.read(identity).map_err(|why| DecryptError::Identity(identity.to_owned(), why))?;
        self.read(store).map(Sensitive::new).map_err(DecryptError::Store)
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, ReadError> {
        let below = self.0.keys().filter_map(|other| other.strip_prefix(path).ok()?.components().next());
        let children: std::collections::BTreeSet<PathBuf> = below.map(|child| path.join(child)).collect();
        Ok(children.into_iter().collect())
    }
}

pub(crate) fn request(paths: &[&str]) -> CompileRequest {
    CompileRequest {
        paths: paths.iter().map(PathBuf::from).collect(),
        hostname: "here".to_owned(),
        environment: BTreeMap::from([("PWD".to_owned(), "/srv".to_owned())]),
        site_key: b"key".to_vec(),
        ..CompileRequest::default()
    }
}

/// Compiles one text as `site.yaml`, with other files beside it.
pub(crate) fn site(text: &str, beside: &[(&str, &str)]) -> Result<Compiled, Diagnostics> {
    let mut files = Memory::new(beside);
    files.0.insert(PathBuf::from("site.yaml"), text.as_bytes().to_vec());
    compile(&request(&["site.yaml"]), &files)
}

/// The envelope around the inside of `spec`, which is written with two spaces of indentation.
pub(crate) fn spec(inside: &str) -> String {
    format!("apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: test}}\nspec:\n{}", inside.trim_start_matches('\n'))
}

/// What is wrong with it, as people see it.
pub(crate) fn errors(inside: &str) -> String {
    match site(&spec(inside), &[("a.txt", "a"), ("b.j2", "{{ nothing }}\n"), ("key", "secret\n")]) {
        Ok(compiled) if compiled.warnings.is_empty() => "it compiles".to_owned(),
        Ok(compiled) => compiled.warnings.render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

//! A site's files as blobs: all that any of its hosts is compiled from, and nothing that is secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::edge::site_files::DiskSiteFiles;
use crate::edge::system_words;
use crate::parse::diagnostic::Diagnostics;
use crate::resolve::compile::{CompileRequest, Compiled, compile_all};

/// etcd takes 1.5 MB at once, with base64 around it on the way.
pub const LARGEST_BLOB: usize = 1_000_000;

/// A site, packed.
#[derive(Debug)]
pub struct Packed {
    /// Each host, as it is compiled here.
    pub compiled: Vec<Compiled>,
    /// What `-f` named, within the files.
    pub paths: Vec<String>,
    /// What `--roles` named, within the files.
    pub role_directories: Vec<String>,
    /// Mode and content of each file.
    pub files: BTreeMap<String, (u32, Vec<u8>)>,
    /// Files that the site names elsewhere on the machine: each host has to have its own.
    pub elsewhere: Vec<PathBuf>,
}

/// Why a site cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is not valid.
    #[error("the site is not valid")]
    Invalid(Box<Diagnostics>),
    /// It would publish a secret.
    #[error("`{}` is secret, and a revision can be read by whoever can read etcd", .0.display())]
    Secret(PathBuf),
    /// It does not fit.
    #[error("`{}` has {size} bytes, and a file of a revision at most {LARGEST_BLOB}", path.display())]
    Large {
        /// Which.
        path: PathBuf,
        /// How many bytes.
        size: usize,
    },
    /// It cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A name that JSON cannot hold.
    #[error("`{}` has a name that is no UTF-8", .0.display())]
    Name(PathBuf),
}

/// Compiles a site for all its hosts, and packs what that has read.
pub fn pack(request: &CompileRequest) -> Result<Packed, PackError> {
    let reader = DiskSiteFiles::new();
    // Only so does it show which files there are: what hosts make of them is their own business.
    let request = CompileRequest { host: None, assume_facts: true, ..request.clone() };
    let compiled = compile_all(&request, &reader).map_err(|errors| PackError::Invalid(Box::new(errors)))?;
    let root = root(&request, compiled.first());
    let private: BTreeSet<PathBuf> = compiled.iter().flat_map(|one| &one.private).map(|path| normal(path)).collect();
    let mut files = BTreeMap::new();
    let mut elsewhere = BTreeSet::new();
    for path in reader.asked() {
        let path = normal(&path);
        if !path.is_file() {
            continue;
        }
        match path.strip_prefix(&root) {
            Err(_) => {
                elsewhere.insert(path);
            }
            Ok(_) if private.contains(&path) => return Err(PackError::Secret(path)),
            Ok(inside) => {
                let name = inside.to_str().ok_or_else(|| PackError::Name(path.clone()))?.to_owned();
                files.insert(name, read(&path)?);
            }
        }
    }
    let within = |path: &PathBuf| {
        let path = normal(path);
        let inside = path.strip_prefix(&root).unwrap_or(&path);
        inside.to_str().map(str::to_owned).ok_or_else(|| PackError::Name(path.clone()))
    };
    let paths = request.paths.iter().map(within).collect::<Result<_, _>>()?;
    let role_directories = request.role_directories.iter().map(within).collect::<Result<_, _>>()?;
    Ok(Packed { compiled, paths, role_directories, files, elsewhere: elsewhere.into_iter().collect() })
}

fn read(path: &Path) -> Result<(u32, Vec<u8>), PackError> {
    let unreadable = |error: std::io::Error| PackError::Unreadable { path: path.to_owned(), why: system_words(&error) };
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
    let content = fs::read(path).map_err(unreadable)?;
    if content.len() > LARGEST_BLOB {
        return Err(PackError::Large { path: path.to_owned(), size: content.len() });
    }
    Ok((mode, content))
}

/// What all parts of the site that were named lie below.
fn root(request: &CompileRequest, compiled: Option<&Compiled>) -> PathBuf {
    let of_file = |path: &PathBuf| {
        if path.is_dir() { path.clone() } else { path.parent().map_or_else(PathBuf::new, Path::to_path_buf) }
    };
    let named = request.paths.iter().map(of_file).chain(request.role_directories.iter().cloned());
    let all = named.chain(compiled.map(|one| one.directory.clone())).map(|path| normal(&path));
    all.reduce(|one, other| {
        one.components().zip(other.components()).take_while(|(one, other)| one == other).map(|(part, _)| part).collect()
    })
    .unwrap_or_default()
}

/// Without `.` and `..`, by the names alone.
fn normal(path: &Path) -> PathBuf {
    let mut outcome = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                outcome.pop();
            }
            part => outcome.push(part),
        }
    }
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SITE: &str = "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: s}\nspec:\n  hosts: {one: {}, two: {}}\n  services:\n    a:\n      image: i:1\n      hosts: [one]\n      files: [{source: page.j2, target: /page}]\n";

    fn request(paths: &[PathBuf]) -> CompileRequest {
        CompileRequest { paths: paths.to_vec(), ..CompileRequest::default() }
    }

    #[test]
    fn what_hosts_are_compiled_from_is_packed_and_what_lies_beside_is_not() {
        let place = tempfile::tempdir().unwrap();
        let site = place.path().join("site");
        fs::create_dir(&site).unwrap();
        fs::write(site.join("site.yaml"), SITE).unwrap();
        fs::write(site.join("page.j2"), "hello").unwrap();
        fs::write(site.join("notes"), "nobody asks for this").unwrap();
        let more = place.path().join("more.yaml");
        fs::write(&more, "spec: {vars: {x: 1}}\n").unwrap();
        let packed = pack(&request(&[site.join("site.yaml")])).unwrap();
        assert_eq!(packed.files.keys().collect::<Vec<_>>(), ["page.j2", "site.yaml"]);
        assert_eq!((packed.paths, packed.compiled.len()), (vec!["site.yaml".to_owned()], 2));
        let packed = pack(&request(&[site.join("site.yaml"), more])).unwrap();
        assert_eq!(packed.paths, ["site/site.yaml", "more.yaml"]);
        assert_eq!(packed.files.keys().collect::<Vec<_>>(), ["more.yaml", "site/page.j2", "site/site.yaml"]);
    }

    #[test]
    fn a_secret_of_the_site_is_not_published_and_one_elsewhere_is_left_to_the_hosts() {
        let place = tempfile::tempdir().unwrap();
        let (site, password) = (place.path().join("site"), place.path().join("password"));
        fs::create_dir(&site).unwrap();
        let with = |path: &str| format!("{SITE}      secrets: [p]\n  secrets: {{p: {{file: {path}}}}}\n");
        fs::write(site.join("page.j2"), "hello").unwrap();
        fs::write(&password, "word").unwrap();
        fs::write(site.join("password"), "word").unwrap();
        fs::write(site.join("site.yaml"), with("password")).unwrap();
        let error = pack(&request(&[site.join("site.yaml")])).unwrap_err();
        assert!(matches!(&error, PackError::Secret(path) if path.ends_with("site/password")), "{error}");
        fs::write(site.join("site.yaml"), with(&password.display().to_string())).unwrap();
        let packed = pack(&request(&[site.join("site.yaml")])).unwrap();
        assert_eq!(packed.elsewhere, [password]);
        assert!(!packed.files.values().any(|(_, content)| content == b"word"));
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("site.yaml"), SITE).unwrap();
        fs::write(place.path().join("page.j2"), vec![b'x'; LARGEST_BLOB + 1]).unwrap();
        let error = pack(&request(&[place.path().join("site.yaml")])).unwrap_err().to_string();
        assert!(error.ends_with("has 1000001 bytes, and a file of a revision at most 1000000"), "{error}");
    }
}

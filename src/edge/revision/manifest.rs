//! What a revision says of itself.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::names::{HostName, SiteName};
use crate::model::ordinals::Ordinals;
use crate::model::time::Timestamp;

/// Everything that is signed of a revision: the files are in it by their hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Site.
    pub site: SiteName,
    /// Its number, one more than its parent's.
    pub generation: u64,
    /// Hex SHA-256 of the manifest that it follows; empty for the first.
    pub parent: String,
    /// Agents that are older do not take it.
    pub minimum_version: Version,
    /// By whom, and where.
    pub pushed_by: String,
    /// When.
    pub pushed_at: Timestamp,
    /// The hosts of the site.
    pub hosts: Vec<HostName>,
    /// The numbers of these and of those that it had.
    #[serde(default, skip_serializing_if = "Ordinals::is_empty")]
    pub ordinals: Ordinals,
    /// What `-f` named, within the files.
    pub paths: Vec<String>,
    /// What `--roles` named, within the files.
    pub role_directories: Vec<String>,
    /// What `-e` gave.
    pub variables: Vec<(String, String)>,
    /// Its files by their paths.
    pub files: BTreeMap<String, FileEntry>,
}

/// A file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Hex SHA-256 of its content.
    pub sha256: String,
    /// Its permissions.
    pub mode: u32,
}

impl FileEntry {
    /// Of a content.
    pub fn of(content: &[u8], mode: u32) -> Self {
        Self { sha256: sha256(content), mode }
    }
}

/// Why a manifest is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Strange(String),
    /// It is of another site.
    #[error("it is of the site `{0}`")]
    Site(SiteName),
    /// It was written for newer agents.
    #[error("it is for mastic {needed} or later, and this is {own}; install that here first")]
    Version {
        /// What it needs.
        needed: Version,
        /// What this is.
        own: Version,
    },
    /// A path leads out of the place where it is unpacked.
    #[error("the path `{0}` leads out of it")]
    Path(String),
}

/// A version of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version([u64; 3]);

impl Version {
    /// Of this program.
    pub fn own() -> Self {
        env!("CARGO_PKG_VERSION").to_owned().try_into().unwrap_or_default()
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no version; write it as 1.2.3");
        // What follows the numbers of a pre-release is not compared.
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<u64> =
            numbers.split('.').map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        parts.try_into().map(Self).map_err(|_| wrong())
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

/// Hex SHA-256.
pub(super) fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// Whether a path stays within the place that it is put below.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_))) && !path.contains('\0')
}

/// What is read first.
#[derive(Deserialize)]
struct Head {
    minimum_version: Version,
}

impl Manifest {
    /// The numbers that hosts have been given; before they were kept they were places.
    pub fn ordinals(&self) -> Ordinals {
        if self.ordinals.is_empty() {
            let places: Vec<_> = self.hosts.iter().map(|host| (host.clone(), None)).collect();
            return Ordinals::default().with(&places);
        }
        self.ordinals.clone()
    }

    /// Reads one, and checks that it can be used for a site by this program.
    pub fn read(content: &[u8], site: &SiteName) -> Result<Self, BadManifest> {
        let strange = |error: serde_json::Error| BadManifest::Strange(error.to_string());
        // Before the rest, which a newer one may write otherwise.
        let head: Head = serde_json::from_slice(content).map_err(strange)?;
        let own = Version::own();
        if head.minimum_version > own {
            return Err(BadManifest::Version { needed: head.minimum_version, own });
        }
        let manifest: Self = serde_json::from_slice(content).map_err(strange)?;
        if manifest.site != *site {
            return Err(BadManifest::Site(manifest.site));
        }
        let paths = manifest.files.keys().chain(&manifest.paths).chain(&manifest.role_directories);
        // The site may be the whole of it.
        match paths.into_iter().find(|path| !path.is_empty() && !is_inside(path)) {
            Some(out) => Err(BadManifest::Path(out.clone())),
            None if manifest.files.contains_key("") => Err(BadManifest::Path(String::new())),
            None => Ok(manifest),
        }
    }

    /// As it is signed.
    pub fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Stands for it.
    pub fn digest(content: &[u8]) -> String {
        sha256(content)
    }

    /// Who pushed what when, for people.
    pub fn line(&self) -> String {
        format!("generation {} was pushed by {} at {}", self.generation, self.pushed_by, self.pushed_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    pub(crate) fn manifest(generation: u64) -> Manifest {
        Manifest {
            site: SiteName::new("demo").unwrap(),
            generation,
            parent: String::new(),
            minimum_version: Version::default(),
            pushed_by: "ann@desk".to_owned(),
            pushed_at: Timestamp(0),
            hosts: vec![HostName::new("one").unwrap()],
            ordinals: Ordinals::default(),
            paths: vec!["site.yaml".to_owned()],
            role_directories: Vec::new(),
            variables: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    fn read(manifest: &Manifest) -> Result<Manifest, BadManifest> {
        Manifest::read(&manifest.bytes().unwrap(), &SiteName::new("demo").unwrap())
    }

    #[test]
    fn what_is_for_others_or_leads_astray_is_not_taken() {
        let good = manifest(3);
        assert_eq!(read(&good), Ok(good.clone()));
        let other = Manifest { site: SiteName::new("other").unwrap(), ..good.clone() };
        assert_eq!(read(&other), Err(BadManifest::Site(other.site.clone())));
        let newer = Manifest { minimum_version: Version([99, 0, 0]), ..good.clone() };
        let error = read(&newer).unwrap_err().to_string();
        assert!(error.starts_with("it is for mastic 99.0.0 or later, and this is "), "{error}");
        for path in ["../x", "/etc/passwd", "a/../../b", "./x", "", "a\0b"] {
            let mut astray = good.clone();
            astray.files.insert(path.to_owned(), FileEntry { sha256: String::new(), mode: 0o644 });
            assert_eq!(read(&astray), Err(BadManifest::Path(path.to_owned())), "{path:?}");
        }
        assert!(matches!(Manifest::read(b"{}", &good.site), Err(BadManifest::Strange(_))));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| Version::try_from(text.to_owned());
        assert!(version("0.10.0").unwrap() > version("0.9.12").unwrap());
        assert_eq!(version("1.2.3-rc.1").unwrap().to_string(), "1.2.3");
        for wrong in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.x"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }
}

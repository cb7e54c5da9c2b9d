//! References to images, and what an image itself sets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::settings::Healthcheck;

/// First part of the names of roles' images where nobody says so.
pub const NAMESPACE: &str = "mastic";
/// Tag of roles' images where nobody says so.
pub const TAG: &str = "latest";

/// A reference as written: `[registry/]repository[:tag][@digest]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef(String);

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImageRefError(String);

impl ImageRefError {
    /// In these words.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl ImageRef {
    /// Checks the reference by the grammar of the OCI distribution specification.
    pub fn new(text: impl Into<String>) -> Result<Self, ImageRefError> {
        let text = text.into();
        let fail = |why: &str| Err(ImageRefError(format!("`{text}` is no image reference: {why}")));
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text.as_str(), None),
        };
        if let Some(digest) = digest {
            let valid = digest.split_once(':').is_some_and(|(algorithm, sum)| {
                !algorithm.is_empty() && sum.len() >= 32 && sum.bytes().all(|b| b.is_ascii_hexdigit())
            });
            if !valid {
                return fail("what follows `@` must be a digest such as sha256:<64 hex digits>");
            }
        }
        let (repository, tag) = split_tag(name);
        if repository.is_empty() {
            return fail("it names no repository");
        }
        if let Some(tag) = tag {
            let valid = !tag.is_empty()
                && tag.len() <= 128
                && !tag.starts_with(['.', '-'])
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
            if !valid {
                return fail("a tag takes letters, digits, `_`, `.` and `-`");
            }
        }
        let path = match repository.split_once('/') {
            Some((registry, path)) if is_registry(registry) => path,
            _ => repository,
        };
        if path.is_empty() || path.bytes().any(|b| b.is_ascii_uppercase()) {
            return fail("a repository is written in lower case");
        }
        let valid = path.split('/').all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-'))
                && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                && part.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
        });
        if valid {
            Ok(Self(text))
        } else {
            fail("a repository takes lower-case letters, digits, `_`, `.`, `-` and `/`")
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is pinned by content.
    pub fn is_digest(&self) -> bool {
        self.0.contains('@')
    }

    /// With the tag that Docker adds where none is given: `busybox` is `busybox:latest`.
    pub fn with_tag(&self) -> String {
        if self.is_digest() || split_tag(&self.0).1.is_some() { self.0.clone() } else { format!("{}:latest", self.0) }
    }

    /// The registry's host and port, as in `auths` of Docker's config.json; none for Docker Hub.
    pub fn registry(&self) -> Option<&str> {
        self.0.split_once('/').map(|(registry, _)| registry).filter(|registry| is_registry(registry))
    }

    /// Without the registry `docker.io` and the namespace `library`, as engines list it.
    pub fn familiar(&self) -> String {
        let tagged = self.with_tag();
        let short = tagged.strip_prefix("docker.io/").unwrap_or(&tagged);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }
}

fn is_registry(part: &str) -> bool {
    part == "localhost" || part.contains('.') || part.contains(':')
}

fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ImageRefError;
    fn try_from(text: String) -> Result<Self, ImageRefError> {
        Self::new(text)
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> Self {
        reference.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The users and groups that an image's own files name. An image never changes, so they are looked up once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// User and group by name.
    pub users: BTreeMap<String, (u32, u32)>,
    /// Group by name.
    pub groups: BTreeMap<String, u32>,
}

/// What an image sets for its containers; live containers show it merged with what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDefaults {
    /// Environment as `NAME -> value`.
    pub environment: BTreeMap<String, String>,
    /// Labels baked into the image.
    pub labels: BTreeMap<String, String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Command.
    pub command: Vec<String>,
    /// User, empty for root.
    pub user: String,
    /// Working directory, empty for `/`.
    pub working_dir: String,
    /// Paths of anonymous volumes.
    pub volumes: Vec<String>,
    /// Exposed ports as `8080/tcp`.
    pub expose: Vec<String>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
    /// Health check.
    pub healthcheck: Option<Healthcheck>,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When a generation is rolled out that changes the instance: the tag is resolved anew.
    Always,
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Never: it must have been loaded.
    Never,
}

//! `images.lock`: what a registry calls images by content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Its name, beside the site.
pub const FILE: &str = "images.lock";
const VERSION: &str = "mastic/v1";
const KIND: &str = "ImageLock";

/// Digests by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// `registry/namespace/image:tag` and `sha256:...`.
    pub images: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_version: String,
    kind: String,
    #[serde(default)]
    images: BTreeMap<String, String>,
}

/// Why a text is no lock.
#[derive(Debug, thiserror::Error)]
#[error("it is no lock of images: {0}; remove it to begin anew")]
pub struct LockError(String);

impl Lock {
    /// Reads it; an empty text is an empty lock.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.trim().is_empty() {
            return Ok(Self { images: BTreeMap::new() });
        }
        let written: Written = serde_yaml::from_str(text).map_err(|error| LockError(error.to_string()))?;
        if written.api_version != VERSION || written.kind != KIND {
            return Err(LockError(format!("expected `{KIND}` of {VERSION}")));
        }
        let wrong = written.images.iter().find(|(_, digest)| !is_digest(digest));
        if let Some((image, digest)) = wrong {
            return Err(LockError(format!("`{digest}` of `{image}` is no digest")));
        }
        Ok(Self { images: written.images })
    }

    /// As text. The same lock is the same text.
    pub fn render(&self) -> String {
        let lines: Vec<String> = self.images.iter().map(|(image, digest)| format!("\n  {image}: {digest}")).collect();
        let images = if lines.is_empty() { " {}".to_owned() } else { lines.concat() };
        format!(
            "# What registries call images by content. Written by `mastic images lock` and `mastic build --push`.\n\
             apiVersion: {VERSION}\nkind: {KIND}\nimages:{images}\n"
        )
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let lock = Lock { images: BTreeMap::from([("127.0.0.1:5000/a/b:1".to_owned(), digest.clone())]) };
        assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
        insta::assert_snapshot!(lock.render(), @"
        # What registries call images by content. Written by `mastic images lock` and `mastic build --push`.
        apiVersion: mastic/v1
        kind: ImageLock
        images:
          127.0.0.1:5000/a/b:1: sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
        ");
        let empty = Lock::parse("").unwrap();
        assert_eq!(Lock::parse(&empty.render()).unwrap(), empty);
    }

    #[test]
    fn other_texts_say_why_they_are_none() {
        let of = |text: &str| Lock::parse(text).unwrap_err().to_string();
        assert!(of("kind: Site\napiVersion: mastic/v1\n").contains("expected `ImageLock`"));
        assert!(of("[").starts_with("it is no lock of images: "));
        let digest = "apiVersion: mastic/v1\nkind: ImageLock\nimages: {a: latest}\n";
        assert!(of(digest).contains("`latest` of `a` is no digest"));
    }
}

//! What an image is made of, as one short text. Where it has not changed, nothing is built.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::definition::Bootstrap;
use super::naming::ImageName;
use super::recipe::Recipe;

/// The label that keeps it.
pub const LABEL: &str = "mastic.build-hash";
/// The label with the image's name.
pub const NAME_LABEL: &str = "mastic.image";
/// In front of the hash: another way of hashing gets another number, and builds everything anew once.
const VERSION: &str = "1";
/// The same for how a root directory is made of packages.
const BOOTSTRAP_VERSION: u32 = 1;

/// Hash of an image. `inputs` are the fingerprints of its inputs by name, `hashes` those of its parents at least.
pub fn hash(recipe: &Recipe, inputs: &BTreeMap<String, String>, hashes: &BTreeMap<ImageName, String>) -> String {
    let mut digest = Sha256::new();
    let mut part = |text: &[u8]| {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    };
    part(recipe.name.as_str().as_bytes());
    part(recipe.dockerfile.as_bytes());
    for (path, file) in &recipe.files {
        part(path.as_bytes());
        part(if file.executable { b"x" } else { b"-" });
        part(&file.content);
    }
    for (name, fingerprint) in inputs {
        part(b"input");
        part(name.as_bytes());
        part(fingerprint.as_bytes());
    }
    for parent in &recipe.parents {
        part(b"parent");
        part(parent.as_str().as_bytes());
        part(hashes.get(parent).map_or(&b""[..], |hash| hash.as_bytes()));
    }
    format!("{VERSION}:{}", hex::encode(digest.finalize()))
}

/// Fingerprint of a file.
pub fn of_content(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// Fingerprint of a root directory that is not made yet: how it will be made.
pub fn of_bootstrap(bootstrap: &Bootstrap) -> String {
    let Bootstrap { suite, mirror, variant, include, components, keyring: _ } = bootstrap;
    let text = serde_json::json!([BOOTSTRAP_VERSION, suite, mirror, variant, include, components]).to_string();
    of_content(text.as_bytes())
}

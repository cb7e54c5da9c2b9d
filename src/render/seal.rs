//! The hashes of a spec: what needs a replace, and all of it.
//!
//! They are keyed (HMAC-SHA256 with the site's key), because they stand in labels and a plain digest of a short secret
//! is as good as the secret. They are versioned: a hash of another version is compared with nothing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::desired::{InstanceDesired, JobDesired};
use crate::model::file::{FileSpec, OnChange};
use crate::model::settings::UPDATABLE;

/// Version of what goes into the hashes. A change of it restarts nothing: mismatches are looked into field by field.
pub const HASH_VERSION: u32 = 1;

/// Hex digits that are kept: 128 bits, short enough to read a label.
const DIGITS: usize = 32;

/// Fills in both hashes of an instance.
pub fn seal_instance(instance: &mut InstanceDesired, key: &[u8]) {
    instance.create_hash = hash(key, "create", &create_input(instance));
    instance.input_hash = hash(key, "input", &spec(instance, &instance.files, &["create_hash", "input_hash"]));
}

/// Fills in what makes a job run again: its `inputs` where it declares them, else image, settings and files.
pub fn seal_job(job: &mut JobDesired, inputs: Option<&Value>, key: &[u8]) {
    let input = match inputs {
        Some(inputs) => json!({ "inputs": inputs }),
        None => json!({
            "image": plain(&job.image),
            "settings": plain(&job.settings),
            "files": job.files.iter().map(file).collect::<Vec<_>>(),
        }),
    };
    job.input_hash = hash(key, "job", &input);
}

fn create_input(instance: &InstanceDesired) -> Value {
    let mut settings = plain(&instance.settings);
    if let Value::Object(settings) = &mut settings {
        settings.retain(|field, _| !UPDATABLE.contains(&field.as_str()));
    }
    let fixed = instance.files.iter().filter(|file| file.on_change == OnChange::Replace);
    json!({
        "image": plain(&instance.image),
        "settings": settings,
        "files": fixed
            .map(|file| json!({
                "target": file.target,
                "content": plain(&file.content),
                "mode": file.mode,
                "owner": plain(&file.owner),
                "group": plain(&file.group),
            }))
            .collect::<Vec<_>>(),
    })
}

fn spec(value: &impl Serialize, files: &[FileSpec], without: &[&str]) -> Value {
    let mut value = plain(value);
    if let Value::Object(fields) = &mut value {
        fields.retain(|field, _| !without.contains(&field.as_str()));
        fields.insert("files".to_owned(), files.iter().map(file).collect());
    }
    value
}

/// A file without what is only for people.
fn file(file: &FileSpec) -> Value {
    let mut value = plain(file);
    if let Value::Object(fields) = &mut value {
        fields.retain(|field, _| !matches!(field.as_str(), "shown" | "source"));
    }
    value
}

fn plain(value: &impl Serialize) -> Value {
    // The model is plain data with text keys, which always becomes JSON.
    serde_json::to_value(value).unwrap_or_default()
}

fn hash(key: &[u8], purpose: &str, input: &Value) -> String {
    // The purpose keeps equal inputs of different hashes apart.
    let text = canonical(&json!([HASH_VERSION, purpose, input]));
    let mut digits = hex::encode(keyed(key, text.as_bytes()));
    digits.truncate(DIGITS);
    format!("{HASH_VERSION}:{digits}")
}

/// HMAC-SHA256. A key longer than a block is hashed first, as RFC 2104 says.
pub fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    let short: &[u8] = if key.len() > block.len() { &Sha256::digest(key) } else { key };
    for (place, byte) in block.iter_mut().zip(short) {
        *place = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The same text for the same value: keys sorted, no spaces.
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Object(entries) => {
                let mut keys: Vec<_> = entries.iter().collect();
                keys.sort_unstable_by_key(|(key, _)| key.as_str());
                Value::Object(keys.into_iter().map(|(key, item)| (key.clone(), sorted(item))).collect::<Map<_, _>>())
            }
            scalar => scalar.clone(),
        }
    }
    sorted(value).to_string()
}

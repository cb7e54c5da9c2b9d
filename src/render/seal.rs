//! The hashes of a spec: what needs a replace, and all of it.
//!
//! They are keyed (HMAC-SHA256 with the site's key), because they stand in labels and a plain digest of a short secret
//! is as good as the secret. They are versioned: a hash of another version is compared with nothing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::desired::{InstanceDesired, JobDesired};
use crate::model::file::{FileSpec, OnChange};
use crate::model::settings::UPDATABLE;

/// Version of what goes into the hashes. A change of it restarts nothing: mismatches are looked into field by field.
pub const HASH_VERSION: u32 = 1;

/// Hex digits that are kept: 128 bits, short enough to read a label.
const DIGITS: usize = 32;

/// Fills in both hashes of an instance. What is only for people (shown texts, sources, what is hidden) is not in them.
pub fn seal_instance(instance: &mut InstanceDesired, key: &[u8]) {
    instance.create_hash = hash(key, "create", &create_input(instance));
    instance.input_hash =
        hash(key, "input", &spec(instance, &instance.files, &["create_hash", "input_hash", "sensitive", "steps"]));
}

/// Fills in what makes a job run again: its `inputs` where it declares them, else image, settings and files.
pub fn seal_job(job: &mut JobDesired, inputs: Option<&Value>, key: &[u8]) {
    let input = match inputs {
        Some(inputs) => json!({ "inputs": inputs }),
        None => object([
            ("image", plain(&job.image)),
            ("settings", plain(&job.settings)),
            ("files", job.files.iter().map(file).collect()),
        ]),
    };
    job.input_hash = hash(key, "job", &input);
}

/// A name for what a change is about: the same where nothing of that has changed.
pub fn version(key: &[u8], about: &Value) -> String {
    hash(key, "change", about)
}

fn create_input(instance: &InstanceDesired) -> Value {
    let mut settings = plain(&instance.settings);
    if let Value::Object(settings) = &mut settings {
        settings.retain(|field, _| !UPDATABLE.contains(&field.as_str()));
    }
    let fixed = instance.files.iter().filter(|file| file.on_change == OnChange::Replace);
    let files = fixed.map(|file| {
        object([
            ("target", plain(&file.target)),
            ("content", plain(&file.content)),
            ("mode", plain(&file.mode)),
            ("owner", plain(&file.owner)),
            ("group", plain(&file.group)),
        ])
    });
    object([("image", plain(&instance.image)), ("settings", settings), ("files", files.collect())])
}

/// As `json!` makes it, which copies what it is made of.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
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
    let mut text = format!("[{HASH_VERSION},\"{purpose}\",");
    write_canonical(input, &mut text);
    text.push(']');
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
    let mut text = String::with_capacity(1024);
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_text(key, text);
                text.push(':');
                write_canonical(item, text);
            }
            text.push('}');
        }
        Value::String(string) => write_text(string, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_text(string: &str, text: &mut String) {
    if string.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&Value::from(string).to_string());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::file::{Owner, Shown};
    use crate::model::image::ImageRef;
    use crate::model::secret::Sensitive;
    use crate::model::settings::{Mount, RestartPolicy};

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let cases = [
            (vec![0x0b; 20], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(hex::encode(keyed(&key, message)), expected);
        }
    }

    #[test]
    fn canonical_text_does_not_depend_on_order() {
        let one: Value = serde_json::from_str(r#"{"b": [1, {"y": 1, "x": "é"}], "a": null}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"a": null, "b": [1, {"x": "é", "y": 1}]}"#).unwrap();
        assert_eq!(canonical(&one), r#"{"a":null,"b":[1,{"x":"é","y":1}]}"#);
        assert_eq!(canonical(&one), canonical(&two));
        let odd = json!({"a\"b\\": ["\n\u{1}\u{7f}ü", 1.5, -3, true, {}, []]});
        assert_eq!(canonical(&odd), odd.to_string());
    }

    fn file(target: &str, on_change: OnChange) -> FileSpec {
        FileSpec {
            target: target.to_owned(),
            source: Some("a.j2".to_owned()),
            content: Sensitive::new("content"),
            shown: Shown::Text("content".to_owned()),
            mode: 0o644,
            owner: Owner::Id(0),
            group: Owner::Id(0),
            on_change,
            path: "fixed/0".to_owned(),
            fileset: None,
        }
    }

    fn instance() -> InstanceDesired {
        let mut instance: InstanceDesired = serde_json::from_value(json!({
            "service": "web", "role": null, "container_name": "web", "image": "busybox:1",
            "pull_policy": "missing", "settings": {}, "networks": {}, "files": [], "reload": {}, "ready": null,
            "rollout": plain(&crate::model::desired::Rollout::default()), "depends_on": {},
            "unhealthy": "report", "drift_ignore": [], "hooks": {}, "sensitive": [], "create_hash": "", "input_hash": "",
        }))
        .unwrap();
        instance.files = vec![file("/fixed", OnChange::Replace), file("/live/a", OnChange::Reload)];
        instance
    }

    fn sealed(change: impl FnOnce(&mut InstanceDesired)) -> (String, String) {
        let mut instance = instance();
        change(&mut instance);
        seal_instance(&mut instance, b"key");
        (instance.create_hash, instance.input_hash)
    }

    #[test]
    fn create_hash_covers_what_needs_a_replace_and_input_hash_all() {
        type Change = fn(&mut InstanceDesired);
        let base = sealed(|_| {});
        assert!(base.0.starts_with("1:") && base.0.len() == 34, "{}", base.0);
        // What changes: (create hash, input hash).
        let cases: [(&str, Change, (bool, bool)); 15] = [
            ("nothing", |_| {}, (false, false)),
            ("sealed before", |it| seal_instance(it, b"other"), (false, false)),
            ("shown", |it| it.files[0].shown = Shown::Opaque(3), (false, false)),
            ("source", |it| it.files[0].source = None, (false, false)),
            ("command", |it| it.settings.command = Some(vec!["x".to_owned()]), (true, true)),
            ("image", |it| it.image = ImageRef::new("busybox:2").unwrap(), (true, true)),
            ("limit", |it| it.settings.mem_limit = Some(1), (false, true)),
            ("restart", |it| it.settings.restart = Some(RestartPolicy::No), (false, true)),
            ("fixed content", |it| it.files[0].content = Sensitive::new("x"), (true, true)),
            ("fixed mode", |it| it.files[0].mode = 0o600, (true, true)),
            ("fixed owner", |it| it.files[0].owner = Owner::Name("x".to_owned()), (true, true)),
            ("live content", |it| it.files[1].content = Sensitive::new("x"), (false, true)),
            (
                "mounts",
                |it| {
                    let mount = Mount::Managed { path: "live/0".to_owned() };
                    it.settings.volumes = Some(BTreeMap::from([("/live".to_owned(), mount)]));
                },
                (true, true),
            ),
            ("reload", |it| it.reload.signal = Some("SIGHUP".to_owned()), (false, true)),
            ("rollout", |it| it.rollout.max_unavailable = 2, (false, true)),
        ];
        for (name, change, expected) in cases {
            let changed = sealed(change);
            assert_eq!((changed.0 != base.0, changed.1 != base.1), expected, "{name}");
        }
    }

    #[test]
    fn hashes_depend_on_the_key() {
        let mut other = instance();
        seal_instance(&mut other, b"another key");
        assert_ne!(other.create_hash, sealed(|_| {}).0);
    }

    #[test]
    fn the_hash_of_version_one_stays_as_it_is() {
        insta::assert_snapshot!(sealed(|_| {}).0, @"1:951e98091ea399e013566ae4c4602d89");
    }
}

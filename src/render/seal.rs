//! The hashes of a spec: what needs a replace, and all of it.
//!
//! They are keyed (HMAC-SHA256 with the site's key), because they stand in labels and a plain digest of a short secret
//! is as good as the secret. They are versioned: a hash of another version is compared with nothing.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::desired::{InstanceDesired, JobDesired};
use crate::model::file::OnChange;
use crate::model::settings::UPDATABLE;

/// Version of what goes into the hashes. A change of it restarts nothing: mismatches are looked into field by field.
pub const HASH_VERSION: u32 = 1;

/// Hex digits that are kept: 128 bits, short enough to read a label.
const DIGITS: usize = 32;

/// Fills in both hashes of an instance. What is only for people (shown texts, sources, what is hidden) is not in them.
pub fn seal_instance(instance: &mut InstanceDesired, key: &[u8]) {
    let mut fields = fields(plain(&*instance));
    fields.retain(|field, _| !matches!(field.as_str(), "create_hash" | "input_hash" | "sensitive" | "steps"));
    let files = fields.entry("files").or_insert_with(|| Value::Array(Vec::new()));
    files.as_array_mut().into_iter().flatten().for_each(for_programs);
    let fields = fields;
    instance.create_hash = hash(key, "create", |text| write_create(&fields, text));
    instance.input_hash = hash(key, "input", |text| write_entries(&fields, |_| true, text));
}

/// Fills in what makes a job run again: its `inputs` where it declares them, else image, settings and files.
pub fn seal_job(job: &mut JobDesired, inputs: Option<&Value>, key: &[u8]) {
    let input = match inputs {
        Some(inputs) => json!({ "inputs": inputs }),
        None => {
            let mut files = plain(&job.files);
            files.as_array_mut().into_iter().flatten().for_each(for_programs);
            json!({ "image": job.image, "settings": job.settings, "files": files })
        }
    };
    job.input_hash = hash(key, "job", |text| write_canonical(&input, text));
}

/// A name for what a change is about: the same where nothing of that has changed.
pub fn version(key: &[u8], about: &Value) -> String {
    hash(key, "change", |text| write_canonical(about, text))
}

/// What of an instance needs a replace: its image, settings and files of that class.
fn write_create(fields: &Map<String, Value>, text: &mut String) {
    text.push_str("{\"files\":[");
    let replace = plain(&OnChange::Replace);
    let files = fields.get("files").and_then(Value::as_array).into_iter().flatten();
    let fixed = files.filter_map(Value::as_object).filter(|file| file.get("on_change") == Some(&replace));
    for (index, file) in fixed.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_entries(file, |field| matches!(field, "target" | "content" | "mode" | "owner" | "group"), text);
    }
    text.push_str("],\"image\":");
    write_canonical(fields.get("image").unwrap_or(&Value::Null), text);
    text.push_str(",\"settings\":");
    match fields.get("settings") {
        Some(Value::Object(settings)) => write_entries(settings, |field| !UPDATABLE.contains(&field), text),
        _ => text.push_str("{}"),
    }
    text.push('}');
}

/// Takes from a file what is only for people.
fn for_programs(file: &mut Value) {
    if let Value::Object(fields) = file {
        fields.retain(|field, _| !matches!(field.as_str(), "shown" | "source"));
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn plain(value: &impl Serialize) -> Value {
    // The model is plain data with text keys, which always becomes JSON.
    serde_json::to_value(value).unwrap_or_default()
}

fn hash(key: &[u8], purpose: &str, write: impl FnOnce(&mut String)) -> String {
    // The purpose keeps equal inputs of different hashes apart.
    let mut text = String::with_capacity(1024);
    let _ = write!(text, "[{HASH_VERSION},\"{purpose}\",");
    write(&mut text);
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
        Value::Object(entries) => write_entries(entries, |_| true, text),
        Value::String(string) => write_text(string, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Those of the entries that are chosen.
fn write_entries(entries: &Map<String, Value>, chosen: impl Fn(&str) -> bool, text: &mut String) {
    let mut entries: Vec<_> = entries.iter().filter(|(key, _)| chosen(key)).collect();
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
    use crate::model::file::{FileSpec, Owner, Shown};
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
        let cases: [(&str, Change, (bool, bool)); 16] = [
            ("nothing", |_| {}, (false, false)),
            ("sealed before", |it| seal_instance(it, b"other"), (false, false)),
            ("hidden", |it| it.sensitive.extend(["environment.A".to_owned()]), (false, false)),
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

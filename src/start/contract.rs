//! `config.json` or `config.yaml` becomes a [`Contract`], or what is wrong with it, with the key.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::kolla::{Contract, Made, is_pattern};

use super::problem::Problem;

/// The two ways of writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `config.json`.
    Json,
    /// `config.yaml`, which is read instead where there is one.
    Yaml,
}

/// Reads it. `file` is its path, for messages.
pub fn read(text: &str, syntax: Syntax, file: &str) -> Result<Contract, Problem> {
    let invalid = |why: String| Problem::Invalid { file: file.to_owned(), why };
    let value = match syntax {
        Syntax::Json => {
            serde_json::from_str::<Value>(text).map_err(|why| invalid(format!("this is no JSON: {why}")))?
        }
        Syntax::Yaml => {
            serde_yaml::from_str::<Value>(text).map_err(|why| invalid(format!("this is no YAML: {why}")))?
        }
    };
    let Value::Object(mut keys) = value else {
        return Err(invalid("this is no mapping with the key `command`".to_owned()));
    };
    let command = match keys.remove("command") {
        Some(Value::String(command)) => command,
        Some(_) => return Err(unknown(file, "command", "it must be a text")),
        None => return Err(invalid("the key `command` is missing".to_owned())),
    };
    // The sections are looked through in this order, so that the first thing that is wrong is told.
    let config_files = items(&mut keys, "config_files", file, required_of_file)?;
    let directories = items(&mut keys, "directories", file, required_of_made)?;
    let files = items(&mut keys, "files", file, required_of_made)?;
    let permissions = items(&mut keys, "permissions", file, |_| Ok(()))?;
    let contract = Contract { command, config_files, permissions, directories, files };
    let made = |section: &'static str, all: &[Made]| {
        let pattern = all.iter().enumerate().find(|(_, made)| is_pattern(&made.path));
        pattern.map_or(Ok(()), |(index, made)| {
            Err(invalid(format!("{section}[{index}].path: `{}` is a pattern, and one path is needed", made.path)))
        })
    };
    made("directories", &contract.directories)?;
    made("files", &contract.files)?;
    Ok(contract)
}

fn unknown(file: &str, key: &str, why: &str) -> Problem {
    Problem::Unknown { file: file.to_owned(), why: format!("{key}: {why}") }
}

/// The items of a section. `required` says which key an item lacks.
fn items<T: DeserializeOwned>(
    keys: &mut Map<String, Value>,
    section: &str,
    file: &str,
    required: impl Fn(&Map<String, Value>) -> Result<(), String>,
) -> Result<Vec<T>, Problem> {
    let list = match keys.remove(section) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(unknown(file, section, "it must be a list")),
    };
    let read = list.into_iter().enumerate().map(|(index, item)| {
        let key = format!("{section}[{index}]");
        if let Value::Object(item) = &item {
            required(item).map_err(|why| Problem::Invalid { file: file.to_owned(), why: format!("{key}: {why}") })?;
        }
        serde_json::from_value(item).map_err(|why| unknown(file, &key, &why.to_string()))
    });
    read.collect()
}

fn required_of_file(item: &Map<String, Value>) -> Result<(), String> {
    if let Some(key) = ["source", "dest"].into_iter().find(|key| !item.contains_key(*key)) {
        return Err(format!("the key `{key}` is missing"));
    }
    let preserves = item.get("preserve_properties") == Some(&Value::Bool(true));
    match ["owner", "perm"].into_iter().find(|key| !item.contains_key(*key)) {
        Some(key) if !preserves => Err(format!("it needs the key `{key}`, or `preserve_properties`")),
        _ => Ok(()),
    }
}

fn required_of_made(item: &Map<String, Value>) -> Result<(), String> {
    let missing = ["path", "owner", "perm"].into_iter().find(|key| item.get(*key).is_none_or(Value::is_null));
    missing.map_or(Ok(()), |key| Err(format!("the key `{key}` is missing")))
}

#[cfg(test)]
mod tests {
    use super::{Syntax, read};

    fn wrong(text: &str) -> String {
        match read(text, Syntax::Json, "config.json") {
            Ok(contract) => format!("it is read: {contract:?}"),
            Err(problem) => format!("{} ({})", problem, problem.exit_code()),
        }
    }

    #[test]
    fn both_syntaxes_say_the_same() {
        let json =
            r#"{"command": "a b", "config_files": [{"source": "/s", "dest": "/d", "owner": "o", "perm": "0600"}]}"#;
        let yaml = "command: a b\nconfig_files: [{source: /s, dest: /d, owner: o, perm: '0600'}]\n";
        let read = |text, syntax| read(text, syntax, "f").map_err(|problem| problem.to_string());
        assert_eq!(read(json, Syntax::Json), read(yaml, Syntax::Yaml));
        assert!(read(yaml, Syntax::Yaml).is_ok());
        assert!(read("", Syntax::Yaml).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        let file = |inside: &str| format!(r#"{{"command": "x", "config_files": [{{{inside}}}]}}"#);
        let all = [
            wrong("{"),
            wrong("[]"),
            wrong("{}"),
            wrong(r#"{"command": ["x"]}"#),
            wrong(r#"{"command": "x", "config_files": {}}"#),
            wrong(&file(r#""dest": "/d""#)),
            wrong(&file(r#""source": "/s", "dest": "/d", "owner": "o""#)),
            wrong(&file(r#""source": "/s", "dest": "/d", "owner": "o", "perm": "0600", "mode": 1"#)),
            wrong(&file(r#""source": "/s", "dest": "/d", "owner": "o", "perm": 600"#)),
            wrong(r#"{"command": "x", "directories": [{"path": "/a", "owner": null, "perm": "0755"}]}"#),
            wrong(r#"{"command": "x", "files": [{"path": "/a*", "owner": "o", "perm": "0755"}]}"#),
            wrong(r#"{"command": "x", "permissions": [{"path": "/a"}]}"#),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        config.json: this is no JSON: EOF while parsing an object at line 1 column 1 (1)
        config.json: this is no mapping with the key `command` (1)
        config.json: the key `command` is missing (1)
        config.json: command: it must be a text (2)
        config.json: config_files: it must be a list (2)
        config.json: config_files[0]: the key `source` is missing (1)
        config.json: config_files[0]: it needs the key `perm`, or `preserve_properties` (1)
        config.json: config_files[0]: unknown field `mode`, expected one of `source`, `dest`, `owner`, `perm`, `optional`, `preserve_properties`, `merge` (2)
        config.json: config_files[0]: invalid type: integer `600`, expected a string (2)
        config.json: directories[0]: the key `owner` is missing (1)
        config.json: files[0].path: `/a*` is a pattern, and one path is needed (1)
        config.json: permissions[0]: missing field `owner` (2)
        "#);
    }

    #[test]
    fn unknown_sections_are_for_other_programs() {
        assert!(read(r#"{"command": "x", "later": 1}"#, Syntax::Json, "f").is_ok());
    }
}

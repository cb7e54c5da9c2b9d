//! Filters that write and read JSON and YAML.

use std::fmt::Write as _;

use minijinja::Error;
use minijinja::Value;
use minijinja::value::Serde;

use super::super::safe_error::refuse;
use super::given;

fn plain(value: &Value) -> Result<serde_json::Value, Error> {
    serde_json::to_value(given(value)?).map_err(|_| refuse("the value cannot be converted"))
}

/// Python's spacing (`", "`, `": "`), so that files stay as Ansible wrote them; characters are not escaped.
pub(super) fn json(value: &Value, indent: Option<usize>) -> Result<String, Error> {
    let mut value = plain(value)?;
    if indent.is_some() {
        value.sort_all_objects();
    }
    let mut result = String::new();
    write_json(&value, indent, 0, &mut result);
    Ok(result)
}

fn write_json(value: &serde_json::Value, indent: Option<usize>, depth: usize, result: &mut String) {
    fn separate(first: bool, indent: Option<usize>, depth: usize, result: &mut String) {
        match (first, indent) {
            (true, None) => {}
            (false, None) => result.push_str(", "),
            (first, Some(width)) => {
                result.push_str(if first { "\n" } else { ",\n" });
                result.extend(std::iter::repeat_n(' ', width * depth));
            }
        }
    }
    fn close(end: char, indent: Option<usize>, depth: usize, result: &mut String) {
        if let Some(width) = indent {
            result.push('\n');
            result.extend(std::iter::repeat_n(' ', width * depth));
        }
        result.push(end);
    }
    match value {
        serde_json::Value::Array(items) if !items.is_empty() => {
            result.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index == 0, indent, depth + 1, result);
                write_json(item, indent, depth + 1, result);
            }
            close(']', indent, depth, result);
        }
        serde_json::Value::Object(entries) if !entries.is_empty() => {
            result.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                separate(index == 0, indent, depth + 1, result);
                let _ = write!(result, "{}: ", serde_json::Value::String(key.clone()));
                write_json(item, indent, depth + 1, result);
            }
            close('}', indent, depth, result);
        }
        scalar => {
            let _ = write!(result, "{scalar}");
        }
    }
}

pub(super) fn from_json(text: String) -> Result<Value, Error> {
    serde_json::from_str::<serde_json::Value>(&text)
        .map(|value| Value::from(Serde(value)))
        .map_err(|_| refuse("this is no JSON"))
}

pub(super) fn yaml(value: &Value) -> Result<String, Error> {
    serde_yaml::to_string(&plain(value)?).map_err(|_| refuse("the value cannot be converted"))
}

pub(super) fn from_yaml(text: String) -> Result<Value, Error> {
    serde_yaml::from_str::<serde_json::Value>(&text)
        .map(|value| Value::from(Serde(value)))
        .map_err(|_| refuse("this is no YAML"))
}

//! Filters of lists and mappings.

use std::collections::BTreeSet;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, Value};

use super::super::safe_error::refuse;
use super::{given, list};

pub(super) fn combine(first: &Value, others: Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let recursive = options.get::<Option<bool>>("recursive").map_err(|_| refuse("`recursive` has to be a boolean"))?;
    options.assert_all_used()?;
    let mut result = given(first)?.clone();
    let mut rest: Vec<Value> = Vec::new();
    for other in others.iter() {
        match given(other)?.kind() {
            ValueKind::Seq | ValueKind::Iterable => rest.extend(list(other)?),
            _ => rest.push(other.clone()),
        }
    }
    if result.kind() != ValueKind::Map || rest.iter().any(|other| other.kind() != ValueKind::Map) {
        return Err(refuse("mappings are needed"));
    }
    for other in rest {
        result = merge(&result, &other, recursive.unwrap_or(false), 0)?;
    }
    Ok(result)
}

fn merge(low: &Value, high: &Value, recursive: bool, depth: usize) -> Result<Value, Error> {
    if depth > 64 {
        return Err(refuse("mappings nest too deeply"));
    }
    let mut entries: indexmap::IndexMap<Value, Value> = indexmap::IndexMap::new();
    for key in low.try_iter()? {
        let value = low.get_item(&key)?;
        entries.insert(key, value);
    }
    for key in high.try_iter()? {
        let value = high.get_item(&key)?;
        let merged = match entries.get(&key) {
            Some(old) if recursive && old.kind() == ValueKind::Map && value.kind() == ValueKind::Map => {
                merge(old, &value, true, depth + 1)?
            }
            _ => value,
        };
        entries.insert(key, merged);
    }
    Ok(Value::from_pairs(entries))
}

pub(super) fn extract(key: &Value, container: &Value, more: Option<Value>) -> Result<Value, Error> {
    let missing = || Error::from(minijinja::ErrorKind::UndefinedError);
    let mut value = given(container)?.get_item(given(key)?).map_err(|_| missing())?;
    let keys = match more {
        None => Vec::new(),
        Some(more) if more.kind() == ValueKind::Seq => list(&more)?,
        Some(more) => vec![more],
    };
    for key in keys {
        value = given(&value)?.get_item(&key).map_err(|_| missing())?;
    }
    given(&value).cloned()
}

pub(super) fn flatten(value: &Value) -> Result<Value, Error> {
    fn into(value: &Value, result: &mut Vec<Value>, depth: usize) -> Result<(), Error> {
        if depth > 64 {
            return Err(refuse("lists nest too deeply"));
        }
        for item in list(value)? {
            match item.kind() {
                ValueKind::Seq | ValueKind::Iterable => into(&item, result, depth + 1)?,
                _ => result.push(item),
            }
        }
        Ok(())
    }
    let mut result = Vec::new();
    into(value, &mut result, 0)?;
    Ok(Value::from(result))
}

fn distinct(items: impl Iterator<Item = Value>) -> Value {
    let mut seen = BTreeSet::new();
    items.filter(|item| seen.insert(item.clone())).collect::<Vec<_>>().into()
}

pub(super) fn union(left: &Value, right: &Value) -> Result<Value, Error> {
    Ok(distinct(list(left)?.into_iter().chain(list(right)?)))
}

pub(super) fn intersect(left: &Value, right: &Value) -> Result<Value, Error> {
    let right = list(right)?;
    Ok(distinct(list(left)?.into_iter().filter(|item| right.contains(item))))
}

pub(super) fn difference(left: &Value, right: &Value) -> Result<Value, Error> {
    let right = list(right)?;
    Ok(distinct(list(left)?.into_iter().filter(|item| !right.contains(item))))
}

pub(super) fn dict2items(value: &Value) -> Result<Value, Error> {
    if given(value)?.kind() != ValueKind::Map {
        return Err(refuse("a mapping is needed"));
    }
    value
        .try_iter()?
        .map(|key| {
            let item = value.get_item(&key)?;
            Ok(Value::from_pairs([("key", key), ("value", item)]))
        })
        .collect::<Result<Vec<_>, Error>>()
        .map(Value::from)
}

pub(super) fn items2dict(value: &Value) -> Result<Value, Error> {
    let pairs = list(value)?
        .iter()
        .map(|item| {
            let part = |name| item.get_attr(name).ok().filter(|part| !part.is_undefined());
            part("key").zip(part("value")).ok_or_else(|| refuse("items with `key` and `value` are needed"))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Value::from_pairs(pairs))
}

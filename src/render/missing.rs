//! Facts that are not known: in plain data a mark, for templates a value that fails whoever uses it, by the name of the fact.
//!
//! What only passes such a value on without looking at it, as some filters do, ends with its mark in the output; that is
//! looked for at the end. What only puts other things in order by it (`sort(attribute=...)`) does not notice.

use minijinja::Value;
use minijinja::value::{Serde, ValueKind};
use serde_json::Value as Json;

use super::safe_error::{Kind, TemplateError, carry_as};
use crate::model::facts::MissingFact;
use crate::model::names::HostName;

/// No text has it: it is a code point that no character will ever be given.
const MARK: char = '\u{10fffe}';

/// The mark of a fact in plain data.
pub fn mark(fact: &MissingFact) -> String {
    format!("{MARK}{}{MARK}{}{MARK}", fact.host, fact.message)
}

/// The fact whose mark is in a text.
pub fn find(text: &str) -> Option<MissingFact> {
    let mut parts = text.split(MARK).skip(1);
    let (host, message) = (parts.next()?, parts.next()?);
    let host = HostName::new(host).ok()?;
    Some(MissingFact { host, message: message.to_owned() })
}

/// Plain data as templates see it.
pub(super) fn value(json: &Json) -> Value {
    if !is_marked(json) {
        return Value::from(Serde(json));
    }
    match json {
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(entries) => Value::from_pairs(entries.iter().map(|(key, item)| (key.clone(), value(item)))),
        Json::String(text) => match find(text) {
            Some(fact) => failing(fact),
            None => Value::from(text.as_str()),
        },
        other => Value::from(Serde(other)),
    }
}

fn failing(fact: MissingFact) -> Value {
    // What is made of the value without looking at it holds this text.
    let text = mark(&fact);
    Value::from(carry_as(TemplateError::waiting(fact), text))
}

fn is_marked(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains(MARK),
        Json::Array(items) => items.iter().any(is_marked),
        Json::Object(entries) => entries.values().any(is_marked),
        _ => false,
    }
}

/// The fact for want of which a value fails; none of one that does not.
pub(super) fn of(value: &Value) -> Option<MissingFact> {
    if value.kind() == ValueKind::Invalid { find(&value.to_string()) } else { None }
}

/// Fails a text into which a fact went that is not known.
pub(super) fn check(text: &str) -> Result<(), TemplateError> {
    match find(text) {
        Some(fact) => Err(TemplateError::waiting(fact)),
        None if text.contains(MARK) => Err(TemplateError::new(Kind::Waiting, "facts", "a fact is not known yet")),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::super::template::Templates;
    use super::super::variables::Context;
    use super::*;

    #[test]
    fn whoever_uses_what_is_not_known_fails_by_its_name_and_nobody_else_does() {
        let fact = MissingFact { host: HostName::new("ctl3").unwrap(), message: "the address of `ctl3`".to_owned() };
        let hosts = json!([
            {"name": "ctl1", "address": {"api": "10.0.0.1"}, "cpus": 4},
            {"name": "ctl3", "address": {"api": mark(&fact)}, "cpus": mark(&fact)},
        ]);
        let context = Context::builder().data("hosts", &hosts).build();
        let templates = Templates::new(|_| None);
        let known = [
            ("{{ hosts | map(attribute='name') | join(',') }}", json!("ctl1,ctl3")),
            ("{{ hosts[0].address.api }}", json!("10.0.0.1")),
            ("{{ hosts | length }}", json!(2)),
            ("{% for h in hosts if h.name == 'ctl1' %}{{ h.address.api }}{% endfor %}", json!("10.0.0.1")),
        ];
        for (text, expected) in known {
            assert_eq!(templates.evaluate("here", text, &context).unwrap().value, expected, "{text}");
        }
        let unknown = [
            "{{ hosts[1].address.api }}",
            "http://{{ hosts[1].address.api }}:80",
            "{{ hosts[1].address.api | default('127.0.0.1') }}",
            "{{ hosts[1].address.api is defined }}",
            "{% if hosts[1].cpus > 8 %}many{% endif %}",
            "{% for h in hosts %}{{ h.address.api }} {% endfor %}",
            "{{ hosts | map(attribute='address.api') | join(',') }}",
            "{{ hosts | map(attribute='address.api') | list }}",
            "{{ hosts | map(attribute='address.api') | map('upper') | join(',') }}",
            "{{ hosts | map(attribute='cpus') | sum }}",
            "{{ hosts[1].address | items | list }}",
            "{{ hosts[1] }}",
            "{{ hosts[1] | tojson }}",
            "{{ hosts | selectattr('cpus', '>', 2) | list }}",
        ];
        for text in unknown {
            let found = templates.evaluate("here", text, &context);
            let error = found.map(|evaluated| evaluated.value).unwrap_err();
            assert_eq!((error.kind, error.waits.as_ref()), (Kind::Waiting, Some(&fact)), "{text}: {error:?}");
        }
    }
}

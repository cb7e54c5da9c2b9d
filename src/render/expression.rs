//! Questions about a service as a whole, as roles write them: `peers.none("running and wsrep.status == 'Primary'")`.
//!
//! The answer is true, false or not known. What is not known makes the answer not known, unless it does not matter: one
//! member for which it is true is enough for `any`, whatever the others would say. Inside of one expression what stands
//! first decides: `a or b` looks at `b` only where `a` is false.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::parse::suggest::did_you_mean;

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody can say.
    Unknown,
}

impl From<bool> for Answer {
    fn from(is_so: bool) -> Self {
        if is_so { Self::True } else { Self::False }
    }
}

/// What is known of one member, by name; what is not known is not in it.
pub type Facts = BTreeMap<String, Json>;

/// So many things that are not known are tried out both ways; of more nothing is known.
const MOST_UNKNOWN: u32 = 6;

/// What can be asked of the members.
const METHODS: [&str; 4] = ["any", "all", "none", "count"];

/// Why an expression is none. The range is that of the text that is at fault, where it is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Wrong {
    /// For people.
    pub message: String,
    /// What it may have been meant for.
    pub help: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }
}

/// One question to all members.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quantifier {
    method: &'static str,
    inner: String,
}

/// An expression with its questions to the members taken out: each stands in `outer` by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Split {
    outer: String,
    quantifiers: Vec<Quantifier>,
}

fn placeholder(number: usize) -> String {
    format!("asked_{number}")
}

fn split(text: &str) -> Result<Split, Wrong> {
    let mut outer = String::new();
    let mut quantifiers = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("peers.") {
        outer.push_str(&rest[..at]);
        let after = &rest[at + "peers.".len()..];
        let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, after) = after.split_at(length);
        let Some(method) = METHODS.into_iter().find(|method| *method == name) else {
            let wrong = Wrong::new(format!("`peers.{name}` cannot be asked; there are {}", METHODS.join(", ")));
            return Err(Wrong { help: did_you_mean(name, METHODS), ..wrong });
        };
        let malformed = || Wrong::new(format!("`peers.{name}` takes one expression as text: `peers.{name}(\"...\")`"));
        let after = after.trim_start().strip_prefix('(').ok_or_else(malformed)?.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\'')).ok_or_else(malformed)?;
        let (inner, after) = after[1..].split_once(quote).ok_or_else(malformed)?;
        rest = after.trim_start().strip_prefix(')').ok_or_else(malformed)?;
        outer.push_str(&placeholder(quantifiers.len()));
        quantifiers.push(Quantifier { method, inner: inner.to_owned() });
    }
    outer.push_str(rest);
    Ok(Split { outer, quantifiers })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(10_000));
    environment
}

/// Checks an expression that may ask the members. `names` are what is known of a member.
pub fn check(text: &str, names: &[&str]) -> Result<(), Wrong> {
    let Split { outer, quantifiers } = split(text)?;
    let mut known: Vec<String> = (0..quantifiers.len()).map(placeholder).collect();
    known.push("members".to_owned());
    known.extend(names.iter().map(|name| format!("self.{name}")));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    check_names(&outer, &known)?;
    for quantifier in &quantifiers {
        check_of_member(&quantifier.inner, names)?;
    }
    Ok(())
}

/// Checks an expression about one member alone.
pub fn check_of_member(text: &str, names: &[&str]) -> Result<(), Wrong> {
    check_names(text, names)
}

fn check_names(text: &str, known: &[&str]) -> Result<(), Wrong> {
    let environment = environment();
    let compiled = environment.compile_expression(text).map_err(|error| {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        Wrong::new(format!("`{text}` is no expression: {detail}"))
    })?;
    let is_known = |name: &str| {
        known.iter().any(|one| name == *one || name.strip_prefix(one).is_some_and(|rest| rest.starts_with('.')))
    };
    let mut used: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
    used.sort();
    match used.into_iter().find(|name| !is_known(name)) {
        Some(name) => {
            let first = name.split('.').next().unwrap_or_default();
            let meant =
                did_you_mean(&name, known.iter().copied()).or_else(|| did_you_mean(first, known.iter().copied()));
            Err(Wrong { help: meant, ..Wrong::new(format!("`{name}` is not known here")) })
        }
        None => Ok(()),
    }
}

fn context(facts: &Facts) -> Value {
    Value::from(Serde(facts.clone()))
}

/// What an expression about one member is; none where that cannot be known.
pub fn value_of(text: &str, member: &Facts) -> Option<Json> {
    let environment = environment();
    let value = environment.compile_expression(text).ok()?.eval(context(member)).ok()?;
    (!value.is_undefined()).then(|| serde_json::to_value(value).ok()).flatten()
}

/// Whether something is so for one member.
pub fn ask_of_member(text: &str, member: &Facts) -> Answer {
    let environment = environment();
    let asked = || {
        let value = environment.compile_expression(text).ok()?.eval(context(member)).ok()?;
        (!value.is_undefined()).then(|| value.is_true())
    };
    asked().map_or(Answer::Unknown, Answer::from)
}

/// Whether something is so for the members as a whole.
pub fn ask(text: &str, own: &Facts, members: &[Facts]) -> Answer {
    let Ok(Split { outer, quantifiers }) = split(text) else { return Answer::Unknown };
    let environment = environment();
    let Ok(compiled) = environment.compile_expression(&outer) else { return Answer::Unknown };
    let mut facts = BTreeMap::new();
    facts.insert("self".to_owned(), context(own));
    facts.insert("members".to_owned(), Value::from(members.len()));
    let mut unknown = Vec::new();
    for (number, quantifier) in quantifiers.iter().enumerate() {
        match quantified(quantifier, members) {
            Some(value) => drop(facts.insert(placeholder(number), value)),
            None if quantifier.method == "count" => {}
            None => unknown.push(placeholder(number)),
        }
    }
    let Some(worlds) = u32::try_from(unknown.len()).ok().filter(|count| *count <= MOST_UNKNOWN) else {
        return Answer::Unknown;
    };
    // What is the same however the unknown turns out is known.
    let mut answer = None;
    for world in 0..(1_u32 << worlds) {
        for (bit, name) in unknown.iter().enumerate() {
            facts.insert(name.clone(), Value::from(world >> bit & 1 == 1));
        }
        let Ok(value) = compiled.eval(Value::from_pairs(facts.clone())) else { return Answer::Unknown };
        let here = value.is_true();
        if value.is_undefined() || answer.is_some_and(|before| before != here) {
            return Answer::Unknown;
        }
        answer = Some(here);
    }
    answer.map_or(Answer::Unknown, Answer::from)
}

/// The answer to one question to all; none where it is not known.
fn quantified(quantifier: &Quantifier, members: &[Facts]) -> Option<Value> {
    let answers: Vec<Answer> = members.iter().map(|member| ask_of_member(&quantifier.inner, member)).collect();
    let any = |wanted: Answer| answers.contains(&wanted);
    let exists = if any(Answer::True) {
        Some(true)
    } else if any(Answer::Unknown) {
        None
    } else {
        Some(false)
    };
    match quantifier.method {
        "any" => exists.map(Value::from),
        "none" => exists.map(|exists| Value::from(!exists)),
        "all" if any(Answer::False) => Some(Value::from(false)),
        "all" => (!any(Answer::Unknown)).then(|| Value::from(true)),
        _ => (!any(Answer::Unknown)).then(|| Value::from(answers.iter().filter(|one| **one == Answer::True).count())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(running: Option<bool>, status: Option<&str>) -> Facts {
        let mut facts = Facts::new();
        if let Some(running) = running {
            facts.insert("running".to_owned(), json!(running));
        }
        if let Some(status) = status {
            facts.insert("wsrep".to_owned(), json!({"status": status, "size": 3, "uuid": null}));
        }
        facts
    }

    const PRIMARY: &str = "running and wsrep.status == 'Primary'";

    fn asked(text: &str, members: &[Facts]) -> Answer {
        ask(text, &members[0], members)
    }

    #[test]
    fn what_is_not_known_matters_only_where_the_answer_depends_on_it() {
        let up = || member(Some(true), Some("Primary"));
        let off = || member(Some(false), None);
        let dumb = || member(Some(true), None);
        let gone = || member(None, None);
        let any = format!("peers.any(\"{PRIMARY}\")");
        let none = format!("peers.none(\"{PRIMARY}\")");
        for (members, has_any) in [
            (vec![off(), off(), off()], Answer::False),
            (vec![off(), dumb(), off()], Answer::Unknown),
            (vec![off(), gone(), off()], Answer::Unknown),
            (vec![gone(), up(), dumb()], Answer::True),
        ] {
            assert_eq!(asked(&any, &members), has_any, "{members:?}");
            let opposite = match has_any {
                Answer::True => Answer::False,
                Answer::False => Answer::True,
                Answer::Unknown => Answer::Unknown,
            };
            assert_eq!(asked(&none, &members), opposite);
        }
        let all = "peers.all(\"running\")";
        assert_eq!(asked(all, &[off(), gone()]), Answer::False);
        assert_eq!(asked(all, &[up(), gone()]), Answer::Unknown);
        assert_eq!(asked(all, &[up(), up()]), Answer::True);
    }

    #[test]
    fn questions_are_put_together_and_what_is_unknown_may_cancel_out() {
        let members = [member(Some(true), Some("Primary")), member(None, None), member(None, None)];
        assert_eq!(asked("peers.all('running') or peers.any('running')", &members), Answer::True);
        assert_eq!(asked("peers.all('running') and peers.none('running')", &members), Answer::False);
        assert_eq!(asked("peers.all('running') or members < 3", &members), Answer::Unknown);
        assert_eq!(asked("members == 3 or peers.all('running')", &members), Answer::True);
        assert_eq!(asked("peers.count('running') > 1", &members), Answer::Unknown);
        assert_eq!(asked("peers.count('running') == 1", &members[..1]), Answer::True);
        assert_eq!(asked("self.wsrep.size == 3 and not self.wsrep.uuid", &members), Answer::True);
        assert_eq!(asked("self.wsrep.nothing == 3", &members), Answer::Unknown);
    }

    #[test]
    fn mistakes_are_told_with_what_was_meant() {
        let names = ["running", "wsrep", "datadir"];
        assert_eq!(check(&format!("self.running and peers.any(\"{PRIMARY}\") and members > 1"), &names), Ok(()));
        let wrong = |text: &str| check(text, &names).unwrap_err();
        assert_eq!(wrong("peers.any('wsrepp.status')").to_string(), "`wsrepp.status` is not known here");
        assert!(wrong("peers.any('wsrepp.status')").help.unwrap().contains("wsrep"));
        assert!(wrong("peers.som('running')").to_string().contains("`peers.som` cannot be asked; there are any"));
        assert!(wrong("peers.any(running)").to_string().contains("takes one expression as text"));
        assert!(wrong("peers.any('running and')").to_string().contains("is no expression"));
        assert!(wrong("running").to_string().contains("`running` is not known here"));
        assert!(wrong("self.size").to_string().contains("`self.size` is not known here"));
    }
}

//! Errors of templates that cannot hold a variable's value.
//!
//! In: the engine's errors, whose debug output and details name the values at hand. Out: [`TemplateError`], made of the
//! kind of the error, words of our own, and pieces of the *source text* of the template. Nothing else is let through.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::{self, Write as _};
use std::ops::Range;

use minijinja::{Error, ErrorKind};

use crate::model::facts::MissingFact;

/// Longest piece of source text in a message.
const SNIPPET: usize = 80;

/// What went wrong, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text is no template.
    Syntax,
    /// Something is used that is not there.
    Undefined,
    /// A filter, test, function or method that does not exist.
    Unknown,
    /// An included template is missing.
    Missing,
    /// A value of the wrong type, or an operation that failed.
    Operation,
    /// Variables that need each other.
    Cycle,
    /// Too long, too deep, too big.
    Limit,
    /// A fact of a machine that is not known.
    Waiting,
}

/// A place that was passed on the way to the error: an `include`, or the use of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Template, or place of a scalar.
    pub template: String,
    /// Line, from 1.
    pub line: Option<usize>,
}

/// Why a template could not be rendered. It holds no value of any variable, secret or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError(Box<Details>);

impl std::ops::Deref for TemplateError {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

/// All that is told of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// What went wrong.
    pub kind: Kind,
    /// Template, or place of a scalar.
    pub template: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Bytes of the source text that are meant.
    pub range: Option<Range<usize>>,
    /// For people.
    pub message: String,
    /// The expression of the source text that is meant: what is undefined, what could not be computed.
    pub subject: Option<String>,
    /// How it came to be rendered: the nearest first.
    pub used_in: Vec<Frame>,
    /// The fact that is not known.
    pub waits: Option<MissingFact>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.template)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
            if let Some(column) = self.column {
                write!(formatter, ":{column}")?;
            }
        }
        write!(formatter, ": {}", self.message)?;
        for frame in &self.used_in {
            match frame.line {
                Some(line) => write!(formatter, " (used in {}:{line})", frame.template)?,
                None => write!(formatter, " (used in {})", frame.template)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}

impl TemplateError {
    /// An error of ours, without a place inside the text.
    pub(super) fn new(kind: Kind, template: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            template: template.to_owned(),
            line: None,
            column: None,
            range: None,
            message: message.into(),
            subject: None,
            used_in: Vec::new(),
            waits: None,
        }))
    }

    /// For want of a fact.
    pub(super) fn waiting(fact: MissingFact) -> Self {
        let mut error = Self::new(Kind::Waiting, "facts", fact.message.clone());
        error.0.waits = Some(fact);
        error
    }

    /// The same about a piece of the source text that is undefined.
    pub(super) fn about(mut self, text: &str, range: Range<usize>) -> Self {
        let details = &mut *self.0;
        details.line = line(text, range.start);
        details.column = column(text, range.start);
        details.subject = snippet(text, range.clone());
        if let Some(subject) = &details.subject {
            details.message = format!("`{subject}` is undefined");
        }
        details.range = Some(range);
        self
    }

    /// Says where the variable was written in which it happened.
    pub(super) fn written_at(mut self, origin: &str) -> Self {
        let _ = write!(self.0.template, " ({origin})");
        self
    }

    /// Takes over what may be known from an error of the engine. `scalar` is the text that was being evaluated.
    pub(super) fn from_engine(error: &Error, scalar: Scalar<'_>) -> Self {
        let mut frames = Vec::new();
        let mut current = error;
        let mut words = None;
        while let Some(source) = current.source() {
            if let Some(inner) = source.downcast_ref::<Error>() {
                frames.push(place(current, scalar).0);
                current = inner;
                continue;
            }
            if let Some(Carried(inner)) = source.downcast_ref::<Carried>() {
                let mut found = inner.clone();
                found.0.used_in.push(place(current, scalar).0);
                found.0.used_in.extend(frames.into_iter().rev());
                return found;
            }
            words = source.downcast_ref::<Refusal>().map(|refusal| refusal.0);
            break;
        }
        let (frame, source, range) = place(current, scalar);
        let subject = undefined(current, source.as_deref())
            .or_else(|| source.as_deref().zip(range.clone()).and_then(|(text, range)| snippet(text, range)));
        let column = source.as_deref().zip(range.as_ref()).and_then(|(text, range)| column(text, range.start));
        let line = source.as_deref().zip(range.as_ref()).and_then(|(text, range)| line(text, range.start));
        let (kind, message) = describe(current, words, subject.as_deref());
        Self(Box::new(Details {
            kind,
            template: frame.template,
            line: line.or(frame.line),
            column,
            range,
            message,
            subject,
            used_in: frames.into_iter().rev().collect(),
            waits: None,
        }))
    }
}

/// What is being evaluated beside the templates that the engine knows by name.
#[derive(Clone, Copy)]
pub(super) struct Scalar<'a> {
    /// Where it stands, for people.
    pub(super) place: &'a str,
    /// All of it.
    pub(super) text: &'a str,
    /// Where in it the expression begins that the engine was given.
    pub(super) offset: usize,
}

/// Words of a filter of ours: fixed text, hence safe.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(&'static str);

/// An error with fixed words, to be raised by filters of ours.
pub(super) fn refuse(words: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, words).with_source(Refusal(words))
}

/// An error of a variable on its way through the engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Carried(TemplateError);

/// Hands an error of a nested evaluation to the engine.
pub(super) fn carry(error: TemplateError) -> Error {
    carry_as(error, "a variable cannot be evaluated")
}

/// The same, in words that the engine writes where it does not look.
pub(super) fn carry_as(error: TemplateError, words: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, words).with_source(Carried(error))
}

/// Separates a template's name from the number that tells apart texts of the same name.
pub(super) const NUMBER: char = '\u{1f}';

/// Name that the engine gives to expressions.
const EXPRESSION: &str = "<expression>";

fn place(error: &Error, scalar: Scalar<'_>) -> (Frame, Option<String>, Option<Range<usize>>) {
    let name = error.name().unwrap_or(EXPRESSION);
    if name == EXPRESSION {
        let range = error
            .range()
            .map(|range| range.start + scalar.offset..range.end + scalar.offset)
            .filter(|range| scalar.text.get(range.clone()).is_some());
        let line = error.line().filter(|_| range.is_none());
        return (Frame { template: scalar.place.to_owned(), line }, Some(scalar.text.to_owned()), range);
    }
    let template = name.split(NUMBER).next().unwrap_or(name).to_owned();
    let source = error.template_source().map(str::to_owned);
    let range = error.range().filter(|range| source.as_ref().is_some_and(|text| text.get(range.clone()).is_some()));
    (Frame { template, line: error.line() }, source, range)
}

/// The expression that is undefined, as the engine names it, where it stands in the source text just so: details may
/// hold anything, source text may be shown.
fn undefined(error: &Error, source: Option<&str>) -> Option<String> {
    let detail = error.detail().filter(|_| error.kind() == ErrorKind::UndefinedError)?;
    let before = &detail[..detail.find("` is undefined")?];
    let name = &before[before.rfind('`')? + 1..];
    (!name.is_empty() && source?.contains(name)).then(|| name.to_owned())
}

fn snippet(text: &str, range: Range<usize>) -> Option<String> {
    let piece = text.get(range)?.split_whitespace().collect::<Vec<_>>().join(" ");
    if piece.is_empty() {
        return None;
    }
    if piece.chars().count() <= SNIPPET {
        return Some(piece);
    }
    let mut short: String = piece.chars().take(SNIPPET - 1).collect();
    short.push('…');
    Some(short)
}

fn line(text: &str, offset: usize) -> Option<usize> {
    Some(text.get(..offset)?.matches('\n').count() + 1)
}

fn column(text: &str, offset: usize) -> Option<usize> {
    let before = text.get(..offset)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Some(before.get(start..)?.chars().count() + 1)
}

fn describe(error: &Error, words: Option<&'static str>, subject: Option<&str>) -> (Kind, String) {
    let in_subject = |text: &str| match subject {
        Some(subject) => format!("{text} in `{subject}`"),
        None => text.to_owned(),
    };
    if let Some(words) = words {
        return (Kind::Operation, in_subject(words));
    }
    match error.kind() {
        // Made while parsing, from the source text alone.
        ErrorKind::SyntaxError | ErrorKind::BadEscape | ErrorKind::InvalidDelimiter => {
            (Kind::Syntax, error.detail().map_or_else(|| in_subject("syntax error"), str::to_owned))
        }
        ErrorKind::UndefinedError => (
            Kind::Undefined,
            subject.map_or_else(|| "something is undefined".to_owned(), |subject| format!("`{subject}` is undefined")),
        ),
        ErrorKind::UnknownFilter => (Kind::Unknown, in_subject("unknown filter")),
        ErrorKind::UnknownTest => (Kind::Unknown, in_subject("unknown test")),
        ErrorKind::UnknownFunction => (Kind::Unknown, in_subject("unknown function")),
        ErrorKind::UnknownMethod => (Kind::Unknown, in_subject("unknown method")),
        ErrorKind::UnknownBlock => (Kind::Unknown, in_subject("unknown block")),
        ErrorKind::TemplateNotFound => (Kind::Missing, in_subject("there is no such template")),
        ErrorKind::OutOfFuel => (Kind::Limit, in_subject("the template runs for too long")),
        ErrorKind::WriteFailure => (Kind::Limit, "the output is too big".to_owned()),
        ErrorKind::TooManyArguments => (Kind::Operation, in_subject("too many arguments")),
        ErrorKind::MissingArgument => (Kind::Operation, in_subject("an argument is missing")),
        ErrorKind::NonPrimitive | ErrorKind::NonKey | ErrorKind::CannotUnpack => {
            (Kind::Operation, in_subject("a value has the wrong type"))
        }
        ErrorKind::BadSerialization | ErrorKind::CannotDeserialize => {
            (Kind::Operation, in_subject("a value cannot be converted"))
        }
        _ => (Kind::Operation, in_subject("this cannot be done with these values")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::template::Templates;
    use super::super::variables::{Context, Layer, Variable};
    use super::*;
    use crate::model::secret::Sensitive;

    const SECRET: &str = "HUNTER2-hunter2";

    fn templates() -> Templates {
        Templates::new(|name| match name {
            "t/inner.j2" => Some("first\n{{ secrets.db + 1 }}\n".to_owned()),
            "t/outer.j2" => Some("{% include 'inner.j2' %}".to_owned()),
            "t/macros.j2" => Some("{% macro twice(x) %}{{ x / 2 }}{% endmacro %}".to_owned()),
            "t/base.j2" => Some("{% block a %}{% endblock %}".to_owned()),
            _ => None,
        })
    }

    fn context() -> Context {
        let mut layer = Layer::new();
        for (name, value) in [
            ("url", json!("mysql://{{ secrets.db }}")),
            ("broken", json!({"a": ["{{ secrets.db / 2 }}"]})),
            ("uses_broken", json!("x{{ broken }}")),
            ("plain", json!(SECRET)),
            ("number", json!(7)),
            ("a", json!("{{ b }}")),
            ("b", json!("{{ c }}")),
            ("c", json!("{{ b }}")),
        ] {
            layer.insert(name.to_owned(), Variable::at(value, "site.yaml:3:1"));
        }
        Context::builder()
            .layer(layer)
            .data("host", &json!({"name": "ctl1"}))
            .secrets(BTreeMap::from([("db".to_owned(), Sensitive::new(SECRET))]))
            .build()
    }

    fn error(source: &str) -> TemplateError {
        templates().render("t/main.j2", source, &context()).unwrap_err()
    }

    #[test]
    fn errors_never_hold_a_value() {
        let failing = [
            "{{ secrets.db / 2 }}",
            "{{ secrets.db + 1 }}",
            "{{ -secrets.db }}",
            "{{ secrets.db | int }}",
            "{{ secrets.db | float }}",
            "{{ secrets.db | round }}",
            "{{ secrets.db | abs }}",
            "{{ secrets.db | items }}",
            "{{ secrets.db | dictsort }}",
            "{{ secrets.db | from_json }}",
            "{{ secrets.db | b64decode }}",
            "{{ secrets.db | combine({}) }}",
            "{{ secrets.db | union([]) }}",
            "{{ secrets.db | hash(secrets.db) }}",
            "{{ secrets.db | regex_replace('(' ~ secrets.db) }}",
            "{{ secrets.db | put_address_in_context(secrets.db) }}",
            "{{ secrets.db | indent(secrets.db) }}",
            "{{ secrets.db | format(1, 2) }}",
            "{{ '%d' | format(secrets.db) }}",
            "{{ [1] | map(secrets.db) | list }}",
            "{{ [1] | select(secrets.db) | list }}",
            "{{ [1] | sort(attribute=secrets.db) }}",
            "{{ secrets.db | batch(secrets.db) }}",
            "{{ secrets.db | replace(1) }}",
            "{{ secrets.db | nofilter }}",
            "{{ secrets.db is notest }}",
            "{{ secrets.db() }}",
            "{{ secrets.db.nothing }}",
            "{{ secrets.db.nothing.more }}",
            "{{ secrets.db.method(secrets.db) }}",
            "{{ secrets.db['x' ~ secrets.db] }}",
            "{{ host[secrets.db] }}",
            "{{ host[secrets.db].x }}",
            "{{ {'a': 1}[secrets.db] }}",
            "{{ {secrets.db: 1}.x }}",
            "{{ secrets[secrets.db] }}",
            "{{ vars[secrets.db] }}",
            "{{ plain / 2 }}",
            "{{ plain.x.y }}",
            "{{ url / 2 }}",
            "{{ broken }}",
            "{{ uses_broken }}",
            "{{ range(secrets.db) }}",
            "{{ dict(secrets.db) }}",
            "{% include secrets.db %}",
            "{% include 'outer.j2' %}",
            "{% extends secrets.db %}",
            "{% import secrets.db as x %}",
            "{% from 'macros.j2' import twice %}{{ twice(secrets.db) }}",
            "{% for x in secrets.db %}{{ x / 2 }}{% endfor %}",
            "{% for x, y in [secrets.db] %}{% endfor %}",
            "{% set x, y = [secrets.db] %}",
            "{% set x = secrets.db %}{{ x / 2 }}",
            "{% set x = secrets.db %}{% filter int %}{{ x }}{% endfilter %}",
            "{{ lipsum(secrets.db) }}",
            "{{ namespace(secrets.db) }}",
            "{{ secrets.db if nope else secrets.db }}",
            "{{ secrets.db < 1 and nope }}",
            "{{ secrets.db in 5 }}",
            "{{ secrets.db ~ nope }}",
            "{{ secrets.db | from_yaml | int }}",
            "{{ secrets.db | sum }}",
        ];
        for source in failing {
            let result = templates().render("t/main.j2", source, &context());
            let Err(error) = result else { continue };
            for text in [format!("{error}"), format!("{error:#}"), format!("{error:?}"), format!("{error:#?}")] {
                assert!(!text.to_lowercase().contains("hunter2"), "{source}: {text}");
            }
            let evaluated = templates().evaluate("services.x", source, &context()).unwrap_err();
            let text = format!("{evaluated} {evaluated:?}");
            assert!(!text.to_lowercase().contains("hunter2"), "{source}: {text}");
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        let lines = [
            "x\n  {{ nope }}",
            "{{ host.nope }}",
            "{{ host.nope.more + 1 }}",
            "{{ secrets.nope }}",
            "{{ secrets.db / 2 }}",
            "{{ [1, 2] | combine({}) }}",
            "{{ 'x' | nofilter }}",
            "{{ 1 is notest }}",
            "{{ secrets }}{{ nope() }}",
            "{% include 'none.j2' %}",
            "{% include 'outer.j2' %}",
            "{% from 'macros.j2' import twice %}\n{{ twice('a') }}",
            "{% if x %}",
            "{{ 1 + }}",
            "{{ uses_broken }}",
            "{{ a }}",
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% for i in range(1000) %}{{ 'x' * 99999 }}{% endfor %}",
            "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        ];
        let texts: Vec<String> = lines.iter().map(|source| error(source).to_string()).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        t/main.j2:2:6: `nope` is undefined
        t/main.j2:1:4: `host.nope` is undefined
        t/main.j2:1:8: `host.nope` is undefined
        t/main.j2:1:4: `secrets.nope` is undefined
        t/main.j2:1:4: this cannot be done with these values in `secrets.db / 2`
        t/main.j2:1:13: mappings are needed in `combine({})`
        t/main.j2:1:10: unknown filter in `nofilter`
        t/main.j2:1:9: unknown test in `notest`
        t/main.j2:1:17: unknown function in `nope()`
        t/main.j2:1:4: there is no such template in `include 'none.j2'`
        t/inner.j2:2:4: this cannot be done with these values in `secrets.db + 1` (used in t/outer.j2:1) (used in t/main.j2:1)
        t/macros.j2:1:24: this cannot be done with these values in `x / 2`
        t/main.j2:1:9: unexpected end of input, expected end of block
        t/main.j2:1:8: unexpected end of variable block
        vars.broken.a[0] (site.yaml:3:1):1:4: this cannot be done with these values in `secrets.db / 2` (used in vars.uses_broken) (used in t/main.j2:1)
        vars.b (site.yaml:3:1): variables need each other: b -> c -> b (used in vars.c:1) (used in vars.b:1) (used in vars.a:1) (used in t/main.j2:1)
        t/main.j2:1: the template runs for too long
        t/main.j2: the output is too big
        t/main.j2:1:20: this cannot be done with these values in `m(x)`
        ");
    }

    #[test]
    fn errors_of_scalars_point_into_the_scalar() {
        let evaluate = |text: &str| templates().evaluate("services.web.command[1]", text, &context()).unwrap_err();
        let error = evaluate("{{ host.nope }}");
        assert_eq!(error.kind, Kind::Undefined);
        assert_eq!(error.subject.as_deref(), Some("host.nope"));
        let texts: Vec<String> =
            ["{{ host.nope }}", "{{ host.nope.x }}", "a {{ nope }}", "{{ 1 + }}", "{{ number / 0 }} ", "{{ secrets }}"]
                .iter()
                .map(|text| evaluate(text).to_string())
                .collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        services.web.command[1]:1:4: `host.nope` is undefined
        services.web.command[1]:1:8: `host.nope` is undefined
        services.web.command[1]:1:6: `nope` is undefined
        services.web.command[1]:1:8: unexpected end of variable block
        services.web.command[1]:1:4: this cannot be done with these values in `number / 0`
        services.web.command[1]: this cannot be a value as a whole: use a part of it
        ");
    }
}

//! What one rendering sees: names are looked up when they are used, and secrets leave a trace.
//!
//! A scope has one of two views. In the real one `secrets.db` is the secret. In the shown one it is `«secret:db»`, and
//! the secret's bytes are not looked at by anything: whatever comes out is independent of them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use minijinja::value::{Object, ObjectRepr, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::missing;
use super::safe_error::{Kind, Scalar, TemplateError, carry};
use super::variables::{Inner, Memo};
use crate::model::facts::MissingFact;

/// How far variables may need variables; each level takes stack.
const DEPTH: usize = 32;
/// Bytes that a rendering or a variable may have: no configuration file is near it.
pub(super) const SIZE: usize = 16 << 20;

/// Which of the two renderings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// With secrets, to be written.
    Real,
    /// With placeholders, to be seen.
    Shown,
}

/// The root of all names during one rendering or evaluation.
pub(super) struct Scope {
    environment: Arc<Environment<'static>>,
    context: Arc<Inner>,
    view: View,
    /// Variables under evaluation, the outermost first.
    chain: Vec<String>,
    touched: Arc<AtomicBool>,
    /// The first failure of a variable. It fails all of the evaluation, so nothing is tried again: the engine looks
    /// names up once more while it puts an error together, at every level.
    failed: Arc<OnceLock<TemplateError>>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Scope({:?})", self.view)
    }
}

impl Scope {
    pub(super) fn new(environment: Arc<Environment<'static>>, context: Arc<Inner>, view: View) -> Arc<Self> {
        Arc::new(Self {
            environment,
            context,
            view,
            chain: Vec::new(),
            touched: Arc::default(),
            failed: Arc::default(),
        })
    }

    /// Whether a secret was used, directly or through a variable.
    pub(super) fn touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Evaluates a text. `place` says where it stands.
    pub(super) fn evaluate(self: &Arc<Self>, place: &str, text: &str) -> Result<serde_json::Value, TemplateError> {
        if !is_template(text) {
            return Ok(serde_json::Value::String(text.to_owned()));
        }
        let root = Value::from_dyn_object(Arc::clone(self));
        if let Some((offset, inner)) = sole_expression(text)
            && let Ok(expression) = self.environment.compile_expression_owned(inner.to_owned())
        {
            let scalar = Scalar { place, text, offset };
            let value = expression.eval(root).map_err(|error| TemplateError::from_engine(&error, scalar))?;
            if value.is_undefined() {
                let undefined = Error::from(ErrorKind::UndefinedError);
                let start = offset + inner.len() - inner.trim_start().len();
                return Err(
                    TemplateError::from_engine(&undefined, scalar).about(text, start..start + inner.trim().len())
                );
            }
            let mut size = 0;
            let plain = to_json(&value, &mut size);
            if let Ok(serde_json::Value::String(text)) = &plain {
                missing::check(text)?;
            }
            return plain.map_err(|why| why.at(place));
        }
        let scalar = Scalar { place, text, offset: 0 };
        let template = self
            .environment
            .template_from_named_str("<expression>", text)
            .map_err(|error| TemplateError::from_engine(&error, scalar))?;
        let mut output = Limited::default();
        template.render_captured_to(root, &mut output).map_err(|error| TemplateError::from_engine(&error, scalar))?;
        let text = output.text();
        missing::check(&text)?;
        Ok(serde_json::Value::String(text))
    }

    /// Evaluates all strings of a value.
    pub(super) fn evaluate_all(
        self: &Arc<Self>,
        place: &str,
        value: &serde_json::Value,
    ) -> Result<serde_json::Value, TemplateError> {
        match value {
            serde_json::Value::String(text) => self.evaluate(place, text),
            serde_json::Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.evaluate_all(&format!("{place}[{index}]"), item))
                .collect(),
            serde_json::Value::Object(entries) => entries
                .iter()
                .map(|(key, item)| Ok((key.clone(), self.evaluate_all(&format!("{place}.{key}"), item)?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()
                .map(serde_json::Value::Object),
            other => Ok(other.clone()),
        }
    }

    fn variable(self: &Arc<Self>, name: &str) -> Option<Value> {
        let variable = self.context.variables.get(name)?.last()?;
        if let Some(error) = self.failed.get() {
            return Some(Value::from(carry(error.clone())));
        }
        let memo = match self.memo(name) {
            Some(memo) => memo,
            None => match self.evaluate_variable(name, &variable.value) {
                Ok(memo) => {
                    self.context.remember(self.view == View::Shown, name, &memo);
                    memo
                }
                Err(mut error) => {
                    if let Some(origin) = &variable.origin
                        && error.template.starts_with(&place_of(name))
                        && !error.template.contains(' ')
                    {
                        error = error.written_at(origin);
                    }
                    let _ = self.failed.set(error.clone());
                    return Some(Value::from(carry(error)));
                }
            },
        };
        if memo.secret {
            self.touched.store(true, Ordering::Relaxed);
        }
        Some(memo.value)
    }

    fn memo(&self, name: &str) -> Option<Memo> {
        match self.view {
            View::Real => self.context.recall(false, name),
            // Without a secret in it, it is the same in both views.
            View::Shown => {
                self.context.recall(false, name).filter(|memo| !memo.secret).or_else(|| self.context.recall(true, name))
            }
        }
    }

    fn evaluate_variable(self: &Arc<Self>, name: &str, value: &serde_json::Value) -> Result<Memo, TemplateError> {
        let place = place_of(name);
        let mut chain = self.chain.clone();
        chain.push(name.to_owned());
        if let Some(start) = self.chain.iter().position(|outer| outer == name) {
            let names = chain.get(start..).unwrap_or(&chain).join(" -> ");
            return Err(TemplateError::new(Kind::Cycle, &place, format!("variables need each other: {names}")));
        }
        if chain.len() > DEPTH {
            return Err(TemplateError::new(
                Kind::Limit,
                &place,
                format!("variables need each other more than {DEPTH} levels deep"),
            ));
        }
        let nested = Arc::new(Self {
            environment: Arc::clone(&self.environment),
            context: Arc::clone(&self.context),
            view: self.view,
            chain,
            touched: Arc::default(),
            failed: Arc::clone(&self.failed),
        });
        let value = nested.evaluate_all(&place, value)?;
        Ok(Memo { value: Value::from(Serde(value)), secret: nested.touched() })
    }
}

fn place_of(name: &str) -> String {
    format!("vars.{name}")
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "secrets" => Some(Value::from_object(Secrets(Arc::clone(self)))),
            "vars" => Some(Value::from_object(Vars(Arc::clone(self)))),
            "host" => {
                let host = self.context.data.get("host").cloned().unwrap_or_else(|| Value::from_pairs(NOTHING));
                Some(Value::from_object(Host { data: host, vars: Value::from_object(Vars(Arc::clone(self))) }))
            }
            _ => self.context.data.get(key).cloned().or_else(|| self.variable(key)),
        }
    }
}

const NOTHING: [(&str, Value); 0] = [];

/// `secrets`: each by its name, never all of them.
struct Secrets(Arc<Scope>);

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("«secrets»")
    }
}

/// What is seen in place of a secret.
pub fn placeholder(name: &str) -> String {
    format!("«secret:{name}»")
}

impl Object for Secrets {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let secret = self.0.context.secrets.get(name)?;
        self.0.touched.store(true, Ordering::Relaxed);
        Some(match self.0.view {
            View::Shown => Value::from(placeholder(name)),
            View::Real => match std::str::from_utf8(secret.expose()) {
                Ok(text) => Value::from(text),
                Err(_) => Value::from_bytes(secret.expose().to_vec()),
            },
        })
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match (method, args) {
            ("get", [key]) => Ok(self.get_value(key).unwrap_or_default()),
            ("get", [key, default]) => Ok(self.get_value(key).unwrap_or_else(|| default.clone())),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("«secrets»")
    }
}

/// `vars`: each variable by its name, evaluated when it is used.
struct Vars(Arc<Scope>);

impl fmt::Debug for Vars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("«vars»")
    }
}

impl Object for Vars {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.variable(key.as_str()?)
    }

    fn render(self: &Arc<Self>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("«vars»")
    }
}

/// `host`: its data, and its variables as `host.vars`.
struct Host {
    data: Value,
    vars: Value,
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Host")
    }
}

impl Object for Host {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        if key.as_str() == Some("vars") {
            return Some(self.vars.clone());
        }
        self.data.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        match self.data.try_iter() {
            Ok(keys) => minijinja::value::Enumerator::Values(keys.collect()),
            Err(_) => minijinja::value::Enumerator::Empty,
        }
    }
}

/// Whether a scalar has to be evaluated at all. A comment alone does not make it a template: shells write `${#x}`.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The inside of a text that is one `{{ ... }}` and nothing else, and where it begins. It may still turn out to be two.
fn sole_expression(text: &str) -> Option<(usize, &str)> {
    let start = text.len() - text.trim_start().len() + 2;
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let (start, inner) = match inner.strip_prefix(['-', '+']) {
        Some(rest) => (start + 1, rest),
        None => (start, inner),
    };
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    Some((start, inner))
}

/// An output that does not grow for ever.
#[derive(Default)]
pub(super) struct Limited(Vec<u8>);

impl Limited {
    pub(super) fn text(self) -> String {
        // The engine writes text only, in pieces that need not end at characters.
        String::from_utf8(self.0).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > SIZE {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Why a value is no plain data.
enum NotPlain {
    Kind(Kind, &'static str),
    Waits(MissingFact),
}

impl NotPlain {
    fn at(self, place: &str) -> TemplateError {
        match self {
            Self::Kind(kind, words) => TemplateError::new(kind, place, words),
            Self::Waits(fact) => TemplateError::waiting(fact),
        }
    }
}

/// A value of the engine as plain data. `size` sums up what it takes.
fn to_json(value: &Value, size: &mut usize) -> Result<serde_json::Value, NotPlain> {
    *size += 8;
    if *size > SIZE {
        return Err(NotPlain::Kind(Kind::Limit, "the value is too big"));
    }
    match value.kind() {
        ValueKind::None => Ok(serde_json::Value::Null),
        ValueKind::Bool => Ok(serde_json::Value::Bool(value.is_true())),
        ValueKind::Number => {
            serde_json::to_value(value).map_err(|_| NotPlain::Kind(Kind::Operation, "the number cannot be kept"))
        }
        ValueKind::String | ValueKind::Bytes => {
            let text = value.as_str().ok_or(NotPlain::Kind(
                Kind::Operation,
                "binary data cannot be a value (use b64encode, or give it as a file)",
            ))?;
            *size += text.len();
            Ok(serde_json::Value::String(text.to_owned()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|_| NotPlain::Kind(Kind::Operation, "the value cannot be listed"))?;
            items.map(|item| to_json(&item, size)).collect::<Result<_, _>>().map(serde_json::Value::Array)
        }
        ValueKind::Map => {
            let keys = value.try_iter().map_err(|_| NotPlain::Kind(Kind::Operation, "the value cannot be listed"))?;
            let mut entries = serde_json::Map::new();
            for key in keys {
                let name = match key.kind() {
                    ValueKind::String | ValueKind::Number | ValueKind::Bool => key.to_string(),
                    _ => return Err(NotPlain::Kind(Kind::Operation, "a key has to be text")),
                };
                *size += name.len();
                let item =
                    value.get_item(&key).map_err(|_| NotPlain::Kind(Kind::Operation, "the value cannot be listed"))?;
                entries.insert(name, to_json(&item, size)?);
            }
            Ok(serde_json::Value::Object(entries))
        }
        ValueKind::Undefined => Err(NotPlain::Kind(Kind::Undefined, "a part of the value is undefined")),
        _ => Err(match missing::of(value) {
            Some(fact) => NotPlain::Waits(fact),
            None => NotPlain::Kind(Kind::Operation, "this cannot be a value as a whole: use a part of it"),
        }),
    }
}

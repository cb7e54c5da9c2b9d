//! Rendering, with and without secrets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use minijinja::{Environment, Value};

use super::environment::{Loader, environment};
use super::safe_error::{NUMBER, Scalar, TemplateError};
use super::scope::{Limited, Scope, View};
use super::variables::Context;
use crate::model::file::Shown;
use crate::model::secret::Sensitive;

pub use super::scope::{is_template, placeholder};

/// A file, rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What is written.
    pub real: Sensitive,
    /// What people see.
    pub shown: Shown,
    /// Whether a secret was used, even if only its hash was written.
    pub uses_secret: bool,
}

/// A scalar, evaluated.
#[derive(Clone, PartialEq)]
pub struct Evaluated {
    /// What counts, with its native type.
    pub value: serde_json::Value,
    /// What people see.
    pub shown: serde_json::Value,
    /// Whether a secret was used, directly or through a variable.
    pub uses_secret: bool,
}

impl fmt::Debug for Evaluated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Evaluated")
            .field("shown", &self.shown)
            .field("uses_secret", &self.uses_secret)
            .finish_non_exhaustive()
    }
}

/// What is seen of a value that only exists with the real secret.
pub const OPAQUE: &str = "«secret»";

/// The engine and what it has compiled. One of them serves many renderings; sources are taken to be fixed, so a new
/// reading of the site needs a new one.
pub struct Templates {
    environment: Arc<Environment<'static>>,
    sources: Arc<RwLock<Sources>>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Templates")
    }
}

/// Texts that were rendered. Two of the same name are told apart by a number.
#[derive(Default)]
struct Sources {
    numbers: HashMap<String, Vec<Arc<str>>>,
}

impl Sources {
    fn get(&self, numbered: &str) -> Option<String> {
        let (name, number) = numbered.split_once(NUMBER)?;
        self.numbers.get(name)?.get(number.parse::<usize>().ok()?).map(|text| text.to_string())
    }
}

impl Templates {
    /// `load` gives the text of a template by its name: it is asked for what templates include, extend and import.
    pub fn new(load: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let sources = Arc::new(RwLock::new(Sources::default()));
        let known = Arc::clone(&sources);
        let loader: Arc<Loader> = Arc::new(move |name: &str| {
            if name.contains(NUMBER) {
                known.read().unwrap_or_else(PoisonError::into_inner).get(name)
            } else {
                load(name)
            }
        });
        Self { environment: Arc::new(environment(loader)), sources }
    }

    /// Renders a file. `name` is its path in the site, for messages and for what it includes.
    pub fn render(&self, name: &str, source: &str, context: &Context) -> Result<Rendered, TemplateError> {
        if !is_template(source) {
            let shown = Shown::Text(source.to_owned());
            return Ok(Rendered { real: Sensitive::new(source), shown, uses_secret: false });
        }
        let numbered = self.numbered(name, source);
        let scalar = Scalar { place: name, text: source, offset: 0 };
        let template =
            self.environment.get_template(&numbered).map_err(|error| TemplateError::from_engine(&error, scalar))?;
        let render = |view: View| {
            let scope = Scope::new(Arc::clone(&self.environment), Arc::clone(&context.0), view);
            let mut output = Limited::default();
            template
                .render_captured_to(Value::from_dyn_object(Arc::clone(&scope)), &mut output)
                .map_err(|error| TemplateError::from_engine(&error, scalar))?;
            Ok((output.text(), scope.touched()))
        };
        let (real, uses_secret) = render(View::Real)?;
        let shown = if uses_secret {
            // What needs the real secret to succeed cannot be shown.
            render(View::Shown)
                .map_or_else(|_: TemplateError| Shown::Opaque(real.len() as u64), |(text, _)| Shown::Text(text))
        } else {
            Shown::Text(real.clone())
        };
        Ok(Rendered { real: Sensitive::new(real), shown, uses_secret })
    }

    /// Evaluates a scalar. If all of it is one `{{ expression }}`, the type of the expression is kept, else it is
    /// text. `place` says where it stands, for messages.
    pub fn evaluate(&self, place: &str, text: &str, context: &Context) -> Result<Evaluated, TemplateError> {
        self.both(context, |scope| scope.evaluate(place, text))
    }

    /// Evaluates all strings inside a value; keys are left alone.
    pub fn evaluate_all(
        &self,
        place: &str,
        value: &serde_json::Value,
        context: &Context,
    ) -> Result<Evaluated, TemplateError> {
        self.both(context, |scope| scope.evaluate_all(place, value))
    }

    fn both(
        &self,
        context: &Context,
        evaluate: impl Fn(&Arc<Scope>) -> Result<serde_json::Value, TemplateError>,
    ) -> Result<Evaluated, TemplateError> {
        let scope = |view| Scope::new(Arc::clone(&self.environment), Arc::clone(&context.0), view);
        let real = scope(View::Real);
        let value = evaluate(&real)?;
        if !real.touched() {
            return Ok(Evaluated { shown: value.clone(), value, uses_secret: false });
        }
        let shown = evaluate(&scope(View::Shown)).unwrap_or_else(|_| serde_json::Value::String(OPAQUE.to_owned()));
        Ok(Evaluated { value, shown, uses_secret: true })
    }

    fn numbered(&self, name: &str, source: &str) -> String {
        let name = &*name.replace(NUMBER, "?");
        let find = |texts: &Vec<Arc<str>>| texts.iter().position(|text| &**text == source);
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner).numbers.get(name).and_then(find);
        let number = known.unwrap_or_else(|| {
            let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
            let texts = sources.numbers.entry(name.to_owned()).or_default();
            find(texts).unwrap_or_else(|| {
                texts.push(Arc::from(source));
                texts.len() - 1
            })
        });
        format!("{name}{NUMBER}{number}")
    }
}

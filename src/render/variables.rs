//! What templates may use: layered variables, the host, the site, groups and secrets.
//!
//! Variables are templates themselves. They are evaluated when they are used and at most once, keep their native type,
//! and carry along whether a secret went into them (see [`super::scope`]).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use minijinja::Value;

use super::missing;
use super::safe_error::refuse;
use crate::model::secret::Sensitive;

/// Names that no variable may have.
pub const RESERVED: [&str; 10] =
    ["endpoints", "groups", "host", "members", "placement", "provides", "role", "secrets", "site", "vars"];

/// A variable as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its value; strings in it may be templates.
    pub value: serde_json::Value,
    /// Where it was written, for people: `site.yaml:12:7`.
    pub origin: Option<Arc<str>>,
}

impl Variable {
    /// A variable from nowhere in particular.
    pub fn new(value: impl Into<serde_json::Value>) -> Self {
        Self { value: value.into(), origin: None }
    }

    /// A variable with its place.
    pub fn at(value: impl Into<serde_json::Value>, origin: impl Into<Arc<str>>) -> Self {
        Self { value: value.into(), origin: Some(origin.into()) }
    }
}

/// Variables of one layer.
pub type Layer = IndexMap<String, Variable>;

/// What templates of one host may use. Cheap to clone; clones share what has been evaluated.
#[derive(Clone)]
pub struct Context(pub(super) Arc<Inner>);

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("variables", &self.0.variables.keys().collect::<Vec<_>>())
            .field("secrets", &self.0.secrets.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct Inner {
    /// All definitions of each variable, lowest layer first.
    pub(super) variables: IndexMap<String, Vec<Variable>>,
    /// `host`, `site`, `groups` and others that are plain data, never templates.
    pub(super) data: BTreeMap<String, Value>,
    pub(super) secrets: BTreeMap<String, Sensitive>,
    real: Mutex<HashMap<String, Memo>>,
    shown: Mutex<HashMap<String, Memo>>,
}

/// An evaluated variable.
#[derive(Clone)]
pub(super) struct Memo {
    pub(super) value: Value,
    pub(super) secret: bool,
}

impl Inner {
    fn memos(&self, shown: bool) -> &Mutex<HashMap<String, Memo>> {
        if shown { &self.shown } else { &self.real }
    }

    pub(super) fn recall(&self, shown: bool, name: &str) -> Option<Memo> {
        self.memos(shown).lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn remember(&self, shown: bool, name: &str, memo: &Memo) {
        self.memos(shown).lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), memo.clone());
    }
}

/// Puts a [`Context`] together.
#[derive(Default)]
pub struct ContextBuilder(Inner);

impl Context {
    /// An empty one to be filled.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// All definitions of a variable, lowest layer first: the last one counts.
    pub fn definitions(&self, name: &str) -> &[Variable] {
        self.0.variables.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.variables.keys().map(String::as_str)
    }
}

/// Plain data as templates see it, made once for many contexts.
#[derive(Clone, Debug)]
pub struct SharedData(Value);

impl SharedData {
    /// Of plain data; strings in it are no templates.
    pub fn new(value: &serde_json::Value) -> Self {
        Self(missing::value(value))
    }
}

impl ContextBuilder {
    /// Adds a layer above those that were added before: its variables win as wholes.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        for (name, variable) in layer {
            self.0.variables.entry(name).or_default().push(variable);
        }
        self
    }

    /// Plain data under a name: `host` (name, address, groups), `site`, `groups`, `instances`. Strings in it are no
    /// templates. `host.vars` is added by itself.
    #[must_use]
    pub fn data(mut self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        self.0.data.insert(name.into(), missing::value(value));
        self
    }

    /// The same for data that many contexts have in common.
    #[must_use]
    pub fn shared(mut self, name: impl Into<String>, data: &SharedData) -> Self {
        self.0.data.insert(name.into(), data.0.clone());
        self
    }

    /// A function of one text: `NAME("key")` gives what the table has for the key. `missing` says, in fixed words, what
    /// it means that the table has nothing.
    #[must_use]
    pub fn lookup(mut self, name: impl Into<String>, table: BTreeMap<String, String>, missing: &'static str) -> Self {
        let find = move |key: String| table.get(&key).cloned().ok_or_else(|| refuse(missing));
        self.0.data.insert(name.into(), Value::from_function(find));
        self
    }

    /// What `secrets.NAME` gives.
    #[must_use]
    pub fn secrets(mut self, secrets: BTreeMap<String, Sensitive>) -> Self {
        self.0.secrets = secrets;
        self
    }

    /// The context.
    pub fn build(self) -> Context {
        Context(Arc::new(self.0))
    }
}

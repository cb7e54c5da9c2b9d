//! Rendering, with and without secrets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use minijinja::{Environment, Value};

use super::environment::{Loader, environment};
use super::missing;
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
        self.numbers.get(name)?.get(number.parse::<usize>().ok()?).map(ToString::to_string)
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
        if !is_template(source) && !source.contains("{#") {
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
            let text = output.text();
            missing::check(&text)?;
            Ok((text, scope.touched()))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::variables::{Layer, Variable};
    use super::*;

    fn context() -> Context {
        let layer = |entries: serde_json::Value| -> Layer {
            entries
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), Variable::new(value.clone())))
                .collect()
        };
        Context::builder()
            .layer(layer(json!({
                "port": 80,
                "region": "one",
                "url": "http://{{ host.address.api }}:{{ port }}",
                "database": "mysql://{{ secrets.db }}@{{ region }}",
                "nested": {"list": ["{{ port }}", "{{ port + 1 }}", true], "text": "{{ region | upper }}"},
                "copy": "{{ nested }}",
                "unused": "{{ nope }}",
                "literal": "{{ '{{ port }}' }}",
                "secret_length": "{{ secrets.db | length }}",
            })))
            .layer(layer(json!({"port": 8080})))
            .data("host", &json!({"name": "ctl1", "address": {"api": "10.0.0.1"}, "text": "{{ port }}"}))
            .data("groups", &json!({"control": ["ctl1", "ctl2"]}))
            .secrets(BTreeMap::from([
                ("db".to_owned(), Sensitive::new("s3cr3t")),
                ("number".to_owned(), Sensitive::new("12345")),
                ("binary".to_owned(), Sensitive::new(vec![0xff, 0x00])),
            ]))
            .build()
    }

    fn templates() -> Templates {
        Templates::new(|name| match name {
            "roles/x/part.j2" => Some("part of {{ host.name }} {{ secrets.db }}".to_owned()),
            "shared.j2" => Some("shared".to_owned()),
            _ => None,
        })
    }

    fn render(source: &str) -> (String, String, bool) {
        let rendered = templates().render("roles/x/main.j2", source, &context()).unwrap();
        let shown = match rendered.shown {
            Shown::Text(text) => text,
            Shown::Opaque(length) => format!("opaque {length}"),
        };
        (String::from_utf8(rendered.real.expose().to_vec()).unwrap(), shown, rendered.uses_secret)
    }

    fn evaluate(text: &str) -> (serde_json::Value, serde_json::Value, bool) {
        let evaluated = templates().evaluate("here", text, &context()).unwrap();
        (evaluated.value, evaluated.shown, evaluated.uses_secret)
    }

    #[test]
    fn files_are_rendered_twice() {
        let cases = [
            ("port={{ port }}\n", "port=8080\n", "port=8080\n", false),
            ("{{ url }}", "http://10.0.0.1:8080", "http://10.0.0.1:8080", false),
            ("{{ host.text }}", "{{ port }}", "{{ port }}", false),
            ("{{ literal }}", "{{ port }}", "{{ port }}", false),
            ("{{ host.vars.port }} {{ vars.region }} {{ vars['port'] }}", "8080 one 8080", "8080 one 8080", false),
            (
                "{% for h in groups.control %}{{ h }}{% if not loop.last %},{% endif %}{% endfor %}",
                "ctl1,ctl2",
                "ctl1,ctl2",
                false,
            ),
            ("{% for key in host | sort %}{{ key }} {% endfor %}", "address name text ", "address name text ", false),
            ("{{ secrets.db }}", "s3cr3t", "«secret:db»", true),
            ("{{ secrets['db'] }} {{ secrets.get('db') }}", "s3cr3t s3cr3t", "«secret:db» «secret:db»", true),
            ("{{ secrets.get('nope', 'x') }}", "x", "x", false),
            ("{{ secrets.nope | default('x') }}", "x", "x", false),
            ("{{ database }}", "mysql://s3cr3t@one", "mysql://«secret:db»@one", true),
            ("{{ vars.database }}", "mysql://s3cr3t@one", "mysql://«secret:db»@one", true),
            ("{{ secret_length }}", "6", "11", true),
            ("{{ secrets.db | upper }}", "S3CR3T", "«SECRET:DB»", true),
            ("{{ secrets.number | int + 1 }}", "12346", "opaque 5", true),
            ("{% if secrets.db == 's3cr3t' %}yes{% else %}no{% endif %}", "yes", "no", true),
            ("{{ secrets.binary | b64encode }}", "/wA=", "wqtzZWNyZXQ6YmluYXJ5wrs=", true),
            ("{% include 'part.j2' %}", "part of ctl1 s3cr3t", "part of ctl1 «secret:db»", true),
            ("{% include 'shared.j2' %}", "shared", "shared", false),
            ("{{ secrets }} {{ vars }}", "«secrets» «vars»", "«secrets» «vars»", false),
            ("no template at all %}", "no template at all %}", "no template at all %}", false),
            ("{# comment #}\n", "", "", false),
            ("{% raw %}{{ x }}{% endraw %}", "{{ x }}", "{{ x }}", false),
            ("{{ none }} {{ true }}", "None True", "None True", false),
            ("{{ '\n' }}a\r\n\n", "\na\r\n\n", "\na\r\n\n", false),
        ];
        for (source, real, shown, uses_secret) in cases {
            assert_eq!(render(source), (real.to_owned(), shown.to_owned(), uses_secret), "{source}");
        }
    }

    #[test]
    fn binary_secrets_do_not_become_broken_text() {
        let error = templates().render("x", "{{ secrets.binary }}", &context()).unwrap_err();
        assert!(error.message.contains("b64encode"), "{error}");
        assert!(templates().evaluate("x", "{{ secrets.binary }}", &context()).is_err());
    }

    #[test]
    fn scalars_keep_their_type() {
        let cases = [
            ("plain", json!("plain")),
            ("echo ${#x}", json!("echo ${#x}")),
            ("{{ port }}", json!(8080)),
            (" {{ port }} ", json!(8080)),
            ("{{- port -}}", json!(8080)),
            ("{{ port }}0", json!("80800")),
            ("{{ port }}{{ port }}", json!("80808080")),
            ("{{ '}}{{' }}", json!("}}{{")),
            ("{{ port > 80 }}", json!(true)),
            ("{{ none }}", json!(null)),
            ("{{ 1.5 }}", json!(1.5)),
            ("{{ nested }}", json!({"list": [8080, 8081, true], "text": "ONE"})),
            ("{{ copy.list[1] }}", json!(8081)),
            ("{{ groups.control | map('upper') }}", json!(["CTL1", "CTL2"])),
            ("{{ {'a': {1: 2}} }}", json!({"a": {"1": 2}})),
            ("{% if port %}x{% endif %}", json!("x")),
            ("{{ unused if false else 1 }}", json!(1)),
        ];
        for (text, value) in cases {
            assert_eq!(evaluate(text), (value.clone(), value, false), "{text}");
        }
    }

    #[test]
    fn secrets_are_followed_through_scalars() {
        let cases = [
            ("{{ secrets.db }}", json!("s3cr3t"), json!("«secret:db»")),
            ("x={{ database }}", json!("x=mysql://s3cr3t@one"), json!("x=mysql://«secret:db»@one")),
            ("{{ secrets.number | int }}", json!(12345), json!("«secret»")),
            ("{{ [secrets.db | length] }}", json!([6]), json!([11])),
        ];
        for (text, value, shown) in cases {
            assert_eq!(evaluate(text), (value, shown, true), "{text}");
        }
        let all = templates().evaluate_all("x", &json!({"a": ["{{ secrets.db }}", 1]}), &context()).unwrap();
        assert_eq!((all.value, all.shown), (json!({"a": ["s3cr3t", 1]}), json!({"a": ["«secret:db»", 1]})));
        let printed = format!("{:?} {:?}", templates().evaluate("x", "{{ database }}", &context()).unwrap(), context());
        assert!(!printed.contains("s3cr3t"), "{printed}");
    }

    #[test]
    fn taint_is_remembered_with_the_variable() {
        let (context, templates) = (context(), templates());
        for _ in 0..3 {
            assert!(templates.evaluate("x", "{{ database }}", &context).unwrap().uses_secret);
            assert!(!templates.evaluate("x", "{{ url }}", &context).unwrap().uses_secret);
        }
    }

    #[test]
    fn sources_of_one_name_are_told_apart() {
        let (context, templates) = (context(), templates());
        for text in ["a{{ port }}", "b{{ port }}", "a{{ port }}"] {
            let rendered = templates.render("same", text, &context).unwrap();
            assert_eq!(rendered.shown, Shown::Text(text.replace("{{ port }}", "8080")));
        }
    }

    #[test]
    fn deep_chains_end_in_an_error() {
        let mut layer: Layer =
            (0..200).map(|n| (format!("v{n}"), Variable::new(format!("{{{{ v{} }}}}", n + 1)))).collect();
        layer.insert("v200".to_owned(), Variable::new(1));
        let context = Context::builder().layer(layer).build();
        assert_eq!(templates().evaluate("x", "{{ v180 }}", &context).unwrap().value, json!(1));
        let error = templates().evaluate("x", "{{ v0 }}", &context).unwrap_err();
        assert!(error.message.contains("levels deep"), "{error}");
    }

    /// What Dockerfiles are written with: blocks over two levels, macros, and functions of a table.
    #[test]
    fn blocks_macros_and_lookups() {
        let templates = Templates::new(|name| {
            match name {
            "layout.j2" => Some("FROM {{ image('base') }}\n{% block install %}\nRUN {{ word }}\n{% endblock %}\nUSER x\n".into()),
            "macros.j2" => Some("{% macro apt(list) %}\nRUN apt {{ list | join(' ') }} {{ word }}\n{%- endmacro %}".into()),
            "own.j2" => Some(
                "{% extends 'layout.j2' %}\n{% block install %}\n{{ super() }}\n{% from 'macros.j2' import apt %}\n{{ apt(['a', 'b']) }}\n{% endblock %}".into(),
            ),
            _ => None,
        }
        });
        let layer: Layer = [("word".to_owned(), Variable::new("variable"))].into_iter().collect();
        let table = BTreeMap::from([("base".to_owned(), "mastic/base:1".to_owned())]);
        let context = Context::builder().layer(layer).lookup("image", table, "there is no such image").build();
        let site = "{% extends 'own.j2' %}{% block install %}{{ super() }}RUN site\n{% endblock %}";
        let rendered = templates.render("overrides/own.j2", site, &context).unwrap();
        insta::assert_snapshot!(String::from_utf8_lossy(rendered.real.expose()), @r"
        FROM mastic/base:1
        RUN variable

        RUN apt a b variable
        RUN site
        USER x
        ");
        let error = templates.render("x.j2", "a\nFROM {{ image('bse') }}", &context).unwrap_err();
        insta::assert_snapshot!(error, @"x.j2:2:9: there is no such image in `image('bse')`");
    }
}

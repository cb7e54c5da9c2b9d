//! Secrecy of rendering, over generated input.

use std::collections::BTreeMap;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::json;

use super::template::Templates;
use super::variables::{Context, Layer, Variable};
use crate::model::file::Shown;
use crate::model::secret::Sensitive;

/// Expressions over two secrets and some variables; most of them work.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("secrets.one".to_owned()),
        Just("secrets['two']".to_owned()),
        Just("direct".to_owned()),
        Just("nested.list[0]".to_owned()),
        Just("nested".to_owned()),
        Just("plain".to_owned()),
        Just("vars.indirect".to_owned()),
        Just("missing".to_owned()),
        Just("'text'".to_owned()),
        Just("3".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let filter = prop::sample::select(vec![
            "upper",
            "lower",
            "b64encode",
            "b64decode",
            "urlencode",
            "to_json",
            "to_yaml",
            "quote",
            "int",
            "length",
            "list",
            "reverse",
            "first",
            "hash('sha256')",
            "default('d')",
            "replace('a', 'b')",
            "trim",
            "string",
            "regex_replace('(.)', '\\\\1')",
            "bool",
            "from_json",
            "join('')",
            "indent",
            "e",
            "title",
        ]);
        let operator = prop::sample::select(vec!["~", "+", "==", "*", "in", "and", "or", "/", "<"]);
        prop_oneof![
            (inner.clone(), filter).prop_map(|(value, filter)| format!("({value}) | {filter}")),
            (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| format!("({a}) {operator} ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {{'k': {b}}}]")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) if ({b}) else ({c})")),
            inner.prop_map(|value| format!("({value})[1:]")),
        ]
    })
}

fn template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => expression().prop_map(|text| format!("{{{{ {text} }}}}")),
        1 => (expression(), expression()).prop_map(|(a, b)| format!("{{% if {a} %}}{{{{ {b} }}}}{{% endif %}}")),
        1 => (expression(), expression()).prop_map(|(a, b)| format!("{{% for x in {a} %}}{{{{ x }}}}{{{{ {b} }}}}{{% endfor %}}")),
        1 => expression().prop_map(|text| format!("{{% set v = {text} %}}{{{{ v }}}}")),
        1 => Just("text\n".to_owned()),
    ];
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn context(one: &str, two: &str, variable: &str) -> Context {
    let layer: Layer = [
        ("direct", json!("x{{ secrets.one }}y")),
        ("nested", json!({"list": ["{{ secrets.two | upper }}", 1], "key": "{{ direct }}"})),
        ("indirect", json!("{{ nested.key }}")),
        ("plain", json!("plain")),
        ("generated", json!(variable)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Variable::new(value)))
    .collect();
    let secrets = [("one", one), ("two", two)].map(|(name, value)| (name.to_owned(), Sensitive::new(value)));
    Context::builder().layer(layer).secrets(BTreeMap::from(secrets)).build()
}

fn forms(secret: &str) -> Vec<String> {
    let percent = secret.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
    vec![
        secret.to_lowercase(),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret).to_lowercase(),
        hex::encode(secret),
        percent.to_lowercase(),
        secret.chars().rev().collect::<String>().to_lowercase(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is shown, and every error, is the same whatever the secrets are.
    #[test]
    fn what_is_shown_holds_no_secret(
        template in template(),
        one in "[A-Z0-9]{3}QZ[a-z0-9/+&]{6,12}",
        two in "[1-9][0-9]{11}",
        variable in expression(),
    ) {
        let templates = Templates::new(|_| None);
        let variable = format!("{{{{ {variable} }}}}");
        let sources = [template.as_str(), "{{ generated }}", variable.as_str()];
        let context = context(&one, &two, &variable);
        for source in sources {
            let told = match templates.render("t", source, &context) {
                Err(error) => format!("{error} {error:?}"),
                Ok(rendered) => {
                    let holds = |form: &String| {
                        String::from_utf8_lossy(rendered.real.expose()).to_lowercase().contains(form.as_str())
                    };
                    if forms(&one).iter().chain(&forms(&two)).any(holds) {
                        prop_assert!(rendered.uses_secret);
                    }
                    format!("{rendered:?}")
                }
            };
            let evaluated = match templates.evaluate("e", source, &context) {
                Err(error) => format!("{error} {error:?}"),
                Ok(evaluated) => format!("{evaluated:?}"),
            };
            let told = format!("{told} {evaluated}").to_lowercase();
            for form in forms(&one).iter().chain(&forms(&two)) {
                prop_assert!(!told.contains(form.as_str()), "{form} in {told}");
            }
        }
    }

    /// With other secrets of the same kind the same is shown, unless only its length can be.
    #[test]
    fn what_is_shown_does_not_depend_on_secrets(template in template()) {
        let templates = Templates::new(|_| None);
        let shown = |one, two| templates.render("t", &template, &context(one, two, "x")).map(|rendered| rendered.shown);
        if let (Ok(Shown::Text(first)), Ok(Shown::Text(second))) = (shown("ABCdef", "123456"), shown("XYZuvw", "987654")) {
            prop_assert_eq!(first, second);
        }
    }
}

//! The JSON Schema of a site, from the same tables as the checks.

use serde_json::{Map, Value, json};

use super::keys::role::ROLE;
use super::keys::site::SITE;
use super::shape::{Class, Shape, Table};

/// JSON Schema (draft 2020-12) of a site file.
pub fn site_schema() -> Value {
    document_schema(&SITE, "Mastic site", "What a set of hosts with Docker engines should run.")
}

/// JSON Schema (draft 2020-12) of a role.
pub fn role_schema() -> Value {
    document_schema(
        &ROLE,
        "Mastic role",
        "A product: its services, jobs, files, variables and what others reach of it.",
    )
}

fn document_schema(table: &Table, title: &str, description: &str) -> Value {
    let mut schema = table_schema(table);
    if let Value::Object(root) = &mut schema {
        root.shift_insert(0, "$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.shift_insert(1, "title".to_owned(), json!(title));
        root.shift_insert(2, "description".to_owned(), json!(description));
    }
    schema
}

/// A text with an expression fits wherever a scalar does: its value is checked when it is known.
fn expression() -> Value {
    json!({"type": "string", "pattern": "\\{\\{|\\{%"})
}

fn shape_schema(shape: &Shape) -> Value {
    match shape {
        Shape::Anything => json!({}),
        Shape::Scalar(leaf) => {
            let own: Value = serde_json::from_str(leaf.schema).unwrap_or_else(|_| json!({}));
            json!({"anyOf": [own, expression()]})
        }
        Shape::OneOf(words) => json!({"anyOf": [{"enum": words}, expression()]}),
        Shape::List(item) => json!({"type": "array", "items": shape_schema(item)}),
        Shape::Map(value) => {
            json!({"type": "object", "additionalProperties": {"anyOf": [shape_schema(value), {"type": "null"}]}})
        }
        Shape::Object(table) => table_schema(table),
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(shape_schema).collect::<Vec<_>>()}),
    }
}

fn table_schema(table: &Table) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in table.iter() {
        match key.class {
            // Refused keys are not offered, and so not allowed.
            Class::Refused(_) => continue,
            Class::Required => required.push(key.name),
            Class::Honoured => {}
        }
        let mut property = shape_schema(&key.shape);
        if key.class == Class::Honoured {
            property = json!({"anyOf": [property, {"type": "null"}]});
        }
        if let Value::Object(property) = &mut property {
            property.insert("description".to_owned(), json!(key.doc));
        }
        properties.insert(key.name.to_owned(), property);
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
    });
    if !required.is_empty()
        && let Value::Object(schema) = &mut schema
    {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

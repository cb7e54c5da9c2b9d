//! Filters and tests that Ansible has and Kolla's templates use, beyond those of the engine.
//!
//! Their errors are fixed words (`refuse`): an error never repeats what the filter was given.

#![expect(clippy::needless_pass_by_value, reason = "the engine hands arguments over as values")]

mod collections;
mod documents;
mod patterns;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, Value};
use sha2::Digest as _;

use super::safe_error::refuse;

use collections::{combine, dict2items, difference, extract, flatten, intersect, items2dict, union};
use documents::{from_json, from_yaml, json, yaml};
use patterns::{compile, regex_replace, regex_search};

/// Adds all of them.
pub(super) fn register(environment: &mut Environment<'static>) {
    environment.add_filter("bool", bool_of);
    environment.add_filter("ternary", ternary);
    environment.add_filter("mandatory", mandatory);
    environment.add_filter("combine", combine);
    environment.add_filter("extract", extract);
    environment.add_filter("flatten", flatten);
    environment.add_filter("union", union);
    environment.add_filter("intersect", intersect);
    environment.add_filter("difference", difference);
    environment.add_filter("dict2items", dict2items);
    environment.add_filter("items2dict", items2dict);
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("regex_search", regex_search);
    environment.add_filter("regex_escape", |text: String| regex::escape(&text));
    environment.add_filter("to_json", |value: &Value| json(value, None));
    environment.add_filter("to_nice_json", |value: &Value, options: Kwargs| {
        let indent = options.get::<Option<usize>>("indent").map_err(|_| refuse("`indent` has to be a number"))?;
        options.assert_all_used()?;
        json(value, Some(indent.unwrap_or(4).min(16)))
    });
    environment.add_filter("from_json", from_json);
    environment.add_filter("to_yaml", |value: &Value, _options: Kwargs| yaml(value));
    environment.add_filter("to_nice_yaml", |value: &Value, _options: Kwargs| yaml(value));
    environment.add_filter("from_yaml", from_yaml);
    environment.add_filter("basename", |path: String| path.rsplit('/').next().unwrap_or_default().to_owned());
    environment.add_filter("dirname", dirname);
    environment.add_filter("hash", hash);
    environment.add_filter("checksum", |value: &Value| hash(value, Some("sha1")));
    environment.add_filter("b64encode", |value: &Value| Ok::<_, Error>(STANDARD.encode(bytes(value)?)));
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("quote", quote);
    environment.add_filter("comment", comment);
    environment.add_filter("put_address_in_context", put_address_in_context);
    environment.add_test("match", |text: String, pattern: String| {
        Ok::<_, Error>(compile(&pattern)?.find(&text).is_some_and(|found| found.start() == 0))
    });
    environment.add_test("search", |text: String, pattern: String| Ok::<_, Error>(compile(&pattern)?.is_match(&text)));
    environment.add_test("truthy", |value: &Value| value.is_true());
    environment.add_test("falsy", |value: &Value| !value.is_true());
    environment.add_test("subset", |part: &Value, whole: &Value| {
        let whole = list(whole)?;
        Ok::<_, Error>(list(part)?.iter().all(|item| whole.contains(item)))
    });
    environment.add_test("superset", |whole: &Value, part: &Value| {
        let whole = list(whole)?;
        Ok::<_, Error>(list(part)?.iter().all(|item| whole.contains(item)))
    });
}

fn given(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() { Err(Error::from(minijinja::ErrorKind::UndefinedError)) } else { Ok(value) }
}

fn list(value: &Value) -> Result<Vec<Value>, Error> {
    match given(value)?.kind() {
        ValueKind::Seq | ValueKind::Iterable => Ok(value.try_iter().map_err(|_| refuse("a list is needed"))?.collect()),
        _ => Err(refuse("a list is needed")),
    }
}

fn bytes(value: &Value) -> Result<Vec<u8>, Error> {
    let value = given(value)?;
    match value.as_bytes() {
        Some(bytes) => Ok(bytes.to_vec()),
        None => Ok(value.to_string().into_bytes()),
    }
}

/// Ansible's: `yes`, `on`, `1`, `true` in any case are true, everything else is not.
fn bool_of(value: &Value) -> Result<Value, Error> {
    let value = given(value)?;
    Ok(match value.kind() {
        ValueKind::None | ValueKind::Bool => value.clone(),
        ValueKind::String => {
            Value::from(matches!(value.to_string().to_lowercase().as_str(), "yes" | "on" | "1" | "true" | "y" | "t"))
        }
        ValueKind::Number => Value::from(*value == Value::from(1)),
        _ => Value::from(false),
    })
}

fn ternary(value: &Value, yes: Value, no: Value, none: Option<Value>) -> Result<Value, Error> {
    match none {
        Some(none) if given(value)?.is_none() => Ok(none),
        _ => Ok(if given(value)?.is_true() { yes } else { no }),
    }
}

fn mandatory(value: &Value, _message: Option<Value>) -> Result<Value, Error> {
    given(value).cloned()
}

fn dirname(path: String) -> String {
    match path.rsplit_once('/') {
        None => String::new(),
        Some((before, _)) => {
            let trimmed = before.trim_end_matches('/');
            if trimmed.is_empty() && !before.is_empty() || path.starts_with('/') && trimmed.is_empty() {
                "/".to_owned()
            } else {
                trimmed.to_owned()
            }
        }
    }
}

fn hash(value: &Value, algorithm: Option<&str>) -> Result<String, Error> {
    let bytes = bytes(value)?;
    Ok(match algorithm.unwrap_or("sha1") {
        "md5" => hex::encode(md5::Md5::digest(bytes)),
        "sha1" => hex::encode(sha1::Sha1::digest(bytes)),
        "sha224" => hex::encode(sha2::Sha224::digest(bytes)),
        "sha256" => hex::encode(sha2::Sha256::digest(bytes)),
        "sha384" => hex::encode(sha2::Sha384::digest(bytes)),
        "sha512" => hex::encode(sha2::Sha512::digest(bytes)),
        _ => return Err(refuse("there are md5, sha1, sha224, sha256, sha384 and sha512")),
    })
}

fn b64decode(text: String) -> Result<Value, Error> {
    let compact: String = text.split_whitespace().collect();
    let bytes = STANDARD.decode(compact).map_err(|_| refuse("this is no base64"))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(error) => Value::from_bytes(error.into_bytes()),
    })
}

fn quote(value: &Value) -> Result<String, Error> {
    let text = given(value)?.to_string();
    shlex::try_quote(&text)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| refuse("a zero byte cannot be quoted for a shell"))
}

fn comment(text: String) -> String {
    let lines = text.lines().map(|line| format!("# {line}").trim_end().to_owned());
    format!("#\n{}\n#", lines.collect::<Vec<_>>().join("\n"))
}

/// Kolla's: brackets an IPv6 address as a URL or memcached needs it.
fn put_address_in_context(address: String, context: &str) -> Result<String, Error> {
    if !address.contains(':') {
        return match context {
            "url" | "memcache" => Ok(address),
            _ => Err(refuse("there are the contexts url and memcache")),
        };
    }
    match context {
        "url" => Ok(format!("[{address}]")),
        "memcache" => Ok(format!("inet6:[{address}]")),
        _ => Err(refuse("there are the contexts url and memcache")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use minijinja::context;

    use super::super::environment::environment;

    fn render(text: &str) -> String {
        let data = context! {
            map => context! { b => 1, a => context! { x => 1, y => [1, 2] } },
            hosts => context! { one => context! { ip => "10.0.0.1", net => context! { api => "fd00::1" } } },
            text => "Hello, World",
            quote => "it's",
        };
        match environment(std::sync::Arc::new(|_: &str| None)).render_str(text, data) {
            Ok(text) => text,
            Err(error) => format!("ERROR {}", error.kind()),
        }
    }

    #[test]
    fn filters_do_what_ansible_does() {
        let cases = [
            (
                "{{ 'yes' | bool }} {{ 'No' | bool }} {{ 1 | bool }} {{ 2 | bool }} {{ none | bool }}",
                "True False True False None",
            ),
            ("{{ true | ternary('a', 'b') }}{{ '' | ternary('a', 'b') }}{{ none | ternary(1, 2, 3) }}", "ab3"),
            ("{{ {'a': 1, 'b': {'c': 1}} | combine({'b': {'d': 2}}) | to_json }}", r#"{"a": 1, "b": {"d": 2}}"#),
            (
                "{{ {'a': 1, 'b': {'c': 1}} | combine({'b': {'d': 2}}, {'a': 3}, recursive=true) | to_json }}",
                r#"{"a": 3, "b": {"c": 1, "d": 2}}"#,
            ),
            ("{{ text | regex_replace('(\\\\w+), (\\\\w+)', '\\\\2 $1 \\\\g<1>') }}", "World $1 Hello"),
            ("{{ text | regex_replace('l') }}", "Heo, Word"),
            ("{{ text | regex_replace('HELLO', 'x', ignorecase=true) }}", "x, World"),
            ("{{ text | regex_search('W.*') }} {{ text | regex_search('nope') }}", "World None"),
            ("{{ text | regex_search('(H)(e)', '\\\\2', '\\\\1') | to_json }}", r#"["e", "H"]"#),
            ("{{ 'a.b' | regex_escape }}", r"a\.b"),
            ("{{ map | to_json }}", r#"{"b": 1, "a": {"x": 1, "y": [1, 2]}}"#),
            ("{{ ['<é>', none, true, 1.5] | to_json }}", r#"["<é>", null, true, 1.5]"#),
            (
                "{{ map | to_nice_json(indent=2) }}",
                "{\n  \"a\": {\n    \"x\": 1,\n    \"y\": [\n      1,\n      2\n    ]\n  },\n  \"b\": 1\n}",
            ),
            ("{{ [] | to_nice_json }}{{ {} | to_nice_json }}", "[]{}"),
            ("{{ ('[1, {\"a\": 2}]' | from_json)[1].a }}", "2"),
            ("{{ {'a': [1, 'x']} | to_yaml }}", "a:\n- 1\n- x\n"),
            ("{{ ('a: [1, x]' | from_yaml).a[1] }}", "x"),
            (
                "{{ '/a/b/c.txt' | basename }} {{ '/a/b/c.txt' | dirname }} {{ '/a' | dirname }} {{ 'a' | dirname }}.",
                "c.txt /a/b / .",
            ),
            ("{{ 'abc' | hash }}", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("{{ 'abc' | hash('md5') }}", "900150983cd24fb0d6963f7d28e17f72"),
            ("{{ 'abc' | hash('sha256') }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("{{ 'abc' | b64encode }} {{ 'YWJj' | b64decode }}", "YWJj abc"),
            ("{{ '//79' | b64decode | b64encode }}", "//79"),
            ("{{ '//79' | b64decode }}", "ERROR invalid operation"),
            ("{{ quote | quote }} {{ 'a' | quote }} {{ '' | quote }}", "\"it's\" a ''"),
            ("{{ 'fd00::1' | put_address_in_context('url') }}", "[fd00::1]"),
            ("{{ 'fd00::1' | put_address_in_context('memcache') }}", "inet6:[fd00::1]"),
            ("{{ '10.0.0.1' | put_address_in_context('url') }}", "10.0.0.1"),
            ("{{ 'one' | extract(hosts, 'ip') }} {{ 'one' | extract(hosts, ['net', 'api']) }}", "10.0.0.1 fd00::1"),
            ("{{ ['one'] | map('extract', hosts, 'ip') | join(',') }}", "10.0.0.1"),
            ("{{ 'two' | extract(hosts, 'ip') }}", "ERROR undefined value"),
            ("{{ [1, [2, [3]]] | flatten | to_json }}", "[1, 2, 3]"),
            (
                "{{ [1, 2] | union([2, 3]) }}{{ [1, 2] | intersect([2, 3]) }}{{ [1, 2] | difference([2, 3]) }}",
                "[1, 2, 3][2][1]",
            ),
            ("{{ {'a': 1} | dict2items | to_json }}", r#"[{"key": "a", "value": 1}]"#),
            ("{{ [{'key': 'a', 'value': 1}] | items2dict | to_json }}", r#"{"a": 1}"#),
            ("{{ 'a\nb' | comment }}", "#\n# a\n# b\n#"),
            ("{{ 'abc' is match('b') }} {{ 'abc' is search('b') }} {{ [1] is subset([1, 2]) }}", "False True True"),
            ("{{ nope | bool }}", "ERROR undefined value"),
            ("{{ nope | default('x') | bool }}", "False"),
            ("{{ nope | mandatory }}", "ERROR undefined value"),
            ("{{ nope | to_json }}", "ERROR undefined value"),
            ("{{ 'a/b c' | urlencode }}", "a/b%20c"),
            ("{{ 'a,b'.split(',') | last }} {{ 'abc'.startswith('a') }} {{ map.get('z', 7) }}", "b True 7"),
            ("{% for i in [1, 2] %}\n{{ i }}\n{% endfor %}\n", "1\n2\n"),
            ("{{ '<' }}", "<"),
        ];
        for (template, expected) in cases {
            assert_eq!(render(template), expected, "{template}");
        }
    }
}

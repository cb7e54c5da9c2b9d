//! YAML layers, by example and over generated trees.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::ini_tests::{layer, secret_layer, story, text};
use super::yaml::{Kind, Node, Pair, parse};
use super::yaml_merge::overlay;
use super::yaml_write::write;
use super::{Format, LayerText, Origin, merge};
use crate::model::file::Shown;

fn merged_as(format: Format, layers: &[&str]) -> String {
    let layers: Vec<LayerText> =
        layers.iter().enumerate().map(|(index, text)| layer(&format!("layer{index}"), text)).collect();
    text(&merge(format, &layers).unwrap())
}

fn merged(layers: &[&str]) -> String {
    merged_as(Format::YAML, layers)
}

#[test]
fn mappings_merge_deeply_and_lists_and_scalars_are_replaced() {
    assert_snapshot!(merged(&[
        "# comment\nglobal:\n  scrape_interval: 60s\n  labels: {site: one, 'no': \"yes\"}\nrules: [a, b]\n",
        "rules:\n  - c\nglobal:\n  labels:\n    host: ctl1\n  timeout: 10s\nextra: |\n  two\n  lines\n",
    ]), @r#"
    global:
      scrape_interval: 60s
      labels:
        site: one
        "no": "yes"
        host: ctl1
      timeout: 10s
    rules:
      - c
    extra: |
      two
      lines
    "#);
}

#[test]
fn lists_may_be_appended() {
    let format = Format::Yaml { extend_lists: true };
    assert_snapshot!(merged_as(format, &["jobs:\n- {name: a}\n", "jobs:\n- name: b\n  every: 1m\n- [1, [2]]\n"]), @r"
    jobs:
      - name: a
      - name: b
        every: 1m
      - - 1
        - - 2
    ");
    assert_snapshot!(merged_as(format, &["jobs: [a]\n", "jobs: !replace [b]\n"]), @r"
    jobs:
      - b
    ");
}

#[test]
fn keys_can_be_taken_away_and_mappings_replaced() {
    let low = "a: 1\nb: {x: 1, y: 2}\nc: {x: 1}\nd: 4\n";
    assert_snapshot!(merged(&[low, "a: !delete\nb: {x: !delete}\nc: !replace {y: 2}\nnowhere: !delete\n"]), @r"
    b:
      y: 2
    c:
      y: 2
    d: 4
    ");
    assert_snapshot!(merged(&[low, "b: !delete\n", "b: {z: 3}\n"]), @r"
    a: 1
    b:
      z: 3
    c:
      x: 1
    d: 4
    ");
    assert_snapshot!(merged(&["a: {x: 1}\n", "a: {x: !delete}\n"]), @"a: {}");
}

#[test]
fn scalars_keep_their_spelling_and_what_is_in_doubt_is_quoted() {
    assert_snapshot!(merged(&[
        "mode: 0644\nversion: 1.10\nyes: no\nquoted: \"no\"\nnothing:\ntilde: ~\nsexagesimal: 1:30\nregex: '^a\\d+: #$'\n\
         apostrophe: \"it's\"\nempty: ''\nnumber: \"12\"\nlong: >\n  folded\n  text\ntab: \"a\\tb\"\nlines: \"a\\n\\nb\\n\\n\"\n\
         script: |\n  #!/bin/sh\n    exit 0\nplain: a, b [c]\nurl: http://x:80/\ntagged: !vault secret\nbinary: !!binary aGk=\n? multi word\n: [ ]\n",
    ]), @r#"
    mode: 0644
    version: 1.10
    yes: no
    quoted: "no"
    nothing: null
    tilde: ~
    sexagesimal: 1:30
    regex: '^a\d+: #$'
    apostrophe: "it's"
    empty: ""
    number: "12"
    long: |
      folded text
    tab: "a\tb"
    lines: "a\n\nb\n\n"
    script: |
      #!/bin/sh
        exit 0
    plain: "a, b [c]"
    url: http://x:80/
    tagged: !vault secret
    binary: !!binary aGk=
    multi word: []
    "#);
}

#[test]
fn aliases_and_merge_keys_are_written_out() {
    assert_snapshot!(merged(&["base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\nlist: [*base]\n"]), @r"
    base:
      a: 1
      b: 2
    use:
      b: 3
      a: 1
    list:
      - a: 1
        b: 2
    ");
}

#[test]
fn an_empty_file_is_no_layer() {
    for empty in ["", "\n", "# only a comment\n", "---\n", "null\n", "~"] {
        assert_eq!(merged(&["a: 1\n", empty]), "a: 1\n", "{empty:?}");
        assert_eq!(merged(&[empty]), "");
    }
    assert_eq!(merged(&["- a\n- b\n"]), "- a\n- b\n");
    assert_eq!(merged(&["{}"]), "{}\n");
    assert_eq!(merged(&["a: 1\n", "just text\n"]), "just text\n");
}

#[test]
fn provenance_names_layer_and_line_of_every_value() {
    let layers = [
        layer("low", "a:\n  x: 1\n  y: {z: 2}\nlist: [1]\ngone: {q: 1}\n"),
        layer("high", "a:\n  x: 2\n  y: 3\ngone: !delete\nlist: [2]\n"),
    ];
    assert_snapshot!(story(&merge(Format::YAML, &layers).unwrap()), @r#"
    a.x = ["2"], layer 1 line 2
        over ["1"], layer 0 line 2
    a.y = ["3"], layer 1 line 3
        over ["{z: 2}"], layer 0 line 3
    list = ["[2]"], layer 1 line 5
        over ["[1]"], layer 0 line 4
    gone taken away, layer 1 line 4
        over ["{q: 1}"], layer 0 line 5
    "#);
    assert_snapshot!(story(&merge(Format::Yaml { extend_lists: true }, &layers).unwrap()), @r#"
    a.x = ["2"], layer 1 line 2
        over ["1"], layer 0 line 2
    a.y = ["3"], layer 1 line 3
        over ["{z: 2}"], layer 0 line 3
    list.0 = ["1"], layer 0 line 4
    list.1 = ["2"], layer 1 line 5
    gone taken away, layer 1 line 4
        over ["{q: 1}"], layer 0 line 5
    "#);
}

#[test]
fn errors_name_the_place_and_what_to_do() {
    let texts = [
        "a: [1\nb: 2\n",
        "a: 1\na: 2\n",
        "? [a]\n: 1\n",
        "a: 1\n---\nb: 2\n",
        "- !delete\n",
        "a: !delete 3\n",
        "a: !replace 3\n",
        "a: {<<: 3}\n",
        "a: &a [*a]\n",
        "!delete\n",
    ];
    let errors = texts.map(|text| {
        let error = merge(Format::YAML, &[layer("low", "x: 1\n"), layer("app.yaml", text)]).unwrap_err();
        format!("{error}\n  {}", error.help().unwrap())
    });
    assert_snapshot!(errors.join("\n"), @r#"
    app.yaml:2:2: this is not YAML: illegal placement of ':' indicator
      quote what a template puts in (`"{{ x }}"`, or `{{ x | to_json }}`), and indent with blanks
    app.yaml:2:1: this key stands in its mapping already, in line 1
      keep one of them
    app.yaml:1:5: a key is a text, a number or a boolean
      put quotes around a key that starts with `{` or `[`
    app.yaml:2:1: a second document begins here
      one file, one document: take `---` away
    app.yaml:1:3: `!delete` means nothing here
      `KEY: !delete` takes a key of a mapping away; a list is replaced as a whole
    app.yaml:1:4: `!delete` means nothing here
      `KEY: !delete` takes a key of a mapping away; a list is replaced as a whole
    app.yaml:1:4: `!replace` means nothing here
      `KEY: !replace` is for a mapping or a list; a scalar replaces anyway
    app.yaml:1:9: `<<` takes a mapping or a list of mappings
      write `<<: *NAME`, and `NAME: &NAME` where the mapping stands
    app.yaml:1:8: this alias is part of what it stands for
      write it out
    app.yaml:1:1: `!delete` means nothing here
      `KEY: !delete` takes a key of a mapping away; a list is replaced as a whole
    "#);
}

#[test]
fn texts_that_unfold_or_nest_beyond_all_measure_are_errors() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb += &format!("a{n}: &a{n} [{aliases}]\n");
    }
    for text in [bomb, "[".repeat(100_000), "- ".repeat(10_000)] {
        merge(Format::YAML, &[layer("x", &text)]).unwrap_err();
    }
}

#[test]
fn secrets_are_merged_like_everything_else_and_seen_by_nobody() {
    let low = secret_layer("low", "db: {password: HUNTER2, user: x}\n", "db: {password: «secret:db», user: x}\n");
    let merged = merge(Format::YAML, &[low, layer("high", "db: {user: y}\n")]).unwrap();
    assert_eq!(text(&merged), "db:\n  password: HUNTER2\n  user: y\n");
    assert_eq!(merged.rendered.shown, Shown::Text("db:\n  password: «secret:db»\n  user: y\n".to_owned()));
    let error = merge(Format::YAML, &[secret_layer("x", "a: *HUNTER2\n", "")]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("HUNTER2"), "{error:?}");
}

fn scalar() -> impl Strategy<Value = Kind> {
    let word =
        prop::sample::select(vec!["no", "0644", "1.10", "~", "null", "-1", "2001-01-01", "<<", "a b", "x:y", ".5"]);
    prop_oneof![
        word.prop_map(|text| Kind::Scalar { text: text.to_owned(), plain: true }),
        "(?s).{0,12}".prop_map(|text| Kind::Scalar { text, plain: false }),
        "[ \\-?:,\\[\\]{}#&*!|>'\"%@`\\\\ab\n\t\r\u{85}\u{2028}\u{feff}\u{1f600}\u{0}]{0,8}"
            .prop_map(|text| Kind::Scalar { text, plain: false }),
    ]
}

fn node(kind: Kind, tag: Option<String>, replaces: bool) -> Node {
    Node { origin: Origin { layer: 0, line: 1 }, tag, replaces, kind, replaced: Vec::new() }
}

fn tree() -> impl Strategy<Value = Node> {
    scalar().prop_map(|kind| node(kind, None, false)).prop_recursive(4, 24, 4, |inner| {
        let tag = prop::option::weighted(0.1, Just("!tag".to_owned()));
        let key = prop_oneof![
            3 => prop::sample::select(vec!["a", "b", "c"]).prop_map(|key| (key.to_owned(), true)),
            1 => "(?s).{0,6}".prop_map(|key| (key, false)),
        ];
        let deleted = Just(node(Kind::Deleted, None, false));
        let value = prop_oneof![6 => inner.clone(), 1 => deleted];
        let pairs = prop::collection::vec((key, value), 0..4).prop_map(|pairs| {
            Kind::Mapping(pairs.into_iter().map(|((key, plain), value)| (key, Pair { plain, value })).collect())
        });
        let items = prop::collection::vec(inner, 0..4).prop_map(Kind::Sequence);
        (prop_oneof![3 => pairs, 1 => items], tag, prop::bool::weighted(0.1))
            .prop_map(|(kind, tag, replaces)| node(kind, tag, replaces))
    })
}

/// Without what was taken away.
fn alive(node: &Node) -> Node {
    let kind = match &node.kind {
        Kind::Mapping(pairs) => Kind::Mapping(
            pairs
                .iter()
                .filter(|(_, pair)| pair.value.kind != Kind::Deleted)
                .map(|(key, pair)| (key.clone(), Pair { plain: pair.plain, value: alive(&pair.value) }))
                .collect(),
        ),
        Kind::Sequence(items) => Kind::Sequence(items.iter().map(alive).collect()),
        kind => kind.clone(),
    };
    Node { kind, ..node.clone() }
}

proptest! {
    #[test]
    fn what_was_written_is_read_as_the_same(tree in tree()) {
        let text = write(Some(&tree));
        let again = parse(&text, 0).unwrap();
        let nothing = matches!(&tree.kind, Kind::Scalar { text, plain: true } if text == "null" || text == "~");
        prop_assert_eq!(again, Some(alive(&tree)).filter(|_| !nothing), "{}", text);
    }

    #[test]
    fn layers_may_be_merged_in_any_grouping(a in tree(), b in tree(), c in tree(), extend: bool) {
        let over = |lower: &Node, upper: &Node| overlay(Some(lower.clone()), Some(upper.clone()), extend).unwrap();
        let left = over(&over(&a, &b), &c);
        let right = over(&a, &over(&b, &c));
        prop_assert_eq!(write(Some(&left)), write(Some(&right)));
    }

    #[test]
    fn an_empty_layer_changes_nothing(tree in tree(), extend: bool) {
        let text = write(Some(&tree));
        prop_assert_eq!(write(overlay(Some(tree.clone()), None, extend).as_ref()), text.clone());
        prop_assert_eq!(write(overlay(None, Some(tree), extend).as_ref()), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(?s)[\\[\\]{}:\\-?!&*<|>'\"# a,\n\t\r\u{feff}é]{0,40}") {
        if let Ok(read) = parse(&text, 0) {
            let text = write(read.as_ref());
            prop_assert_eq!(write(parse(&text, 0).unwrap().as_ref()), text);
        }
    }
}

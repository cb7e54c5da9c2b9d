//! INI layers, by example and over generated texts. The comparison with oslo.config itself is in tests/it/.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::ini::{Ini, parse};
use super::{Format, LayerError, LayerText, Merged, merge};
use crate::model::file::Shown;
use crate::model::secret::Sensitive;
use crate::render::template::Rendered;

pub(super) fn layer(name: &str, text: &str) -> LayerText {
    let shown = Shown::Text(text.to_owned());
    LayerText { name: name.to_owned(), rendered: Rendered { real: Sensitive::new(text), shown, uses_secret: false } }
}

pub(super) fn secret_layer(name: &str, real: &str, shown: &str) -> LayerText {
    let rendered = Rendered { real: Sensitive::new(real), shown: Shown::Text(shown.to_owned()), uses_secret: true };
    LayerText { name: name.to_owned(), rendered }
}

pub(super) fn text(merged: &Merged) -> String {
    String::from_utf8(merged.rendered.real.expose().to_vec()).unwrap()
}

fn merged(layers: &[&str]) -> String {
    let layers: Vec<LayerText> =
        layers.iter().enumerate().map(|(index, text)| layer(&format!("layer{index}"), text)).collect();
    text(&merge(Format::INI, &layers).unwrap())
}

fn error(text: &str) -> String {
    let error = merge(Format::INI, &[layer("nova.conf", text)]).unwrap_err();
    format!("{error}\n  {}", error.help().unwrap())
}

/// Where settings come from, one a line, as `explain` may show it.
pub(super) fn story(merged: &Merged) -> String {
    let mut story = String::new();
    for setting in &merged.settings {
        let state = if setting.deleted() { "taken away".to_owned() } else { format!("= {:?}", setting.values) };
        story += &format!("{setting} {state}, layer {} line {}\n", setting.origin.layer, setting.origin.line);
        for past in setting.replaced.iter().rev() {
            story += &format!("    over {:?}, layer {} line {}\n", past.values, past.origin.layer, past.origin.line);
        }
    }
    story
}

#[test]
fn a_higher_layer_wins_key_by_key_and_order_is_that_of_first_sight() {
    assert_snapshot!(merged(&[
        "[DEFAULT]\ndebug = False\nlog_dir = /var/log\n[cache]\nenabled = True\n",
        "[database]\nconnection = sqlite://\n[DEFAULT]\nworkers = 3\ndebug = True\n",
        "[cache]\nbackend: dogpile.cache.memcached\n",
    ]), @r"
    [DEFAULT]
    debug = True
    log_dir = /var/log
    workers = 3

    [cache]
    enabled = True
    backend = dogpile.cache.memcached

    [database]
    connection = sqlite://
    ");
}

#[test]
fn repeated_keys_of_one_layer_stay_and_a_higher_layer_replaces_all_of_them() {
    let low = "[pci]\nalias = one\npassthrough = a\nalias = two\n[pci]\npassthrough = b\n";
    assert_snapshot!(merged(&[low]), @r"
    [pci]
    alias = one
    alias = two
    passthrough = a
    passthrough = b
    ");
    assert_snapshot!(merged(&[low, "[pci]\nalias = three\n"]), @r"
    [pci]
    alias = three
    passthrough = a
    passthrough = b
    ");
}

#[test]
fn values_go_on_in_indented_lines() {
    assert_snapshot!(merged(&["[api]\npaste =\n  one\n\ttwo # no comment\n# comment\nname: first\n      second\n"]), @r"
    [api]
    paste =
            one
            two # no comment
    name = first
           second
    ");
}

#[test]
fn keys_before_any_section_stay_there_and_empty_sections_and_values_too() {
    assert_snapshot!(merged(&["[DEFAULT]\na =\n[empty]\n", "; comment\nfirst = 1\n"]), @r"
    first = 1

    [DEFAULT]
    a =

    [empty]
    ");
}

#[test]
fn a_key_ends_at_the_first_of_both_signs_and_whole_quotes_are_kept_for_others() {
    assert_snapshot!(merged(&["[a]\nx:1=2\nhttp://foo = 1\ny = a:b\nq = \"q s\"\nkeep = 'it\"\nlone = \"\nCase = 1\ncase = 2\n"]), @r#"
    [a]
    x = 1=2
    http = //foo = 1
    y = a:b
    q = "q s"
    keep = 'it"
    lone = ""
    Case = 1
    case = 2
    "#);
}

#[test]
fn without_whitespace_it_is_for_programs_like_shells() {
    let merged = merge(Format::Ini { whitespace: false }, &[layer("x", "A = 1\nB =\nC = 1\n  2\n")]).unwrap();
    assert_snapshot!(text(&merged), @r"
    A=1
    B=
    C=1
      2
    ");
}

#[test]
fn keys_and_sections_can_be_taken_away_and_given_anew() {
    let low = "[DEFAULT]\na = 1\nb = 2\n[cache]\nx = 1\ny = 2\n[last]\nz = 1\n";
    assert_snapshot!(merged(&[low, "[DEFAULT]\na !delete\n[cache] !delete\n"]), @r"
    [DEFAULT]
    b = 2

    [last]
    z = 1
    ");
    assert_snapshot!(merged(&[low, "[DEFAULT]\na !delete\n[cache] !delete\ny = 3\n", "[DEFAULT]\na = 4\n"]), @r"
    [DEFAULT]
    a = 4
    b = 2

    [cache]
    y = 3

    [last]
    z = 1
    ");
    // What is not there can be taken away: global.conf is for all roles.
    assert_eq!(merged(&[low, "[nowhere]\nkey !delete\n[gone] !delete\n"]), merged(&[low]));
    // A section stays when its last key goes.
    assert_snapshot!(merged(&["[a]\nx = 1\n", "[a]\nx !delete\n"]), @"[a]");
}

#[test]
fn windows_files_are_read_as_any() {
    assert_snapshot!(merged(&["\u{feff}[a]\r\nx = 1\r\n  2\r\n\r\ny = 3\r"]), @r"
    [a]
    x = 1
        2
    y = 3
    ");
}

#[test]
fn provenance_names_layer_and_line_of_every_setting() {
    let layers = [
        layer(
            "nova.conf.j2",
            "[DEFAULT]\ndebug = False\nlog = x\n[pci]\nalias = 1\nalias = 2\n[empty]\n[cache]\ny = 1\n",
        ),
        layer("global.conf", "[DEFAULT]\n# all of us\ndebug = True\n[cache] !delete\n"),
        layer("nova/ctl1/nova.conf", "[DEFAULT]\ndebug = maybe\nlog !delete\nidle !delete\n"),
    ];
    assert_snapshot!(story(&merge(Format::INI, &layers).unwrap()), @r#"
    [DEFAULT] debug = ["maybe"], layer 2 line 2
        over ["True"], layer 1 line 3
        over ["False"], layer 0 line 2
    [DEFAULT] log taken away, layer 2 line 3
        over ["x"], layer 0 line 3
    [pci] alias = ["1", "2"], layer 0 line 5
    [empty] = [""], layer 0 line 7
    [cache] y taken away, layer 1 line 4
        over ["1"], layer 0 line 9
    "#);
}

#[test]
fn errors_name_the_place_and_what_to_do() {
    let texts = [
        "[DEFAULT]\nsome words\n",
        "  indented = 1\n",
        "[a]\nx = 1\n# comment\n  more\n",
        "[a]\n\n= 1\n",
        "[]\n",
        "[a # comment\n",
        "[a] # comment\n",
        "[a]\nx = 1\nx !delete\n",
        "[a]\nx = 1\n[a] !delete\n",
        "\u{b}[x = 1\n",
    ];
    assert_snapshot!(texts.map(error).join("\n"), @r"
    nova.conf:2:1: this line has neither `=` nor `:`
      write `KEY = VALUE`; a comment begins with `#` in column 1, `KEY !delete` takes a key away, and a line that goes on with a value is indented
    nova.conf:1:1: this line is indented, and there is no value before it that it could continue
      take away the blanks at its start; blank lines, comments and sections end a value
    nova.conf:4:1: this line is indented, and there is no value before it that it could continue
      take away the blanks at its start; blank lines, comments and sections end a value
    nova.conf:3:1: there is no key before the value
      write `KEY = VALUE`
    nova.conf:1:1: the section has no name
      write `[NAME]`
    nova.conf:1:1: a section's line ends with `]`
      write `[NAME]` alone in its line; a comment needs a line of its own
    nova.conf:1:1: a section's line ends with `]`
      write `[NAME]` alone in its line; a comment needs a line of its own
    nova.conf:3:1: this layer also sets what it takes away here, or takes away what it sets
      keep one of the two; a value replaces those of lower layers by itself, and keys after `[NAME] !delete` are the new section's
    nova.conf:3:1: this layer also sets what it takes away here, or takes away what it sets
      keep one of the two; a value replaces those of lower layers by itself, and keys after `[NAME] !delete` are the new section's
    nova.conf:1:1: a key cannot begin with `[`
      take away the odd blank at the start of the line
    ");
    let bytes = LayerText {
        name: "x".to_owned(),
        rendered: Rendered { real: Sensitive::new(*b"a = 1\nb = \xff"), shown: Shown::Opaque(11), uses_secret: false },
    };
    assert_snapshot!(merge(Format::INI, &[bytes]).unwrap_err(), @"x:2:5: this is not UTF-8 text");
}

#[test]
fn secrets_are_merged_like_everything_else_and_seen_by_nobody() {
    let low = secret_layer("low", "[db]\npassword = HUNTER2\nuser = x\n", "[db]\npassword = «secret:db»\nuser = x\n");
    let merged = merge(Format::INI, &[low.clone(), layer("high", "[db]\nuser = y\n")]).unwrap();
    assert_eq!(text(&merged), "[db]\npassword = HUNTER2\nuser = y\n");
    assert_eq!(merged.rendered.shown, Shown::Text("[db]\npassword = «secret:db»\nuser = y\n".to_owned()));
    assert!(merged.rendered.uses_secret);
    assert!(!format!("{merged:?}").contains("HUNTER2"));

    // Where only the real one can be merged, nothing is shown.
    let odd = secret_layer("odd", "[db]\nkey = HUNTER2\n", "[db]\nno assignment\n");
    let merged = merge(Format::INI, &[odd]).unwrap();
    assert_eq!((merged.rendered.shown, merged.settings.len()), (Shown::Opaque(19), 0));

    // An error in a line with a secret does not repeat it.
    let error: LayerError = merge(Format::INI, &[secret_layer("x", "[db]\nHUNTER2\n", "")]).unwrap_err();
    assert!(error.private && !format!("{error} {error:?} {:?}", error.help()).contains("HUNTER2"));
}

/// Layers with deletions, of few names, so that they meet.
fn source() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c d", "é"]);
    let value = prop::sample::select(vec!["", "1", "\"q\"", "\" pad \"", "'", "x = y", "# no comment", "\t", "ü"]);
    let line = prop_oneof![
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => value.prop_map(|value| format!("  x{value}")),
        1 => key.prop_map(|key| format!("{key} !delete")),
        2 => prop::sample::select(vec!["[s]", "[t]", "[s x]", "[s] !delete", "[t] !delete"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["", "# comment", "; x = 1", "  "]).prop_map(str::to_owned),
    ];
    (prop::collection::vec(line, 0..12), prop::sample::select(vec!["\n", "\r\n"]))
        .prop_map(|(lines, end)| lines.into_iter().map(|line| line + end).collect())
}

/// Layers that can be read.
fn layers(count: usize) -> impl Strategy<Value = Vec<Ini>> {
    prop::collection::vec(source(), count).prop_filter_map("a layer is wrong", |texts| {
        texts.iter().enumerate().map(|(index, text)| parse(text, index).ok()).collect()
    })
}

fn over(mut lower: Ini, upper: &Ini) -> Ini {
    lower.overlay(upper.clone());
    lower
}

proptest! {
    #![proptest_config(ProptestConfig { max_local_rejects: 1_000_000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn an_empty_layer_changes_nothing(layers in layers(1)) {
        let empty = parse("", 1).unwrap();
        prop_assert_eq!(over(layers[0].clone(), &empty).write(true), layers[0].write(true));
        prop_assert_eq!(over(empty, &layers[0]).write(true), layers[0].write(true));
    }

    #[test]
    fn layers_may_be_merged_in_any_grouping(layers in layers(3)) {
        let left = over(over(layers[0].clone(), &layers[1]), &layers[2]);
        let right = over(layers[0].clone(), &over(layers[1].clone(), &layers[2]));
        prop_assert_eq!(left.write(true), right.write(true));
    }

    #[test]
    fn what_was_written_is_read_as_the_same(layers in layers(2), whitespace: bool) {
        let merged = over(layers[0].clone(), &layers[1]);
        let again = parse(&merged.write(whitespace), 0).unwrap();
        prop_assert_eq!(alive(&again), alive(&merged));
        prop_assert_eq!(again.write(whitespace), merged.write(whitespace));
    }

    #[test]
    fn no_text_makes_it_panic(text in "(?s)[\\[\\]=: \"'#;a!\\r\\n\\t\u{b}é]{0,60}|\\PC{0,60}") {
        if let Ok(ini) = parse(&text, 0) {
            prop_assert_eq!(alive(&parse(&ini.write(true), 0).unwrap()), alive(&ini));
        }
    }
}

/// What is in the file: sections, keys and values.
type Alive = Vec<(String, Vec<(String, Vec<Vec<String>>)>)>;

fn alive(ini: &Ini) -> Alive {
    let values = |key: &super::ini::Key| key.values.iter().map(|value| value.lines.clone()).collect();
    ini.sections
        .iter()
        .filter(|(name, section)| {
            section.keys.values().any(|key| !key.values.is_empty()) || (section.declared && !name.is_empty())
        })
        .map(|(name, section)| {
            let keys = section.keys.iter().filter(|(_, key)| !key.values.is_empty());
            (name.clone(), keys.map(|(name, key)| (name.clone(), values(key))).collect())
        })
        .collect()
}

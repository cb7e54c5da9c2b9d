//! Takes secrets out of texts that come from outside: errors of the engine, tails of logs, output of commands.
//!
//! In: the secrets in use, and a text. Out: the text with `«secret»` wherever one of them stands: raw, in base64 (also
//! inside of a longer one, as in `Authorization: Basic`), hex, url-encoded or as JSON has it. Texts of our own never need it:
//! they are made without secrets.

use std::borrow::Cow;
use std::fmt;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// What stands in place of a secret.
const MARK: &str = "«secret»";
/// Shorter secrets are left alone: half of any log would go.
const SHORTEST: usize = 4;
/// Lines of a secret of several (a key) that are long enough to be looked for by themselves.
const LINE: usize = 16;
/// Longer base64 is wrapped by most tools, so pieces are looked for.
const WRAPPED: usize = 60;
/// Length of the pieces.
const PIECE: usize = 16;

/// Knows the secrets. Build it once for many texts.
#[derive(Default)]
pub struct Redactor {
    /// All forms as they may stand in a text.
    forms: Option<Search>,
    /// The secrets themselves, for texts whose url-encoding has been undone.
    raw: Option<Search>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redactor")
    }
}

struct Search {
    automaton: AhoCorasick,
    /// Which of the needles are base64: what they are part of goes as a whole.
    encoded: Vec<bool>,
}

impl Search {
    fn new(mut needles: Vec<(Vec<u8>, bool)>) -> Option<Self> {
        needles.retain(|(needle, _)| needle.len() >= SHORTEST);
        needles.sort_unstable();
        needles.dedup();
        if needles.is_empty() {
            return None;
        }
        let encoded = needles.iter().map(|(_, encoded)| *encoded).collect();
        let automaton = AhoCorasick::new(needles.into_iter().map(|(needle, _)| needle)).ok()?;
        Some(Self { automaton, encoded })
    }

    fn each(&self, text: &[u8], mut found: impl FnMut(usize, usize, bool)) {
        for place in self.automaton.find_overlapping_iter(text) {
            let encoded = self.encoded.get(place.pattern().as_usize()).copied().unwrap_or(false);
            found(place.start(), place.end(), encoded);
        }
    }
}

impl Redactor {
    /// Takes the secrets in use.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let (mut forms, mut raw) = (Vec::new(), Vec::new());
        for secret in secrets {
            let secret = secret.as_ref();
            for part in parts(secret) {
                raw.push((part.to_vec(), false));
                forms.push((part.to_vec(), false));
                forms.push((hex::encode(part).into_bytes(), false));
                forms.push((hex::encode_upper(part).into_bytes(), false));
                if let Ok(text) = std::str::from_utf8(part) {
                    let quoted = serde_json::Value::from(text).to_string();
                    forms.push((quoted.trim_matches('"').as_bytes().to_vec(), false));
                }
                base64_forms(part, &mut forms);
            }
        }
        Self { forms: Search::new(forms), raw: Search::new(raw) }
    }

    /// The text without them.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let bytes = text.as_bytes();
        let mut hidden: Vec<(usize, usize)> = Vec::new();
        if let Some(forms) = &self.forms {
            forms.each(bytes, |start, end, encoded| {
                hidden.push(if encoded { widen(bytes, start, end) } else { (start, end) });
            });
        }
        if let Some(raw) = &self.raw
            && bytes.contains(&b'%')
        {
            for plus in [false, true] {
                let (decoded, places) = url_decoded(bytes, plus);
                raw.each(&decoded, |start, end, _| {
                    if let (Some(start), Some(end)) = (places.get(start), places.get(end)) {
                        hidden.push((*start, *end));
                    }
                });
            }
        }
        if hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(replace(text, hidden))
    }
}

/// The secret, and its longer lines if it has several.
fn parts(secret: &[u8]) -> Vec<&[u8]> {
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let trimmed = secret.trim_ascii();
    let mut parts = vec![secret];
    if trimmed.len() >= SHORTEST && trimmed.len() < secret.len() {
        parts.push(trimmed);
    }
    if trimmed.contains(&b'\n') {
        let lines = trimmed.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        parts.extend(lines.filter(|line| line.len() >= LINE && !line.starts_with(b"-----")));
    }
    parts
}

/// What base64 makes of the bytes at each of the three places where they may begin in a longer text: the characters
/// that depend on nothing else.
fn base64_forms(secret: &[u8], forms: &mut Vec<(Vec<u8>, bool)>) {
    for (shift, skip) in [(0, 0), (1, 2), (2, 3)] {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(secret);
        let whole = shifted.len() * 8 / 6;
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&shifted);
            let Some(form) = text.as_bytes().get(skip..whole) else { continue };
            if form.len() > WRAPPED {
                forms.extend(form.chunks_exact(PIECE).map(|piece| (piece.to_vec(), true)));
            } else {
                forms.push((form.to_vec(), true));
            }
        }
    }
}

/// The whole run of base64 around a place.
fn widen(text: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    let belongs = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
    };
    while start > 0 && belongs(text.get(start - 1)) {
        start -= 1;
    }
    while belongs(text.get(end)) {
        end += 1;
    }
    (start, end)
}

/// The text with `%41` undone, and where each byte (and the end) was.
fn url_decoded(text: &[u8], plus: bool) -> (Vec<u8>, Vec<usize>) {
    let (mut decoded, mut places) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        places.push(at);
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (b'+', _, _) if plus => {
                decoded.push(b' ');
                at += 1;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    places.push(text.len());
    (decoded, places)
}

fn replace(text: &str, mut hidden: Vec<(usize, usize)>) -> String {
    hidden.sort_unstable();
    let mut result = String::with_capacity(text.len());
    let mut shown_from = 0;
    let mut hidden_to = 0;
    for (start, end) in hidden {
        if start > hidden_to || result.is_empty() && hidden_to == 0 {
            let start = boundary_below(text, start).max(hidden_to);
            result.push_str(text.get(shown_from..start).unwrap_or_default());
            result.push_str(MARK);
        }
        hidden_to = hidden_to.max(boundary_above(text, end));
        shown_from = hidden_to;
    }
    result.push_str(text.get(shown_from..).unwrap_or_default());
    result
}

fn boundary_below(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn boundary_above(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let redactor = Redactor::new([
            "hunter2",
            "pa ss&wörd\"\n",
            "abc",
            "-----BEGIN K-----\nMIIBVwIBADANBgkqhkiG\nw0B\n-----END K-----\n",
        ]);
        let cases = [
            ("", ""),
            ("nothing abc here", "nothing abc here"),
            ("hunter2", "«secret»"),
            ("login hunter2 failed: hunter2hunter2.", "login «secret» failed: «secret»."),
            ("68756e74657232 68756E74657232", "«secret» «secret»"),
            ("Authorization: Basic cm9vdDpodW50ZXIy", "Authorization: Basic «secret»"),
            ("aHVudGVyMg== ok", "«secret» ok"),
            ("http://root:pa%20ss%26w%c3%B6rd%22%0A@x/", "http://root:«secret»@x/"),
            ("?p=pa+ss%26w%C3%B6rd%22&x=1", "?p=«secret»&x=1"),
            ("?p=%68unter2&100%", "?p=«secret»&100%"),
            (r#"{"p": "pa ss&wörd\"\n"}"#, r#"{"p": "«secret»"}"#),
            ("key line MIIBVwIBADANBgkqhkiG.", "key line «secret»."),
            ("-----BEGIN K-----", "-----BEGIN K-----"),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.redact(text), expected, "{text}");
        }
        assert_eq!(Redactor::default().redact("hunter2"), "hunter2");
        assert_eq!(format!("{redactor:?}"), "Redactor");
    }

    #[test]
    fn wrapped_base64_of_a_key_goes() {
        let key: Vec<u8> = (0..=255).cycle().take(1000).map(|n: u8| n.wrapping_mul(37)).collect();
        let encoded = STANDARD.encode(&key);
        let mut text = String::new();
        for line in encoded.as_bytes().chunks(64) {
            let _ = writeln!(text, "{}", std::str::from_utf8(line).unwrap());
        }
        let redacted = Redactor::new([&key]).redact(&text).into_owned();
        assert!(redacted.lines().all(|line| line == MARK || line.len() < 32), "{redacted}");
    }

    fn percent(bytes: &[u8], all: bool) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            if !all && byte.is_ascii_alphanumeric() {
                text.push(char::from(*byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
            text
        })
    }

    proptest! {
        #[test]
        fn no_form_of_a_secret_remains(
            secret in "[ -~äöß€]{4,40}",
            before in "[ -~ä\n]{0,20}",
            after in "[ -~ä\n]{0,20}",
            form in 0..8_u8,
        ) {
            prop_assume!(!MARK.contains(&secret) && !secret.contains("«"));
            let bytes = secret.as_bytes();
            let inner = match form {
                0 => secret.clone(),
                1 => STANDARD.encode(bytes),
                2 => URL_SAFE.encode(bytes),
                3 => STANDARD.encode(format!("{before}{secret}{after}")),
                4 => hex::encode(bytes),
                5 => percent(bytes, false),
                6 => percent(bytes, true),
                _ => hex::encode_upper(bytes),
            };
            let text = format!("{before}{inner}{after}");
            let redacted = Redactor::new([&secret]).redact(&text).into_owned();
            prop_assert!(!redacted.contains(&inner), "{redacted}");
            prop_assert!(!redacted.contains(&secret), "{redacted}");
            prop_assert!(redacted.contains(MARK));
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,60}", secrets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..4)) {
            let _ = Redactor::new(&secrets).redact(&text);
        }
    }
}

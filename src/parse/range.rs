//! Ranges: `ctl[1:3]` stands for three hosts.

use super::diagnostic::Diagnostic;
use super::node::{Mapping, Node, Value};
use super::read::Reader;

/// More hosts than this in one range is a slip.
const MAX_RANGE: usize = 10_000;

/// `ctl[1:3]` is ctl1, ctl2, ctl3; `n[01:10]` keeps its zeros.
pub fn expand_range(text: &str) -> Result<Vec<String>, String> {
    let Some((before, inside, after)) = find_range(text) else { return Ok(vec![text.to_owned()]) };
    let numbers = range_numbers(inside).ok_or_else(|| {
        format!("the range `[{inside}]` in `{text}` is none of at most {MAX_RANGE} hosts, written as `[1:3]`")
    })?;
    if find_range(after).is_some() {
        return Err(format!("`{text}` has two ranges, and one is possible"));
    }
    Ok(numbers.into_iter().map(|number| format!("{before}{number}{after}")).collect())
}

fn find_range(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text.get(from..)?.find('[').map(|at| at + from) {
        let close = text.get(open..)?.find(']')? + open;
        let inside = text.get(open + 1..close)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if inside.split_once(':').is_some_and(|(first, last)| digits(first) && digits(last)) {
            return Some((&text[..open], inside, &text[close + 1..]));
        }
        from = close + 1;
    }
    None
}

fn range_numbers(inside: &str) -> Option<Vec<String>> {
    let (first, last) = inside.split_once(':')?;
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    if last < first || last - first >= MAX_RANGE {
        return None;
    }
    Some((first..=last).map(|number| format!("{number:0width$}")).collect())
}

/// Ranges inside a host's own values go along with the range of its name.
pub(super) fn expand_in(node: &mut Node, index: usize, count: usize, r: &mut Reader) {
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| expand_in(item, index, count, r)),
        Value::Mapping(mapping) => expand_mapping(mapping, index, count, r),
        Value::Scalar(scalar) => {
            if find_range(&scalar.text).is_none() {
                return;
            }
            match expand_range(&scalar.text) {
                Ok(texts) if texts.len() == count => {
                    if let Some(text) = texts.into_iter().nth(index) {
                        scalar.text = text;
                    }
                }
                Ok(texts) => {
                    let message = format!("`{}` has {} values for {count} hosts", scalar.text, texts.len());
                    r.error(Diagnostic::error("V002", node.place, message));
                }
                Err(why) => r.error(Diagnostic::error("V002", node.place, why)),
            }
        }
    }
}

fn expand_mapping(mapping: &mut Mapping, index: usize, count: usize, r: &mut Reader) {
    for entry in mapping.values_mut() {
        expand_in(&mut entry.value, index, count, r);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::expand_range;

    #[test]
    fn ranges_of_hosts() {
        assert_eq!(expand_range("ctl[1:3]").unwrap(), ["ctl1", "ctl2", "ctl3"]);
        assert_eq!(expand_range("n[08:10].example").unwrap(), ["n08.example", "n09.example", "n10.example"]);
        assert_eq!(expand_range("plain").unwrap(), ["plain"]);
        assert_eq!(expand_range("fd00::[::1]").unwrap(), ["fd00::[::1]"]);
        assert!(expand_range("n[3:1]").is_err());
        assert!(expand_range("n[1:99999999]").is_err());
        assert!(expand_range("n[1:2]m[1:2]").is_err());
    }
}

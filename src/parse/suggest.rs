//! "Did you mean": the word that was probably meant.

/// The candidate that is near enough to `word` to be worth a hint.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = normal(word);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| {
            let other = normal(candidate);
            // One slip in a short word is much of it.
            let slip = wanted.len() > 2 && strsim::damerau_levenshtein(&wanted, &other) == 1;
            let score = if other == wanted { 1.0 } else { strsim::jaro_winkler(&wanted, &other) };
            (if slip { score.max(0.9) } else { score }, candidate)
        })
        // 0.85 lets through a swapped, missing or wrong letter, and hardly ever an unrelated word.
        .filter(|(score, _)| *score > 0.85)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// ` Did you mean ...?` as a help text.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// `maxUnavailable`, `max-unavailable` and `max_unavailable` are the same mistake.
fn normal(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["image", "environment", "max_unavailable", "mem_limit"];
        assert_eq!(closest("imgae", keys), Some("image"));
        assert_eq!(closest("maxUnavailable", keys), Some("max_unavailable"));
        assert_eq!(closest("enviroment", keys), Some("environment"));
        assert_eq!(closest("foo", keys), None);
        assert_eq!(closest("image", keys), None);
    }
}

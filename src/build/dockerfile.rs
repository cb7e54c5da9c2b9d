//! Which images a Dockerfile names.
//!
//! In: a rendered Dockerfile. Out: the references behind `FROM`, `COPY --from` and `ADD --from`, without its own stages.

/// A reference to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As written.
    pub image: String,
    /// Line, from 1.
    pub line: usize,
}

/// What a Dockerfile names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Images, in the order of the file, each once.
    pub images: Vec<Reference>,
    /// Whether there is a `FROM` at all.
    pub has_from: bool,
}

/// Finds them.
pub fn references(text: &str) -> References {
    let mut found = References::default();
    let mut stages: Vec<String> = Vec::new();
    for (line, instruction) in instructions(text) {
        let mut words = instruction.split_whitespace();
        let Some(keyword) = words.next().map(str::to_ascii_uppercase) else { continue };
        let image = match keyword.as_str() {
            "FROM" => {
                found.has_from = true;
                let mut words = words.skip_while(|word| word.starts_with("--"));
                let image = words.next().map(str::to_owned);
                let name = words.next().filter(|word| word.eq_ignore_ascii_case("as")).and_then(|_| words.next());
                let image = image.filter(|image| image != "scratch" && !is_stage(image, &stages));
                stages.push(name.unwrap_or_default().to_ascii_lowercase());
                image
            }
            "COPY" | "ADD" => words
                .take_while(|word| word.starts_with("--"))
                .find_map(|word| word.strip_prefix("--from="))
                .filter(|image| !is_stage(image, &stages))
                .map(str::to_owned),
            _ => None,
        };
        if let Some(image) = image.filter(|image| !found.images.iter().any(|known| known.image == *image)) {
            found.images.push(Reference { image, line });
        }
    }
    found
}

/// The image that the last stage begins with, through stages that begin with others.
pub fn base(text: &str) -> Option<String> {
    let mut stages: Vec<(String, String)> = Vec::new();
    for (_, instruction) in instructions(text) {
        let mut words = instruction.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("FROM")) {
            continue;
        }
        let mut words = words.skip_while(|word| word.starts_with("--"));
        let image = words.next()?.to_owned();
        let name = words.nth(1).unwrap_or_default().to_ascii_lowercase();
        let known = stages.iter().find(|(stage, _)| *stage == image.to_ascii_lowercase());
        let image = known.map(|(_, image)| image.clone()).unwrap_or(image);
        stages.push((name, image));
    }
    stages.pop().map(|(_, image)| image)
}

/// Stages are named, or counted from 0.
fn is_stage(image: &str, stages: &[String]) -> bool {
    let number = image.parse::<usize>().is_ok_and(|number| number < stages.len());
    number || (!image.is_empty() && stages.contains(&image.to_ascii_lowercase()))
}

/// Instructions with the line on which each begins; comments are gone and continued lines are joined.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && open.is_some()) {
            continue;
        }
        let (begun, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        match trimmed.strip_suffix('\\') {
            Some(part) => {
                joined.push_str(part);
                joined.push(' ');
                open = Some((begun, joined));
            }
            None => {
                joined.push_str(trimmed);
                if !joined.is_empty() {
                    found.push((begun, joined));
                }
            }
        }
    }
    found.extend(open);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Vec<(String, usize)> {
        references(text).images.into_iter().map(|reference| (reference.image, reference.line)).collect()
    }

    #[test]
    fn images_are_found_and_stages_are_not() {
        let text = "# FROM no\nARG x=1\nFROM --platform=linux/amd64 golang:1 AS Builder\nRUN echo FROM no \\\n  # a comment inside\n\
                    \x20 COPY --from=no\nFROM builder as second\nfrom scratch\nCOPY --from=builder /a /b\nCOPY --chown=1:1 \\\n --from=1 /a /b\n\
                    COPY --from=reg:5000/tools@sha256:0 /x /y\nCOPY --from=golang:1 /a /c\nADD --from=9 /a /b\n";
        let expected = [("golang:1", 3), ("reg:5000/tools@sha256:0", 12), ("9", 14)];
        assert_eq!(images(text), expected.map(|(image, line)| (image.to_owned(), line)));
    }

    #[test]
    fn odd_texts_are_no_trouble() {
        assert_eq!(references(""), References::default());
        assert_eq!(references("FROM"), References { images: Vec::new(), has_from: true });
        assert_eq!(images("FROM a\\\n\n:1 \\"), [("a :1".split(' ').next().unwrap_or("").to_owned(), 1)]);
        assert!(!references("RUN true\n# FROM x").has_from);
    }

    #[test]
    fn the_base_is_that_of_the_last_stage() {
        assert_eq!(base("FROM a AS x\nFROM b\n").as_deref(), Some("b"));
        assert_eq!(base("FROM a AS X\nFROM b AS y\nRUN true\nFROM x\n").as_deref(), Some("a"));
        assert_eq!(base("FROM --platform=p a\n").as_deref(), Some("a"));
        assert_eq!(base("RUN true"), None);
    }
}

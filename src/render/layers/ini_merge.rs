//! INI: one layer laid over others, and the outcome as text.

use super::ini::{Ini, Key, Section, Value, is_blank};
use super::provenance::{Origin, Past, Setting};

impl Ini {
    /// Lays a higher layer over this. What a layer takes away stays as an empty mark, so that layers may be merged in
    /// any grouping.
    pub fn overlay(&mut self, upper: Self) {
        for (name, section) in upper.sections {
            match self.sections.get_mut(&name) {
                Some(lower) => lower.overlay(section),
                None => drop(self.sections.insert(name, section)),
            }
        }
    }

    /// The file.
    pub fn write(&self, whitespace: bool) -> String {
        let mut text = String::new();
        for (name, section) in &self.sections {
            let lives = section.keys.values().any(|key| !key.values.is_empty());
            if !lives && (name.is_empty() || !section.declared) {
                continue;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            if !name.is_empty() {
                text += &format!("[{name}]\n");
            }
            for (name, key) in &section.keys {
                for value in &key.values {
                    value.write(name, whitespace, &mut text);
                }
            }
        }
        text
    }

    /// Where everything comes from.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for (name, section) in &self.sections {
            if section.keys.is_empty() && section.declared && !name.is_empty() {
                settings.push(Setting {
                    path: vec![name.clone()],
                    ini: true,
                    values: vec![String::new()],
                    origin: section.origin,
                    replaced: Vec::new(),
                });
            }
            for (key, entry) in &section.keys {
                // A mark that found nothing to take away says nothing about the file.
                if entry.values.is_empty() && entry.replaced.is_empty() {
                    continue;
                }
                settings.push(Setting {
                    path: vec![name.clone(), key.clone()],
                    ini: true,
                    values: entry.shown(),
                    origin: entry.origin,
                    replaced: entry.replaced.clone(),
                });
            }
        }
        settings
    }
}

impl Section {
    fn overlay(&mut self, upper: Self) {
        if let Some(origin) = upper.clears {
            self.keys.values_mut().filter(|key| !key.values.is_empty()).for_each(|key| key.delete(origin));
            self.clears = Some(origin);
            self.declared = upper.declared;
        } else {
            self.declared |= upper.declared;
        }
        for (name, key) in upper.keys {
            match self.keys.get_mut(&name) {
                Some(lower) => lower.overlay(key),
                None => drop(self.keys.insert(name, key)),
            }
        }
    }
}

impl Key {
    fn overlay(&mut self, mut upper: Self) {
        let mut replaced = std::mem::take(&mut self.replaced);
        replaced.push(Past { origin: self.origin, values: self.shown() });
        replaced.append(&mut upper.replaced);
        *self = Self { replaced, ..upper };
    }

    fn delete(&mut self, origin: Origin) {
        self.overlay(Self { origin, values: Vec::new(), replaced: Vec::new() });
    }

    fn shown(&self) -> Vec<String> {
        self.values.iter().map(|value| value.lines.join("\n")).collect()
    }
}

impl Value {
    fn write(&self, key: &str, whitespace: bool, text: &mut String) {
        let (before, between) = if whitespace { (" =", " ") } else { ("=", "") };
        text.push_str(key);
        text.push_str(before);
        let mut lines = self.lines.iter();
        let first = lines.next().map_or("", String::as_str);
        let quote = self.quote.or_else(|| needs_quotes(first).then_some('"'));
        if !first.is_empty() || quote.is_some() {
            text.push_str(between);
        }
        text.extend(quote);
        text.push_str(first);
        text.extend(quote);
        text.push('\n');
        let column = key.chars().count() + before.len() + between.len();
        for line in lines {
            text.extend(std::iter::repeat_n(' ', column));
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// Whether reading would take off more than writing puts on.
fn needs_quotes(first: &str) -> bool {
    let quoted = |quote| first.starts_with(quote) && first.ends_with(quote);
    first.starts_with(is_blank) || first.ends_with(is_blank) || quoted('"') || quoted('\'')
}

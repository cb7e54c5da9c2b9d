//! The texts that a site is written in, and places in them.
//!
//! In: paths and texts. Out: small copyable [`Place`]s that every node and every diagnostic carries.

use std::sync::Arc;

/// Number of a file among the [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Place {
    /// A range of bytes; offsets beyond 4 GiB do not occur, as files are far smaller.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        Self {
            file,
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end.max(start)).unwrap_or(u32::MAX),
        }
    }
}

/// One text.
#[derive(Debug)]
pub struct SourceFile {
    /// As people know it.
    pub path: String,
    /// What is in it.
    pub text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    fn new(path: String, text: String) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1))
            .collect();
        Self { path, text, line_starts }
    }

    /// Line and column, both from 1, the column in characters.
    pub fn line_column(&self, offset: u32) -> (usize, usize) {
        let offset = self.floor(offset as usize);
        let line = self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        (line + 1, column + 1)
    }

    /// The range cut down to valid offsets, to its first line, and without trailing blanks: what an annotation can point at.
    pub fn first_line(&self, place: Place) -> std::ops::Range<usize> {
        let start = self.floor(place.start as usize);
        let end = self.floor(place.end as usize).max(start);
        let text = self.text.get(start..end).unwrap_or("");
        let line = text.split('\n').next().unwrap_or("").trim_end();
        if line.is_empty() {
            // An empty place is shown as one character wide, where there is one in its line.
            let width = self.text.get(start..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n');
            return start..start + width.map_or(0, char::len_utf8);
        }
        start..start + line.len()
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// All texts of a site. Cheap to clone: diagnostics carry a copy so that they can render themselves.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Arc<SourceFile>>,
}

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(Arc::new(SourceFile::new(path.into(), text.into())));
        id
    }

    /// A text by its number.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize).map(AsRef::as_ref)
    }

    /// All texts in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, file)| (FileId(u32::try_from(i).unwrap_or(u32::MAX)), file.as_ref()))
    }

    /// `site.yaml:3:7`, for people.
    pub fn describe(&self, place: Place) -> String {
        match self.get(place.file) {
            Some(file) => {
                let (line, column) = file.line_column(place.start);
                format!("{}:{line}:{column}", file.path)
            }
            None => "?".to_owned(),
        }
    }
}

//! The policy files as text, and places in them.

/// Identifies one file of a [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A byte range of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// Makes a span of `file` from byte offsets; offsets past 4 GiB saturate.
    pub fn new(file: FileId, range: std::ops::Range<usize>) -> Self {
        Self {
            file,
            start: u32::try_from(range.start).unwrap_or(u32::MAX),
            end: u32::try_from(range.end).unwrap_or(u32::MAX),
        }
    }
}

/// A place as people read it: lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The path given to [`Sources::add`].
    pub path: &'a str,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl std::fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// All files of one policy, in the order in which they were added. Order never changes the meaning.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: String,
    text: String,
    /// Byte offset of each line's first byte.
    lines: Vec<u32>,
}

impl Sources {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one file; `path` is shown in messages and need not exist.
    pub fn add(&mut self, path: &str, text: String) -> FileId {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|&(_, byte)| byte == b'\n')
            .map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX));
        let lines = std::iter::once(0).chain(starts).collect();
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(File {
            path: path.to_owned(),
            text,
            lines,
        });
        id
    }

    /// Finds the place where `span` begins. An unknown file gives an empty path, line 1, column 1.
    pub fn locate(&self, span: &Span) -> Location<'_> {
        let Some(file) = self.file(span.file) else {
            return Location {
                path: "",
                line: 1,
                column: 1,
            };
        };
        let after = file.lines.partition_point(|&start| start <= span.start);
        let line = after.saturating_sub(1);
        let from = file.lines.get(line).copied().unwrap_or(0) as usize;
        let before = file.text.get(from..span.start as usize).unwrap_or("");
        Location {
            path: &file.path,
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        }
    }

    /// The text of a file; empty when unknown.
    pub fn text(&self, id: FileId) -> &str {
        self.file(id).map_or("", |file| &file.text)
    }

    /// The path of a file; empty when unknown.
    pub fn path(&self, id: FileId) -> &str {
        self.file(id).map_or("", |file| &file.path)
    }

    /// All files in the order in which they were added.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        (0..u32::try_from(self.files.len()).unwrap_or(u32::MAX)).map(FileId)
    }

    fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize)
    }
}

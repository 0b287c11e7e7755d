//! The policy files as text, and places in them.

use std::sync::Arc;

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
    /// Below the policy folder, with `/` between its parts.
    relative: String,
    /// Whether it is a list of networks and no policy file.
    list: bool,
    text: String,
    /// Byte offset of each line's first byte.
    lines: Arc<[u32]>,
}

impl Sources {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one policy file that lies directly in the policy folder; `path` is shown in messages and need not exist.
    pub fn add(&mut self, path: &str, text: String) -> FileId {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        self.push(path, name, false, text)
    }

    /// Adds one policy file at `relative` below the policy folder, such as `tenants/acme/policy.toml`; `path` is shown
    /// in messages.
    pub fn add_at(&mut self, path: &str, relative: &str, text: String) -> FileId {
        self.push(path, relative.to_owned(), false, text)
    }

    /// Adds a list of networks that a `[zone-file]` names by `relative`; `path` is shown in messages.
    pub fn add_list(&mut self, path: &str, relative: &str, text: String) -> FileId {
        self.push(path, relative.to_owned(), true, text)
    }

    fn push(&mut self, path: &str, relative: String, list: bool, text: String) -> FileId {
        let starts = text
            .match_indices('\n')
            .map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX));
        let lines: Vec<u32> = std::iter::once(0).chain(starts).collect();
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(File {
            path: path.to_owned(),
            relative,
            list,
            text,
            lines: lines.into(),
        });
        id
    }

    /// Finds the place where `span` begins. An unknown file gives an empty path, line 1, column 1.
    pub fn locate(&self, span: &Span) -> Location<'_> {
        self.place(span.file, span.start)
    }

    /// Finds the place behind the last character of `span`, which is that of [`Self::locate`] for an empty one.
    pub fn locate_end(&self, span: &Span) -> Location<'_> {
        self.place(span.file, span.end.max(span.start))
    }

    fn place(&self, file: FileId, offset: u32) -> Location<'_> {
        let Some(file) = self.file(file) else {
            return Location {
                path: "",
                line: 1,
                column: 1,
            };
        };
        let after = file.lines.partition_point(|&start| start <= offset);
        let line = after.saturating_sub(1);
        let from = file.lines.get(line).copied().unwrap_or(0) as usize;
        let before = file.text.get(from..offset as usize).unwrap_or("");
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

    /// The path of a file below the policy folder; empty when unknown.
    pub fn relative(&self, id: FileId) -> &str {
        self.file(id).map_or("", |file| &file.relative)
    }

    /// Whether a file is a list of networks.
    pub fn is_list(&self, id: FileId) -> bool {
        self.file(id).is_some_and(|file| file.list)
    }

    /// All files, lists too, in the order in which they were added.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        (0..u32::try_from(self.files.len()).unwrap_or(u32::MAX)).map(FileId)
    }

    /// Paths and lines of all files, without their text.
    pub(crate) fn places(&self) -> Places {
        let files = self.files.iter();
        Places(
            files
                .map(|file| (file.path.as_str().into(), Arc::clone(&file.lines)))
                .collect(),
        )
    }

    fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize)
    }
}

/// Which line a place is on, when the text is no longer at hand: for each file its path and the offsets of its lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Vec<(Arc<str>, Arc<[u32]>)>);

impl Places {
    /// Path and line of a place.
    pub(crate) fn line(&self, span: Span) -> Option<(Arc<str>, u32)> {
        self.line_near(span, 0)
    }

    /// Like [`Self::line`], and quick where the place is just behind the start of line `near`, counted from 1.
    pub(crate) fn line_near(&self, span: Span, near: u32) -> Option<(Arc<str>, u32)> {
        let (path, lines) = self.0.get(span.file.0 as usize)?;
        let from = (near as usize).saturating_sub(1);
        let next = lines.get(from..(from + NEAR).min(lines.len()));
        let next = next.unwrap_or_default();
        let past = next.iter().take_while(|&&start| start <= span.start);
        let after = match past.count() {
            0 | NEAR => lines.partition_point(|&start| start <= span.start),
            count => from + count,
        };
        let line = u32::try_from(after).unwrap_or(u32::MAX);
        Some((Arc::clone(path), line.max(1)))
    }
}

/// Lines looked at before a place is searched among all.
const NEAR: usize = 8;

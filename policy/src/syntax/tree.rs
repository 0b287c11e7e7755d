//! One file as a tree of keys and values with their places, in one block of memory.

mod plain;
#[cfg(test)]
mod tests;
mod whole;

use crate::source::{FileId, Span};
pub(super) use whole::read_whole;

/// Stands for no node.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// The tree of one file.
#[derive(Debug)]
pub(super) struct Tree<'i> {
    file: FileId,
    /// Where the text begins in the file.
    base: usize,
    text: &'i str,
    nodes: Vec<Node>,
    /// For each node what its key and its value stand for, where that is not simply what is written.
    said: Vec<[Box<str>; 2]>,
}

/// A key with its value, or an item of a list, which has no key.
#[derive(Clone, Copy, Debug)]
struct Node {
    key: Range,
    value: Range,
    /// The last child, whose `next` is the first one.
    last: u32,
    next: u32,
    kind: Kind,
    /// How many children, as far as that matters to a search.
    children: u8,
}

/// Bytes of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    String,
    Integer,
    Float,
    True,
    False,
    Datetime,
    Array,
    /// Written `[[…]]`.
    Tables,
    /// Written with a header of its own.
    Table,
    /// There because a header names something below it.
    Implied,
    /// There because of a key with dots.
    Dotted,
    /// Written in braces.
    Inline,
}

/// A table of a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'t> {
    tree: &'t Tree<'t>,
    at: u32,
}

/// A value of a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'t> {
    tree: &'t Tree<'t>,
    at: u32,
}

/// One key with its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'t> {
    pub(super) key: &'t str,
    pub(super) span: Span,
    pub(super) value: Value<'t>,
}

/// Reads a file that is written plainly, as nearly all are. `None` for what is unusual or wrong, which is for
/// [`read_whole`] to judge.
pub(super) fn read_plain(file: FileId, text: &str) -> Option<Tree<'_>> {
    plain::read(file, text)
}

/// Like [`read_plain`], for a part of a file that begins at `base`.
pub(super) fn read_part(file: FileId, base: usize, text: &str) -> Option<Tree<'_>> {
    let tree = plain::read(file, text)?;
    Some(Tree { base, ..tree })
}

impl<'i> Tree<'i> {
    fn new(file: FileId, text: &'i str) -> Self {
        // a node for so many bytes is enough for nearly all files
        let mut nodes = Vec::with_capacity(text.len() / 12 + 1);
        nodes.push(Node::new(Range::default(), Range::default(), Kind::Table));
        Self {
            file,
            base: 0,
            text,
            nodes,
            said: Vec::new(),
        }
    }

    /// The table that is the file.
    pub(super) fn root(&self) -> Table<'_> {
        Table {
            tree: self,
            at: ROOT,
        }
    }

    /// Adds a node as the last child of another; both places are of this tree.
    fn add(&mut self, parent: u32, node: Node) -> Option<u32> {
        let at = u32::try_from(self.nodes.len()).ok()?;
        let holder = self.nodes.get_mut(parent as usize)?;
        let before = std::mem::replace(&mut holder.last, at);
        holder.children = holder.children.saturating_add(1);
        let first = match self.nodes.get_mut(before as usize) {
            Some(before) => std::mem::replace(&mut before.next, at),
            None => at,
        };
        self.nodes.push(Node {
            next: first,
            ..node
        });
        Some(at)
    }

    /// The children of a node in the order in which they stand.
    fn children(&self, at: u32) -> Children<'_> {
        let last = self.nodes.get(at as usize).map_or(NONE, |node| node.last);
        let next = self.nodes.get(last as usize).map_or(NONE, |node| node.next);
        Children {
            tree: self,
            next,
            last,
        }
    }

    fn key(&self, at: u32) -> &str {
        match self.said.get(at as usize) {
            Some([key, _]) => key,
            None => self
                .nodes
                .get(at as usize)
                .map_or("", |node| self.bare(node.key)),
        }
    }

    /// What stands between quotes, or without them.
    fn bare(&self, range: Range) -> &'i str {
        let text = self.text.get(range.start as usize..range.end as usize);
        let text = text.unwrap_or_default();
        if !text.starts_with(['"', '\'']) {
            return text;
        }
        text.get(1..text.len().max(2) - 1).unwrap_or_default()
    }

    fn span(&self, range: Range) -> Span {
        let (start, end) = (range.start as usize, range.end as usize);
        Span::new(self.file, self.base + start..self.base + end)
    }
}

impl Node {
    fn new(key: Range, value: Range, kind: Kind) -> Self {
        Self {
            key,
            value,
            last: NONE,
            next: NONE,
            kind,
            children: 0,
        }
    }
}

/// Children of a node.
#[derive(Clone, Debug)]
struct Children<'t> {
    tree: &'t Tree<'t>,
    next: u32,
    last: u32,
}

impl Iterator for Children<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let at = self.next;
        let node = self.tree.nodes.get(at as usize)?;
        self.next = if at == self.last { NONE } else { node.next };
        Some(at)
    }
}

impl<'t> Table<'t> {
    /// The entries in the order in which they stand in the file.
    pub(super) fn entries(self) -> impl Iterator<Item = Entry<'t>> {
        let Self { tree, at } = self;
        tree.children(at).map(move |at| {
            let range = tree.nodes.get(at as usize).map(|node| node.key);
            Entry {
                key: tree.key(at),
                span: tree.span(range.unwrap_or_default()),
                value: Value { tree, at },
            }
        })
    }

    /// How many entries there are.
    pub(super) fn count(self) -> usize {
        let node = self.tree.nodes.get(self.at as usize);
        match node.map_or(0, |node| node.children) {
            u8::MAX => self.tree.children(self.at).count(),
            few => few.into(),
        }
    }

    /// Whether headers further down may add tables to it.
    pub(super) fn is_open(self) -> bool {
        let node = self.tree.nodes.get(self.at as usize);
        node.is_some_and(|node| matches!(node.kind, Kind::Table | Kind::Implied))
    }

    pub(super) fn contains(self, key: &str) -> bool {
        let mut children = self.tree.children(self.at);
        children.any(|at| self.tree.key(at) == key)
    }
}

impl<'t> Value<'t> {
    pub(super) fn span(self) -> Span {
        let range = self.node().map(|node| node.value);
        self.tree.span(range.unwrap_or_default())
    }

    pub(super) fn as_str(self) -> Option<&'t str> {
        (self.kind() == Kind::String).then(|| self.text())
    }

    pub(super) fn as_bool(self) -> Option<bool> {
        let kind = self.kind();
        matches!(kind, Kind::True | Kind::False).then_some(kind == Kind::True)
    }

    /// A whole number from 0.
    pub(super) fn as_integer(self) -> Option<u64> {
        let text = (self.kind() == Kind::Integer).then(|| self.text())?;
        text.parse().ok()
    }

    pub(super) fn as_array(self) -> Option<impl Iterator<Item = Self> + Clone> {
        let Self { tree, at } = self;
        let items = tree.children(at).map(move |at| Self { tree, at });
        matches!(self.kind(), Kind::Array | Kind::Tables).then_some(items)
    }

    pub(super) fn as_table(self) -> Option<Table<'t>> {
        let Self { tree, at } = self;
        let table = matches!(
            self.kind(),
            Kind::Table | Kind::Implied | Kind::Dotted | Kind::Inline
        );
        table.then_some(Table { tree, at })
    }

    /// What the value is, in a word.
    pub(super) fn type_str(self) -> &'static str {
        match self.kind() {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Float => "float",
            Kind::True | Kind::False => "boolean",
            Kind::Datetime => "datetime",
            Kind::Array | Kind::Tables => "array",
            Kind::Table | Kind::Implied | Kind::Dotted | Kind::Inline => "table",
        }
    }

    fn text(self) -> &'t str {
        match self.tree.said.get(self.at as usize) {
            Some([_, text]) => text,
            None => self.node().map_or("", |node| self.tree.bare(node.value)),
        }
    }

    fn kind(self) -> Kind {
        self.node().map_or(Kind::Float, |node| node.kind)
    }

    fn node(self) -> Option<&'t Node> {
        self.tree.nodes.get(self.at as usize)
    }
}

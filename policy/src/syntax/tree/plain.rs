//! The part of TOML that policies are nearly always written in, read in one pass.
//!
//! Whatever is not plainly of that part ends the reading: escapes, strings over several lines, numbers other than
//! whole ones, tables opened behind their parts, and everything that is wrong. So this need not know what to say about
//! mistakes, only never to take one for a policy: what is read here is read alike by the `toml` crate.

use std::collections::HashMap;

use super::{Kind, Node, ROOT, Range, Tree};
use crate::hash::Keyed;
use crate::source::FileId;

/// Deepest nesting of values, and most dots in a key.
const MAX_DEPTH: u32 = 16;
/// Tables with more keys are searched by hash.
const MAX_SEARCHED: u8 = 8;

pub(super) fn read(file: FileId, text: &str) -> Option<Tree<'_>> {
    let mut plain = Plain {
        bytes: text.as_bytes(),
        at: 0,
        tree: Tree::new(file, text),
        keys: HashMap::default(),
    };
    // places are kept in 32 bits
    u32::try_from(text.len()).ok()?;
    plain.document()?;
    Some(plain.tree)
}

struct Plain<'i> {
    bytes: &'i [u8],
    at: usize,
    tree: Tree<'i>,
    /// The keys of large tables.
    keys: HashMap<(u32, &'i str), u32, Keyed>,
}

impl Plain<'_> {
    fn document(&mut self) -> Option<()> {
        let mut table = ROOT;
        loop {
            self.gap()?;
            match self.peek() {
                None => return Some(()),
                Some(b'[') => table = self.header()?,
                Some(_) => self.pair(table)?,
            }
            self.blanks();
            match self.peek() {
                None | Some(b'\n') => {}
                Some(b'#') => self.comment()?,
                Some(_) => return None,
            }
        }
    }

    /// `[a.b]` or `[[a.b]]`: the table that is open behind it.
    fn header(&mut self) -> Option<u32> {
        let start = self.at;
        self.at += 1;
        let list = self.skip(b'[');
        self.blanks();
        let mut parent = ROOT;
        let mut key = self.key()?;
        self.blanks();
        let mut depth = 0;
        while self.skip(b'.') {
            depth += 1;
            (depth < MAX_DEPTH).then_some(())?;
            parent = self.through(parent, key)?;
            self.blanks();
            key = self.key()?;
            self.blanks();
        }
        let closed = self.skip(b']') && (!list || self.skip(b']'));
        let whole = closed.then(|| range(start, self.at))?;
        let found = self.find(parent, key);
        if !list {
            // one that is there was opened before, or has parts already
            return match found {
                Some(_) => None,
                None => self.add(parent, key, whole, Kind::Table),
            };
        }
        let tables = match found {
            Some(at) => (self.kind(at)? == Kind::Tables).then_some(at)?,
            None => self.add(parent, key, whole, Kind::Tables)?,
        };
        self.item(tables, whole, Kind::Table)
    }

    /// The table that a key in front of a dot of a header names.
    fn through(&mut self, parent: u32, key: Range) -> Option<u32> {
        let Some(at) = self.find(parent, key) else {
            return self.add(parent, key, key, Kind::Implied);
        };
        let kind = self.kind(at)?;
        if kind == Kind::Tables {
            return Some(self.tree.nodes.get(at as usize)?.last);
        }
        matches!(kind, Kind::Table | Kind::Implied).then_some(at)
    }

    /// `a.b = value`.
    fn pair(&mut self, mut table: u32) -> Option<()> {
        let mut key = self.key()?;
        self.blanks();
        let mut depth = 0;
        while self.skip(b'.') {
            depth += 1;
            (depth < MAX_DEPTH).then_some(())?;
            table = match self.find(table, key) {
                None => self.add(table, key, key, Kind::Dotted)?,
                Some(at) => (self.kind(at)? == Kind::Dotted).then_some(at)?,
            };
            self.blanks();
            key = self.key()?;
            self.blanks();
        }
        self.assign(table, key, 0)
    }

    /// `= value` of a key that is new to its table.
    fn assign(&mut self, table: u32, key: Range, depth: u32) -> Option<()> {
        if !self.skip(b'=') || self.find(table, key).is_some() {
            return None;
        }
        self.blanks();
        let at = self.add(table, key, Range::default(), Kind::Float)?;
        self.value(at, depth)
    }

    /// Reads a value into a node that waits for it.
    fn value(&mut self, at: u32, depth: u32) -> Option<()> {
        let start = self.at;
        let kind = match self.peek()? {
            quote @ (b'"' | b'\'') => {
                self.string(quote)?;
                Kind::String
            }
            b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true", Kind::True)?,
            b'f' => self.word(b"false", Kind::False)?,
            b'[' if depth < MAX_DEPTH => self.array(at, depth)?,
            b'{' if depth < MAX_DEPTH => self.inline(at, depth)?,
            _ => return None,
        };
        let value = range(start, self.at);
        let node = self.tree.nodes.get_mut(at as usize)?;
        (node.value, node.kind) = (value, kind);
        Some(())
    }

    /// A string without escapes on one line.
    fn string(&mut self, quote: u8) -> Option<()> {
        let start = self.at + 1;
        let rest = self.bytes.get(start..)?;
        let len = rest
            .iter()
            .position(|&byte| byte == quote || !is_text(byte) || byte == b'\\')?;
        self.at = start + len;
        let fine = self.skip(quote);
        // three quotes begin another kind of string
        (fine && (len > 0 || self.peek() != Some(quote))).then_some(())
    }

    /// A whole number in plain digits.
    fn number(&mut self) -> Option<Kind> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let zero = self.bytes.get(start) == Some(&b'0');
        let plain = self.ends() && (!zero || self.at == start + 1) && self.at - start < 19;
        plain.then_some(Kind::Integer)
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Option<Kind> {
        let found = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        (found && self.ends()).then_some(kind)
    }

    /// Whether nothing that could be part of a word or number follows.
    fn ends(&self) -> bool {
        let next = self.peek().unwrap_or(b'\n');
        matches!(next, b' ' | b'\t' | b'\n' | b',' | b']' | b'}' | b'#')
    }

    fn array(&mut self, at: u32, depth: u32) -> Option<Kind> {
        self.at += 1;
        loop {
            self.gap()?;
            if self.skip(b']') {
                return Some(Kind::Array);
            }
            let item = self.item(at, Range::default(), Kind::Float)?;
            self.value(item, depth + 1)?;
            self.gap()?;
            if !self.skip(b',') && self.peek() != Some(b']') {
                return None;
            }
        }
    }

    /// A table in braces, on one line, without dots in its keys.
    fn inline(&mut self, at: u32, depth: u32) -> Option<Kind> {
        self.at += 1;
        self.blanks();
        if self.skip(b'}') {
            return Some(Kind::Inline);
        }
        loop {
            self.blanks();
            let key = self.key()?;
            self.blanks();
            self.assign(at, key, depth + 1)?;
            self.blanks();
            if self.skip(b'}') {
                return Some(Kind::Inline);
            }
            self.skip(b',').then_some(())?;
        }
    }

    fn key(&mut self) -> Option<Range> {
        let start = self.at;
        match self.peek()? {
            quote @ (b'"' | b'\'') => self.string(quote)?,
            _ => {
                let rest = self.bytes.get(start..)?;
                let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
                let len = rest.iter().take_while(|byte| bare(byte)).count();
                self.at += len;
                (len > 0).then_some(())?;
            }
        }
        Some(range(start, self.at))
    }

    /// Blanks, ends of lines and comments.
    fn gap(&mut self) -> Option<()> {
        loop {
            self.blanks();
            match self.peek() {
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.comment()?,
                _ => return Some(()),
            }
        }
    }

    fn comment(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let len = rest.iter().position(|&byte| !is_text(byte));
        self.at += len.unwrap_or(rest.len());
        matches!(self.peek(), None | Some(b'\n')).then_some(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn find(&self, table: u32, key: Range) -> Option<u32> {
        let text = self.tree.bare(key);
        if self.tree.nodes.get(table as usize)?.children > MAX_SEARCHED {
            return self.keys.get(&(table, text)).copied();
        }
        let mut children = self.tree.children(table);
        children.find(|&at| self.tree.key(at) == text)
    }

    fn add(&mut self, table: u32, key: Range, value: Range, kind: Kind) -> Option<u32> {
        let at = self.tree.add(table, Node::new(key, value, kind))?;
        let count = self.tree.nodes.get(table as usize)?.children;
        if count == MAX_SEARCHED + 1 {
            let keys = self.tree.children(table).filter_map(|at| {
                let node = self.tree.nodes.get(at as usize)?;
                Some(((table, self.tree.bare(node.key)), at))
            });
            self.keys.extend(keys);
        } else if count > MAX_SEARCHED {
            self.keys.insert((table, self.tree.bare(key)), at);
        }
        Some(at)
    }

    fn item(&mut self, list: u32, value: Range, kind: Kind) -> Option<u32> {
        let node = Node::new(Range::default(), value, kind);
        self.tree.add(list, node)
    }

    fn kind(&self, at: u32) -> Option<Kind> {
        Some(self.tree.nodes.get(at as usize)?.kind)
    }
}

/// What may stand in comments and strings.
fn is_text(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || byte == b'\t'
}

/// Places in a file that is known to be short enough.
fn range(start: usize, end: usize) -> Range {
    let number = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Range {
        start: number(start),
        end: number(end),
    }
}

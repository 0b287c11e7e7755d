//! The areas of all apps as trees over path segments, kept close together: a request reads few cache lines.

use std::cmp::Ordering;

use crate::canon;
use crate::ir::{self, Seg};

/// The trees of one policy.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    nodes: Vec<Node>,
    /// The literal children of each node, sorted by their bytes.
    edges: Vec<Edge>,
    /// Literals, decoded.
    text: Vec<u8>,
}

/// The tree of one app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    root: u32,
    /// Whether the case of letters does not matter.
    fold: bool,
}

/// Stands for no node and no area.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node {
    edges: u32,
    count: u32,
    star: u32,
    prefix: u32,
    exact: u32,
}

#[derive(Debug)]
struct Edge {
    head: u64,
    at: u32,
    len: u32,
    child: u32,
}

/// Exact, length, literals: greater is more specific.
type Rank = (bool, u32, u32);

impl Trees {
    /// Adds the areas of an app; those in shadow only when asked for.
    pub(super) fn add(&mut self, areas: &[ir::Area], fold: bool, shadow: bool) -> Tree {
        let mut draft = Draft::default();
        let numbered = areas.iter().zip(0u32..);
        for (area, ix) in numbered.filter(|(area, _)| shadow || !area.shadow) {
            draft.insert(&area.pattern.segs, area.pattern.exact, ix);
        }
        let root = number(self.nodes.len());
        self.nodes.push(draft.node());
        self.children(root, &draft);
        Tree { root, fold }
    }

    /// Writes the edges of a node side by side, then what is below them.
    fn children(&mut self, node: u32, draft: &Draft) {
        let edges = self.edges.len();
        for (literal, child) in &draft.literals {
            self.edges.push(Edge {
                head: head(literal),
                at: number(self.text.len()),
                len: number(literal.len()),
                child: number(self.nodes.len()),
            });
            self.text.extend_from_slice(literal);
            self.nodes.push(child.node());
        }
        let star = draft.star.as_ref().map(|child| {
            self.nodes.push(child.node());
            number(self.nodes.len() - 1)
        });
        if let Some(node) = self.nodes.get_mut(node as usize) {
            (node.edges, node.count) = (number(edges), number(draft.literals.len()));
            node.star = star.unwrap_or(NONE);
        }
        for (at, (_, child)) in (edges..).zip(&draft.literals) {
            if let Some(ix) = self.edges.get(at).map(|edge| edge.child) {
                self.children(ix, child);
            }
        }
        if let (Some(ix), Some(child)) = (star, &draft.star) {
            self.children(ix, child);
        }
    }

    /// Finds the unique most specific area of a canonical path. The areas are closed under intersection, so among
    /// those that match, the least one is exact if any is, then longest, then has the most literals.
    #[inline]
    pub(crate) fn find(&self, tree: Tree, path: &str) -> Option<u32> {
        let rest = path.strip_prefix('/').unwrap_or(path).as_bytes();
        let mut rest = if rest.is_empty() { None } else { Some(rest) };
        let (mut at, mut best) = (tree.root, NONE);
        // where nothing but literals can match, what is deeper is more specific
        while let Some(node) = self.nodes.get(at as usize) {
            if node.star != NONE {
                return self.among_stars(tree, path);
            }
            if node.prefix != NONE {
                best = node.prefix;
            }
            let Some(path) = rest else {
                if node.exact != NONE {
                    best = node.exact;
                }
                break;
            };
            if node.count == 0 {
                break;
            }
            let segment = Segment::first(path);
            rest = segment.rest;
            at = self.literal(node, &segment, tree.fold).unwrap_or(NONE);
        }
        (best != NONE).then_some(best)
    }

    fn among_stars(&self, tree: Tree, path: &str) -> Option<u32> {
        let rest = path.strip_prefix('/').unwrap_or(path).as_bytes();
        let rest = if rest.is_empty() { None } else { Some(rest) };
        let mut best = None;
        self.walk(tree.root, tree.fold, rest, (0, 0), &mut best);
        best.map(|(_, area)| area)
    }

    /// Depth is bounded by the longest pattern, and no node is visited twice.
    fn walk(
        &self,
        mut at: u32,
        fold: bool,
        mut rest: Option<&[u8]>,
        (mut len, mut literals): (u32, u32),
        best: &mut Option<(Rank, u32)>,
    ) {
        while let Some(node) = self.nodes.get(at as usize) {
            keep(best, (false, len, literals), node.prefix);
            let Some(path) = rest else {
                keep(best, (true, len, literals), node.exact);
                return;
            };
            if node.count == 0 && node.star == NONE {
                return;
            }
            let segment = Segment::first(path);
            rest = segment.rest;
            let hit = self.literal(node, &segment, fold);
            let star = if segment.text.is_empty() {
                NONE
            } else {
                node.star
            };
            len += 1;
            let Some(child) = hit else {
                at = star;
                continue;
            };
            if star != NONE {
                self.walk(star, fold, rest, (len, literals), best);
            }
            literals += 1;
            at = child;
        }
    }

    fn literal(&self, node: &Node, segment: &Segment<'_>, fold: bool) -> Option<u32> {
        let first = node.edges as usize;
        let edges = self.edges.get(first..first + node.count as usize)?;
        if fold || segment.escaped {
            return self.spelled_otherwise(edges, segment.text, fold);
        }
        let order = |edge: &Edge| {
            let heads = edge.head.cmp(&segment.head);
            heads.then_with(|| self.text(edge).cmp(segment.text))
        };
        let hit = if edges.len() <= 8 {
            edges.iter().find(|edge| {
                edge.head == segment.head
                    && edge.len as usize == segment.text.len()
                    && (edge.len <= 8 || self.text(edge) == segment.text)
            })
        } else {
            let at = edges.binary_search_by(order).ok()?;
            edges.get(at)
        };
        hit.map(|edge| edge.child)
    }

    /// Escapes stand for bytes, and an app may not tell cases apart.
    fn spelled_otherwise(&self, edges: &[Edge], segment: &[u8], fold: bool) -> Option<u32> {
        let segment = std::str::from_utf8(segment).ok()?;
        let order = |edge: &Edge| {
            let own = self.text(edge);
            let order = match fold {
                false => canon::decoded_cmp(segment, own),
                true => std::str::from_utf8(own)
                    .map_or(Ordering::Less, |own| canon::folded_cmp(segment, own)),
            };
            order.reverse()
        };
        let at = edges.binary_search_by(order).ok()?;
        edges.get(at).map(|edge| edge.child)
    }

    fn text(&self, edge: &Edge) -> &[u8] {
        let start = edge.at as usize;
        let text = self.text.get(start..start + edge.len as usize);
        text.unwrap_or_default()
    }
}

fn keep(best: &mut Option<(Rank, u32)>, rank: Rank, area: u32) {
    if area != NONE && best.is_none_or(|(old, _)| old < rank) {
        *best = Some((rank, area));
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

/// The first segment of the rest of a path.
struct Segment<'a> {
    text: &'a [u8],
    head: u64,
    escaped: bool,
    rest: Option<&'a [u8]>,
}

impl<'a> Segment<'a> {
    #[inline]
    fn first(path: &'a [u8]) -> Self {
        let (mut head, mut escapes, mut len) = (0, 0, 0);
        loop {
            let ahead = path.get(len..).unwrap_or_default();
            let word = match ahead.first_chunk::<8>() {
                Some(word) => u64::from_be_bytes(*word),
                None => short(ahead),
            };
            // the first slash, or the end, and nothing behind it
            let stops = equal(word, b'/') | equal(word, 0);
            let held = stops.leading_zeros() / 8;
            let own = word & !u64::MAX.checked_shr(held * 8).unwrap_or(0);
            if len == 0 {
                head = own;
            }
            escapes |= equal(own, b'%');
            len += held as usize;
            if held < 8 {
                break;
            }
        }
        let (text, rest) = path.split_at_checked(len).unwrap_or((path, &[]));
        Self {
            text,
            head,
            escaped: escapes != 0,
            rest: rest.split_first().map(|(_, rest)| rest),
        }
    }
}

/// Fewer than eight bytes as the first ones of a word that ends in zeros.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (slot, byte) in word.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    u64::from_be_bytes(word)
}

/// The high bit of every byte that is `byte`, and of no other.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_be_bytes([0x7f; 8]);
    let differ = word ^ u64::from_be_bytes([byte; 8]);
    !(((differ & LOW) + LOW) | differ | LOW)
}

/// The first eight bytes as a number that orders as they do; shorter texts end in zeros, which no segment holds.
fn head(text: &[u8]) -> u64 {
    Segment::first(text).head
}

/// A tree as it is built.
#[derive(Debug, Default)]
struct Draft {
    /// Sorted.
    literals: Vec<(Vec<u8>, Self)>,
    star: Option<Box<Self>>,
    prefix: Option<u32>,
    exact: Option<u32>,
}

impl Draft {
    fn insert(&mut self, segs: &[Seg], exact: bool, area: u32) {
        let Some((first, rest)) = segs.split_first() else {
            let slot = if exact {
                &mut self.exact
            } else {
                &mut self.prefix
            };
            *slot = Some(area);
            return;
        };
        match first {
            Seg::Star => self.star.get_or_insert_default().insert(rest, exact, area),
            Seg::Literal(text) => {
                let key = text.as_bytes();
                let found = self
                    .literals
                    .binary_search_by(|(own, _)| own.as_slice().cmp(key));
                let at = found.unwrap_or_else(|at| {
                    self.literals.insert(at, (key.to_vec(), Self::default()));
                    at
                });
                if let Some((_, child)) = self.literals.get_mut(at) {
                    child.insert(rest, exact, area);
                }
            }
        }
    }

    fn node(&self) -> Node {
        Node {
            edges: 0,
            count: 0,
            star: NONE,
            prefix: self.prefix.unwrap_or(NONE),
            exact: self.exact.unwrap_or(NONE),
        }
    }
}

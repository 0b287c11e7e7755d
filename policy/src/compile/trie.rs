//! The areas of all apps as trees over path segments, kept close together: a request reads few cache lines.

mod draft;
mod segment;

use std::cmp::Ordering;

use crate::canon::{self, CanonPath};
use crate::ir;
use draft::Draft;
use segment::{SLASHES, Segment, head, start};

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
    /// Whether only literals stand in it, and they match as they are spelled.
    straight: bool,
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
    /// The first eight bytes of the literal with the slash behind it, as far as they go.
    start: u64,
    /// The bits of `start` that count.
    mask: u64,
    at: u32,
    len: u32,
    child: u32,
}

/// Most children of a node that are looked through one after another.
const FEW: usize = 8;

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
        Tree {
            root,
            fold,
            straight: !fold && !draft.has_stars(),
        }
    }

    /// Writes the edges of a node side by side, then what is below them.
    fn children(&mut self, node: u32, draft: &Draft) {
        let edges = self.edges.len();
        for (literal, child) in &draft.literals {
            let (start, mask) = start(literal);
            self.edges.push(Edge {
                head: head(literal),
                start,
                mask,
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
    pub(crate) fn find(&self, tree: Tree, path: &CanonPath<'_>) -> Option<u32> {
        match path.plain() {
            Some(path) if tree.straight => self.straight(tree.root, path),
            _ => self.among_stars(tree, path.as_bytes()),
        }
    }

    /// Like [`Self::find`] for a canonical text.
    pub(crate) fn find_text(&self, tree: Tree, path: &str) -> Option<u32> {
        self.among_stars(tree, path.as_bytes())
    }

    /// Where nothing but literals can match, what is deeper is more specific.
    fn straight(&self, mut at: u32, path: &[u8]) -> Option<u32> {
        let mut rest = path.get(1..).unwrap_or_default();
        let end = match path.last_chunk::<8>() {
            Some(last) => u64::from_be_bytes(*last),
            None => path
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        let (mut best, mut ended) = (NONE, rest.is_empty());
        while let Some(node) = self.nodes.get(at as usize) {
            if node.prefix != NONE {
                best = node.prefix;
            }
            if ended {
                if node.exact != NONE {
                    best = node.exact;
                }
                break;
            }
            if node.count == 0 {
                break;
            }
            let Some(edge) = self.step(node, rest, end) else {
                break;
            };
            at = edge.child;
            match rest.get(edge.len as usize..).and_then(<[u8]>::split_first) {
                Some((_, behind)) => rest = behind,
                None => ended = true,
            }
        }
        (best != NONE).then_some(best)
    }

    /// The child for the first segment of the rest of a plain path that ends in the bytes of `end`.
    #[inline]
    fn step(&self, node: &Node, rest: &[u8], end: u64) -> Option<&Edge> {
        let first = node.edges as usize;
        let edges = self.edges.get(first..first + node.count as usize)?;
        if edges.len() > FEW {
            return self.spelled_so(edges, &Segment::first(rest));
        }
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_be_bytes(*word),
            // behind the end stands as good as a slash
            None => {
                let free = 8 * number(rest.len());
                let own = end.checked_shl(64 - free).unwrap_or(0);
                own | SLASHES.checked_shr(free).unwrap_or(0)
            }
        };
        edges.iter().find(|edge| {
            word & edge.mask == edge.start && (edge.len < 8 || self.goes_on(edge, rest))
        })
    }

    /// Whether the first segment of the rest of a plain path is a literal of eight bytes or more.
    fn goes_on(&self, edge: &Edge, rest: &[u8]) -> bool {
        let len = edge.len as usize;
        let ended = rest
            .get(len)
            .map_or(rest.len() == len, |byte| *byte == b'/');
        ended && rest.get(..len) == Some(self.text(edge))
    }

    fn among_stars(&self, tree: Tree, path: &[u8]) -> Option<u32> {
        let rest = path.strip_prefix(b"/").unwrap_or(path);
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
        self.spelled_so(edges, segment).map(|edge| edge.child)
    }

    /// The edge with the very bytes of a segment.
    fn spelled_so<'e>(&self, edges: &'e [Edge], segment: &Segment<'_>) -> Option<&'e Edge> {
        if edges.len() > FEW {
            let order = |edge: &Edge| {
                let heads = edge.head.cmp(&segment.head);
                heads.then_with(|| self.text(edge).cmp(segment.text))
            };
            return edges.get(edges.binary_search_by(order).ok()?);
        }
        edges.iter().find(|edge| {
            edge.head == segment.head
                && edge.len as usize == segment.text.len()
                && (edge.len <= 8 || self.text(edge) == segment.text)
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Area, Pattern, Seg};

    fn pattern(text: &str) -> Pattern {
        let path = text.trim_start_matches('=');
        let segments = path.split('/').skip(1);
        Pattern {
            segs: match path {
                "/" => Vec::new(),
                _ => segments.map(|text| Seg::Literal(text.to_owned())).collect(),
            },
            exact: text.starts_with('='),
            text: text.to_owned(),
        }
    }

    fn trees(patterns: &[&str]) -> (Trees, Tree) {
        let areas: Vec<Area> = patterns
            .iter()
            .map(|text| Area {
                pattern: pattern(text).into(),
                public: None,
                shadow: false,
                lanes: crate::Lanes::default(),
                front: None,
                allows: Vec::new(),
                span: crate::source::Span::default(),
            })
            .collect();
        let mut trees = Trees::default();
        let tree = trees.add(&areas, false, false);
        (trees, tree)
    }

    /// The straight way down and the general walk find the same areas.
    #[test]
    fn two_ways_through_a_tree_lead_to_one_area() {
        let few = [
            "/a",
            "/api",
            "/api/v1",
            "/apiv1234",
            "/apiv12345",
            "/apiv12345/x",
            "=/api",
            "=/api/",
            "=/api/v1/y",
            "/a-b.c",
        ];
        let many: Vec<String> = (0..40).map(|at| format!("/node-number-{at}/x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(few).collect();
        let mut found = 0;
        for patterns in [few.as_slice(), &many, &["=/"]] {
            let (trees, tree) = trees(patterns);
            assert!(tree.straight);
            for first in [
                "",
                "a",
                "ap",
                "api",
                "apiv123",
                "apiv1234",
                "apiv12345",
                "apiv123456",
                "node-number-7",
                "a-b.c",
            ] {
                for second in [
                    "",
                    "/",
                    "/v1",
                    "/v1/y",
                    "/v1/y/",
                    "/v1/yz",
                    "/x",
                    "/x/",
                    "/xy",
                    "/x/node-number-7",
                ] {
                    let text = format!("/{first}{second}");
                    let Ok(path) = canon::path(text.as_bytes()) else {
                        continue;
                    };
                    let hit = trees.find(tree, &path);
                    assert_eq!(
                        hit,
                        trees.find_text(tree, path.as_str()),
                        "{text} {patterns:?}"
                    );
                    assert_eq!(hit, trees.find(tree, &path.into_owned()), "{text}");
                    found += usize::from(hit.is_some());
                }
            }
        }
        assert!(found > 60, "{found}");
    }
}

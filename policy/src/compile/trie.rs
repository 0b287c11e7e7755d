//! The areas of one app as a tree over path segments.

use crate::canon;
use crate::ir::{self, Seg};

#[derive(Debug, Default)]
struct Node {
    /// Children by decoded literal, sorted.
    literals: Vec<(Box<[u8]>, u32)>,
    star: Option<u32>,
    prefix: Option<u32>,
    exact: Option<u32>,
}

/// Finds the unique most specific area of a path. The areas are closed under intersection, so among those that
/// match, the least one is exact if any is, then longest, then has the most literals.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// Whether the case of letters does not matter.
    fold: bool,
}

/// Exact, length, literals: greater is more specific.
type Rank = (bool, u32, u32);

impl Trie {
    /// The areas of an app; those in shadow only when asked for.
    pub(super) fn new(areas: &[ir::Area], fold: bool, shadow: bool) -> Self {
        let mut trie = Self {
            nodes: vec![Node::default()],
            fold,
        };
        let numbered = areas.iter().zip(0u32..);
        for (area, ix) in numbered.filter(|(area, _)| shadow || !area.shadow) {
            let (pattern, area) = (&area.pattern, ix);
            let mut at = 0;
            for seg in &pattern.segs {
                at = trie.child(at, seg);
            }
            if let Some(node) = trie.nodes.get_mut(at) {
                let slot = if pattern.exact {
                    &mut node.exact
                } else {
                    &mut node.prefix
                };
                *slot = Some(area);
            }
        }
        trie
    }

    fn child(&mut self, at: usize, seg: &Seg) -> usize {
        let fresh = self.nodes.len();
        let next = u32::try_from(fresh).unwrap_or(u32::MAX);
        let Some(node) = self.nodes.get_mut(at) else {
            return at;
        };
        let child = match seg {
            Seg::Star => *node.star.get_or_insert(next),
            Seg::Literal(text) => {
                let key = text.as_bytes();
                match node
                    .literals
                    .binary_search_by(|(own, _)| own.as_ref().cmp(key))
                {
                    Ok(found) => node.literals.get(found).map_or(next, |entry| entry.1),
                    Err(slot) => {
                        node.literals.insert(slot, (key.into(), next));
                        next
                    }
                }
            }
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child as usize
    }

    /// The area of a canonical path.
    pub(crate) fn find(&self, path: &str) -> Option<u32> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let rest = if rest.is_empty() { None } else { Some(rest) };
        let mut best = None;
        self.walk(0, rest, (0, 0), &mut best);
        best.map(|(_, area)| area)
    }

    fn compare(&self, segment: &str, own: &[u8]) -> std::cmp::Ordering {
        if !self.fold {
            return canon::decoded_cmp(segment, own);
        }
        std::str::from_utf8(own).map_or(std::cmp::Ordering::Less, |text| {
            canon::folded_cmp(segment, text)
        })
    }

    /// Depth is bounded by the longest pattern, and no node is visited twice.
    fn walk(
        &self,
        node: u32,
        rest: Option<&str>,
        (len, literals): (u32, u32),
        best: &mut Option<(Rank, u32)>,
    ) {
        let Some(node) = self.nodes.get(node as usize) else {
            return;
        };
        if let Some(area) = node.prefix {
            keep(best, (false, len, literals), area);
        }
        let Some(rest) = rest else {
            if let Some(area) = node.exact {
                keep(best, (true, len, literals), area);
            }
            return;
        };
        if node.literals.is_empty() && node.star.is_none() {
            return;
        }
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let hit = node
            .literals
            .binary_search_by(|(own, _)| self.compare(segment, own).reverse());
        if let Some((_, child)) = hit.ok().and_then(|at| node.literals.get(at)) {
            self.walk(*child, rest, (len + 1, literals + 1), best);
        }
        if let Some(child) = node.star.filter(|_| !segment.is_empty()) {
            self.walk(child, rest, (len + 1, literals), best);
        }
    }
}

fn keep(best: &mut Option<(Rank, u32)>, rank: Rank, area: u32) {
    if best.is_none_or(|(old, _)| old < rank) {
        *best = Some((rank, area));
    }
}

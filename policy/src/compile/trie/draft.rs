//! A tree of areas as it is built.

use super::{NONE, Node};
use crate::ir::Seg;

/// A tree as it is built.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Sorted.
    pub(super) literals: Vec<(Vec<u8>, Self)>,
    pub(super) star: Option<Box<Self>>,
    prefix: Option<u32>,
    exact: Option<u32>,
}

impl Draft {
    pub(super) fn insert(&mut self, segs: &[Seg], exact: bool, area: u32) {
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

    pub(super) fn has_stars(&self) -> bool {
        self.star.is_some() || self.literals.iter().any(|(_, child)| child.has_stars())
    }

    pub(super) fn node(&self) -> Node {
        Node {
            edges: 0,
            count: 0,
            star: NONE,
            prefix: self.prefix.unwrap_or(NONE),
            exact: self.exact.unwrap_or(NONE),
        }
    }
}

//! Path patterns of areas: what they match, contain and share.

use serde::Serialize;

use crate::canon;

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum Seg {
    /// The decoded text; empty only as the last segment of an exact pattern that ends in a slash.
    Literal(String),
    /// Any one segment that is not empty.
    Star,
}

impl Seg {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Star, Self::Star) => true,
            (Self::Star, Self::Literal(text)) | (Self::Literal(text), Self::Star) => {
                !text.is_empty()
            }
            (Self::Literal(a), Self::Literal(b)) => a == b,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.meets(other) && (*self == Self::Star || self == other)
    }

    fn matches(&self, segment: &str, fold: bool) -> bool {
        match self {
            Self::Star => !segment.is_empty(),
            Self::Literal(text) if fold => canon::folded_cmp(segment, text).is_eq(),
            Self::Literal(text) => canon::decoded_eq(segment, text.as_bytes()),
        }
    }
}

/// The paths of an area: exactly one shape, or that shape and everything below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Pattern {
    pub(crate) segs: Vec<Seg>,
    pub(crate) exact: bool,
    /// As written and as shown in rule ids; empty for the root area.
    pub(crate) text: String,
}

impl Pattern {
    /// The whole app.
    pub(crate) fn root() -> Self {
        Self {
            segs: Vec::new(),
            exact: false,
            text: String::new(),
        }
    }

    /// The text with `/` for the root.
    pub(crate) fn shown(&self) -> &str {
        if self.text.is_empty() {
            "/"
        } else {
            &self.text
        }
    }

    /// Whether a canonical path lies in the area; `fold` for apps that do not tell cases apart.
    pub(crate) fn matches(&self, path: &str, fold: bool) -> bool {
        let mut rest = canon::segments(path);
        self.segs.iter().all(|seg| {
            rest.next()
                .is_some_and(|segment| seg.matches(segment, fold))
        }) && (!self.exact || rest.next().is_none())
    }

    /// Whether every path of `other` is one of ours.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let fits = match (self.exact, other.exact) {
            (false, _) => self.segs.len() <= other.segs.len(),
            (true, true) => self.segs.len() == other.segs.len(),
            (true, false) => false,
        };
        fits && self.pairs(other).all(|(a, b)| a.covers(b))
    }

    /// The paths both hold, if any; its text is built from the segments.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        let (short, long) = if self.segs.len() <= other.segs.len() {
            (self, other)
        } else {
            (other, self)
        };
        let reaches = !short.exact || short.segs.len() == long.segs.len();
        if !reaches || !short.pairs(long).all(|(a, b)| a.meets(b)) {
            return None;
        }
        let mut segs = long.segs.clone();
        for (seg, narrow) in segs.iter_mut().zip(&short.segs) {
            if *seg == Seg::Star {
                seg.clone_from(narrow);
            }
        }
        let exact = self.exact || other.exact;
        let text = text(&segs, exact);
        Some(Self { segs, exact, text })
    }

    /// Same paths, whatever the spelling.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.exact == other.exact && self.segs == other.segs
    }

    pub(crate) fn has_star(&self) -> bool {
        self.segs.contains(&Seg::Star)
    }

    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Seg, &'a Seg)> {
        self.segs.iter().zip(&other.segs)
    }
}

fn text(segs: &[Seg], exact: bool) -> String {
    let mut out = String::from(if exact { "=" } else { "" });
    for seg in segs {
        out.push('/');
        match seg {
            Seg::Star => out.push('*'),
            Seg::Literal(text) => out.push_str(text),
        }
    }
    if segs.is_empty() {
        out.push('/');
    }
    out
}

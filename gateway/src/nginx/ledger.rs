//! What became of each directive: one entry for each, and none without.

use serde::Serialize;

use super::tree::Directive;

/// What became of a directive, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The gateway does it without being told.
    Done,
    /// It stands in the policy.
    Carried,
    /// The gateway does something else instead, on purpose.
    Differs,
    /// Nothing stands for it.
    NotUnderstood,
}

impl Verdict {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [
        Self::Carried,
        Self::Done,
        Self::Differs,
        Self::NotUnderstood,
    ];

    /// Its mark in a list.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Done => "=",
            Self::Carried => "+",
            Self::Differs => "~",
            Self::NotUnderstood => "!",
        }
    }

    /// What the mark stands for.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Done => "done by Postern anyway",
            Self::Carried => "carried over",
            Self::Differs => "different on purpose",
            Self::NotUnderstood => "not understood",
        }
    }
}

/// What became of one directive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) directive: String,
    pub(crate) verdict: Verdict,
    pub(crate) says: String,
}

impl Row {
    /// `file:line`, on one line whatever the file is called.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file.escape_debug(), self.line)
    }
}

/// The entries so far.
#[derive(Debug)]
pub(super) struct Ledger {
    marks: Vec<Option<(Verdict, String)>>,
    /// What nginx does without being told, behind the directive where it matters.
    more: Vec<(usize, &'static str, Verdict, String)>,
}

impl Ledger {
    pub(super) fn new(directives: &[Directive]) -> Self {
        let mut count = 0;
        each(directives, &mut |_| count += 1);
        Self {
            marks: vec![None; count],
            more: Vec::new(),
        }
    }

    pub(super) fn done(&mut self, d: &Directive, says: impl Into<String>) {
        self.mark(d.id, Verdict::Done, says);
    }

    pub(super) fn carried(&mut self, d: &Directive, says: impl Into<String>) {
        self.mark(d.id, Verdict::Carried, says);
    }

    pub(super) fn differs(&mut self, d: &Directive, says: impl Into<String>) {
        self.mark(d.id, Verdict::Differs, says);
    }

    pub(super) fn unknown(&mut self, d: &Directive, says: impl Into<String>) {
        self.mark(d.id, Verdict::NotUnderstood, says);
    }

    /// Writes what became of a directive; what is worse is never taken back.
    pub(super) fn mark(&mut self, id: usize, verdict: Verdict, says: impl Into<String>) {
        if let Some(mark) = self.marks.get_mut(id)
            && mark.as_ref().is_none_or(|(known, _)| *known <= verdict)
        {
            *mark = Some((verdict, says.into()));
        }
    }

    /// Writes what nginx does though no directive says so.
    pub(super) fn implied(
        &mut self,
        at: &Directive,
        what: &'static str,
        verdict: Verdict,
        says: String,
    ) {
        self.more.push((at.id, what, verdict, says));
    }

    /// Writes one text for all of a block that has no entry yet.
    pub(super) fn within(&mut self, d: &Directive, verdict: Verdict, says: &str) {
        each(d.children(), &mut |inner| {
            if self.marks.get(inner.id).is_some_and(Option::is_none) {
                self.mark(inner.id, verdict, says);
            }
        });
    }

    /// Tells that what a block carries over stands nowhere, because the block itself does not, but for why.
    pub(super) fn idle(&mut self, d: &Directive, says: &str) {
        let why = ["allow", "deny", "internal", "return", "location"];
        for inner in d
            .children()
            .iter()
            .filter(|inner| !why.contains(&inner.name.as_str()))
        {
            if let Some(Some((Verdict::Carried, text))) = self.marks.get_mut(inner.id) {
                says.clone_into(text);
            }
        }
    }

    /// Returns all entries in the order in which the directives were read.
    pub(super) fn rows(&self, directives: &[Directive]) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.marks.len() + self.more.len());
        each(directives, &mut |d| {
            let row = |directive: String, verdict: Verdict, says: String| Row {
                file: d.file.display().to_string(),
                line: d.spot.line,
                column: d.spot.column,
                directive,
                verdict,
                says,
            };
            let mark = self.marks.get(d.id).cloned().flatten();
            let (verdict, says) = mark.unwrap_or_else(|| {
                let says = "nothing in the policy stands for it";
                (Verdict::NotUnderstood, says.to_owned())
            });
            rows.push(row(d.text(), verdict, says));
            for (_, what, verdict, says) in self.more.iter().filter(|(id, ..)| *id == d.id) {
                rows.push(row(
                    format!("({what} is not written)"),
                    *verdict,
                    says.clone(),
                ));
            }
        });
        rows
    }
}

fn each<'a>(directives: &'a [Directive], does: &mut impl FnMut(&'a Directive)) {
    for d in directives {
        does(d);
        each(d.children(), does);
    }
}

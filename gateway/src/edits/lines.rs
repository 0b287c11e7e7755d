//! What an edit changes in a file, line by line.

use serde::Serialize;

/// Unchanged lines that are shown around a change.
const AROUND: usize = 3;
/// The largest table of the comparison; a change beyond it is shown as all old lines, then all new ones.
const CELLS_MAX: usize = 4_000_000;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mark {
    /// It stays.
    Same,
    /// It is gone.
    Old,
    /// It is new.
    New,
    /// Lines that stay are left out here.
    Gap,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// What became of it.
    pub(crate) mark: Mark,
    /// Its text; empty for a gap.
    pub(crate) text: String,
}

impl Mark {
    /// The sign before the line.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Same => " ",
            Self::Old => "-",
            Self::New => "+",
            Self::Gap => "…",
        }
    }
}

/// Compares two texts by lines; empty where they are the same.
pub(crate) fn compare(before: &str, after: &str) -> Vec<Line> {
    if before == after {
        return Vec::new();
    }
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let head = same(old.iter(), new.iter());
    let (old_rest, new_rest) = (rest(&old, head), rest(&new, head));
    let tail = same(old_rest.iter().rev(), new_rest.iter().rev());
    let cut = |lines: &'_ [&str]| lines.len().saturating_sub(tail);
    let (old_mid, new_mid) = (
        old_rest.get(..cut(old_rest)).unwrap_or_default(),
        new_rest.get(..cut(new_rest)).unwrap_or_default(),
    );
    let mut all: Vec<(Mark, &str)> = Vec::new();
    all.extend(old.iter().take(head).map(|line| (Mark::Same, *line)));
    all.extend(middle(old_mid, new_mid));
    all.extend(
        rest(&old, old.len() - tail)
            .iter()
            .map(|line| (Mark::Same, *line)),
    );
    shortened(&all)
}

fn same<'a>(a: impl Iterator<Item = &'a &'a str>, b: impl Iterator<Item = &'a &'a str>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

fn rest<'s, 't>(lines: &'s [&'t str], from: usize) -> &'s [&'t str] {
    lines.get(from..).unwrap_or_default()
}

/// Finds a longest common part and marks what is not in it.
fn middle<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(Mark, &'t str)> {
    let wide = new.len() + 1;
    if (old.len() + 1).saturating_mul(wide) > CELLS_MAX {
        let gone = old.iter().map(|line| (Mark::Old, *line));
        return gone
            .chain(new.iter().map(|line| (Mark::New, *line)))
            .collect();
    }
    // length of the longest common part of what is left from (i, j) on
    let mut lengths = vec![0_u32; (old.len() + 1) * wide];
    let at = |lengths: &[u32], i: usize, j: usize| lengths.get(i * wide + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let length = match a == b {
                true => at(&lengths, i + 1, j + 1) + 1,
                false => at(&lengths, i + 1, j).max(at(&lengths, i, j + 1)),
            };
            if let Some(cell) = lengths.get_mut(i * wide + j) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                out.push((Mark::Same, *a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                out.push((Mark::Old, *a));
                i += 1;
            }
            (_, Some(b)) => {
                out.push((Mark::New, *b));
                j += 1;
            }
            (_, None) => return out,
        }
    }
}

/// Leaves out what stays and is far from any change.
fn shortened(all: &[(Mark, &str)]) -> Vec<Line> {
    let changed: Vec<usize> = all
        .iter()
        .enumerate()
        .filter(|(_, (mark, _))| *mark != Mark::Same)
        .map(|(at, _)| at)
        .collect();
    let mut near = changed.iter().copied().peekable();
    let mut out: Vec<Line> = Vec::new();
    for (at, (mark, text)) in all.iter().enumerate() {
        while near.peek().is_some_and(|change| change + AROUND < at) {
            near.next();
        }
        let shown = near.peek().is_some_and(|change| at + AROUND >= *change);
        if shown {
            let text = (*text).to_owned();
            out.push(Line { mark: *mark, text });
        } else if out.last().is_none_or(|line| line.mark != Mark::Gap) {
            let text = String::new();
            out.push(Line {
                mark: Mark::Gap,
                text,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::compare;

    fn shown(before: &str, after: &str) -> String {
        let lines = compare(before, after);
        let lines = lines.iter().map(|l| format!("{}{}", l.mark.sign(), l.text));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_change_is_shown_with_three_lines_around_it_and_gaps_elsewhere() {
        let text = |marked: &str| format!("1\n2\n3\n4\n5\n{marked}\n7\n8\n9\n10\n");
        assert_eq!(
            shown(&text("a"), &text("b")),
            "…\n 3\n 4\n 5\n-a\n+b\n 7\n 8\n 9\n…"
        );
        assert_eq!(shown(&text("a"), &text("a")), "");
    }

    #[test]
    fn far_changes_stand_apart_and_every_new_text_can_be_read_off() {
        let before: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let mut after = before.clone();
        after.remove(20);
        after.insert(2, "new".to_owned());
        let out = shown(&before.join("\n"), &after.join("\n"));
        assert_eq!(out.matches('…').count(), 2, "{out}");
        assert!(
            out.contains("\n+new\n 2\n") && out.contains("\n-20\n 21\n"),
            "{out}"
        );
        assert_eq!(shown("", "a\nb"), "+a\n+b");
        assert_eq!(shown("a\nb", ""), "-a\n-b");
    }
}

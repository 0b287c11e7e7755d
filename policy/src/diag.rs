//! Diagnostics: what is wrong in the files, where, and what to do about it.

use std::fmt::{self, Write};

use crate::source::{Sources, Span};

/// How grave a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is not loaded.
    Error,
    /// The policy is loaded; somebody should look.
    Warning,
}

impl Severity {
    /// The word printed before the code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding in the policy files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Closed kebab-case reason code.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The text it is about.
    pub span: Span,
    /// One line: what is wrong, with the value.
    pub title: String,
    /// A few words to stand under the marked text; may be empty.
    pub label: String,
    /// Other places that matter, each with a note.
    pub related: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
    pub(crate) meant: Option<Meant>,
}

/// A change to one file after which a finding is gone; what was meant may still be something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Span,
    /// What stands there then.
    pub text: String,
}

/// What was probably meant instead of a wrong word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    wrong: String,
    right: String,
    help: String,
}

impl Meant {
    /// The name nearest to `wrong`, if it is near enough to be a slip.
    pub(crate) fn near(wrong: &str, names: impl IntoIterator<Item: AsRef<str>>) -> Option<Self> {
        Some(Self::name(wrong, nearest(wrong, names)?))
    }

    /// A name that certainly stands for another.
    pub(crate) fn name(wrong: &str, right: String) -> Self {
        let help = format!("did you mean `{right}`?");
        Self {
            wrong: wrong.to_owned(),
            right,
            help,
        }
    }

    /// A group where the name of a user stands.
    pub(crate) fn group(name: &str) -> Self {
        Self::written(name, format!("@{name}"), "a group is written")
    }

    /// Another way to write what was meant; `help` ends in it.
    pub(crate) fn written(wrong: &str, right: String, help: &str) -> Self {
        let help = format!("{help} `{right}`");
        Self {
            wrong: wrong.to_owned(),
            right,
            help,
        }
    }

    /// Words what was meant.
    pub(crate) fn help(&self) -> String {
        self.help.clone()
    }
}

impl Diagnostic {
    pub(crate) fn error(code: &'static str, span: Span, title: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span,
            title: title.into(),
            label: String::new(),
            related: Vec::new(),
            help: None,
            meant: None,
        }
    }

    pub(crate) fn warning(code: &'static str, span: Span, title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, title)
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn help_opt(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Says what was meant, in place of help given before.
    pub(crate) fn meant(mut self, meant: Option<Meant>) -> Self {
        if let Some(meant) = meant {
            self.help = Some(meant.help());
            self.meant = Some(meant);
        }
        self
    }

    /// Finds the change that writes what was meant; `None` where nothing is known to be meant, and where the wrong
    /// word does not stand exactly once in the marked text, as with escapes in a string.
    pub fn fix(&self, sources: &Sources) -> Option<Edit> {
        let Meant { wrong, right, .. } = self.meant.as_ref()?;
        let start = self.span.start as usize;
        let text = sources.text(self.span.file);
        let text = text.get(start..self.span.end as usize)?;
        // files of a tenant need not name it
        let own = wrong.split_once('/').zip(right.split_once('/'));
        let (wrong, right) = match own.filter(|_| !text.contains(wrong.as_str())) {
            Some(((space, wrong), (other, right))) if space == other => (wrong, right),
            _ => (wrong.as_str(), right.as_str()),
        };
        let mut found = text.match_indices(wrong);
        let (Some((at, _)), None) = (found.next(), found.next()) else {
            return None;
        };
        let end = at + wrong.len();
        let joins = |ch: char| ch.is_alphanumeric() || "-_.@!".contains(ch);
        let before = text.get(..at)?.chars().next_back();
        let before = before.filter(|ch| !"@!".contains(*ch));
        let whole = ![before, text.get(end..)?.chars().next()]
            .into_iter()
            .flatten()
            .any(joins);
        // quotes must not be needed that are not there
        let bare = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let quoted = |b: u8| b.is_ascii_graphic() && !b"\"'\\".contains(&b);
        let fits = match text.contains(['"', '\'']) {
            true => right.bytes().all(quoted),
            false => right.bytes().all(bare),
        };
        (whole && fits && !wrong.is_empty()).then(|| Edit {
            span: Span::new(self.span.file, start + at..start + end),
            text: right.to_owned(),
        })
    }

    pub(crate) fn related(mut self, span: Span, note: impl Into<String>) -> Self {
        self.related.push((span, note.into()));
        self
    }

    /// Renders the finding on one line: `file:line:col severity[code] title / help`.
    pub fn one_line(&self, sources: &Sources) -> String {
        let place = sources.locate(&self.span);
        let mut line = format!(
            "{place} {}[{}] {}",
            self.severity.as_str(),
            self.code,
            self.title
        );
        if let Some(help) = &self.help {
            line.push_str(" / ");
            line.push_str(help);
        }
        line
    }
}

/// Makes text from a file safe to print: control characters escaped, at most 80 characters.
pub(crate) fn show(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    Shown(text).to_string()
}

/// Whether a text is printed as it is.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_SHOWN && text.bytes().all(|byte| matches!(byte, 0x20..0x7f))
}

/// Text from a file, printed as [`show`] makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) {
            return f.write_str(self.0);
        }
        for (at, ch) in self.0.chars().enumerate() {
            if at == MAX_SHOWN {
                return f.write_char('…');
            }
            if ch.is_control() {
                write!(f, "{}", ch.escape_default())?;
            } else {
                f.write_char(ch)?;
            }
        }
        Ok(())
    }
}

/// Most characters of a text from a file that are printed.
const MAX_SHOWN: usize = 80;

/// Finds the name nearest to `wrong`, if it is near enough to be a slip.
pub(crate) fn nearest(wrong: &str, names: impl IntoIterator<Item: AsRef<str>>) -> Option<String> {
    if wrong.len() > 80 {
        return None;
    }
    let limit = 1 + wrong.chars().count() / 4;
    let mut best: Option<(usize, String)> = None;
    for name in names {
        let name = name.as_ref();
        let distance = strsim::damerau_levenshtein(wrong, name);
        let near = distance <= limit && distance < name.chars().count();
        let better = |(least, old): &(usize, String)| (distance, name) < (*least, old.as_str());
        if near && best.as_ref().is_none_or(better) {
            best = Some((distance, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

/// Words a "did you mean" for [`nearest`].
pub(crate) fn did_you_mean(
    wrong: &str,
    names: impl IntoIterator<Item: AsRef<str>>,
) -> Option<String> {
    Meant::near(wrong, names).map(|meant| meant.help())
}

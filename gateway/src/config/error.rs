//! Problems of a configuration file, each with its position.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::snapshot::files::FileError;

/// Says why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(FileError),
    /// The file says something it may not say; one line a problem.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// One problem and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file as it was named.
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line, column) = (self.file.display(), self.line, self.column);
        write!(f, "{file}:{line}:{column}: {}", self.what)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// Makes a problem that stands at a byte range of the file's text.
    pub(crate) fn at(file: &Path, text: &str, span: Option<Range<usize>>, what: String) -> Self {
        let before = text.get(..span.map_or(0, |s| s.start)).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
            what,
            help: None,
        }
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }
}

/// Turns the parser's error into a problem; unknown keys and values get a suggestion.
pub(super) fn translate(file: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let message = error.message().trim().replace('\n', ", ");
    let problem = |what| Problem::at(file, text, error.span(), what);
    for (prefix, noun) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        let Some(rest) = message.strip_prefix(prefix) else {
            continue;
        };
        let mut quoted = rest.split('`').step_by(2);
        let given = quoted.next().unwrap_or_default().to_owned();
        let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
        let made = problem(format!("unknown {noun} `{given}`"));
        return made.help(suggestion(&given, &known));
    }
    problem(message)
}

fn suggestion(given: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(given, k), *k))
        .min()
        .filter(|(distance, _)| *distance <= 1 + given.len() / 4);
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

//! What is wrong in a policy's files, as scripts read it.

use policy::{Diagnostic, Sources, Span};
use serde::Serialize;

use super::exit::chain;
use crate::snapshot::files::FileError;
use crate::snapshot::folder::FolderError;

/// The code of a file or folder that is not read.
const FILE: &str = "file";

/// A finding; the shape is a contract with scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `error` or `warning`.
    pub(crate) severity: &'static str,
    /// What kind of mistake it is.
    pub(crate) code: &'static str,
    /// What is wrong, in one line.
    pub(crate) title: String,
    #[serde(flatten)]
    pub(crate) at: Place,
    /// A few words about the marked text.
    pub(crate) label: Option<String>,
    /// What to do.
    pub(crate) help: Option<String>,
    /// The change to the file that writes what was probably meant.
    pub(crate) fix: Option<Fix>,
    /// Other places that matter.
    pub(crate) related: Vec<Related>,
}

/// A piece of the file of a finding, in bytes from 0, and what to write in its place; the end is behind the last byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fix {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) text: String,
}

/// A place that matters too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Related {
    #[serde(flatten)]
    pub(crate) at: Place,
    /// Why it matters.
    pub(crate) note: String,
}

/// A piece of a file, in lines and characters from 1; the end is behind its last character. Only the file is known of
/// one that is not read at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    pub(crate) end_line: Option<u32>,
    pub(crate) end_column: Option<u32>,
}

/// Brings diagnostics into the form for scripts.
pub(crate) fn all(sources: &Sources, found: &[Diagnostic]) -> Vec<Finding> {
    let related = |(span, note): &(Span, String)| Related {
        at: place(sources, span),
        note: note.clone(),
    };
    let finding = |d: &Diagnostic| Finding {
        severity: d.severity.as_str(),
        code: d.code,
        title: d.title.clone(),
        at: place(sources, &d.span),
        label: Some(d.label.clone()).filter(|label| !label.is_empty()),
        help: d.help.clone(),
        fix: d.fix(sources).map(|edit| Fix {
            start: edit.span.start,
            end: edit.span.end,
            text: edit.text,
        }),
        related: d.related.iter().map(related).collect(),
    };
    found.iter().map(finding).collect()
}

/// Tells everything that stands against a policy folder.
pub(crate) fn of_folder(error: &FolderError) -> Vec<Finding> {
    let mut out: Vec<Finding> = error.faults().map(of_file).collect();
    out.extend(all(&error.sources, &error.found));
    out
}

fn of_file(fault: &FileError) -> Finding {
    let (line, column) = match fault {
        FileError::NotText { line, column, .. } => (Some(*line), Some(*column)),
        FileError::Io { .. }
        | FileError::Refused { .. }
        | FileError::Writable { .. }
        | FileError::Owner { .. } => (None, None),
    };
    Finding {
        severity: "error",
        code: FILE,
        title: chain(fault),
        at: Place {
            file: fault.path().display().to_string(),
            line,
            column,
            end_line: line,
            end_column: column,
        },
        label: None,
        help: None,
        fix: None,
        related: Vec::new(),
    }
}

fn place(sources: &Sources, span: &Span) -> Place {
    let (start, end) = (sources.locate(span), sources.locate_end(span));
    Place {
        file: start.path.to_owned(),
        line: Some(start.line),
        column: Some(start.column),
        end_line: Some(end.line),
        end_column: Some(end.column),
    }
}

#[cfg(test)]
mod tests {
    use policy::Sources;
    use serde_json::json;

    #[test]
    fn a_finding_has_both_ends_its_label_its_help_and_related_places() {
        let mut sources = Sources::new();
        let text = "postern = 1\n[group]\nit = [\"ann\"]\n[zone]\nit = \"192.0.2.0/24\"\n";
        sources.add("a.toml", text.to_owned());
        sources.add(
            "b.toml",
            "postern = 1\n[group]\nit = [\"bob\"]\n".to_owned(),
        );
        let found = policy::load(&sources).unwrap_err();
        let told = serde_json::to_value(super::all(&sources, &found)).unwrap();
        let twice = json!({
            "severity": "error", "code": "defined-twice", "title": "group `it` is defined twice",
            "file": "b.toml", "line": 3, "column": 1, "end_line": 3, "end_column": 3,
            "label": "second definition",
            "help": "a name is defined in exactly one place; join the two",
            "fix": null,
            "related": [{
                "file": "a.toml", "line": 3, "column": 1, "end_line": 3, "end_column": 3,
                "note": "first definition",
            }],
        });
        assert_eq!(told, json!([twice]));
    }

    #[test]
    fn a_name_that_was_meant_comes_as_a_change_to_the_file() {
        let mut sources = Sources::new();
        let text = "# é\npostern = 1\n[group]\nit = [\"ann\"]\nops = [\"@ti\"]\n";
        sources.add("a.toml", text.to_owned());
        let found = policy::load(&sources).unwrap_err();
        let told = serde_json::to_value(super::all(&sources, &found)).unwrap();
        assert_eq!(told[0]["help"], "did you mean `@it`?");
        let start = text.find("@ti").unwrap();
        let fix = json!({"start": start, "end": start + 3, "text": "@it"});
        assert_eq!(told[0]["fix"], fix);
        let mut text = text.to_owned();
        text.replace_range(start..start + 3, "@it");
        let mut sources = Sources::new();
        sources.add("a.toml", text);
        assert!(policy::load(&sources).is_ok());
    }
}

//! Diagnostics of the policy language as text with the marked lines.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use policy::{Diagnostic, Severity, Sources, Span};

/// Renders all findings, errors and warnings, one block each.
pub(crate) fn all(sources: &Sources, found: &[Diagnostic]) -> String {
    let blocks: Vec<String> = found.iter().map(|d| one(sources, d)).collect();
    blocks.join("\n\n")
}

/// Renders one finding; its place is written `file:line:col` in the block.
pub(crate) fn one(sources: &Sources, found: &Diagnostic) -> String {
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let marked = |span: &Span| {
        let text = sources.text(span.file);
        let start = usize::try_from(span.start)
            .unwrap_or(usize::MAX)
            .min(text.len());
        let end = usize::try_from(span.end).unwrap_or(usize::MAX);
        start..end.clamp(start, text.len())
    };
    let primary = AnnotationKind::Primary.span(marked(&found.span));
    let primary = if found.label.is_empty() {
        primary
    } else {
        primary.label(found.label.as_str())
    };
    let snippet = Snippet::source(sources.text(found.span.file))
        .path(sources.path(found.span.file))
        .annotation(primary);
    let mut report = vec![
        level
            .primary_title(found.title.as_str())
            .id(found.code)
            .element(snippet),
    ];
    for (span, note) in &found.related {
        let snippet = Snippet::source(sources.text(span.file))
            .path(sources.path(span.file))
            .annotation(AnnotationKind::Primary.span(marked(span)));
        let title = Level::NOTE.secondary_title(note.as_str());
        report.push(title.element(snippet));
    }
    if let Some(help) = &found.help {
        report.push(Group::with_title(
            Level::HELP.secondary_title(help.as_str()),
        ));
    }
    Renderer::plain().render(&report)
}

/// A line of a policy file with what is said of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a> {
    pub(crate) file: &'a str,
    /// From 1; lines that are not there are left out.
    pub(crate) line: u32,
    pub(crate) label: &'a str,
}

/// Shows lines of the policy, file by file, each with its label; empty if there is none to show.
pub(crate) fn marked(sources: &Sources, marks: &[Mark<'_>]) -> String {
    let snippets = sources.files().filter_map(|file| {
        let text = sources.text(file);
        let here = marks.iter().filter(|mark| mark.file == sources.path(file));
        let found = here.filter_map(|mark| {
            let span = line_of(text, mark.line)?;
            Some(AnnotationKind::Primary.span(span).label(mark.label))
        });
        let found: Vec<_> = found.collect();
        let snippet = || {
            Snippet::source(text)
                .path(sources.path(file))
                .annotations(found.clone())
        };
        (!found.is_empty()).then(snippet)
    });
    let snippets: Vec<_> = snippets.collect();
    if snippets.is_empty() {
        return String::new();
    }
    let title = Level::NOTE.primary_title("the rules of this place");
    Renderer::plain().render(&[title.elements(snippets)])
}

/// The bytes of a line without the white space around it.
fn line_of(text: &str, line: u32) -> Option<std::ops::Range<usize>> {
    let wanted = usize::try_from(line.checked_sub(1)?).ok()?;
    let mut start = 0;
    for (at, whole) in text.split_inclusive('\n').enumerate() {
        if at == wanted {
            let from = start + (whole.len() - whole.trim_start().len());
            return Some(from..start + whole.trim_end().len()).filter(|span| span.start < span.end);
        }
        start += whole.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use policy::Sources;

    #[test]
    fn marked_lines_show_their_place_and_what_is_said() {
        let mut sources = Sources::new();
        sources.add("a.toml", "postern = 1\n  it = 2\n".to_owned());
        let mark = |line| super::Mark {
            file: "a.toml",
            line,
            label: "who: ann is not in @it",
        };
        let shown = super::marked(&sources, &[mark(2)]);
        for part in ["a.toml:2:3", "it = 2", "^^^^^^ who: ann is not in @it"] {
            assert!(shown.contains(part), "{part} not in\n{shown}");
        }
        assert_eq!(super::marked(&sources, &[mark(0), mark(9)]), "");
    }

    #[test]
    fn a_finding_shows_place_line_and_help() {
        let mut sources = Sources::new();
        let text = "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@itt\" }\n";
        sources.add("rules/policy.toml", text.to_owned());
        let found = policy::load(&sources).unwrap_err();
        let shown = super::all(&sources, &found);
        for part in [
            "rules/policy.toml:5:20",
            "allow.it = {",
            "^^^^",
            "did you mean `@it`?",
        ] {
            assert!(shown.contains(part), "{part} not in\n{shown}");
        }
    }
}

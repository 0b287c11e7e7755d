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

#[cfg(test)]
mod tests {
    use policy::Sources;

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

//! `[headers]`: which names a set may have, and what its texts are made of.

use super::{limit, unique, unknown};
use crate::diag::{Diagnostic, Meant, show};
use crate::headers::{HeaderField, HeaderSet, PLACEHOLDERS, Part, plain};
use crate::ir::index;
use crate::source::Span;
use crate::syntax::{Def, Word};

/// Most sets of one policy.
const MAX_SETS: usize = 1024;
/// Most fields of one set.
const MAX_FIELDS: usize = 32;
/// Longest text of a field, in bytes, before it is filled in.
const MAX_TEXT: usize = 1024;
const MAX_NAME: usize = 64;

/// Names the gateway writes itself, or that the exchange of messages rests on.
const OWNED: [&str; 31] = [
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "x-request-id",
];

/// Beginnings of such names.
const OWNED_PREFIXES: [&str; 10] = [
    "accept",
    "access-control-",
    "content-",
    "if-",
    "sec-",
    "x-accel-",
    "x-forwarded-",
    "x-original-",
    "x-postern-",
    "x-rewrite-",
];

/// Names about a person that apps written for other proxies expect; the gateway does not write them itself.
const FREE: [&str; 4] = [
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
];

/// Resolves the sets, sorted by name.
pub(super) fn sets(defs: &[Def<Vec<(Word, Word)>>], diags: &mut Vec<Diagnostic>) -> Vec<HeaderSet> {
    let defs = unique(defs, "header set", diags);
    if let Some(last) = defs.last() {
        diags.extend(limit("header sets", defs.len(), MAX_SETS, &last.name));
    }
    defs.into_iter().map(|def| set(def, diags)).collect()
}

/// Finds the set a key names.
pub(super) fn set_ix(word: &Word, sets: &[HeaderSet], diags: &mut Vec<Diagnostic>) -> Option<u32> {
    let found = index(sets, &word.v, |set| &set.name);
    if found.is_none() {
        let names = sets.iter().map(|set| set.name.as_str());
        diags.push(unknown(word, "header set", names));
    }
    found
}

fn set(def: &Def<Vec<(Word, Word)>>, diags: &mut Vec<Diagnostic>) -> HeaderSet {
    diags.extend(limit(
        "headers in one set",
        def.body.len(),
        MAX_FIELDS,
        &def.name,
    ));
    let mut fields: Vec<(String, Span, HeaderField)> = Vec::new();
    for (name, text) in &def.body {
        let sound = check_name(name, diags);
        let parts = parts(text, diags);
        let lower = name.v.to_ascii_lowercase();
        if let Some((_, first, _)) = fields.iter().find(|(own, ..)| *own == lower) {
            diags.push(
                Diagnostic::error(
                    "defined-twice",
                    name.span,
                    format!(
                        "header `{}` stands twice in set `{}`",
                        show(&name.v),
                        show(&def.name.v)
                    ),
                )
                .related(*first, "first written here")
                .help("upper and lower case are one name; keep one of them"),
            );
            continue;
        }
        if let (true, Some(parts)) = (sound, parts) {
            let name_text = name.v.to_string();
            fields.push((
                lower,
                name.span,
                HeaderField {
                    name: name_text,
                    parts,
                },
            ));
        }
    }
    fields.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    HeaderSet {
        name: def.name.v.to_string(),
        fields: fields.into_iter().map(|(_, _, field)| field).collect(),
        span: def.name.span,
    }
}

fn check_name(name: &Word, diags: &mut Vec<Diagnostic>) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&b);
    let lower = name.v.to_ascii_lowercase();
    let finding = if name.v.contains('_') {
        let written = name.v.replace('_', "-");
        bad(name, "a header name").help(format!(
            "an underscore is dropped on the way; write `{}`",
            show(&written)
        ))
    } else if name.v.is_empty() || name.v.len() > MAX_NAME || !name.v.bytes().all(token) {
        bad(name, "a header name").help("letters, digits and hyphens, at most 64, such as X-User")
    } else if is_owned(&lower) {
        Diagnostic::error(
            "reserved",
            name.span,
            format!("header `{}` is not for a set", show(&name.v)),
        )
        .label("the gateway or the exchange itself needs it")
        .help("use a name of your own such as X-User, Remote-User or X-Forwarded-User")
    } else {
        return true;
    };
    diags.push(finding);
    false
}

fn is_owned(lower: &str) -> bool {
    let prefixed = OWNED_PREFIXES.iter().any(|start| lower.starts_with(start));
    OWNED.contains(&lower) || (prefixed && !FREE.contains(&lower))
}

/// Splits a text into what stands in it and what is filled in; `{{` and `}}` are the braces themselves.
fn parts(text: &Word, diags: &mut Vec<Diagnostic>) -> Option<Vec<Part>> {
    if text.v.len() > MAX_TEXT || !text.v.bytes().all(plain) {
        diags.push(
            bad(text, "a header text")
                .help("at most 1024 characters of ASCII, no line ends and no control characters"),
        );
        return None;
    }
    if text.v.trim() != text.v.as_str() {
        diags.push(bad(text, "a header text").help("take the spaces at its ends out"));
        return None;
    }
    let mut out: Vec<Part> = Vec::new();
    let mut plain = String::new();
    let mut rest = text.v.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        let (before, found) = rest.split_at_checked(at)?;
        plain.push_str(before);
        if let Some(behind) = found.strip_prefix("{{") {
            plain.push('{');
            rest = behind;
        } else if let Some(behind) = found.strip_prefix("}}") {
            plain.push('}');
            rest = behind;
        } else {
            let inner = found
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'));
            let part = inner.and_then(|(name, _)| placeholder(name));
            let (Some((name, behind)), Some(part)) = (inner, part) else {
                diags.push(unknown_placeholder(text, inner.map(|(name, _)| name)));
                return None;
            };
            debug_assert!(PLACEHOLDERS.contains(&name), "one list of names");
            if !plain.is_empty() {
                out.push(Part::Text(std::mem::take(&mut plain)));
            }
            out.push(part);
            rest = behind;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        out.push(Part::Text(plain));
    }
    Some(out)
}

fn placeholder(name: &str) -> Option<Part> {
    match name {
        "user" => Some(Part::User),
        "groups" => Some(Part::Groups),
        "rule" => Some(Part::Rule),
        "session-age" => Some(Part::SessionAge),
        "device" => Some(Part::Device),
        _ => None,
    }
}

fn unknown_placeholder(text: &Word, name: Option<&str>) -> Diagnostic {
    let known = PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(" ");
    match name {
        Some(name) => Diagnostic::error(
            "unknown-name",
            text.span,
            format!("unknown placeholder `{{{}}}`", show(name)),
        )
        .label("no such placeholder")
        .help(format!(
            "known: {known}; a brace itself is written {{{{ or }}}}"
        ))
        .meant(Meant::near(name, PLACEHOLDERS)),
        None => bad(text, "a header text").help(format!(
            "a brace begins or ends a placeholder ({known}); a brace itself is written {{{{ or }}}}"
        )),
    }
}

fn bad(word: &Word, what: &str) -> Diagnostic {
    super::settings::bad(word, what)
}

#[cfg(test)]
mod tests {
    use super::is_owned;

    #[test]
    fn what_the_gateway_writes_is_owned_and_names_of_apps_are_free() {
        for name in [
            "host",
            "x-postern-user",
            "x-forwarded-for",
            "content-length",
            "cookie",
            "te",
            "authorization",
            "accept",
            "accept-language",
            "sec-fetch-mode",
            "x-original-url",
        ] {
            assert!(is_owned(name), "{name}");
        }
        for name in [
            "x-user",
            "remote-user",
            "x-forwarded-user",
            "x-webauth-user",
            "x-auth-user",
        ] {
            assert!(!is_owned(name), "{name}");
        }
    }
}

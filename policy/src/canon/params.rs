//! Paths whose segments carry `;parameters`: matched without them, forwarded with them.
//!
//! Servers that know parameters cut each segment at its first `;` before they look at dot segments; others keep them
//! in the segment. Only paths that both read alike are let through: an empty segment, `.` or `..` with parameters is
//! refused.

use std::borrow::Cow;

use super::Reject;
use super::path::{CanonPath, check_unicode, unescape};

/// Takes the parameters off, brings what is left and the parameters into canonical form, and puts them together.
/// `raw` begins with `/` and has no query.
pub(super) fn path(raw: &[u8]) -> Result<CanonPath<'static>, Reject> {
    let text = unescape(raw, b";", b"")?;
    check_unicode(&text)?;
    let mut kept: Vec<(&str, &str)> = Vec::new();
    let mut slash_last = true;
    for part in text.split('/') {
        let (name, params) = cut(part);
        slash_last = matches!(name, "" | "." | "..");
        if slash_last && !params.is_empty() {
            return Err(Reject::new("path-parameters"));
        }
        match name {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(Reject::new("path-above-root"))?;
            }
            _ => kept.push((name, params)),
        }
    }
    let mut matched = String::with_capacity(text.len());
    let mut forward = String::with_capacity(text.len());
    for (name, params) in &kept {
        for out in [&mut matched, &mut forward] {
            out.push('/');
            out.push_str(name);
        }
        forward.push_str(params);
    }
    if slash_last || kept.is_empty() {
        matched.push('/');
        forward.push('/');
    }
    if forward == matched {
        return Ok(CanonPath::same(matched));
    }
    Ok(CanonPath::with_params(matched, forward))
}

/// A path as it is matched: each segment without its parameters.
pub(crate) fn without_params(path: &str) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let names: Vec<&str> = path.split('/').map(|part| cut(part).0).collect();
    Cow::Owned(names.join("/"))
}

/// A segment's name, and its parameters with the `;` in front.
fn cut(segment: &str) -> (&str, &str) {
    let at = segment.find(';').unwrap_or(segment.len());
    segment.split_at_checked(at).unwrap_or((segment, ""))
}

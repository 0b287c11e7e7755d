//! Paths with `%2F` or `//` for apps that tell them from `/`: matched as one reads them who does not, forwarded as
//! they are.
//!
//! Some apps decode `%2F` before they look at segments and some do not; some collapse `//` and some do not. Which one
//! an app does is not known here, so a path has two readings, and the decision refuses one whose readings lie in
//! different areas. What has more than two is refused here: `.` and `..` beside either, both in one path, and `%2F`
//! that stands for an empty segment or a dot segment.

use super::path::{CanonPath, check_unicode, remove_dots, unescape};
use super::{PathOpts, Reject};

const SLASH: &str = "%2F";

/// Brings a path into canonical form; `raw` begins with `/` and has no query.
pub(super) fn path(raw: &[u8], opts: PathOpts) -> Result<CanonPath<'static>, Reject> {
    let escaped: &[u8] = if opts.slashes { b"/" } else { b"" };
    let text = unescape(raw, b"", escaped)?;
    check_unicode(&text)?;
    let text = text.trim_start_matches('/');
    let parts: Vec<&str> = text.split('/').collect();
    let empty = opts.empties && text.contains("//");
    let slash = parts.iter().any(|part| part.contains(SLASH));
    if !empty && !slash {
        return Ok(CanonPath::same(remove_dots(text)?));
    }
    let refused = match slash {
        true => Reject::new("path-encoded-delimiter"),
        false => Reject::new("path-empty-segment"),
    };
    let whole = |part: &&str| {
        part.split(SLASH)
            .all(|piece| !matches!(piece, "" | "." | ".."))
    };
    let odd = |part: &&str| matches!(*part, "." | "..") || part.contains(SLASH) && !whole(part);
    if (empty && slash) || parts.iter().any(odd) {
        return Err(refused);
    }
    let forward = match empty {
        true => format!("/{text}"),
        false => remove_dots(text)?,
    };
    let matched = remove_dots(&text.replace(SLASH, "/"))?;
    Ok(CanonPath::kept(matched, forward))
}

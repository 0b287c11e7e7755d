//! The stylesheet and the icon, compiled in.

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Response, StatusCode};
use sha2::{Digest, Sha256};

use super::answer;

/// The part of the style that error pages carry with them.
pub(crate) const BASE: &str = include_str!("../../templates/base.css");
const SHEET: &str = concat!(
    include_str!("../../templates/base.css"),
    include_str!("../../templates/pages.css")
);
const SCRIPT: &str = include_str!("../../templates/pages.js");
/// Makes the keys of a device, their configuration and its picture.
const KEY_MAKER: &str = concat!(
    include_str!("../../templates/devices/x25519.js"),
    include_str!("../../templates/devices/qr.js"),
    include_str!("../../templates/devices/add.js")
);
/// Watches the device of an open page, and shows the end of its session in time.
const WATCH: &str = include_str!("../../templates/watch.js");
const ICON: &str = include_str!("../../templates/icon.svg");

/// The SHA-256 of [`BASE`] as a content policy writes it.
pub(crate) static BASE_HASH: LazyLock<String> =
    LazyLock::new(|| BASE64.encode(&Sha256::digest(BASE.as_bytes())));

/// Names the state of the stylesheet, so that browsers keep it until it changes.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| version(SHEET));

/// As [`VERSION`], of the script.
pub(crate) static SCRIPT_VERSION: LazyLock<String> = LazyLock::new(|| version(SCRIPT));

/// As [`VERSION`], of the script that makes keys.
pub(crate) static KEY_MAKER_VERSION: LazyLock<String> = LazyLock::new(|| version(KEY_MAKER));

/// As [`VERSION`], of the script that watches a device.
pub(crate) static WATCH_VERSION: LazyLock<String> = LazyLock::new(|| version(WATCH));

fn version(text: &str) -> String {
    let mut name = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    name.truncate(16);
    name
}

/// Answers with the stylesheet; kept for a year if `query` names its version.
pub(crate) fn stylesheet(query: Option<&str>) -> Response<Bytes> {
    let sheet = Bytes::from_static(SHEET.as_bytes());
    let answer = answer::bare(StatusCode::OK, "text/css; charset=utf-8", sheet);
    let named = query.and_then(|q| q.strip_prefix("v=")) == Some(VERSION.as_str());
    cached(answer, named)
}

/// Answers with the script; kept for a year if `query` names its version.
pub(crate) fn script(query: Option<&str>) -> Response<Bytes> {
    javascript(SCRIPT, &SCRIPT_VERSION, query)
}

/// Answers with the script that makes keys; kept for a year if `query` names its version.
pub(crate) fn key_maker(query: Option<&str>) -> Response<Bytes> {
    javascript(KEY_MAKER, &KEY_MAKER_VERSION, query)
}

/// Answers with the script that watches a device; kept for a year if `query` names its version.
pub(crate) fn watch(query: Option<&str>) -> Response<Bytes> {
    javascript(WATCH, &WATCH_VERSION, query)
}

fn javascript(text: &'static str, version: &str, query: Option<&str>) -> Response<Bytes> {
    let script = Bytes::from_static(text.as_bytes());
    let answer = answer::bare(StatusCode::OK, "text/javascript; charset=utf-8", script);
    let named = query.and_then(|q| q.strip_prefix("v=")) == Some(version);
    cached(answer, named)
}

/// Answers with the icon.
pub(crate) fn icon() -> Response<Bytes> {
    let icon = Bytes::from_static(ICON.as_bytes());
    cached(answer::bare(StatusCode::OK, "image/svg+xml", icon), false)
}

fn cached(mut answer: Response<Bytes>, for_good: bool) -> Response<Bytes> {
    let how = if for_good {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=300"
    };
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(how));
    answer
}

#[cfg(test)]
mod tests {
    use super::{ICON, KEY_MAKER, SCRIPT, SHEET, VERSION, WATCH, stylesheet};

    #[test]
    fn only_the_right_version_is_kept_for_good() {
        let kept = |q: Option<&str>| {
            let answer = stylesheet(q);
            let value = answer.headers().get("cache-control").unwrap().clone();
            value.to_str().unwrap().contains("immutable")
        };
        assert!(kept(Some(&format!("v={}", *VERSION))));
        assert!(!kept(Some("v=0000000000000000")));
        assert!(!kept(None));
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for word in ["url(", "@import", "http:", "https:", "expression"] {
            assert!(!SHEET.contains(word), "{word}");
        }
        for word in [
            "http:",
            "https:",
            "import",
            "fetch",
            "eval",
            "innerHTML",
            "cookie",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        for word in [
            "http:",
            "https:",
            "import",
            "eval",
            "Function(",
            "innerHTML",
            "insertAdjacent",
            "document.write",
            "cookie",
            "Storage",
            "console",
        ] {
            assert!(!KEY_MAKER.contains(word), "{word}");
        }
        // It asks one address, that of its form.
        assert_eq!(KEY_MAKER.matches("fetch(").count(), 1);
        assert!(KEY_MAKER.contains("fetch(form.action, "));
        for word in [
            "http:",
            "https:",
            "import",
            "eval",
            "innerHTML",
            "cookie",
            "Storage",
        ] {
            assert!(!WATCH.contains(word), "{word}");
        }
        // The key can be used by the page and read by nobody.
        assert!(WATCH.contains("}, false, [\"sign\", \"verify\"]);"));
        assert!(!ICON.contains("href") && !ICON.contains("script"));
    }
}

//! What of a file a request wants, if it wants it at all.
//!
//! Source: RFC 9110 sections 13.1, 14.1.2, 14.2.

use http::{HeaderMap, HeaderName, header};

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The whole file.
    Whole,
    /// From this byte to that, both included.
    Of(u64, u64),
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the range lies behind the end.
    Outside,
}

/// A version of a file.
pub(crate) struct Version<'a> {
    /// Its entity tag, quotes included.
    pub(crate) tag: &'a str,
    /// Whether the same tag means the same bytes, so that a part may be continued.
    pub(crate) strong: bool,
    /// When it was last changed, in seconds since the UNIX epoch.
    pub(crate) changed: i64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// Tells what of a file to send.
pub(crate) fn wanted(request: &HeaderMap, version: &Version<'_>) -> Part {
    if is_known(request, version) {
        return Part::NotModified;
    }
    let Some(range) = text(request, header::RANGE) else {
        return Part::Whole;
    };
    let same = |known| version.strong && known == version.tag;
    let stale = text(request, header::IF_RANGE).is_some_and(|known| !same(known));
    if stale {
        return Part::Whole;
    }
    of(range, version.length)
}

fn is_known(request: &HeaderMap, version: &Version<'_>) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let mut lines = request.get_all(header::IF_NONE_MATCH).iter();
        return lines.any(|line| {
            let words = line.to_str().unwrap_or_default().split(',').map(str::trim);
            let is_own = |word: &str| word.strip_prefix("W/").unwrap_or(word) == version.tag;
            words
                .into_iter()
                .any(|word| word == "*" || (!word.is_empty() && is_own(word)))
        });
    }
    let since = text(request, header::IF_MODIFIED_SINCE).and_then(instant);
    since.is_some_and(|since| version.changed <= since)
}

/// Reads one range; what is none, or several, is answered with the whole.
fn of(range: &str, length: u64) -> Part {
    let Some(spec) = range.strip_prefix("bytes=").map(str::trim) else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Part::Whole;
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Part::Whole;
    }
    // one too large to be counted is beyond every end
    let count = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX));
    let (first, last) = (count(first), count(last));
    match (first, last) {
        (None, Some(0)) => Part::Outside,
        (None, Some(suffix)) if length > 0 => Part::Of(length.saturating_sub(suffix), length - 1),
        (Some(first), _) if first >= length => Part::Outside,
        (Some(first), Some(last)) if last < first => Part::Whole,
        (Some(first), Some(last)) => Part::Of(first, last.min(length - 1)),
        (Some(first), None) => Part::Of(first, length - 1),
        (None, Some(_)) => Part::Outside,
        (None, None) => Part::Whole,
    }
}

fn text(request: &HeaderMap, name: HeaderName) -> Option<&str> {
    request.get(name)?.to_str().ok()
}

const DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Writes an instant as HTTP has it. Source: RFC 9110 section 5.6.7.
pub(super) fn date(unix: i64) -> Option<String> {
    let at = jiff::Timestamp::from_second(unix).ok()?;
    Some(at.strftime(DATE).to_string())
}

/// Reads an instant as HTTP has it.
pub(crate) fn instant(text: &str) -> Option<i64> {
    let civil = jiff::civil::DateTime::strptime(DATE, text).ok()?;
    let at = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::{Part, Version, date, of, wanted};
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn one_range_is_read_and_all_else_is_the_whole() {
        for (range, part) in [
            ("bytes=0-9", Part::Of(0, 9)),
            ("bytes=90-", Part::Of(90, 99)),
            ("bytes=-10", Part::Of(90, 99)),
            ("bytes=-1000", Part::Of(0, 99)),
            ("bytes=0-1000", Part::Of(0, 99)),
            ("bytes=100-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=99999999999999999999-5", Part::Outside),
            ("bytes=99999999999999999999-", Part::Outside),
            ("bytes=90-99999999999999999999", Part::Of(90, 99)),
            ("bytes=-99999999999999999999", Part::Of(0, 99)),
            ("bytes=9-1", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=1-2", Part::Whole),
        ] {
            assert_eq!(of(range, 100), part, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Part::Outside);
        assert_eq!(of("bytes=-5", 0), Part::Outside);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again_and_an_old_part_is_not_continued() {
        let version = Version {
            tag: "\"a\"",
            strong: true,
            changed: 784_111_777,
            length: 100,
        };
        assert_eq!(date(784_111_777).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        let ask = |fields: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(*name, HeaderValue::from_static(value));
            }
            wanted(&map, &version)
        };
        let (same, range) = ("Sun, 06 Nov 1994 08:49:37 GMT", ("range", "bytes=0-1"));
        assert_eq!(ask(&[]), Part::Whole);
        assert_eq!(
            ask(&[("if-none-match", "\"b\", W/\"a\"")]),
            Part::NotModified
        );
        assert_eq!(
            ask(&[("if-none-match", "\"b\""), ("if-modified-since", same)]),
            Part::Whole
        );
        assert_eq!(ask(&[("if-modified-since", same)]), Part::NotModified);
        assert_eq!(
            ask(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")]),
            Part::Whole
        );
        assert_eq!(ask(&[range]), Part::Of(0, 1));
        assert_eq!(ask(&[range, ("if-range", "\"a\"")]), Part::Of(0, 1));
        assert_eq!(ask(&[range, ("if-range", "\"b\"")]), Part::Whole);
        assert_eq!(ask(&[range, ("if-range", "W/\"a\"")]), Part::Whole);
        assert_eq!(ask(&[range, ("if-range", same)]), Part::Whole);
        let weak = Version {
            strong: false,
            ..version
        };
        let mut map = HeaderMap::new();
        map.append("range", HeaderValue::from_static("bytes=0-1"));
        assert_eq!(wanted(&map, &weak), Part::Of(0, 1));
        map.append("if-range", HeaderValue::from_static("\"a\""));
        assert_eq!(wanted(&map, &weak), Part::Whole);
    }
}

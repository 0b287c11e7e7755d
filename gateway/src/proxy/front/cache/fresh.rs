//! Whether an answer may be kept, and for how long. Source: RFC 9111 sections 3 to 5.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header, response};
use policy::front::Cache as Written;

use crate::clock;
use crate::proxy::front::range::instant;

/// How long an answer stands, and how long it may stand in after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(super) fresh: Duration,
    pub(super) stale: Duration,
    /// How old it was when it came.
    pub(super) age: Duration,
}

/// Tells whether a request may be answered from what is kept.
pub(crate) fn may_look(request: &HeaderMap) -> bool {
    let told = |name: HeaderName, word: &str| {
        let mut lines = request.get_all(name).iter();
        lines.any(|line| line.to_str().unwrap_or_default().contains(word))
    };
    !request.contains_key(header::AUTHORIZATION)
        && !request.contains_key(header::IF_MATCH)
        && !request.contains_key(header::IF_UNMODIFIED_SINCE)
        && !told(header::CACHE_CONTROL, "no-")
        && !told(header::CACHE_CONTROL, "max-age=0")
        && !told(header::PRAGMA, "no-cache")
}

/// Tells whether, and for how long, an answer may be kept: as long as its area says, or less where its app says so.
pub(crate) fn may_keep(written: &Written, answer: &response::Parts) -> Option<Times> {
    let fields = &answer.headers;
    if answer.status != StatusCode::OK
        || fields.contains_key(header::SET_COOKIE)
        || fields.contains_key(header::CONTENT_RANGE)
    {
        return None;
    }
    let known = ["accept-encoding", "origin"];
    if words(fields, &header::VARY)?.any(|word| !known.contains(&word.as_str())) {
        return None;
    }
    let said = Said::read(fields)?;
    let age = seconds(fields, &header::AGE).unwrap_or_default();
    let written_for = Duration::from_secs(written.ttl.into());
    let fresh = match said.lifetime {
        Some(lifetime) => written_for.min(lifetime.saturating_sub(age)),
        None => written_for,
    };
    let stale = match said.must_be_asked {
        true => Duration::ZERO,
        false => Duration::from_secs(written.stale.into()),
    };
    let length = fields.get(header::CONTENT_LENGTH);
    let length = length.and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
    let fits = length.is_none_or(|length| length <= written.most);
    (fits && !fresh.is_zero()).then_some(Times { fresh, stale, age })
}

/// What an app says of how long its answer stands.
struct Said {
    lifetime: Option<Duration>,
    /// Whether it may not be given out when it is old.
    must_be_asked: bool,
}

impl Said {
    /// Reads it; `None` where the answer may not be kept.
    fn read(fields: &HeaderMap) -> Option<Self> {
        let (mut own, mut shared, mut must_be_asked) = (None, None, false);
        for word in words(fields, &header::CACHE_CONTROL)? {
            let (name, value) = word.split_once('=').unwrap_or((&word, ""));
            let secs = || {
                value
                    .trim_matches('"')
                    .parse()
                    .ok()
                    .map(Duration::from_secs)
            };
            match name {
                "private" | "no-store" | "no-cache" => return None,
                "must-revalidate" | "proxy-revalidate" => must_be_asked = true,
                "max-age" => own = Some(secs()?),
                // it says the one above too. Source: RFC 9111 section 5.2.2.10
                "s-maxage" => (shared, must_be_asked) = (Some(secs()?), true),
                _ => {}
            }
        }
        Some(Self {
            lifetime: shared.or(own).or_else(|| until(fields)),
            must_be_asked,
        })
    }
}

/// Reads how long an answer stands by its Expires; what is no date has passed. Source: RFC 9111 section 5.3.
fn until(fields: &HeaderMap) -> Option<Duration> {
    let date = |name| fields.get(name)?.to_str().ok().and_then(instant);
    fields.get(header::EXPIRES)?;
    let from = date(header::DATE).unwrap_or_else(clock::unix);
    let left = date(header::EXPIRES).map_or(0, |end| end.saturating_sub(from));
    Some(Duration::from_secs(u64::try_from(left).unwrap_or_default()))
}

fn seconds(fields: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let text = fields.get(name)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

/// Reads the words of a list, in small letters; `None` where it is no text.
fn words(fields: &HeaderMap, name: &HeaderName) -> Option<impl Iterator<Item = String>> {
    let mut all = Vec::new();
    for line in fields.get_all(name) {
        let words = line.to_str().ok()?.split(',');
        all.extend(words.map(|word| word.trim().to_ascii_lowercase()));
    }
    Some(all.into_iter().filter(|word| !word.is_empty()))
}

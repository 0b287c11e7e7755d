//! The one clock of the gateway.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the monotonic time.
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the wall time as a duration since the UNIX epoch; zero for a clock before it.
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub(crate) fn wall() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// Returns the wall time in whole seconds since the UNIX epoch.
pub(crate) fn unix() -> i64 {
    i64::try_from(wall().as_secs()).unwrap_or(i64::MAX)
}

/// Returns the wall time in milliseconds since the UNIX epoch.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(wall().as_millis()).unwrap_or(u64::MAX)
}

thread_local! {
    /// The second that was formatted last and its text: the journal asks for the same one often.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Formats milliseconds since the UNIX epoch as RFC 3339 in UTC with three decimals; empty for a time beyond the year
/// 9999.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let second = unix_ms / 1000;
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != second || text.is_empty() {
            let at = i64::try_from(second).unwrap_or(i64::MAX);
            let at = jiff::Timestamp::from_second(at);
            let formatted = at.map(|t| t.strftime("%Y-%m-%dT%H:%M:%S").to_string());
            (*known, *text) = (second, formatted.unwrap_or_default());
        }
        if text.is_empty() {
            return String::new();
        }
        format!("{text}.{:03}Z", unix_ms % 1000)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn rfc3339_has_milliseconds_and_utc() {
        assert_eq!(
            super::rfc3339(1_700_000_000_123),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(
            super::rfc3339(1_700_000_000_007),
            "2023-11-14T22:13:20.007Z"
        );
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::rfc3339(u64::MAX), "");
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00.000Z");
    }
}

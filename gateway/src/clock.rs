//! The one clock of the gateway.

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

/// Formats milliseconds since the UNIX epoch as RFC 3339 in UTC with three decimals.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn rfc3339_has_milliseconds_and_utc() {
        assert_eq!(
            super::rfc3339(1_700_000_000_123),
            "2023-11-14T22:13:20.123Z"
        );
    }
}

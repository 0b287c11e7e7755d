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
    let (days, of_day) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    if days > LAST_DAY {
        return String::new();
    }
    let (year, month, day) = date(days);
    let mut text = String::with_capacity(24);
    for (value, digits, mark) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (of_day / 3_600_000, 2, ':'),
        (of_day / 60_000 % 60, 2, ':'),
        (of_day / 1000 % 60, 2, '.'),
        (of_day % 1000, 3, 'Z'),
    ] {
        for place in (0..digits).rev() {
            let digit = value / 10_u64.pow(place) % 10;
            text.extend(
                u32::try_from(digit)
                    .ok()
                    .and_then(|d| char::from_digit(d, 10)),
            );
        }
        text.push(mark);
    }
    text
}

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31, in days since 1970-01-01.
const LAST_DAY: u64 = 2_932_896;

/// Returns year, month and day of a day since 1970-01-01, in the Gregorian calendar.
///
/// Years begin in March here, so that a leap day is a year's last: then months are 153 days in every five.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    #[test]
    fn rfc3339_has_milliseconds_and_utc() {
        assert_eq!(
            super::rfc3339(1_700_000_000_123),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(super::rfc3339(u64::MAX), "");
    }

    #[test]
    fn every_day_to_the_end_of_9999_is_the_calendars() {
        for day in (0..=super::LAST_DAY)
            .step_by(13)
            .chain([59, super::LAST_DAY])
        {
            let ms = day * super::DAY_MS + day % super::DAY_MS;
            let known = jiff::Timestamp::from_millisecond(ms.cast_signed()).unwrap();
            let known = known.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            assert_eq!(super::rfc3339(ms), known);
        }
    }
}

//! Sizes, times and rates: read as nginx writes them, written as the policy's language does.

/// Seconds that the policy's language takes at most.
const SECS_MAX: u64 = 3660 * 86_400;

/// Reads `100M`, `8k`, `1g` or a number of bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let shift = match unit.to_ascii_lowercase() {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => 0,
    };
    let digits = if shift == 0 {
        text
    } else {
        text.strip_suffix(unit)?
    };
    digits_only(digits)?.checked_mul(1 << shift)
}

/// Reads `86400`, `5m`, `1h30m`, `1y` or `500ms` as seconds, rounded up.
pub(super) fn secs(text: &str) -> Option<u32> {
    let mut millis = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(end)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == ' ');
        let (unit, after) = after.split_at_checked(end.unwrap_or(after.len()))?;
        let each: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        millis = millis.checked_add(digits_only(digits)?.checked_mul(each)?)?;
        rest = after.trim_start_matches(' ');
    }
    let secs = millis.div_ceil(1000);
    let known = !text.is_empty() && secs <= SECS_MAX;
    if known {
        u32::try_from(secs).ok()
    } else {
        None
    }
}

/// Reads `5r/m` as a count and a unit.
pub(super) fn rate(text: &str) -> Option<(u32, char)> {
    let (count, unit) = text.split_once("r/")?;
    let count = u32::try_from(digits_only(count)?).ok()?;
    let unit = match unit {
        "s" => 's',
        "m" => 'm',
        _ => return None,
    };
    (count > 0).then_some((count, unit))
}

/// Writes bytes in the largest unit that divides them.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Writes seconds in the largest unit that divides them; at least one.
pub(super) fn show_secs(secs: u32) -> String {
    let secs = secs.max(1);
    for (unit, each) in [('h', 3600), ('m', 60)] {
        if secs.is_multiple_of(each) {
            return format!("{}{unit}", secs / each);
        }
    }
    format!("{secs}s")
}

fn digits_only(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{rate, secs, show_secs, show_size, size};

    #[test]
    fn sizes_times_and_rates_are_read_and_what_is_none_is_refused() {
        for (text, bytes) in [("100M", 100 << 20), ("8k", 8192), ("1g", 1 << 30), ("0", 0)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "1.5m", "-1", "1t", "99999999999999999999g"] {
            assert_eq!(size(text), None, "{text}");
        }
        for (text, expected) in [
            ("86400", 86_400),
            ("5m", 300),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("500ms", 1),
            ("1y", 31_536_000),
            ("0", 0),
        ] {
            assert_eq!(secs(text), Some(expected), "{text}");
        }
        for text in ["", "m", "5x", "1.5s", "99999999y", "-1"] {
            assert_eq!(secs(text), None, "{text}");
        }
        assert_eq!(rate("5r/m"), Some((5, 'm')));
        assert_eq!(rate("10r/s"), Some((10, 's')));
        for text in ["", "5", "0r/s", "5r/h", "r/s"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_short() {
        assert_eq!(show_size(100 << 20), "100MiB");
        assert_eq!(show_size(0), "0B");
        assert_eq!(show_size(1000), "1000B");
        assert_eq!(show_secs(86_400), "24h");
        assert_eq!(show_secs(90), "90s");
        assert_eq!(show_secs(0), "1s");
    }
}

//! Small values written as text: durations, rates, ports, upstream URLs.

use crate::canon;
use crate::ir::{At, Ports, Proto, Upstream};

/// Reads `90s`, `15m`, `8h` or `2d` as seconds; at most 3660 days.
pub(crate) fn duration(text: &str) -> Result<u32, String> {
    let help = || "write a whole number and s, m, h or d, as in 15m, 8h, 2d".to_owned();
    let unit = text.chars().last().ok_or_else(help)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(help()),
    };
    let count = number(text.strip_suffix(unit).unwrap_or("")).ok_or_else(help)?;
    count
        .checked_mul(factor)
        .filter(|&secs| secs <= 3660 * 86_400)
        .ok_or_else(|| "at most 3660d".to_owned())
}

/// Writes seconds in the largest unit that divides them.
pub(crate) fn show_duration(secs: u32) -> String {
    match secs {
        s if s > 0 && s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s > 0 && s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s > 0 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// How often something may be done, as `20/s burst 60 alert`.
pub(super) struct RateText {
    pub(super) count: u32,
    pub(super) per_secs: u32,
    /// Unless written, what makes the count with the first.
    pub(super) burst: u32,
    pub(super) alert: bool,
}

pub(super) fn rate(text: &str) -> Option<RateText> {
    let (text, alert) = match text.strip_suffix(" alert") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut words = text.split(' ');
    let (count, unit) = words.next()?.split_once('/')?;
    let count = number(count)?;
    let per_secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let burst = match words.next() {
        None => count.saturating_sub(1),
        Some("burst") => number(words.next()?)?,
        Some(_) => return None,
    };
    (words.next().is_none() && count > 0).then_some(RateText {
        count,
        per_secs,
        burst,
        alert,
    })
}

/// Reads `22/tcp`, `8000-8100/udp` or `icmp`.
pub(super) fn ports(text: &str) -> Option<Ports> {
    if text == "icmp" {
        return Some(Ports {
            proto: Proto::Icmp,
            first: 0,
            last: u16::MAX,
        });
    }
    let (range, proto) = text.split_once('/')?;
    let proto = match proto {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        _ => return None,
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(Ports { proto, first, last })
}

/// Reads `100MiB` as bytes; units are B, KiB, MiB and GiB.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(1 << shift)
}

/// Reads `http://host`, `https://host:port`, `unix:/path`, and `h2c://` and `h2://` for what speaks HTTP/2 without and
/// with TLS; no path in the app, no user.
pub(crate) fn upstream(text: &str) -> Option<Upstream> {
    if let Some(path) = text.strip_prefix("unix:") {
        // the longest path a socket's address holds. Source: unix(7)
        let sound = path.starts_with('/') && path.len() <= 107;
        let sound = sound && !path.chars().any(char::is_control);
        return sound.then(|| Upstream {
            tls: false,
            http2: false,
            at: At::Unix(path.to_owned()),
        });
    }
    let (http2, tls, rest) = match text.split_once("://")? {
        ("http", rest) => (false, false, rest),
        ("https", rest) => (false, true, rest),
        ("h2c", rest) => (true, false, rest),
        ("h2", rest) => (true, true, rest),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let split = match rest.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, Some(digits)),
        _ => (rest, None),
    };
    let port = match split.1 {
        Some(digits) => port(digits)?,
        None => {
            if tls {
                443
            } else {
                80
            }
        }
    };
    let host = canon::host(split.0).ok()?;
    let host = host.as_str().trim_start_matches('[').trim_end_matches(']');
    Some(Upstream {
        tls,
        http2,
        at: At::Net(host.to_owned(), port),
    })
}

pub(crate) fn port(text: &str) -> Option<u16> {
    number(text)
        .and_then(|n| u16::try_from(n).ok())
        .filter(|&n| n > 0)
}

/// Digits only: no sign, no spaces, no leading zero.
fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

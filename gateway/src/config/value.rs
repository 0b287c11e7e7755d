//! How single values of the configuration are read; each failure names the value it stands at.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that a configuration writes as one string.
pub(super) trait Leaf: Sized {
    /// What is expected, for messages.
    const WHAT: &'static str;
    /// Reads the string; the error says what is wrong with it.
    fn read(text: &str) -> Result<Self, String>;
}

/// Reads one string value.
pub(super) fn one<'de, D: Deserializer<'de>, T: Leaf>(d: D) -> Result<T, D::Error> {
    Of::deserialize(d).map(|Of(value)| value)
}

/// Reads one string value that may be absent.
pub(super) fn some<'de, D: Deserializer<'de>, T: Leaf>(d: D) -> Result<Option<T>, D::Error> {
    one(d).map(Some)
}

/// Reads a list of string values.
pub(super) fn list<'de, D: Deserializer<'de>, T: Leaf>(d: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<Of<T>>::deserialize(d)?;
    Ok(list.into_iter().map(|Of(value)| value).collect())
}

/// Reads a list that may be absent.
pub(super) fn some_list<'de, D: Deserializer<'de>, T: Leaf>(
    d: D,
) -> Result<Option<Vec<T>>, D::Error> {
    list(d).map(Some)
}

/// Reads a list of host names.
pub(super) fn hosts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(list::<D, Host>(d)?.into_iter().map(|Host(h)| h).collect())
}

/// Reads a list of resolvers.
pub(super) fn resolvers<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<SocketAddr>, D::Error> {
    Ok(list::<D, Resolver>(d)?.into_iter().map(|r| r.0).collect())
}

/// Reads `zone = [resolver, ..]` pairs.
pub(super) fn zones<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<String, Vec<SocketAddr>>, D::Error> {
    let map = BTreeMap::<Of<Host>, Vec<Of<Resolver>>>::deserialize(d)?;
    Ok(map
        .into_iter()
        .map(|(Of(Host(zone)), servers)| (zone, servers.into_iter().map(|s| s.0.0).collect()))
        .collect())
}

/// Reads an HTTPS origin.
pub(super) fn origin<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    one::<D, Origin>(d).map(|Origin(text)| Some(text))
}

/// Reads `host:port`.
pub(super) fn endpoint<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    one::<D, Endpoint>(d).map(|Endpoint(text)| Some(text))
}

/// Reads an integer between `MIN` and `MAX`.
pub(super) fn range<'de, D, T, const MIN: i64, const MAX: i64>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    let value = i64::deserialize(d)?;
    let outside = || D::Error::custom(format!("{value} is not between {MIN} and {MAX}"));
    if !(MIN..=MAX).contains(&value) {
        return Err(outside());
    }
    T::try_from(value).map_err(|_| outside())
}

/// As [`range`], for a value that may be absent.
pub(super) fn some_range<'de, D, T, const MIN: i64, const MAX: i64>(
    d: D,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    range::<D, T, MIN, MAX>(d).map(Some)
}

/// Reads a number of bytes: an integer, or text such as `100MiB`.
pub(super) fn bytes<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    d.deserialize_any(Bytes)
}

/// Reads a duration such as `15m` from a command line.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    Duration::read(text)
}

/// Says whether a text is a host name in its one written form: lower case, no final dot.
pub(crate) fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
        && !text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Of<T>(T);

impl<'de, T: Leaf> Deserialize<'de> for Of<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(Text(PhantomData)).map(Self)
    }
}

struct Text<T>(PhantomData<T>);

impl<T: Leaf> Visitor<'_> for Text<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes such as 1048576 or \"100MiB\"")
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let bad = || E::invalid_value(Unexpected::Str(text), &self);
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end).ok_or_else(bad)?;
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(bad()),
        };
        let count: u64 = digits.parse().map_err(|_| bad())?;
        count
            .checked_mul(1 << shift)
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .ok_or_else(bad)
    }
}

impl Leaf for Duration {
    const WHAT: &'static str = "a duration such as \"15m\", \"8h\" or \"2d\"";
    fn read(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{}` is not a duration such as 15m, 8h or 2d",
                text.escape_debug()
            )
        };
        let unit = text.chars().next_back().ok_or_else(bad)?;
        let scale: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(bad()),
        };
        let digits = text.strip_suffix(unit).ok_or_else(bad)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let count: u64 = digits.parse().map_err(|_| bad())?;
        match count.checked_mul(scale) {
            Some(0) => Err("a duration is longer than nothing".to_owned()),
            Some(secs) if secs <= 3650 * 86_400 => Ok(Self::from_secs(secs)),
            _ => Err(format!("{text} is longer than ten years")),
        }
    }
}

impl Leaf for PathBuf {
    const WHAT: &'static str = "a path";
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("a path is not empty".to_owned());
        }
        Ok(text.into())
    }
}

impl Leaf for SocketAddr {
    const WHAT: &'static str = "an address and port such as \"0.0.0.0:443\" or \"[::]:443\"";
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let text = text.escape_debug();
            format!("`{text}` is not an address and port such as 0.0.0.0:443 or [::]:443")
        })
    }
}

impl Leaf for Ipv4Net {
    const WHAT: &'static str = "an IPv4 network such as \"10.200.200.0/24\"";
    fn read(text: &str) -> Result<Self, String> {
        let net: Self = text.parse().map_err(|_| {
            let text = text.escape_debug();
            format!("`{text}` is not an IPv4 network such as 10.200.200.0/24")
        })?;
        if net != net.trunc() {
            return Err(format!(
                "{net} has host bits; the network is {}",
                net.trunc()
            ));
        }
        Ok(net)
    }
}

impl Leaf for Ipv6Net {
    const WHAT: &'static str = "an IPv6 network such as \"fd12:3456:789a:1::/64\"";
    fn read(text: &str) -> Result<Self, String> {
        let net: Self = text.parse().map_err(|_| {
            let text = text.escape_debug();
            format!("`{text}` is not an IPv6 network such as fd12:3456:789a:1::/64")
        })?;
        if net != net.trunc() {
            return Err(format!(
                "{net} has host bits; the network is {}",
                net.trunc()
            ));
        }
        Ok(net)
    }
}

impl Leaf for IpNet {
    const WHAT: &'static str = "a network such as \"192.168.1.0/24\"";
    fn read(text: &str) -> Result<Self, String> {
        let net: Self = text.parse().map_err(|_| {
            let text = text.escape_debug();
            format!("`{text}` is not a network such as 192.168.1.0/24")
        })?;
        if net != net.trunc() {
            return Err(format!(
                "{net} has host bits; the network is {}",
                net.trunc()
            ));
        }
        Ok(net)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Host(String);

impl Leaf for Host {
    const WHAT: &'static str = "a host name such as \"gate.example.org\"";
    fn read(text: &str) -> Result<Self, String> {
        if is_host_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let form = text.trim_end_matches('.').to_lowercase();
        let what = format!("`{}` is not a host name", text.escape_debug());
        Err(if is_host_name(&form) {
            format!("{what} in its canonical form; write `{form}`")
        } else {
            format!("{what} such as gate.example.org")
        })
    }
}

struct Resolver(SocketAddr);

impl Leaf for Resolver {
    const WHAT: &'static str = "the address of a resolver such as \"192.168.1.1\"";
    fn read(text: &str) -> Result<Self, String> {
        let with_port = text.parse().ok();
        let plain = || text.parse::<IpAddr>().ok().map(|ip| (ip, 53).into());
        with_port.or_else(plain).map(Self).ok_or_else(|| {
            let text = text.escape_debug();
            format!("`{text}` is not the address of a resolver such as 192.168.1.1")
        })
    }
}

struct Origin(String);

impl Leaf for Origin {
    const WHAT: &'static str = "an origin such as \"https://gate.example.org\"";
    fn read(text: &str) -> Result<Self, String> {
        let bad = || {
            let text = text.escape_debug();
            format!("`{text}` is not an origin such as https://gate.example.org")
        };
        let origin = text.strip_suffix('/').unwrap_or(text);
        let authority = origin.strip_prefix("https://").ok_or_else(bad)?;
        let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
        if !is_host_name(host) || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self(origin.to_owned()))
    }
}

struct Endpoint(String);

impl Leaf for Endpoint {
    const WHAT: &'static str = "a host and port such as \"gate.example.org:51820\"";
    fn read(text: &str) -> Result<Self, String> {
        let named = text.rsplit_once(':').is_some_and(|(host, port)| {
            is_host_name(host) && port.parse::<u16>().is_ok_and(|p| p != 0)
        });
        if named || text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let text = text.escape_debug();
        Err(format!(
            "`{text}` is not a host and port such as gate.example.org:51820"
        ))
    }
}

//! Host names in one spelling: lower case, A-labels, no trailing dot, no port.

use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::Reject;

/// A host in canonical form: a DNS name of A-labels, a dotted IPv4 address or a bracketed IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonHost(Box<str>);

impl CanonHost {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the host is an address rather than a name.
    pub fn is_address(&self) -> bool {
        self.0.starts_with('[') || self.0.parse::<Ipv4Addr>().is_ok()
    }
}

impl std::fmt::Display for CanonHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Brings a host without port into canonical form. One trailing dot is removed.
///
/// Source: UTS 46 (non-transitional) with STD3 rules, RFC 1035 lengths.
///
/// # Errors
/// `host-empty`, `host-too-long`, `host-bad-address` or `host-bad-name`.
pub fn host(raw: &str) -> Result<CanonHost, Reject> {
    if raw.is_empty() {
        return Err(Reject::new("host-empty"));
    }
    if raw.len() > 1024 {
        return Err(Reject::new("host-too-long"));
    }
    if let Some(inner) = raw.strip_prefix('[') {
        return bracketed(inner);
    }
    let bare = raw.strip_suffix('.').unwrap_or(raw);
    let ascii = Uts46::new()
        .to_ascii(
            bare.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .map_err(|_| Reject::new("host-bad-name"))?;
    let last = ascii.rsplit('.').next().unwrap_or("");
    if looks_numeric(last) && ascii.parse::<Ipv4Addr>().is_err() {
        return Err(Reject::new("host-bad-address"));
    }
    Ok(CanonHost(ascii.into()))
}

fn bracketed(inner: &str) -> Result<CanonHost, Reject> {
    let bad = Reject::new("host-bad-address");
    let address: Ipv6Addr = inner
        .strip_suffix(']')
        .ok_or(bad)?
        .parse()
        .map_err(|_| bad)?;
    Ok(CanonHost(format!("[{address}]").into()))
}

/// Whether a last label reads as a number, which some resolvers take for an IPv4 address.
fn looks_numeric(label: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    digits(label) || label.strip_prefix("0x").is_some_and(hex)
}

//! What all apps of WireGuard take as a configuration: the narrowest of the readers of Android
//! (`com.wireguard.config`), Windows (`conf/parser.go`), Apple and wg-quick, by their rules.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Reads a configuration as the strictest app does.
///
/// # Errors
/// The first thing that an app does not take.
pub fn accept(text: &str) -> Result<(), String> {
    let mut reader = Reader::default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            reader.line(line)?;
        }
    }
    reader.end_section()?;
    match (reader.interfaces, reader.peers) {
        (1, 1..) => Ok(()),
        (interfaces, peers) => Err(format!("{interfaces} interfaces, {peers} peers")),
    }
}

#[derive(Default)]
struct Reader {
    section: String,
    seen: BTreeSet<String>,
    interfaces: u32,
    peers: u32,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with('[') {
            self.end_section()?;
            self.section = line.to_owned();
            self.seen.clear();
            return match line {
                "[Interface]" => {
                    self.interfaces += 1;
                    Ok(())
                }
                "[Peer]" => {
                    self.peers += 1;
                    Ok(())
                }
                _ => Err(format!("unknown section {line}")),
            };
        }
        let pair = line.split_once('=');
        let (key, value) = pair.ok_or_else(|| format!("no line: {line}"))?;
        let (key, value) = (key.trim(), value.trim());
        if !self.seen.insert(key.to_owned()) {
            return Err(format!("{key} twice"));
        }
        let good = match (self.section.as_str(), key) {
            ("[Interface]", "PrivateKey") | ("[Peer]", "PublicKey" | "PresharedKey") => {
                is_key(value)
            }
            ("[Interface]", "Address") | ("[Peer]", "AllowedIPs") => all(value, is_network),
            ("[Interface]", "DNS") => all(value, |part| part.parse::<IpAddr>().is_ok()),
            // 1280 is the least of IPv6, which Windows asks for
            ("[Interface]", "MTU") => is_number(value, 1280, 65_535),
            ("[Peer]", "PersistentKeepalive") => is_number(value, 1, 65_535),
            ("[Peer]", "Endpoint") => is_endpoint(value),
            _ => return Err(format!("unknown key {key} in {}", self.section)),
        };
        if good {
            Ok(())
        } else {
            Err(format!("{key} = {value}"))
        }
    }

    fn end_section(&self) -> Result<(), String> {
        let wanted: &[&str] = match self.section.as_str() {
            "[Interface]" => &["PrivateKey", "Address"],
            "[Peer]" => &["PublicKey", "AllowedIPs", "Endpoint"],
            _ => &[],
        };
        let missing = wanted.iter().find(|key| !self.seen.contains(**key));
        missing.map_or(Ok(()), |key| Err(format!("no {key} in {}", self.section)))
    }
}

fn all(list: &str, good: impl Fn(&str) -> bool) -> bool {
    list.split(',').all(|part| good(part.trim()))
}

fn is_key(value: &str) -> bool {
    let bytes = data_encoding::BASE64.decode(value.as_bytes());
    bytes.is_ok_and(|bytes| bytes.len() == 32)
}

/// A network with its prefix and no bits behind it, or an address with the full one.
fn is_network(value: &str) -> bool {
    let Some((address, prefix)) = value.split_once('/') else {
        return false;
    };
    let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    let (bits, width) = match address {
        IpAddr::V4(a) => (u128::from(u32::from(a)), 32),
        IpAddr::V6(a) => (u128::from(a), 128),
    };
    prefix <= width && (prefix == width || bits.trailing_zeros() >= width - prefix)
}

fn is_number(value: &str, least: u32, most: u32) -> bool {
    let is_plain = value.bytes().all(|b| b.is_ascii_digit());
    is_plain && value.parse().is_ok_and(|n| (least..=most).contains(&n))
}

/// A host and port; an IPv6 address stands in brackets.
fn is_endpoint(value: &str) -> bool {
    let Some((host, port)) = value.rsplit_once(':') else {
        return false;
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good_host = match bare {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
            !host.is_empty() && host.bytes().all(plain)
        }
    };
    good_host && is_number(port, 1, 65_535)
}

#[cfg(test)]
mod tests {
    use super::accept;

    const GOOD: &str = "[Interface]\nPrivateKey = dwdtCnMYpX08FsFyUbJmRcML1UtzNX5f2zmxhZV1XuU=\n\
        Address = 10.1.0.2/32, fd00::2/128\nDNS = 10.1.0.1, fd00::1\nMTU = 1420\n\n[Peer]\n\
        PublicKey = hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n\
        Endpoint = [fd77::1]:51820\nAllowedIPs = 10.1.0.0/24, fd00::/64\nPersistentKeepalive = 25\n";

    #[test]
    fn what_one_app_refuses_is_refused_and_the_rest_is_taken() {
        accept(GOOD).unwrap();
        accept(&GOOD.replace("[fd77::1]", "gate.example.org")).unwrap();
        for (from, to) in [
            ("MTU = 1420", "MTU = 1200"),
            ("MTU = 1420", "Mtus = 1420"),
            ("DNS = 10.1.0.1", "DNS = 10.1.0.1/32"),
            ("10.1.0.2/32", "10.1.0.2"),
            ("10.1.0.0/24", "10.1.0.1/24"),
            ("[fd77::1]:51820", "fd77::1:51820"),
            (":51820", ":0"),
            ("dwdtCn", "<the private key>"),
            ("PersistentKeepalive", "PublicKey = x\nPersistentKeepalive"),
            ("[Peer]", "[Peers]"),
            ("AllowedIPs", "# AllowedIPs"),
        ] {
            assert!(accept(&GOOD.replace(from, to)).is_err(), "{to}");
        }
    }
}

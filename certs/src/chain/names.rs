//! The hosts that a leaf names, each checked: they become keys of tables and names of files.

use std::collections::BTreeSet;

use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::ChainError;

/// The longest host name in bytes. Source: RFC 1035 section 2.3.4, without the length bytes.
const LONGEST: usize = 253;
/// The longest label in bytes. Source: RFC 1035 section 2.3.4.
const LONGEST_LABEL: usize = 63;

/// The tag of a DNS name. Source: RFC 5280 section 4.2.1.6.
const DNS_NAME: Tag = Tag(2);

/// Returns the DNS names of a leaf in lower case, wildcards as `*.example.org`.
///
/// # Errors
/// [`ChainError::Name`] for the first that is no host name, [`ChainError::NoNames`] if there is
/// none at all.
pub(super) fn dns_names(leaf: &X509Certificate<'_>) -> Result<BTreeSet<String>, ChainError> {
    let Ok(Some(alternatives)) = leaf.subject_alternative_name() else {
        return Err(ChainError::NoNames);
    };
    let mut names = BTreeSet::new();
    for name in &alternatives.value.general_names {
        if let GeneralName::Invalid(DNS_NAME, bytes) = name {
            return Err(bad(bytes, "it has other characters than ASCII"));
        }
        if let GeneralName::DNSName(name) = name {
            let lower = name.to_ascii_lowercase();
            check(&lower).map_err(|why| bad(name.as_bytes(), why))?;
            names.insert(lower);
        }
    }
    match names.is_empty() {
        true => Err(ChainError::NoNames),
        false => Ok(names),
    }
}

/// Says a name in printable ASCII only, and not all of one without end.
fn bad(name: &[u8], why: &'static str) -> ChainError {
    let shown = name.get(..LONGEST).unwrap_or(name);
    let name = shown.escape_ascii().to_string();
    ChainError::Name { name, why }
}

/// Looks whether a name in lower case is a host's, or `*.` and a host's.
///
/// Source: [RFC 1123 section 2.1](https://www.rfc-editor.org/rfc/rfc1123#section-2.1) and
/// [RFC 6125 section 6.4.3](https://www.rfc-editor.org/rfc/rfc6125#section-6.4.3).
fn check(name: &str) -> Result<(), &'static str> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    if host.is_empty() {
        return Err("it is empty");
    }
    if !name.is_ascii() {
        return Err("it has other characters than ASCII");
    }
    if name.len() > LONGEST {
        return Err("it is longer than 253 bytes");
    }
    if host.ends_with('.') && !host.ends_with("..") {
        return Err("it ends with a dot");
    }
    for label in host.split('.') {
        check_label(label)?;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    match last.bytes().all(|b| b.is_ascii_digit()) {
        true => Err("it is an address, or looks like one"),
        false => Ok(()),
    }
}

fn check_label(label: &str) -> Result<(), &'static str> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if label.is_empty() {
        return Err("a label of it is empty");
    }
    if label.len() > LONGEST_LABEL {
        return Err("a label of it is longer than 63 bytes");
    }
    if !label.bytes().all(is_plain) {
        return Err("a label of it has other characters than letters, digits and hyphens");
    }
    match label.starts_with('-') || label.ends_with('-') {
        true => Err("a label of it begins or ends with a hyphen"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;

    use crate::{Chain, ChainError, Checked};

    const NOW: i64 = 1_790_000_000;
    /// The alternative name of a subject. Source: RFC 5280 section 4.2.1.6.
    const OID: [u64; 4] = [2, 5, 29, 17];

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let len = match (high, low) {
            (0, ..0x80) => vec![low],
            (0, _) => vec![0x81, low],
            (_, _) => vec![0x82, high, low],
        };
        [&[tag], &len[..], content].concat()
    }

    /// A certificate with these bytes as its DNS names, whatever they are; nobody signed it but itself.
    fn leaf(names: &[&[u8]]) -> (String, String) {
        let names: Vec<u8> = names.iter().flat_map(|name| der(0x82, name)).collect();
        let names = CustomExtension::from_oid_content(&OID, der(0x30, &names));
        let mut params = CertificateParams::default();
        params.custom_extensions = vec![names];
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn names(names: &[&[u8]]) -> Result<Vec<String>, ChainError> {
        let (chain, key) = leaf(names);
        let chain = Chain::parse(chain.as_bytes(), key.as_bytes(), NOW, &default_provider())?;
        Ok(chain.names().iter().cloned().collect())
    }

    #[test]
    fn names_that_are_no_hosts_are_refused_and_told_precisely() {
        let (label, long) = ("a".repeat(64), "a.".repeat(127) + "a");
        for (name, why) in [
            ("../ca/root", "a label of it is empty"),
            ("*.../ca/root", "a label of it is empty"),
            ("..", "a label of it is empty"),
            ("a..test", "a label of it is empty"),
            (".a.test", "a label of it is empty"),
            ("a.test/b", "letters, digits and hyphens"),
            ("/etc/shadow", "letters, digits and hyphens"),
            ("a.test\0.b.test", "letters, digits and hyphens"),
            ("a\\b.test", "letters, digits and hyphens"),
            ("a b.test", "letters, digits and hyphens"),
            ("_acme.a.test", "letters, digits and hyphens"),
            ("a*.test", "letters, digits and hyphens"),
            ("*.*.test", "letters, digits and hyphens"),
            ("*", "letters, digits and hyphens"),
            ("b\u{fc}ro.test", "other characters than ASCII"),
            ("", "it is empty"),
            ("*.", "it is empty"),
            ("a.test.", "it ends with a dot"),
            ("-a.test", "begins or ends with a hyphen"),
            ("a-.test", "begins or ends with a hyphen"),
            ("192.0.2.1", "an address"),
            (&long, "longer than 253 bytes"),
            (&format!("{label}.test"), "longer than 63 bytes"),
        ] {
            let error = names(&[b"good.test", name.as_bytes()]).unwrap_err();
            let told = error.to_string();
            assert!(matches!(error, ChainError::Name { .. }), "{name:?}: {told}");
            assert!(told.contains(why) && told.is_ascii(), "{name:?}: {told}");
            assert!(!told.contains('\0') && told.len() < 700, "{told}");
        }
        let odd = names(&[b"good.test", b"\xff.test"]).unwrap_err();
        assert!(odd.to_string().contains("\\xff.test"), "{odd}");
        // where a name is on the record of checks, it is looked at all the same
        let (chain, key) = leaf(&[b"a/b"]);
        let (chain, key) = (chain.as_bytes(), key.as_bytes());
        let known = Chain::parse_known(chain, key, Some(NOW), &default_provider());
        assert!(matches!(known.unwrap_err(), ChainError::Name { .. }));
        let checked = Checked::new(&[1; 32]);
        let read = checked.parse(chain, key, NOW, &default_provider());
        assert!(read.is_err());
    }

    #[test]
    fn names_of_hosts_are_taken_in_lower_case() {
        let label = "a".repeat(63);
        let long = [label.as_str(); 3].join(".")
            + ".1234567890.1234567890.1234567890.1234567890.1234567890.test-1";
        let good: [(&str, &str); 6] = [
            ("Gate.Example.ORG", "gate.example.org"),
            ("*.a-b.test", "*.a-b.test"),
            ("xn--bro-hoa.test", "xn--bro-hoa.test"),
            ("7.a1", "7.a1"),
            ("localhost", "localhost"),
            (&long, &long),
        ];
        assert_eq!(long.len(), 253);
        for (name, read) in good {
            assert_eq!(names(&[name.as_bytes()]), Ok(vec![read.to_owned()]));
        }
        assert_eq!(names(&[]).unwrap_err(), ChainError::NoNames);
    }
}

//! The section `[traces]`: which collector is told of requests.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::value::{self, Leaf};

/// The section `[traces]`; without `endpoint` nothing is traced, and nothing is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Traces {
    /// The URL that takes traces by OTLP over HTTP.
    #[serde(deserialize_with = "endpoint")]
    pub(crate) endpoint: Option<Uri>,
    /// A file with fields for the collector, one `Name: value` a line, such as its key.
    #[serde(deserialize_with = "value::some")]
    pub(crate) headers_file: Option<PathBuf>,
    /// A PEM file with the authorities that may vouch for the collector, in place of the system's.
    #[serde(deserialize_with = "value::some")]
    pub(crate) ca: Option<PathBuf>,
    /// The share of requests that are traced, from 0 to 1, where their client does not say.
    #[serde(deserialize_with = "share")]
    pub(crate) sample: f64,
    /// Whether spans name the person, as the journal does.
    pub(crate) person: bool,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers_file: None,
            ca: None,
            sample: 1.0,
            person: false,
        }
    }
}

impl Traces {
    /// Says what is wrong with the whole: the key, a text, and what to write instead.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let Some(endpoint) = &self.endpoint else {
            let said = self.headers_file.is_some() || self.ca.is_some();
            let what = "traces need the URL of a collector in `endpoint`".to_owned();
            let help = "such as \"http://127.0.0.1:4318/v1/traces\"";
            return said.then_some(("endpoint", what, help));
        };
        if endpoint.scheme_str() == Some("https") {
            return None;
        }
        let near = nearness(endpoint.host().unwrap_or_default());
        if near == Nearness::Far {
            let what = format!("{endpoint} is not protected on its way");
            let help = "write https://, or the loopback or private address of a collector nearby";
            return Some(("endpoint", what, help));
        }
        if self.headers_file.is_some() && near != Nearness::Here {
            let what = format!("a key would go to {endpoint} in the clear");
            let help = "write https://, or leave out `headers-file`";
            return Some(("headers-file", what, help));
        }
        if self.ca.is_some() {
            let what = format!("{endpoint} has no certificate to vouch for");
            return Some(("ca", what, "write https://, or leave out `ca`"));
        }
        None
    }
}

/// How far what is sent without TLS would go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nearness {
    Here,
    Near,
    Far,
}

fn nearness(host: &str) -> Nearness {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        _ if host == "localhost" => Nearness::Here,
        Ok(ip) if ip.is_loopback() => Nearness::Here,
        Ok(IpAddr::V4(ip)) if ip.is_private() => Nearness::Near,
        Ok(IpAddr::V6(ip)) if ip.is_unique_local() => Nearness::Near,
        Ok(_) | Err(_) => Nearness::Far,
    }
}

struct Endpoint(Uri);

impl Leaf for Endpoint {
    const WHAT: &'static str = "the URL of a collector such as \"http://127.0.0.1:4318/v1/traces\"";
    fn read(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            let text = text.escape_debug();
            Err(format!("`{text}` is not {}: {why}", Self::WHAT))
        };
        let Ok(uri) = text.parse::<Uri>() else {
            return bad("it cannot be read");
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return bad("write http:// or https://");
        }
        let authority = uri.authority().map_or("", |a| a.as_str());
        if authority.contains('@') || uri.query().is_some() {
            // it is logged as it stands
            return Err("a collector's key stands in `headers-file`, not in its URL".to_owned());
        }
        if uri.path() == "/" {
            let base = text.trim_end_matches('/').escape_debug();
            return bad(&format!("write its path too, usually {base}/v1/traces"));
        }
        Ok(Self(uri))
    }
}

fn endpoint<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Uri>, D::Error> {
    value::one::<D, Endpoint>(d).map(|Endpoint(uri)| Some(uri))
}

fn share<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    d.deserialize_any(Share)
}

struct Share;

impl Visitor<'_> for Share {
    type Value = f64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share from 0 to 1 such as 0.1")
    }
    fn visit_f64<E: Error>(self, share: f64) -> Result<f64, E> {
        let known = (0.0..=1.0).contains(&share);
        let bad = || E::invalid_value(Unexpected::Float(share), &self);
        known.then_some(share).ok_or_else(bad)
    }
    fn visit_i64<E: Error>(self, share: i64) -> Result<f64, E> {
        match share {
            0 => Ok(0.0),
            1 => Ok(1.0),
            _ => Err(E::invalid_value(Unexpected::Signed(share), &self)),
        }
    }
}

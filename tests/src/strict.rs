//! Requests by their bytes: refused before the app sees them, or passed to it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::curl::{Client, host};
use crate::gateway::Gateway;
use crate::raw::{self, RawAnswer};
use crate::upstream::{Recorder, Seen};

/// A gateway before a recorder, and demo, who is signed in.
#[derive(Debug)]
pub struct Scene {
    pub recorder: Recorder,
    pub gateway: Gateway,
    pub cookie: String,
}

impl Scene {
    /// A demo with demo signed in: every refusal below is one of form, not of access.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a gateway")]
    pub fn new() -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo_before(&recorder.url());
        let client = Client::new(&gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = client.cookie(host(&gateway.facts.app), "__Host-postern");
        let cookie = format!("__Host-postern={}", cookie.unwrap());
        Self {
            recorder,
            gateway,
            cookie,
        }
    }

    #[must_use]
    pub fn authority(&self) -> String {
        format!("app.gate.localhost:{}", self.gateway.https_port())
    }

    #[must_use]
    pub fn connect(&self) -> raw::Tls {
        let addr = SocketAddr::from(([127, 0, 0, 1], self.gateway.https_port()));
        let root = &self.gateway.facts.ca_root;
        raw::tls(addr, "app.gate.localhost", root, Duration::from_secs(15))
    }

    /// Puts the usual fields in place of HOST and COOKIE, and the host in place of AUTHORITY.
    #[must_use]
    pub fn whole(&self, text: &[u8]) -> Vec<u8> {
        let host = format!("Host: {}\r\n", self.authority());
        let text = replace(text, b"HOST", host.as_bytes());
        let text = replace(&text, b"AUTHORITY", self.authority().as_bytes());
        let cookie = format!("Cookie: {}\r\n", self.cookie);
        replace(&text, b"COOKIE", cookie.as_bytes())
    }

    /// Sends a text in which HOST, COOKIE and AUTHORITY stand for the usual.
    #[must_use]
    pub fn send(&self, text: &[u8]) -> RawAnswer {
        raw::exchange(&mut self.connect(), &self.whole(text))
    }

    /// Asserts that a text is refused, that the connection ends, and that the app saw nothing.
    pub fn refuses(&self, name: &str, text: &[u8]) {
        let before = self.recorder.seen().len();
        let answer = self.send(text);
        let refused = match answer.status() {
            Some(401 | 403) => false,
            Some(status) => (400..500).contains(&status) || [501, 505].contains(&status),
            None => answer.closed && answer.bytes.is_empty(),
        };
        let shown = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(refused, "{name}: {shown}");
        assert!(answer.count() <= 1, "{name}: more than one answer: {shown}");
        if answer.status().is_some() {
            for field in ["strict-transport-security: ", "x-request-id: "] {
                let count = shown.to_ascii_lowercase().matches(field).count();
                assert_eq!(count, 1, "{name}: {field}: {shown}");
            }
        }
        let after = self.recorder.seen();
        assert_eq!(after.len(), before, "{name} reached the app: {after:?}");
    }

    /// Asserts that a text reaches the app and returns what the app saw.
    pub fn passes(&self, name: &str, text: &[u8]) -> Seen {
        let before = self.recorder.seen().len();
        let answer = self.send(text);
        let shown = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!(answer.status(), Some(200), "{name}: {shown}");
        assert_eq!(self.recorder.seen().len(), before + 1, "{name}");
        self.recorder.last()
    }
}

/// Puts one text in place of another.
#[must_use]
pub fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|w| w == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// What ends a head.
pub const END: &str = "Connection: close\r\n\r\n";

/// A request for a target.
#[must_use]
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHOSTCOOKIE{END}").into_bytes()
}

/// A request with these fields and this body.
#[must_use]
pub fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /p HTTP/1.1\r\nHOSTCOOKIE{fields}{END}{body}").into_bytes()
}

/// A request with these fields besides.
#[must_use]
pub fn with(fields: &str) -> Vec<u8> {
    format!("GET /p HTTP/1.1\r\nHOSTCOOKIE{fields}{END}").into_bytes()
}

//! What directories are answered while an order is under way; nothing of it outlives the order.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::clock;
use crate::proxy::tls::provider;

/// Where tokens of `http-01` are asked for. Source: RFC 8555 section 8.3.
pub(crate) const PATH: &str = "/.well-known/acme-challenge/";
/// The protocol of `tls-alpn-01`. Source: RFC 8737 section 6.2.
pub(crate) const ALPN: &[u8] = b"acme-tls/1";
/// More answers than these are never alive at once: orders under way times their names.
const MOST: usize = 1024;

/// The answers that are alive.
#[derive(Default)]
pub(crate) struct Answers {
    live: RwLock<HashMap<Key, Answer>>,
}

/// What an answer is found by: the host, and for `http-01` the token.
type Key = (String, Option<String>);

enum Answer {
    File(String),
    Certificate(Arc<ServerConfig>),
}

/// An answer that lives as long as this does.
pub(super) struct Live {
    answers: Arc<Answers>,
    key: Key,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.answers.live.write().remove(&self.key);
    }
}

impl Answers {
    /// Returns the text for a token under a host, as long as it is asked for by a live order.
    pub(crate) fn file(&self, host: &str, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        let live = self.live.read();
        match live.get(&(host.to_owned(), Some(token.to_owned())))? {
            Answer::File(text) => Some(text.clone()),
            Answer::Certificate(_) => None,
        }
    }

    /// Returns how to answer a hello of `tls-alpn-01` for a name that a live order is about.
    pub(crate) fn certificate(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        if !protocols.any(|protocol| protocol == ALPN) {
            return None;
        }
        let host = certs::same_host_form(hello.server_name()?);
        let live = self.live.read();
        match live.get(&(host, None))? {
            Answer::Certificate(config) => Some(Arc::clone(config)),
            Answer::File(_) => None,
        }
    }

    /// Puts a text under a token.
    pub(super) fn put_file(self: &Arc<Self>, host: &str, token: &str, text: &str) -> Option<Live> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if token.is_empty() || !token.bytes().all(is_token) {
            return None;
        }
        let key = (host.to_owned(), Some(token.to_owned()));
        self.put(key, Answer::File(text.to_owned()))
    }

    /// Answers `tls-alpn-01` for a host with the digest of its authorization.
    pub(super) fn put_certificate(self: &Arc<Self>, host: &str, digest: &[u8]) -> Option<Live> {
        let config = challenge_config(host, digest)?;
        self.put((host.to_owned(), None), Answer::Certificate(config))
    }

    fn put(self: &Arc<Self>, key: Key, answer: Answer) -> Option<Live> {
        let mut live = self.live.write();
        if live.len() >= MOST {
            return None;
        }
        live.insert(key.clone(), answer);
        let answers = Arc::clone(self);
        Some(Live { answers, key })
    }
}

fn challenge_config(host: &str, digest: &[u8]) -> Option<Arc<ServerConfig>> {
    let leaf = certs::tls_alpn_answer(host, digest, clock::unix()).ok()?;
    let provider = provider();
    // its critical extension is unknown to whoever checks certificates, so nobody here does
    let der = CertificateDer::from_pem_slice(leaf.chain_pem.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).ok()?;
    let key = provider.key_provider.load_private_key(key).ok()?;
    let key = Arc::new(CertifiedKey::new(vec![der], key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(One(key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Some(Arc::new(config))
}

struct One(Arc<CertifiedKey>);

impl fmt::Debug for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Answers, PATH};

    #[test]
    fn only_a_live_token_of_the_same_host_is_answered() {
        let answers = Arc::new(Answers::default());
        let path = format!("{PATH}token-1");
        assert_eq!(answers.file("a.test", &path), None);
        let live = answers.put_file("a.test", "token-1", "text").unwrap();
        assert_eq!(answers.file("a.test", &path).as_deref(), Some("text"));
        assert_eq!(answers.file("b.test", &path), None);
        assert_eq!(answers.file("a.test", &format!("{PATH}token-2")), None);
        assert_eq!(answers.file("a.test", "/token-1"), None);
        drop(live);
        assert_eq!(answers.file("a.test", &path), None);
    }

    #[test]
    fn a_token_that_is_no_token_is_not_served() {
        let answers = Arc::new(Answers::default());
        for bad in ["", "../x", "a/b", "a%2e", "a b"] {
            assert!(answers.put_file("a.test", bad, "text").is_none(), "{bad}");
        }
        assert!(answers.put_file("a.test", "aB9_-", "text").is_some());
    }

    #[test]
    fn a_certificate_is_made_for_a_whole_digest_only() {
        let answers = Arc::new(Answers::default());
        assert!(answers.put_certificate("a.test", &[1; 31]).is_none());
        assert!(answers.put_certificate("a.test", &[1; 32]).is_some());
    }
}

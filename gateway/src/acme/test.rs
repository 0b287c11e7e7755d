//! The self-test before a first order: directory, DNS, and whether the world's way to port 80 and
//! 443 ends here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use instant_acme::{BodyWrapper, HttpClient};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answers::{ALPN, PATH};
use super::lookup;
use super::transport::Transport;
use crate::audit::{Event, Record, reason};
use crate::config::{Challenge, Directory};
use crate::control::cert::Check;
use crate::gateway::Gateway;
use crate::proxy::tls::provider;

const DEADLINE: Duration = Duration::from_secs(5);
/// The ports that directories use. Source: RFC 8555 section 8.3, RFC 8737 section 3.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// Names that are tested at most: the others are like them.
const NAMES: usize = 50;

/// Tests every directory, and every name that is ordered, at the ports that the world uses.
pub(crate) async fn all(gw: &Arc<Gateway>, http: u16, https: u16) -> Vec<Check> {
    gw.acme.look(gw, crate::clock::unix());
    let mut checks = Vec::new();
    for at in &gw.config.acme.directory {
        checks.push(directory(at, gw.config.acme.staging).await);
    }
    let names = gw.acme.names.lock().clone();
    let names: Vec<_> = names.lots.into_iter().flatten().take(NAMES).collect();
    checks.extend(ways(gw, &names, (http, https), Which::All).await);
    checks
}

/// Tests the names of a first order and says what is wrong with them, with what to do. The order goes out all the same:
/// the world may see another way than the gateway does.
pub(super) async fn before_first(gw: &Arc<Gateway>, names: &[String]) {
    let by_record = |name: &&String| gw.acme.challenge_for(&gw.config, name) == Challenge::Dns;
    if names.iter().all(|name| by_record(&name)) {
        return;
    }
    for found in ways(gw, names, (HTTP, HTTPS), Which::Needed).await {
        let Some(advice) = found.advice.filter(|_| !found.ok && found.needed) else {
            continue;
        };
        let Check {
            name,
            check,
            detail,
            ..
        } = found;
        tracing::warn!(
            name,
            check,
            detail,
            advice,
            "a first order will likely fail"
        );
        let mut record = Record::new(Event::CertificateChanged, "failed", reason::SELF_TEST);
        record.detail = Some(format!("{name}: {check}: {detail}"));
        gw.audit.note(record);
    }
}

/// Which ways are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those that an order needs.
    Needed,
    /// The others too.
    All,
}

/// Tests the world's way to names at these ports.
async fn ways(
    gw: &Arc<Gateway>,
    names: &[String],
    (http, https): (u16, u16),
    which: Which,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in names {
        let challenge = gw.acme.challenge_for(&gw.config, name);
        let is_tested = |way| which == Which::All || needs(challenge, way);
        let found = addresses(gw, name).await;
        let first = found.as_ref().ok().and_then(|all| all.first().copied());
        let mut seen = vec![(Way::Dns, dns(name, found))];
        // nobody opens a page under the name of a wildcard
        let address = first.filter(|_| !name.starts_with("*."));
        if let Some(address) = address {
            if is_tested(Way::Http) {
                seen.push((Way::Http, plain(gw, name, (address, http).into()).await));
            }
            if is_tested(Way::Https) {
                seen.push((Way::Https, tls(gw, name, (address, https).into()).await));
            }
        }
        checks.extend(
            seen.into_iter()
                .map(|(way, seen)| seen.told_for(challenge, way)),
        );
    }
    checks
}

/// What a name is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Dns,
    Http,
    Https,
}

fn needs(challenge: Challenge, way: Way) -> bool {
    match challenge {
        Challenge::Http => way != Way::Https,
        Challenge::TlsAlpn => way != Way::Http,
        Challenge::Dns => false,
    }
}

/// What a way is to an order by a challenge.
///
/// Source: [RFC 8555 section 8](https://www.rfc-editor.org/rfc/rfc8555#section-8) and
/// [RFC 8737 section 3](https://www.rfc-editor.org/rfc/rfc8737#section-3).
fn meaning(challenge: Challenge, way: Way) -> &'static str {
    match (challenge, way) {
        (Challenge::Http, Way::Dns) => "http-01 finds this gateway by it",
        (Challenge::Http, Way::Http) => "http-01 is answered there",
        (Challenge::Http, Way::Https) => "http-01 does not need port 443; people do",
        (Challenge::TlsAlpn, Way::Dns) => "tls-alpn-01 finds this gateway by it",
        (Challenge::TlsAlpn, Way::Https) => "tls-alpn-01 is answered there",
        (Challenge::TlsAlpn, Way::Http) => {
            "tls-alpn-01 does not need port 80; it sends people on to 443"
        }
        (Challenge::Dns, Way::Dns) => "dns-01 needs no address; people do",
        (Challenge::Dns, Way::Http) => "dns-01 needs no port; 80 sends people on to 443",
        (Challenge::Dns, Way::Https) => "dns-01 needs no port; people need 443",
    }
}

impl Check {
    /// Says what was seen as what it is to an order; what the order does not need wants nothing done.
    fn told_for(mut self, challenge: Challenge, way: Way) -> Self {
        self.needed = needs(challenge, way);
        self.meaning = Some(meaning(challenge, way).to_owned());
        self.advice = self.advice.filter(|_| self.needed);
        self
    }
}

fn check(name: &str, kind: &str, seen: Result<String, String>, advice: &str) -> Check {
    let (ok, detail) = match seen {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    Check {
        name: name.to_owned(),
        check: kind.to_owned(),
        ok,
        detail,
        needed: true,
        meaning: None,
        advice: (!ok).then(|| advice.to_owned()),
    }
}

async fn directory(at: &Directory, staging: bool) -> Check {
    let url = at.url(staging).unwrap_or_default();
    let seen = async {
        let transport = Transport::new(at.roots.as_deref())?;
        let request = Request::builder().uri(url).body(BodyWrapper::default());
        let request = request.map_err(|e| e.to_string())?;
        let mut answer = transport
            .request(request)
            .await
            .map_err(|e| e.to_string())?;
        let body = answer.body.into_bytes().await.map_err(|e| e.to_string())?;
        let json: serde_json::Value =
            serde_json::from_slice(&body).map_err(|_| "it speaks no ACME".to_owned())?;
        match json.get("newOrder") {
            Some(_) => Ok("it answers".to_owned()),
            None => Err("it speaks no ACME".to_owned()),
        }
    };
    check(
        url,
        "directory",
        seen.await,
        certs::plan::Cause::Unreachable.advice(),
    )
}

async fn addresses(gw: &Gateway, name: &str) -> Result<Vec<IpAddr>, String> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    lookup::addresses(&gw.config.tunnel.dns, plain).await
}

fn dns(name: &str, found: Result<Vec<IpAddr>, String>) -> Check {
    let seen = found.and_then(|all| match all.is_empty() {
        true => Err("it has no address".to_owned()),
        false => Ok(all
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")),
    });
    check(name, "dns", seen, certs::plan::Cause::Dns.advice())
}

/// Asks for a token of this moment by the way a directory would.
async fn plain(gw: &Arc<Gateway>, name: &str, address: SocketAddr) -> Check {
    let (token, text) = (crate::ids::token(), crate::ids::token());
    let _live = gw.acme.answers.put_file(name, &token, &text);
    let seen = timeout(DEADLINE, fetch(name, &token, address)).await;
    let seen = seen.unwrap_or_else(|_| Err("no answer within 5 seconds".to_owned()));
    let seen = seen.and_then(|answer| match answer.ends_with(&text) {
        true => Ok(format!("{address} is this gateway")),
        false => Err(format!("something else answers at {address}")),
    });
    check(name, "http", seen, certs::plan::Cause::Connection.advice())
}

async fn fetch(name: &str, token: &str, address: SocketAddr) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("{address}: {e}");
    let mut stream = TcpStream::connect(address).await.map_err(failed)?;
    let request =
        format!("GET {PATH}{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(16 * 1024);
    bounded.read_to_end(&mut answer).await.map_err(failed)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn tls(gw: &Arc<Gateway>, name: &str, address: SocketAddr) -> Check {
    let digest = crate::ids::random::<32>();
    let _live = gw.acme.answers.put_certificate(name, &digest);
    let seen = timeout(DEADLINE, shake(name, address)).await;
    let seen = seen.unwrap_or_else(|_| Err("no answer within 5 seconds".to_owned()));
    let seen = seen.and_then(|der| match der.windows(32).any(|w| w == digest) {
        true => Ok(format!("{address} is this gateway")),
        false => Err(format!("something else answers at {address}")),
    });
    check(name, "https", seen, certs::plan::Cause::Connection.advice())
}

async fn shake(name: &str, address: SocketAddr) -> Result<Vec<u8>, String> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let failed = |e: std::io::Error| format!("{address}: {e}");
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    let (_, session) = stream.get_ref();
    let first = session.peer_certificates().and_then(|certs| certs.first());
    Ok(first.map(|der| der.to_vec()).unwrap_or_default())
}

/// Lets every certificate pass: what is looked for is in the certificate, and nothing is sent.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Way, check, meaning, needs};
    use crate::config::Challenge::{Dns, Http, TlsAlpn};

    const WAYS: [Way; 3] = [Way::Dns, Way::Http, Way::Https];

    #[test]
    fn an_order_needs_the_way_of_its_challenge_and_no_other() {
        let needed = |challenge| WAYS.map(|way| needs(challenge, way));
        assert_eq!(needed(Http), [true, true, false]);
        assert_eq!(needed(TlsAlpn), [true, false, true]);
        assert_eq!(needed(Dns), [false; 3]);
    }

    #[test]
    fn each_way_says_what_it_means_for_the_challenge() {
        for challenge in [Http, TlsAlpn, Dns] {
            for way in WAYS {
                let told = meaning(challenge, way);
                let is_free = told.contains("not need") || told.contains("needs no");
                assert_eq!(is_free, !needs(challenge, way), "{told}");
            }
        }
    }

    #[test]
    fn what_an_order_does_not_need_is_seen_and_asks_for_nothing() {
        let closed = || check("a.test", "http", Err("refused".to_owned()), "open it");
        let told = |check: Check| (check.ok, check.needed, check.advice);
        let open = Some("open it".to_owned());
        assert_eq!(
            told(closed().told_for(Http, Way::Http)),
            (false, true, open)
        );
        assert_eq!(
            told(closed().told_for(TlsAlpn, Way::Http)),
            (false, false, None)
        );
    }
}

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
    checks.extend(ways(gw, &names, http, https).await);
    checks
}

/// Tests the names of a first order and says what is wrong with them, with what to do. The order goes out all the same:
/// the world may see another way than the gateway does.
pub(super) async fn before_first(gw: &Arc<Gateway>, names: &[String]) {
    let by_record = |name: &&String| gw.acme.challenge_for(&gw.config, name) == Challenge::Dns;
    if names.iter().all(|name| by_record(&name)) {
        return;
    }
    for found in ways(gw, names, HTTP, HTTPS).await {
        let Some(advice) = found.advice.filter(|_| !found.ok) else {
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

/// Tests the world's way to names at these ports.
async fn ways(gw: &Arc<Gateway>, names: &[String], http: u16, https: u16) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in names {
        let found = addresses(gw, name).await;
        let first = found.as_ref().ok().and_then(|all| all.first().copied());
        checks.push(dns(name, found));
        let Some(address) = first else { continue };
        match gw.acme.challenge_for(&gw.config, name) {
            Challenge::Http => checks.push(plain(gw, name, (address, http).into()).await),
            Challenge::TlsAlpn => checks.push(tls(gw, name, (address, https).into()).await),
            Challenge::Dns => {}
        }
    }
    checks
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

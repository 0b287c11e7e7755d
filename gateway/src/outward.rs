//! HTTP towards services that the gateway itself asks: TLS with the project's provider, checked roots, bounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::proxy::tls::provider;

/// How long one address may take to be connected to.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a service gave no answer.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Trusts the roots in `file`, else those of the system.
///
/// # Errors
/// In words, when there is no root to trust.
pub(crate) fn trusting(file: Option<&Path>) -> Result<TlsConnector, String> {
    let roots = match file {
        Some(file) => own_roots(file)?,
        None => system_roots()?,
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks once, over a connection of its own; without `tls` in the clear. The answer's body has at most `most` bytes.
/// The caller says how long it waits.
///
/// # Errors
/// Without an answer that is whole.
pub(crate) async fn ask<B>(
    tls: Option<&TlsConnector>,
    mut request: Request<B>,
    most: usize,
) -> Result<Response<Bytes>, Fault>
where
    B: Body<Data: Buf + Send, Error: Into<Fault>> + Send + Unpin + 'static,
{
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or("a URL without a host")?;
    let field = HeaderValue::from_str(authority.as_str())?;
    request.headers_mut().insert(header::HOST, field);
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    *request.uri_mut() = path.parse::<Uri>()?;
    let host = authority.host();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let usual = if tls.is_some() { 443 } else { 80 };
    let stream = connect(host, authority.port_u16().unwrap_or(usual)).await?;
    match tls {
        None => exchange(stream, request, most).await,
        Some(tls) => {
            let name = ServerName::try_from(host.to_owned())?;
            exchange(tls.connect(name, stream).await?, request, most).await
        }
    }
}

async fn exchange<S, B>(
    stream: S,
    request: Request<B>,
    most: usize,
) -> Result<Response<Bytes>, Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data: Buf + Send, Error: Into<Fault>> + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, most).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // what came before its end is still to be read; why it ended, the answer tells
        _ = &mut connection => answer.await,
    }
}

/// Connects to the first address that answers.
async fn connect(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let mut last = format!("{host} has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no answer within 10 seconds"),
        }
    }
    Err(last.into())
}

/// Reads `Retry-After` in seconds; a date is one too, counted from now.
pub(crate) fn seconds(value: &HeaderValue) -> Option<i64> {
    let text = value.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u32>() {
        return Some(secs.into());
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let left = date.timestamp().as_second() - crate::clock::unix();
    (left > 0).then_some(left)
}

fn own_roots(file: &Path) -> Result<RootCertStore, String> {
    let bad = |what: String| format!("{}: {what}", file.display());
    let mut roots = RootCertStore::empty();
    let ders = CertificateDer::pem_file_iter(file).map_err(|e| bad(e.to_string()))?;
    for der in ders {
        let der = der.map_err(|e| bad(e.to_string()))?;
        roots.add(der).map_err(|e| bad(e.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(bad("no certificate in it".to_owned())),
        false => Ok(roots),
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("the system has no roots; install ca-certificates".to_owned()),
        false => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::seconds;

    #[test]
    fn a_wish_in_seconds_or_as_a_date_is_understood_and_others_are_none() {
        let read = |text: &str| seconds(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("120"), Some(120));
        assert!(read("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > 1_000_000);
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
    }
}

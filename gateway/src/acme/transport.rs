//! HTTP towards directories: TLS with the project's provider, checked roots, deadlines, bounds.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::proxy::tls::provider;

const DEADLINE: Duration = Duration::from_secs(30);
const BODY_MAX: usize = 1 << 20;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A client of one directory for one order.
pub(super) struct Transport {
    tls: TlsConnector,
    heard: Arc<Heard>,
}

/// What the last answers said beside their bodies.
#[derive(Debug, Default)]
pub(super) struct Heard {
    status: AtomicU16,
    retry_after: AtomicI64,
}

impl Heard {
    /// Returns the last status; zero before any answer.
    pub(super) fn status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }

    /// Returns the wish of the last refusal, in seconds.
    pub(super) fn retry_after(&self) -> Option<i64> {
        let secs = self.retry_after.load(Ordering::Relaxed);
        (secs > 0).then_some(secs)
    }

    fn hear<B>(&self, response: &Response<B>) {
        let status = response.status();
        self.status.store(status.as_u16(), Ordering::Relaxed);
        let refused = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let wish = response.headers().get(header::RETRY_AFTER);
        let wish = wish.filter(|_| refused).and_then(seconds);
        self.retry_after.store(wish.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Reads `Retry-After` in seconds; a date is one too, counted from now.
fn seconds(value: &HeaderValue) -> Option<i64> {
    let text = value.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u32>() {
        return Some(secs.into());
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let left = date.timestamp().as_second() - crate::clock::unix();
    (left > 0).then_some(left)
}

impl Transport {
    /// Makes a client that trusts the roots in `file`, else those of the system.
    ///
    /// # Errors
    /// In words, when there is no root to trust.
    pub(super) fn new(file: Option<&Path>) -> Result<Self, String> {
        let roots = match file {
            Some(file) => own_roots(file)?,
            None => system_roots()?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            heard: Arc::default(),
        })
    }

    /// Returns where the last answers can be read.
    pub(super) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, heard) = (self.tls.clone(), Arc::clone(&self.heard));
        Box::pin(async move {
            let answer = timeout(DEADLINE, exchange(tls, request)).await;
            let answer = answer.map_err(|_| Error::Other("no answer within 30 seconds".into()))?;
            let answer = answer.map_err(Error::Other)?;
            heard.hear(&answer);
            Ok(BytesResponse::from(answer))
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Fault> {
    let uri = request.uri().clone();
    if uri.scheme_str() != Some("https") {
        return Err(format!("{uri} is not https").into());
    }
    let host = uri.host().ok_or("a URL without a host")?.to_owned();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = connect(host, uri.port_u16().unwrap_or(443)).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = tls.connect(name, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let carried = tokio::spawn(connection);
    let authority = uri.authority().ok_or("a URL without a host")?.as_str();
    let authority = HeaderValue::from_str(authority)?;
    request.headers_mut().insert(header::HOST, authority);
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    *request.uri_mut() = path.parse::<Uri>()?;
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await?.to_bytes();
    carried.abort();
    Ok(Response::from_parts(parts, Full::new(body)))
}

/// Connects to the first address that answers.
async fn connect(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let mut last = format!("{host} has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match timeout(Duration::from_secs(10), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no answer within 10 seconds"),
        }
    }
    Err(last.into())
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

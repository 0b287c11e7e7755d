//! HTTP towards directories: a deadline, a bound, and what their answers say beside the body.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::outward;

const DEADLINE: Duration = Duration::from_secs(30);
const BODY_MAX: usize = 1 << 20;

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
        let wish = wish.filter(|_| refused).and_then(outward::seconds);
        self.retry_after.store(wish.unwrap_or(0), Ordering::Relaxed);
    }
}

impl Transport {
    /// Makes a client that trusts the roots in `file`, else those of the system.
    ///
    /// # Errors
    /// In words, when there is no root to trust.
    pub(super) fn new(file: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            tls: outward::trusting(file)?,
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
            if request.uri().scheme_str() != Some("https") {
                return Err(Error::Other(
                    format!("{} is not https", request.uri()).into(),
                ));
            }
            let answer = timeout(DEADLINE, outward::ask(Some(&tls), request, BODY_MAX)).await;
            let answer = answer.map_err(|_| Error::Other("no answer within 30 seconds".into()))?;
            let answer = answer.map_err(Error::Other)?;
            heard.hear(&answer);
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

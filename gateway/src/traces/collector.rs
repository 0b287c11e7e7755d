//! The collector: where it is, what it is told beside the spans, and one request to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config;
use crate::config::named::{self, NamedError};
use crate::outward;

/// How long the collector may take to take spans.
const DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of its answer.
const ANSWER_MAX: usize = 64 * 1024;
/// The longest pause that it may ask for.
const PAUSE_MOST: Duration = Duration::from_secs(30);
/// Fields that are the gateway's to say.
const OURS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::HOST,
];

/// Says why no traces can be sent as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracesError {
    /// The file with fields for the collector cannot be read, or others may read it.
    #[error(transparent)]
    Named(#[from] NamedError),
    /// A line is no field. What stands there may be a key, and is not told.
    #[error("{}:{line}: {what}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to write.
        what: &'static str,
    },
    /// There is no authority to trust.
    #[error("traces: {0}")]
    Roots(String),
}

/// Why spans were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// They may be sent again, after a pause if the collector says so.
    ForNow(String, Option<Duration>),
    /// They never will be.
    ForGood(String),
}

/// A collector of traces.
pub(crate) struct Collector {
    endpoint: Uri,
    fields: HeaderMap,
    tls: Option<TlsConnector>,
}

impl Collector {
    /// Sets up what `[traces]` says; `None` if it names no collector.
    ///
    /// # Errors
    /// [`TracesError`] for files that are missing, open to others or not to be understood.
    pub(crate) fn open(config: &config::Traces) -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = &config.endpoint else {
            return Ok(None);
        };
        let file = config.headers_file.as_deref();
        let tls = endpoint.scheme_str() == Some("https");
        let tls = tls.then(|| outward::trusting(config.ca.as_deref()));
        Ok(Some(Self {
            endpoint: endpoint.clone(),
            fields: file.map(fields).transpose()?.unwrap_or_default(),
            tls: tls.transpose().map_err(TracesError::Roots)?,
        }))
    }

    /// Names it for people.
    pub(super) fn name(&self) -> String {
        self.endpoint.to_string()
    }

    /// Hands spans over, as bytes; returns how many of them the collector rejects.
    pub(super) async fn take(&self, spans: Bytes) -> Result<u64, Refused> {
        let later = |why: String| Refused::ForNow(why, None);
        let mut request = Request::new(Full::new(spans));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.fields.clone();
        let kind = HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        let asked = outward::ask(self.tls.as_ref(), request, ANSWER_MAX);
        let answer = timeout(DEADLINE, asked).await;
        let answer = answer.map_err(|_| later("no answer within 10 seconds".to_owned()))?;
        let answer = answer.map_err(|fault| later(fault.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(rejected(answer.body()));
        }
        let why = format!("it answers {status}");
        let wish = answer.headers().get(header::RETRY_AFTER);
        let wish = wish.and_then(outward::seconds);
        let wish = wish.map(|secs| Duration::from_secs(secs.unsigned_abs()).min(PAUSE_MOST));
        match is_for_now(status) {
            true => Err(Refused::ForNow(why, wish)),
            false => Err(Refused::ForGood(why)),
        }
    }
}

/// Writes spans as a collector takes them.
pub(super) fn encode(request: &ExportTraceServiceRequest) -> Bytes {
    request.encode_to_vec().into()
}

fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| {
        u64::try_from(partial.rejected_spans).unwrap_or(0)
    })
}

/// Tells whether the same may be sent again. Source: OTLP, "Retryable Response Codes".
fn is_for_now(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Reads the fields for a collector; empty lines and those that begin with `#` are none.
fn fields(path: &Path) -> Result<HeaderMap, TracesError> {
    let text = named::read_secret(path)?;
    let mut fields = HeaderMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = field(line).map_err(|what| TracesError::Field {
            path: path.to_owned(),
            line: at + 1,
            what,
        })?;
        fields.append(name, value);
    }
    Ok(fields)
}

fn field(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line
        .split_once(':')
        .ok_or("not a field; write `Name: value`")?;
    let name = name.parse::<HeaderName>();
    let name = name.map_err(|_| "not the name of a field in front of the colon")?;
    if OURS.contains(&name) {
        return Err("the gateway writes this field itself; leave it out");
    }
    let value = HeaderValue::from_str(value.trim());
    let mut value = value.map_err(|_| "not the value of a field behind the colon")?;
    value.set_sensitive(true);
    Ok((name, value))
}

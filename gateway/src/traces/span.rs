//! The spans of one request: one for it, one for each time an upstream was asked.
//!
//! They say what the journal says of a request, and nothing else: no query, no field of a head.
//! Source: OpenTelemetry semantic conventions for HTTP spans 1.2x.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use policy::At;

use super::place::Place;
use crate::audit::Record;
use crate::clock;
use crate::ids;

/// Longest text in a span, in bytes; as long as a path in the journal.
const TEXT_MAX: usize = 1024;
/// Methods that a span names; any other is `_OTHER`. Source: the conventions' `http.request.method`.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];
/// What flags of a span say of its parent besides those of the trace. Source: OTLP, `SpanFlags`.
const PARENT_KNOWN: u32 = 0x100;
const PARENT_ELSEWHERE: u32 = 0x200;

/// A request that is traced, while it is under way.
pub(crate) struct Active {
    place: Place,
    id: [u8; 8],
    /// Whether its client speaks HTTP/2.
    http2: bool,
    /// What was decided of it, as the journal has it.
    decided: Option<Record>,
    area: Option<String>,
    status: Option<u16>,
    attempts: Vec<Attempt>,
}

/// One time that an upstream was asked.
struct Attempt {
    id: [u8; 8],
    to: At,
    started: Instant,
    ended: Option<Instant>,
    status: Option<u16>,
    failed: Option<&'static str>,
}

/// How a request ended.
pub(crate) struct End<'a> {
    /// When its head was whole.
    pub(crate) started: Instant,
    /// The port that its client named.
    pub(crate) port: Option<u16>,
    /// The record of its end, if it was let pass.
    pub(crate) record: Option<&'a Record>,
}

impl Active {
    pub(super) fn new(place: Place, http2: bool) -> Self {
        Self {
            place,
            id: ids::label(),
            http2,
            decided: None,
            area: None,
            status: None,
            attempts: Vec::new(),
        }
    }

    /// Notes what was decided.
    pub(crate) fn decided(&mut self, record: &Record) {
        self.decided = Some(record.sequel(record.event));
    }

    /// Tells whether anything was.
    pub(super) fn is_decided(&self) -> bool {
        self.decided.is_some()
    }

    /// Notes the area that decides, such as `app.paie/admin`.
    pub(crate) fn of(&mut self, area: String) {
        self.area = Some(area);
    }

    /// Notes the status of an answer to the client.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Notes that an upstream is asked.
    pub(crate) fn asks(&mut self, to: &At) {
        self.attempts.push(Attempt {
            id: ids::label(),
            to: to.clone(),
            started: clock::now(),
            ended: None,
            status: None,
            failed: None,
        });
    }

    /// Says where in the trace what an upstream is asked stands.
    pub(crate) fn towards(&self) -> String {
        self.place
            .of(self.attempts.last().map_or(self.id, |a| a.id))
    }

    /// Notes the status of an upstream's answer.
    pub(crate) fn heard(&mut self, status: u16) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.status = Some(status);
        }
    }

    /// Notes that an upstream's answer is whole.
    pub(crate) fn whole(&mut self) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended.get_or_insert_with(clock::now);
        }
    }

    /// Notes that an upstream gave no answer, or not all of it.
    pub(crate) fn broke(&mut self, reason: &'static str) {
        self.whole();
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failed = Some(reason);
        }
    }

    /// Tells how many spans it is.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.attempts.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// Writes its spans; it ends `now`, which is `wall` after the UNIX epoch.
    pub(super) fn spans(
        &self,
        end: &End<'_>,
        person: bool,
        now: Instant,
        wall: Duration,
    ) -> Vec<Span> {
        let at = |instant: Instant| {
            let ago = now.saturating_duration_since(instant);
            u64::try_from(wall.saturating_sub(ago).as_nanos()).unwrap_or(u64::MAX)
        };
        let attempts = self.attempts.iter().zip(0..);
        let mut spans: Vec<Span> = attempts
            .map(|(attempt, again)| self.client(attempt, again, &at, now))
            .collect();
        spans.push(self.server(end, person, &at, now));
        spans
    }

    fn server(
        &self,
        end: &End<'_>,
        person: bool,
        at: &dyn Fn(Instant) -> u64,
        now: Instant,
    ) -> Span {
        let decided = self.decided.as_ref();
        let known = end.record.or(decided);
        let status = end.record.and_then(|r| r.status).or(self.status);
        let broke = end.record.filter(|r| matches!(r.outcome, "failed" | "cut"));
        let error = error(broke.map(|r| r.reason), status.filter(|s| *s >= 500));
        let user = known.and_then(|r| r.user.as_deref());
        let version = if self.http2 { "2" } else { "1.1" };
        let mut all = Attributes::default();
        all.text("http.request.method", Some(self.method()));
        all.number("http.response.status_code", status);
        all.text("url.scheme", Some("https"));
        all.text("url.path", known.and_then(|r| r.path.as_deref()));
        all.text("server.address", known.and_then(|r| r.host.as_deref()));
        all.number("server.port", end.port);
        all.text("network.protocol.version", Some(version));
        all.text("error.type", error.as_deref());
        all.text("user.name", user.filter(|_| person));
        all.text("postern.area", self.area.as_deref());
        all.text("postern.outcome", decided.map(|r| r.outcome));
        all.text("postern.reason", decided.map(|r| r.reason));
        all.text("postern.rule", known.and_then(|r| r.rule.as_deref()));
        all.text(
            "postern.request_id",
            known.and_then(|r| r.request_id.as_deref()),
        );
        let elsewhere = self.place.parent.map_or(0, |_| PARENT_ELSEWHERE);
        Span {
            span_id: self.id.to_vec(),
            parent_span_id: self.place.parent.map_or_else(Vec::new, |id| id.to_vec()),
            flags: u32::from(self.place.flags) | PARENT_KNOWN | elsewhere,
            name: self.name(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: at(end.started),
            end_time_unix_nano: at(now),
            attributes: all.0,
            status: failure(error.is_some()),
            ..self.blank()
        }
    }

    fn client(
        &self,
        attempt: &Attempt,
        again: u16,
        at: &dyn Fn(Instant) -> u64,
        now: Instant,
    ) -> Span {
        let (host, port) = match &attempt.to {
            At::Net(host, port) => (host, Some(*port)),
            At::Unix(path) => (path, None),
        };
        // to a client, what the other side refuses is an error as well
        let error = error(attempt.failed, attempt.status.filter(|s| *s >= 400));
        let mut all = Attributes::default();
        all.text("http.request.method", Some(self.method()));
        all.number("http.response.status_code", attempt.status);
        all.text("server.address", Some(host));
        all.number("server.port", port);
        all.number("http.request.resend_count", Some(again).filter(|n| *n > 0));
        all.text("error.type", error.as_deref());
        Span {
            span_id: attempt.id.to_vec(),
            parent_span_id: self.id.to_vec(),
            flags: u32::from(self.place.flags) | PARENT_KNOWN,
            name: self.method().to_owned(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: at(attempt.started),
            end_time_unix_nano: at(attempt.ended.unwrap_or(now)),
            attributes: all.0,
            status: failure(error.is_some()),
            ..self.blank()
        }
    }

    fn blank(&self) -> Span {
        Span {
            trace_id: self.place.trace.to_vec(),
            ..Span::default()
        }
    }

    /// `GET app.paie/admin`; the method alone where no area decides.
    fn name(&self) -> String {
        match &self.area {
            Some(area) => format!("{} {area}", self.method()),
            None => self.method().to_owned(),
        }
    }

    fn method(&self) -> &'static str {
        let method = self.decided.as_ref().and_then(|r| r.method.as_deref());
        let known = METHODS.iter().find(|known| Some(**known) == method);
        known.copied().unwrap_or("_OTHER")
    }
}

/// Names what went wrong: a reason of the journal, else a status.
fn error(reason: Option<&str>, status: Option<u16>) -> Option<String> {
    let reason = reason.map(str::to_owned);
    reason.or_else(|| status.map(|status| status.to_string()))
}

fn failure(failed: bool) -> Option<Status> {
    failed.then(|| Status {
        code: StatusCode::Error.into(),
        message: String::new(),
    })
}

/// What a span says; of what is not known it says nothing.
#[derive(Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(&mut self, name: &str, text: Option<&str>) {
        let short = |text: &str| {
            let end = text.floor_char_boundary(TEXT_MAX);
            text.get(..end).unwrap_or_default().to_owned()
        };
        self.add(name, text.map(|text| Value::StringValue(short(text))));
    }

    fn number(&mut self, name: &str, number: Option<u16>) {
        self.add(name, number.map(|number| Value::IntValue(number.into())));
    }

    fn add(&mut self, name: &str, value: Option<Value>) {
        self.0.extend(value.map(|value| KeyValue {
            key: name.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }));
    }
}

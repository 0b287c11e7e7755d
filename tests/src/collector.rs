//! A collector of traces that keeps what it is told, by OTLP over HTTP.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as Wire;
use prost::Message;

use crate::upstream::{Seen, read_request};
use crate::wait;

/// A span as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty where it begins the trace.
    pub parent: String,
    pub name: String,
    /// 2 of a server, 3 of a client.
    pub kind: i32,
    pub start: u64,
    pub end: u64,
    pub error: bool,
    pub said: BTreeMap<String, String>,
}

impl Span {
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.kind == 2
    }

    /// Returns the value of an attribute; empty when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.said.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    requests: Mutex<Vec<Seen>>,
    /// The next answers; 200 when there are none.
    answers: Mutex<VecDeque<u16>>,
    silent: AtomicBool,
    connections: AtomicUsize,
}

/// A collector on loopback.
#[derive(Debug)]
pub struct Collector {
    addr: SocketAddr,
    kept: Arc<Kept>,
}

impl Collector {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let kept = Arc::<Kept>::default();
        let for_all = kept.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                for_all.connections.fetch_add(1, Ordering::SeqCst);
                let kept = for_all.clone();
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { addr, kept }
    }

    /// Returns the section of a configuration that sends traces here, with further keys.
    #[must_use]
    pub fn section(&self, more: &str) -> String {
        let addr = self.addr;
        format!("\n[traces]\nendpoint = \"http://{addr}/v1/traces\"\n{more}\n")
    }

    /// Gives the next requests these answers.
    pub fn answer(&self, statuses: &[u16]) {
        self.kept.answers.lock().unwrap().extend(statuses);
    }

    /// Gives no answer from here on.
    pub fn be_silent(&self) {
        self.kept.silent.store(true, Ordering::SeqCst);
    }

    /// Returns the spans it took.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    /// Returns the requests that arrived, taken or not.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.kept.requests.lock().unwrap().clone()
    }

    /// Returns how often somebody connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.kept.connections.load(Ordering::SeqCst)
    }

    /// Waits for the span of the request to a path, and returns it with those behind it.
    #[must_use]
    pub fn of(&self, path: &str) -> (Span, Vec<Span>) {
        wait::until(wait::PATIENCE, "the span of a request", || {
            let all = self.spans();
            let is_it = |span: &&Span| span.is_server() && span.get("url.path") == path;
            let server = all.iter().find(is_it)?.clone();
            let behind = all.into_iter().filter(|s| s.parent == server.id).collect();
            Some((server, behind))
        })
    }
}

fn serve(stream: TcpStream, kept: &Kept) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader) {
        kept.requests.lock().unwrap().push(seen.clone());
        if kept.silent.load(Ordering::SeqCst) {
            thread::park();
        }
        let status = kept.answers.lock().unwrap().pop_front().unwrap_or(200);
        if status == 200 {
            let told = ExportTraceServiceRequest::decode(seen.body.as_slice()).unwrap();
            let scopes = told.resource_spans.into_iter().flat_map(|r| r.scope_spans);
            let spans = scopes.flat_map(|scope| scope.spans).map(read);
            kept.spans.lock().unwrap().extend(spans);
        }
        let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(span: Wire) -> Span {
    let said = span.attributes.into_iter().map(|pair| {
        let value = match pair.value.and_then(|v| v.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{}: {other:?}", pair.key),
        };
        (pair.key, value)
    });
    Span {
        trace: HEXLOWER.encode(&span.trace_id),
        id: HEXLOWER.encode(&span.span_id),
        parent: HEXLOWER.encode(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        error: span.status.is_some_and(|status| status.code == 2),
        said: said.collect(),
    }
}

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use policy::At;

use super::collector::{Collector, TracesError};
use super::place::Place;
use super::span::{Active, End};
use super::{Figures, Traces};
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::config::named::NamedError;
use crate::config::tests::Folder;
use crate::config::{self, Config};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn section(text: &str) -> config::Traces {
    let text = format!("[traces]\nendpoint = \"http://127.0.0.1:9/v1/traces\"\n{text}");
    let config = Config::parse(Path::new("/etc/postern/postern.toml"), &text);
    config.unwrap().traces
}

fn record(outcome: &'static str) -> Record {
    let mut record = Record::new(Event::AccessDecided, outcome, reason::RULE);
    record.method = Some("GET".into());
    record.host = Some("paie.example".into());
    record.path = Some("/admin/x".to_owned());
    record.rule = Some("app.paie/admin#staff".into());
    record.user = Some("ines".into());
    record.request_id = Some("request-1".into());
    record
}

fn active() -> Active {
    let mut active = Active::new(Place::read(PARENT).unwrap(), false);
    active.decided(&record("allow"));
    active.of("app.paie/admin".to_owned());
    active
}

fn end(record: Option<&Record>) -> End<'_> {
    End {
        started: clock::now(),
        port: None,
        record,
    }
}

fn spans(active: &Active, end: &End<'_>, person: bool) -> Vec<Span> {
    active.spans(
        end,
        person,
        clock::now(),
        Duration::from_secs(1_700_000_000),
    )
}

fn said(span: &Span) -> BTreeMap<String, String> {
    let pairs = span.attributes.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|v| v.value.as_ref());
        let text = match value {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (pair.key.clone(), text)
    });
    pairs.collect()
}

#[test]
fn a_request_is_a_span_behind_its_parent_and_each_attempt_one_behind_it() {
    let mut active = active();
    active.asks(&At::Net("10.0.0.7".to_owned(), 8000));
    active.broke(reason::UPSTREAM_DOWN);
    active.asks(&At::Unix("/run/paie.sock".to_owned()));
    active.heard(200);
    let towards = Place::read(&active.towards()).unwrap();
    let mut record = record("ok");
    record.status = Some(200);
    let spans = spans(&active, &end(Some(&record)), false);
    let [first, second, server] = spans.as_slice() else {
        panic!("{spans:?}");
    };
    let parent = Place::read(PARENT).unwrap();
    assert!(spans.iter().all(|span| span.trace_id == parent.trace));
    assert_eq!(server.parent_span_id, parent.parent.unwrap());
    assert_eq!(first.parent_span_id, server.span_id);
    assert_eq!(second.parent_span_id, server.span_id);
    assert_eq!(towards.parent.unwrap().to_vec(), second.span_id);
    assert_eq!(server.name, "GET app.paie/admin");
    assert_eq!(said(first)["error.type"], reason::UPSTREAM_DOWN);
    assert!(first.status.is_some() && second.status.is_none() && server.status.is_none());
    assert_eq!(said(second)["http.request.resend_count"], "1");
    assert_eq!(said(second)["server.address"], "/run/paie.sock");
}

#[test]
fn a_span_says_what_the_journal_says_and_names_the_person_only_if_asked_to() {
    let mut record = record("failed");
    (record.status, record.reason) = (Some(502), reason::UPSTREAM_DOWN);
    let of = |person| said(&spans(&active(), &end(Some(&record)), person)[0]);
    let known = [
        ("error.type", "upstream-down"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "502"),
        ("network.protocol.version", "1.1"),
        ("postern.area", "app.paie/admin"),
        ("postern.outcome", "allow"),
        ("postern.reason", "rule"),
        ("postern.request_id", "request-1"),
        ("postern.rule", "app.paie/admin#staff"),
        ("server.address", "paie.example"),
        ("url.path", "/admin/x"),
        ("url.scheme", "https"),
    ];
    let mut wanted: BTreeMap<String, String> = known
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert_eq!(of(false), wanted);
    wanted.insert("user.name".to_owned(), "ines".to_owned());
    assert_eq!(of(true), wanted);
}

#[test]
fn a_method_of_its_own_and_a_long_path_take_no_more_room_than_others() {
    let mut active = active();
    let mut record = record("deny");
    record.method = Some("X".repeat(90).into());
    record.path = Some(format!("/{}", "ä".repeat(5000)));
    active.decided(&record);
    let spans = spans(&active, &end(None), false);
    assert_eq!(spans[0].name, "_OTHER app.paie/admin");
    assert!((1000..=1024).contains(&said(&spans[0])["url.path"].len()));
}

#[tokio::test]
async fn only_a_recorded_trace_is_followed_and_of_new_ones_the_share() {
    let begins = |share: &str, parent: Option<&str>| {
        let section = section(&format!("sample = {share}"));
        let collector = Collector::open(&section).unwrap().unwrap();
        let traces = Traces::start(&section, collector);
        let mut headers = HeaderMap::new();
        if let Some(parent) = parent {
            headers.insert("traceparent", HeaderValue::from_str(parent).unwrap());
        }
        traces.begin(&headers, false).is_some()
    };
    let unsampled = PARENT.replace("-01", "-00");
    assert!(begins("0", Some(PARENT)) && begins("1", Some(PARENT)));
    assert!(!begins("0", Some(&unsampled)) && !begins("1", Some(&unsampled)));
    assert!(!begins("0", None) && begins("1", None));
    assert!(begins("1", Some("00-what-is-this")), "no place is none");
}

#[tokio::test]
async fn what_the_queue_has_no_room_for_is_dropped_and_counted() {
    let section = section("");
    let collector = Collector::open(&section).unwrap().unwrap();
    let traces = Traces::with(&section, collector, 4);
    // nothing else runs meanwhile: the queue is not emptied
    for _ in 0..10 {
        let mut active = active();
        active.asks(&At::Net("10.0.0.7".to_owned(), 8000));
        traces.end(&active, &end(None));
    }
    let wanted = Figures {
        sent: 0,
        dropped: 12,
        lost: 0,
        waiting: 4,
    };
    assert_eq!(traces.figures(), wanted);
    let undecided = Active::new(Place::read(PARENT).unwrap(), true);
    traces.end(&undecided, &end(None));
    assert_eq!(traces.figures(), wanted);
    traces.close(Duration::from_secs(30)).await;
    let after = traces.figures();
    assert_eq!((after.lost, after.waiting), (8, 0), "nobody listens there");
}

#[test]
fn fields_for_the_collector_are_read_and_what_is_none_is_told_without_its_text() {
    let folder = Folder::new();
    let mut section = section("");
    let path = folder.path().join("fields");
    section.headers_file = Some(path.clone());
    let read = |text: &str, mode: u32| {
        folder.write("fields", text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Collector::open(&section).map(|collector| drop(collector.unwrap()))
    };
    assert!(read("# key of ours\n\nDD-API-KEY: s3cret\nX-Scope: a\n", 0o600).is_ok());
    let exposed = read("DD-API-KEY: s3cret\n", 0o640).unwrap_err();
    assert!(
        matches!(exposed, TracesError::Named(NamedError::Exposed { .. })),
        "{exposed}"
    );
    for (text, part) in [
        ("DD-API-KEY s3cret", ":1: not a field; write `Name: value`"),
        ("A: b\ns3cret key: x", ":2: not the name of a field"),
        ("A: s3cret\u{7f}", ":1: not the value of a field"),
        (
            "Content-Type: s3cret",
            ":1: the gateway writes this field itself",
        ),
    ] {
        let said = read(text, 0o600).unwrap_err().to_string();
        assert!(said.contains(part) && !said.contains("s3cret"), "{said}");
    }
    std::fs::remove_file(&path).unwrap();
    let missing = Collector::open(&section).map(|_| ()).unwrap_err();
    assert!(
        matches!(missing, TracesError::Named(NamedError::File { .. })),
        "{missing}"
    );
    let quiet = Arc::new(config::Traces::default());
    assert!(Collector::open(&quiet).unwrap().is_none());
}

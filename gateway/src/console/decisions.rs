//! The latest decisions, live if wanted, and one of them explained.

use askama::Template;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::act;
use super::call::{Call, Query};
use super::ledger::{Asked, Entry, Events, Listing, Told};
use super::shell::{Section, Shell};
use super::texts;
use crate::audit::Event;
use crate::audit::newest::Place;
use crate::audit::query;
use crate::clock;
use crate::control::{Code, Refusal};
use crate::explain::Which;
use crate::pages::{Policy, Problem, fill};
use crate::uri::encode;

const HOME: &str = "/admin/decisions";
const OUTCOMES: [&str; 7] = [
    "allow", "deny", "login", "step-up", "ok", "failed", "limited",
];
/// The fields of the filter, in their order.
const FIELDS: [&str; 7] = [
    "user", "place", "outcome", "code", "since", "until", "events",
];

#[derive(Template)]
#[template(path = "console/decisions.html")]
struct ListPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Decisions,
    q: &'a Query,
    m: &'a Listing,
    /// What is wrong in the filter.
    error: Option<String>,
    live: bool,
    script: String,
}

#[derive(Template)]
#[template(path = "console/decision.html")]
struct OnePage<'a> {
    f: Shell<'a>,
    w: &'static texts::Decisions,
    m: &'a Told,
}

/// A record in the stream of new ones.
#[derive(Serialize)]
struct Row<'a> {
    seq: u64,
    when: String,
    user: &'a str,
    source: &'a str,
    target: String,
    outcome: &'a str,
    rule: &'a str,
    code: &'a str,
    href: String,
}

/// `GET /admin/decisions`: a page of them, by filter.
pub(crate) async fn list(call: Call) -> Response {
    let w = texts::Decisions::of(call.ctx.lang);
    let asked = asked(&call.query, clock::unix_ms());
    let (status, listing, error) = match asked {
        Ok(asked) => match call.console.ledger().page(&asked).await {
            Ok(listing) => (StatusCode::OK, listing, None),
            Err(refusal) => {
                return act::failure(&call, Section::Decisions, HOME.to_owned(), &refusal);
            }
        },
        Err(field) => {
            let what = call.query.get(field).unwrap_or_default();
            let text = fill(w.bad_filter, "value", what);
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                Listing::default(),
                Some(text),
            )
        }
    };
    if let Some(text) = error.as_ref().filter(|_| call.wants_json()) {
        let refusal = Refusal::new(Code::Data, text.clone());
        return act::failure(&call, Section::Decisions, HOME.to_owned(), &refusal);
    }
    let live = error.is_none() && call.query.get("live").is_some();
    let view = ListPage {
        f: call.shell(Section::Decisions),
        w,
        q: &call.query,
        m: &listing,
        error,
        live,
        script: call.script(),
    };
    let policy = if live { Policy::Live } else { Policy::Page };
    call.reply_as(status, &listing, &view, policy)
}

/// `GET /admin/decisions/events`: those that come, for a script; each answer is whole, and the browser asks again.
pub(crate) async fn events(call: Call) -> Response {
    let Ok(asked) = asked(&call.query, clock::unix_ms()) else {
        return call.ctx.problem(Problem::BadRequest);
    };
    let last = last_event(&call.ctx.headers);
    let from = call.query.get("after").and_then(|after| after.parse().ok());
    let Some(after) = last.or(from) else {
        return call.ctx.problem(Problem::BadRequest);
    };
    match call.console.ledger().wait(&asked, after).await {
        Ok(listing) => stream(&listing),
        Err(refusal) => act::failure(&call, Section::Decisions, HOME.to_owned(), &refusal),
    }
}

/// `GET /admin/decisions/{which}`: one, explained; by its code, its number or the id of its request.
pub(crate) async fn one(call: Call, Path(name): Path<String>) -> Response {
    let Some(which) = Which::parse(&name) else {
        return call.ctx.problem(Problem::NotFound);
    };
    let told = match call.console.ledger().explain(&which).await {
        Ok(Some(told)) => told,
        Ok(None) => {
            let w = texts::Decisions::of(call.ctx.lang);
            let refusal = Refusal::new(Code::Data, fill(w.not_found, "which", &name));
            return act::failure(&call, Section::Decisions, HOME.to_owned(), &refusal);
        }
        Err(refusal) => return act::failure(&call, Section::Decisions, HOME.to_owned(), &refusal),
    };
    let view = OnePage {
        f: call.shell(Section::Decisions),
        w: texts::Decisions::of(call.ctx.lang),
        m: &told,
    };
    call.reply(StatusCode::OK, &told, &view)
}

/// Reads the filter; the error is the field at fault. An empty field asks for nothing.
fn asked(query: &Query, now: u64) -> Result<Asked, &'static str> {
    let text = |name: &str| {
        query
            .get(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let time = |name: &'static str| match text(name) {
        Some(text) => query::since(text, now).map(Some).ok_or(name),
        None => Ok(None),
    };
    let outcome = text("outcome");
    if outcome.is_some_and(|outcome| !OUTCOMES.contains(&outcome)) {
        return Err("outcome");
    }
    let events = match text("events") {
        None | Some("decisions") => Events::Decisions,
        Some("all") => Events::All,
        Some(name) => Events::One(Event::named(name).ok_or("events")?),
    };
    let before = match text("before") {
        Some(text) => Some(Place::parse(text).ok_or("before")?),
        None => None,
    };
    Ok(Asked {
        user: text("user").map(str::to_owned),
        place: text("place").map(str::to_owned),
        outcome: outcome.map(str::to_owned),
        code: text("code").map(str::to_ascii_uppercase),
        since: time("since")?,
        until: time("until")?,
        events,
        before,
    })
}

fn last_event(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Source: [HTML Standard section 9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)
fn stream(listing: &Listing) -> Response {
    let mut text = "retry: 1000\n\n".to_owned();
    for entry in listing.records.iter().rev() {
        // JSON holds no line break
        if let Ok(data) = serde_json::to_string(&row(entry)) {
            text.push_str(&format!("id: {}\ndata: {data}\n\n", entry.seq));
        }
    }
    text.push_str(&format!("id: {}\n\n", listing.seq));
    let mut answer = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn row(entry: &Entry) -> Row<'_> {
    Row {
        seq: entry.seq,
        when: entry.when(),
        user: entry.user.as_deref().unwrap_or_default(),
        source: entry.source.as_deref().unwrap_or_default(),
        target: entry.target(),
        outcome: entry.outcome.as_deref().unwrap_or_default(),
        rule: entry.rule.as_deref().unwrap_or_default(),
        code: entry.code.as_deref().unwrap_or_default(),
        href: entry.href(),
    }
}

impl ListPage<'_> {
    fn value(&self, name: &str) -> &str {
        self.q.get(name).unwrap_or_default()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }

    fn outcomes(&self) -> [&'static str; 7] {
        OUTCOMES
    }

    fn events(&self) -> Vec<&'static str> {
        let names = Event::ALL.iter().map(|event| event.name());
        names.collect()
    }

    /// The filter as parameters of a URL.
    fn filter(&self) -> String {
        let filled = FIELDS.iter().filter(|name| !self.value(name).is_empty());
        let pairs = filled.map(|name| format!("{name}={}&", encode(self.value(name))));
        pairs.collect()
    }

    fn older(&self, place: &str) -> String {
        format!("{HOME}?{}before={}", self.filter(), encode(place))
    }

    fn newest(&self) -> String {
        format!("{HOME}?{}", self.filter())
    }

    fn live_href(&self) -> String {
        format!("{HOME}?{}live=1", self.filter())
    }

    fn stream_href(&self) -> String {
        format!("{HOME}/events?{}after={}", self.filter(), self.m.seq)
    }
}

impl texts::Decisions {
    fn count_of(&self, count: &u64) -> String {
        fill(self.count, "count", &count.to_string())
    }

    fn why_not_of(&self, why: &str) -> String {
        fill(self.why_not, "why", why)
    }
}

impl Told {
    /// Whether it is about what was not let through.
    fn denied(&self) -> bool {
        self.past.as_ref().is_some_and(|past| {
            past.explanation.is_some() && past.now.outcome != policy::Outcome::Allow
        })
    }

    /// The single changes that would have made it an allow.
    fn changes(&self) -> &[String] {
        let explanation = self
            .past
            .as_ref()
            .and_then(|past| past.explanation.as_ref());
        explanation.map_or(&[], |explanation| explanation.would_allow.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::{asked, last_event, stream};
    use crate::audit::Event;
    use crate::console::call::Query;
    use crate::console::ledger::{Asked, Entry, Events, Listing};

    const NOW: u64 = 1_791_799_200_000;

    fn read(text: &str) -> Result<Asked, &'static str> {
        asked(&Query::read(text), NOW)
    }

    #[test]
    fn a_filter_is_read_and_empty_fields_ask_for_nothing() {
        assert_eq!(read("user=&place=&since=&events="), Ok(Asked::default()));
        let asked = read("user=ann&place=app.pay&outcome=deny&code=d-7k3qxn2a&since=2h&events=all");
        let asked = asked.unwrap();
        assert_eq!(asked.user.as_deref(), Some("ann"));
        assert_eq!(asked.code.as_deref(), Some("D-7K3QXN2A"));
        assert_eq!(asked.since, Some(NOW - 7_200_000));
        assert_eq!(asked.events, Events::All);
        let one = read("events=signed-in").unwrap();
        assert_eq!(one.events, Events::One(Event::SignedIn));
        let page = read("before=2026-01-31:4096").unwrap().before.unwrap();
        assert_eq!(page.to_string(), "2026-01-31:4096");
    }

    #[test]
    fn a_filter_that_means_nothing_is_named() {
        for (text, field) in [
            ("since=yesterday", "since"),
            ("until=x", "until"),
            ("outcome=maybe", "outcome"),
            ("events=nothing", "events"),
            ("before=../../etc:1", "before"),
        ] {
            assert_eq!(read(text), Err(field));
        }
    }

    #[test]
    fn new_records_are_streamed_oldest_first_and_the_last_id_stands_at_the_end() {
        let entry = |seq: u64| -> Entry {
            let text = format!(
                r#"{{"seq":{seq},"time":"2026-10-12T10:00:00.000Z","event":"access-decided.1","user":"a\nb"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let listing = Listing {
            records: vec![entry(9), entry(8)],
            seq: 11,
            ..Listing::default()
        };
        let answer = stream(&listing);
        assert_eq!(
            answer.headers()["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let text = String::from_utf8(runtime.block_on(body).unwrap().to_vec()).unwrap();
        let ids: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .collect();
        assert_eq!(ids, ["8", "9", "11"]);
        assert!(text.contains("\"user\":\"a\\nb\""), "{text}");
        assert!(text.ends_with("id: 11\n\n"));
    }

    #[test]
    fn the_browser_says_what_it_had_last() {
        let of = |text: &'static str| {
            let value = http::HeaderValue::from_static(text);
            let name = http::HeaderName::from_static("last-event-id");
            last_event(&http::HeaderMap::from_iter([(name, value)]))
        };
        assert_eq!(of("12"), Some(12));
        assert_eq!(of("x"), None);
        assert_eq!(last_event(&http::HeaderMap::new()), None);
    }
}

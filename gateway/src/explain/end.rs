//! How a request ended: what its last record says, whose side is at fault, and how its upstreams do now.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Past;
use crate::audit::newest::{Bounds, Judged, newest};
use crate::audit::{Event, query, reason};
use crate::control::UpstreamStatus;

/// What a record says went wrong between the gateway and an upstream.
pub(crate) mod went {
    pub(crate) const SILENT: &str = "no answer in time";
    pub(crate) const CONNECT_LATE: &str = "no connection in time";
    pub(crate) const NOT_HTTP2: &str = "does not speak HTTP/2";
    pub(crate) const TLS: &str = "TLS fails";
    pub(crate) const NOT_HTTP: &str = "not an answer of HTTP";
    pub(crate) const BROKEN: &str = "connection broken";
    pub(crate) const REFUSED: &str = "connection refused";
    pub(crate) const NO_ROUTE: &str = "no route";
    pub(crate) const UNCONNECTED: &str = "no connection";
    pub(crate) const NONE_WELL: &str = "no upstream is well";
}

/// The records of one request.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// The decision on it.
    pub(crate) decision: Option<Vec<u8>>,
    /// What became of it.
    pub(crate) ended: Option<Vec<u8>>,
    /// Other records, the newest first.
    pub(crate) others: Vec<Vec<u8>>,
}

/// Other records of a request that are told.
const OTHERS: usize = 20;

#[derive(Deserialize)]
struct Named {
    event: String,
    request_id: Option<String>,
}

impl Trail {
    /// Reads the newest request of an id; clients may name several alike. Blocks.
    ///
    /// # Errors
    /// If the folder or a segment cannot be read.
    pub(crate) fn read(dir: &Path, id: &str, bounds: Bounds) -> io::Result<Self> {
        let mut trail = Self::default();
        newest(dir, None, usize::MAX, bounds, &mut |line| {
            trail.take(line, id)
        })?;
        Ok(trail)
    }

    /// Takes a line, the newest first; a decision is the first record of its request.
    fn take(&mut self, line: &[u8], id: &str) -> Judged {
        let is_there = line.windows(id.len()).any(|part| part == id.as_bytes());
        let named = is_there.then(|| serde_json::from_slice::<Named>(line).ok());
        let Some(Some(named)) = named else {
            return Judged::Pass;
        };
        if named.request_id.as_deref() != Some(id) {
            return Judged::Pass;
        }
        if named.event == Event::AccessDecided.name() {
            self.decision = Some(line.to_vec());
            return Judged::Stop;
        }
        if named.event == Event::RequestEnded.name() && self.ended.is_none() {
            self.ended = Some(line.to_vec());
        } else if self.others.len() < OTHERS {
            self.others.push(line.to_vec());
        }
        Judged::Pass
    }

    /// Whether nothing is on record.
    pub(crate) fn is_empty(&self) -> bool {
        self.decision.is_none() && self.ended.is_none() && self.others.is_empty()
    }

    /// The record that says most of the request.
    pub(crate) fn main(&self) -> Option<&[u8]> {
        let first = self.decision.as_ref().or(self.ended.as_ref());
        first.or_else(|| self.others.last()).map(Vec::as_slice)
    }

    /// Tells the other records, one a line, the oldest first.
    pub(crate) fn others_text(&self) -> String {
        let lines = self.others.iter().rev();
        lines
            .map(|line| format!("{}\n", query::show(line)))
            .collect()
    }
}

/// The answer of `policy explain` about a request; the shape is a contract with scripts.
#[derive(Debug, Serialize)]
pub(crate) struct OfRequest {
    /// What its page or its answer showed.
    pub(crate) request_id: String,
    /// The decision on it, asked again; absent where none can be.
    pub(crate) decision: Option<Past>,
    /// Why it cannot be decided again, or not be explained by this policy.
    pub(crate) why_not: Option<String>,
    /// How it ended; absent where nothing was forwarded, or it is still under way.
    pub(crate) end: Option<End>,
}

/// How a request ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct End {
    #[serde(flatten)]
    record: Ended,
    /// Whose fault it is; absent where nothing went wrong.
    fault: Option<Fault>,
    /// The upstreams it is about, as they are now; empty where no gateway runs.
    upstreams: Vec<UpstreamStatus>,
}

/// What its record says.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Ended {
    seq: u64,
    time: String,
    outcome: String,
    reason: String,
    detail: Option<String>,
    host: Option<String>,
    status: Option<u16>,
    ms: Option<u64>,
}

/// Whose fault it is that a request failed, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Fault {
    side: Side,
    next: &'static str,
}

/// Whom to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Side {
    Gateway,
    Network,
    App,
    Client,
}

impl End {
    /// Reads the last record of a request; `None` for what is none. `app_of` finds the id of the app of a host.
    pub(crate) fn read(
        line: &[u8],
        upstreams: Vec<UpstreamStatus>,
        app_of: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let record: Ended = serde_json::from_slice(line).ok()?;
        let fault = Fault::of(&record);
        let app = record.host.as_deref().and_then(app_of);
        let upstreams = concerned(&record, fault, app.as_deref(), upstreams);
        Some(Self {
            record,
            fault,
            upstreams,
        })
    }

    /// Tells it for people, lines ending in a line break.
    pub(crate) fn to_text(&self) -> String {
        let Ended {
            seq,
            time,
            outcome,
            reason,
            ..
        } = &self.record;
        let status = self
            .record
            .status
            .map(|status| format!(", status {status}"));
        let took = self.record.ms.map(|ms| format!(", after {ms} ms"));
        let (status, took) = (status.unwrap_or_default(), took.unwrap_or_default());
        let mut text =
            format!("\nrecord {seq}  {time}\n  it ended: {outcome}, {reason}{status}{took}\n");
        if let Some(detail) = &self.record.detail {
            text.push_str(&format!("  {detail}\n"));
        }
        text.push_str(&match self.fault {
            Some(Fault { side, next }) => format!("  at fault: {}: {next}\n", side.words()),
            None => "  nothing went wrong\n".to_owned(),
        });
        for upstream in &self.upstreams {
            let UpstreamStatus {
                url,
                state,
                requests,
                failures,
                ..
            } = upstream;
            let since = upstream.since.as_ref().map(|at| format!(" since {at}"));
            let why = upstream.why.as_ref().map(|why| format!(": {why}"));
            let (since, why) = (since.unwrap_or_default(), why.unwrap_or_default());
            text.push_str(&format!(
                "  now: {url} is {state}{since}{why} ({failures} of {requests} requests failed)\n"
            ));
        }
        text
    }
}

/// The upstreams that a record names; where it names none and the app failed, all of its app.
fn concerned(
    record: &Ended,
    fault: Option<Fault>,
    app: Option<&str>,
    mut all: Vec<UpstreamStatus>,
) -> Vec<UpstreamStatus> {
    let behind = |fault: Fault| matches!(fault.side, Side::App | Side::Network);
    if !fault.is_some_and(behind) {
        return Vec::new();
    }
    let words = record.detail.as_deref().unwrap_or_default().split(' ');
    let words: Vec<&str> = words.map(|word| word.trim_end_matches(':')).collect();
    let of_app = |upstream: &UpstreamStatus| {
        let rest = app.and_then(|app| upstream.area.strip_prefix(app));
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let is_named = |upstream: &UpstreamStatus| words.contains(&upstream.url.as_str());
    all.retain(of_app);
    if all.iter().any(is_named) {
        all.retain(is_named);
    }
    all
}

impl Side {
    fn words(self) -> &'static str {
        match self {
            Self::Gateway => "the gateway",
            Self::Network => "the network between gateway and app",
            Self::App => "the app",
            Self::Client => "the client",
        }
    }
}

impl Fault {
    fn of(record: &Ended) -> Option<Self> {
        let said = |text: &str| {
            let detail = record.detail.as_deref();
            detail.is_some_and(|detail| detail.starts_with(text))
        };
        let (side, next) = match (record.outcome.as_str(), record.reason.as_str()) {
            ("cut", reason::TIMEOUT) => (Side::Client, "its body came too slowly"),
            ("cut", _) => (
                Side::Gateway,
                "it was cut: the sign-in, the device or the permission ended, or the gateway stopped",
            ),
            ("failed", reason::UPSTREAM_DOWN) if said(went::REFUSED) => (
                Side::App,
                "nothing listens there: start it, or correct `upstream`",
            ),
            ("failed", reason::UPSTREAM_DOWN) if said(went::NONE_WELL) => (
                Side::App,
                "it fails its checks or its requests: see its own log",
            ),
            ("failed", reason::UPSTREAM_DOWN) => (
                Side::Network,
                "no way leads there: its machine, its name, a route or a firewall",
            ),
            ("failed", reason::UPSTREAM_OUTSIDE) => (
                Side::Network,
                "its name leads where it may not be: correct the name, or `networks`",
            ),
            ("failed", reason::TIMEOUT) if said(went::CONNECT_LATE) => (
                Side::Network,
                "nothing answers there: its machine, a route or a firewall",
            ),
            ("failed", reason::TIMEOUT) => (
                Side::App,
                "it took the request and is silent: see its own log, or raise `timeout`",
            ),
            ("failed", reason::RESET) => (
                Side::App,
                "it closed the connection before its answer was whole: see its own log",
            ),
            ("failed", reason::UPSTREAM_BAD) => (
                Side::App,
                "what it says is no answer of HTTP: see that `upstream` names its own port",
            ),
            ("failed", reason::UPSTREAM_TLS) => (
                Side::App,
                "TLS with it fails: see its certificate, and whether `upstream` should be http",
            ),
            ("failed", reason::APP_BUSY | reason::APP_RESTS) => (
                Side::App,
                "it does not keep up: see its own log, or the limits of its area",
            ),
            ("failed", reason::MAINTENANCE) => (
                Side::Gateway,
                "the policy says that the app is being worked on",
            ),
            ("failed", reason::TOO_LARGE) => (
                Side::Client,
                "its body is longer than `body-max` lets it be",
            ),
            ("failed", _) => (Side::Gateway, "see postern status, and the gateway's log"),
            _ if record.status.is_some_and(|status| status >= 500) => (
                Side::App,
                "the answer came from the app itself: see its own log",
            ),
            _ => return None,
        };
        Some(Self { side, next })
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Side, Trail};
    use crate::audit::newest::Judged;
    use crate::control::UpstreamStatus;

    fn upstream(area: &str, url: &str, since: Option<&str>) -> UpstreamStatus {
        UpstreamStatus {
            area: area.to_owned(),
            url: url.to_owned(),
            state: since.map_or("up", |_| "out").to_owned(),
            since: since.map(str::to_owned),
            why: since.map(|_| "connection refused".to_owned()),
            drain: false,
            open: 0,
            requests: 9,
            failures: 3,
        }
    }

    fn end(outcome: &str, reason: &str, status: u16, detail: &str) -> End {
        let line = format!(
            r#"{{"seq":8,"time":"2026-10-12T10:03:00.000Z","event":"request-ended.1","outcome":"{outcome}","reason":"{reason}","host":"pay.example","status":{status},"request_id":"abcdefgh","ms":2,"detail":"{detail}"}}"#
        );
        let upstreams = vec![
            upstream("app.pay/", "http://127.0.0.1:80", None),
            upstream("app.pay/api", "http://127.0.0.1:8000", Some("10:02")),
            upstream("app.payroll/", "http://127.0.0.1:8000", None),
        ];
        let app_of = |host: &str| (host == "pay.example").then(|| "app.pay".to_owned());
        End::read(line.as_bytes(), upstreams, &app_of).unwrap()
    }

    #[test]
    fn each_failure_has_a_side_and_what_went_well_has_none() {
        for (outcome, reason, status, detail, side) in [
            (
                "failed",
                "upstream-down",
                502,
                "connection refused: http://a",
                Some(Side::App),
            ),
            (
                "failed",
                "upstream-down",
                502,
                "no route: http://a",
                Some(Side::Network),
            ),
            (
                "failed",
                "upstream-down",
                502,
                "no connection: http://a",
                Some(Side::Network),
            ),
            (
                "failed",
                "upstream-down",
                503,
                "no upstream is well",
                Some(Side::App),
            ),
            (
                "failed",
                "upstream-outside",
                502,
                "http://a: its name",
                Some(Side::Network),
            ),
            (
                "failed",
                "timeout",
                504,
                "no answer in time: http://a",
                Some(Side::App),
            ),
            (
                "failed",
                "timeout",
                504,
                "no connection in time: http://a",
                Some(Side::Network),
            ),
            (
                "failed",
                "reset",
                502,
                "connection broken: http://a",
                Some(Side::App),
            ),
            (
                "failed",
                "upstream-bad",
                502,
                "not an answer of HTTP: http://a",
                Some(Side::App),
            ),
            (
                "failed",
                "upstream-tls",
                502,
                "TLS fails: https://a",
                Some(Side::App),
            ),
            ("failed", "app-busy", 503, "x", Some(Side::App)),
            ("failed", "overloaded", 503, "x", Some(Side::Gateway)),
            ("failed", "too-large", 413, "", Some(Side::Client)),
            (
                "cut",
                "timeout",
                408,
                "the body came too slowly",
                Some(Side::Client),
            ),
            ("cut", "rule", 200, "", Some(Side::Gateway)),
            ("ok", "rule", 500, "", Some(Side::App)),
            ("ok", "rule", 200, "", None),
            ("ok", "rule", 404, "", None),
        ] {
            let fault = end(outcome, reason, status, detail).fault;
            let found = fault.map(|fault| fault.side);
            assert_eq!(found, side, "{outcome} {reason} {detail}");
        }
    }

    #[test]
    fn the_upstream_that_failed_is_told_as_it_is_now() {
        let urls = |end: &End| {
            let urls = end.upstreams.iter().map(|u| u.url.clone());
            urls.collect::<Vec<_>>()
        };
        let down = "connection refused: http://127.0.0.1:8000";
        let refused = end("failed", "upstream-down", 502, down);
        assert_eq!(urls(&refused), ["http://127.0.0.1:8000"]);
        assert_eq!(refused.upstreams[0].area, "app.pay/api");
        let text = refused.to_text();
        for part in [
            "it ended: failed, upstream-down, status 502, after 2 ms",
            "at fault: the app: nothing listens there",
            "now: http://127.0.0.1:8000 is out since 10:02: connection refused",
        ] {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
        // where none is named all of its app are told, and where the app is well none is
        let none = end("failed", "upstream-down", 503, "no upstream is well");
        assert_eq!(urls(&none).len(), 2);
        let well = end("ok", "rule", 200, "");
        assert!(well.upstreams.is_empty() && well.to_text().contains("nothing went wrong"));
    }

    #[test]
    fn the_records_of_a_request_are_its_own_and_end_with_its_decision() {
        let line = |event: &str, id: &str| {
            format!(r#"{{"event":"{event}","request_id":"{id}","detail":"abcdefgh"}}"#)
        };
        let mut trail = Trail::default();
        for (event, id, judged) in [
            ("request-ended.1", "otherone", Judged::Pass),
            ("request-ended.1", "abcdefgh", Judged::Pass),
            ("signed-in.1", "abcdefgh", Judged::Pass),
            ("access-decided.1", "otherone", Judged::Pass),
            ("access-decided.1", "abcdefgh", Judged::Stop),
        ] {
            let line = line(event, id);
            assert_eq!(trail.take(line.as_bytes(), "abcdefgh"), judged, "{line}");
        }
        let ended = line("request-ended.1", "abcdefgh");
        assert_eq!(trail.ended.as_deref(), Some(ended.as_bytes()));
        assert_eq!(trail.others.len(), 1);
        let decided = line("access-decided.1", "abcdefgh");
        assert_eq!(trail.main(), Some(decided.as_bytes()));
        assert_eq!(
            trail.take(b"no record of abcdefgh", "abcdefgh"),
            Judged::Pass
        );
    }
}

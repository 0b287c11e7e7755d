//! The admin listener: readiness and metrics, on an address of its own and nowhere else.

mod tunnel;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::clock;
use crate::descriptors;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
use crate::streams::Kind;
use crate::upstreams::{Health, Member, Pool};

const CALLERS: usize = 16;
const HEAD_MAX: usize = 8 * 1024;
const DEADLINE: Duration = Duration::from_secs(5);

/// Answers on the admin listener until the gateway ends.
pub(crate) async fn serve(gw: Arc<Gateway>, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be watched");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CALLERS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((_, peer)) if gw.bans.refuses(peer.ip()) => {}
            Ok((stream, _)) => {
                let gw = Arc::clone(&gw);
                tokio::spawn(async move {
                    let done = tokio::time::timeout(DEADLINE, answer(&gw, stream)).await;
                    drop((done, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the admin listener failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(gw: &Gateway, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if head.len() > HEAD_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let (status, kind, body) = route(gw, line).await;
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

async fn route(gw: &Gateway, line: &[u8]) -> (&'static str, &'static str, String) {
    let json = "application/json; charset=utf-8";
    match line {
        b"GET /metrics HTTP/1.1" | b"GET /metrics HTTP/1.0" => {
            let text = metrics(gw) + &tunnel::figures(gw).await;
            ("200 OK", "text/plain; version=0.0.4", text)
        }
        b"GET /readyz HTTP/1.1" | b"GET /readyz HTTP/1.0" => {
            if gw.audit.healthy() {
                let policy = if gw.cached.load(Ordering::Relaxed) {
                    ",\"policy\":\"last-good\""
                } else {
                    ""
                };
                (
                    "200 OK",
                    json,
                    format!("{{\"status\":\"ready\"{policy}}}\n"),
                )
            } else {
                let body = "{\"status\":\"journal cannot be written\"}\n";
                ("503 Service Unavailable", json, body.to_owned())
            }
        }
        _ => (
            "404 Not Found",
            json,
            "{\"error\":\"not-found\"}\n".to_owned(),
        ),
    }
}

/// Writes the gauges in the Prometheus text format.
fn metrics(gw: &Gateway) -> String {
    let snap = gw.snapshot.load();
    let devices = gw.devices.list();
    let live = devices.iter().filter(|d| d.revoked.is_none()).count();
    let now = clock::unix();
    let open = devices
        .iter()
        .filter(|d| gw.opened_by(d.id).is_some())
        .count();
    let connections = gw.edges.get().map_or(0, crate::proxy::Edges::connections);
    let tunnel = gw.tunnel.get().is_some_and(|t| t.why_down().is_none());
    let chains = snap.certs.chains().iter().chain(snap.certs.idle());
    let expiry = chains.map(|c| c.not_after()).min();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: i128| {
        let _done = writeln!(
            text,
            "# HELP postern_{name} {help}\n# TYPE postern_{name} gauge\npostern_{name} {value}"
        );
    };
    gauge(
        "uptime_seconds",
        "Seconds since the start.",
        (now - gw.started).into(),
    );
    gauge(
        "sessions",
        "Live sessions.",
        count(gw.sessions.list().len()),
    );
    gauge(
        "connections",
        "Open client connections.",
        count(connections),
    );
    let (most, refused) = gw
        .edges
        .get()
        .map(crate::proxy::Edges::room)
        .unwrap_or_default();
    gauge(
        "connections_most",
        "Client connections that there may be.",
        count(most),
    );
    gauge(
        "connections_refused",
        "Client connections closed for want of room.",
        refused.into(),
    );
    gauge(
        "descriptors",
        "Open descriptors.",
        count(descriptors::used()),
    );
    gauge(
        "descriptors_most",
        "Descriptors that there may be.",
        count(descriptors::claim().limit),
    );
    gauge(
        "requests",
        "Open requests and sockets.",
        count(gw.streams.count(Kind::Request)),
    );
    gauge(
        "flows",
        "Open flows of tunnel devices.",
        count(gw.streams.count(Kind::Flow)),
    );
    gauge(
        "devices",
        "Tunnel devices that are not revoked.",
        count(live),
    );
    gauge(
        "devices_open",
        "Tunnel devices opened by a session.",
        count(open),
    );
    gauge(
        "tunnel_up",
        "Whether the tunnel door is open.",
        tunnel.into(),
    );
    gauge(
        "rate_keys",
        "Rate budgets in memory.",
        count(gw.limits.keys()),
    );
    let bans = gw.bans.counts();
    gauge("bans", "Bans in force.", count(bans.bans));
    gauge(
        "bans_made",
        "Bans of the gateway's own making.",
        bans.made.into(),
    );
    gauge(
        "bans_refused",
        "Connections refused because of a ban.",
        bans.refused.into(),
    );
    gauge(
        "failing_accounts",
        "Accounts with failed sign-ins of late.",
        count(bans.accounts),
    );
    let refusals = gw.edges.get().map(|edges| edges.refusals.counts());
    let (unlisted, bad) = refusals.unwrap_or_default();
    gauge(
        "proxy_headers_unlisted",
        "Connections closed for a PROXY header of a source that is not listed.",
        unlisted.into(),
    );
    gauge(
        "proxy_headers_bad",
        "Connections of listed proxies closed for want of a sound PROXY header.",
        bad.into(),
    );
    gauge("spray_alarms", "Alarms of spraying.", bans.alarms.into());
    gauge(
        "sensitive_limits",
        "Requests refused by a limit that the policy calls sensitive.",
        gw.alarms.load(Ordering::Relaxed).into(),
    );
    gauge(
        "policy_generation",
        "Sets put in force since the start.",
        snap.generation.into(),
    );
    let refused = gw.reload_error.lock().is_some();
    gauge(
        "policy_refused",
        "Whether the files that lie there were refused.",
        refused.into(),
    );
    gauge(
        "policy_cached",
        "Whether the last good policy stands in for the folder.",
        gw.cached.load(Ordering::Relaxed).into(),
    );
    gauge(
        "policy_held",
        "Whether files wait to be accepted.",
        gw.history.held().is_some().into(),
    );
    gauge(
        "policy_unconfirmed",
        "Whether a policy waits to be confirmed.",
        gw.history.pending().is_some().into(),
    );
    gauge(
        "audit_records",
        "Number of the last record.",
        gw.audit.seq().into(),
    );
    gauge(
        "audit_ok",
        "Whether the journal can be written.",
        gw.audit.healthy().into(),
    );
    if let Some(expiry) = expiry {
        let left = expiry.saturating_sub(now) / 86_400;
        gauge(
            "certificate_days",
            "Days until the first certificate ends.",
            left.into(),
        );
    }
    certificates(gw, now, &mut text);
    reports(gw, &mut text);
    traces(gw, &mut text);
    upstreams(gw, &snap, &mut text);
    loads(gw, &snap, &mut text);
    text
}

/// Writes what browsers told of content security policies.
fn reports(gw: &Gateway, text: &mut String) {
    let name = "postern_csp_reports";
    let _done = writeln!(
        text,
        "# HELP {name} Breaches of the content security policy that browsers told of.\n# TYPE {name} counter"
    );
    for (app, directive, count) in gw.reports.counts() {
        let _done = writeln!(
            text,
            "{name}{{app=\"{app}\",directive=\"{directive}\"}} {count}"
        );
    }
    let name = "postern_csp_reports_dropped";
    let _done = writeln!(
        text,
        "# HELP {name} Reports that were too many, too long or not to be read.\n# TYPE {name} counter\n{name} {}",
        gw.reports.dropped()
    );
}

/// Writes what became of spans, where requests are traced.
fn traces(gw: &Gateway, text: &mut String) {
    let Some(traces) = &gw.traces else {
        return;
    };
    let figures = traces.figures();
    let _done = writeln!(
        text,
        "# HELP postern_trace_spans_sent Spans that the collector took.\n\
         # TYPE postern_trace_spans_sent counter\n\
         postern_trace_spans_sent {}\n\
         # HELP postern_trace_spans_dropped Spans for which the queue had no room, or that the collector did not take.\n\
         # TYPE postern_trace_spans_dropped counter\n\
         postern_trace_spans_dropped{{reason=\"queue\"}} {}\n\
         postern_trace_spans_dropped{{reason=\"collector\"}} {}\n\
         # HELP postern_trace_requests_waiting Requests whose spans wait for the collector.\n\
         # TYPE postern_trace_requests_waiting gauge\n\
         postern_trace_requests_waiting {}",
        figures.sent, figures.dropped, figures.lost, figures.waiting
    );
}

/// Certificates that have a line of their own.
const CERTIFICATES: usize = 1000;

/// Writes the days left of each certificate, and which are not renewed.
fn certificates(gw: &Gateway, now: i64, text: &mut String) {
    let snap = gw.snapshot.load();
    let head = "# HELP postern_certificate_days_left Days until a certificate ends.\n# TYPE postern_certificate_days_left gauge\n";
    text.push_str(head);
    for (source, chain) in snap.certs.by_source().take(CERTIFICATES) {
        let name = chain.names().first().map_or("", String::as_str);
        let days = chain.not_after().saturating_sub(now).div_euclid(86_400);
        let _done = writeln!(
            text,
            "postern_certificate_days_left{{name=\"{name}\",source=\"{source}\"}} {days}"
        );
    }
    let head = "# HELP postern_certificate_failing Whether the last order of a certificate failed.\n# TYPE postern_certificate_failing gauge\n";
    text.push_str(head);
    for failing in crate::acme::failing(gw).iter().take(CERTIFICATES) {
        let (name, cause) = (&failing.name, &failing.cause);
        let _done = writeln!(
            text,
            "postern_certificate_failing{{name=\"{name}\",cause=\"{cause}\"}} 1"
        );
    }
}

/// Writes what each upstream does, one line for each figure.
fn upstreams(gw: &Gateway, snap: &Snapshot, text: &mut String) {
    let now = clock::now();
    let rows = crate::upstreams::rows(gw.fronts(snap), &snap.policy);
    let mut figure = |name: &str, kind: &str, help: &str, of: &dyn Fn(&Member) -> i128| {
        let name = format!("postern_upstream_{name}");
        let _done = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for row in &rows {
            let (app, area) = (&row.app, &row.area);
            let to = row.member.to.to_string();
            let to = to.replace('\\', "\\\\").replace('"', "\\\"");
            let value = of(&row.member);
            let _done = writeln!(
                text,
                "{name}{{app=\"{app}\",area=\"{area}\",upstream=\"{to}\"}} {value}"
            );
        }
    };
    figure("up", "gauge", "Whether it gets requests.", &|m| {
        (m.health(now) == Health::Up).into()
    });
    figure("open", "gauge", "Requests under way.", &|m| count(m.open()));
    figure("requests", "counter", "Requests given to it.", &|m| {
        m.counts().0.into()
    });
    figure("failures", "counter", "Requests it failed.", &|m| {
        m.counts().1.into()
    });
    figure(
        "outside",
        "counter",
        "Looks at its name that found an address it may not have.",
        &|m| m.outside().into(),
    );
}

/// Writes what is under way where the policy limits it.
fn loads(gw: &Gateway, snap: &Snapshot, text: &mut String) {
    let now = clock::now();
    let rows = crate::upstreams::loads(gw.fronts(snap), &snap.policy);
    let mut figure = |name: &str, kind: &str, help: &str, of: &dyn Fn(&Pool) -> i128| {
        let name = format!("postern_area_{name}");
        let _done = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for row in &rows {
            let (app, area, value) = (&row.app, &row.area, of(&row.pool));
            let _done = writeln!(text, "{name}{{app=\"{app}\",area=\"{area}\"}} {value}");
        }
    };
    figure("open", "gauge", "Requests under way.", &|p| {
        p.load.counts().0.into()
    });
    figure(
        "refused",
        "counter",
        "Requests refused for what others do.",
        &|p| p.load.counts().1.into(),
    );
    figure(
        "breaker_open",
        "gauge",
        "Whether requests are refused at once.",
        &|p| (p.load.breaker(now) != "closed").into(),
    );
}

fn count(n: usize) -> i128 {
    i128::try_from(n).unwrap_or(i128::MAX)
}

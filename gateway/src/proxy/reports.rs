//! What browsers tell of breaches of a content security policy: counted and logged, within bounds, and nothing of it
//! that could be a secret.
//!
//! Of a report the directive is taken, and of what was blocked its origin; paths, queries and samples are not.
//! Source: Content Security Policy Level 3, section 5.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use parking_lot::Mutex;
use pingora_error::Result;
use pingora_proxy::Session;
use serde_json::Value;

use super::gate::{self, Answered};
use super::pep::Ctx;
use super::{answer, own};
use crate::clock;
use crate::gateway::Gateway;
use crate::pages::Problem;

/// Where browsers send them, on the host of each app whose policy asks for them.
pub(crate) const PATH: &str = "/.postern/csp-report";
/// The most bytes of one.
const BODY_MAX: usize = 16 * 1024;
/// The most breaches of one that count; a browser puts several into one body.
const BREACHES: usize = 20;
/// The most of an app that count within a minute.
const A_MINUTE: u32 = 60;
/// The most pairs of app and directive that have a figure of their own.
const FIGURES: usize = 10_000;

const KINDS: [&str; 3] = [
    "application/csp-report",
    "application/reports+json",
    "application/json",
];

/// The directives that there are; what is none of them is `other`.
const DIRECTIVES: [&str; 20] = [
    "base-uri",
    "child-src",
    "connect-src",
    "default-src",
    "font-src",
    "form-action",
    "frame-ancestors",
    "frame-src",
    "img-src",
    "manifest-src",
    "media-src",
    "object-src",
    "require-trusted-types-for",
    "script-src",
    "script-src-attr",
    "script-src-elem",
    "style-src",
    "style-src-attr",
    "style-src-elem",
    "worker-src",
];

/// What was blocked that is no address.
const WORDS: [&str; 7] = [
    "inline",
    "eval",
    "wasm-eval",
    "self",
    "data",
    "blob",
    "trusted-types-sink",
];

/// What was told since the start.
#[derive(Default)]
pub(crate) struct Reports {
    counts: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    minutes: Mutex<BTreeMap<Arc<str>, (Instant, u32)>>,
    dropped: AtomicU64,
}

/// One breach.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Breach {
    directive: &'static str,
    /// An origin, or one of [`WORDS`].
    blocked: String,
    enforced: bool,
}

impl Reports {
    /// Lists app, directive and how often it was broken.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let counts = self.counts.lock();
        let all = counts.iter();
        all.map(|((app, directive), n)| (Arc::clone(app), *directive, *n))
            .collect()
    }

    /// Counts what was too much, too long or not to be read.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes the breaches that still fit in an app's minute.
    fn take(&self, app: &Arc<str>, breaches: &[Breach], now: Instant) {
        for breach in breaches {
            if !self.fits(app, now) {
                self.drop_one();
                continue;
            }
            let key = (Arc::clone(app), breach.directive);
            let mut counts = self.counts.lock();
            if counts.len() < FIGURES || counts.contains_key(&key) {
                *counts.entry(key).or_default() += 1;
            }
            drop(counts);
            tracing::warn!(
                %app,
                directive = breach.directive,
                blocked = %breach.blocked,
                enforced = breach.enforced,
                "a browser tells of a breach of the content security policy"
            );
        }
    }

    fn fits(&self, app: &Arc<str>, now: Instant) -> bool {
        let mut minutes = self.minutes.lock();
        let minute = Duration::from_secs(60);
        if minutes.len() >= FIGURES {
            minutes.retain(|_, (since, _)| now.saturating_duration_since(*since) < minute);
        }
        let (since, count) = minutes.entry(Arc::clone(app)).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= minute {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= A_MINUTE
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes a report where the app's policy asks for them; `None` where it does not, and the place is like any that is not
/// there.
///
/// # Errors
/// When the client is gone.
pub(super) async fn answer(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<Option<Answered>> {
    let target = ctx.target.as_ref();
    let app = target.and_then(|target| ctx.snap.policy.app_for(&target.host));
    let Some(app) = app.filter(|app| {
        let fronts = gw.fronts(&ctx.snap).of_app(*app);
        fronts.iter().any(|front| front.fields.reports())
    }) else {
        return Ok(None);
    };
    if ctx.method != "POST" {
        let problem = Problem::MethodNotAllowed;
        return gate::problem(gw, session, ctx, problem).await.map(Some);
    }
    if !is_report(&session.req_header().headers) {
        gw.reports.drop_one();
        let problem = Problem::UnsupportedType;
        return gate::problem(gw, session, ctx, problem).await.map(Some);
    }
    let Some(body) = own::read_body_of(session, BODY_MAX).await? else {
        gw.reports.drop_one();
        return gate::problem(gw, session, ctx, Problem::TooLarge)
            .await
            .map(Some);
    };
    let id = Arc::clone(&ctx.snap.policy.app(app).id);
    match breaches(&body) {
        Some(breaches) => gw.reports.take(&id, &breaches, clock::now()),
        None => gw.reports.drop_one(),
    }
    // whoever sends it learns nothing of what became of it
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    answer::send(gw, session, ctx, response).await?;
    Ok(Some(Answered::Yes))
}

fn is_report(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Reads both forms there are: one breach, or a list of what a browser has to tell.
fn breaches(body: &[u8]) -> Option<Vec<Breach>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    if let Some(report) = value.get("csp-report") {
        let names = ["effective-directive", "violated-directive", "blocked-uri"];
        return Some(vec![breach(report, names)?]);
    }
    let all = value.as_array()?.iter();
    let of_policy = all.filter(|report| report["type"] == "csp-violation");
    let names = ["effectiveDirective", "effectiveDirective", "blockedURL"];
    let found = of_policy.filter_map(|report| breach(report.get("body")?, names));
    Some(found.take(BREACHES).collect())
}

fn breach(report: &Value, [directive, instead, blocked]: [&str; 3]) -> Option<Breach> {
    let text = |name: &str| report.get(name).and_then(Value::as_str);
    let said = text(directive).or_else(|| text(instead))?;
    let said = said.split_ascii_whitespace().next().unwrap_or_default();
    let known = DIRECTIVES.into_iter().find(|known| *known == said);
    Some(Breach {
        directive: known.unwrap_or("other"),
        blocked: origin(text(blocked).unwrap_or_default()),
        enforced: text("disposition") == Some("enforce"),
    })
}

/// Keeps of an address what names its server, and nothing of what cannot be read as one.
fn origin(blocked: &str) -> String {
    if let Some(word) = WORDS.into_iter().find(|word| *word == blocked) {
        return word.to_owned();
    }
    let uri = blocked.parse::<http::Uri>().ok();
    let parts = uri.as_ref().and_then(|uri| {
        let scheme = uri
            .scheme_str()
            .filter(|s| matches!(*s, "http" | "https" | "ws" | "wss"))?;
        let host = uri.host().filter(|host| host.len() <= 253)?;
        Some((scheme, host, uri.port_u16()))
    });
    match parts {
        Some((scheme, host, Some(port))) => format!("{scheme}://{host}:{port}"),
        Some((scheme, host, None)) => format!("{scheme}://{host}"),
        None => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{A_MINUTE, BREACHES, Breach, Reports, breaches, origin};
    use crate::clock;

    fn one(directive: &'static str, blocked: &str, enforced: bool) -> Breach {
        Breach {
            directive,
            blocked: blocked.to_owned(),
            enforced,
        }
    }

    #[test]
    fn both_forms_of_a_report_are_read_and_no_secret_of_them() {
        let old = br#"{"csp-report":{"document-uri":"https://a.example/reset/s3cret?x=1","violated-directive":"script-src 'self'",
            "blocked-uri":"https://evil.example:8443/steal?token=s3cret","script-sample":"s3cret","disposition":"report"}}"#;
        assert_eq!(
            breaches(old),
            Some(vec![one("script-src", "https://evil.example:8443", false)])
        );
        let new = br#"[{"type":"deprecation","body":{}},{"type":"csp-violation","body":{"effectiveDirective":"style-src-elem",
            "blockedURL":"inline","disposition":"enforce","sample":"s3cret"}}]"#;
        assert_eq!(
            breaches(new),
            Some(vec![one("style-src-elem", "inline", true)])
        );
        let odd = br#"{"csp-report":{"effective-directive":"made-up\n","blocked-uri":"javascript:alert(1)"}}"#;
        assert_eq!(breaches(odd), Some(vec![one("other", "other", false)]));
        for none in [&b"{}"[..], b"[1", b"7", b"{\"csp-report\":{}}", b"\"x\""] {
            assert_eq!(breaches(none), None);
        }
        let entry = r#"{"type":"csp-violation","body":{"effectiveDirective":"img-src"}},"#;
        let many = format!("[{}]", entry.repeat(100).trim_end_matches(','));
        assert_eq!(breaches(many.as_bytes()).unwrap().len(), BREACHES);
    }

    #[test]
    fn of_an_address_the_server_is_kept_and_nothing_else() {
        for (blocked, kept) in [
            ("https://user:pw@cdn.example/a?b#c", "https://cdn.example"),
            ("wss://live.example:444/ws", "wss://live.example:444"),
            ("data", "data"),
            ("data:text/html,s3cret", "other"),
            ("file:///etc/passwd", "other"),
            ("/relative?x", "other"),
            ("", "other"),
        ] {
            assert_eq!(origin(blocked), kept, "{blocked}");
        }
    }

    #[test]
    fn an_app_has_so_many_a_minute_and_takes_none_of_anothers() {
        let (reports, now) = (Reports::default(), clock::now());
        let (one_app, other): (Arc<str>, Arc<str>) = ("app.a".into(), "app.b".into());
        let breach = [one("img-src", "data", false)];
        for _ in 0..A_MINUTE + 5 {
            reports.take(&one_app, &breach, now);
        }
        reports.take(&other, &breach, now);
        let all = reports.counts();
        assert_eq!(all[0], (Arc::clone(&one_app), "img-src", A_MINUTE.into()));
        assert_eq!((all[1].2, reports.dropped()), (1, 5));
        reports.take(&one_app, &breach, now + Duration::from_secs(60));
        assert_eq!(reports.counts()[0].2, u64::from(A_MINUTE) + 1);
    }
}

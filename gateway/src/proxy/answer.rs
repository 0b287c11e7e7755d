//! Step 8: what goes back to the client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, response};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::cookies::{self, Cookies};
use super::head::Target;
use super::headers::{self, ANSWER_DROPPED, BASE};
use super::own;
use super::pep::Ctx;
use crate::gateway::Gateway;
use crate::ids::{Door, label};
use crate::pages::{self, Detail, Problem};

/// Removes from an app's answer what only the gateway may say.
pub(crate) fn clean(upstream: &mut HeaderMap) {
    for name in nominated(upstream) {
        upstream.remove(name);
    }
    let dropped = |name: &&HeaderName| {
        let name = name.as_str();
        ANSWER_DROPPED.contains(&name) || name.starts_with("x-postern-")
    };
    let dropped: Vec<HeaderName> = upstream.keys().filter(dropped).cloned().collect();
    for name in dropped {
        upstream.remove(name);
    }
    if !upstream.contains_key(header::SET_COOKIE) {
        return;
    }
    let set: Vec<HeaderValue> = upstream
        .get_all(header::SET_COOKIE)
        .iter()
        .filter(|v| cookies::app_may_set(v))
        .cloned()
        .collect();
    upstream.remove(header::SET_COOKIE);
    for value in set {
        upstream.append(header::SET_COOKIE, value);
    }
}

/// The most fields behind an answer's body, and the most bytes of their names and values.
const TRAILERS: (usize, usize) = (100, 32 * 1024);

/// Removes from the fields behind an answer's body what may only stand before it, or only the gateway may say; too
/// many of them are all removed. Source: RFC 9110 section 6.5.1.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let bytes = trailers.iter().map(|(n, v)| n.as_str().len() + v.len());
    if trailers.len() > TRAILERS.0 || bytes.sum::<usize>() > TRAILERS.1 {
        trailers.clear();
        return;
    }
    const BEFORE: [HeaderName; 12] = [
        header::SET_COOKIE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::CACHE_CONTROL,
        header::LOCATION,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::WWW_AUTHENTICATE,
        header::CONTENT_SECURITY_POLICY,
        header::VARY,
    ];
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        ANSWER_DROPPED.contains(&name)
            || name.starts_with("x-postern-")
            || name.starts_with("access-control-")
            || BASE.iter().any(|(base, _)| *base == name)
    };
    let names: Vec<HeaderName> = trailers.keys().cloned().collect();
    for name in names {
        if BEFORE.contains(&name) || ours(&name) {
            trailers.remove(&name);
        }
    }
}

/// Changes an app's answer as the policy of its area says.
///
/// # Errors
/// None in practice; header building reports one.
pub(crate) fn of_app(upstream: &mut response::Parts, ctx: &Ctx) -> Result<()> {
    let Some(front) = &ctx.route.front else {
        return Ok(());
    };
    if let (Some(target), Some(pool)) = (&ctx.target, front.pool()) {
        let fields = &mut upstream.headers;
        let own = |host: &str, port| pool.is_at(host, port);
        let turned = |place: &[u8]| {
            let place = crate::uri::ascii(place);
            front.path.location(&place, own, &target.authority())
        };
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            if let Some(to) = fields.get(&name).and_then(|at| turned(at.as_bytes())) {
                fields.insert(name, headers::field(&to)?);
            }
        }
        let refresh = fields.get(header::REFRESH).and_then(|value| {
            let (wait, place) = refreshed(value.as_bytes())?;
            Some(format!("{wait};url={}", turned(place)?))
        });
        if let Some(refresh) = refresh {
            fields.insert(header::REFRESH, headers::field(&refresh)?);
        }
    }
    front.fields.change(upstream);
    Ok(())
}

/// Splits a Refresh into seconds and the address behind them, as browsers read it.
fn refreshed(value: &[u8]) -> Option<(&str, &[u8])> {
    let at = value.iter().position(|b| matches!(b, b';' | b','))?;
    let wait = std::str::from_utf8(value.get(..at)?).ok()?.trim();
    let rest = value.get(at + 1..)?.trim_ascii();
    let name = rest
        .get(..3)
        .filter(|name| name.eq_ignore_ascii_case(b"url"));
    let place = match name.and_then(|_| rest.get(3..)?.trim_ascii().strip_prefix(b"=")) {
        Some(place) => place.trim_ascii(),
        None => rest,
    };
    let bare = |quote: &[u8]| place.strip_prefix(quote)?.strip_suffix(quote);
    Some((wait, bare(b"\"").or_else(|| bare(b"'")).unwrap_or(place)))
}

/// Says on an app's answer which other origins' pages may read it.
pub(crate) fn to_others(session: &Session, upstream: &mut HeaderMap, ctx: &Ctx) {
    let front = ctx.route.front.as_ref();
    if let Some(cors) = front.and_then(|front| front.cors.as_ref()) {
        cors.mark(&session.req_header().headers, upstream);
    }
}

/// Takes chunks away from a client of HTTP/1.0, which knows none: its connection ends with the answer.
/// Source: RFC 9112 section 6.1.
pub(crate) fn unchunk(session: &mut Session, head: &mut ResponseHeader) {
    let old = session.req_header().version == Version::HTTP_10;
    if old && head.remove_header(&header::TRANSFER_ENCODING).is_some() {
        session.set_keepalive(None);
    }
}

/// Adds a name to what an answer depends on, once.
pub(crate) fn add_vary(answer: &mut HeaderMap, name: &'static str) {
    let lines = answer.get_all(header::VARY).iter();
    let mut words = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let known = words.any(|word| word.trim() == "*" || word.trim().eq_ignore_ascii_case(name));
    if !known {
        answer.append(header::VARY, HeaderValue::from_static(name));
    }
}

/// Lists the fields that Connection names, which end at this hop; `upgrade` is the framing's.
/// Source: RFC 9110 section 7.6.1.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let words = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let names = words.filter_map(|word| word.trim().parse::<HeaderName>().ok());
    names
        .filter(|name| name != header::UPGRADE && name != header::CONNECTION)
        .collect()
}

/// Sets what every answer through the gateway carries, each field once.
///
/// # Errors
/// A request's name that no field may hold, which does not occur in practice.
pub(crate) fn finish(gw: &Gateway, answer: &mut HeaderMap, ctx: &Ctx) -> Result<()> {
    let front = ctx.route.front.as_ref();
    match front {
        Some(front) => front.fields.keep(answer),
        None => {
            for (name, value) in BASE {
                answer
                    .entry(name)
                    .or_insert_with(|| HeaderValue::from_static(value));
            }
        }
    }
    answer
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private"));
    let over_tls = ctx.ctl.as_ref().is_some_and(|c| c.conn.tls);
    if over_tls {
        let own = front.and_then(|front| front.fields.hsts());
        let hsts = match own {
            Some(own) => own.clone(),
            None => match &ctx.ctl {
                Some(ctl) => ctl.edge.hsts.clone(),
                None => headers::value(&headers::hsts(gw.config.http.hsts_seconds)),
            },
        };
        answer.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    answer.insert(headers::X_REQUEST_ID, headers::field(&ctx.request_id)?);
    if let Some(budget) = &ctx.budget {
        answer.insert(headers::RATELIMIT_LIMIT, HeaderValue::from(budget.limit));
        answer.insert(
            headers::RATELIMIT_REMAINING,
            HeaderValue::from(budget.remaining),
        );
        answer.insert(headers::RATELIMIT_RESET, HeaderValue::from(budget.reset));
    }
    Ok(())
}

/// Makes a redirect of ours.
pub(crate) fn redirect(status: StatusCode, to: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let map = response.headers_mut();
    map.insert(header::LOCATION, headers::value(to));
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes a JSON answer of ours.
pub(crate) fn json(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let map = response.headers_mut();
    map.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes the answer to a directory that asks for a live token; `None` for every other request.
/// Source: RFC 8555 section 8.3.
pub(crate) fn challenge(gw: &Gateway, door: Door, target: &Target) -> Option<Response<Bytes>> {
    let answers = gw.acme.answers();
    let text = answers.file(target.host.as_str(), target.path.forward())?;
    if door != Door::Web {
        return None;
    }
    let mut response = Response::new(Bytes::from(text));
    let map = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    map.insert(header::CONTENT_TYPE, kind);
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Answers with a problem page or its JSON twin.
///
/// # Errors
/// When the client is gone.
pub(crate) async fn problem(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    problem: Problem,
    retry_after: Option<Duration>,
) -> Result<()> {
    let user = ctx.user().map(Arc::clone);
    let setting = user.and_then(|u| ctx.snap.policy.user(&u).and_then(|u| u.language.clone()));
    let headers = &session.req_header().headers;
    let cookies = Cookies::read(headers);
    let language = pages::language(headers, cookies.one(cookies::LANG), setting.as_deref());
    let told = problem == Problem::Denied;
    let code = told.then(|| ctx.code());
    let needs = matches!(problem, Problem::SignInNeeded | Problem::StepUpNeeded);
    let sign_in = ctx.target.as_ref().filter(|_| needs);
    let sign_in = sign_in.map(|t| format!("{}/", own::sign_in_origin(gw, t)));
    let detail = Detail {
        request_id: &ctx.request_id,
        code,
        sign_in: sign_in.as_deref(),
        contact: gw.config.contact.as_deref(),
        retry_after,
    };
    // who is not sent on to sign in is told in JSON, whatever it accepts
    let asked = if needs { &HeaderMap::new() } else { headers };
    let mut response = pages::problem(problem, language, asked, &detail);
    // pages of other origins that may read the app's answers are told as plainly why there is none
    to_others(session, response.headers_mut(), ctx);
    if needs {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Postern"),
        );
    }
    send(gw, session, ctx, response).await
}

/// Finds the problem page of a status.
pub(crate) fn problem_of_status(status: u16) -> Problem {
    match status {
        401 => Problem::SignInNeeded,
        403 => Problem::Denied,
        404 => Problem::NotFound,
        405 => Problem::MethodNotAllowed,
        408 => Problem::TooSlow,
        413 => Problem::TooLarge,
        414 => Problem::TargetTooLong,
        417 => Problem::BadExpectation,
        421 => Problem::Misdirected,
        429 => Problem::TooManyRequests,
        431 => Problem::HeadTooLarge,
        502 => Problem::BadUpstream,
        503 => Problem::Unavailable,
        504 => Problem::UpstreamTimeout,
        _ => Problem::BadRequest,
    }
}

/// Draws the short code by which a denial is found again, `D-` and eight characters.
pub(crate) fn code() -> String {
    let drawn = data_encoding::BASE32_NOPAD.encode(&label::<5>());
    format!("D-{drawn}")
}

/// Sends an answer of ours.
///
/// # Errors
/// When the client is gone.
pub(crate) async fn send(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    response: Response<Bytes>,
) -> Result<()> {
    let (mut head, body) = response.into_parts();
    ctx.trace(|span| span.answered(head.status.as_u16()));
    finish(gw, &mut head.headers, ctx)?;
    // Source: RFC 9110 section 8.6
    let lengthless = matches!(
        head.status,
        StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
    );
    let bodiless = lengthless || ctx.method == "HEAD";
    if !lengthless {
        let length = HeaderValue::from(body.len());
        head.headers.insert(header::CONTENT_LENGTH, length);
    }
    let head = ResponseHeader::from(head);
    let empty = bodiless || body.is_empty();
    session.write_response_header(Box::new(head), empty).await?;
    if !empty {
        session.write_response_body(Some(body), true).await?;
    }
    drain(session).await;
    Ok(())
}

/// The most of a refused request's body that is read...
const DRAINED: usize = 1 << 20;
/// ...and for how long.
const DRAIN: Duration = Duration::from_secs(2);

/// Reads what is left of a request's body after its answer: a client that is still sending would else see a reset and
/// not the answer. One that waits to be told to go on sends nothing more.
async fn drain(session: &mut Session) {
    if session.is_body_done() || session.is_upgrade_req() {
        return;
    }
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.set_keepalive(None);
        return;
    }
    let rest = async {
        let mut read = 0;
        while let Ok(Some(part)) = session.as_downstream_mut().read_request_body().await {
            read += part.len();
            if read > DRAINED {
                return false;
            }
        }
        true
    };
    let whole = tokio::time::timeout(DRAIN, rest).await;
    if whole != Ok(true) {
        session.set_keepalive(None);
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, clean_trailers, refreshed};
    use http::{HeaderMap, HeaderValue};

    fn answer(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in fields {
            head.append(*name, HeaderValue::from_static(value));
        }
        head
    }

    #[test]
    fn what_connection_names_ends_here_and_the_rest_passes() {
        let mut head = answer(&[
            ("connection", "X-Inner, keep-alive"),
            ("x-inner", "1"),
            ("x-outer", "1"),
            ("etag", "\"a\""),
        ]);
        clean(&mut head);
        assert!(!head.contains_key("x-inner"));
        assert!(head.contains_key("x-outer") && head.contains_key("etag"));
    }

    #[test]
    fn trailers_of_grpc_pass_and_what_belongs_into_the_head_does_not() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "grpc-message",
            "set-cookie",
            "x-postern-user",
        ] {
            trailers.insert(name, HeaderValue::from_static("0"));
        }
        trailers.insert(
            "strict-transport-security",
            HeaderValue::from_static("max-age=0"),
        );
        clean_trailers(&mut trailers);
        let mut left: Vec<&str> = trailers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-message", "grpc-status"]);
        let large = HeaderValue::from_str(&"a".repeat(33 * 1024)).unwrap();
        trailers.insert("x-large", large);
        clean_trailers(&mut trailers);
        assert!(trailers.is_empty());
    }

    #[test]
    fn a_refresh_is_read_as_browsers_do() {
        let read = |text: &'static str| {
            refreshed(text.as_bytes()).map(|(wait, place)| (wait, str::from_utf8(place).unwrap()))
        };
        for text in [
            "5; url=http://a/b",
            "5;URL = http://a/b",
            "5, http://a/b",
            "5;url='http://a/b'",
            "5; url=\"http://a/b\" ",
        ] {
            assert_eq!(read(text), Some(("5", "http://a/b")), "{text}");
        }
        assert_eq!(read("5"), None);
        assert_eq!(read("5;"), Some(("5", "")));
        assert_eq!(read("5; url=\""), Some(("5", "\"")));
    }

    #[test]
    fn a_handshake_can_throw_no_cookies_either() {
        let mut head = answer(&[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("set-cookie", "__Host-postern=x; Path=/; Secure"),
            ("set-cookie", "a=b; Domain=example.org"),
            ("set-cookie", "own=1"),
            ("strict-transport-security", "max-age=0"),
        ]);
        clean(&mut head);
        let set: Vec<_> = head.get_all("set-cookie").iter().collect();
        assert_eq!(set, ["own=1"]);
        assert!(!head.contains_key("strict-transport-security"));
        assert!(head.contains_key("upgrade"));
    }
}

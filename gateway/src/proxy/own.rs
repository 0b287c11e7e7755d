//! The gateway's own places: the sign-in host, and `/.postern/` on every app host.

use std::sync::{Arc, LazyLock};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use pingora_error::Result;
use pingora_proxy::Session;
use tower::ServiceExt;

use super::app::RequestCtl;
use super::counter::{self, Counter};
use super::gate::{self, Answered};
use super::head::Target;
use super::identify::{Identified, Use};
use super::pep::Ctx;
use super::statement::KEYS_PATH;
use super::{admin, answer, cookies, headers, offence, reports, upstream};
use crate::audit::{Event, reason};
use crate::clock;
use crate::console::{self, SharedConsole};
use crate::gateway::Gateway;
use crate::identity::BROWSER_SECS;
use crate::pages::{self, Problem, SharedDesk};

static SIGN_IN_HOST: LazyLock<axum::Router> = LazyLock::new(pages::sign_in_host);
static APP_HOST: LazyLock<axum::Router> = LazyLock::new(pages::app_host);

/// Where an open page asks how its device stands; no use, and so often that it is not on record.
const HERE_PATH: &str = "/.postern/here";
const MAX_BODY: usize = 64 * 1024;

/// Tells whether a path belongs to the gateway on every host.
pub(crate) fn is_own_path(path: &str) -> bool {
    path == "/.postern" || path.starts_with("/.postern/")
}

/// Tells whether a request is use by a person: our pages mark what they ask by themselves, which
/// opens nothing that asking openly would not.
pub(crate) fn usage(target: &Target) -> Use {
    let (path, query) = (target.path.as_str(), target.query.as_deref());
    match (path, query) {
        (HERE_PATH, _) | ("/" | "/account", Some("glance")) => Use::Glance,
        _ => Use::Counts,
    }
}

/// Writes a path for a record; a one-time link is a secret as long as it is good.
pub(crate) fn shown_path(target: &Target) -> String {
    let path = target.path.as_str();
    if path.starts_with("/enrol/") {
        "/enrol/...".to_owned()
    } else if path.starts_with("/signin/reset/") {
        "/signin/reset/...".to_owned()
    } else {
        path.to_owned()
    }
}

/// Picks the host with the longest common ending; of several the last.
pub(crate) fn nearest<'a>(hosts: impl Iterator<Item = &'a str>, to: &str) -> Option<&'a str> {
    hosts.max_by_key(|host| {
        let pairs = host.bytes().rev().zip(to.bytes().rev());
        pairs.take_while(|(a, b)| a == b).count()
    })
}

/// Picks the sign-in host for an app host: the nearest, of several the first configured.
pub(crate) fn sign_in_host_for(gw: &Gateway, host: &str) -> String {
    let own = gw.config.http.sign_in.iter().map(String::as_str);
    nearest(own.rev(), host).unwrap_or_default().to_owned()
}

/// Returns the origin of the sign-in host for a request, on the port the request came by.
pub(crate) fn sign_in_origin(gw: &Gateway, target: &Target) -> String {
    let port = target.port.map(|p| format!(":{p}")).unwrap_or_default();
    format!(
        "https://{}{port}",
        sign_in_host_for(gw, target.host.as_str())
    )
}

/// Answers a request to a sign-in host by the pages.
pub(crate) async fn sign_in_host(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    who: Identified,
) -> Result<Answered> {
    if let Some(signed_in) = &who.caller.session {
        ctl.conn.hold(&ctl.edge, signed_in.id, &signed_in.user);
    }
    if target.path.as_str() == KEYS_PATH && matches!(ctx.method.as_str(), "GET" | "HEAD") {
        let response = answer::json(StatusCode::OK, gw.signer.key_set());
        answer::send(gw, session, ctx, response).await?;
        return Ok(Answered::Yes);
    }
    if target.path.as_str() == HERE_PATH && ctx.method == "GET" {
        let now = counter::here_now(gw, ctl.conn.device, &who);
        let response = answer::json(StatusCode::OK, format!("{now}\n"));
        answer::send(gw, session, ctx, response).await?;
        return Ok(Answered::Yes);
    }
    if console::is_path(target.path.as_str()) {
        return admin::console(gw, ctl, session, ctx, target, who).await;
    }
    by_pages(&SIGN_IN_HOST, gw, ctl, session, ctx, target, who).await
}

/// Answers a request by pages of ours, on record.
async fn by_pages(
    pages: &axum::Router,
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    who: Identified,
) -> Result<Answered> {
    let Some(body) = read_body(session).await? else {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        note_page(gw, ctl, ctx, "deny", reason::TOO_LARGE, status);
        return gate::problem(gw, session, ctx, Problem::TooLarge).await;
    };
    ctl.body_ended();
    let desk = Arc::new(Counter::new(gw, ctl, ctx, target, who, session));
    let mut response = ask_pages(pages, session, target, Arc::clone(&desk), None, body).await;
    if let Some(token) = desk.take_browser() {
        let cookie = cookies::set(cookies::BROWSER, &token, BROWSER_SECS.try_into().ok());
        let cookie = headers::value(&cookie);
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    note_page(gw, ctl, ctx, "allow", reason::OWN_PAGE, response.status());
    if response.status() == StatusCode::NOT_FOUND {
        offence::note_probe(gw, ctl, ctx, session.req_header());
    }
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}

/// Records a request to a page of ours.
fn note_page(
    gw: &Gateway,
    ctl: &RequestCtl,
    ctx: &mut Ctx,
    outcome: &'static str,
    why: &'static str,
    status: StatusCode,
) {
    let mut record = gate::request_record(Event::AccessDecided, outcome, why, ctl, ctx);
    record.rule = Some("builtin.own-pages".into());
    record.status = Some(status.as_u16());
    ctx.decided(gw, record);
}

/// Has pages of ours answer a request; those of the console get what is behind it as well.
pub(super) async fn ask_pages(
    pages: &axum::Router,
    session: &Session,
    target: &Target,
    desk: Arc<Counter>,
    console: Option<SharedConsole>,
    body: Bytes,
) -> Response<Bytes> {
    let head = session.req_header();
    let mut request = Request::builder()
        .method(head.method.clone())
        .uri(target.path_and_query());
    for (name, value) in &head.headers {
        request = request.header(name, value);
    }
    let Ok(mut request) = request.body(axum::body::Body::from(body)) else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let desk: SharedDesk = desk;
    request.extensions_mut().insert(desk);
    if let Some(console) = console {
        request.extensions_mut().insert(console);
    }
    let Ok(response) = pages.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(whole) => Response::from_parts(parts, whole.to_bytes()),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn plain(status: StatusCode) -> Response<Bytes> {
    answer::json(status, "{\"error\":\"internal\"}\n".to_owned())
}

/// Reads a whole small body; `None` when it is over the limit.
async fn read_body(session: &mut Session) -> Result<Option<Bytes>> {
    read_body_of(session, MAX_BODY).await
}

/// Reads a whole body of at most so many bytes; `None` when it has more.
pub(super) async fn read_body_of(session: &mut Session, max: usize) -> Result<Option<Bytes>> {
    upstream::invite(session).await?;
    let mut body = BytesMut::new();
    while let Some(part) = session.as_downstream_mut().read_request_body().await? {
        if body.len() + part.len() > max {
            session.set_keepalive(None);
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body.freeze()))
}

/// Answers `/.postern/...` on an app host.
pub(crate) async fn app_host(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    who: Identified,
) -> Result<Answered> {
    if (ctx.method.as_str(), target.path.as_str()) == ("GET", "/.postern/open") {
        return open(gw, ctl, session, ctx, target, &who).await;
    }
    if target.path.as_str() == reports::PATH
        && let Some(answered) = reports::answer(gw, session, ctx).await?
    {
        return Ok(answered);
    }
    by_pages(&APP_HOST, gw, ctl, session, ctx, target, who).await
}

/// Consumes a hand-over code: the browser gets this host's own session cookie and goes on to
/// the page it first asked for, the code gone from its URL.
async fn open(
    gw: &Arc<Gateway>,
    ctl: &Arc<RequestCtl>,
    session: &mut Session,
    ctx: &mut Ctx,
    target: &Target,
    who: &Identified,
) -> Result<Answered> {
    let host = target.host.as_str();
    let code = target
        .query
        .as_deref()
        .and_then(|q| q.strip_prefix("code="));
    let nonce = who.cookies.one(cookies::NONCE);
    let opened = code.and_then(|c| gw.handover.open(c, nonce, host, clock::now()));
    let signed_in = opened.and_then(|(id, to)| Some((gw.sessions.find_by_id(id)?, to)));
    let Some((signed_in, to)) = signed_in.filter(|(s, _)| s.is_live(clock::unix())) else {
        let status = StatusCode::BAD_REQUEST;
        note_page(gw, ctl, ctx, "deny", reason::BAD_REQUEST, status);
        return gate::problem(gw, session, ctx, Problem::BadRequest).await;
    };
    ctx.session = Some(Arc::clone(&signed_in));
    note_page(
        gw,
        ctl,
        ctx,
        "allow",
        reason::OWN_PAGE,
        StatusCode::SEE_OTHER,
    );
    let Ok(cookie) = gw.sessions.mint(&signed_in, host).await else {
        return gate::problem(gw, session, ctx, Problem::Unavailable).await;
    };
    let to = format!("https://{}{to}", target.authority());
    let mut response = answer::redirect(StatusCode::SEE_OTHER, &to);
    let cookie = cookies::set(cookies::SESSION, &cookie, None);
    response
        .headers_mut()
        .insert(header::SET_COOKIE, headers::value(&cookie));
    answer::send(gw, session, ctx, response).await?;
    Ok(Answered::Yes)
}

#[cfg(test)]
mod tests {
    use super::shown_path;
    use crate::proxy::head;

    fn shown(path: &str) -> String {
        let mut headers = http::HeaderMap::new();
        headers.insert("host", http::HeaderValue::from_static("gate.example"));
        let target = head::target(path.as_bytes(), None, &headers, |_| Default::default()).unwrap();
        shown_path(&target)
    }

    #[test]
    fn no_record_holds_a_one_time_link() {
        assert_eq!(shown("/signin/reset/some-secret"), "/signin/reset/...");
        assert_eq!(shown("/enrol/some-secret-token"), "/enrol/...");
        assert_eq!(shown("/enrol"), "/enrol");
        assert_eq!(shown("/signin"), "/signin");
    }
}
